import t from 'tap'
import { setXattr } from '../../src/space/filesystem.ts'
import { describe } from '../../src/space/describe.ts'
import { createNode, deleteNode, getNode, listNode, setNode } from '../../src/space/nodes.ts'
import { type NodeClass } from '../../src/vospace/document.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import {
  admin, alice, at, bob, carol, document, file, folder, GUESTS, link, names, nobody, outcome, refusal, STAFF, tree, world,
} from './space-world.ts' // prettier-ignore

const C = 'ivo://ivoa.net/vospace/core#'

t.test('createNode makes containers, data nodes and links, owned by the caller and private', async (t) => {
  const { space, backend, changes } = await world()
  for (const [name, kind, type] of [
    ['c', 'ContainerNode', 'container'],
    ['d', 'DataNode', 'data'],
    ['u', 'UnstructuredDataNode', 'data'],
    ['n', 'Node', 'data'],
  ] as const) {
    const made = await createNode(space, alice, at(`/home/alice/${name}`), document(`/home/alice/${name}`, kind))
    t.match(made, {
      type,
      access: { owner: 'alice', isPublic: false, groupRead: [], inherit: false },
      readable: true,
      writable: true,
    })
  }
  const target = 'vos://karst.local!karst/home/alice/d'
  await createNode(space, alice, at('/home/alice/l'), document('/home/alice/l', 'LinkNode', {}, { target }))
  const [entry] = (await backend.walk(at('/home/alice/l'))).slice(-1)
  t.equal(entry?.text?.toString(), 'd', 'a link within the space is kept as relative text')
  t.equal(
    describe(space, await getNode(space, alice, at('/home/alice/l')), 'none').target,
    'vos://karst.local~karst/home/alice/d',
  )
  t.same(
    changes.map(({ kind, path }) => `${kind} ${path.slice(-1)}`),
    ['made c', 'made d', 'made u', 'made n', 'made l'],
  )
})

t.test('createNode takes from the parent what the client does not say, when the parent inherits', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/p', { isPublic: true, groupRead: [STAFF], groupWrite: [GUESTS], inherit: true })
  const make = (name: string, kind: NodeClass, properties: Record<string, string | null>) =>
    createNode(space, alice, at(`/home/alice/p/${name}`), document(`/home/alice/p/${name}`, kind, properties))
  t.match((await make('a', 'ContainerNode', {})).access, {
    isPublic: true,
    groupRead: [STAFF],
    groupWrite: [GUESTS],
    inherit: true,
  })
  t.match((await make('b', 'DataNode', { [PROPERTY.groupRead]: '' })).access, {
    isPublic: true,
    groupRead: [STAFF],
    inherit: false,
  })
  const own = { [PROPERTY.isPublic]: 'false', [PROPERTY.groupRead]: GUESTS, [PROPERTY.inherit]: 'false' }
  t.match((await make('c', 'ContainerNode', own)).access, {
    isPublic: false,
    groupRead: [GUESTS],
    groupWrite: [GUESTS],
    inherit: false,
  })
})

