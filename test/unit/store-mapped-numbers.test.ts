/** Numbers of another service in the store: what was learned first stays, and nothing clashes with it. */
import t from 'tap'
import { openStore, type Store } from '../../src/store/store.ts'
import { FIRST_BESIDE, type Mapping, MappedNumbers, type NumberQuestion } from '../../src/store/mapped-numbers.ts'
import { Database } from '../../src/store/database.ts'
import { outcome, STAFF } from './space-world.ts'
import { storeFile } from './store-process.ts'

const opened = (t: { teardown(clean: () => void): void }, file = ':memory:'): Store => {
  const store = openStore(file, { isForeignGroup: (uri) => uri.startsWith('ivo://far.example/') })
  t.teardown(() => store.close())
  return store
}
const user = (name: string, number: number): Mapping => ({ kind: 'user', name, number })
const group = (name: string, number: number): Mapping => ({ kind: 'group', name, number })
const refused = (work: () => unknown) => outcome((async () => work())())
const FAR = 'ivo://far.example/gms?team'

t.test('owners and groups are known by what was learned, both ways, and by other processes', async (t) => {
  const file = storeFile(t)
  const { mapped, ids } = opened(t, file)
  const other = opened(t, file).ids()
  t.equal(other.ownerOf(10_001), 'uid:10001')
  const before = other.version
  t.same(mapped.learn([user('alice', 10_001), group(FAR, 90_001)]), [])
  await new Promise((done) => setImmediate(done))
  for (const one of [ids(), other]) {
    t.same([one.ownerOf(10_001), one.uidOf('alice'), one.gidOfUser('alice')], ['alice', 10_001, 10_001])
    t.same([one.groupOf(90_001), one.gidOf(FAR)], [FAR, 90_001])
  }
  t.not(other.version, before, 'what was remembered under another name is read again')
  t.same(mapped.learn([user('alice', 10_001), group(FAR, 90_001)]), [], 'again: nothing happens')
  t.equal(mapped.count, 2)
})

