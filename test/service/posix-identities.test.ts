/**
 * Two gateways: one keeps the numbers of a site, the other has its users' uid and gid from there. What is shared by HTTP stands on disk under those
 * numbers, what setfacl says on disk is told by HTTP, and in a session id, ls and getfacl show names.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, chmodSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startGateway, type Gateway } from '../../src/app.ts'
import { type ConfigDocument, readConfig } from '../../src/config.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { authority, chainPem, credentials, dnOf, host } from '../http/people.ts'
import { needs } from '../parts.ts'
import { nodeDocument, run, sh } from './running.ts'

t.setTimeout(240_000)

const folder = mkdtempSync(join(tmpdir(), 'karst-numbers-'))
// somebody else than root is to list what is in it
chmodSync(folder, 0o755)
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const pem = (name: 'alice' | 'bob' | 'carol'): string =>
  file(`${name}.pem`, `${chainPem(credentials[name])}\n${credentials[name].key}`)
const files = {
  ca: file('ca.pem', authority.certificate),
  server: file('server.pem', `${host.certificate}\n${host.key}`),
  alice: pem('alice'),
  bob: pem('bob'),
  carol: pem('carol'),
}

const FAR = 'ivo://numbers.example/gms?Survey.Team'
const LATER = 'ivo://numbers.example/gms?later'
const LOCAL = 'ivo://files.example/gms?collab'
const GROUPREAD = 'ivo://ivoa.net/vospace/core#groupread'
const GROUPWRITE = 'ivo://ivoa.net/vospace/core#groupwrite'

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}

const ports = { numbers: await freePort(), files: await freePort() }
const urlOf = (name: 'numbers' | 'files'): string => `https://localhost:${ports[name]}/karst`
const root = (name: string): string => join(folder, `${name}-tree`)

function document(name: 'numbers' | 'files', more: Partial<ConfigDocument>): ConfigDocument {
  mkdirSync(root(name), { recursive: true, mode: 0o755 })
  return {
    service: { resourceId: `ivo://${name}.example/karst`, url: urlOf(name) },
    listen: { host: '127.0.0.1', port: ports[name] },
    tls: { certificate: files.server, key: files.server },
    trust: [files.ca],
    state: join(folder, name),
    backends: { main: { type: 'posix', root: root(name), mode: 'auto' } },
    namespace: [{ path: '/', backend: 'main' }],
    allocations: ['/home'],
    logLevel: 'warn',
    ...more,
  }
}

const person = (name: 'alice' | 'bob' | 'carol', uid?: number) => ({
  name,
  x509: [dnOf(name)],
  ...(uid !== undefined && { uid }),
})

// carol is the other gateway there
const numbersDocument = document('numbers', {
  users: [person('alice', 30_001), person('bob', 30_002), person('carol', 30_003)],
  groups: [{ uri: FAR, owner: 'carol', members: [] }],
})
const filesDocument = (required = true): ConfigDocument =>
  document('files', {
    users: [person('alice'), person('bob')],
    groups: [{ uri: LOCAL, owner: 'alice', members: ['alice'] }],
    groupServices: [
      { authority: 'ivo://numbers.example/gms', url: `${urlOf('numbers')}/gms/capabilities`, ca: files.ca, timeout: 1 },
    ],
    posixMapper: {
      url: `${urlOf('numbers')}/posix`,
      ca: files.ca,
      certificate: files.carol,
      refreshSeconds: 3600,
      required,
    },
  })

const open = new Map<string, Gateway>()
async function start(name: 'numbers' | 'files', given: ConfigDocument): Promise<Gateway> {
  const gateway = await startGateway(readConfig(given, folder), { logFile: join(folder, `${name}.log`) })
  open.set(name, gateway)
  return gateway
}
async function stop(name: 'numbers' | 'files'): Promise<void> {
  await open.get(name)?.close()
  open.delete(name)
}
t.teardown(async () => {
  for (const gateway of [...open.values()].reverse()) await gateway.close()
  rmSync(folder, { recursive: true, force: true })
})

/** By curl; status and text. */
async function curl(user: 'alice' | 'bob', url: string, ...words: string[]): Promise<{ status: number; text: string }> {
  const all = ['-sS', '--cacert', files.ca, '--cert', files[user], '-w', '\n%{http_code}', ...words, url]
  const { code, stdout, stderr } = await run('curl', all)
  if (code !== 0) throw new Error(stderr)
  const at = stdout.lastIndexOf('\n')
  return { status: Number(stdout.slice(at + 1)), text: stdout.slice(0, at) }
}

