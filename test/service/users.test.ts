/** `karst users` as an administrator calls it, against the tree of a quickstart: the life of an account from its beginning to its end, on a real disk. */
import { spawn } from 'node:child_process'
import { chownSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ConfigDocument } from '../../src/config.ts'
import { issueUserCertificate } from '../../src/identity/mint.ts'
import { type QuickstartReport } from '../../src/cli/quickstart.ts'
import { type Ended, Quickstart, request, run, type Answer } from './running.ts'

t.setTimeout(300_000)

const karst = new Quickstart(['--no-mount'])
t.teardown(() => karst.dispose())

const { report, daves } = await site()
const isRoot = process.getuid?.() === 0

interface Site {
  readonly report: QuickstartReport
  /** file with certificate and key of somebody unknown */
  readonly daves: string
}

/** What a quickstart has made, served on with alice as administrator and newcomers let in. */
async function site(): Promise<Site> {
  const made = await karst.start()
  const authority = {
    certificate: readFileSync(made.ca, 'utf8'),
    key: readFileSync(made.ca.replace(/\.pem$/, '-key.pem'), 'utf8'),
    chain: [],
  }
  const names = [
    ['O', 'karst development'],
    ['CN', 'Dave Jones'],
  ] as const
  const dave = await issueUserCertificate(authority, names, 1, 'ec')
  const file = join(karst.folder, 'dave.pem')
  writeFileSync(file, `${dave.certificate}\n${dave.key}`, { mode: 0o600 })
  await karst.stop()
  return { report: made, daves: file }
}

