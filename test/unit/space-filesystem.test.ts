import t from 'tap'
import { entryOf, listOf, mkdir, remove, rename, setattr, statfs, symlink } from '../../src/space/filesystem.ts'
import {
  admin,
  alice,
  at,
  bob,
  file,
  folder,
  GUESTS,
  link,
  names,
  nobody,
  outcome,
  STAFF,
  tree,
  world,
} from './space-world.ts'

t.test('entryOf and listOf answer as the kernel would: links on the way are not followed', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d', { groupRead: [STAFF] })
  for (const name of ['a', 'b', 'c']) await file(backend, `/home/alice/d/${name}`)
  await link(backend, '/home/alice/l', 'd')
  const entry = (path: string, caller = alice) => outcome(entryOf(space, caller, { path: at(path) }))
  t.equal(await entry('/home/alice/l'), 'ok')
  t.equal(await entry('/home/alice/l/a'), 'LinkFound ELOOP')
  t.equal(await entry('/home/alice/d/a/x'), 'ContainerNotFound ENOTDIR')
  t.equal(await entry('/home/alice/d/none'), 'NodeNotFound ENOENT')
  t.equal(await entry('/home/alice/none/x'), 'ContainerNotFound ENOENT')
  t.equal(await entry('/home/alice/d/none', nobody), 'PermissionDenied EACCES')
  t.match(await entryOf(space, bob, { path: at('/home/alice/d') }), { readable: true, writable: false })
  t.equal(await outcome(listOf(space, nobody, at('/home/alice/d'))), 'PermissionDenied EACCES')
  t.equal(await outcome(listOf(space, alice, at('/home/alice/d/a'))), 'TypeNotSupported ENOTDIR')
  const first = await listOf(space, bob, at('/home/alice/d'), { limit: 2 })
  t.same(await names(first.entries), ['a', 'b'])
  t.equal(first.cursor(), 'c')
  const rest = await listOf(space, bob, at('/home/alice/d'), { limit: 2, cursor: first.cursor() ?? '' })
  t.same(await names(rest.entries), ['c'])
  t.equal(rest.cursor(), null)
})

t.test('an open node is found by its id where it was moved to, and nothing else in its place', async (t) => {
  const { space, backend } = await world()
  const { id } = await file(backend, '/home/alice/f')
  await backend.move(at('/home/alice/f'), at('/home/alice/g'))
  await file(backend, '/home/alice/f', {}, 'another')
  t.equal((await entryOf(space, alice, { path: at('/home/alice/f'), id })).path, '/home/alice/g')
  await setattr(space, alice, { path: at('/home/alice/f'), id }, { mode: 0o600 })
  t.equal((await entryOf(space, alice, { path: at('/home/alice/g') })).mode, 0o600)
  await folder(backend, '/home/alice/closed', { owner: 'bob' })
  await backend.move(at('/home/alice/g'), at('/home/alice/closed/g'))
  t.equal(await outcome(entryOf(space, bob, { path: at('/home/alice/f'), id })), 'ok')
  t.equal(
    await outcome(entryOf(space, nobody, { path: at('/home/alice/f'), id })),
    'PermissionDenied EACCES',
    'an id opens no doors',
  )
  await backend.remove(at('/home/alice/closed/g'), 'data')
  t.equal(await outcome(entryOf(space, alice, { path: at('/home/alice/f'), id })), 'NodeNotFound ESTALE')
  const stale = { path: at('/home/alice/closed'), id: 'never' }
  t.equal(await outcome(entryOf(space, alice, stale)), 'NodeNotFound ESTALE')
})

t.test('what a program creates takes its sharing from the container or has none, whatever its mode says', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/open', { isPublic: true, groupRead: [STAFF], inherit: true })
  t.match(await mkdir(space, alice, at('/home/alice/d'), { mode: 0o777 }), {
    mode: 0o770,
    access: { owner: 'alice', isPublic: false, groupRead: [] },
  })
  t.match(await mkdir(space, alice, at('/home/alice/open/d'), { mode: 0o700 }), {
    access: { isPublic: true, groupRead: [STAFF], inherit: true },
  })
  t.match(await symlink(space, alice, at('/home/alice/open/l'), Buffer.from([0x2e, 0xff])), {
    type: 'link',
    access: { isPublic: true },
  })
})

