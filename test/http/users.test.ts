/** Accounts through the door: who administers whom, what suspension cuts off, how what is owned changes hands. */
import t from 'tap'
import { createProxy } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { operation, overlay } from './gateway.ts'
import { certificateOf, credentials, dnOf } from './people.ts'
import { ask, DAVE, hanging, HOME, ownerOf, pause, put, type Row, rowOf, started } from './users-lab.ts'

t.setTimeout(180_000)

t.test('who may see and change accounts', async (t) => {
  const gateway = await started(t)
  await t.test('administrators see all, others themselves', async (t) => {
    const all = JSON.parse((await ask(gateway, 'GET', '/users')).text) as { users: Row[] }
    t.same(
      all.users.map(({ name }) => name),
      ['alice', 'bob', 'carol'],
    )
    const own = JSON.parse((await ask(gateway, 'GET', '/users', undefined, 'alice')).text) as { users: Row[] }
    t.same(
      own.users.map(({ name }) => name),
      ['alice'],
    )
    t.match(rowOf(await ask(gateway, 'GET', '/users/me', undefined, 'alice')), {
      name: 'alice', uid: 20_000, admin: false, suspended: null, groups: 1, limits: null,
      identities: [{ kind: 'x509', value: dnOf('alice') }],
    }) // prettier-ignore
    t.equal((await ask(gateway, 'GET', '/users/bob', undefined, 'alice')).status, 403)
    t.equal((await ask(gateway, 'GET', '/users/nobody', undefined, 'alice')).status, 403, 'nor whether there is one')
    t.equal((await ask(gateway, 'GET', '/users/nobody')).status, 404)
    t.equal((await ask(gateway, 'GET', '/users', undefined, 'nobody')).status, 401)
  })
  await t.test('nobody else changes any, and every try is told to the audit', async (t) => {
    const tries: [string, string, object?][] = [
      ['POST', '/users', { name: 'eve' }],
      ['PATCH', '/users/alice', { admin: true }],
      ['PATCH', '/users/me', { admin: true }],
      ['PATCH', '/users/bob', { suspended: true }],
      ['POST', '/users/alice/identities', DAVE],
      ['DELETE', `/users/bob/identities?kind=x509&value=${encodeURIComponent(dnOf('bob'))}`],
      ['PUT', '/users/me/limits', {}],
      ['POST', '/users/bob/hand-over', { to: 'alice' }],
      ['DELETE', '/users/bob'],
    ]
    for (const [method, target, document] of tries) {
      const before = gateway.audit.length
      t.equal((await ask(gateway, method, target, document, 'alice')).status, 403, `${method} ${target}`)
      t.match(gateway.audit.slice(before), [{ by: 'alice', result: 'refused', detail: { why: 'PermissionDenied' } }])
    }
    t.equal(gateway.store.users.byName('alice')?.admin, false)
    t.equal(gateway.store.users.list().length, 3)
  })
  await t.test('an administrator’s limited proxy administers nothing', async (t) => {
    const limited = await createProxy(credentials.carol, { hours: 1, newKey: 'ec', policy: OID.limited })
    const refused = await ask(gateway, 'POST', '/users', { name: 'eve' }, limited)
    t.match(refused, { status: 403, text: /limited proxy/ })
    t.equal((await ask(gateway, 'GET', '/users/bob', undefined, limited)).status, 403)
    t.equal((await ask(gateway, 'GET', '/users/me', undefined, limited)).status, 200)
  })
  await t.test('a page of somebody else’s cannot have a browser do it', async (t) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', undefined]) {
      const headers = type === undefined ? {} : { 'Content-Type': type }
      const body = JSON.stringify({ name: 'eve' })
      t.equal((await gateway.call('/users', { method: 'POST', as: 'carol', headers, body })).status, 400, String(type))
    }
    t.equal(gateway.store.users.byName('eve'), undefined)
  })
  await t.test('the last administrator stays', async (t) => {
    t.equal((await ask(gateway, 'PATCH', '/users/carol', { admin: false })).status, 403)
    t.equal((await ask(gateway, 'PATCH', '/users/carol', { suspended: true })).status, 403)
    t.equal((await ask(gateway, 'PATCH', '/users/bob', { admin: true })).status, 200)
    t.equal((await ask(gateway, 'PATCH', '/users/carol', { admin: false }, 'bob')).status, 200)
    t.equal((await ask(gateway, 'GET', '/users/bob')).status, 403, 'at once')
  })
})

