import t from 'tap'
import { headFile, openWrite, readFile, type FileWriteOptions } from '../../src/space/files.ts'
import { type Space } from '../../src/space/space.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import {
  alice,
  at,
  bob,
  bytes,
  carol,
  file,
  folder,
  GUESTS,
  link,
  nobody,
  outcome,
  STAFF,
  textOf,
  tree,
  world,
} from './space-world.ts'

const upload = async (space: Space, caller: Caller, path: string, text: string, options: FileWriteOptions = {}) =>
  (await openWrite(space, caller, at(path))).put(bytes(text), options)

const read = async (space: Space, caller: Caller, path: string) =>
  textOf((await readFile(space, caller, at(path))).body)

t.test('an upload creates a private node of the caller, a second one keeps its properties and sharing', async (t) => {
  const { space, changes } = await world()
  const first = await upload(space, alice, '/home/alice/f', 'one', {
    contentType: 'text/plain; charset=utf-8',
    length: 3,
  })
  t.equal(first.created, true)
  t.match(first.entry, { size: 3, access: { owner: 'alice', isPublic: false } })
  t.equal(first.entry.properties.get(PROPERTY.type), 'text/plain; charset=utf-8')
  await space.backend.set(
    { path: at('/home/alice/f') },
    { access: { groupWrite: [STAFF] }, properties: new Map([['a', 'b']]) },
  )
  const second = await upload(space, bob, '/home/alice/f', 'two!')
  t.equal(second.created, false)
  t.match(second.entry, { id: first.entry.id, size: 4, access: { owner: 'alice', groupWrite: [STAFF] } })
  t.same(
    [...second.entry.properties],
    [
      [PROPERTY.type, 'text/plain; charset=utf-8'],
      ['a', 'b'],
    ],
  )
  t.equal(await read(space, alice, '/home/alice/f'), 'two!')
  t.same(
    changes.map(({ kind }) => kind),
    ['made', 'bytes'],
  )
})

t.test('an upload is refused before its first byte, and refused again, and leaves nothing', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/shared', { isPublic: true, groupRead: [STAFF] })
  await file(backend, '/home/alice/shared/f', { isPublic: true })
  await file(backend, '/home/alice/locked', { locked: true })
  await link(backend, '/home/alice/out', 'file:///etc/passwd')
  await link(backend, '/home/alice/broken', 'none')
  const before = await tree(backend)
  const open = (caller: Caller, path: string, length?: number) =>
    outcome(openWrite(space, caller, at(path), { ...(length !== undefined && { length }) }))
  for (let again = 0; again < 2; again++) {
    t.equal(await open(bob, '/home/alice/shared/new'), 'PermissionDenied EACCES')
    t.equal(await open(bob, '/home/alice/shared/f'), 'PermissionDenied EACCES')
    t.equal(await open(nobody, '/home/alice/shared/f'), 'PermissionDenied EACCES')
    t.equal(await open(alice, '/home/alice/locked'), 'PermissionDenied EPERM')
    t.equal(await open(alice, '/home/alice/shared'), 'InvalidArgument EISDIR')
    t.equal(await open(alice, '/home/alice/no/ne'), 'ContainerNotFound ENOENT')
    t.equal(await open(alice, '/home/alice/shared/f/x'), 'ContainerNotFound ENOTDIR')
    t.equal(await open(alice, '/home/alice/out'), 'InvalidArgument EINVAL')
    t.equal(await open(alice, '/home/alice/broken'), 'UnreadableLinkTarget ELOOP')
    t.equal(await open(alice, '/home/alice/shared/huge', 2 ** 50), 'QuotaExceeded ENOSPC')
  }
  t.same(await tree(backend), before)
})

t.test('room is counted against the quota of the allocation, with what is replaced given back', async (t) => {
  const { space, backend } = await world()
  await backend.setQuota(at('/home/alice'), 10)
  await file(backend, '/home/alice/f', {}, '12345678')
  const open = (path: string, length: number) => outcome(openWrite(space, alice, at(path), { length }))
  t.equal(await open('/home/alice/new', 2), 'ok')
  t.equal(await open('/home/alice/new', 3), 'QuotaExceeded EDQUOT')
  t.equal(await open('/home/alice/f', 10), 'ok')
  t.equal(await open('/home/alice/f', 11), 'QuotaExceeded EDQUOT')
  const ticket = await openWrite(space, alice, at('/home/alice/new'))
  t.equal(
    await outcome(ticket.put(unread(t), { length: 3 })),
    'QuotaExceeded EDQUOT',
    'a length that is known only later counts too',
  )
})

