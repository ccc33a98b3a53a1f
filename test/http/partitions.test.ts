/** Partitions by JSON and by transfers, and that the credential of one opens nothing else. */
import t, { type Test } from 'tap'
import { ChangeStreams } from '../../src/space/change-stream.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { GROUP, node, operation, property, startGateway, VOS, type Gateway, type GatewayOptions } from './gateway.ts'
import { type Name } from './people.ts'

interface Terms {
  readonly name: string
  readonly kind: string
  readonly path: string
  readonly access: string
  readonly profile: string
  readonly mode: string
  readonly mount: string
  readonly credential: { readonly token: string; readonly expires: string; readonly renew: string }
  readonly environment: Record<string, string>
  readonly user: { readonly name: string; readonly uid: number }
  readonly notices: readonly string[]
}

const JSON_TYPE = { 'content-type': 'application/json' }
const access = { owner: 'alice', groupRead: [], groupWrite: [], inherit: false, locked: false, isPublic: true }

/** Alice's project with the team in it, and a public dataset of two steps. */
async function site(t: Test, options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway(t, {
    mounting: {},
    ...options,
    rules: { allocationParents: [nodePath('/home'), nodePath('/projects')] },
  })
  const { backend } = gateway.space
  const folder = async (path: string, more: object = {}): Promise<unknown> =>
    backend.make(nodePath(path), { type: 'container', access: { ...access, ...more }, mode: 0o755 })
  for (const path of ['/projects', '/datasets']) await folder(path, { owner: 'root' })
  await folder('/projects/demo', { isPublic: false, groupRead: [GROUP], groupWrite: [GROUP], inherit: true })
  await folder('/projects/secret', { isPublic: false })
  for (const path of ['/datasets/alma', '/datasets/alma/2017.1']) await folder(path)
  return gateway
}

const negotiate = (gateway: Gateway, as: Name, document: object) =>
  gateway.call('/partitions', { as, method: 'POST', headers: JSON_TYPE, body: JSON.stringify(document) })

async function termsOf(gateway: Gateway, as: Name, document: object): Promise<Terms> {
  const { status, text } = await negotiate(gateway, as, document)
  if (status !== 200) throw new Error(`${status} ${text}`)
  return JSON.parse(text) as Terms
}

const bearer = ({ credential }: Terms): Record<string, string> => ({ authorization: `Bearer ${credential.token}` })

const put = (gateway: Gateway, path: string, headers: Record<string, string>, as?: Name) =>
  gateway.call(`/files${path}`, { method: 'PUT', body: 'text', headers, ...(as && { as }) })

t.test('what a caller may mount is listed, with usage, quota and profile', async (t) => {
  const gateway = await site(t, { quota: 1000 })
  const rows = async (as: Name): Promise<Terms[]> =>
    (JSON.parse((await gateway.call('/partitions', { as })).text) as { partitions: Terms[] }).partitions
  t.same(
    (await rows('alice')).map(({ kind, name, access }) => [kind, name, access]),
    [
      ['user', 'home', 'write'],
      ['project', 'demo', 'write'],
      ['project', 'secret', 'write'],
      ['dataset', 'alma', 'read'],
    ],
  )
  const [home, ...more] = await rows('bob')
  t.match(home, {
    path: '/home/bob',
    uri: `${VOS}/home/bob`,
    mount: '/home/bob',
    profile: 'main',
    allocated: true,
    quota: 1000,
    used: 0,
  })
  t.same(
    more.map(({ name }) => name),
    ['demo', 'alma'],
    'and not what is another’s alone',
  )
  t.match((await rows('carol'))[0], { path: '/home/carol', allocated: false })
  t.equal((await gateway.call('/partitions')).status, 401)
})

t.test('a home is made when it is first asked for, and told of when it is nearly full', async (t) => {
  const gateway = await site(t, { quota: 1000, mounting: { homeQuota: 500 } })
  const first = await termsOf(gateway, 'carol', { partition: 'home' })
  t.match(first, {
    kind: 'user',
    path: '/home/carol',
    access: 'write',
    mode: 'fuse',
    mount: '/home/carol',
    quota: 500,
    notices: [],
  })
  t.match(first.environment, {
    HOME: '/home/carol',
    KARST_HOME_PATH: '/home/carol',
    KARST_HOME_URI: `${VOS}/home/carol`,
  })
  t.match(first.user, { name: 'carol' })
  const full = await gateway.call('/files/home/carol/big', { method: 'PUT', as: 'carol', body: Buffer.alloc(490) })
  t.equal(full.status, 201)
  const again = await termsOf(gateway, 'carol', { partition: 'home' })
  t.match(again.notices, [
    '/home/carol is 98 % full: 10 bytes are left of 500; remove what is not needed, or ask for more',
  ])
})