t.test('an account is made', async (t) => {
  const gateway = await started(t, { quota: 1 << 30 })
  await t.test('with an identity, a home and its quota', async (t) => {
    const made = await ask(gateway, 'POST', '/users', {
      name: 'dave',
      x509: '/O=karst development/CN=dave',
      quota: 1000,
    })
    t.equal(made.status, 201)
    t.match(rowOf(made), { name: 'dave', home: '/home/dave', identities: [DAVE] })
    t.equal(await put(gateway, '/home/dave/f', 'dave'), 201)
    t.equal(await put(gateway, '/home/dave/g', 'dave', Buffer.alloc(2000)), 413)
    t.match(JSON.parse((await ask(gateway, 'GET', '/users/me', undefined, 'dave')).text), { usage: { quota: 1000 } })
    t.equal((await gateway.call('/files/home/dave/f', { as: 'alice' })).status, 403, 'private')
    t.match(gateway.audit.at(-1), { act: 'user.create', by: 'carol', on: 'dave', result: 'allowed' })
  })
  await t.test('once, of many who ask for it at a time', async (t) => {
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => ask(gateway, 'POST', '/users', { name: 'erin' })),
    )
    t.same(replies.map(({ status }) => status).sort(), [201, ...Array<number>(9).fill(409)])
    t.equal(await ownerOf(gateway, '/home/erin'), 'erin')
  })
  await t.test('not with another’s identity, nor where another’s home stands', async (t) => {
    t.equal((await ask(gateway, 'POST', '/users', { name: 'mallory', x509: dnOf('alice') })).status, 409)
    t.equal(gateway.store.users.byName('mallory'), undefined)
    await gateway.space.backend.make(nodePath('/home/frank'), {
      type: 'container', mode: 0o700,
      access: { owner: 'bob', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false },
    }) // prettier-ignore
    t.equal((await ask(gateway, 'POST', '/users', { name: 'frank' })).status, 409)
    t.equal(gateway.store.users.byName('frank'), undefined)
  })
  await t.test('not with a name or a document that is none', async (t) => {
    const documents = [
      {}, { name: '' }, { name: 'me' }, { name: 'root' }, { name: '../bob' }, { name: 'a/b' }, { name: '-rf' }, { name: '.karst' }, { name: 'a\u0000' },
      { name: 'x'.repeat(65) }, { name: 7 }, { name: 'ok', uid: -1 }, { name: 'ok', uid: 1.5 }, { name: 'ok', uid: 0xffffffff }, { name: 'ok', x509: 'nonsense' },
      { name: 'ok', x509: 5 }, { name: 'ok', oidc: 'javascript:alert(1) x' }, { name: 'ok', oidc: 'https://op' }, { name: 'ok', admin: 'yes' },
      { name: 'ok', home: false, quota: 5 }, { name: 'ok', more: 1 }, { name: 'k\u0456d' },
    ] // prettier-ignore
    for (const document of documents) {
      t.equal((await ask(gateway, 'POST', '/users', document)).status, 400, JSON.stringify(document))
    }
    t.equal(gateway.store.users.byName('ok'), undefined)
    t.equal((await ask(gateway, 'POST', '/users', { name: 'ok', uid: 20_000 })).status, 409, 'alice’s number')
  })
})

