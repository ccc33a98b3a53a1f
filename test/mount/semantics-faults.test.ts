// mount/SEMANTICS.md "When things break": what a mount outlives beside its driver: its supervisor, the network, a gateway that says nothing. And that it ends.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { probeMount } from '../../mount/fuse/unmount.ts'
import { startGateway } from '../http/gateway.ts'
import { needs } from '../parts.ts'
import { fuseSkip, js, run, sh, sleep, until } from './driver-harness.ts'
import { StallingProxy } from './stalling-proxy.ts'
import { another, kill, ownerOf, supervisorOf, work, type Work } from './killing.ts'
import { survivors } from './survival-harness.ts'

t.setTimeout(600_000)
const skip = await fuseSkip()
const ENDS = ['--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, 'model-writer.ts')]

/** Holds a file open with bytes that nobody has sent, and closes it when told. */
const HOLDER = `const fd = fs.openSync(argv[0] + '/held', 'w+'); fs.writeSync(fd, 'written before ')
  fs.writeFileSync(argv[0] + '/ready', '')
  while (!fs.existsSync(argv[0] + '/go')) await new Promise((r) => setTimeout(r, 50))
  const b = Buffer.alloc(100), n = fs.readSync(fd, b, 0, 100, 0)
  fs.writeSync(fd, 'and after'); fs.closeSync(fd); return b.toString('utf8', 0, n)`

/** Writes to a file and goes on holding it open: a shell would send with each closed duplicate. */
function unsent(dir: string, name: string): Work {
  const script = `const fd = require('fs').openSync(process.argv[1], 'w+'); require('fs').writeSync(fd, 'precious'); setTimeout(() => {}, 1e6)`
  return work('holder', process.execPath, ['-e', script, '--', path.join(dir, name)])
}

void t.test('survives-its-supervisor', { skip }, async (t) => {
  const { state, mount, umount, status } = await survivors(t)
  const dir = await mount('/home/alice')
  const program = work('model', process.execPath, [...ENDS, dir, '3', '8000'])
  for (let i = 0; i < 2; i++) {
    await sleep(1500)
    const [supervisor, driver] = [supervisorOf(state), ownerOf(state)]
    t.ok(supervisor !== undefined && kill(supervisor))
    await another(state, driver)
    await until(status, (reply) => reply !== undefined)
    t.not(supervisorOf(state), supervisor)
  }
  t.same(await program.done, { status: 0, output: (await program.done).output })
  // and the new one does what the old one did
  const driver = ownerOf(state)
  t.ok(driver !== undefined && kill(driver))
  t.match(await sh('ls > /dev/null; echo served', dir), { output: 'served\n' })
  t.same(await umount(dir), [])
})

void t.test('what is open and was never sent is there after a take-over', { skip }, async (t) => {
  const { state, mount, umount, gateway } = await survivors(t)
  const dir = await mount('/home/alice')
  const holder = js<string>(HOLDER, dir)
  await until(
    () => sh('test -e ready', dir).then(({ status }) => status),
    (status) => status === 0,
  )
  for (let i = 0; i < 2; i++) {
    const driver = ownerOf(state)
    t.ok(driver !== undefined && kill(driver))
    await another(state, driver)
  }
  t.match(await sh('touch go; echo gone', dir), { output: 'gone\n' })
  t.equal(await holder, 'written before ')
  t.equal((await gateway.call('/files/home/alice/held', { as: 'alice' })).text, 'written before and after')
  t.same(await umount(dir), [])
})

void t.test('locks hold over a take-over', { skip: skip || needs('flock') }, async (t) => {
  const { state, mount, umount } = await survivors(t)
  const [one, two] = [await mount('/home/alice'), await mount('/home/alice')]
  await sh('echo x > locked', one)
  const script = `exec 9> "$1"; flock 9; until test -e "$2"; do sleep 0.1; done`
  const end = path.join(path.dirname(state), 'end')
  const holder = work('holder', 'sh', ['-c', script, 'sh', path.join(one, 'locked'), end])
  const taken = () => run('flock', ['-n', path.join(two, 'locked'), 'true']).then(({ status }) => status)
  t.equal(await until(taken, (status) => status === 1), 1)
  for (let i = 0; i < 2; i++) {
    const driver = ownerOf(state)
    t.ok(driver !== undefined && kill(driver))
    await another(state, driver)
    t.equal(await taken(), 1, 'it is still held')
  }
  fs.writeFileSync(end, '')
  t.match(await holder.done, { status: 0 })
  t.equal(await until(taken, (status) => status === 0), 0, 'and free when its holder lets go')
  for (const dir of [one, two]) t.same(await umount(dir), [])
})

void t.test('gateway-away', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const proxy = await new StallingProxy(() => gateway.port).start(t)
  const { state, mount, umount } = await survivors(t, gateway)
  const dir = await mount('/home/alice', { url: proxy.url })
  const program = work('model', process.execPath, [...ENDS, dir, '5', '9000'])
  await sleep(1500)
  proxy.down()
  await sleep(1500)
  proxy.heal()
  await sleep(500)
  proxy.stall()
  const driver = ownerOf(state)
  t.ok(driver !== undefined && kill(driver))
  await another(state, driver)
  await sleep(1500)
  proxy.cut()
  proxy.heal()
  const { status, output } = await program.done
  t.equal(status, 0, output)
  t.same(await umount(dir), [])
})

