/** `karst mount` and `karst umount` as a user calls them, and what they say when it cannot be. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fuseSkip } from '../parts.ts'
import { Quickstart, run, sh, type Ended } from './running.ts'

const skip = await fuseSkip()
const karst = new Quickstart(['--no-mount'])
t.before(async () => {
  await karst.start()
  mkdirSync(join(karst.folder, 'm'))
})
t.teardown(() => karst.dispose())

const dir = (): string => join(karst.folder, 'm')
const mount = (uri: string, ...more: string[]): Promise<Ended> => {
  const { ca, url, users } = karst.report
  const words = ['mount', uri, dir(), '--ca', ca, '--url', url, '--certificate', users['bob']?.proxy ?? '', ...more]
  return run('bin/karst', words, { env: { KARST_MOUNT_STATE: join(karst.folder, 'driver') } })
}
const umount = (place = dir()): Promise<Ended> =>
  run('bin/karst', ['umount', place], { env: { KARST_MOUNT_STATE: join(karst.folder, 'driver') } })

t.test('a gateway of another name is not mounted', async (t) => {
  const said = await mount('vos://other.local~x/datasets/sample')
  t.equal(said.code, 1)
  t.match(said.stderr, /the gateway at https:\/\/localhost:\d+\/karst is ivo:\/\/karst.local\/karst, and vos:\/\/other/)
})

t.test('a trusted mount is not for everybody, and it is said why', async (t) => {
  const said = await mount('vos://karst.local~karst/', '--trusted')
  t.equal(said.code, 1)
  t.match(said.stderr, /no trusted mount: it takes an administrator/)
})

t.test('nobody at the port is said within seconds, with a hint', async (t) => {
  const said = await mount('vos://karst.local~karst/datasets/sample', '--url', 'https://localhost:9/karst')
  t.equal(said.code, 1)
  t.match(said.stderr, /ECONNREFUSED.*is the gateway running at https:\/\/localhost:9\/karst\?/)
})

t.test('umount of what is not mounted is an error', async (t) => {
  t.match(await umount(), { code: 1, stderr: /nothing is mounted at/ })
})

t.test('a dataset, read-only, by registry', { skip }, async (t) => {
  const { ca, registry, users } = karst.report
  const words = ['--ca', ca, '--registry', registry, '--certificate', users['bob']?.proxy ?? '', '--read-only']
  const env = { KARST_MOUNT_STATE: join(karst.folder, 'driver') }
  const said = await run('bin/karst', ['mount', 'vos://karst.local~karst/datasets/sample', dir(), ...words], { env })
  t.equal(said.code, 0, said.stderr)
  t.match(await sh(`ls '${dir()}'`), /stars.fits/)
  t.match((await run('touch', [join(dir(), 'x')])).stderr, /Read-only file system/)
  t.equal((await umount()).code, 0)
  t.equal(await sh(`ls '${dir()}'`), '')
})

t.test('what is in use is detached and said so, and the place can be mounted again at once', { skip }, async (t) => {
  t.equal((await mount('vos://karst.local~karst/datasets/sample')).code, 0)
  const inside = spawn('sleep', ['60'], { cwd: dir() })
  t.teardown(() => inside.kill())
  await new Promise((done) => inside.once('spawn', done))
  const said = new RegExp(`was in use by sleep \\(${inside.pid}\\); detached, and gone when the last program lets go`)
  t.match(await umount(), { code: 1, stdout: said })
  t.match(await mount('vos://karst.local~karst/datasets/sample'), { code: 0, stderr: '' })
  t.match(await sh(`ls '${dir()}'`), /stars.fits/)
  inside.kill()
  t.equal((await umount()).code, 0)
})
