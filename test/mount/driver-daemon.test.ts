// `karst mount` and `karst umount` against a gateway: one driver process, many mounts, whoever starts or kills it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { askDriver } from '../../mount/control.ts'
import { mountCommand, umountCommand, type MountCommandOptions } from '../../mount/daemon.ts'
import { probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { socketOf, StateDirectory } from '../../mount/state.ts'
import { writeCredential } from '../../src/identity/pem.ts'
import { startGateway } from '../http/gateway.ts'
import { authority, credentials, type Name } from '../http/people.ts'
import { driversEnded } from '../service/mounting.ts'
import { fuseSkip, run, sh, until } from './driver-harness.ts'

const skip = await fuseSkip()
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-daemon-'))
const ca = path.join(folder, 'ca.pem')
fs.writeFileSync(ca, authority.certificate)
for (const name of ['alice', 'bob'] as const) await writeCredential(path.join(folder, `${name}.pem`), credentials[name])
const gateway = await startGateway(t)
const KARST = path.join(import.meta.dirname, '../../bin/karst')
const registry = `https://localhost:${gateway.port}/reg/resource-caps`
let count = 0

t.teardown(async () => {
  await driversEnded(folder)
  fs.rmSync(folder, { recursive: true })
})

/** A state directory of its own for a test, and what `karst mount` is given. */
function commands(t: Test): { state: string; options: (path: string, as?: Name) => MountCommandOptions } {
  // longer than a socket's path may be
  const state = path.join(folder, 'x'.repeat(100), `state-${++count}`)
  const dirs: string[] = []
  t.teardown(async () => {
    for (const dir of dirs) if ((await probeMount(dir)) !== 'none') await unmountFuse(dir, { lazy: true })
    // a driver whose mounts are gone ends by itself
    await until(
      () => fs.existsSync(path.join(state, 'driver.lock')),
      (locked) => !locked,
    )
  })
  const options = (at: string, as: Name = 'alice'): MountCommandOptions => {
    const dir = fs.mkdtempSync(path.join(folder, 'mnt-'))
    dirs.push(dir)
    const uri = `vos://karst.local~karst${at}`
    const certificate = path.join(folder, `${as}.pem`)
    return {
      uri,
      dir,
      certificate,
      ca,
      registry,
      stateDir: state,
      foreground: false,
      readOnly: false,
      allowOther: false,
    }
  }
  return { state, options }
}

const status = async (state: string) => {
  const reply = await askDriver(socketOf(state), { command: 'status' }, 5000)
  return reply?.ok === true ? reply : undefined
}

void t.test('one driver serves many mounts, and ends with the last of them', { skip }, async (t) => {
  const { state, options } = commands(t)
  const [home, pub, bobs] = [options('/home/alice'), options('/pub'), options('/pub', 'bob')]
  await mountCommand(home)
  const first = await status(state)
  t.not(first?.pid, process.pid)
  await Promise.all([mountCommand(pub), mountCommand(bobs)])
  const all = await status(state)
  t.equal(all?.pid, first?.pid)
  t.same(all?.mounts.map(({ dir }) => dir).sort(), [home.dir, pub.dir, bobs.dir].sort())
  t.equal(fs.statSync(socketOf(state)).mode & 0o777, 0o600)

  t.same(await sh('echo "from alice" > shared; chmod 644 shared', pub.dir), { status: 0, output: '' })
  t.same(await sh('cat shared', bobs.dir), { status: 0, output: 'from alice\n' })
  t.match(await sh('echo no > shared', bobs.dir), { status: 2, output: /denied/ })
  t.match(
    await sh(
      'cp -r "$2" stuff; diff -r "$2" stuff; rm -r stuff',
      home.dir,
      path.join(import.meta.dirname, '../fixtures'),
    ),
    { status: 0 },
  )

  t.same(await umountCommand({ dir: home.dir, stateDir: state }), [])
  t.equal((await status(state))?.mounts.length, 2)
  t.same(await umountCommand({ dir: pub.dir, stateDir: state }), [])
  t.same(await umountCommand({ dir: bobs.dir, stateDir: state }), [])
  t.equal(
    await until(
      () => fs.existsSync(path.join(state, 'driver.lock')),
      (locked) => !locked,
    ),
    false,
  )
  t.same(await umountCommand({ dir: home.dir, stateDir: state }), [], 'again: nothing to do')
})

void t.test('a place is one, by whichever symbolic links it is called', { skip }, async (t) => {
  const { state, options } = commands(t)
  const home = options('/home/alice')
  const [link, loop, nowhere] = ['link', 'loop', 'nowhere'].map((name) => path.join(folder, name)) as [
    string,
    string,
    string,
  ]
  fs.symlinkSync(path.basename(home.dir), link)
  fs.symlinkSync(loop, loop)
  await mountCommand({ ...home, dir: link })
  t.match((await status(state))?.mounts, [{ dir: home.dir }])
  await t.rejects(mountCommand(home), { message: `${home.dir} is mounted already` })
  await t.rejects(mountCommand({ ...home, dir: loop }), /symbolic links lead nowhere/)
  await t.rejects(mountCommand({ ...home, dir: nowhere }), /there is no such directory/)
  const asked = await run('env', [`KARST_MOUNT_STATE=${state}`, KARST, 'mount', 'status', link])
  t.match(asked, { status: 0, output: new RegExp(home.dir) })
  const ended = await run('env', [`KARST_MOUNT_STATE=${state}`, KARST, 'umount', link])
  t.match(ended, { status: 0 })
  t.equal(await probeMount(home.dir), 'none')
})

void t.test('what a driver needs is not hidden by its mount', async (t) => {
  const { options } = commands(t)
  const home = { ...options('/home/alice'), foreground: true }
  const below = path.join(home.dir, 'a/b')
  const link = path.join(folder, 'to-home')
  fs.symlinkSync(home.dir, link)
  const refused = (what: RegExp) => ({ message: what, code: 'EINVAL' })
  for (const place of [home.dir, below, path.join(link, 'a')]) {
    await t.rejects(
      mountCommand({ ...home, stateDir: place }),
      refused(/^the state directory \(KARST_MOUNT_STATE\) .* hidden/),
    )
  }
  await t.rejects(mountCommand({ ...home, certificate: below }), refused(/^the certificate/))
  await t.rejects(mountCommand({ ...home, tokenFile: below }), refused(/^the token/))
  await t.rejects(mountCommand({ ...home, ca: below }), refused(/^the CA/))
  await t.rejects(mountCommand({ ...home, dir: path.join(import.meta.dirname, '../..') }), refused(/^the program/))
})

void t.test('a descriptor that is no device is refused at once', async (t) => {
  const { options } = commands(t)
  const fd = fs.openSync('/dev/null', 'r')
  t.teardown(() => fs.closeSync(fd))
  await t.rejects(mountCommand({ ...options('/home/alice'), fd }), { message: `descriptor ${fd} is no open /dev/fuse` })
  await t.rejects(mountCommand({ ...options('/home/alice'), fd: 999_999 }), { code: 'EBADF' })
})

void t.test('many at once start one driver', { skip }, async (t) => {
  const { state, options } = commands(t)
  const all = Array.from({ length: 5 }, () => options('/home/alice'))
  await Promise.all(all.map((one) => mountCommand(one)))
  t.equal((await status(state))?.mounts.length, 5)
  for (const { dir } of all) await umountCommand({ dir, stateDir: state })
})

void t.test('what is refused is said, and leaves no driver', { skip }, async (t) => {
  const { state, options } = commands(t)
  const home = options('/home/alice')
  await t.rejects(mountCommand(options('/home/nobody')), /nobody/)
  await t.rejects(mountCommand(options('/home/alice', 'bob')), /PermissionDenied|alice/)
  await t.rejects(mountCommand({ ...home, certificate: path.join(folder, 'none.pem') }), /none\.pem/)
  await t.rejects(
    mountCommand({ ...home, uri: 'vos://elsewhere~vault/home' }),
    /does not know ivo:\/\/elsewhere\/vault/,
  )
  await t.rejects(mountCommand({ ...home, registry: 'https://localhost:1/reg' }), /localhost:1/)
  await t.rejects(mountCommand({ ...home, dir: path.join(folder, 'no-such-dir') }), /no-such-dir/)
  t.equal(await status(state), undefined)
  await mountCommand(home)
  await t.rejects(mountCommand(home), /mounted already/)
  await t.rejects(mountCommand({ ...home, dir: path.join(folder, 'no-such-dir') }), /no-such-dir/)
  t.equal((await status(state))?.mounts.length, 1, 'a refusal does not disturb the others')
  await umountCommand({ dir: home.dir, stateDir: state })
})

void t.test('umount ends, and mount begins anew, when supervisor and driver were killed', { skip }, async (t) => {
  const { state, options } = commands(t)
  const [home, other] = [options('/home/alice'), options('/pub')]
  await mountCommand(home)
  await mountCommand(other)
  const pid = (await status(state))?.pid ?? 0
  const supervisor = Number(fs.readFileSync(path.join(state, 'supervisor'), 'utf8').split(' ')[0])
  t.notSame([pid, supervisor], [process.pid, process.pid])
  process.kill(supervisor, 'SIGKILL')
  process.kill(pid, 'SIGKILL')
  await until(
    () => probeMount(home.dir),
    (found) => found === 'disconnected',
  )
  t.same(await umountCommand({ dir: home.dir, stateDir: state }), [])
  t.equal(await probeMount(home.dir), 'none')
  await mountCommand({ ...home })
  t.equal(await probeMount(other.dir), 'none', 'the other dead mount was put in order')
  t.match(await sh('echo x > x; cat x', home.dir), { output: 'x\n' })
  await umountCommand({ dir: home.dir, stateDir: state })
})

void t.test('a driver that does not answer is no reason not to unmount', { skip }, async (t) => {
  const { state, options } = commands(t)
  const home = options('/home/alice')
  await mountCommand(home)
  const pid = (await status(state))?.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => process.kill(pid, 'SIGKILL'))
  fs.renameSync(socketOf(state), `${socketOf(state)}.away`)
  t.same(await umountCommand({ dir: home.dir, stateDir: state }), [`${home.dir}: the driver did not answer; detached`])
  t.equal(await probeMount(home.dir), 'none')
  process.kill(pid, 'SIGCONT')
})