t.test('datasets and projects are found by name and by URI, and refused with a sentence', async (t) => {
  const gateway = await site(t)
  t.match(await termsOf(gateway, 'bob', { partition: 'dataset:alma/2017.1' }), {
    ...{ name: 'alma/2017.1', access: 'read', mount: '/datasets/alma/2017.1' },
    environment: { KARST_ALMA_2017_1_PATH: '/datasets/alma/2017.1' },
  })
  t.match(await termsOf(gateway, 'bob', { partition: `${VOS}/projects/demo` }), {
    kind: 'project',
    name: 'demo',
    access: 'write',
  })
  t.match(await termsOf(gateway, 'bob', { partition: 'project:demo', access: 'read' }), { access: 'read' })
  const cases: [object, number, RegExp][] = [
    [{ partition: 'dataset:none' }, 404, /there is no partition dataset:none .*GET \/partitions lists/],
    [{ partition: 'project:secret' }, 403, /bob may not list \/projects\/secret/],
    [{ partition: 'dataset:alma', access: 'write' }, 403, /bob may not create anything in \/datasets\/alma/],
    [{ partition: `${VOS}/home/alice` }, 403, /bob may not list/],
    [{ partition: 'vos://elsewhere~x/home' }, 400, /not of this service/],
    [{ partition: 'dataset:../home/alice' }, 400, /illegal path segment/],
    [{ partition: 'everything' }, 400, /a partition is home, scratch/],
    [{ partition: 'home', profile: 'fast' }, 400, /no partition of kind user has the profile fast; there is main/],
    [{ partition: 'scratch' }, 400, /a scratch belongs to a session/],
    [{ partition: 'scratch', session: '../x' }, 400, /session is 1 to 64 letters/],
    [{ partition: 'home', colour: 'red' }, 400, /there is no field colour/],
  ]
  for (const [asked, status, why] of cases) t.match(await negotiate(gateway, 'bob', asked), { status, text: why })
  const form = { 'content-type': 'text/plain' }
  t.match(await gateway.call('/partitions', { as: 'bob', method: 'POST', headers: form, body: '{}' }), { status: 400 })
})

t.test('the credential of a partition opens it by every door', async (t) => {
  const gateway = await site(t)
  const headers = bearer(await termsOf(gateway, 'alice', { partition: 'home' }))
  t.equal((await put(gateway, '/home/alice/a', headers)).status, 201)
  t.equal((await gateway.call('/files/home/alice/a', { headers })).text, 'text')
  t.match((await gateway.call('/nodes/home/alice', { headers })).text, `${VOS}/home/alice/a`)
  t.match((await gateway.call('/nodes/home/alice?limit=0', { headers })).headers, { 'x-vo-authenticated': 'alice' })
  t.match(JSON.parse((await gateway.call('/fs/v1/entry?path=/home/alice', { headers })).text), { writable: true })
  const made = { ...headers, ...operation(), ...JSON_TYPE }
  t.equal(
    (await gateway.call('/fs/v1/mkdir', { method: 'POST', headers: made, body: '{"path":"/home/alice/d"}' })).status,
    201,
  )
  t.equal((await gateway.call('/nodes/home/alice/a', { method: 'DELETE', headers })).status, 200)
})