async function serving(more: Partial<ConfigDocument>): Promise<() => Promise<void>> {
  const written = join(karst.state, 'config.json')
  const file = join(karst.state, 'site.json')
  const document = JSON.parse(readFileSync(written, 'utf8')) as ConfigDocument
  writeFileSync(file, JSON.stringify({ ...document, administrators: ['alice'], ...more }), { mode: 0o600 })
  const child = spawn('bin/karst', ['serve', '--config', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  for (let waited = 0; !(await answers()); waited += 100) {
    if (waited > 60_000 || child.exitCode !== null) throw new Error('the gateway does not answer')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return async () => {
    child.kill('SIGTERM')
    await ended
  }
}

async function answers(): Promise<boolean> {
  return request(new URL('/livez', report.url).href, report.ca).then(
    ({ status }) => status === 200,
    () => false,
  )
}

const proxyOf = (user: string): string => (user === 'dave' ? daves : (report.users[user]?.proxy ?? ''))

async function users(as: string, ...words: string[]): Promise<Ended> {
  return run('bin/karst', ['users', ...words, '--url', report.url, '--ca', report.ca, '--certificate', proxyOf(as)])
}

async function call(as: string, path: string, method = 'GET', body?: string): Promise<Answer> {
  return request(report.url + path, report.ca, proxyOf(as), { method, ...(body !== undefined && { body }) })
}

const onDisk = (path: string): string => join(karst.state, 'tree', path)

t.test('an account from its beginning to its end', async (t) => {
  const home = { home: { path: '/home' } }
  const stop = await serving({ accounts: { autoprovision: ['x509'], names: ['*,o=karst development'], ...home } })
  t.teardown(stop)
  await t.test('everybody sees their own, the administrator all', async (t) => {
    t.match(await users('bob', 'list'), {
      code: 0,
      stdout: /^20001 {2}bob {2}- {2}cn=bob,ou=people,o=karst development,c=ca\n$/,
    })
    t.match(await users('bob', 'show'), { code: 0, stdout: /^name +bob\nuid +20001\nx509 / })
    t.match(await users('alice', 'list'), { code: 0, stdout: /20000 {2}alice {2}admin .*\n20001 {2}bob / })
    t.match(await users('bob', 'suspend', 'alice'), { code: 1, stderr: /^karst users: PermissionDenied: [^\n]*\n$/ })
  })
  await t.test('who comes gets an account and a home that is theirs on disk', async (t) => {
    t.equal((await call('dave', '/files/home/dave-jones/note', 'PUT', 'mine')).status, 201)
    const { stdout } = await users('dave', 'show')
    t.match(stdout, /^name +dave-jones\n/)
    const uid = Number(/uid +(\d+)/.exec(stdout)?.[1])
    if (isRoot) t.equal(statSync(onDisk('home/dave-jones')).uid, uid)
  })
  await t.test('made by hand, with a second identity', async (t) => {
    const words = ['--x509', '/O=karst development/CN=carol', '--quota', '100000000']
    t.match(await users('alice', 'create', 'carol', ...words), { code: 0 })
    t.ok(existsSync(onDisk('home/carol')))
    t.match(await users('alice', 'show', 'carol'), { stdout: / \d+ of 100000000 bytes\n/ })
    t.match(await users('alice', 'link', 'carol', '--oidc', 'https://op.example/ 17'), {
      code: 0,
      stdout: /oidc +https:\/\/op.example 17\n/,
    })
    t.match(await users('alice', 'link', 'carol', '--x509', '/C=CA/O=karst development/OU=people/CN=bob'), {
      code: 1,
      stderr: /DuplicateNode/,
    })
    t.match(await users('alice', 'unlink', 'carol', '--oidc', 'https://op.example 17'), { code: 0 })
    t.match(await users('alice', 'create', 'carol'), { code: 1, stderr: /DuplicateNode/ })
    t.match(await users('alice', 'create', 'root'), { code: 1, stderr: /InvalidArgument/ })
    t.match(await users('alice', 'limit', 'carol', 'connections=9', 'requests=7', 'uploadBytes=none'), {
      code: 0,
      stdout: /limit +connections=9\n.*limit +requests=7\n/s,
    })
    t.match(await users('alice', 'admin', 'carol', 'on'), { code: 0, stdout: /admin +yes/ })
    t.match(await users('alice', 'admin', 'carol', 'off'), { code: 0 })
    t.match(await users('alice', 'admin', 'alice', 'off'), { code: 1, stderr: /last administrator/ })
  })
  await t.test('suspended, handed over and deleted', async (t) => {
    t.match(await users('alice', 'delete', 'dave-jones'), { code: 1, stderr: /suspended first/ })
    t.match(await users('alice', 'suspend', 'dave-jones'), { code: 0, stdout: /suspended since/ })
    t.match((await call('dave', '/files/home/dave-jones/note')).body.toString(), /suspended/)
    t.match(await users('alice', 'delete', 'dave-jones'), {
      code: 1,
      stderr: /ContainerNotEmpty: .*\/home\/dave-jones/,
    })
    t.match(await users('alice', 'hand-over', 'dave-jones', 'bob', '--path', '/home/dave-jones/note'), {
      code: 0,
      stdout: '1 node handed over\n',
    })
    t.match(await users('alice', 'delete', 'dave-jones', '--hand-over-to', 'bob'), {
      code: 0,
      stdout: '1 node handed over\ndave-jones is deleted\n',
    })
    t.equal((await call('bob', '/files/home/dave-jones/note')).body.toString(), 'mine')
    if (isRoot) t.equal(statSync(onDisk('home/dave-jones/note')).uid, 20_001)
    t.notMatch((await users('alice', 'list')).stdout, /dave/)
  })
  await t.test('who comes again is somebody else', async (t) => {
    t.match(await users('dave', 'show'), { code: 0, stdout: /^name +dave-jones-2\nuid +20004\n/ })
    t.equal((await call('dave', '/files/home/dave-jones/note')).status, 403)
  })
  await t.test('wrong words are said to be so', async (t) => {
    for (const words of [
      ['burn', 'bob'],
      ['admin', 'bob', 'maybe'],
      ['limit', 'bob', 'speed=1'],
    ])
      t.match(await users('alice', ...words), { code: 2, stderr: /usage: karst users/ }, words.join(' '))
  })
})

t.test('an administrator listed in the configuration is one again at the next start', async (t) => {
  const stop = await serving({ administrators: ['bob'] })
  t.match(await users('bob', 'admin', 'alice', 'off'), { code: 0 })
  await stop()
  t.teardown(await serving({}))
  t.match(await users('alice', 'list'), { code: 0, stdout: /alice +admin/ })
})

t.test('files that were there already are handed over too', { skip: !isRoot && 'needs root' }, async (t) => {
  t.teardown(await serving({}))
  writeFileSync(onDisk('home/bob/planted'), 'x')
  chownSync(onDisk('home/bob/planted'), 20_001, 20_001)
  t.match(await users('alice', 'hand-over', 'bob', 'carol', '--path', '/home/bob'), {
    code: 0,
    stdout: /^\d+ nodes? handed over\n$/,
  })
  t.equal(statSync(onDisk('home/bob/planted')).uid, statSync(onDisk('home/carol')).uid)
})
