/** Who is taken for a trusted mount, what that lets them do, and that nobody else gets any of it. */
import { randomUUID } from 'node:crypto'
import { lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { lackingPrivileges } from '../../src/backend/posix/privilege.ts'
import { buildAcl } from '../../src/vospace/posix-acl.ts'
import { ids } from '../conformance/posix-tree.ts'
import { needs } from '../parts.ts'
import { type Call, type Gateway, type GatewayOptions, type Reply, startGateway } from './gateway.ts'
import { credentials } from './people.ts'

const skip = needs('root with CAP_SYS_ADMIN')
const TRUSTED = { 'karst-trusted': '1' }
const S_IFIFO = 0o010000
const S_IFREG = 0o100000

interface Trusted {
  readonly gateway: Gateway
  readonly dir: string
  readonly post: (call: string, document: object, more?: Partial<Call>) => Promise<Reply>
}

/** bob is an administrator with trusted mounts, carol one without; alice is neither. */
async function start(t: Test, options: GatewayOptions = {}): Promise<Trusted> {
  const dir = mkdtempSync(join(tmpdir(), 'karst-trusted-'))
  const mode = lackingPrivileges().length === 0 ? 'root' : 'unprivileged'
  const posix = new PosixBackend({ root: dir, ids, mode, allocationParents: [] })
  await posix.start()
  t.teardown(async () => {
    await posix.stop()
    rmSync(dir, { recursive: true })
  })
  const services = { trustedMounts: ['bob'], ...options.services }
  const gateway = await startGateway(t, { backend: () => posix, ...options, services })
  for (const name of ['bob', 'carol']) gateway.store.users.setAdmin(name, true)
  const post: Trusted['post'] = (call, document, more = {}) =>
    gateway.call(`/fs/v1/${call}`, {
      method: 'POST',
      as: 'bob',
      headers: { 'operation-id': randomUUID(), ...TRUSTED },
      body: JSON.stringify(document),
      ...more,
    })
  return { gateway, dir, post }
}

const file = (path: string, more: object = {}) => ({ path, mode: S_IFREG | 0o640, uid: 6001, gid: 6002, ...more })

void t.test('only an administrator who is named may, with a certificate', { skip }, async (t) => {
  const { gateway, dir } = await start(t, { services: { trustedMounts: ['alice', 'bob'] } })
  const limited = await createProxy(credentials.bob, { hours: 1, newKey: 'ec', policy: OID.limited })
  const ask = async (as: Call['as'], said = '1') =>
    gateway.call('/fs/v1/entry?path=/', { ...(as && { as }), headers: { 'karst-trusted': said } })
  const refused: [string, Call['as'], string][] = [
    ['nobody', undefined, '1'],
    ['who is no administrator', 'alice', '1'],
    ['an administrator who is not named', 'carol', '1'],
    ['a limited proxy', limited, '1'],
    ['another word in the header', 'bob', 'yes'],
    ['the header twice', 'bob', '1, 1'],
  ]
  for (const [who, as, said] of refused) {
    const reply = await ask(as, said)
    t.match(
      [reply.status, reply.text],
      [403, /"fault":"PermissionDenied","errno":"EPERM","detail":"no trusted mount: /],
      who,
    )
  }
  t.equal((await ask('bob')).status, 200)
  t.equal((await ask(await createProxy(credentials.bob, { hours: 1, newKey: 'ec' }))).status, 200)
  t.match(JSON.parse((await gateway.call('/fs/v1', { as: 'bob', headers: TRUSTED })).text), {
    trusted: true,
    user: 'bob',
  })
  t.match(JSON.parse((await gateway.call('/fs/v1', { as: 'bob' })).text), { trusted: false })
  writeFileSync(join(dir, 'secret'), 'x', { mode: 0o600 })
  const read = async (headers: Record<string, string>) =>
    (await gateway.call('/fs/v1/data?path=/secret', { as: 'bob', headers })).status
  t.same([await read({}), await read(TRUSTED)], [403, 200], 'the name alone opens nothing')
})

void t.test('that somebody mounts so is in the audit', { skip }, async (t) => {
  const events: AuditEvent[] = []
  const audit = { note: (event: AuditEvent): void => void events.push(event) }
  const { gateway } = await start(t, { services: { trustedMounts: ['bob'], audit } })
  await gateway.call('/fs/v1', { as: 'bob' })
  t.same(events, [])
  await gateway.call('/fs/v1', { as: 'bob', headers: TRUSTED })
  t.same(events, [{ act: 'mount.trusted', by: 'bob', on: '/', result: 'allowed' }])
})

void t.test('no site has trusted mounts by itself', { skip }, async (t) => {
  const { gateway } = await start(t, { services: { trustedMounts: [] } })
  t.equal((await gateway.call('/fs/v1/entry?path=/', { as: 'bob', headers: TRUSTED })).status, 403)
})

void t.test('a store that keeps no numbers has no trusted mounts', async (t) => {
  const gateway = await startGateway(t, { services: { trustedMounts: ['bob'] } })
  gateway.store.users.setAdmin('bob', true)
  const reply = await gateway.call('/fs/v1/entry?path=/', { as: 'bob', headers: TRUSTED })
  t.match([reply.status, reply.text], [403, /mode root/])
})

void t.test('VOSpace takes no notice of the header', { skip }, async (t) => {
  const { gateway, dir, post } = await start(t)
  writeFileSync(join(dir, 'secret'), 'x', { mode: 0o600 })
  t.equal((await post('mknod', { path: '/fifo', mode: S_IFIFO | 0o666, uid: 0, gid: 0 })).status, 201)
  t.equal((await post('setattr', { path: '/', mode: 0o755 })).status, 200)
  t.equal((await gateway.call('/files/secret', { as: 'bob', headers: TRUSTED })).status, 403)
  t.equal((await gateway.call('/nodes/fifo', { as: 'bob', headers: TRUSTED })).status, 404)
})

void t.test('what is made is its maker’s, whatever it is', { skip }, async (t) => {
  const { dir, post } = await start(t)
  t.equal((await post('mknod', file('/f', { umask: 0o027 }))).status, 201)
  t.equal((await post('mknod', { ...file('/p'), mode: S_IFIFO | 0o604 })).status, 201)
  t.equal((await post('mknod', { ...file('/d'), mode: 0o040000 | 0o2755 })).status, 201)
  t.equal((await post('mknod', { ...file('/l'), mode: 0o120777, text: 'f' })).status, 201)
  const device = await post('mknod', { ...file('/c'), mode: 0o020600, device: 0x103 })
  t.match(JSON.parse(device.text), { special: { format: 0o020000, device: 0x103 }, uid: 6001 })
  for (const name of ['f', 'p', 'd', 'l', 'c'])
    t.same([lstatSync(join(dir, name)).uid, lstatSync(join(dir, name)).gid], [6001, 6002])
  t.equal((await post('mknod', file('/f'))).status, 409)
})

void t.test('a repeated call makes one, and says the same again', { skip }, async (t) => {
  const { post } = await start(t)
  const headers = { 'operation-id': randomUUID(), ...TRUSTED }
  const [one, again] = [await post('mknod', file('/f'), { headers }), await post('mknod', file('/f'), { headers })]
  t.same([again.status, again.text], [201, one.text])
})

void t.test('others make nothing by these calls', { skip }, async (t) => {
  const { post } = await start(t)
  for (const as of ['alice', 'bob', 'carol'] as const) {
    const reply = await post('mknod', file('/f'), { as, headers: { 'operation-id': randomUUID() } })
    t.match([reply.status, reply.text], [403, /EPERM/], as)
  }
})

void t.test('bad documents are refused', { skip }, async (t) => {
  const { post } = await start(t)
  const bad = [
    {},
    { path: '/f' },
    file('/f', { mode: 0o644 }),
    file('/f', { mode: 0o170000 | 0o644 }),
    file('/f', { uid: 0xffffffff }),
    file('/f', { gid: -1 }),
    file('/f', { uid: '0' }),
    file('/f', { umask: 0o7777 }),
    file('/f', { device: 2 ** 32 }),
    file('/f', { mode: 0o120777 }),
    file('/f', { mode: 0o120777, text: '' }),
    file('/f', { surprise: 1 }),
    file('/.karst'),
    file('/../x'),
    file('f'),
  ]
  for (const document of bad) {
    const { status } = await post('mknod', document)
    t.ok(status >= 400 && status < 500, JSON.stringify(document))
  }
})

void t.test('attributes are set as root sets them, locks hold', { skip }, async (t) => {
  const { dir, gateway, post } = await start(t)
  await post('mknod', file('/f', { mode: S_IFREG | 0o4755 }))
  t.equal((await post('setattr', { path: '/f', uid: 6003, gid: 6004 })).status, 200)
  const { uid, gid, mode } = statSync(join(dir, 'f'))
  t.same([uid, gid, mode & 0o7777], [6003, 6004, 0o755])
  t.match(JSON.parse((await post('setattr', { path: '/f', atime: '5', mtime: '-7' })).text), {
    atime: '5',
    mtime: '-7',
  })
  t.equal((await post('setattr', { path: '/f', uid: 6009 }, { headers: { 'operation-id': randomUUID() } })).status, 403)
  const { backend } = gateway.space
  await backend.set({ path: '/f' as never }, { access: { locked: true } })
  t.match([(await post('remove', { path: '/f', type: 'leaf' })).text], [/EPERM.*locked/])
})

void t.test('ACLs are the kernel’s to a trusted mount', { skip }, async (t) => {
  const { gateway, post } = await start(t)
  await post('mknod', file('/f'))
  const target = '/fs/v1/xattr?path=/f&name=system.posix_acl_access'
  const named = [{ kind: 'user', id: 42, perm: 4 }] as const
  const acl = buildAcl({ owner: 6, group: 4, other: 0, mask: 4, named })
  const headers = (): Record<string, string> => ({ 'operation-id': randomUUID(), ...TRUSTED })
  t.equal((await gateway.call(target, { as: 'bob', headers: TRUSTED })).status, 404)
  t.equal((await gateway.call(target, { method: 'PUT', as: 'bob', headers: headers(), body: acl })).status, 204)
  t.same((await gateway.call(target, { as: 'bob', headers: TRUSTED })).body, acl)
  t.equal(
    (await gateway.call(target, { method: 'PUT', as: 'alice', headers: { 'operation-id': randomUUID() }, body: acl }))
      .status,
    403,
  )
  t.equal((await gateway.call(target, { method: 'DELETE', as: 'bob', headers: headers() })).status, 204)
  t.equal((await gateway.call(target, { as: 'bob', headers: TRUSTED })).status, 404)
})
