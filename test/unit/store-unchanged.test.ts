/** What the store remembers is never told after it has changed, by this process or another. */
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Database } from '../../src/store/database.ts'
import { REMEMBERED } from '../../src/store/numbers.ts'
import { openStore } from '../../src/store/store.ts'
import { Unchanged } from '../../src/store/unchanged.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { STAFF } from './space-world.ts'
import { run, storeFile } from './store-process.ts'

t.test('a membership that another process withdraws is gone at the next request', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  t.teardown(() => store.close())
  store.users.create({ name: 'alice' })
  store.groups.create(STAFF, { owner: 'alice' })
  store.groups.add(STAFF, 'alice')
  for (let i = 0; i < 3; i++) {
    await turn()
    t.same([...store.groups.of('alice')], [STAFF])
  }
  await run(file, 'leave', STAFF, 'alice')
  t.same([...store.groups.of('alice')], [])
  store.groups.add(STAFF, 'alice')
  t.same([...store.groups.of('alice')], [STAFF], 'a write of its own is seen in the same turn')
  store.groups.remove(STAFF, 'alice')
  t.same([...store.groups.of('alice')], [])
})

t.test('a certificate that another connection gives to somebody is known at the next request', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  const other = openStore(file)
  t.teardown(() => [store, other].forEach((each) => each.close()))
  const identity = { kind: 'x509', value: 'cn=alice' } as const
  t.equal(store.users.byIdentity(identity), undefined)
  other.users.create({ name: 'alice' })
  other.users.addIdentity('alice', identity)
  await turn()
  t.equal(store.users.byIdentity(identity)?.name, 'alice')
  t.ok(store.ids().version !== undefined)
})

t.test('looks again only when something was written', async (t) => {
  const file = storeFile(t)
  const [mine, other] = [new Database(file, { full: false }), new Database(file, { full: false })]
  t.teardown(() => [mine, other].forEach((each) => each.close()))
  mine.useWal()
  mine.exec('CREATE TABLE x (value INTEGER)')
  let looks = 0
  const count = new Unchanged<number>(mine)
  const counted = (): number => count.of('x', () => (looks++, mine.number('SELECT count(*) FROM x')))
  for (let i = 0; i < 5; i++) {
    t.equal(counted(), 0)
    await turn()
  }
  t.equal(looks, 1)
  other.run('INSERT INTO x VALUES (1)')
  await turn()
  t.equal(counted(), 1)
  t.equal(looks, 2)
  mine.run('INSERT INTO x VALUES (2)')
  t.equal(counted(), 2)
})

t.test('what is remembered of people is not looked for again because of what operations write', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  const mine = new Database(file, { full: false })
  t.teardown(() => [store, mine].forEach((each) => each.close()))
  mine.countBy(REMEMBERED)
  store.users.create({ name: 'alice' })
  await turn()
  const { version } = mine
  store.changes.append({ id: 'x', path: '/x' as NodePath, kind: 'made' })
  mine.run("INSERT INTO epochs VALUES ('another', 1)")
  await turn()
  t.equal(mine.version, version)
  const acts = [
    () => store.users.addIdentity('alice', { kind: 'x509', value: 'cn=alice' }),
    () => store.users.suspend('alice'),
    () => store.groups.create(STAFF, { owner: 'alice' }),
    () => store.groups.add(STAFF, 'alice'),
    () => store.groups.numberForeign('ivo://elsewhere.example/gms?staff'),
    () => store.mapped.learn([{ kind: 'user', name: 'carol', number: 70_000 }]),
  ]
  const seen = new Set([version])
  for (const act of acts) {
    act()
    await turn()
    seen.add(mine.version)
  }
  t.equal(seen.size, acts.length + 1, 'each of them is seen')
})

t.test('what was read within a transaction that is rolled back is not remembered', async (t) => {
  const database = new Database(storeFile(t), { full: false })
  t.teardown(() => database.close())
  database.exec('CREATE TABLE x (value INTEGER)')
  const count = new Unchanged<number>(database)
  const counted = (): number => count.of('x', () => database.number('SELECT count(*) FROM x'))
  t.equal(counted(), 0)
  t.throws(() =>
    database.transaction(() => {
      database.run('INSERT INTO x VALUES (1)')
      t.equal(counted(), 1)
      throw new Error('no')
    }),
  )
  t.equal(counted(), 0)
})

t.test('an answer of undefined is remembered too, and there is a bound on how many are', async (t) => {
  const database = new Database(storeFile(t), { full: false })
  t.teardown(() => database.close())
  const answers = new Unchanged<string | undefined>(database)
  let looks = 0
  const look = (): undefined => void looks++
  answers.of('nobody', look)
  answers.of('nobody', look)
  t.equal(looks, 1)
  for (let i = 0; i < 10_000; i++) answers.of(String(i), look)
  answers.of('nobody', look)
  t.equal(looks, 10_002)
})

t.test('what a transaction has written is told within it, although another connection counts', async (t) => {
  const file = storeFile(t)
  openStore(file).close()
  const [durable, quick] = [true, false].map((full) => new Database(file, { full })) as [Database, Database]
  t.teardown(() => [durable, quick].forEach((each) => each.close()))
  durable.countBy(REMEMBERED, quick)
  const users = new Unchanged<number>(durable)
  const count = (): number => users.of('users', () => durable.number('SELECT count(*) FROM users'))
  const before = count()
  await turn()
  durable.transaction(() => {
    durable.run("INSERT INTO users (name, uid, admin) VALUES ('dora', 29999, 0)")
    t.equal(count(), before + 1, 'within')
  })
  t.equal(count(), before + 1, 'after it')
  await turn()
  quick.run("INSERT INTO users (name, uid, admin) VALUES ('erik', 29998, 0)")
  t.equal(count(), before + 2, 'of the other connection')
})
