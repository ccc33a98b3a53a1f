/** Accounts through the door: who administers whom, what suspension cuts off, how what is owned changes hands. */
import { type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import t, { type Test } from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { nodePath } from '../../src/vospace/path.ts'
import {
  type Call,
  type Gateway,
  type GatewayOptions,
  operation,
  overlay,
  type Reply,
  startGateway,
} from './gateway.ts'
import { authority, certificateOf, chainPem, credentials, dnOf } from './people.ts'

t.setTimeout(180_000)

const HOME = { home: { parent: nodePath('/home') } } as const
const DAVE = { kind: 'x509', value: dnOf('dave') } as const

interface Row {
  readonly name: string
  readonly uid: number
  readonly suspended: string | null
  readonly identities: readonly unknown[]
}

/** Carol administers. */
async function started(t: Test, options: GatewayOptions = {}): Promise<Gateway & { readonly audit: AuditEvent[] }> {
  const audit: AuditEvent[] = []
  const gateway = await startGateway(t, { ...options, people: { accounts: HOME, audit, ...options.people } })
  gateway.store.users.setAdmin('carol', true)
  return Object.assign(gateway, { audit })
}

const pause = async (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

const JSON_BODY = { 'Content-Type': 'application/json' }

type Who = NonNullable<Call['as']>

/** As an administrator unless somebody else is named; 'nobody': without a certificate. */
async function ask(gateway: Gateway, method: string, target: string, document?: object, as: Who | 'nobody' = 'carol') {
  const body = document === undefined ? {} : { body: JSON.stringify(document), headers: JSON_BODY }
  return gateway.call(target, { method, ...(as !== 'nobody' && { as }), ...body })
}

const rowOf = ({ text }: Reply): Row => JSON.parse(text) as Row

/** Until the job has ended. */
async function ended(gateway: Gateway, begun: Reply): Promise<{ phase: string; handed: number; error?: string }> {
  for (;;) {
    const job = JSON.parse(
      (await gateway.call(`${String(begun.headers['location'])}?wait=30`, { as: 'carol' })).text,
    ) as {
      phase: string
      handed: number
    }
    if (!['PENDING', 'QUEUED', 'EXECUTING'].includes(job.phase)) return job
  }
}

async function put(gateway: Gateway, path: string, as: Who, body: string | Buffer = 'bytes'): Promise<number> {
  return (await gateway.call(`/files${path}`, { method: 'PUT', as, body })).status
}

async function ownerOf({ space }: Gateway, path: string): Promise<string | undefined> {
  const node = (await space.backend.walk(nodePath(path))).at(-1)
  return node?.path === path ? node.access.owner : undefined
}

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

/** A download that the client has not begun to read, or an upload that it does not end. */
async function hanging(gateway: Gateway, method: 'GET' | 'PUT', target: string, as?: 'alice') {
  const credential = as && credentials[as]
  const own = credential && { cert: chainPem(credential), key: credential.key }
  const options = { host: '127.0.0.1', port: gateway.port, path: gateway.path(target), method, agent: false, ...own }
  const sent = httpsRequest({ ...options, ca: authority.certificate, servername: 'localhost' })
  const answered: { reply?: IncomingMessage } = {}
  const over = new Promise<void>((resolve) => {
    sent.on('error', () => resolve()).on('close', resolve)
    sent.on('response', (reply) => {
      answered.reply = reply
      reply.on('error', () => resolve())
    })
  })
  if (method === 'PUT') sent.write(Buffer.alloc(100_000))
  else sent.end()
  await pause(300)
  /** Reads to the end of the connection; answers how many bytes came. */
  const rest = async (): Promise<number> => {
    let received = 0
    answered.reply?.on('data', (part: Buffer) => (received += part.length))
    await over
    return received
  }
  return { over, rest }
}

t.test('suspension', async (t) => {
  const gateway = await started(t)
  const big = Buffer.alloc(64 << 20, 'x')
  t.equal(await put(gateway, '/home/alice/big', 'alice', big), 201)
  const read =
    '/synctrans?TARGET=vos%3A%2F%2Fkarst.local~karst%2Fhome%2Falice%2Fbig&DIRECTION=pullFromVoSpace&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsget'
  const url = /<vos:endpoint>([^<]+)</.exec((await gateway.call(read, { as: 'alice' })).text)?.[1] ?? ''
  t.match(url, /preauth/)
  t.equal((await gateway.call(url, { method: 'HEAD' })).status, 200, 'a pre-authorised URL works')
  const under = [
    await hanging(gateway, 'GET', '/files/home/alice/big', 'alice'),
    await hanging(gateway, 'GET', url),
    await hanging(gateway, 'PUT', '/files/home/alice/new', 'alice'),
  ]
  t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)

  await t.test('the next request is refused, on connections that are kept too', async (t) => {
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 403)
    t.equal((await gateway.call('/nodes/home/alice', { as: credentials.alice })).status, 403)
    t.equal((await gateway.call('/fs/v1', { as: 'alice' })).status, 403)
    t.match((await gateway.call('/files/home/alice/big', { as: 'alice' })).text, /alice is suspended/)
  })
  await t.test('and so are the URLs that were given out', async (t) => {
    t.equal((await gateway.call(url)).status, 403)
    t.equal((await gateway.call(url, { method: 'HEAD' })).status, 403)
  })
  await t.test('what is under way is cut within ten seconds', async (t) => {
    const told = (): number =>
      gateway.log.reduce((sum, { fields, text }) => {
        const { requests = 0 } = fields as { requests?: number }
        // whichever of the two looks comes first
        if (text === 'a stream was cut: it is not permitted any more') return sum + 1
        return text === 'requests of a suspended account were cut' ? sum + requests : sum
      }, 0)
    for (let waited = 0; told() < under.length && waited < 60_000; waited += 100) await pause(100)
    t.equal(told(), under.length)
    for (const one of under) t.ok((await one.rest()) < big.length)
    await pause(200)
    t.equal(await ownerOf(gateway, '/home/alice/new'), undefined, 'and leaves nothing')
  })
  await t.test('files stay, and all is as it was afterwards', async (t) => {
    t.equal(await ownerOf(gateway, '/home/alice/big'), 'alice')
    t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: false })).status, 200)
    t.equal((await gateway.call(url, { method: 'HEAD' })).status, 200)
    t.equal((await gateway.call('/nodes/home/alice', { as: 'alice' })).status, 200)
  })
})

