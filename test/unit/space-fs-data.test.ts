import t from 'tap'
import { type Extent } from '../../src/backend/backend.ts'
import {
  amendData, entryOf, mkdir, openAmend, openPut, putData, readData, remove, removeXattr, rename, setXattr, symlink, xattr, xattrNames,
  type PutDataOptions,
} from '../../src/space/filesystem.ts' // prettier-ignore
import { type Attempt } from '../../src/store/operations.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import {
  alice,
  at,
  bob,
  bytes,
  file,
  folder,
  link,
  nobody,
  outcome,
  STAFF,
  textOf,
  tree,
  world,
} from './space-world.ts'

async function* extents(...list: Extent[]): AsyncGenerator<Extent> {
  yield* list
}
const ref = (path: string, id?: string) => ({ path: at(path), ...(id !== undefined && { id }) })

t.test('a put creates with the asked mode and the sharing of the container, or replaces and keeps both', async (t) => {
  const { space, backend, changes } = await world()
  await folder(backend, '/home/alice/open', { isPublic: true, groupRead: [STAFF], inherit: true })
  const made = await putData(space, alice, ref('/home/alice/open/f'), bytes('one'), {
    mode: 0o755,
    mtime: 9n,
    ifAbsent: true,
  })
  t.match(made, {
    created: true,
    entry: { size: 3, mtime: 9n, mode: 0o755, access: { owner: 'alice', isPublic: true, groupRead: [STAFF] } },
  })
  const again = await putData(space, alice, ref('/home/alice/open/f', made.entry.id), bytes('four'), { mode: 0o600 })
  t.match(again, { created: false, entry: { id: made.entry.id, size: 4, mode: 0o755 } })
  t.match((await putData(space, alice, ref('/home/alice/f'), bytes(), { mode: 0o666 })).entry, {
    mode: 0o660,
    access: { isPublic: false },
  })
  t.same(
    changes.map(({ kind }) => kind),
    ['made', 'bytes', 'made'],
  )
})

t.test('a put is refused before its first byte with the error number of open(2)', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d', { groupRead: [STAFF] })
  await file(backend, '/home/alice/f', { isPublic: true })
  await file(backend, '/home/alice/locked', { locked: true })
  await link(backend, '/home/alice/l', 'f')
  const open = (path: string, options: PutDataOptions = {}, caller = alice) =>
    outcome(openPut(space, caller, ref(path), options))
  t.equal(await open('/home/alice/d'), 'TypeNotSupported EISDIR')
  t.equal(await open('/home/alice/l'), 'LinkFound ELOOP')
  t.equal(await open('/home/alice/f', { ifAbsent: true }, bob), 'DuplicateNode EEXIST')
  t.equal(await open('/home/alice/f', {}, bob), 'PermissionDenied EACCES')
  t.equal(await open('/home/alice/d/new', {}, bob), 'PermissionDenied EACCES')
  t.equal(await open('/home/alice/new', {}, nobody), 'PermissionDenied EACCES')
  t.equal(await open('/home/alice/locked'), 'PermissionDenied EPERM')
  t.equal(await open('/home/alice/f', { ifContentVersion: 'other' }), 'PreconditionFailed ESTALE')
  t.equal(await open('/home/alice/f/x'), 'ContainerNotFound ENOTDIR')
  t.equal(await outcome(openPut(space, alice, ref('/home/alice/f', 'gone'))), 'NodeNotFound ESTALE')
  t.equal(await open('/home/alice/f', { length: 2 ** 50 }), 'QuotaExceeded ENOSPC')
})

t.test('a small put is judged by what stands there when its last byte has come', async (t) => {
  const { space, backend } = await world()
  const { id } = await file(backend, '/home/alice/f', {}, 'old')
  async function* late(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('ne')
    await backend.set({ path: at('/home/alice/f') }, { access: { locked: true } })
    yield Buffer.from('w')
  }
  const put = (body: AsyncIterable<Uint8Array>, length: number) =>
    outcome(putData(space, alice, ref('/home/alice/f', id), body, { length }))
  t.equal(await put(late(), 3), 'PermissionDenied EPERM')
  await backend.set({ path: at('/home/alice/f') }, { access: { locked: false } })
  t.equal(await put(bytes('longer'), 3), 'PreconditionFailed ESTALE')
  t.equal(await put(bytes('short'), 6), 'PreconditionFailed ESTALE')
  t.equal(await textOf((await readData(space, alice, ref('/home/alice/f'))).body), 'old')
})