t.test(
  'createNode refuses, in order: another URI, bad properties, a missing container, a duplicate, permission',
  async (t) => {
    const { space, backend } = await world()
    await file(backend, '/home/alice/f', { isPublic: true })
    await link(backend, '/home/alice/here', '.')
    const make = (path: string, properties = {}, caller = alice, kind: NodeClass = 'DataNode', more = {}) =>
      outcome(createNode(space, caller, at(path), document(path, kind, properties, more)))
    t.equal(
      await outcome(createNode(space, alice, at('/home/alice/x'), document('/home/alice/y', 'DataNode'))),
      'InvalidURI EINVAL',
    )
    t.equal(
      await outcome(
        createNode(space, alice, at('/home/alice/x'), {
          ...document('/home/alice/x', 'DataNode'),
          uri: 'vos://other~x/home/alice/x',
        }),
      ),
      'InvalidURI EINVAL',
    )
    t.equal(
      await make('/home/bob/none/x', { 'ivo://ivoa.net/vospacecore#make-stuff-up': 'x' }),
      'InvalidArgument EINVAL',
    )
    t.equal(await make('/home/alice/x', { [PROPERTY.isPublic]: 'maybe' }), 'InvalidArgument EINVAL')
    t.equal(await make('/home/alice/x', { [PROPERTY.groupRead]: 'staff' }), 'InvalidArgument EINVAL')
    t.equal(await make('/home/alice/none/x', {}, bob), 'ContainerNotFound ENOENT')
    t.equal(await make('/home/alice/f/x'), 'ContainerNotFound ENOTDIR')
    t.equal(await make('/home/alice/f', {}, bob), 'DuplicateNode EEXIST', 'a duplicate comes before permission')
    t.equal(await make('/', {}, bob), 'DuplicateNode EEXIST')
    t.equal(await make('/home/alice/x', {}, bob), 'PermissionDenied EACCES')
    t.equal(await make('/home/alice/x', {}, nobody), 'PermissionDenied EACCES')
    t.equal(await make('/home/bob', {}, bob, 'ContainerNode'), 'PermissionDenied EACCES')
    t.equal(await make('/home/alice/x', {}, alice, 'LinkNode'), 'InvalidArgument EINVAL')
    t.equal(await make('/home/alice/x', {}, alice, 'LinkNode', { target: 'nonsense' }), 'InvalidArgument EINVAL')
    t.equal(await make('/home/alice/here/x'), 'ok', 'a link on the way is followed')
    t.same(
      (await tree(backend)).filter((path) => path.endsWith('/x')),
      ['/home/alice/x'],
    )
  },
)

t.test('createNode and setNode ignore what is read-only, or refuse it in strict mode', async (t) => {
  const readOnly = { [PROPERTY.length]: '123', [PROPERTY.creator]: 'bob', [PROPERTY.quota]: 'lots', [`${C}title`]: 'T' }
  const { space } = await world()
  const made = await createNode(space, alice, at('/home/alice/x'), document('/home/alice/x', 'DataNode', readOnly))
  t.match(made, { size: 0, access: { owner: 'alice' } })
  t.same([...made.properties], [[`${C}title`, 'T']])
  await setNode(space, alice, at('/home/alice/x'), document('/home/alice/x', 'DataNode', readOnly))
  const strict = await world({ strict: true })
  const put = createNode(strict.space, alice, at('/home/alice/x'), document('/home/alice/x', 'DataNode', readOnly))
  t.match(await refusal(put), { fault: 'PermissionDenied', detail: /read-only: .*length/ })
  await link(strict.backend, '/home/alice/l', '.')
  const through = document('/home/alice/l/x', 'DataNode')
  t.equal(await outcome(createNode(strict.space, alice, at('/home/alice/l/x'), through)), 'LinkFound ELOOP')
  t.equal(await outcome(deleteNode(strict.space, alice, at('/home/alice/l/x'))), 'LinkFound ELOOP')
})