t.test('a running job of who is suspended stops with an error', async (t) => {
  const gate = { wait: false, listed: 0 }
  const gateway = await started(t, {
    backend: (memory) =>
      overlay(memory, {
        remove: async (path, ...rest) => {
          gate.listed++
          if (gate.wait) await pause(150)
          return memory.remove(path, ...rest)
        },
      }),
  })
  for (let i = 0; i < 50; i++) await put(gateway, `/home/alice/f${i}`, 'alice')
  gate.wait = true
  const body = `target=${encodeURIComponent('vos://karst.local~karst/home/alice')}&phase=RUN`
  const made = await gateway.call('/async-delete', { method: 'POST', as: 'alice', body })
  t.equal(made.status, 303)
  const id = String(made.headers['location']).split('/').at(-1) ?? ''
  t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)
  const job = await gateway.runner.wait(id, 60_000, 'EXECUTING')
  t.match(job, { phase: 'ERROR', error: 'PermissionDenied' })
  t.ok(gate.listed < 50, `${gate.listed} removed`)
})

t.test('what is owned changes hands', async (t) => {
  const gateway = await started(t)
  const { backend } = gateway.space
  const folder = { type: 'container', mode: 0o700 } as const
  const access = { isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: true }
  await backend.make(nodePath('/home/alice/sub'), { ...folder, access: { ...access, owner: 'alice' } })
  await backend.make(nodePath('/home/bob/alices'), { ...folder, access: { ...access, owner: 'alice' } })
  const counted = 300
  for (let i = 0; i < counted; i++) t.equal(await put(gateway, `/home/alice/f${i}`, 'alice'), 201)
  await t.test('below one node', async (t) => {
    const begun = await ask(gateway, 'POST', '/users/alice/hand-over', { to: 'bob', path: '/home/alice/sub' })
    t.equal(begun.status, 202)
    t.match(await ended(gateway, begun), { phase: 'COMPLETED', handed: 1 })
    t.equal(await ownerOf(gateway, '/home/alice/sub'), 'bob')
    t.equal(await ownerOf(gateway, '/home/alice/f1'), 'alice')
    t.equal(gateway.store.groups.list()[0]?.owner, 'alice', 'groups stay')
  })
  await t.test('whole, locked and private or not, counted, groups too', async (t) => {
    t.match(await ended(gateway, await ask(gateway, 'POST', '/users/alice/hand-over', { to: 'bob' })), {
      phase: 'COMPLETED',
      // files, home, /home/bob/alices, /pub
      handed: counted + 3,
    })
    t.equal(await ownerOf(gateway, '/home/alice'), 'bob')
    t.equal(await ownerOf(gateway, '/home/bob/alices'), 'bob')
    t.equal((await backend.walk(nodePath('/home/bob/alices'))).at(-1)?.access.locked, true, 'the rest is as it was')
    t.equal(gateway.store.groups.list()[0]?.owner, 'bob')
    t.match(gateway.audit.at(-1), { act: 'user.handed-over', on: 'alice', detail: { nodes: counted + 3, groups: 1 } })
    t.equal((await gateway.call('/files/home/alice/f1', { as: 'alice' })).status, 403)
  })
  await t.test('to nobody who is not there, or suspended, or has it', async (t) => {
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'nobody' })).status, 404)
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'bob' })).status, 400)
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', {})).status, 400)
    gateway.store.users.suspend('alice')
    t.equal((await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'alice' })).status, 403)
    const nowhere = await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'carol', path: '/home/nobody' })
    t.match(await ended(gateway, nowhere), { phase: 'ERROR', error: /^NodeNotFound/ })
  })
  await t.test('the job is for administrators to see', async (t) => {
    const begun = await ask(gateway, 'POST', '/users/bob/hand-over', { to: 'carol', path: '/pub' })
    t.equal((await gateway.call(String(begun.headers['location']), { as: 'bob' })).status, 403)
    await ended(gateway, begun)
    const elsewhere = String(begun.headers['location']).replace('/bob/', '/alice/')
    t.equal((await gateway.call(elsewhere, { as: 'carol' })).status, 404)
  })
})