const VOS = 'vos://files.example~karst'
const share = (path: string, type: string, properties: Record<string, string | null>) =>
  curl('alice', `${urlOf('files')}/nodes${path}`, '-H', 'Content-Type: text/xml', '-d', nodeDocument(VOS + path, type, properties)) // prettier-ignore
const nodeText = async (path: string): Promise<string> => (await curl('alice', `${urlOf('files')}/nodes${path}`)).text
const groupsIn = (text: string, uri: string): string => new RegExp(`${uri}"[^>]*>([^<]*)<`).exec(text)?.[1] ?? ''

async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await is()); i++) {
    if (i > 600) throw new Error(`never: ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

const CURL = needs('curl')
const ROOT = needs('root with CAP_SYS_ADMIN', 'curl', 'getfacl', 'setfacl')
const DISK = join(root('files'), 'home/alice/data')

t.before(async () => {
  await start('numbers', numbersDocument)
  const gateway = await start('files', filesDocument())
  await gateway.provision([
    { path: nodePath('/home'), owner: undefined, access: { isPublic: true } },
    { path: nodePath('/home/alice'), owner: 'alice', access: {} },
    { path: nodePath('/home/alice/data'), owner: 'alice', access: {} },
    { path: nodePath('/home/alice/data/f'), owner: 'alice', access: {}, bytes: Buffer.from('x') },
  ])
})

t.test('users have the numbers of the site, groups of their own others that never clash', { skip: CURL }, async (t) => {
  const told = async (query: string): Promise<string> =>
    (await curl('bob', `${urlOf('files')}/posix/${query}`, '-H', 'Accept: text/tab-separated-values')).text
  t.match(await told('uid?user=alice&user=bob'), /^alice\t30001\t30001\nbob\t30002\t30002\n?$/)
  t.match(await told('uid'), 'carol\t30003\t30003', 'who is not known here, too')
  t.match(await told(`gid?group=${FAR}`), `${FAR}\t90000`)
  t.match(await told(`gid?group=${LOCAL}`), `${LOCAL}\t2000000000`)
  t.equal((await curl('bob', `${urlOf('files')}/posix/uid?user=mallory`)).status, 404)
  t.equal((await curl('bob', `${urlOf('numbers')}/posix/gid?group=${LOCAL}`)).status, 404, 'nothing was given there')
})

t.test('groups of a node are entries of its ACL on disk, under the numbers of the site', { skip: ROOT }, async (t) => {
  t.equal(statSync(DISK).uid, 30_001)
  const properties = { [GROUPREAD]: FAR, [GROUPWRITE]: LOCAL }
  t.equal((await share('/home/alice/data', 'ContainerNode', properties)).status, 200)
  t.equal((await share('/home/alice/data/f', 'DataNode', properties)).status, 200)
  const dir = await sh(`getfacl -pn "${DISK}"`)
  t.match(dir, /^group:90000:r-x$/m)
  t.match(dir, /^group:2000000000:rwx$/m)
  const data = await sh(`getfacl -pn "${DISK}/f"`)
  t.match(data, /^group:90000:r--$/m)
  t.match(data, /^group:2000000000:rw-$/m)
  t.equal((await share('/home/alice/data/f', 'DataNode', { [GROUPREAD]: null })).status, 200)
  t.notMatch(await sh(`getfacl -pn "${DISK}/f"`), /group:90000/)
})

t.test(
  'what setfacl changes on disk is told at once, and one it learns of later is told then',
  { skip: ROOT },
  async (t) => {
    await new Promise((done) => setTimeout(done, 2500)) // until what is read is remembered
    for (let i = 0; i < 3; i++) t.equal(groupsIn(await nodeText('/home/alice/data/f'), GROUPREAD), '')
    await sh(`setfacl -m g:90000:r "${DISK}/f"`)
    t.equal(groupsIn(await nodeText('/home/alice/data/f'), GROUPREAD), FAR)
    await sh(`setfacl -m g:90000:rw "${DISK}/f"`)
    t.match(groupsIn(await nodeText('/home/alice/data/f'), GROUPWRITE), FAR)
    await sh(`setfacl -x g:90000 "${DISK}/f"`)
    t.notMatch(await nodeText('/home/alice/data/f'), FAR)
    await sh(`setfacl -m g:90500:r "${DISK}/f"`)
    t.equal(groupsIn(await nodeText('/home/alice/data/f'), GROUPREAD), '', 'no group of anybody')
    await sh(`setfacl -x g:90500 "${DISK}/f"`)
    const make = async (name: string): Promise<string> => {
      const words = ['-H', 'Content-Type: application/json', '-d', JSON.stringify({ name })]
      return (await curl('bob', `${urlOf('numbers')}/groups`, ...words)).text
    }
    t.match(await make('later'), '"gid":90001')
    const shared = async (): Promise<number> => (await share('/home/alice/data', 'ContainerNode', { [GROUPREAD]: LATER })).status // prettier-ignore
    t.equal(await shared(), 503, 'its number is asked for')
    await until('shared', async () => (await shared()) === 200)
    t.match(await sh(`getfacl -pn "${DISK}"`), /^group:90001:r-x$/m)
    t.match(await make('third'), '"gid":90002')
    await sh(`setfacl -m g:90002:r "${DISK}/f"`)
    await until(
      'named',
      async () => groupsIn(await nodeText('/home/alice/data/f'), GROUPREAD) === `${LATER.slice(0, -5)}third`,
    )
  },
)

t.test('an owner that is learned of later is shown by name then', { skip: ROOT }, async (t) => {
  await sh(`touch "${DISK}/hers"; chown 30003 "${DISK}/hers"; touch "${DISK}/its"; chown 30077 "${DISK}/its"`)
  t.match(await nodeText('/home/alice/data/hers'), 'carol')
  t.match(await nodeText('/home/alice/data/its'), 'uid:30077')
})

t.test(
  'in a session id, ls and getfacl show names, not numbers',
  { skip: ROOT || needs('unshare', 'mount', 'id') },
  async (t) => {
    const passwd = join(folder, 'session-passwd')
    const group = join(folder, 'session-group')
    const words = ['--passwd', passwd, '--group', group, '--home', '/home/{user}', '--extrausers', folder]
    const service = ['--url', urlOf('files'), '--ca', files.ca, '--certificate', files.alice]
    t.match(await run('bin/karst', ['identities', ...words, ...service]), { code: 0, stderr: '' })
    t.equal(statSync(passwd).mode & 0o777, 0o644)
    t.ok(
      readFileSync(passwd, 'utf8').startsWith(readFileSync('/etc/passwd', 'utf8').trimEnd()),
      'what the system has stays',
    )
    const bound = `mount --make-rprivate /; mount --bind "${passwd}" /etc/passwd; mount --bind "${group}" /etc/group;`
    const inSession = (script: string): Promise<string> => sh(`unshare -m sh -euc '${bound} ${script}'`)
    t.equal(
      (await inSession('id alice')).trim(),
      'uid=30001(alice) gid=30001(alice) groups=30001(alice),2000000000(collab)',
    )
    t.match(await inSession(`ls -ld "${DISK}"`), /^drwx\S+\s+\d+\s+alice\s+alice\s/)
    t.match(await inSession(`ls -l "${DISK}/hers"`), /\scarol\s/)
    const acl = await inSession(`getfacl -p "${DISK}" "${DISK}/f"`)
    t.match(acl, /^# owner: alice$/m)
    t.match(acl, /^group:collab:rwx$/m)
    t.match(acl, /^group:later:r-x$/m)
    t.notMatch(acl, /^(group|user):\d/m)
    t.match(await inSession('getent group survey_team'), /^survey_team:x:90000:$/m)
    t.match(await inSession('getent passwd bob root'), /^bob:x:30002:30002:bob:\/home\/bob:\/bin\/sh\nroot:x:0:0:/)
    const again = readFileSync(passwd, 'utf8') + readFileSync(group, 'utf8')
    const base = ['--base-passwd', passwd, '--base-group', group]
    t.equal((await run('bin/karst', ['identities', ...words.slice(0, 6), ...base, ...service])).code, 0)
    t.equal(readFileSync(passwd, 'utf8') + readFileSync(group, 'utf8'), again, 'twice is once')
    t.match(
      readFileSync(join(folder, 'passwd'), 'utf8'),
      /^alice:x:30001:[^\n]+\nbob:[^\n]+\ncarol:[^\n]+\n$/,
      'the extract',
    )
    t.match(readFileSync(join(folder, 'group'), 'utf8'), /^collab:x:2000000000:alice$/m)
  },
)

t.test(
  'the extract is read by libnss-extrausers',
  { skip: ROOT || needs('unshare', '/usr/lib/libnss_extrausers.so.2') },
  async (t) => {
    const extract = join(folder, 'extrausers')
    mkdirSync(extract)
    chmodSync(extract, 0o755)
    const service = ['--url', urlOf('files'), '--ca', files.ca, '--certificate', files.alice]
    t.match(await run('bin/karst', ['identities', '--extrausers', extract, ...service]), { code: 0, stderr: '' })
    const switched = join(folder, 'nsswitch.conf')
    writeFileSync(switched, 'passwd: files extrausers\ngroup: files extrausers\n')
    const bound = `mount --make-rprivate /; mount --bind "${extract}" /var/lib/extrausers; mount --bind "${switched}" /etc/nsswitch.conf`
    const told = await sh(`unshare -m sh -euc '${bound}; id alice; id root; ls -ld "${DISK}"; getfacl -p "${DISK}"'`)
    t.match(told, /^uid=30001\(alice\) gid=30001\(alice\) groups=30001\(alice\),2000000000\(collab\)\nuid=0\(root\)/)
    t.match(told, /^drwx\S+\s+\d+\s+alice\s+alice\s/m)
    t.match(told, /^group:collab:rwx$/m)
  },
)

t.test('karst identities says in a sentence what it cannot do', async (t) => {
  const service = ['--url', urlOf('files'), '--ca', files.ca, '--certificate', files.alice]
  const both = ['--passwd', join(folder, 'p'), '--group', join(folder, 'g')]
  const ask = (...words: string[]) => run('bin/karst', ['identities', ...words, ...service])
  t.match(await ask(), { code: 2, stderr: /--passwd FILE and --group FILE/ })
  t.match(await ask('--passwd', 'x'), { code: 2, stderr: /go together/ })
  t.match(await ask(...both, '--user', 'mallory'), { code: 1, stderr: /NodeNotFound|there is none of mallory/ })
  t.match(await ask(...both, '--shell', 'sh:'), { code: 1, stderr: /^karst identities: [^\n]+passwd[^\n]+\n$/ })
  t.match(await ask('--passwd', '/nowhere/p', '--group', '/nowhere/g'), {
    code: 1,
    stderr: /^karst identities: ENOENT[^\n]+\n$/,
  })
  t.match(await ask(...both, '--user', 'bob'), { code: 0 })
  t.match(readFileSync(join(folder, 'p'), 'utf8'), /\nalice:[^\n]+\nbob:[^\n]+\n$/, 'who asks, and who is named')
})

t.test('without the mapper it does not start, or goes on with what is remembered', { skip: CURL }, async (t) => {
  await stop('files')
  await stop('numbers')
  await t.rejects(start('files', filesDocument()), {
    name: 'ConfigError',
    message: /^posixMapper: https:.*ECONNREFUSED.* numbers are remembered; .*"required": false$/,
  })
  await start('files', filesDocument(false))
  t.match((await curl('alice', `${urlOf('files')}/posix/uid?own=true`)).text, 'alice:x:30001:30001:::')
  await stop('files')
  const stranger = { ...filesDocument(false), users: [person('alice'), person('bob'), { name: 'dave' }] }
  await t.rejects(start('files', stranger), { name: 'ConfigError', message: /users: dave has no uid/ })
})