t.test('and nothing beside it: by path, by link, by move, by what stands above', async (t) => {
  const gateway = await site(t)
  await put(gateway, '/pub/x', {})
  const whole = { as: 'alice' } as const
  await gateway.call('/files/pub/x', { ...whole, method: 'PUT', body: 'public' })
  const link = node('/home/alice/out', 'LinkNode').replace(
    '</vos:node>',
    `<vos:target>${VOS}/pub</vos:target></vos:node>`,
  )
  const inward = node('/pub/in', 'LinkNode').replace(
    '</vos:node>',
    `<vos:target>${VOS}/home/alice</vos:target></vos:node>`,
  )
  for (const [path, body] of [
    ['/home/alice/out', link],
    ['/pub/in', inward],
  ] as const)
    t.equal((await gateway.call(`/nodes${path}`, { ...whole, method: 'PUT', body })).status, 201)
  const headers = bearer(await termsOf(gateway, 'alice', { partition: 'home' }))
  const refused = async (target: string, more: object = {}): Promise<void> => {
    const { status, text } = await gateway.call(target, { headers, ...more })
    t.equal(status, 403, `${target} ${text}`)
  }
  for (const path of ['', '/home', '/pub', '/pub/x', '/projects/secret', '/home/bob', '/home/alice/out/x', '/pub/in'])
    for (const more of ['', '?limit=0']) await refused(`/nodes${path}${more}`)
  for (const path of ['/pub/x', '/home/alice/out/x', '/pub/in/a', '/pub/x/below']) await refused(`/files${path}`)
  await refused('/files/pub/new', { method: 'PUT', body: 'x' })
  await refused('/nodes/home/alice', { method: 'DELETE' })
  await put(gateway, '/home/alice/a', headers)
  for (const path of ['/', '/home', '/home/bob', '/pub/x']) {
    await refused(`/fs/v1/entry?path=${path}`)
    await refused(`/fs/v1/list?path=${path}`)
    await refused(`/fs/v1/statfs?path=${path}`)
    await refused(`/fs/v1/changes?path=${path}`)
  }
  const post = async (call: string, document: object): Promise<void> =>
    refused(`/fs/v1/${call}`, {
      method: 'POST',
      body: JSON.stringify(document),
      headers: { ...headers, ...operation(), ...JSON_TYPE },
    })
  await post('rename', { from: '/home/alice/a', to: '/pub/a' })
  await post('rename', { from: '/pub/x', to: '/home/alice/x' })
  await post('rename', { from: '/home/alice', to: '/home/moved' })
  await post('mkdir', { path: '/pub/d' })
  const { id } = JSON.parse((await gateway.call('/fs/v1/entry?path=/pub/x', whole)).text) as { id: string }
  await refused(`/fs/v1/data?path=/home/alice/a&id=${encodeURIComponent(id)}`)
  for (const path of ['/partitions', '/groups', '/trash', '/transfers', '/access?path=/home/alice', '/posix/uid'])
    await refused(path)
  await refused('/synctrans', { method: 'POST', body: 'x' })
  await refused('/async-delete', { method: 'POST', body: 'x' })
})

t.test('nor what a node is called beside it, which was moved out or has come in', async (t) => {
  const gateway = await site(t)
  const root = nodePath('/home/alice/p')
  await gateway.space.backend.make(root, { type: 'container', access, mode: 0o755 })
  for (const name of ['p/x', 'secret']) await put(gateway, `/home/alice/${name}`, {}, 'alice')
  const since = gateway.store.changes.last()
  for (const [from, to] of [
    ['p/x', 'hidden'],
    ['secret', 'p/y'],
  ])
    await gateway.call('/fs/v1/rename', {
      ...{ as: 'alice', method: 'POST', headers: { ...operation(), ...JSON_TYPE } },
      body: JSON.stringify({ from: `/home/alice/${from}`, to: `/home/alice/${to}` }),
    })
  const alice = { user: 'alice', groups: new Set<string>(), admin: false, uid: 1, gid: 1 }
  const told = async (caller: Caller): Promise<unknown> => {
    const how = { path: root, since, signal: new AbortController().signal, life: 0, heartbeat: 1000 }
    const batch = await new ChangeStreams(gateway.store.changes).follow(gateway.space, caller, how).next()
    const lines = batch.done === true ? [] : batch.value
    return lines.flatMap((line) => ('kind' in line ? [[line.kind, line.path, line.from]] : []))
  }
  t.same(await told(alice), [
    ['moved', '/home/alice/hidden', '/home/alice/p/x'],
    ['moved', '/home/alice/p/y', '/home/alice/secret'],
  ])
  t.same(await told({ ...alice, scope: { path: root, access: 'write' } }), [
    ['removed', '/home/alice/p/x', undefined],
    ['moved', '/home/alice/p/y', undefined],
  ])
})