t.test('an administrator makes an allocation for another, with a quota, and cannot look into it', async (t) => {
  const { space, backend } = await world()
  const asked = { [PROPERTY.creator]: 'bob', [PROPERTY.quota]: '1000' }
  const made = await createNode(space, admin, at('/home/bob'), document('/home/bob', 'ContainerNode', asked))
  t.equal(made.access.owner, 'bob')
  t.equal((await backend.usage(at('/home/bob'))).quota, 1000)
  await createNode(space, bob, at('/home/bob/c'), document('/home/bob/c', 'ContainerNode'))
  t.equal(await outcome(getNode(space, admin, at('/home/bob/c'))), 'PermissionDenied EACCES')
  const unknown = document('/home/mallory', 'ContainerNode', { [PROPERTY.creator]: 'mallory' })
  t.equal(await outcome(createNode(space, admin, at('/home/mallory'), unknown)), 'InvalidArgument EINVAL')
  const grown = document('/home/bob', 'ContainerNode', { [PROPERTY.quota]: '5000' })
  await setNode(space, admin, at('/home/bob'), grown)
  t.equal((await backend.usage(at('/home/bob'))).quota, 5000)
  await setNode(space, bob, at('/home/bob'), document('/home/bob', 'ContainerNode', { [PROPERTY.quota]: '9999999' }))
  t.equal((await backend.usage(at('/home/bob'))).quota, 5000, 'not his to set')
  const shared = document('/home/bob', 'ContainerNode', { [PROPERTY.quota]: '1', [PROPERTY.isPublic]: 'true' })
  t.equal(await outcome(setNode(space, admin, at('/home/bob'), shared)), 'PermissionDenied EACCES')
  await setNode(space, admin, at('/home/bob'), document('/home/bob', 'ContainerNode', { [PROPERTY.quota]: null }))
  t.equal((await backend.usage(at('/home/bob'))).quota, null)
})

t.test('setNode merges: given replaces, blank is set blank, nil removes, absent stays', async (t) => {
  const { space, backend, changes } = await world()
  await file(
    backend,
    '/home/alice/f',
    { groupRead: [STAFF], isPublic: true },
    'x',
    new Map([
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ]),
  )
  const set = (properties: Record<string, string | null>) =>
    setNode(space, alice, at('/home/alice/f'), document('/home/alice/f', 'DataNode', properties))
  const first = await set({
    a: 'one',
    b: '',
    c: null,
    d: null,
    'urn:x:y': 'z',
    [PROPERTY.groupRead]: `${GUESTS} ${STAFF}`,
  })
  t.same([...first.properties].sort(), [
    ['a', 'one'],
    ['b', ''],
    ['urn:x:y', 'z'],
  ])
  t.same(first.access.groupRead, [GUESTS, STAFF].sort())
  const second = await set({ [PROPERTY.groupRead]: null, [PROPERTY.isPublic]: 'false', [PROPERTY.isLocked]: 'true' })
  t.match(second.access, { groupRead: [], isPublic: false, locked: true })
  t.equal(second.properties.get('a'), 'one')
  const third = await set({ [PROPERTY.isLocked]: null, [PROPERTY.publicRead]: 'true' })
  t.match(third.access, { locked: false, isPublic: true }, 'a locked node can be unlocked; publicread is ispublic')
  const quiet = changes.length
  await set({ a: 'one', nothing: null })
  t.equal(changes.length, quiet, 'what changes nothing is no change')
})

t.test('setNode refuses another type, another URI, another target, and who may not write', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { isPublic: true, groupWrite: [STAFF] })
  await link(backend, '/home/alice/l', 'f')
  const set = (path: string, kind: NodeClass, caller = alice, more = {}) =>
    outcome(setNode(space, caller, at(path), document(path, kind, { a: 'b' }, more)))
  t.equal(await set('/home/alice/f', 'ContainerNode'), 'InvalidArgument EINVAL')
  t.equal(await set('/home/alice/f', 'StructuredDataNode'), 'ok')
  t.equal(await set('/home/alice/l', 'LinkNode', alice, { target: 'vos://karst.local!karst/home/alice/f' }), 'ok')
  t.equal(
    await set('/home/alice/l', 'LinkNode', alice, { target: 'vos://karst.local~karst/home/alice/g' }),
    'InvalidArgument EINVAL',
  )
  t.equal(await set('/home/alice/none', 'DataNode'), 'NodeNotFound ENOENT')
  t.equal(await set('/home/alice/f', 'DataNode', carol), 'PermissionDenied EACCES')
  t.equal(await set('/home/alice/f', 'DataNode', nobody), 'PermissionDenied EACCES')
  t.equal(await set('/home/alice/f', 'DataNode', bob), 'ok', 'writers may')
  const other = document('/home/alice/g', 'DataNode')
  t.equal(await outcome(setNode(space, alice, at('/home/alice/f'), other)), 'InvalidArgument EINVAL')
})