t.test(
  'mkdir and symlink refuse as the kernel does: what is there first, then permission, then the name',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/home/alice/locked', { locked: true })
    const make = (path: string, caller = alice) => outcome(mkdir(space, caller, at(path)))
    t.equal(await make('/home/alice', bob), 'DuplicateNode EEXIST')
    t.equal(await make('/'), 'DuplicateNode EEXIST')
    t.equal(await make('/home/alice/x', bob), 'PermissionDenied EACCES')
    t.equal(await make('/home/alice/x', nobody), 'PermissionDenied EACCES')
    t.equal(await make('/home/alice/locked/x'), 'PermissionDenied EPERM')
    t.equal(await make('/home/bob', bob), 'PermissionDenied EACCES')
    t.equal(await make('/home/new', admin), 'ok')
    t.equal(await make('/home/alice/no/ne'), 'ContainerNotFound ENOENT')
    const text = (bytes: Buffer) => outcome(symlink(space, alice, at('/home/alice/l'), bytes))
    t.equal(await text(Buffer.alloc(0)), 'InvalidArgument ENOENT')
    t.equal(await text(Buffer.alloc(4096, 'x')), 'InvalidArgument ENAMETOOLONG')
    t.equal(await text(Buffer.from('a\0b')), 'InvalidArgument EINVAL')
    t.equal(await text(Buffer.from('vos:///')), 'ok', 'any text will do')
  },
)

t.test('of many who make one name exactly one succeeds', async (t) => {
  const { space } = await world()
  const answers = await Promise.all(Array.from({ length: 20 }, () => outcome(mkdir(space, alice, at('/home/alice/d')))))
  t.equal(answers.filter((answer) => answer === 'ok').length, 1)
  t.equal(answers.filter((answer) => answer === 'DuplicateNode EEXIST').length, 19)
})

t.test('remove takes one node of the type that was said, and an empty one', async (t) => {
  const { space, backend, changes } = await world()
  await folder(backend, '/home/alice/d')
  await file(backend, '/home/alice/d/f')
  await link(backend, '/home/alice/l', 'd')
  await file(backend, '/home/alice/locked', { locked: true })
  const rm = (path: string, type: 'container' | 'leaf' | 'data', caller = alice) =>
    outcome(remove(space, caller, at(path), type))
  t.equal(await rm('/home/alice/d', 'container'), 'ContainerNotEmpty ENOTEMPTY')
  t.equal(await rm('/home/alice/d', 'leaf'), 'TypeNotSupported EISDIR')
  t.equal(await rm('/home/alice/d/f', 'container'), 'TypeNotSupported ENOTDIR')
  t.equal(await rm('/home/alice/none', 'leaf'), 'NodeNotFound ENOENT')
  t.equal(await rm('/home/alice/d/f/x', 'leaf'), 'ContainerNotFound ENOTDIR')
  t.equal(await rm('/home/alice/locked', 'leaf'), 'PermissionDenied EPERM')
  t.equal(await rm('/home/alice/l', 'leaf', bob), 'PermissionDenied EACCES')
  t.equal(await rm('/home/alice', 'container', bob), 'PermissionDenied EACCES')
  t.equal(await rm('/', 'container', admin), 'PermissionDenied EBUSY')
  t.equal(changes.length, 0)
  t.equal(await rm('/home/alice/d/f', 'data'), 'ok')
  t.equal(await rm('/home/alice/d', 'container'), 'ok')
  t.equal(await rm('/home/alice/l', 'leaf'), 'ok')
  t.same(await tree(backend, '/home/alice'), ['/home/alice/locked'])
  t.same(
    changes.map(({ kind, path }) => `${kind} ${path}`),
    ['removed /home/alice/d/f', 'removed /home/alice/d', 'removed /home/alice/l'],
  )
})

