import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { type NodePath, nodePath } from '../../src/vospace/path.ts'
import { type Gateway, GROUP, node, overlay, property, startGateway, VOS } from './gateway.ts'
import { copyDocument, document, JobCalls } from './job-calls.ts'
import { type Name } from './people.ts'

const put = async (gateway: Gateway, path: string, text = 'x', as: Name = 'alice') =>
  gateway.call(`/files${path}`, { method: 'PUT', as, body: text })
const mkdir = async (gateway: Gateway, path: string, as: Name = 'alice', inside = '') =>
  gateway.call(`/nodes${path}`, { method: 'PUT', as, body: node(path, 'ContainerNode', inside) })
const link = async (gateway: Gateway, path: string, target: string) =>
  gateway.call(`/nodes${path}`, {
    method: 'PUT',
    as: 'alice',
    body: node(path, 'LinkNode', `<vos:properties/><vos:target>${VOS}${target}</vos:target>`),
  })
const bytes = async (gateway: Gateway, path: string, as: Name = 'alice'): Promise<string> =>
  (await gateway.call(`/files${path}`, { as })).text
const show = async (gateway: Gateway, path: string, as: Name = 'alice'): Promise<string> =>
  (await gateway.call(`/nodes${path}`, { as })).text

/** Paths below, whoever may see them. */
async function all(gateway: Gateway, path: string): Promise<string[]> {
  const found: string[] = []
  for await (const entry of gateway.space.backend.list(nodePath(path))) {
    found.push(entry.path)
    if (entry.type === 'container') found.push(...(await all(gateway, entry.path)))
  }
  return found
}

const IS_PUBLIC = 'ivo://ivoa.net/vospace/core#ispublic'
const GROUP_READ = 'ivo://ivoa.net/vospace/core#groupread'
const LOCKED = 'ivo://cadc.nrc.ca/vospace/core#islocked'
const IMMUTABLE = 'ivo://ivoa.net/vospace/core#immutable'
const INHERIT = 'ivo://cadc.nrc.ca/vospace/core#inheritPermissions'

await t.test('row 28: a copy is deep, with bytes and properties, and leaves the source as it is', async (t) => {
  const gateway = await startGateway(t)
  await mkdir(gateway, '/home/alice/tree', 'alice', property('urn:x', 'kept'))
  await mkdir(gateway, '/home/alice/tree/sub')
  await put(gateway, '/home/alice/tree/sub/f', 'content')
  await put(gateway, '/home/alice/tree/g', '')
  const { phase, destinations, job } = await new JobCalls(gateway).done(
    copyDocument('/home/alice/tree', '/home/alice/copy'),
  )
  t.same([phase, destinations], ['COMPLETED', [`${VOS}/home/alice/copy`]], 'row 29: one destination')
  t.same(await all(gateway, '/home/alice'), [
    '/home/alice/copy', '/home/alice/copy/g', '/home/alice/copy/sub', '/home/alice/copy/sub/f',
    '/home/alice/tree', '/home/alice/tree/g', '/home/alice/tree/sub', '/home/alice/tree/sub/f',
  ]) // prettier-ignore
  t.equal(await bytes(gateway, '/home/alice/copy/sub/f'), 'content')
  t.match(await show(gateway, '/home/alice/copy'), />kept</)
  t.match((await new JobCalls(gateway).get(job)).text, /<karst:progress [^>]*done="4" total="4"/)
  await put(gateway, '/home/alice/copy/sub/f', 'other')
  t.equal(await bytes(gateway, '/home/alice/tree/sub/f'), 'content', 'two files')
})

await t.test('row 28: a document that does not say keepBytes asks for a copy', async (t) => {
  const gateway = await startGateway(t)
  await put(gateway, '/home/alice/f')
  await mkdir(gateway, '/home/alice/d')
  t.same((await new JobCalls(gateway).done(document('/home/alice/f', '/home/alice/d'))).destinations, [
    `${VOS}/home/alice/d/f`,
  ])
  t.equal(await bytes(gateway, '/home/alice/f'), 'x')
})

