// Locks of the mount API as a client that is no mount of ours makes them.
import { request as httpsRequest } from 'node:https'
import t, { type Test } from 'tap'
import { type Gateway, operation, startGateway } from './gateway.ts'
import { authority, chainPem, credentials, type Name } from './people.ts'

const A = '/home/alice'

interface Said {
  readonly status: number
  readonly [field: string]: unknown
}

async function post(gateway: Gateway, call: string, document: unknown, as: Name | null = 'alice'): Promise<Said> {
  const body = typeof document === 'string' ? document : JSON.stringify(document)
  const { status, text } = await gateway.call(`/fs/v1/${call}`, { method: 'POST', ...(as !== null && { as }), body })
  return { status, ...(JSON.parse(text === '' ? '{}' : text) as object) }
}

async function sessionOf(gateway: Gateway, as: Name = 'alice', ttl?: number): Promise<string> {
  return String((await post(gateway, 'lease/session', ttl === undefined ? {} : { ttl }, as))['session'])
}

/** A file of alice's that bob's group may read, a session of hers, and how to lock it. */
async function world(t: Test, more: Parameters<typeof startGateway>[1] = {}) {
  const gateway = await startGateway(t, more)
  const put = { method: 'PUT', as: 'alice', headers: operation(), body: 'bytes' } as const
  const { id } = JSON.parse((await gateway.call(`/fs/v1/data?path=${A}/f`, put)).text) as { id: string }
  const session = await sessionOf(gateway)
  const lock = (type: string, fields: object = {}, as: Name = 'alice') =>
    post(gateway, 'lease', { session, path: `${A}/f`, id, kind: 'posix', owner: '1', type, ...fields }, as)
  return { gateway, id, session, lock }
}

t.test('a lock is granted with the node as it is, and told to who is refused', async (t) => {
  const { gateway, id, lock } = await world(t)
  const granted = await lock('write', { start: 5, end: 9, pid: 77 })
  t.match(granted, { status: 200, granted: true, entry: { id, path: `${A}/f`, size: 5, writable: true } })
  t.equal(granted['seq'], gateway.store.changes.last())
  const holder = { start: 5, end: 9, type: 'write', pid: 77, own: true }
  t.same(await lock('read', { owner: '2' }), { status: 200, granted: false, waiting: false, holder })
  t.same(await lock('read', { owner: '2', test: true }), { status: 200, granted: false, waiting: false, holder })
  t.same(await lock('read', { owner: '2', start: 10, test: true }), { status: 200, granted: true })
  t.match(await lock('read', { owner: '2', kind: 'flock' }), { granted: true })
  const other = await sessionOf(gateway)
  const stranger = { session: other, owner: '1', start: 0, end: 5 }
  t.match(await lock('read', stranger), { granted: false, holder: { own: false, pid: 0 } }, 'pids are of one machine')
  t.match(await lock('write', { start: 5, end: 9 }), { granted: true }, 'again is harmless')
  t.match(await lock('unlock', { start: 0 }), { granted: true })
  t.match(await lock('unlock', { start: 0 }), { granted: true })
  t.match(await lock('read', stranger), { granted: true })
})

t.test('who waits is answered when the lock is free, and when the time is over', async (t) => {
  const { gateway, lock } = await world(t)
  await lock('write')
  const ticket = 'ticket'
  t.match(await lock('write', { owner: '2', ticket, wait: 0 }), { granted: false, waiting: true })
  t.match(await lock('write', { owner: '2', ticket, wait: 50 }), { granted: false, waiting: true })
  const waiting = lock('write', { owner: '2', ticket, wait: 20_000 })
  await lock('unlock')
  t.match(await waiting, { granted: true })
  t.equal(gateway.store.leases.waiting(), 0)
  t.match(await lock('write', { ticket, wait: 30 }), { granted: false, waiting: true })
})