interface Failing {
  fail(message: string): unknown
}

/** A body that must not be asked for. */
function unread(t: Failing): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => (t.fail('the body was read'), bytes()[Symbol.asyncIterator]()) }
}

t.test(
  'what changes during an upload counts: a lock, a withdrawn permission, another container at the path',
  async (t) => {
    const during = async (act: (space: Space) => Promise<unknown>) => {
      const { space, backend } = await world()
      await folder(backend, '/home/alice/d', { groupWrite: [STAFF] })
      await file(backend, '/home/alice/d/f', { groupWrite: [STAFF] }, 'old')
      const ticket = await openWrite(space, bob, at('/home/alice/d/f'))
      async function* slow() {
        yield Buffer.from('ne')
        await act(space)
        yield Buffer.from('w')
      }
      const answer = await outcome(ticket.put(slow()))
      return `${answer}: ${await read(space, alice, '/home/alice/d/f').catch(() => 'gone')}`
    }
    const set = (path: string, access: object) => (space: Space) => space.backend.set({ path: at(path) }, { access })
    t.equal(await during(async () => undefined), 'ok: new')
    t.equal(await during(set('/home/alice/d/f', { locked: true })), 'PermissionDenied EPERM: old')
    t.equal(await during(set('/home/alice/d', { groupWrite: [] })), 'PermissionDenied EACCES: old')
    const replaced = async ({ backend }: Space) => {
      await backend.move(at('/home/alice/d'), at('/home/alice/away'))
      await folder(backend as never, '/home/alice/d')
      await file(backend as never, '/home/alice/d/f', {}, 'private')
    }
    t.equal(await during(replaced), 'PermissionDenied EACCES: private')
  },
)

t.test('conditions are held against what stands there before the body is read', async (t) => {
  const { space } = await world()
  const { entry } = await upload(space, alice, '/home/alice/f', 'one')
  const put = async (path: string, options: FileWriteOptions) =>
    outcome((await openWrite(space, alice, at(path))).put(unread(t), options))
  t.equal(await put('/home/alice/f', { ifAbsent: true }), 'DuplicateNode EEXIST')
  t.equal(await put('/home/alice/f', { ifContentVersion: 'other' }), 'PreconditionFailed ESTALE')
  t.equal(await put('/home/alice/none', { ifContentVersion: 'other' }), 'PreconditionFailed ESTALE')
  const again = await upload(space, alice, '/home/alice/f', 'two', { ifContentVersion: entry.contentVersion })
  t.equal(again.entry.size, 3)
  t.equal(
    await outcome(upload(space, alice, '/home/alice/g', 'x', { md5: '0'.repeat(32) })),
    'PreconditionFailed ESTALE',
  )
  t.equal(await outcome(headFile(space, alice, at('/home/alice/g'))), 'NodeNotFound ENOENT', 'no empty node stays')
})

t.test('a link at the end is followed to read and to write; the name is the one asked for', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { isPublic: true }, 'old')
  await link(backend, '/home/alice/l', 'f')
  const { entry, name, body } = await readFile(space, nobody, at('/home/alice/l'))
  t.equal(await textOf(body), 'old')
  t.match({ path: entry.path, name }, { path: '/home/alice/f', name: 'l' })
  await upload(space, alice, '/home/alice/l', 'new')
  t.equal(await read(space, nobody, '/home/alice/f'), 'new')
})

t.test('headFile needs the path, readFile the node', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/f', { groupRead: [GUESTS] })
  await folder(backend, '/home/alice/closed')
  await file(backend, '/home/alice/closed/f', { isPublic: true })
  t.match((await headFile(space, bob, at('/home/alice/f'))).entry, { readable: false })
  t.equal(await outcome(readFile(space, bob, at('/home/alice/f'))), 'PermissionDenied EACCES')
  t.equal(await outcome(readFile(space, carol, at('/home/alice/f'))), 'ok')
  t.equal(await outcome(headFile(space, bob, at('/home/alice/closed/f'))), 'PermissionDenied EACCES')
  t.equal(await outcome(headFile(space, alice, at('/home/alice/closed'))), 'InvalidArgument EISDIR')
})

