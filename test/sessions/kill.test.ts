/** Whoever of launcher, driver, supervisor and gateway is killed, and when: no mount, no credential and no process stays, and nothing is lost. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { isAlive, processMark, readIfThere } from '../../mount/driver-place.ts'
import { type SessionNote } from '../../mount/session/run-folder.ts'
import { fuseSkip, needs } from '../parts.ts'
import { run } from '../service/running.ts'
import { leftOver, nothingLeft, Place, until, type Running } from './place.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'setpriv', 'unshare', 'pgrep') || (await fuseSkip())
const place = new Place()
// it may have to wait for its turn
t.setTimeout(10 * 60_000)
if (skip === false) {
  t.before(() => place.start())
  t.teardown(() => place.dispose())
}

const WORDS = ['--partition', 'home', '--partition', 'scratch', '--id', 'killed']
const SLEEP = 'sleep 1234567'
/** A file that is whole, one that is open with bytes that nobody has sent, and somebody who stays behind with a third. */
const SCRIPT = `echo one > "$HOME/whole"; exec 3>"$HOME/open"; echo dirty >&3
  { echo behind >&4; exec ${SLEEP}; } 3>&- 4>"$HOME/behind" &
  until [ -s "$HOME/behind" ]; do sleep 0.02; done; echo ready; read -r line
  echo two >> "$HOME/whole"; echo more >&3; cat "$HOME/whole"`

type Who = 'launcher' | 'driver' | 'supervisor' | 'gateway'

const at = (name: string): string => join(place.tree, 'home/alice', name)
const kept = (name: string): string | undefined => readIfThere(at(name))
const markIn = (file: string): string => readIfThere(join(place.driver, file)) ?? ''
const FILES = { driver: 'driver.lock', supervisor: 'supervisor' } as const

/** All at once. The gateway comes again at the same place. */
async function kill(running: Running, ...all: readonly Who[]): Promise<void> {
  const { port } = new URL(place.karst.report.url)
  for (const who of all) {
    if (who === 'launcher') running.child.kill('SIGKILL')
    else if (who !== 'gateway') process.kill(Number(markIn(FILES[who]).split(' ')[0]), 'SIGKILL')
  }
  if (!all.includes('gateway')) return
  await place.karst.stop('SIGKILL')
  await place.karst.start(undefined, port)
}

/** Nothing of the session is on this machine or at the gateway but what it has written. */
async function gone(): Promise<void> {
  await nothingLeft()
  await until(
    async () => (await run('pgrep', ['-fx', SLEEP])).stdout === '',
    () => 'what it had started goes on',
  )
  await until(
    () => !existsSync(join(place.tree, 'scratch/alice~killed')),
    () => 'the scratch was not given back',
  )
  await until(
    () => ['driver.lock', 'supervisor'].every((file) => !isAlive(markIn(file))),
    () => 'a driver is left, or its supervisor',
  )
}

/** What was kept of files that could not be sent, by the name of the file. */
function recovered(): Record<string, string> {
  const dir = join(place.driver, 'recovered')
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => !name.endsWith('.origin')) : []
  return Object.fromEntries(names.map((name) => [name.replace(/^.*-/, ''), readFileSync(join(dir, name), 'utf8')]))
}

function anew(): void {
  for (const name of ['whole', 'open', 'behind']) rmSync(at(name), { force: true })
  rmSync(join(place.driver, 'recovered'), { recursive: true, force: true })
}

async function begun(t: Test, script = SCRIPT): Promise<Running> {
  anew()
  const running = place.running(t, WORDS, script)
  await running.says('ready\n')
  return running
}

/** As far as a start has come. */
const STAGES = {
  'when it asks for its partitions': () => leftOver().length > 0,
  'when the driver starts': () => isAlive(markIn('driver.lock')),
  'when it mounts': () => markIn('mounts').includes('/at/'),
}

for (const [when, isThere] of Object.entries(STAGES)) {
  t.test(`the launcher, ${when}`, { skip }, async (t) => {
    anew()
    rmSync(join(place.driver, 'mounts'), { force: true })
    const running = place.running(t, WORDS, SCRIPT)
    for (const end = performance.now() + 30_000; !isThere() && performance.now() < end;)
      await new Promise((done) => setTimeout(done, 1))
    await kill(running, 'launcher')
    await running.ended
    await gone()
    t.ok([undefined, 'one\n'].includes(kept('whole')))
  })
}

for (const who of ['driver', 'supervisor', 'gateway'] as const) {
  t.test(`the ${who}, while the session starts`, { skip }, async (t) => {
    anew()
    const running = place.running(t, WORDS, `echo ran; read -r line`)
    const isThere = (): boolean => (who === 'gateway' ? leftOver().length > 0 : isAlive(markIn(FILES[who])))
    for (const end = performance.now() + 30_000; !isThere() && performance.now() < end;)
      await new Promise((done) => setTimeout(done, 1))
    await kill(running, who)
    running.tell('go on')
    // whether it could go on is a matter of how far it had come
    const code = await running.ended
    t.ok(code === 0 ? running.output.includes('ran\n') : code === 125, `${code} ${running.output}`)
    // an answer that never came, of a gateway that had done what it was asked for
    await place.session(WORDS, 'true')
    await gone()
  })
}