t.test('nor beyond its access, its time, and what its user may', async (t) => {
  const gateway = await site(t, { mounting: { credentialSeconds: 1 } })
  const terms = await termsOf(gateway, 'bob', { partition: 'project:demo', access: 'read' })
  const headers = bearer(terms)
  t.equal((await gateway.call('/nodes/projects/demo', { headers })).status, 200)
  for (const [target, method] of [
    ['/files/projects/demo/x', 'PUT'],
    ['/nodes/projects/demo', 'POST'],
  ] as const) {
    const body =
      method === 'PUT'
        ? 'x'
        : node('/projects/demo', 'ContainerNode', property('ivo://ivoa.net/vospace/core#title', 'x'))
    t.equal((await gateway.call(target, { method, headers, body })).status, 403, target)
  }
  t.match(JSON.parse((await gateway.call('/fs/v1/entry?path=/projects/demo', { headers })).text), {
    writable: false,
    readable: true,
  })
  gateway.store.groups.remove(GROUP, 'bob')
  t.equal(
    (await gateway.call('/fs/v1/list?path=/projects/demo', { headers })).status,
    403,
    'who was taken out of the group is out',
  )
  gateway.store.groups.add(GROUP, 'bob')
  const { token } = terms.credential
  const forged = { authorization: `Bearer ${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}` }
  t.match(await gateway.call('/nodes/projects/demo', { headers: forged }), { status: 401 })
  await new Promise((done) => setTimeout(done, Date.parse(terms.credential.expires) - Date.now() + 5))
  t.match(await gateway.call('/nodes/projects/demo', { headers }), { status: 401, text: /has expired/ })
})

t.test('a scratch is shared by the containers of a session, and goes with the last of them', async (t) => {
  const gateway = await site(t, {
    mounting: {
      backends: [
        ['/', 'main'],
        ['/fast', 'nvme'],
      ],
    },
  })
  const asked = { partition: 'scratch', session: 's-1' }
  const one = await termsOf(gateway, 'alice', { ...asked, member: 'a' })
  t.match(one, { path: '/scratch/alice~s-1', mount: '/scratch', access: 'write', environment: { SCRATCH: '/scratch' } })
  t.equal((await termsOf(gateway, 'alice', { ...asked, member: 'b' })).path, one.path)
  t.equal((await termsOf(gateway, 'bob', asked)).path, '/scratch/bob~s-1', 'another’s session of that name is another')
  t.match(await termsOf(gateway, 'alice', { ...asked, session: 's-2', profile: 'nvme' }), {
    path: '/fast/alice~s-2',
    profile: 'nvme',
  })
  t.equal((await put(gateway, `${one.path}/d.bin`, bearer(one))).status, 201)
  const locked = node(`${one.path}/l`, 'ContainerNode', property('ivo://cadc.nrc.ca/vospace/core#islocked', 'true'))
  t.equal((await gateway.call(`/nodes${one.path}/l`, { as: 'alice', method: 'PUT', body: locked })).status, 201)
  const leave = (member: string) =>
    gateway.call(`/partitions?session=s-1&member=${member}`, { as: 'alice', method: 'DELETE' })
  t.equal((await leave('a')).status, 204)
  t.equal((await gateway.call(`/nodes${one.path}`, { as: 'alice' })).status, 200, 'the other one still has it')
  t.equal((await leave('b')).status, 204)
  for (let i = 0; i < 200; i++) {
    if ((await gateway.call(`/nodes${one.path}`, { as: 'alice' })).status === 404) break
    await new Promise((done) => setTimeout(done, 10))
  }
  t.equal((await gateway.call(`/nodes${one.path}`, { as: 'alice' })).status, 404)
  t.equal((await gateway.call('/nodes/scratch/bob~s-1', { as: 'bob' })).status, 200)
})

t.test('a biDirectional transfer on a container answers the same terms', async (t) => {
  const gateway = await site(t)
  const STANDARD = 'ivo://karst.local/std/karst#'
  const transfer = (target: string, protocol = `${STANDARD}fs-1.0`) =>
    `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1"><vos:target>${VOS}${target}</vos:target>
    <vos:direction>biDirectional</vos:direction><vos:protocol uri="${protocol}"/></vos:transfer>`
  const ask = async (body: string) => {
    const { headers } = await gateway.call('/synctrans', { as: 'bob', method: 'POST', body })
    return gateway.call(headers.location ?? '', { as: 'bob' })
  }
  const { text } = await ask(transfer('/projects/demo'))
  t.match(text, `<vos:endpoint>${gateway.url}/fs/v1?path=%2Fprojects%2Fdemo</vos:endpoint>`)
  const [, terms = ''] = /terms">([^<]*)</.exec(text) ?? []
  const headers = bearer(JSON.parse(terms.replaceAll('&quot;', '"').replaceAll('&amp;', '&')) as Terms)
  t.equal((await put(gateway, '/projects/demo/x', headers)).status, 201)
  t.equal((await put(gateway, '/home/bob/x', headers)).status, 403)
  t.notMatch((await ask(transfer('/home/alice'))).text, 'endpoint')
  t.notMatch((await ask(transfer('/projects/demo', 'ivo://ivoa.net/vospace/core#httpsget'))).text, 'endpoint')
})