void t.test('gateway-silent', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const proxy = await new StallingProxy(() => gateway.port).start(t)
  const { mount, umount, state } = await survivors(t, gateway)
  const dir = await mount('/home/alice', { url: proxy.url, timeout: 4 })
  await sh('head -c 100000 /dev/zero > file; head -c 100000 /dev/zero > other', dir)
  const writer = unsent(dir, 'file')
  await sleep(1500)
  proxy.stall()
  t.match(await run('cat', [path.join(dir, 'other')]), { status: 1, output: /Input\/output error/ })
  const reader = work('reader', 'cat', [path.join(dir, 'other')])
  await sleep(500)
  const began = performance.now()
  reader.child.kill('SIGINT')
  await reader.done
  t.ok(performance.now() - began < 3500, 'before the time limit')
  writer.child.kill('SIGKILL')
  await writer.done

  const from = performance.now()
  const left = await umount(dir)
  t.equal(await probeMount(dir), 'none')
  t.comment(`umount took ${Math.round(performance.now() - from)} ms: ${left.join('; ')}`)
  const kept = await until(
    () =>
      fs.readdirSync(state).includes('recovered') &&
      fs.readdirSync(path.join(state, 'recovered')).filter((name) => /-file$/.test(name)),
    (found) => found !== false && found.length > 0,
  )
  t.ok(kept !== false && kept.length === 1, 'what was written is kept')
})

void t.test('unmount-ends', { skip }, async (t) => {
  const gateway = await startGateway(t)
  const proxy = await new StallingProxy(() => gateway.port).start(t)
  const { mount, state } = await survivors(t, gateway)
  const { umountCommand } = await import('../../mount/daemon.ts')
  const dir = await mount('/home/alice', { url: proxy.url, timeout: 300 })
  const holder = unsent(dir, 'kept')
  await sleep(1500)
  proxy.stall()
  const left = await umountCommand({ dir, stateDir: state, timeout: 2 })
  t.match(left.join('\n'), /could not be sent/)
  t.equal(await probeMount(dir), 'none')
  holder.child.kill('SIGKILL')
  await holder.done
  const kept = await until(
    () =>
      fs.existsSync(path.join(state, 'recovered')) &&
      fs.readdirSync(path.join(state, 'recovered')).filter((name) => name.endsWith('-kept')),
    (found) => found !== false && found.length > 0,
  )
  t.match(kept, [/kept/])
})