t.test('the launcher, while its command writes', { skip }, async (t) => {
  const running = await begun(t)
  await kill(running, 'launcher')
  await gone()
  t.same([kept('whole'), kept('open'), kept('behind')], ['one\n', 'dirty\n', 'behind\n'])
})

for (const who of ['driver', 'supervisor', 'gateway'] as const) {
  t.test(`the ${who}, while the command writes`, { skip }, async (t) => {
    const running = await begun(t)
    await kill(running, who)
    running.tell('go on')
    t.equal(await running.ended, 0, running.output)
    t.match(running.output, /ready\none\ntwo\n$/)
    t.same([kept('whole'), kept('open'), kept('behind')], ['one\ntwo\n', 'dirty\nmore\n', 'behind\n'])
    await gone()
  })
}

t.test('driver and supervisor at once, while the command writes', { skip }, async (t) => {
  const running = await begun(t, `trap 'echo "ended with $?"' EXIT; ${SCRIPT}`)
  await kill(running, 'supervisor', 'driver')
  running.tell('go on')
  await running.ended
  t.match(running.output, /ended with [1-9]/, 'programs see an error')
  for (const name of ['open', 'behind'])
    t.match(running.output, new RegExp(`/home/alice/${name}: the driver ended before .* kept in \\S+recovered`))
  t.match(recovered(), { open: 'dirty\n', behind: 'behind\n' })
  t.equal(kept('whole'), 'one\n')
  await gone()
  t.match(await place.session(WORDS, 'cat "$HOME/whole"'), { code: 0, stdout: 'one\n' }, 'another driver starts')
  await gone()
})

t.test('launcher, driver and supervisor at once', { skip }, async (t) => {
  const running = await begun(t)
  await kill(running, 'launcher', 'supervisor', 'driver')
  await gone()
  // who watches over the launcher may end the command, and so close its files, just before the driver is killed
  for (const name of ['open', 'behind'])
    t.ok(
      [kept(name), recovered()[name]].includes(`${name === 'open' ? 'dirty' : name}\n`),
      `${name} at the gateway or kept`,
    )
})

t.test('the launcher and who watches over it at once: the next session ends what they left', { skip }, async (t) => {
  const script =
    'echo ready; read -r line; test -r "$X509_USER_PROXY"; echo fine > "$SCRATCH/fine"; cat "$SCRATCH/fine"'
  const living = place.running(t, ['--partition', 'scratch', '--id', 'living'], script)
  await living.says('ready\n')
  const others = leftOver()
  const running = await begun(t)
  const [left = ''] = leftOver().filter((one) => !others.includes(one))
  const { keepers } = JSON.parse(readFileSync(join(left, 'session.json'), 'utf8')) as SessionNote
  const pids = keepers?.processes.map((mark) => Number(mark.split(' ')[0])) ?? []
  t.equal(pids[0], running.child.pid)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  await until(
    () => pids.every((pid) => processMark(pid) === undefined),
    () => 'who was killed lives on',
  )
  t.ok(existsSync(join(left, 'own/x509up')))
  t.match(await place.session(['--partition', 'home'], 'true'), { code: 0, stderr: '' })
  await until(
    () => !existsSync(left),
    () => `${left} was left`,
  )
  t.same([kept('whole'), kept('open'), kept('behind')], ['one\n', 'dirty\n', 'behind\n'])
  living.tell('go on')
  t.equal(await living.ended, 0, living.output)
  t.match(living.output, /fine\n$/, 'the one that lives has its mount and its proxy')
  await gone()
})

const BEHIND = `{ echo behind; exec ${SLEEP}; } > "$HOME/behind" &
  until [ -s "$HOME/behind" ]; do sleep 0.02; done; echo ready; read -r line || true`

/** A session whose command has ended, and that has something to send still, to a gateway that does not answer. */
async function ending(t: Test): Promise<{ readonly running: Running; readonly goOn: () => void }> {
  const running = await begun(t, BEHIND)
  const { pid } = place.karst.report
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => void process.kill(place.karst.report.pid, 'SIGCONT'))
  running.child.stdin?.end()
  await until(
    async () => (await run('pgrep', ['-fx', SLEEP])).stdout === '',
    () => 'who stays behind is not ended',
  )
  return { running, goOn: () => void process.kill(pid, 'SIGCONT') }
}

for (const all of [['launcher'], ['driver'], ['supervisor'], ['gateway']] as const) {
  t.test(`the ${all.join(' and ')}, while the session ends`, { skip }, async (t) => {
    const { running, goOn } = await ending(t)
    await kill(running, ...all)
    if (!(all as readonly Who[]).includes('gateway')) goOn()
    await running.ended
    await gone()
    t.equal(kept('behind'), 'behind\n', running.output)
  })
}

t.test('driver and supervisor at once, while the session ends', { skip }, async (t) => {
  const { running, goOn } = await ending(t)
  await kill(running, 'supervisor', 'driver')
  goOn()
  await running.ended
  await gone()
  t.ok([kept('behind'), recovered()['behind']].includes('behind\n'), `at the gateway or kept: ${running.output}`)
})