t.test('of a hostile map nothing is kept that is not a number of people, and nothing twice', async (t) => {
  const { mapped, ids } = opened(t)
  const why = (mapping: Mapping): string => mapped.learn([mapping])[0]?.why ?? 'kept'
  for (const number of [-1, 1.5, NaN, Infinity, 2 ** 32, 2 ** 32 - 1, 2 ** 32 - 2, 2 ** 53])
    t.match(why(user('mallory', number)), /no number/, String(number))
  for (const number of [0, 1, 33, 999]) t.match(why(user('mallory', number)), /system/, String(number))
  for (const number of [65_534, 65_535]) t.match(why(user('mallory', number)), /nobody/)
  for (const name of ['', 'a:b', 'a\nroot', '../x', 'x'.repeat(65), 'é', 'uid:5'])
    t.match(why(user(name, 10_001)), /no name/, JSON.stringify(name))
  for (const name of ['team', 'ivo://far.example/gms?', 'ivo://far.example/gms?a\tb'])
    t.match(why(group(name, 90_001)), /no group/)
  t.equal(mapped.count, 0)
  t.equal(why(user('alice', 10_001)), 'kept')
  t.match(why(user('alice', 10_002)), /10001 already/, 'a changed one')
  t.match(why(user('bob', 10_001)), /alice's/, 'one number twice')
  t.match(why(group(FAR, 10_001)), /alice's/, 'a number of a user as a group')
  t.equal(ids().ownerOf(10_001), 'alice')
  t.equal(ids().uidOf('alice'), 10_001)
  t.same(
    mapped.learn([user('carol', 10_003), user('carol', 10_004), user('dave', 10_003)]).map(({ name }) => name),
    ['carol', 'dave'],
    'within one answer the first one counts',
  )
})

t.test('no more is learned than is kept', async (t) => {
  const file = storeFile(t)
  openStore(file).close()
  const database = new Database(file, { full: false })
  t.teardown(() => database.close())
  const few = new MappedNumbers(database, { most: 3 })
  const many = Array.from({ length: 10 }, (_, i) => user(`u${i}`, 10_000 + i))
  t.equal(few.learn(many).length, 7)
  t.equal(few.count, 3)
  t.same(few.learn(many.slice(0, 3)), [])
})

t.test('local numbers and those of the service never clash, whoever was first', async (t) => {
  const { mapped, users, groups, ids } = opened(t)
  users.create({ name: 'alice' })
  groups.create(STAFF, { owner: 'alice' })
  t.match(mapped.learn([user('alice', 10_001)])[0]?.why, /20000 already/)
  t.match(mapped.learn([user('bob', 20_000)])[0]?.why, /alice's/)
  t.match(mapped.learn([group(FAR, 90_000)])[0]?.why, /gms/)
  t.match(mapped.learn([group(STAFF, 90_005)])[0]?.why, /90000 already/)
  t.equal(ids().uidOf('alice'), 20_000)
  t.same(mapped.learn([user('bob', 20_001), user('carol', 20_002)]), [])
  t.equal(users.create({ name: 'bob' }).uid, 20_001, 'the number of the service')
  t.equal(users.create({ name: 'dave' }).uid, 20_003, 'passes over those of others')
  t.equal(await refused(() => users.create({ name: 'eve', uid: 20_002 })), 'DuplicateNode EEXIST')
  users.create({ name: 'carol', uid: 5000 })
  t.equal(ids().ownerOf(20_002), 'uid:20002', 'carol here has another number: that one is not hers')
  t.equal(ids().uidOf('carol'), 5000)
})

t.test('who was deleted gets nothing back by the service naming them', async (t) => {
  const { mapped, users, ids } = opened(t)
  t.same(mapped.learn([user('alice', 10_001)]), [])
  users.create({ name: 'alice' })
  users.suspend('alice')
  users.remove('alice')
  t.equal(ids().ownerOf(10_001), 'uid:10001')
  t.equal(ids().uidOf('alice'), undefined)
  t.match(mapped.learn([user('bob', 10_001)])[0]?.why, /already/)
})

t.test('while a service is asked nobody gets a number that it has not given', async (t) => {
  const { mapped, users, groups, ids } = opened(t)
  users.create({ name: 'alice' })
  const wanted: NumberQuestion[] = []
  const unknown = new Set<string>()
  mapped.connect({ want: (question) => void wanted.push(question), isUnknown: (_, name) => unknown.has(name) })
  t.equal(await refused(() => users.create({ name: 'bob' })), 'ServiceBusy EAGAIN')
  t.same(wanted, [{ kind: 'user', name: 'bob' }])
  t.equal(users.byName('bob'), undefined)
  mapped.learn([user('bob', 10_002)])
  t.equal(users.create({ name: 'bob' }).uid, 10_002)
  unknown.add('carol')
  t.match(await refused(() => users.create({ name: 'carol' })), /^PreconditionFailed/)
  t.equal(users.create({ name: 'carol', uid: 5000 }).uid, 5000, 'an administrator says it')
  t.equal(await refused(() => groups.create(STAFF, { owner: 'alice' })), 'ServiceBusy EAGAIN')
  unknown.add(STAFF)
  t.equal(groups.create(STAFF, { owner: 'alice' }).gid, FIRST_BESIDE, 'beside those that it gives')
  t.equal(ids().gidOf(FAR), undefined, 'not yet')
  t.same(wanted.at(-1), { kind: 'group', name: FAR })
  mapped.learn([group(FAR, 90_100)])
  t.equal(ids().gidOf(FAR), 90_100)
})

t.test('an unknown number is asked for, one of the system is not', async (t) => {
  const { mapped, ids } = opened(t)
  const wanted: NumberQuestion[] = []
  mapped.connect({ want: (question) => void wanted.push(question), isUnknown: () => false })
  t.same([ids().ownerOf(10_001), ids().ownerOf(0), ids().ownerOf(65_534)], ['uid:10001', 'uid:0', 'uid:65534'])
  t.same([ids().groupOf(90_001), ids().groupOf(27)], [undefined, undefined])
  t.same(wanted, [
    { kind: 'user', number: 10_001 },
    { kind: 'group', number: 90_001 },
  ])
})