t.test('an account is deleted', async (t) => {
  const gateway = await started(t)
  const { uid = 0 } = gateway.store.users.byName('alice') ?? {}
  await t.test('only when it is suspended', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice')).status, 412)
    t.equal((await ask(gateway, 'PATCH', '/users/alice', { suspended: true })).status, 200)
  })
  await t.test('only when nothing is theirs', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice')).status, 409, 'a group')
    gateway.store.users.handGroups('alice', 'bob')
    const refused = await ended(gateway, await ask(gateway, 'DELETE', '/users/alice'))
    t.match(refused, { phase: 'ERROR', error: /^ContainerNotEmpty: alice owns \/home\/alice/ })
    t.ok(gateway.store.users.byName('alice'))
  })
  await t.test('or with an heir', async (t) => {
    t.equal((await ask(gateway, 'DELETE', '/users/alice?to=nobody')).status, 404)
    const done = await ended(gateway, await ask(gateway, 'DELETE', '/users/alice?to=bob'))
    t.match(done, { phase: 'COMPLETED', handed: 2 })
    t.equal(gateway.store.users.byName('alice'), undefined)
    t.match(gateway.audit.at(-1), { act: 'user.deleted', on: 'alice', by: 'carol' })
    t.match((await gateway.call('/users/me', { as: 'alice' })).text, /no user here/)
  })
  await t.test('and neither name nor number are anybody’s again', async (t) => {
    t.equal((await ask(gateway, 'POST', '/users', { name: 'alice', home: false })).status, 409)
    t.equal((await ask(gateway, 'POST', '/users', { name: 'erin', uid, home: false })).status, 409)
    const forced = await ask(gateway, 'POST', '/users', { name: 'alice', home: false, reuseName: true })
    t.equal(forced.status, 201)
    t.not(rowOf(forced).uid, uid)
  })
})

t.test('who is given the name of somebody deleted gets nothing of what was handed out under it', async (t) => {
  const gateway = await started(t)
  const offer = (direction: string, name: string): string =>
    `/synctrans?TARGET=vos%3A%2F%2Fkarst.local~karst%2Fhome%2Falice%2F${name}&DIRECTION=${direction}`
  t.equal(await put(gateway, '/home/alice/kept', 'alice', Buffer.from('x')), 201)
  const urls = [
    ['PUT', offer('pushToVoSpace', 'new') + '&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsput'],
    ['GET', offer('pullFromVoSpace', 'kept') + '&PROTOCOL=ivo%3A%2F%2Fivoa.net%2Fvospace%2Fcore%23httpsget'],
  ] as const
  const given = await Promise.all(
    urls.map(async ([method, target]) => {
      const { text } = await gateway.call(target, { as: 'alice' })
      return { method, url: /<vos:endpoint>([^<]*preauth[^<]+)</.exec(text)?.[1] ?? '' }
    }),
  )
  const use = () => Promise.all(given.map(async ({ method, url }) => (await gateway.call(url, { method })).status))
  t.same(await use(), [201, 200])
  await ask(gateway, 'PATCH', '/users/alice', { suspended: true })
  t.match(await ended(gateway, await ask(gateway, 'DELETE', '/users/alice?to=bob')), { phase: 'COMPLETED' })
  t.same(await use(), [403, 403])
  const reused = await ask(gateway, 'POST', '/users', { name: 'alice', home: false, reuseName: true })
  t.equal(reused.status, 201)
  t.same(await use(), [403, 403], 'the URLs are not of this alice')
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