t.test('a grant is good for its verb, and for what its user may at that moment', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/closed', { groupRead: [STAFF] })
  await file(backend, '/home/alice/closed/f', { groupWrite: [STAFF] }, 'secret')
  const path = at('/home/alice/closed/f')
  const read = { grant: { kind: 'read', user: 'bob' } } as const
  const write = { grant: { kind: 'write', user: 'bob' } } as const
  const uses = () =>
    Promise.all([
      outcome(headFile(space, bob, path, read)),
      outcome(readFile(space, bob, path, read)),
      outcome(headFile(space, bob, path, write)),
      outcome(openWrite(space, bob, path, write)),
    ])
  t.same(await uses(), ['ok', 'ok', 'ok', 'ok'])
  t.equal(await outcome(openWrite(space, bob, path, read)), 'PermissionDenied EACCES')
  t.equal(await outcome(readFile(space, bob, path, write)), 'PermissionDenied EACCES')
  await backend.set({ path }, { access: { groupWrite: [], groupRead: [STAFF] } })
  t.same(await uses(), ['ok', 'ok', 'PermissionDenied EACCES', 'PermissionDenied EACCES'])
  await backend.set({ path }, { access: { groupRead: [] } })
  const refused = Array.from({ length: 4 }, () => 'PermissionDenied EACCES')
  t.same(await uses(), refused)
  await backend.set({ path }, { access: { groupWrite: [STAFF] } })
  t.same(await uses(), ['ok', 'ok', 'ok', 'ok'], 'and again')
  await backend.set({ path: at('/home/alice/closed') }, { access: { groupRead: [] } })
  t.same(await uses(), refused, 'the way counts too')
  await backend.remove(path, 'leaf')
  t.same(await uses(), refused, 'what is behind a closed container is not told')
})

t.test(
  'a grant to write: locks count, a new node takes leave to create it, and nobody without a name writes',
  async (t) => {
    const { space, backend } = await world()
    await folder(backend, '/home/alice/d', { groupWrite: [STAFF], groupRead: [STAFF] })
    const path = at('/home/alice/d/new')
    const grant = { kind: 'write', user: 'bob' } as const
    const made = await (await openWrite(space, bob, path, { grant })).put(bytes('x'))
    t.equal(made.entry.access.owner, 'bob')
    await backend.set({ path }, { access: { locked: true } })
    t.equal(await outcome(openWrite(space, bob, path, { grant })), 'PermissionDenied EPERM')
    await backend.remove(path, 'leaf')
    const ticket = await openWrite(space, bob, path, { grant })
    await backend.set({ path: at('/home/alice/d') }, { access: { groupWrite: [] } })
    t.equal(await outcome(openWrite(space, bob, path, { grant })), 'PermissionDenied EACCES')
    t.equal(await outcome(ticket.put(bytes('x'))), 'PermissionDenied EACCES', 'looked at again at the end of the body')
    const anonymous = { grant: { kind: 'write', user: undefined } } as const
    t.equal(await outcome(openWrite(space, nobody, at('/home/alice/n'), anonymous)), 'PermissionDenied EACCES')
  },
)

t.test('a grant to anybody is good while the node is public', async (t) => {
  const { space, backend } = await world()
  const path = at('/home/alice/f')
  await file(backend, path, { isPublic: true })
  const grant = { kind: 'read', user: undefined } as const
  t.equal(await outcome(readFile(space, nobody, path, { grant })), 'ok')
  await backend.set({ path }, { access: { isPublic: false } })
  t.equal(await outcome(readFile(space, nobody, path, { grant })), 'PermissionDenied EACCES')
  t.equal(await outcome(headFile(space, nobody, path, { grant })), 'PermissionDenied EACCES')
})

t.test('a grant does not follow a link that took the place of its node', async (t) => {
  const { space, backend } = await world()
  await file(backend, '/home/alice/secret')
  await folder(backend, '/home/bob', { owner: 'bob', isPublic: true })
  await link(backend, '/home/bob/f', '../alice/secret', { owner: 'bob' })
  await link(backend, '/home/bob/d', '../alice', { owner: 'bob' })
  const grant = { kind: 'read', user: 'alice' } as const
  t.equal(await outcome(readFile(space, alice, at('/home/bob/f'), { grant })), 'LinkFound ELOOP')
  t.equal(await outcome(readFile(space, alice, at('/home/bob/d/secret'), { grant })), 'LinkFound ELOOP')
})