t.test('rename is renameat2 with its refusals', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  await folder(backend, '/home/alice/d/e')
  await folder(backend, '/home/alice/full')
  await file(backend, '/home/alice/full/f')
  await file(backend, '/home/alice/a', {}, 'a')
  await file(backend, '/home/alice/b', {}, 'b')
  const mv = (from: string, to: string, flags?: 'replace' | 'noreplace' | 'exchange', caller = alice) =>
    outcome(rename(space, caller, at(from), at(to), flags))
  t.equal(await mv('/', '/home/alice/x'), 'PermissionDenied EBUSY')
  t.equal(await mv('/home/alice/a', '/'), 'PermissionDenied EBUSY')
  t.equal(await mv('/home/alice/none', '/home/alice/x'), 'NodeNotFound ENOENT')
  t.equal(await mv('/home/alice/a', '/home/alice/no/x'), 'ContainerNotFound ENOENT')
  t.equal(await mv('/home/alice/a', '/home/alice/b/x'), 'ContainerNotFound ENOTDIR')
  t.equal(await mv('/home/alice/a', '/home/alice/b', 'noreplace'), 'DuplicateNode EEXIST')
  t.equal(await mv('/home/alice/a', '/home/alice/x', 'exchange'), 'NodeNotFound ENOENT')
  t.equal(await mv('/home/alice/d', '/home/alice/d/e/x'), 'InvalidArgument EINVAL')
  t.equal(await mv('/home/alice/d', '/home/alice/d/e', 'exchange'), 'InvalidArgument EINVAL')
  t.equal(await mv('/home/alice/d/e', '/home/alice/d'), 'ContainerNotEmpty ENOTEMPTY')
  t.equal(await mv('/home/alice/d', '/home/alice/a'), 'TypeNotSupported ENOTDIR')
  t.equal(await mv('/home/alice/a', '/home/alice/d'), 'TypeNotSupported EISDIR')
  t.equal(await mv('/home/alice/d', '/home/alice/full'), 'ContainerNotEmpty ENOTEMPTY')
  t.equal(await mv('/home/alice/d', '/home/alice/de'), 'ok', 'a name that begins alike is not inside')
  t.equal(await mv('/home/alice/a', '/home/alice/a'), 'ok', 'onto itself')
  t.equal(await mv('/home/alice/a', '/home/alice/b'), 'ok')
  t.equal(await mv('/home/alice/b', '/home/alice/full', 'exchange'), 'ok')
  t.same(await tree(backend, '/home/alice'), [
    '/home/alice/b',
    '/home/alice/b/f',
    '/home/alice/de',
    '/home/alice/de/e',
    '/home/alice/full',
  ])
})

t.test('rename needs both containers, and neither locked, nor the node, nor what it replaces', async (t) => {
  const { space, backend, changes } = await world()
  await folder(backend, '/home/alice/in', { groupWrite: [STAFF] })
  await folder(backend, '/home/alice/read', { groupRead: [STAFF] })
  await file(backend, '/home/alice/in/f')
  await file(backend, '/home/alice/in/locked', { locked: true })
  await file(backend, '/home/alice/read/g')
  const mv = (from: string, to: string) =>
    outcome(rename(space, bob, at(`/home/alice/${from}`), at(`/home/alice/${to}`)))
  t.equal(await mv('in/f', 'read/f'), 'PermissionDenied EACCES')
  t.equal(await mv('read/g', 'in/g'), 'PermissionDenied EACCES')
  t.equal(await mv('in/f', 'read/g'), 'PermissionDenied EACCES')
  t.equal(await mv('in/locked', 'in/x'), 'PermissionDenied EPERM')
  t.equal(await mv('in/f', 'in/locked'), 'PermissionDenied EPERM')
  await backend.set({ path: at('/home/alice/in') }, { access: { locked: true } })
  t.equal(await mv('in/f', 'in/x'), 'PermissionDenied EPERM')
  await backend.set({ path: at('/home/alice/in') }, { access: { locked: false } })
  t.equal(changes.length, 0)
  t.equal(await mv('in/f', 'in/x'), 'ok')
  t.match(changes, [{ kind: 'moved', path: '/home/alice/in/x', from: '/home/alice/in/f' }])
})

t.test('what its mover may not read does not come into another allocation, where they could', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/bob', { owner: 'bob' })
  await folder(backend, '/home/alice/shared', { groupWrite: [STAFF] })
  await file(backend, '/home/alice/shared/secret')
  await file(backend, '/home/alice/shared/known', { groupRead: [STAFF] })
  await folder(backend, '/home/alice/shared/bobs', { owner: 'bob', groupWrite: [GUESTS] })
  await file(backend, '/home/alice/shared/bobs/carols', { owner: 'carol' })
  await file(backend, '/home/bob/bait', { owner: 'bob' })
  const move = (from: string, to: string, flags?: 'exchange', caller = bob) =>
    outcome(rename(space, caller, at(from), at(to), flags))
  t.equal(await move('/home/alice/shared/secret', '/home/bob/secret'), 'OperationNotSupported EXDEV')
  t.equal(await move('/home/alice/shared/secret', '/home/bob/bait', 'exchange'), 'OperationNotSupported EXDEV')
  t.equal(await move('/home/bob/bait', '/home/alice/shared/secret', 'exchange'), 'OperationNotSupported EXDEV')
  t.equal(await move('/home/alice/shared/bobs', '/home/bob/bobs'), 'OperationNotSupported EXDEV')
  t.equal(await move('/home/alice/shared/secret', '/home/alice/shared/secret2'), 'ok', 'within one it is as in POSIX')
  t.equal(await move('/home/alice/shared/known', '/home/bob/known'), 'ok', 'what they could copy')
  t.equal(await move('/home/bob/bait', '/home/alice/shared/bait'), 'ok', 'and who owns the allocation may')
})

