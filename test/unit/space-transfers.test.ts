import t from 'tap'
import { Preauth } from '../../src/space/preauth.ts'
import { negotiate } from '../../src/space/transfers.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { PROTOCOL, SECURITY, VIEW, type Protocol, type Transfer } from '../../src/vospace/transfer.ts'
import {
  alice,
  at,
  bob,
  file,
  folder,
  link,
  nobody,
  outcome,
  SERVICE,
  STAFF,
  tree,
  world,
  type World,
} from './space-world.ts'

const preauth = new Preauth(Buffer.alloc(32, 7), { seconds: 60 })
const FILES = 'https://karst.local/karst/files'
const LENGTH = 'ivo://ivoa.net/vospace/core#length'

const protocol = (uri: string, ...securityMethods: string[]): Protocol => ({ uri, securityMethods })
const put = (...methods: string[]): Protocol => protocol(PROTOCOL.httpsput, ...methods)
const get = (...methods: string[]): Protocol => protocol(PROTOCOL.httpsget, ...methods)

const transfer = (direction: string, path: string, protocols: Protocol[], more: Partial<Transfer> = {}): Transfer => ({
  version: '2.1',
  targets: [`vos://karst.local!karst${path}`],
  direction,
  protocols,
  ...more,
})
const ask = (world: World, caller: Caller, what: Transfer, files = FILES) =>
  negotiate(world.space, caller, what, { files, preauth })

async function answer(world: World, caller: Caller, what: Transfer): Promise<string> {
  const { error, details } = await ask(world, caller, what)
  return error === undefined ? `${details.protocols.length} endpoints` : `${error.fault}, ${details.protocols.length}`
}

t.test(
  'a push with one anonymous protocol gets exactly one endpoint, a pull exactly two, the signed one first',
  async (t) => {
    const w = await world()
    const push = await ask(w, alice, transfer('pushToVoSpace', '/home/alice/f', [put()]))
    t.equal(push.error, undefined)
    t.equal(push.dataNode, 'vos://karst.local~karst/home/alice/f')
    t.equal(push.details.protocols.length, 1)
    t.match(push.details.protocols[0], {
      uri: PROTOCOL.httpsput,
      endpoint: /^https:\/\/karst\.local\/karst\/files\/preauth:[\w.-]+\/home\/alice\/f$/,
      securityMethods: [],
    })
    const pull = await ask(w, alice, transfer('PULLFROMVOSPACE', '/home/alice/f', [get()]))
    t.equal(pull.details.protocols.length, 2)
    t.match(pull.details.protocols[0]?.endpoint, /\/preauth:/)
    t.match(pull.details.protocols[1], { endpoint: `${FILES}/home/alice/f`, securityMethods: [] })
    const token = /preauth:([^/]+)/.exec(pull.details.protocols[0]?.endpoint ?? '')?.[1] ?? ''
    t.same(preauth.verify(token, at('/home/alice/f'), 'read'), { kind: 'read', user: 'alice', uid: 1000 })
  },
)

t.test(
  'a security method is echoed with the plain endpoint; anonymous is none; what is not supported is left out',
  async (t) => {
    const w = await world()
    await file(w.backend, '/home/alice/f')
    const asked = [
    get(SECURITY.certificate), get(SECURITY.token), get(SECURITY.legacyToken), get(SECURITY.anonymous),
    get('ivo://ivoa.net/sso#cookie'), get('ivo://ivoa.net/sso#BasicAA', SECURITY.certificate), put(), protocol(PROTOCOL.httpget), protocol('urn:x'),
  ] // prettier-ignore
    const { details } = await ask(w, alice, transfer('pullFromVoSpace', '/home/alice/f', asked))
    t.same(
    details.protocols.map(({ endpoint, securityMethods }) => [endpoint?.includes('preauth:'), ...securityMethods]),
    [[false, SECURITY.certificate], [false, SECURITY.token], [false, SECURITY.legacyToken], [true], [false], [false, SECURITY.certificate]],
  ) // prettier-ignore
    const plain = await ask(
      w,
      alice,
      transfer('pullFromVoSpace', '/home/alice/f', [protocol(PROTOCOL.httpget), get()]),
      'http://localhost/files',
    )
    t.same(
      plain.details.protocols.map(({ uri }) => uri),
      [PROTOCOL.httpget, PROTOCOL.httpget],
    )
  },
)