t.test(
  'a put in the container of somebody who may not write the file is refused, unlike an upload of the whole over HTTP',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/data', { owner: 'bob', isPublic: true })
    await file(backend, '/data/f', { owner: 'alice' })
    t.equal(await outcome(openPut(space, bob, ref('/data/f'))), 'PermissionDenied EACCES')
  },
)

t.test('an amend changes extents and length in place, tied to the node and its version', async (t) => {
  const { space, backend } = await world()
  const { id, contentVersion } = await file(backend, '/home/alice/f', {}, '0123456789')
  const entry = await amendData(
    space,
    alice,
    ref('/home/alice/f', id),
    extents({ offset: 2, bytes: Buffer.from('ab') }),
    { length: 6, ifContentVersion: contentVersion, mtime: 3n },
  )
  t.match(entry, { id, size: 6, mtime: 3n })
  t.equal(await textOf((await readData(space, alice, ref('/home/alice/f'))).body), '01ab45')
  const amend = (path: string, options = {}, caller = alice) =>
    outcome(openAmend(space, caller, ref(path), { length: 1, ...options }))
  t.equal(await amend('/home/alice/f', { ifContentVersion: contentVersion }), 'PreconditionFailed ESTALE')
  t.equal(await amend('/home/alice/none'), 'NodeNotFound ENOENT')
  t.equal(await amend('/home/alice'), 'TypeNotSupported EISDIR')
  t.equal(await amend('/home/alice/f', {}, bob), 'PermissionDenied EACCES')
  t.equal(await amend('/home/alice/f', { length: -1 }), 'InvalidArgument EINVAL')
  t.equal(await outcome(readData(space, bob, ref('/home/alice/f'))), 'PermissionDenied EACCES')
  t.equal(await outcome(readData(space, alice, ref('/home/alice'))), 'TypeNotSupported EISDIR')
})

t.test('an amend of a file that is moved meanwhile goes to the file', async (t) => {
  const { space, backend } = await world()
  const { id } = await file(backend, '/home/alice/f', {}, 'old')
  const ticket = await openAmend(space, alice, ref('/home/alice/f', id), { length: 3 })
  await backend.move(at('/home/alice/f'), at('/home/alice/g'))
  await file(backend, '/home/alice/f', {}, 'other')
  t.equal((await ticket.amend(extents({ offset: 0, bytes: Buffer.from('new') }))).path, '/home/alice/g')
  t.equal(await textOf((await readData(space, alice, ref('/home/alice/f'))).body), 'other')
})

t.test('properties are extended attributes: text, in user., and not what the service owns', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { isPublic: true, groupRead: [STAFF] })
  const path = at('/home/alice/f')
  const set = (name: string, value: Buffer | string = 'v', flags?: 'create' | 'replace', caller = alice) =>
    outcome(setXattr(space, caller, path, name, Buffer.from(value), flags))
  t.equal(await set('user.note', 'é'), 'ok')
  t.equal(await set('user.ivo://ivoa.net/vospace/core#title'), 'ok')
  t.same(await xattrNames(space, bob, path), ['user.note', 'user.ivo://ivoa.net/vospace/core#title'])
  t.equal((await xattr(space, bob, path, 'user.note')).toString(), 'é')
  t.equal((await xattr(space, bob, path, `user.${PROPERTY.groupRead}`)).toString(), STAFF, 'computed ones can be read')
  t.equal(await set('user.note', 'v', 'create'), 'DuplicateNode EEXIST')
  t.equal(await set('user.none', 'v', 'replace'), 'NodeNotFound ENODATA')
  t.equal(await set('user.note', 'v', undefined, bob), 'PermissionDenied EACCES')
  for (const name of [
    PROPERTY.groupRead,
    PROPERTY.length,
    PROPERTY.md5,
    PROPERTY.isLocked,
    PROPERTY.quota,
    'karst.owner',
  ]) {
    t.equal(await set(`user.${name}`), 'PermissionDenied EPERM', name)
  }
  t.equal(await set('trusted.x'), 'OperationNotSupported EOPNOTSUPP')
  t.equal(await set('security.selinux'), 'OperationNotSupported EOPNOTSUPP')
  t.equal(await set('user.'), 'InvalidArgument EINVAL')
  t.equal(await set('user.ivo://ivoa.net/vospacecore#x'), 'InvalidArgument EINVAL')
  t.equal(await set(`user.${'x'.repeat(251)}`), 'InvalidArgument ERANGE')
  t.equal(await set('user.x', 'x'.repeat(65_537)), 'InvalidArgument E2BIG')
  t.equal(await set('user.x', Buffer.from([0xff])), 'InvalidArgument EINVAL')
  t.equal(await set('user.x', 'a\x01'), 'InvalidArgument EINVAL')
  t.equal(await outcome(xattr(space, alice, path, 'user.none')), 'NodeNotFound ENODATA')
  t.equal(await outcome(xattr(space, alice, path, 'trusted.x')), 'NodeNotFound ENODATA')
  t.equal(await outcome(removeXattr(space, alice, path, 'user.none')), 'NodeNotFound ENODATA')
  t.equal(await outcome(removeXattr(space, alice, path, 'user.note')), 'ok')
  await backend.set({ path }, { access: { isPublic: false, groupRead: [] } })
  t.equal(await outcome(xattrNames(space, bob, path)), 'PermissionDenied EACCES')
})