await t.test('the copy belongs to who copies, its sharing comes from where it comes', async (t) => {
  const gateway = await startGateway(t)
  const open = property(IS_PUBLIC, 'true')
  await mkdir(gateway, '/home/alice/tree', 'alice', open)
  await mkdir(gateway, '/home/alice/tree/sub', 'alice', open)
  await put(gateway, '/home/alice/tree/f')
  await gateway.call('/nodes/home/alice/tree/f', {
    method: 'POST',
    as: 'alice',
    body: node('/home/alice/tree/f', 'DataNode', `<vos:properties><vos:property uri="${IS_PUBLIC}">true</vos:property>
      <vos:property uri="${IMMUTABLE}">true</vos:property><vos:property uri="${LOCKED}">true</vos:property></vos:properties>`),
  }) // prettier-ignore
  const both = `<vos:properties><vos:property uri="${INHERIT}">true</vos:property><vos:property uri="${GROUP_READ}">${GROUP}</vos:property></vos:properties>`
  await mkdir(gateway, '/home/bob/into', 'bob', both)
  await gateway.call('/nodes/home/alice', {
    method: 'POST',
    as: 'alice',
    body: node('/home/alice', 'ContainerNode', open),
  })
  t.equal(
    (await new JobCalls(gateway, 'bob').done(copyDocument('/home/alice/tree', '/home/bob/plain'))).phase,
    'COMPLETED',
  )
  t.equal(
    (await new JobCalls(gateway, 'bob').done(copyDocument('/home/alice/tree', '/home/bob/into'))).phase,
    'COMPLETED',
  )
  const accessOf = async (path: string) => (await gateway.space.backend.walk(nodePath(path))).at(-1)?.access
  const own = { owner: 'bob', isPublic: false, groupRead: [], groupWrite: [], locked: false }
  t.match(await accessOf('/home/bob/plain/f'), own)
  t.match(await accessOf('/home/bob/plain/sub'), { ...own, inherit: false })
  t.match(await accessOf('/home/bob/into/tree/f'), { ...own, groupRead: [GROUP] })
  t.match(await accessOf('/home/bob/into/tree/sub'), { ...own, groupRead: [GROUP], inherit: true })
  t.equal((await put(gateway, '/home/bob/plain/f', 'new', 'bob')).status, 201, 'neither locked nor immutable')
})

await t.test('links: inside the tree they lead inside the copy, others where they did', async (t) => {
  const gateway = await startGateway(t)
  await mkdir(gateway, '/home/alice/tree')
  await mkdir(gateway, '/home/alice/deep')
  await put(gateway, '/home/alice/tree/f', 'inside')
  await put(gateway, '/home/alice/outside', 'outside')
  await link(gateway, '/home/alice/tree/in', '/home/alice/tree/f')
  await link(gateway, '/home/alice/tree/out', '/home/alice/outside')
  await link(gateway, '/home/alice/tree/broken', '/home/alice/none')
  await link(gateway, '/home/alice/to-deep', '/home/alice/deep')
  t.same((await new JobCalls(gateway).done(copyDocument('/home/alice/tree', '/home/alice/to-deep'))).destinations, [
    `${VOS}/home/alice/deep/tree`,
  ])
  const target = async (path: string) => /<vos:target>([^<]*)</.exec(await show(gateway, path))?.[1]
  t.equal(await target('/home/alice/deep/tree/in'), `${VOS}/home/alice/deep/tree/f`)
  t.equal(await target('/home/alice/deep/tree/out'), `${VOS}/home/alice/outside`)
  t.equal(await target('/home/alice/deep/tree/broken'), `${VOS}/home/alice/none`)
  await new JobCalls(gateway).done(copyDocument('/home/alice/tree/in', '/home/alice/deep'))
  t.equal(await target('/home/alice/deep/in'), `${VOS}/home/alice/tree/f`, 'a link is copied itself')
})