t.test('a refused transfer has no endpoints, says why, and makes no node', async (t) => {
  const w = await world()
  await file(w.backend, '/home/alice/f')
  await file(w.backend, '/home/alice/locked', { locked: true })
  await w.backend.setQuota(at('/home/alice'), 100)
  const before = await tree(w.backend)
  const is = async (caller: Caller, what: Transfer, expected: string) =>
    t.equal(await answer(w, caller, what), `${expected}, 0`, expected)
  await is(bob, transfer('pushToVoSpace', '/home/alice/new', [put()]), 'PermissionDenied')
  await is(nobody, transfer('pushToVoSpace', '/home/alice/new', [put()]), 'PermissionDenied')
  await is(bob, transfer('pullFromVoSpace', '/home/alice/f', [get()]), 'PermissionDenied')
  await is(alice, transfer('pushToVoSpace', '/home/alice/locked', [put()]), 'PermissionDenied')
  await is(alice, transfer('pushToVoSpace', '/home/alice', [put()]), 'InvalidArgument')
  await is(alice, transfer('pullFromVoSpace', '/home/alice', [get()]), 'InvalidArgument')
  await is(alice, transfer('pullFromVoSpace', '/home/alice/none', [get()]), 'NodeNotFound')
  await is(alice, transfer('pushToVoSpace', '/home/alice/no/ne', [put()]), 'ContainerNotFound')
  await is(alice, transfer('pushToVoSpace', '/home/alice/new', [get()]), 'ProtocolNotSupported')
  await is(alice, transfer('pushToVoSpace', '/home/alice/new', []), 'ProtocolNotSupported')
  await is(
    alice,
    transfer('pushToVoSpace', '/home/alice/new', [put('ivo://ivoa.net/sso#OAuth')]),
    'ProtocolNotSupported',
  )
  await is(
    alice,
    transfer('pushToVoSpace', '/home/alice/new', [put()], { view: { uri: 'urn:view' } }),
    'ViewNotSupported',
  )
  await is(
    alice,
    transfer('pullFromVoSpace', '/home/alice/f', [get()], { view: { uri: VIEW.any } }),
    'ViewNotSupported',
  )
  await is(alice, transfer('pullToVoSpace', '/home/alice/new', [put()]), 'OperationNotSupported')
  await is(alice, transfer('vos://karst.local~karst/home/alice/x', '/home/alice/f', []), 'OperationNotSupported')
  await is(alice, transfer('pushToVoSpace', '/home/alice/new', [put()], { targets: [] }), 'InvalidArgument')
  await is(alice, transfer('pushToVoSpace', '/home/alice/new', [put()], { targets: ['vos://other~x/y'] }), 'InvalidURI')
  await is(
    alice,
    transfer('pushToVoSpace', '/home/alice/new', [put()], { params: [{ uri: LENGTH, value: '101' }] }),
    'QuotaExceeded',
  )
  t.same(await tree(w.backend), before)
  t.equal(
    await answer(
      w,
      alice,
      transfer('pushToVoSpace', '/home/alice/new', [put()], {
        params: [{ uri: LENGTH, value: '50' }],
        view: { uri: VIEW.default },
      }),
    ),
    '1 endpoints',
  )
})

t.test('through a link the endpoints are of the real node, and the link is told', async (t) => {
  const w = await world()
  await folder(w.backend, '/home/alice/real dir')
  await file(w.backend, '/home/alice/real dir/f')
  await link(w.backend, '/home/alice/d', 'real dir')
  await link(w.backend, '/home/alice/l', 'd/f')
  const pull = await ask(w, alice, transfer('pullFromVoSpace', '/home/alice/l', [get(SECURITY.certificate)]))
  t.equal(pull.details.protocols[0]?.endpoint, `${FILES}/home/alice/real%20dir/f`)
  t.match(pull, {
    dataNode: 'vos://karst.local~karst/home/alice/real%20dir/f',
    linkNode: 'vos://karst.local~karst/home/alice/l',
  })
  const push = await ask(w, alice, transfer('pushToVoSpace', '/home/alice/d/new', [put()]))
  t.match(push, { dataNode: 'vos://karst.local~karst/home/alice/real%20dir/new', linkNode: undefined })
  await link(w.backend, '/home/alice/out', 'file:///etc/passwd')
  t.equal(await answer(w, alice, transfer('pullFromVoSpace', '/home/alice/out', [get()])), 'InvalidArgument, 0')
})