/** An attempt after one that was cut short. */
const repeated = (noted?: string): Attempt => ({
  ...{ repeated: true, began: Date.now(), noted, note: () => undefined },
  durable: () => Promise.resolve(),
})

t.test('an operation repeated after a crash finds its own effect and refuses nothing', async (t) => {
  const { space, backend, changes } = await world()
  await file(backend, '/home/alice/a')
  await mkdir(space, alice, at('/home/alice/d'))
  await symlink(space, alice, at('/home/alice/l'), Buffer.from('a'))
  await putData(space, alice, ref('/home/alice/f'), bytes('one'), { ifAbsent: true, mtime: 7n })
  const before = changes.length
  const attempt = repeated()
  t.equal((await mkdir(space, alice, at('/home/alice/d'), { attempt })).type, 'container')
  t.equal((await symlink(space, alice, at('/home/alice/l'), Buffer.from('a'), { attempt })).type, 'link')
  const put = await putData(space, alice, ref('/home/alice/f'), bytes('one'), {
    ifAbsent: true,
    mtime: 7n,
    length: 3,
    attempt,
  })
  t.equal(put.entry.size, 3)
  const amended = await amendData(space, alice, ref('/home/alice/f'), extents(), {
    length: 3,
    mtime: 7n,
    ifContentVersion: 'before',
    attempt,
  })
  t.equal(amended.size, 3)
  const moved = await rename(space, alice, at('/home/alice/f'), at('/home/alice/g'))
  t.equal(
    (await rename(space, alice, at('/home/alice/f'), at('/home/alice/g'), 'replace', { attempt: repeated(moved.id) }))
      .id,
    moved.id,
  )
  await remove(space, alice, at('/home/alice/g'), 'leaf')
  await remove(space, alice, at('/home/alice/g'), 'leaf', { attempt: repeated(moved.id) })
  t.equal(changes.length, before + 2)
})

t.test(
  'a repetition does not take for its own what it cannot be: other kinds, other owners, other content, older nodes',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/home/alice/old')
    await file(backend, '/home/alice/f', {}, 'other')
    await folder(backend, '/home/alice/bobs', { owner: 'bob' })
    await link(backend, '/home/alice/l', 'a')
    const attempt = repeated()
    const later = { ...attempt, began: Date.now() + 5000 }
    t.equal(await outcome(mkdir(space, alice, at('/home/alice/f'), { attempt })), 'DuplicateNode EEXIST')
    t.equal(await outcome(mkdir(space, alice, at('/home/alice/bobs'), { attempt })), 'DuplicateNode EEXIST')
    t.equal(await outcome(mkdir(space, alice, at('/home/alice/old'), { attempt: later })), 'DuplicateNode EEXIST')
    t.equal(
      await outcome(symlink(space, alice, at('/home/alice/l'), Buffer.from('b'), { attempt })),
      'DuplicateNode EEXIST',
    )
    t.equal(
      await outcome(putData(space, alice, ref('/home/alice/f'), bytes('one'), { ifAbsent: true, length: 3, attempt })),
      'DuplicateNode EEXIST',
    )
    const first = { ...attempt, repeated: false }
    t.equal(await outcome(mkdir(space, alice, at('/home/alice/old'), { attempt: first })), 'DuplicateNode EEXIST')
  },
)

t.test('a repeated remove leaves what came to the path since', async (t) => {
  const { space, backend } = await world()
  const noted: string[] = []
  const { id } = await file(backend, '/home/alice/f')
  const attempt = { ...repeated(), repeated: false, note: (text: string) => noted.push(text) }
  await remove(space, alice, at('/home/alice/f'), 'leaf', { attempt })
  t.same(noted, [id], 'what will go is noted before it goes')
  await file(backend, '/home/alice/f', {}, 'new')
  await remove(space, alice, at('/home/alice/f'), 'leaf', { attempt: repeated(id) })
  t.same(await tree(backend, '/home/alice'), ['/home/alice/f'])
  t.equal(await outcome(entryOf(space, alice, ref('/home/alice/f'))), 'ok')
})