t.test('listNode gives children by name from one on, to who may read the container, and none to others', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/p', { groupRead: [STAFF] })
  for (const name of ['b', 'é', 'a', 'C', '\u{1f600}', '\uffee']) await file(backend, `/home/alice/p/${name}`)
  const list = async (caller = alice, options = {}) => {
    const { node, children } = await listNode(space, caller, at('/home/alice/p'), options)
    return { readable: node.readable, names: await names(children) }
  }
  const inBytes = ['C', 'a', 'b', 'é', '\uffee', '\u{1f600}']
  t.same(await list(), { readable: true, names: inBytes })
  t.same(await list(bob), { readable: true, names: inBytes })
  t.same(await list(carol), { readable: false, names: [] })
  t.same((await list(alice, { limit: 0 })).names, [])
  t.same((await list(alice, { from: 'a', limit: 2 })).names, ['a', 'b'])
  t.same((await list(alice, { from: 'aa' })).names, ['b', 'é', '\uffee', '\u{1f600}'], 'from a child that is gone')
  t.same((await list(alice, { sort: { order: 'desc' } })).names, inBytes.toReversed())
  const data = await listNode(space, alice, at('/home/alice/p/a'))
  t.same(await names(data.children), [])
})

t.test('listNode sorts by length and by date, and pages in that order', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/p')
  for (const [name, text] of [
    ['a', '333'],
    ['b', '1'],
    ['c', '22'],
    ['d', '1'],
  ] as const)
    await file(backend, `/home/alice/p/${name}`, {}, text)
  const list = async (property: string, order: 'asc' | 'desc', more = {}) =>
    names((await listNode(space, alice, at('/home/alice/p'), { sort: { property, order }, ...more })).children)
  t.same(await list(PROPERTY.length, 'asc'), ['b', 'd', 'c', 'a'])
  t.same((await list(PROPERTY.length, 'desc')).slice(0, 2), ['a', 'c'])
  t.same(await list(PROPERTY.date, 'desc'), ['d', 'c', 'b', 'a'])
  t.same(await list(PROPERTY.length, 'asc', { from: 'd', limit: 2 }), ['d', 'c'])
  t.equal(await outcome(list(PROPERTY.length, 'asc', { from: 'none' })), 'InvalidURI EINVAL')
})

t.test('getNode shows a private node to who can reach it, and answers a link with the link', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f')
  await link(backend, '/home/alice/l', 'f')
  t.match(await getNode(space, nobody, at('/home/alice/f')), { readable: false, writable: false })
  t.equal((await getNode(space, nobody, at('/home/alice/l'))).type, 'link')
  t.equal(await outcome(getNode(space, nobody, at('/home/alice/none'))), 'NodeNotFound ENOENT')
  t.equal(await outcome(getNode(space, nobody, at('/home/alice/no/ne'))), 'NodeNotFound ENOENT')
})

