// The clock of a mount's machine is set forth and back while it is in use.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { needs } from '../parts.ts'
import { fuseSkip, js, run, sh, sleep, until } from './driver-harness.ts'
import { ownerOf, work } from './killing.ts'
import { survivors } from './survival-harness.ts'

t.setTimeout(120_000)
const skip = (await fuseSkip()) || needs('flock')
const CLOCK = path.join(import.meta.dirname, 'stepped-clock.ts')
const DAY = 86_400_000

void t.test('locks, attributes and writes outlast a clock that is set', { skip }, async (t) => {
  const right = await survivors(t)
  const { mount, umount, state, log } = await survivors(t, right.gateway)
  const clock = path.join(path.dirname(state), 'clock')
  const set = (milliseconds: number): void => fs.writeFileSync(clock, String(milliseconds))
  set(0)
  const before = { ...process.env }
  Object.assign(process.env, { NODE_OPTIONS: `--import=file://${CLOCK}`, KARST_TEST_CLOCK: clock })
  const one = await mount('/home/alice')
  process.env = before
  const two = await right.mount('/home/alice')
  await sh('echo x > locked', one)
  const end = path.join(path.dirname(state), 'end')
  const script = 'exec 9> "$1"; flock 9; until test -e "$2"; do sleep 0.1; done; echo held >&9'
  const holder = work('holder', 'sh', ['-euc', script, 'sh', path.join(one, 'locked'), end])
  const taken = () => run('flock', ['-n', path.join(two, 'locked'), 'true']).then(({ status }) => status)
  t.equal(await until(taken, (status) => status === 1), 1)
  for (const [round, step] of [DAY, -DAY, 400 * DAY, -1000].entries()) {
    set(step)
    await sleep(1100)
    const name = `f${round}`
    t.equal((await sh('echo "$2" > "$2"; echo of "$2" > changed', one, name)).status, 0)
    t.match(await sh('cat "$2" changed; echo more >> changed', two, name), { output: `${name}\nof ${name}\n` })
    const size = await until(
      () => js<number>(`return fs.statSync(argv[0]).size`, path.join(one, 'changed')),
      (seen) => seen === `of ${name}\nmore\n`.length,
    )
    t.equal(size, `of ${name}\nmore\n`.length, 'what others change is seen')
    t.equal(await taken(), 1, 'the lock is held')
  }
  const stamp = (await sh('stat -c %Y f2', one)).output
  t.ok(Number(stamp) * 1000 > Date.now() + 300 * DAY, 'the clock was set for the driver')
  fs.writeFileSync(end, '')
  t.match(await holder.done, { status: 0 })
  t.equal(await until(taken, (status) => status === 0), 0)
  t.ok(ownerOf(state) !== undefined)
  t.notMatch(log(), /is over|kept in|Error/)
  for (const [dir, end] of [
    [one, umount],
    [two, right.umount],
  ] as const)
    t.same(await end(dir), [])
})