await t.test('row 36: what cannot be copied ends in ERROR, and no node is left half made', async (t) => {
  const gateway = await startGateway(t)
  await mkdir(gateway, '/home/alice/d')
  await put(gateway, '/home/alice/d/f')
  await put(gateway, '/home/alice/f')
  await mkdir(gateway, '/home/alice/locked', 'alice', property(LOCKED, 'true'))
  await mkdir(gateway, '/pub/open', 'alice', property(IS_PUBLIC, 'true'))
  for (let n = 0; n < 5; n++) await put(gateway, `/pub/open/${n}`)
  await mkdir(gateway, '/pub/open/shut')
  const before = await all(gateway, '/')
  const cases: [string, string, string | RegExp, Name?][] = [
    ['/home/alice/none', '/home/alice/x', 'NodeNotFound'],
    ['/home/alice/f', '/home/alice/none/x', 'ContainerNotFound'],
    ['/home/alice/f', '/home/alice/d', 'DuplicateNode'],
    ['/home/alice/f', '/home/alice/f', 'DuplicateNode'],
    ['/home/alice/d', '/home/alice/f', 'DuplicateNode'],
    ['/home/alice/f', '/home/alice/locked', 'PermissionDenied'],
    ['/home/alice/f', '/home/bob/x', 'PermissionDenied'],
    ['/home/alice/f', '/home/bob/x', 'PermissionDenied', 'bob'],
    ['/pub/open', '/home/bob/x', 'PermissionDenied', 'bob'],
    ['/home/alice/d', '/home/alice/d', /^InvalidArgument: Cannot copy container node into its descendants$/],
    ['/home/alice/d', '/home/alice/d/new', /^InvalidArgument: Cannot copy/],
    ['/', '/home/alice/x', /^InvalidArgument: Cannot copy|^PermissionDenied$/],
    ['/home/alice/f', 'vos://elsewhere~karst/x', 'InvalidURI'],
  ]
  for (const [from, to, fault, as] of cases) {
    const { phase, error } = await new JobCalls(gateway, as).done(copyDocument(from, to))
    t.match([phase, error], ['ERROR', fault], `${from} to ${to}`)
    t.same(await all(gateway, '/'), before)
  }
})

await t.test('a copy that fails midway is taken back', async (t) => {
  let left = 3
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        copy: async (from, to, draft) => {
          if (left-- === 0) throw new Fault('QuotaExceeded', 'the storage is full', { errno: 'ENOSPC' })
          return memory.copy(from, to, draft)
        },
      }),
  })
  await mkdir(gateway, '/home/alice/d')
  for (let n = 0; n < 9; n++) await put(gateway, `/home/alice/d/${n}`)
  const before = await all(gateway, '/')
  t.match(await new JobCalls(gateway).done(copyDocument('/home/alice/d', '/home/alice/x')), {
    phase: 'ERROR',
    error: 'QuotaExceeded',
  })
  t.same(await all(gateway, '/'), before)
})

await t.test('a copy is not begun where it does not fit', async (t) => {
  const gateway = await startGateway(t, { quota: 1000 })
  await put(gateway, '/home/alice/f', 'x'.repeat(600))
  t.equal((await new JobCalls(gateway).done(copyDocument('/home/alice/f', '/home/alice/g'))).error, 'QuotaExceeded')
})

await t.test('an abort takes back what has been made, a restart goes on with it', async (t) => {
  const gate: { open: () => void; copied: NodePath[]; wait?: Promise<void> } = { open: () => undefined, copied: [] }
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        copy: async (from, to, draft) => {
          if (gate.copied.length >= 3) await gate.wait
          gate.copied.push(from)
          return memory.copy(from, to, draft)
        },
      }),
  })
  const jobs = new JobCalls(gateway)
  await mkdir(gateway, '/home/alice/d')
  for (let n = 0; n < 9; n++) await put(gateway, `/home/alice/d/${n}`, `${n}`)
  const before = await all(gateway, '/')
  gate.wait = new Promise((resolve) => (gate.open = resolve))
  const job = await jobs.create(copyDocument('/home/alice/d', '/home/alice/x'))
  t.equal((await jobs.form(`${job}/phase`, 'PHASE=RUN')).status, 303)
  t.equal(await jobs.phase(job), 'EXECUTING')
  t.equal((await all(gateway, '/')).length, before.length + 4, 'under a name of its own')
  t.match(await show(gateway, '/home/alice/x'), /NodeNotFound/)
  t.equal((await jobs.form(`${job}/phase`, 'PHASE=ABORT')).status, 303)
  t.equal(await jobs.phase(job), 'ABORTED')
  gate.open()
  await gateway.runner.settled(job.slice(-24), 5000)
  t.same(await all(gateway, '/'), before)
  t.equal(await jobs.phase(job), 'ABORTED')
})