t.test('setattr: chmod says what is shared, chown is the administrator’s, truncation is a write', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { groupRead: [STAFF], groupWrite: [STAFF], isPublic: true }, 'hello')
  await link(backend, '/home/alice/l', 'f')
  const ref = { path: at('/home/alice/f') }
  const set = (attributes: Parameters<typeof setattr>[3], caller = alice, path = '/home/alice/f') =>
    outcome(setattr(space, caller, { path: at(path) }, attributes))
  t.match((await setattr(space, alice, ref, { mode: 0o640 })).access, {
    isPublic: false,
    groupRead: [STAFF],
    groupWrite: [],
  })
  t.match(await setattr(space, alice, ref, { mode: 0o600, mtime: 5n, size: 2 }), {
    mode: 0o600,
    mtime: 5n,
    size: 2,
    access: { groupRead: [] },
  })
  t.equal((await setattr(space, alice, ref, { size: 7 })).size, 7)
  t.equal(await set({ mode: 0o777 }, bob), 'PermissionDenied EPERM')
  t.equal(await set({ mtime: 1n }, bob), 'PermissionDenied EPERM')
  t.equal(await set({ size: 0 }, bob), 'PermissionDenied EACCES')
  t.equal(await set({ uid: bob.uid }), 'PermissionDenied EPERM')
  t.equal(await set({ uid: alice.uid, gid: alice.gid }), 'ok', 'to what it is already')
  t.equal(await set({ gid: 4711 }), 'PermissionDenied EPERM')
  t.equal((await setattr(space, admin, ref, { gid: 4711 })).gid, 4711)
  t.equal((await setattr(space, alice, ref, { gid: alice.gid })).gid, alice.gid, 'back to her own')
  t.equal(await set({ size: -1 }), 'InvalidArgument EINVAL')
  t.equal(await set({ size: 1 }, alice, '/home/alice'), 'TypeNotSupported EISDIR')
  t.equal(await set({ size: 1 }, alice, '/home/alice/l'), 'LinkFound ELOOP')
  t.equal(await set({ mode: 0o644 }, alice, '/home/alice/l'), 'OperationNotSupported EOPNOTSUPP')
  t.equal((await setattr(space, admin, ref, { uid: bob.uid })).access.owner, 'bob')
  await backend.set(ref, { access: { locked: true } })
  t.equal(await set({ size: 0 }), 'PermissionDenied EPERM')
  t.equal(await set({ mode: 0o640 }), 'ok', 'the lock does not hold attributes')
  t.equal(await set({ mode: 0o600, size: 0 }), 'PermissionDenied EPERM')
  t.equal((await entryOf(space, alice, ref)).mode, 0o640, 'and what is refused in part changes nothing')
})

t.test('who may write to a file cannot make it run as its owner', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { owner: 'bob', groupWrite: [STAFF] })
  await folder(backend, '/home/alice/c', { groupWrite: [STAFF] })
  const set = (caller: typeof bob, mode: number, path = '/home/alice/f') =>
    outcome(setattr(space, caller, { path: at(path) }, { mode }))
  for (const mode of [0o4755, 0o2755, 0o6755]) t.equal(await set(alice, mode), 'PermissionDenied EPERM')
  t.equal(await set(alice, 0o1770), 'ok')
  t.equal(await set(bob, 0o4770), 'ok', 'the owner may')
  t.equal(await set(alice, 0o4750), 'ok', 'bits that are there may stay')
  t.equal(await set(bob, 0o2770, '/home/alice/c'), 'ok', 'on a container they run nothing')
})

t.test('statfs shows the quota as the size of the file system', async (t) => {
  const { space, backend } = await world()
  await backend.setQuota(at('/home/alice'), 40960)
  await file(backend, '/home/alice/f', {}, 'x'.repeat(4096))
  t.match(await statfs(space, alice, at('/home/alice/f')), {
    blockSize: 4096,
    blocks: 10,
    blocksFree: 9,
    used: 4096,
    quota: 40960,
    nameMax: 255,
  })
  t.equal((await statfs(space, alice, at('/'))).quota, null)
  t.equal(await outcome(statfs(space, alice, at('/none'))), 'NodeNotFound ENOENT')
})