t.test('a client that goes away waits no more, and gets no lock', async (t) => {
  const { gateway, session, id, lock } = await world(t)
  await lock('write')
  const document = { session, path: `${A}/f`, id, kind: 'posix', owner: '2', type: 'write', ticket: 'x', wait: 20_000 }
  const tls = { cert: chainPem(credentials.alice), key: credentials.alice.key, ca: authority.certificate }
  const place = { host: '127.0.0.1', servername: 'localhost', port: gateway.port, path: gateway.path('/fs/v1/lease') }
  const request = httpsRequest({ ...tls, ...place, method: 'POST', agent: false })
  request.on('error', () => undefined)
  request.end(JSON.stringify(document))
  while (gateway.store.leases.waiting() === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  request.destroy()
  while (gateway.store.leases.waiting() > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  await lock('unlock')
  t.equal(gateway.store.leases.count(), 0)
})

t.test('a circle is EDEADLK, and a ticket can be given up', async (t) => {
  const { gateway, session, lock } = await world(t)
  await lock('write', { start: 0, end: 0 })
  await lock('write', { start: 1, end: 1, owner: '2' })
  t.match(await lock('write', { start: 1, end: 1, ticket: 'a', wait: 0 }), { waiting: true })
  const circle = { start: 0, end: 0, owner: '2', ticket: 'b', wait: 0 }
  t.match(await lock('write', circle), { status: 423, fault: 'NodeBusy', errno: 'EDEADLK' })
  const query = `session=${session}&ticket=a`
  t.equal((await gateway.call(`/fs/v1/lease?${query}`, { method: 'DELETE', as: 'alice' })).status, 204)
  t.match(await lock('write', circle), { waiting: true })
})

t.test('locks are of the node: they follow a rename, and can be given back when it is gone', async (t) => {
  const { gateway, session, id, lock } = await world(t)
  await lock('write')
  await gateway.call('/fs/v1/rename', {
    ...{ method: 'POST', as: 'alice', headers: operation() },
    body: JSON.stringify({ from: `${A}/f`, to: `${A}/g` }),
  })
  t.match(await lock('write', { owner: '2' }), { granted: false }, 'by its id, whatever the path')
  t.match(await lock('write', { owner: '2', path: `${A}/g`, id: undefined }), { granted: false })
  await gateway.call('/fs/v1/remove', {
    ...{ method: 'POST', as: 'alice', headers: operation() },
    body: JSON.stringify({ path: `${A}/g`, type: 'leaf' }),
  })
  t.match(await lock('read', { owner: '2' }), { status: 404, errno: 'ESTALE' })
  t.match(await post(gateway, 'lease', { session, id, kind: 'posix', owner: '1', type: 'unlock' }), { granted: true })
  t.equal(gateway.store.leases.count(), 0)
})

t.test('a session lives as long as it is renewed, and its end gives everything back', async (t) => {
  const { gateway, session, lock } = await world(t)
  await lock('write')
  t.same(await post(gateway, 'lease/renew', { session }), { status: 200, locks: 1 })
  const over = { status: 404, fault: 'NodeNotFound', errno: 'ENOLCK' }
  t.match(await post(gateway, 'lease/renew', { session }, 'bob'), over, "another user's is none")
  await gateway.call(`/fs/v1/lease?session=${session}`, { method: 'DELETE', as: 'bob' })
  t.equal(gateway.store.leases.count(), 1)
  t.equal((await gateway.call(`/fs/v1/lease?session=${session}`, { method: 'DELETE', as: 'alice' })).status, 204)
  t.equal(gateway.store.leases.count(), 0)
  t.match(await lock('write'), over)
  t.match(await post(gateway, 'lease/session', { ttl: 0 }), { ttl: 1 })
  t.match(await post(gateway, 'lease/session', { ttl: 3600 }), { ttl: 60 })
  t.match(await post(gateway, 'lease/session', {}), { ttl: 10 })
})

t.test('a lock for reading needs read permission, one for writing write permission', async (t) => {
  const { gateway, lock } = await world(t)
  const bobs = await sessionOf(gateway, 'bob')
  t.match(await lock('read', { session: bobs }, 'bob'), { status: 403, errno: 'EACCES' })
  await gateway.call('/fs/v1/data?path=/pub/f', { method: 'PUT', as: 'alice', headers: operation(), body: 'x' })
  const body = JSON.stringify({ path: '/pub/f', mode: 0o644 })
  await gateway.call('/fs/v1/setattr', { method: 'POST', as: 'alice', headers: operation(), body })
  const shared = { session: bobs, path: '/pub/f', id: undefined }
  t.match(await lock('read', shared, 'bob'), { granted: true })
  t.match(await lock('write', shared, 'bob'), { status: 403, errno: 'EACCES' })
  t.match(await post(gateway, 'lease/session', {}, null), { status: 403 })
  t.match(
    await lock('write', { path: '/pub/f', id: undefined }),
    { granted: false },
    "a reader's lock holds off writers",
  )
})

t.test('what says that it was written under a lock is taken only while that lives', async (t) => {
  const { gateway, session, lock } = await world(t)
  await lock('write')
  const put = (body: string) =>
    gateway.call(`/fs/v1/data?path=${A}/f`, {
      ...{ method: 'PUT', as: 'alice', body },
      headers: { ...operation(), lease: session },
    })
  t.equal((await put('under the lock')).status, 200)
  await gateway.call(`/fs/v1/lease?session=${session}`, { method: 'DELETE', as: 'alice' })
  t.match(await put('too late'), { status: 423, text: /"fault":"NodeLocked","errno":"EIO"/ })
  t.equal((await gateway.call('/files/home/alice/f', { as: 'alice' })).text, 'under the lock')
})

t.test('bad input is refused', async (t) => {
  const { gateway, lock } = await world(t)
  for (const fields of [
    { kind: 'other' },
    { kind: undefined },
    { owner: '' },
    { owner: 'x'.repeat(65) },
    { start: -1 },
    { start: 1.5 },
    { start: 9, end: 3 },
    { end: 2 ** 60 },
    { pid: -1 },
    { pid: 2 ** 40 },
    { wait: 1e9, ticket: 'x' },
    { ticket: '' },
    { session: 7 },
    { more: 1 },
    { path: '../x', id: undefined },
  ])
    t.match(await lock('write', fields), { status: 400 }, JSON.stringify(fields))
  t.match(await lock('maybe'), { status: 400 })
  for (const text of ['', '[]', 'null', '{', '\ufffd'])
    t.match(await post(gateway, 'lease', text), { status: 400 }, JSON.stringify(text))
  t.match(await post(gateway, 'lease/renew', { session: "' OR 1=1 --" }), { status: 404 })
  t.equal((await gateway.call('/fs/v1/lease', { method: 'DELETE', as: 'alice' })).status, 400)
  t.equal((await gateway.call('/fs/v1/lease', { as: 'alice' })).status, 405)
  t.equal(gateway.store.leases.count(), 0)
})
