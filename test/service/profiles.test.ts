/** Two storages in one namespace: served, listed, and a home brought from one to the other by `karst migrate`, for good. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Quickstart, request, run, type Answer, type Asking, type Ended } from './running.ts'
import { Serving } from './serving.ts'

interface Written {
  service: { url: string }
  backends: Record<string, { type: string; root: string }>
  namespace: { path: string; backend: string }[]
  administrators?: string[]
}

const notRoot = process.getuid?.() === 0 ? false : 'owners and ACLs are true on disk for root only'
const karst = new Quickstart(['--no-mount'])
const fast = join(karst.folder, 'fast')
const file = join(karst.state, 'config.json')
let ca = ''
let people: Readonly<Record<string, { readonly proxy: string } | undefined>> = {}
let served: Serving | undefined

const written = (): Written => JSON.parse(readFileSync(file, 'utf8')) as Written

async function serve(): Promise<void> {
  served = await Serving.start(file)
}

t.before(async () => {
  const report = await karst.start()
  ca = report.ca
  people = report.users
  await karst.stop()
  mkdirSync(fast)
  const config = written()
  config.backends['fast'] = { type: 'posix', root: fast }
  config.namespace.push({ path: '/scratch', backend: 'fast' })
  config.administrators = ['bob']
  writeFileSync(file, JSON.stringify(config))
  await serve()
})
t.teardown(async () => {
  await served?.stop()
  await karst.dispose()
})

const ask = (user: string, path: string, asking: Asking = {}): Promise<Answer> =>
  request(written().service.url + path, ca, people[user]?.proxy ?? '', asking)

const migrate = (user: string, uri: string, to: string, ...more: readonly string[]): Promise<Ended> => {
  const { url } = written().service
  const words = ['--url', url, '--ca', ca, '--certificate', people[user]?.proxy ?? '']
  return run('bin/karst', ['migrate', `vos://karst.local~karst${uri}`, '--to', to, ...words, ...more])
}

t.test('what is kept elsewhere is listed, and says which storage is lost', async (t) => {
  t.match((await ask('alice', '/nodes/')).body.toString(), /karst\/scratch"/)
  t.ok(existsSync(join(fast, 'scratch')))
  t.match((await ask('alice', '/availability')).body.toString(), /<vosi:available>true</)
})

/** Where a node that has the file systems of all storages finds a partition of alice's; undefined: nowhere. */
async function bound(partition: object): Promise<string | undefined> {
  const body = JSON.stringify({ session: 's', bind: ['main', 'fast'], ...partition })
  const answer = await ask('alice', '/partitions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const { bind } = JSON.parse(answer.body.toString()) as { bind?: { backend: string; path: string } }
  return bind === undefined ? undefined : join(written().backends[bind.backend]?.root ?? '', bind.path)
}

t.test('a partition is bound from the storage that keeps it, wherever that stands', { skip: notRoot }, async (t) => {
  t.equal(await bound({ partition: 'scratch' }), join(fast, 'scratch/alice~s'))
  t.ok(existsSync(join(fast, 'scratch/alice~s')))
  t.equal(await bound({ partition: 'home' }), join(written().backends['main']?.root ?? '', 'home/alice'))
  t.equal(await bound({ partition: 'home', bind: ['fast'] }), undefined, 'not from one that the node has not')
  t.equal(await bound({ partition: 'vos://karst.local~karst/' }), undefined, 'nor what is in several storages')
})

t.test('a home is brought to another storage, and stays there over a restart', async (t) => {
  t.equal((await ask('alice', '/files/home/alice/kept', { method: 'PUT', body: 'as it was' })).status, 201)
  t.match(await migrate('alice', '/home/alice', 'fast'), { code: 1, stderr: /PermissionDenied/ })
  t.match(await migrate('bob', '/home/alice', 'none'), { code: 1, stderr: /there is no profile none/ })
  if (notRoot === false) {
    const refusal =
      /NodeBusy: \/home\/alice is bind mounted by session s of alice, and what .*: end it, or wait until 2.*; --force/
    t.match(await migrate('bob', '/home/alice', 'fast'), { code: 1, stderr: refusal })
    t.equal((await ask('alice', '/partitions?session=s', { method: 'DELETE' })).status, 204)
  }
  t.match(await migrate('bob', '/home/alice', 'fast'), { code: 0, stdout: /\/home\/alice is kept by fast: \d+ nodes/ })
  const look = async (): Promise<void> => {
    t.equal((await ask('alice', '/files/home/alice/kept')).body.toString(), 'as it was')
    t.equal((await ask('bob', '/files/home/alice/kept')).status, 403)
    t.equal(readFileSync(join(fast, 'home/alice/kept'), 'utf8'), 'as it was')
    t.notOk(existsSync(join(written().backends['main']?.root ?? '', 'home/alice')))
  }
  await look()
  if (notRoot === false) t.equal(await bound({ partition: 'home' }), join(fast, 'home/alice'))
  await served?.stop('SIGKILL')
  await serve()
  await look()
  t.equal((await ask('alice', '/files/home/alice/more', { method: 'PUT', body: 'x' })).status, 201)
  t.ok(existsSync(join(fast, 'home/alice/more')))
  t.equal(
    (await ask('alice', '/nodes/home/alice', { method: 'DELETE' })).status,
    403,
    'where a storage begins it stays',
  )
  if (notRoot === false) t.match(await migrate('bob', '/home/alice', 'main'), { code: 1, stderr: /is bind mounted/ })
  t.match(await migrate('bob', '/home/alice', 'main', '--force'), { code: 0 })
  t.notOk(existsSync(join(fast, 'home/alice')))
})

t.test('a storage that is not there any more is named', async (t) => {
  await served?.stop()
  const config = written()
  writeFileSync(file, JSON.stringify({ ...config, backends: { ...config.backends, fast: { type: 'posix', root: join(karst.folder, 'gone') } } })) // prettier-ignore
  t.match(await run('bin/karst', ['serve', '--config', file]), { code: 1, stderr: /gone/ })
})
