/** Whoever of launcher, driver, supervisor and gateway is killed: no mount, no credential and no process stays, and nothing is lost. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { run } from '../service/running.ts'
import { leftOver, nothingLeft, Place, until, type Running } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const WORDS = ['--partition', 'home', '--partition', 'scratch', '--id', 'killed']
const SCRIPT = `echo one > "$HOME/k"; sleep 1234567 & echo ready; read -r line; echo two >> "$HOME/k"; cat "$HOME/k"`

const kept = (): string => readFileSync(join(place.tree, 'home/alice/k'), 'utf8')
const pidIn = (name: string): number => Number(readFileSync(join(place.driver, name), 'utf8').split(' ')[0])
const sleepers = async (): Promise<string> => (await run('pgrep', ['-f', 'sleep 1234567'])).stdout

async function goesOn(running: Running): Promise<string> {
  running.tell('go on')
  const code = await running.ended
  return `${code} ${running.output}`
}

t.test('the launcher', { skip: skip || needs('pgrep') }, async (t) => {
  const running = place.running(t, WORDS, SCRIPT)
  await running.says('ready\n')
  t.not(leftOver().length, 0)
  running.child.kill('SIGKILL')
  await nothingLeft()
  await until(
    async () => (await sleepers()) === '',
    () => 'what it had started goes on',
  )
  t.equal(kept(), 'one\n')
  const scratch = 'vos://karst.local~karst/scratch/alice~killed'
  const isGone = async (): Promise<boolean> =>
    (await place.karst.ask('alice', '/nodes/scratch/alice~killed')).status === 404
  await until(isGone, () => `${scratch} was not given back`)
})

for (const [who, file] of [
  ['the driver', 'driver.lock'],
  ['the supervisor', 'supervisor'],
] as const) {
  t.test(who, { skip }, async (t) => {
    const running = place.running(t, WORDS, SCRIPT)
    await running.says('ready\n')
    process.kill(pidIn(file), 'SIGKILL')
    t.equal(await goesOn(running), '0 ready\none\ntwo\n')
    t.equal(kept(), 'one\ntwo\n')
    t.same(leftOver(), [])
  })
}

t.test('the gateway', { skip }, async (t) => {
  const running = place.running(t, WORDS, SCRIPT)
  await running.says('ready\n')
  const { port } = new URL(place.karst.report.url)
  await place.karst.stop('SIGKILL')
  running.tell('go on')
  await place.karst.start(undefined, port)
  t.equal(await running.ended, 0, running.output)
  t.match(running.output, /ready\none\ntwo\n/)
  t.equal(kept(), 'one\ntwo\n')
  await nothingLeft()
})