t.test('identities', async (t) => {
  const gateway = await started(t)
  await t.test('somebody else’s is not linked', async (t) => {
    const taken = await ask(gateway, 'POST', '/users/bob/identities', { kind: 'x509', value: dnOf('alice') })
    t.equal(taken.status, 409)
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 200)
  })
  await t.test('a second one is the same user, in whatever form it was written', async (t) => {
    t.equal((await gateway.call('/users/me', { as: 'dave' })).status, 403, 'unknown')
    const written = { kind: 'x509', value: 'CN=Dave, O=karst  development' }
    t.equal((await ask(gateway, 'POST', '/users/alice/identities', written)).status, 200)
    t.equal(rowOf(await gateway.call('/users/me', { as: 'dave' })).name, 'alice')
    t.equal(
      (await ask(gateway, 'DELETE', `/users/bob/identities?kind=x509&value=${encodeURIComponent(DAVE.value)}`)).status,
      404,
    )
    const query = `kind=x509&value=${encodeURIComponent(DAVE.value)}`
    t.equal((await ask(gateway, 'DELETE', `/users/alice/identities?${query}`)).status, 200)
    t.equal((await gateway.call('/users/me', { as: 'dave' })).status, 403, 'on the same connection')
  })
  await t.test('an issuer’s slash at the end does not matter', async (t) => {
    for (const issuer of ['https://op.example/', 'https://op.example'])
      t.equal(
        (await ask(gateway, 'POST', '/users/alice/identities', { kind: 'oidc', value: `${issuer} 17` })).status,
        200,
      )
    t.equal(gateway.store.users.byIdentity({ kind: 'oidc', value: 'https://op.example 17' })?.name, 'alice')
    t.equal(gateway.store.users.identities('alice').length, 2)
  })
})

t.test('people who come by themselves', async (t) => {
  await t.test('stay strangers unless the site says otherwise', async (t) => {
    const gateway = await started(t)
    t.equal((await gateway.call('/users/me', { as: 'dave' })).status, 403)
  })
  await t.test('get an account and a home once, with fifty requests at once', async (t) => {
    const accounts = { ...HOME, autoprovision: ['x509'] as const, names: ['*,o=karst development'] }
    const gateway = await started(t, { people: { accounts } })
    const replies = await Promise.all(
      Array.from({ length: 50 }, () => gateway.call('/nodes/home/dave', { as: 'dave' })),
    )
    t.ok(
      replies.every(({ status }) => status === 200),
      'the home is there at the first request',
    )
    t.equal(gateway.store.users.list().length, 4)
    t.equal(await ownerOf(gateway, '/home/dave'), 'dave')
  })
  await t.test('get no name that is taken, nor a home that is there', async (t) => {
    const gateway = await started(t, { people: { accounts: { ...HOME, autoprovision: ['x509'] } } })
    gateway.store.users.create({ name: 'dave' })
    const access = { owner: 'bob', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false }
    await gateway.space.backend.make(nodePath('/home/dave-2'), { type: 'container', mode: 0o700, access })
    t.match(rowOf(await gateway.call('/users/me', { as: 'dave' })), { name: 'dave-3', home: '/home/dave-3' })
    t.equal(await ownerOf(gateway, '/home/dave-2'), 'bob')
  })
  await t.test('are not the system', async (t) => {
    const gateway = await started(t, { people: { accounts: { autoprovision: ['x509'] } } })
    const root = await certificateOf('root')
    t.match(await gateway.call('/users/me', { as: root }), { status: 403, text: /ask an administrator/ })
    t.equal(gateway.store.users.byName('root'), undefined)
  })
  await t.test('whose home could not be made have it made the next time', async (t) => {
    const disk = { isFull: true }
    const gateway = await started(t, {
      people: { accounts: { ...HOME, autoprovision: ['x509'] } },
      backend: (memory) =>
        overlay(memory, {
          make: async (path, draft) => {
            if (disk.isFull && path === '/home/dave') throw new Error('no space')
            return memory.make(path, draft)
          },
        }),
    })
    t.equal((await gateway.call('/users/me', { as: 'dave' })).status, 500)
    disk.isFull = false
    t.match(rowOf(await gateway.call('/users/me', { as: 'dave' })), { name: 'dave', home: '/home/dave' })
    t.equal(await ownerOf(gateway, '/home/dave'), 'dave')
  })
  await t.test('are not wanted under another authority’s name', async (t) => {
    const gateway = await started(t, { people: { accounts: { autoprovision: ['x509'], names: ['*,o=other'] } } })
    t.equal((await gateway.call('/users/me', { as: 'dave' })).status, 403)
  })
})

