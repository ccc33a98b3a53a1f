/** A node asked for again and again over one connection: what is remembered of it, and of who asks, is never told after it has changed. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { Callers } from '../../src/identity/caller.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { setXattr } from '../../src/libc/xattr.ts'
import { openStore } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { needs } from '../parts.ts'
import { GROUP, startGateway, type Gateway } from './gateway.ts'
import { authority, credentials, dnOf } from './people.ts'

const notRoot = needs('root with CAP_SYS_ADMIN')
const ALICE = 20_000

interface Served {
  readonly gateway: Gateway
  /** /pub of alice's, settled: what was read of it is kept */
  readonly real: string
}

/** `/pub/a/file` of alice's in a tree on disk. */
async function served(t: Test): Promise<Served> {
  const root = mkdtempSync(join(tmpdir(), 'karst-stat-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  chmodSync(root, 0o755)
  mkdirSync(join(root, 'pub/a'), { recursive: true })
  writeFileSync(join(root, 'pub/a/file'), 'abc', { mode: 0o644 })
  const real = join(root, 'pub')
  execFileSync('chown', ['-R', `${ALICE}:${ALICE}`, real])
  await sleep(2500)
  const place: { backend?: PosixBackend } = {}
  const gateway = await startGateway(t, {
    backend: () => (place.backend = new PosixBackend({ root, ids: lateIds, mode: 'root', allocationParents: [] })),
  })
  await place.backend?.start()
  t.teardown(() => place.backend?.stop())
  return { gateway, real }
}

/** Enough for this tree: alice, and nobody else. */
const lateIds = {
  version: 1,
  uidOf: (owner: string) => (owner === 'alice' ? ALICE : undefined),
  ownerOf: (uid: number) => (uid === ALICE ? 'alice' : `uid:${uid}`),
  gidOfUser: (owner: string) => (owner === 'alice' ? ALICE : undefined),
  gidOf: (uri: string) => (uri === GROUP ? 90_000 : undefined),
  groupOf: (gid: number) => (gid === 90_000 ? GROUP : undefined),
}

const text = async (gateway: Gateway, path: string, as: 'alice' | 'bob' = 'alice'): Promise<string> =>
  (await gateway.call(`/nodes${path}?limit=0`, { as })).text

t.test('shows what another process has changed', { skip: notRoot || needs('setfacl') }, async (t) => {
  const { gateway, real } = await served(t)
  const file = join(real, 'a/file')
  const first = await text(gateway, '/pub/a/file')
  t.match(first, /#length" readOnly="true">3</)
  t.equal(await text(gateway, '/pub/a/file'), first)
  execFileSync('sh', ['-c', 'printf 12345 > "$1"', 'sh', file])
  t.match(await text(gateway, '/pub/a/file'), /#length" readOnly="true">5</)
  setXattr(file, 'user.quality', Buffer.from('good'))
  t.match(await text(gateway, '/pub/a/file'), />good</)
  execFileSync('chmod', ['o-r', file])
  t.match(await text(gateway, '/pub/a/file'), /#ispublic">false</)
  execFileSync('setfacl', ['-m', 'g:90000:r', file])
  t.match(await text(gateway, '/pub/a/file'), new RegExp(`#groupread">${GROUP.replace('?', '\\?')}<`))
  execFileSync('mv', [join(real, 'a'), join(real, 'b')])
  t.match(await text(gateway, '/pub/a/file'), /^NodeNotFound/)
  t.match(await text(gateway, '/pub/b/file'), /#length" readOnly="true">5</)
})

t.test('keeps apart levels of detail, forms and callers', { skip: notRoot }, async (t) => {
  const { gateway } = await served(t)
  for (let i = 0; i < 2; i++) {
    const get = async (query: string, as: 'alice' | 'bob' = 'alice', accept = '*/*'): Promise<string> =>
      (await gateway.call(`/nodes/pub/a?limit=0${query}`, { as, headers: { accept } })).text
    t.match(await get(''), /^<\?xml[^]*#creator/)
    t.notMatch(await get('&detail=min'), /#creator/)
    t.match(await get('&detail=max'), /#writable" readOnly="true">true</i)
    t.notMatch(await get('&detail=max', 'bob'), /#writable/i)
    t.equal(typeof JSON.parse(await get('', 'alice', 'application/json')), 'object')
  }
})

t.test('shuts a container on the way at once', { skip: notRoot }, async (t) => {
  const { gateway, real } = await served(t)
  t.match(await text(gateway, '/pub/a/file', 'bob'), /^<\?xml/)
  chmodSync(join(real, 'a'), 0o700)
  t.match(await text(gateway, '/pub/a/file', 'bob'), /^PermissionDenied/)
  t.match(await text(gateway, '/pub/a/file', 'alice'), /^<\?xml/)
  chmodSync(join(real, 'a'), 0o755)
  t.match(await text(gateway, '/pub/a/file', 'bob'), /^<\?xml/)
  chownSync(join(real, 'a'), 0, 0)
  chmodSync(join(real, 'a'), 0o700)
  t.match(await text(gateway, '/pub/a/file', 'alice'), /^PermissionDenied/, 'it is not hers any more')
  renameSync(join(real, 'a'), join(real, 'was'))
  t.match(await text(gateway, '/pub/a/file', 'alice'), /^NodeNotFound/)
})

t.test('lets nobody in who was taken out of the group, by whatever process', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-stat-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'karst.db')
  const store = openStore(file)
  const elsewhere = openStore(file)
  t.teardown(() => [store, elsewhere].forEach((each) => each.close()))
  for (const name of ['alice', 'bob']) store.users.create({ name })
  for (const name of ['alice', 'bob'] as const) store.users.addIdentity(name, { kind: 'x509', value: dnOf(name) })
  store.groups.create(GROUP, { owner: 'alice' })
  store.groups.add(GROUP, 'bob')
  const trust = [TrustStore.of(pemCertificates(authority.certificate))]
  const gateway = await startGateway(t, {
    services: { callers: new Callers({ trust, users: store.users, groups: store.groups }) },
  })
  const access = { owner: 'alice', isPublic: false, groupRead: [GROUP], groupWrite: [], inherit: false, locked: false }
  await gateway.space.backend.make(nodePath('/shared'), { type: 'container', access, mode: 0o750 })
  await gateway.space.backend.make(nodePath('/shared/x'), { type: 'container', access, mode: 0o750 })
  for (let i = 0; i < 3; i++) t.match(await text(gateway, '/shared/x', 'bob'), /^<\?xml/)
  elsewhere.groups.remove(GROUP, 'bob')
  t.match(await text(gateway, '/shared/x', 'bob'), /^PermissionDenied/)
  elsewhere.groups.add(GROUP, 'bob')
  t.match(await text(gateway, '/shared/x', 'bob'), /^<\?xml/)
})

t.test('lets nobody in whose certificate has ended since the connection was made', async (t) => {
  const gateway = await startGateway(t)
  const seconds = 5
  const brief = await createProxy(credentials.alice, { hours: seconds / 3600, newKey: 'ec' })
  const began = Date.now()
  const ask = async (): Promise<number> => (await gateway.call('/nodes/home/alice?limit=0', { as: brief })).status
  t.equal(await ask(), 200)
  t.equal(await ask(), 200)
  while (Date.now() < began + (seconds + 2) * 1000) await sleep(200)
  t.equal(await ask(), 401)
})

t.test('writes no token to the log, however often it comes', async (t) => {
  const gateway = await startGateway(t)
  for (let i = 0; i < 3; i++) {
    t.equal((await gateway.call('/nodes/home?limit=0&token=abc', { as: 'alice' })).status, 200)
    t.equal((await gateway.call('/nodes/home?limit=0', { as: 'alice' })).status, 200)
  }
  t.ok(gateway.log.length > 0)
  t.notOk(JSON.stringify(gateway.log).includes('abc'))
})

t.test('says of every kind of answer which software it is from, once', async (t) => {
  const gateway = await startGateway(t)
  t.equal((await gateway.call('/files/home/alice/x', { method: 'PUT', as: 'alice', body: 'abc' })).status, 201)
  const kinds: readonly (readonly [string, number, string?])[] = [
    ['/nodes/home/alice?limit=0', 200],
    ['/nodes/home/alice', 200],
    ['/nodes/home/alice/x?view=data', 303],
    ['/nodes/home/alice/nothing', 404],
    ['/files/home/alice/x', 200],
    ['/files/home/alice/x', 200, 'HEAD'],
    ['/fs/v1/entry?path=/home/alice', 200],
    ['/nowhere', 404],
    ['//livez', 200],
    ['/nodes/home/alice/x', 200, 'DELETE'],
  ]
  for (const [target, status, method = 'GET'] of kinds) {
    const reply = await gateway.call(target, { as: 'alice', method })
    t.equal(reply.status, status, `${method} ${target}`)
    t.equal(reply.headers['server'], 'karst/0.0.0', `${method} ${target}`)
  }
})
