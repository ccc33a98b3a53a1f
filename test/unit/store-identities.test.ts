import t from 'tap'
import { openStore, type Store } from '../../src/store/store.ts'
import { outcome, STAFF } from './space-world.ts'
import { run, storeFile } from './store-process.ts'

const opened = (t: { teardown(clean: () => void): void }, file = storeFile(t)): Store => {
  const store = openStore(file)
  t.teardown(() => store.close())
  return store
}
const refused = (work: () => unknown) => outcome((async () => work())())

t.test('users get numbers from 20000, and are found by name and by certificate', async (t) => {
  const { users } = opened(t)
  t.same(users.create({ name: 'alice' }), { name: 'alice', uid: 20_000, gid: 20_000, admin: false })
  t.same(users.create({ name: 'root', uid: 0, admin: true }), { name: 'root', uid: 0, gid: 0, admin: true })
  t.equal(users.create({ name: 'bob' }).uid, 20_001)
  users.addIdentity('alice', { kind: 'x509', value: 'cn=alice,o=karst' })
  users.addIdentity('alice', { kind: 'x509', value: 'cn=alice,o=karst' })
  users.addIdentity('alice', { kind: 'x509', value: 'cn=alice 2,o=karst' })
  t.equal(users.byIdentity({ kind: 'x509', value: 'cn=alice 2,o=karst' })?.name, 'alice')
  t.equal(users.byIdentity({ kind: 'x509', value: 'cn=mallory,o=karst' }), undefined)
  t.equal(users.byName('alice')?.uid, 20_000)
  t.same(
    users.list().map(({ name }) => name),
    ['root', 'alice', 'bob'],
  )
})

t.test('names, numbers and certificates are given once', async (t) => {
  const { users, groups } = opened(t)
  users.create({ name: 'alice' })
  users.create({ name: 'bob' })
  users.addIdentity('alice', { kind: 'x509', value: 'cn=alice' })
  t.equal(await refused(() => users.create({ name: 'alice' })), 'DuplicateNode EEXIST')
  t.equal(await refused(() => users.create({ name: 'carol', uid: 20_000 })), 'DuplicateNode EEXIST')
  t.equal(await refused(() => users.addIdentity('bob', { kind: 'x509', value: 'cn=alice' })), 'DuplicateNode EEXIST')
  t.equal(
    await refused(() => users.addIdentity('carol', { kind: 'x509', value: 'cn=carol' })),
    'InvalidArgument EINVAL',
  )
  for (const name of ['', 'uid:5', 'a b', '../x', '-x', 'x'.repeat(65), 'é']) {
    t.equal(await refused(() => users.create({ name })), 'InvalidArgument EINVAL', name)
  }
  for (const uid of [-1, 1.5, 2 ** 32 - 1, NaN])
    t.equal(await refused(() => users.create({ name: 'x', uid })), 'InvalidArgument EINVAL')
  users.create({ name: 'carol', uid: 20_002 })
  t.equal(users.create({ name: 'dave' }).uid, 20_003, 'what was taken by hand is passed over')
  users.create({ name: 'eve', uid: 90_000 })
  t.equal(groups.create(STAFF, { owner: 'alice' }).gid, 90_001, 'a user’s own group has a number as well')
})

t.test('membership is what it is now', async (t) => {
  const { users, groups } = opened(t)
  users.create({ name: 'alice' })
  groups.create(STAFF, { owner: 'alice' })
  t.same([...groups.of('alice')], [], 'the owner of a group is no member of it')
  groups.add(STAFF, 'alice')
  groups.add(STAFF, 'alice')
  t.same([...groups.of('alice')], [STAFF])
  t.same(groups.members(STAFF), ['alice'])
  groups.remove(STAFF, 'alice')
  groups.remove(STAFF, 'alice')
  t.same([...groups.of('alice')], [])
  t.same(groups.list(), [{ uri: STAFF, gid: 90_000, owner: 'alice' }])
  t.equal(await refused(() => groups.create(STAFF, { owner: 'alice' })), 'DuplicateNode EEXIST')
  t.equal(await refused(() => groups.create('staff', { owner: 'alice' })), 'InvalidArgument EINVAL')
  t.equal(await refused(() => groups.create(`${STAFF}2`, { owner: 'bob' })), 'InvalidArgument EINVAL')
  t.equal(await refused(() => groups.add(`${STAFF}2`, 'alice')), 'InvalidArgument EINVAL')
  t.equal(await refused(() => groups.add(STAFF, 'bob')), 'InvalidArgument EINVAL')
})

t.test('numbers and names are one another’s inverse, the unknown too', async (t) => {
  const store = opened(t)
  const ids = store.ids()
  store.users.create({ name: 'alice' })
  store.groups.create(STAFF, { owner: 'alice' })
  t.equal(ids.uidOf('alice'), 20_000)
  t.equal(ids.ownerOf(20_000), 'alice')
  t.equal(ids.gidOfUser('alice'), 20_000)
  t.equal(ids.gidOf(STAFF), 90_000)
  t.equal(ids.groupOf(90_000), STAFF)
  t.equal(ids.uidOf('mallory'), undefined)
  t.equal(ids.gidOf('ivo://karst.local/gms?none'), undefined)
  t.equal(ids.groupOf(20_000), undefined, 'a user’s own group is no group to share with')
  t.equal(ids.uidOf(ids.ownerOf(12_345)), 12_345)
})

t.test('a user whom another process adds is known at once', async (t) => {
  const file = storeFile(t)
  const ids = opened(t, file).ids()
  t.equal(ids.ownerOf(4711), 'uid:4711')
  await run(file, 'addUser', 'carol', '4711')
  t.equal(ids.ownerOf(4711), 'carol')
  t.equal(ids.uidOf('carol'), 4711)
})

t.test('several processes that make users at once give each number once', async (t) => {
  const file = storeFile(t)
  const store = opened(t, file)
  const made = await Promise.all(['a', 'b', 'c'].map((prefix) => run(file, 'users', prefix, '30')))
  const uids = made.flatMap(({ answer }) => answer as number[])
  t.equal(new Set(uids).size, 90)
  t.equal(store.users.list().length, 90)
})