void t.test('the foreground serves until it is told to stop', { skip }, async (t) => {
  const { options } = commands(t)
  const home = options('/home/alice')
  const stop = new AbortController()
  const mounted = Promise.withResolvers<void>()
  const served = mountCommand({ ...home, foreground: true, signal: stop.signal, ready: () => mounted.resolve() })
  await Promise.race([mounted.promise, served])
  t.match(await sh('echo y > y; cat y', home.dir), { output: 'y\n' })
  stop.abort()
  await served
  t.equal(await probeMount(home.dir), 'none')
})

void t.test('SIGTERM unmounts everything', { skip }, async (t) => {
  const { state, options } = commands(t)
  const home = options('/home/alice')
  await mountCommand(home)
  process.kill((await status(state))?.pid ?? 0, 'SIGTERM')
  t.equal(
    await until(
      () => probeMount(home.dir),
      (found) => found === 'none',
    ),
    'none',
  )
})

void t.test('a state directory has one owner, and a dead one none', async (t) => {
  const directory = path.join(folder, 'owned')
  const owned = await StateDirectory.own(directory, () => undefined)
  await t.rejects(
    StateDirectory.own(directory, () => undefined),
    /another driver owns/,
  )
  owned.release()
  const script = `import { StateDirectory } from ${JSON.stringify(path.join(import.meta.dirname, '../../mount/state.ts'))}
    await StateDirectory.own(process.argv[1], () => undefined)`
  t.same(await run(process.execPath, ['--input-type=module', '-e', script, '--', directory]), { status: 0, output: '' })
  t.ok(fs.existsSync(path.join(directory, 'driver.lock')))
  const next = await StateDirectory.own(directory, () => undefined)
  next.release()
  fs.rmSync(directory, { recursive: true })
})
