import t from 'tap'
import { deleteNode } from '../../src/space/nodes.ts'
import { admin, alice, at, bob, byOne, file, folder, link, nobody, outcome, STAFF, tree, world } from './space-world.ts'

t.test('deleteNode removes a container with everything below, and the link itself, not what it leads to', async (t) => {
  const { space, backend, changes } = await world()
  await folder(backend, '/home/alice/keep')
  await file(backend, '/home/alice/keep/f')
  await folder(backend, '/home/alice/d')
  await folder(backend, '/home/alice/d/e')
  await file(backend, '/home/alice/d/e/f')
  await link(backend, '/home/alice/d/e/l', '../../keep')
  for (let i = 0; i < 600; i++) await file(backend, `/home/alice/d/f${i}`)
  await deleteNode(space, alice, at('/home/alice/d'))
  t.same(await tree(backend, '/home/alice'), ['/home/alice/keep', '/home/alice/keep/f'])
  t.equal(changes.length, 604)
  t.match(changes.at(-1), { kind: 'removed', path: '/home/alice/d' })
  await link(backend, '/home/alice/l', 'keep')
  await deleteNode(space, alice, at('/home/alice/l'))
  t.same(await tree(backend, '/home/alice'), ['/home/alice/keep', '/home/alice/keep/f'])
})

t.test(
  'deleteNode removes nothing when one node inside cannot go: a lock, or a container of somebody else',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/data', { owner: 'alice', isPublic: true })
    await folder(backend, '/data/d', { isPublic: true })
    await file(backend, '/data/d/a')
    await folder(backend, '/data/d/z', { owner: 'bob', isPublic: true })
    await file(backend, '/data/d/z/f', { owner: 'bob' })
    const before = await tree(backend)
    t.equal(
      await outcome(deleteNode(space, alice, at('/data/d'))),
      'PermissionDenied EACCES',
      'allocations apart, what is in her container may be his',
    )
    t.same(await tree(backend), before)
    await backend.set({ path: at('/data/d/z') }, { access: { groupWrite: [STAFF], owner: 'alice' } })
    await backend.set({ path: at('/data/d/z/f') }, { access: { locked: true } })
    t.equal(await outcome(deleteNode(space, alice, at('/data/d'))), 'PermissionDenied EPERM')
    t.same(await tree(backend), before)
    await backend.set({ path: at('/data/d/z/f') }, { access: { locked: false } })
    await backend.set({ path: at('/data') }, { access: { locked: true } })
    t.equal(
      await outcome(deleteNode(space, alice, at('/data/d'))),
      'PermissionDenied EPERM',
      'a locked container keeps its children',
    )
    await backend.set({ path: at('/data') }, { access: { locked: false } })
    t.equal(await outcome(deleteNode(space, alice, at('/data/d'))), 'ok')
  },
)

t.test(
  'deleteNode keeps the root, other people’s nodes, and what a lock protects that came after the check',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/home/alice/d')
    await file(backend, '/home/alice/d/f')
    t.equal(await outcome(deleteNode(space, admin, at('/'))), 'PermissionDenied EBUSY')
    t.equal(await outcome(deleteNode(space, bob, at('/home/alice/d'))), 'PermissionDenied EACCES')
    t.equal(await outcome(deleteNode(space, nobody, at('/home/alice/d'))), 'PermissionDenied EACCES')
    t.equal(await outcome(deleteNode(space, alice, at('/home/alice'))), 'PermissionDenied EACCES')
    t.equal(await outcome(deleteNode(space, alice, at('/home/alice/none'))), 'NodeNotFound ENOENT')
    t.equal(await outcome(deleteNode(space, alice, at('/home/alice/no/ne'))), 'ContainerNotFound ENOENT')
    t.equal(
      await outcome(deleteNode(space, admin, at('/home/alice'))),
      'PermissionDenied EACCES',
      'not an administrator’s to empty',
    )
    let removals = 0
    const remove = byOne(backend).remove.bind(backend)
    await file(backend, '/home/alice/d/g')
    backend.remove = async (...given) => {
      if (removals++ === 0) await backend.set({ path: at('/home/alice/d/g') }, { access: { locked: true } })
      return remove(...given)
    }
    t.equal(await outcome(deleteNode(space, alice, at('/home/alice/d'))), 'PermissionDenied EPERM')
    t.same(await tree(backend, '/home/alice'), ['/home/alice/d', '/home/alice/d/g'])
  },
)

t.test('deleteNode takes what comes while it works, and stops when cancelled', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  await file(backend, '/home/alice/d/f')
  const remove = byOne(backend).remove.bind(backend)
  let late = 0
  backend.remove = async (...given) => {
    const [path] = given
    if (path === '/home/alice/d' && late++ === 0) await file(backend, '/home/alice/d/late')
    return remove(...given)
  }
  await deleteNode(space, alice, at('/home/alice/d'))
  t.same(await tree(backend, '/home/alice'), [])
  await folder(backend, '/home/alice/d')
  t.equal(
    await outcome(deleteNode(space, alice, at('/home/alice/d'), { signal: AbortSignal.abort() })),
    'TransferFailed EIO',
  )
  t.same(await tree(backend, '/home/alice'), ['/home/alice/d'])
})