t.test('limits', async (t) => {
  await t.test('an upload is too large, before its first byte where that is known', async (t) => {
    const gateway = await started(t, { people: { limits: { user: { uploadBytes: 1000 } } } })
    t.equal(await put(gateway, '/home/alice/f', 'alice', Buffer.alloc(1000)), 201)
    for (const target of ['/files/home/alice/g', '/fs/v1/data?path=/home/alice/g']) {
      const headers = { Expect: '100-continue', ...operation() }
      const known = await gateway.call(target, { method: 'PUT', as: 'alice', body: Buffer.alloc(1001), headers })
      t.match(known, { status: 413, text: /RequestEntityTooLarge/ }, target)
      const chunked = { 'Transfer-Encoding': 'chunked', ...operation() }
      const unknown = await gateway.call(target, {
        method: 'PUT',
        as: 'alice',
        body: Buffer.alloc(100_000),
        headers: chunked,
      })
      t.equal(unknown.status, 413, `${target} in mid-stream`)
      t.equal(await ownerOf(gateway, '/home/alice/g'), undefined, 'nothing is left')
    }
    t.equal(await put(gateway, '/home/alice/f', 'alice', Buffer.alloc(5000)), 413)
    t.equal((await gateway.call('/files/home/alice/f', { as: 'alice' })).body.length, 1000, 'the old bytes stay')
    gateway.store.users.setLimits('alice', { uploadBytes: null })
    await pause(5000)
    t.equal(await put(gateway, '/home/alice/f', 'alice', Buffer.alloc(5000)), 201, 'an exception for her')
    t.equal(await put(gateway, '/home/bob/f', 'bob', Buffer.alloc(5000)), 413)
  })
  await t.test('too many requests a second are refused with the time to come back', async (t) => {
    const gateway = await started(t, { people: { limits: { anonymous: { perSecond: 1 }, user: { perSecond: 2 } } } })
    const statuses = async (as?: 'alice' | 'bob'): Promise<number[]> =>
      (await Promise.all(Array.from({ length: 30 }, () => gateway.call('/nodes/pub', as && { as })))).map(
        ({ status }) => status,
      )
    const refused = (all: number[]): number => all.filter((status) => status === 503).length
    t.ok(refused(await statuses('alice')) >= 5)
    t.ok(refused(await statuses()) >= 15)
    const busy = await gateway.call('/nodes/pub')
    t.match(busy, { status: 503, text: /^ServiceBusy/ })
    t.match(busy.headers, { 'retry-after': /^\d+$/ })
    t.equal((await gateway.call('/nodes/pub', { as: 'bob' })).status, 200, 'others do not suffer')
    t.notOk(
      gateway.log.some(({ level }) => level === 'error'),
      'refusals do not fill the log',
    )
  })
  await t.test('too many requests at a time are refused, and only then', async (t) => {
    const gateway = await started(t, { people: { limits: { user: { requests: 2 } } } })
    const first = await hanging(gateway, 'PUT', '/files/home/alice/a', 'alice')
    const second = await hanging(gateway, 'PUT', '/files/home/alice/b', 'alice')
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 503)
    t.equal((await gateway.call('/nodes/home/bob', { as: 'bob' })).status, 200)
    gateway.store.users.suspend('alice')
    await Promise.all([first.over, second.over])
    gateway.store.users.resume('alice')
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 200, 'their places are free again')
  })
  await t.test('too many connections of one address are cut', async (t) => {
    const gateway = await started(t, { people: { limits: { connectionsPerAddress: 3 } } })
    const sockets = [await gateway.raw(), await gateway.raw(), await gateway.raw()]
    await t.rejects(gateway.raw())
    for (const socket of sockets) socket.destroy()
    await pause(200)
    ;(await gateway.raw()).destroy()
  })
  await t.test('exceptions are written and shown', async (t) => {
    const gateway = await started(t)
    t.equal((await ask(gateway, 'PUT', '/users/alice/limits', { requests: 5, perSecond: null })).status, 200)
    t.match(rowOf(await ask(gateway, 'GET', '/users/me', undefined, 'alice')), {
      limits: { requests: 5, perSecond: null },
    })
    t.match(rowOf(await ask(gateway, 'PUT', '/users/alice/limits', {})), { limits: null })
    for (const limits of [{ requests: 0 }, { perSecond: -1 }, { requests: '5' }, { speed: 1 }])
      t.equal((await ask(gateway, 'PUT', '/users/alice/limits', limits)).status, 400, JSON.stringify(limits))
  })
})
