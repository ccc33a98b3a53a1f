import t from 'tap'
import { nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, node, property, startGateway, VOS } from './gateway.ts'
import { JobCalls, moveDocument } from './job-calls.ts'
import { type Name } from './people.ts'

const put = async (gateway: Gateway, path: string, text = 'x', as: Name = 'alice') =>
  gateway.call(`/files${path}`, { method: 'PUT', as, body: text })
const mkdir = async (gateway: Gateway, path: string, as: Name = 'alice', inside = '') =>
  gateway.call(`/nodes${path}`, { method: 'PUT', as, body: node(path, 'ContainerNode', inside) })
const link = async (gateway: Gateway, path: string, target: string, as: Name = 'alice') =>
  gateway.call(`/nodes${path}`, {
    method: 'PUT',
    as,
    body: node(path, 'LinkNode', `<vos:properties/><vos:target>${VOS}${target}</vos:target>`),
  })
const status = async (gateway: Gateway, path: string): Promise<number> =>
  (await gateway.call(`/nodes${path}?limit=0`, { as: 'alice' })).status
const bytes = async (gateway: Gateway, path: string): Promise<string> =>
  (await gateway.call(`/files${path}`, { as: 'alice' })).text

await t.test('row 27: a node moves to a new name, with all below, id and properties', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await mkdir(gateway, '/home/alice/tree', 'alice', property('urn:x', 'kept'))
  await mkdir(gateway, '/home/alice/tree/sub')
  await put(gateway, '/home/alice/tree/sub/f', 'content')
  const [before] = (await gateway.space.backend.walk(nodePath('/home/alice/tree'))).slice(-1)
  const { phase, destinations, error } = await jobs.done(moveDocument('/home/alice/tree', '/home/alice/moved'))
  t.same([phase, destinations, error], ['COMPLETED', [`${VOS}/home/alice/moved`], ''], 'row 29: one destination')
  t.equal(await bytes(gateway, '/home/alice/moved/sub/f'), 'content')
  t.equal(await status(gateway, '/home/alice/tree'), 404)
  const [after] = (await gateway.space.backend.walk(nodePath('/home/alice/moved'))).slice(-1)
  t.equal(after?.id, before?.id)
  t.equal(after?.properties.get('urn:x'), 'kept')
  const changes = gateway.store.changes.since(0).changes
  t.match(changes.at(-1), { kind: 'moved', path: '/home/alice/moved', from: '/home/alice/tree' })
})

await t.test('row 27: into a container that is there, under its own name', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await mkdir(gateway, '/home/alice/into')
  await put(gateway, '/home/alice/sp%20ace')
  const { phase, destinations } = await jobs.done(moveDocument('/home/alice/sp ace', '/home/alice/into'))
  t.same([phase, destinations], ['COMPLETED', [`${VOS}/home/alice/into/sp%20ace`]])
  t.equal(await status(gateway, '/home/alice/into/sp%20ace'), 200)
})

await t.test('row 29: the destination has the separator ~ whatever the client wrote', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/f')
  const other = 'vos://karst.local!karst/home/alice/'
  const { destinations } = await new JobCalls(gateway).done(moveDocument(`${other}f`, `${other}g`))
  t.same(destinations, [`${VOS}/home/alice/g`])
})

await t.test('a container does not move into itself, by whole steps of the path', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await mkdir(gateway, '/home/alice/b')
  await mkdir(gateway, '/home/alice/b/c')
  await mkdir(gateway, '/home/alice/bc')
  await link(gateway, '/home/alice/back', '/home/alice/b/c')
  for (const to of ['/home/alice/b', '/home/alice/b/c', '/home/alice/b/new', '/home/alice/back']) {
    const { phase, error, destinations } = await jobs.done(moveDocument('/home/alice/b', to))
    t.same([phase, destinations], ['ERROR', []], to)
    t.match(error, 'Cannot move container node into its descendants')
  }
  t.equal((await jobs.done(moveDocument('/home/alice/b', '/home/alice/bc'))).phase, 'COMPLETED')
  t.equal(await status(gateway, '/home/alice/bc/b/c'), 200)
})