t.test('describe computes what clients need, sorted, and no more than the detail asks for', async (t) => {
  const { space, backend } = await world()
  await file(
    backend,
    '/home/alice/f',
    { groupRead: [STAFF, GUESTS].sort(), locked: true },
    'x',
    new Map([
      [PROPERTY.type, 'text/plain'],
      ['quality', 'good'],
    ]),
  )
  const node = await getNode(space, alice, at('/home/alice/f'))
  const document = describe(space, node, 'none')
  const value = (uri: string) => document.properties.find((property) => property.uri === uri)?.value
  t.match(document, {
    uri: 'vos://karst.local~karst/home/alice/f',
    class: 'DataNode',
    busy: false,
    accepts: [],
    provides: [],
  })
  t.equal(value(PROPERTY.creator), 'alice')
  t.match(value(PROPERTY.date), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$/)
  t.equal(value(PROPERTY.length), '1')
  t.equal(value(PROPERTY.isPublic), 'false')
  t.equal(value(PROPERTY.groupRead), `${GUESTS} ${STAFF}`)
  t.equal(value(PROPERTY.isLocked), 'true')
  t.equal(value(PROPERTY.type), 'text/plain')
  t.equal(value('quality'), 'good')
  for (const uri of [PROPERTY.groupWrite, PROPERTY.inherit, PROPERTY.publicRead, PROPERTY.readable])
    t.equal(value(uri), undefined, uri)
  t.same(
    document.properties.map(({ uri }) => uri),
    document.properties.map(({ uri }) => uri).sort(),
  )
  t.same(describe(space, node, 'min'), { uri: document.uri, class: 'DataNode', properties: [] })
  const most = describe(space, node, 'max').properties.map(({ uri }) => uri)
  t.ok(most.includes(PROPERTY.readable))
  t.notOk(most.includes(PROPERTY.writable), 'it is locked')
  const container = describe(
    space,
    await getNode(space, alice, at('/home/alice')),
    'none',
    await backend.usage(at('/home/alice')),
  )
  t.match(
    container.properties.find(({ uri }) => uri === PROPERTY.inherit),
    { value: 'false' },
  )
  t.equal(container.busy, undefined)
  await folder(backend, '/home/alice/all', { groupRead: [STAFF], groupWrite: [STAFF], isPublic: true })
  await backend.setQuota(at('/home/alice/all'), 1000)
  const whole = await getNode(space, alice, at('/home/alice/all'))
  const uris = describe(space, whole, 'max', await backend.usage(whole.path)).properties.map(({ uri }) => uri)
  t.ok(uris.includes(PROPERTY.quota) && uris.includes(PROPERTY.availableSpace) && uris.includes(PROPERTY.writable))
  t.same(uris, uris.toSorted(), 'sorted when nothing is stored, too')
  await file(backend, '/home/alice/all/f', { groupRead: [STAFF], groupWrite: [STAFF], locked: true })
  const data = describe(
    space,
    { ...(await getNode(space, alice, at('/home/alice/all/f'))), md5: 'x' },
    'max',
  ).properties
  t.same(
    data.map(({ uri }) => uri),
    data.map(({ uri }) => uri).sort(),
  )
})

t.test('the properties of a node do not grow without end, by either door', async (t) => {
  const { space, backend } = await world()
  const big = 'x'.repeat(65_000)
  const four = Object.fromEntries([1, 2, 3, 4].map((n) => [`x:${n}`, big]))
  const kept = new Map(Object.entries({ ...four, 'x:5': big }))
  await file(backend, '/home/alice/f')
  await file(backend, '/home/alice/full', {}, 'text', kept)
  const set = (path: string, properties: Record<string, string | null>) =>
    outcome(setNode(space, alice, at(path), document(path, 'DataNode', properties)))
  t.equal(await set('/home/alice/f', four), 'ok')
  t.equal(await set('/home/alice/f', { 'x:5': big }), 'QuotaExceeded ENOSPC')
  t.equal(await set('/home/alice/f', { 'x:5': big, 'x:1': null }), 'ok')
  t.equal(
    await outcome(setXattr(space, alice, at('/home/alice/f'), 'user.x:6', Buffer.from(big))),
    'QuotaExceeded ENOSPC',
  )
  t.equal(await set('/home/alice/full', { 'x:1': 'less' }), 'ok', 'what is there may become less')
  const made = document('/home/alice/g', 'DataNode', { ...four, 'x:5': big })
  t.equal(await outcome(createNode(space, alice, at('/home/alice/g'), made)), 'QuotaExceeded ENOSPC')
  t.equal((await backend.walk(at('/home/alice/g'))).at(-1)?.path, '/home/alice')
})