t.test('two pushes of one new node at once are both granted, and make one node', async (t) => {
  const w = await world()
  const what = transfer('pushToVoSpace', '/home/alice/new', [put()])
  t.same(await Promise.all([answer(w, alice, what), answer(w, alice, what)]), ['1 endpoints', '1 endpoints'])
  t.equal(w.changes.length, 1)
})

t.test('a pre-authorised URL is good for its node, verb and time, and cannot be changed', async (t) => {
  const path = at('/home/alice/f')
  const issue = { service: SERVICE, path, kind: 'read', user: 'alice', now: 1000 } as const
  const token = preauth.issue(issue)
  const verify = (text: string, ...rest: [path?: string, kind?: 'read' | 'write', now?: number]) =>
    outcome((async () => preauth.verify(text, at(rest[0] ?? path), rest[1] ?? 'read', rest[2] ?? 2000))())
  t.match(token, /^[\w.-]+$/, 'it can stand in a URL as it is')
  t.equal(await verify(token), 'ok')
  t.equal(await verify(token), 'ok', 'more than once')
  t.equal(await verify(token, path, 'read', 60_999), 'ok')
  const [claims = '', mac = ''] = token.split('.')
  const forged = Buffer.from(Buffer.from(claims, 'base64url').toString().replace('alice', 'carol')).toString(
    'base64url',
  )
  const other = new Preauth(Buffer.alloc(32, 8), { seconds: 60 })
  const bad: [string, ...Parameters<typeof verify> extends [string, ...infer R] ? R : never][] = [
    [token, path, 'read', 61_000], [token, path, 'write'], [token, '/home/alice/g'], [`${forged}.${mac}`], [`${claims}.`], [claims],
    [`${token}.x`], [''], ['.'], ['%%%.%%%'], [other.issue(issue)], [`${claims}.${mac.slice(0, -2)}`],
    [Buffer.from('null').toString('base64url') + '.' + mac],
  ] // prettier-ignore
  for (const [text, ...rest] of bad) t.equal(await verify(text, ...rest), 'PermissionDenied EACCES', text)
  const write = preauth.issue({ ...issue, kind: 'write' })
  t.same(preauth.verify(write, path, 'any', 2000), { kind: 'write', user: 'alice' }, 'HEAD asks for neither')
  t.throws(() => new Preauth(Buffer.alloc(8), { seconds: 60 }))
})

t.test(
  'a URL carries the groups of other services that let its user in, and those alone, while they count',
  async (t) => {
    const w = await world()
    const far = 'ivo://remote.example/gms?far'
    const other = 'ivo://remote.example/gms?other'
    const signing = new Preauth(Buffer.alloc(32, 7), {
      seconds: 3600,
      membershipSeconds: (group) => (group.startsWith('ivo://remote.example/') ? 300 : 0),
    })
    const visitor: Caller = { ...bob, groups: new Set([STAFF, far, other]) }
    const grant = async (path: string, kind: 'read' | 'write', now: number) => {
      const what =
        kind === 'read' ? transfer('pullFromVoSpace', path, [get()]) : transfer('pushToVoSpace', path, [put()])
      const { details } = await negotiate(w.space, visitor, what, { files: FILES, preauth: signing })
      const token = /preauth:([^/]+)/.exec(details.protocols[0]?.endpoint ?? '')?.[1] ?? ''
      return signing.verify(token, at(path), kind, Date.now() + now)
    }
    await folder(w.backend, '/home/alice/d', { groupWrite: [far] })
    await file(w.backend, '/home/alice/d/local', { groupRead: [STAFF] })
    await file(w.backend, '/home/alice/local', { groupRead: [STAFF, far] })
    await file(w.backend, '/home/alice/public', { isPublic: true })
    t.same((await grant('/home/alice/d/local', 'read', 0)).groups, [far])
    t.same((await grant('/home/alice/d/new', 'write', 290_000)).groups, [far])
    t.equal((await grant('/home/alice/d/new', 'write', 310_000)).groups, undefined)
    t.equal((await grant('/home/alice/local', 'read', 0)).groups, undefined)
    t.equal((await grant('/home/alice/public', 'read', 0)).groups, undefined)
  },
)