await t.test('links: the source moves itself, the destination is resolved', async (t) => {
  const gateway = await startGateway(t)
  const jobs = new JobCalls(gateway)
  await mkdir(gateway, '/home/alice/real')
  await put(gateway, '/home/alice/f')
  await link(gateway, '/home/alice/to-f', '/home/alice/f')
  await link(gateway, '/home/alice/to-real', '/home/alice/real')
  await link(gateway, '/home/alice/broken', '/home/alice/none')
  t.same((await jobs.done(moveDocument('/home/alice/to-f', '/home/alice/to-real'))).destinations, [
    `${VOS}/home/alice/real/to-f`,
  ])
  t.equal(await status(gateway, '/home/alice/f'), 200, 'what it leads to stays')
  t.match(await gateway.call('/nodes/home/alice/real/to-f', { as: 'alice' }), {
    text: new RegExp(`vos:LinkNode[^]*<vos:target>${VOS}/home/alice/f<`),
  })
  t.equal((await jobs.done(moveDocument('/home/alice/f', '/home/alice/broken'))).error, 'UnreadableLinkTarget')
  t.equal((await jobs.done(moveDocument('/home/alice/real', '/home/alice/real/to-f'))).error, 'DuplicateNode')
})

await t.test('row 36: what cannot be moved ends in ERROR with the bare token, and nothing has happened', async (t) => {
  const gateway = await startGateway(t, { rules: { allocationParents: [nodePath('/home')] } })
  await mkdir(gateway, '/home/alice/d')
  await mkdir(gateway, '/home/alice/locked', 'alice', property('ivo://cadc.nrc.ca/vospace/core#islocked', 'true'))
  await put(gateway, '/home/alice/d/f')
  await put(gateway, '/home/alice/f')
  await put(gateway, '/home/bob/f', 'x', 'bob')
  const shared = property('ivo://ivoa.net/vospace/core#groupwrite', GROUP)
  await mkdir(gateway, '/home/bob/open', 'bob', shared)
  const cases: [string, string, string, Name?][] = [
    ['/home/alice/none', '/home/alice/x', 'NodeNotFound'],
    ['/home/alice/none/x', '/home/alice/x', 'NodeNotFound'],
    ['/home/alice/f', '/home/alice/none/x', 'ContainerNotFound'],
    ['/home/alice/f', '/home/alice/f/x', 'ContainerNotFound'],
    ['/home/alice/f', '/home/alice/f', 'DuplicateNode'],
    ['/home/alice/f', '/home/alice/d', 'DuplicateNode'],
    ['/home/alice/d', '/home/alice/f', 'DuplicateNode'],
    ['/home/alice/f', '/home/alice/locked', 'PermissionDenied'],
    ['/home/alice/locked', '/home/alice/unlocked', 'PermissionDenied'],
    ['/home/alice/f', '/home/bob/x', 'PermissionDenied'],
    ['/home/bob/f', '/home/alice/x', 'PermissionDenied'],
    ['/home/bob/f', '/home/bob/g', 'PermissionDenied', 'alice'],
    ['/', '/home/alice/x', 'PermissionDenied'],
    ['vos://karst.local~other/home/alice/f', '/home/alice/x', 'InvalidURI'],
    ['/home/alice/f', 'vos://elsewhere~karst/x', 'InvalidURI'],
    ['/home/alice/../bob/f', '/home/alice/x', 'InvalidURI'],
  ]
  const last = gateway.store.changes.since(0).changes.length
  for (const [from, to, fault, as] of cases) {
    const { phase, error, destinations, job } = await new JobCalls(gateway, as).done(moveDocument(from, to))
    t.same([phase, error, destinations], ['ERROR', fault, []], `${from} to ${to}`)
    const { text } = await new JobCalls(gateway, as).get(job)
    t.match(text, `<uws:message>${fault}</uws:message>`)
  }
  const nobody = await new JobCalls(gateway, 'nobody').done(moveDocument('/pub', '/home/alice/x'))
  t.equal(nobody.error, 'PermissionDenied')
  t.equal(gateway.store.changes.since(0).changes.length, last)
})
