/** Groups in the store: ends, loops, names that are not given again, numbers of others' groups, and a model that says who is in what. */
import t, { type Test } from 'tap'
import { Database } from '../../src/store/database.ts'
import { Groups } from '../../src/store/groups.ts'
import { MAX_NESTING } from '../../src/store/memberships.ts'
import { migrate, MIGRATIONS, STORE } from '../../src/store/migrations.ts'
import { openStore } from '../../src/store/store.ts'
import { Users } from '../../src/store/users.ts'
import { outcome } from './space-world.ts'
import { run, storeFile } from './store-process.ts'

const uri = (name: string): string => `ivo://karst.local/gms?${name}`
const named = (uris: Iterable<string>): string[] => [...uris].map((one) => one.replace(/^.*\?/, '')).sort()
const refused = (work: () => unknown) => outcome((async () => work())())

interface World {
  readonly database: Database
  readonly users: Users
  readonly groups: Groups
  /** milliseconds */
  time: number
}

function world(t: Test, file = ':memory:', mostForeign = 5): World {
  const database = new Database(file, { full: false })
  t.teardown(() => database.close())
  migrate(database, file)
  const users = new Users(database)
  const made: World = {
    database,
    users,
    time: 1_000_000,
    groups: new Groups(database, users, { now: () => made.time, mostForeign }),
  }
  return made
}

function peopled(t: Test, names: readonly string[], file?: string): World {
  const made = world(t, file)
  for (const name of ['alice', 'bob', 'carol']) made.users.create({ name })
  for (const name of names) made.groups.create(uri(name), { owner: 'alice' })
  return made
}

t.test('a membership, a nested group and a group end by the time alone', async (t) => {
  const all = peopled(t, ['a', 'b', 'c', 'd'])
  const { groups } = all
  groups.add(uri('a'), 'bob', all.time + 100)
  groups.add(uri('b'), 'bob')
  groups.nest(uri('c'), uri('b'), all.time + 200)
  groups.nest(uri('d'), uri('c'))
  groups.amend(uri('d'), { expires: all.time + 150 })
  const versions = new Set([groups.version])
  t.same(named(groups.of('bob')), ['a', 'b', 'c', 'd'])
  for (const [after, left] of [
    [100, ['b', 'c', 'd']],
    [150, ['b', 'c']],
    [200, ['b']],
  ] as const) {
    all.time = 1_000_000 + after - 1
    const before = groups.version
    t.notSame(named(groups.of('bob')), left)
    t.equal(groups.version, before, 'nothing has ended yet')
    all.time++
    t.same(named(groups.of('bob')), left)
    t.not(groups.version, before, 'the version says that something has')
    versions.add(groups.version)
  }
  t.equal(versions.size, 4)
  groups.add(uri('a'), 'bob')
  t.same(named(groups.of('bob')), ['a', 'b'], 'prolonged for good')
  groups.amend(uri('d'), { expires: null })
  groups.nest(uri('c'), uri('b'))
  t.same(named(groups.of('bob')), ['a', 'b', 'c', 'd'])
})

t.test('the version changes with memberships, and with nothing else', async (t) => {
  const all = peopled(t, ['a', 'b'])
  const { groups } = all
  const changes: (() => unknown)[] = [
    () => groups.add(uri('a'), 'bob'),
    () => groups.add(uri('a'), 'bob', all.time + 1_000_000),
    () => groups.nest(uri('b'), uri('a')),
    () => groups.unnest(uri('b'), uri('a')),
    () => groups.remove(uri('a'), 'bob'),
    () => groups.delete(uri('a')),
    () => groups.create(uri('c'), { owner: 'alice' }),
  ]
  for (const change of changes) {
    const before = groups.version
    change()
    t.not(groups.version, before, String(change))
  }
  const before = groups.version
  all.users.create({ name: 'dave' })
  all.database.run("INSERT INTO counters VALUES ('anything', 1)")
  t.equal(groups.version, before)
})

t.test('a loop is refused, whatever its length, and nesting deeper than allowed', async (t) => {
  const names = Array.from({ length: MAX_NESTING + 3 }, (_, i) => `g${i}`)
  const { groups } = peopled(t, names)
  t.equal(await refused(() => groups.nest(uri('g0'), uri('g0'))), 'InvalidArgument EINVAL')
  for (let i = 0; i < MAX_NESTING; i++) groups.nest(uri(`g${i + 1}`), uri(`g${i}`))
  for (let i = 0; i <= MAX_NESTING; i++)
    t.equal(await refused(() => groups.nest(uri('g0'), uri(`g${i}`))), 'InvalidArgument EINVAL', `g0 around g${i}`)
  const deeper = uri(`g${MAX_NESTING + 1}`)
  t.equal(await refused(() => groups.nest(deeper, uri(`g${MAX_NESTING}`))), 'InvalidArgument EINVAL')
  t.equal(await refused(() => groups.nest(uri('g0'), deeper)), 'InvalidArgument EINVAL')
  groups.nest(deeper, uri(`g${MAX_NESTING - 1}`))
  groups.add(uri('g0'), 'bob')
  t.equal(groups.of('bob').size, MAX_NESTING + 2)
  t.equal(await refused(() => groups.nest(uri('g0'), uri('none'))), 'InvalidArgument EINVAL')
})

t.test('a loop that is there all the same is harmless', async (t) => {
  const all = peopled(t, ['a', 'b', 'c', 'self'])
  for (const [outer, inner] of [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'a'],
    ['self', 'self'],
    ['self', 'a'],
  ])
    all.database.run('INSERT INTO nested VALUES (?, ?, NULL)', uri(outer ?? ''), uri(inner ?? ''))
  all.groups.add(uri('b'), 'bob')
  t.same(named(all.groups.of('bob')), ['a', 'b', 'c', 'self'])
  t.equal(await refused(() => all.groups.nest(uri('a'), uri('c'))), 'InvalidArgument EINVAL')
  t.ok(all.groups.unnest(uri('c'), uri('a')))
  t.same(named(all.groups.of('bob')), ['a', 'b', 'self'])
})

t.test('a deleted group takes everybody out; its name and number are given to nobody', async (t) => {
  const all = peopled(t, ['a', 'b', 'c'])
  const { groups } = all
  const gid = groups.byUri(uri('b'))?.gid ?? 0
  groups.add(uri('a'), 'bob')
  groups.nest(uri('b'), uri('a'))
  groups.nest(uri('c'), uri('b'))
  groups.addAdmin(uri('b'), 'carol')
  groups.delete(uri('b'))
  t.same(named(groups.of('bob')), ['a'])
  t.equal(groups.byUri(uri('b')), undefined)
  t.same(groups.managedBy('carol'), [])
  t.same(groups.roll(uri('c')).groups, [])
  t.equal(await refused(() => groups.create(uri('b'), { owner: 'alice' })), 'DuplicateNode EEXIST')
  t.ok(groups.isFormer(uri('b')))
  t.ok(
    groups.numbered().some((one) => one.uri === uri('b') && one.gid === gid),
    'files with the number say so',
  )
  t.equal(await refused(() => all.users.create({ name: 'dave', uid: gid })), 'DuplicateNode EEXIST')
  for (const what of [
    () => groups.delete(uri('b')),
    () => groups.add(uri('b'), 'bob'),
    () => groups.amend(uri('b'), {}),
  ])
    t.equal(await refused(what), 'InvalidArgument EINVAL')
})

t.test('an owner whose group is deleted can go', async (t) => {
  const all = peopled(t, ['a'])
  all.groups.addAdmin(uri('a'), 'bob')
  all.users.suspend('bob')
  all.users.remove('bob')
  t.same(all.groups.roll(uri('a')).admins, [])
  all.groups.delete(uri('a'))
  all.users.suspend('alice')
  all.users.remove('alice')
  t.equal(all.users.byName('alice'), undefined)
})

t.test('what the configuration says of members it says once', async (t) => {
  const { groups } = peopled(t, ['a'])
  groups.seed(uri('a'), 'bob')
  t.same(named(groups.of('bob')), ['a'])
  groups.remove(uri('a'), 'bob')
  groups.seed(uri('a'), 'bob')
  t.same(named(groups.of('bob')), [])
  groups.add(uri('a'), 'carol', 2_000_000)
  groups.seed(uri('a'), 'carol')
  t.same(groups.roll(uri('a')).users, [{ member: 'carol', expires: 2_000_000 }])
})

t.test('a store of before has its members still', async (t) => {
  const database = new Database(':memory:', { full: false })
  t.teardown(() => database.close())
  const before = MIGRATIONS.slice(
    0,
    MIGRATIONS.findIndex((step) => step.includes('group_numbers')),
  )
  migrate(database, ':memory:', { ...STORE, steps: before })
  database.run("INSERT INTO users (name, uid, admin) VALUES ('bob', 20000, 0)")
  database.run('INSERT INTO groups VALUES (?, 90000, ?)', uri('a'), 'bob')
  database.run('INSERT INTO members VALUES (?, ?)', 'bob', uri('a'))
  migrate(database, ':memory:')
  const groups = new Groups(database, new Users(database))
  t.same(named(groups.of('bob')), ['a'])
  t.same(groups.byUri(uri('a')), { uri: uri('a'), gid: 90_000, owner: 'bob' })
  groups.remove(uri('a'), 'bob')
  groups.seed(uri('a'), 'bob')
  t.same(named(groups.of('bob')), [], 'the configuration had put them there')
})

t.test('what another process changes counts from the next request on', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  t.teardown(() => store.close())
  for (const name of ['alice', 'bob']) store.users.create({ name })
  for (const name of ['a', 'b']) store.groups.create(uri(name), { owner: 'alice' })
  store.groups.nest(uri('b'), uri('a'))
  store.groups.add(uri('a'), 'bob')
  t.same(named(store.groups.of('bob')), ['a', 'b'])
  const { version } = store.groups
  await run(file, 'leave', uri('a'), 'bob')
  t.same(named(store.groups.of('bob')), [])
  t.not(store.groups.version, version)
})

t.test('what was rolled back was never so', async (t) => {
  const { database, groups } = peopled(t, ['a'])
  t.same(named(groups.of('bob')), [])
  t.throws(() =>
    database.transaction(() => {
      database.run('INSERT INTO members (user, uri) VALUES (?, ?)', 'bob', uri('a'))
      t.same(named(groups.of('bob')), ['a'])
      throw new Error('no')
    }),
  )
  // as many changes as were rolled back
  groups.add(uri('a'), 'carol')
  t.same(named(groups.of('bob')), [])
})

t.test('groups of services that are believed get a number when they are shared with, others do not', async (t) => {
  const store = openStore(':memory:', { isForeignGroup: (one) => one.startsWith('ivo://remote.example/gms?') })
  t.teardown(() => store.close())
  store.users.create({ name: 'alice' })
  const ids = store.ids()
  const theirs = 'ivo://remote.example/gms?theirs'
  const { version } = ids
  const gid = ids.gidOf(theirs)
  t.equal(gid, 90_000)
  t.equal(ids.gidOf(theirs), gid)
  t.not(ids.version, version)
  t.equal(ids.groupOf(90_000), theirs)
  t.equal(ids.gidOf('ivo://evil.example/gms?theirs'), undefined)
  t.equal(ids.gidOf(uri('none')), undefined)
  t.equal(store.groups.create(uri('ours'), { owner: 'alice' }).gid, 90_001)
  t.equal(store.groups.create(theirs, { owner: 'alice' }).gid, gid, 'kept here from now on, files carry the number')
})

t.test('there is an end to the numbers of others’ groups', async (t) => {
  const { groups } = peopled(t, [])
  const numbers = Array.from({ length: 7 }, (_, i) => groups.numberForeign(`ivo://remote.example/gms?${i}`))
  t.same(numbers, [90_000, 90_001, 90_002, 90_003, 90_004, undefined, undefined])
  t.equal(groups.numberForeign('ivo://remote.example/gms?0'), 90_000)
  t.equal(groups.numberForeign('no group'), undefined)
})

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((((x ^ (x >>> 14)) >>> 0) / 4294967296) * below) | 0
  }
}

/** Who is in what, worked out anew each time from plain lists. */
class Model {
  readonly groups = new Map<string, number>()
  /** [user, group, end] */
  members: [string, string, number][] = []
  /** [group, group inside, end] */
  nested: [string, string, number][] = []

  of(user: string, now: number): string[] {
    const isIn = (group: string, path: readonly string[]): boolean => {
      if ((this.groups.get(group) ?? 0) <= now || path.includes(group)) return false
      if (this.members.some(([who, what, end]) => who === user && what === group && end > now)) return true
      return this.nested.some(([outer, inner, end]) => outer === group && end > now && isIn(inner, [...path, group]))
    }
    return [...this.groups.keys()].filter((group) => isIn(group, [])).sort()
  }

  reaches(from: string, to: string): boolean {
    return from === to || this.nested.some(([outer, inner]) => outer === from && this.reaches(inner, to))
  }

  depth(group: string, side: 0 | 1): number {
    const next = this.nested.filter((edge) => edge[side] === group).map((edge) => edge[1 - side] as string)
    return Math.max(0, ...next.map((one) => 1 + this.depth(one, side)))
  }
}

t.test('a model says the same of who is in what, after anything', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const file = seed % 3 === 0 ? storeFile(t) : ':memory:'
    const all = peopled(t, [], file)
    // another gateway on the same file
    const other = file === ':memory:' ? all : world(t, file)
    const model = new Model()
    const below = random(seed)
    const users = ['alice', 'bob', 'carol']
    const pick = <T>(list: readonly T[]): T | undefined => list[below(list.length)]
    const end = (): number => (below(3) === 0 ? Infinity : all.time + 1 + below(40))
    const finite = (time: number): number | undefined => (time === Infinity ? undefined : time)
    let count = 0
    for (let step = 0; step < 300; step++) {
      const { groups } = below(2) === 0 ? all : other
      const group = pick([...model.groups.keys()])
      const inner = pick([...model.groups.keys()])
      const user = pick(users) ?? ''
      const act = below(12)
      if (act === 0 || group === undefined || inner === undefined) {
        const name = `g${count++}`
        groups.create(uri(name), { owner: 'alice' })
        model.groups.set(name, Infinity)
      } else if (act <= 3) {
        const until = end()
        groups.add(uri(group), user, finite(until))
        model.members = [...model.members.filter(([who, what]) => who !== user || what !== group), [user, group, until]]
      } else if (act === 4) {
        groups.remove(uri(group), user)
        model.members = model.members.filter(([who, what]) => who !== user || what !== group)
      } else if (act <= 8) {
        const until = end()
        const depth = model.depth(group, 1) + model.depth(inner, 0) + 1
        const isWrong = model.reaches(inner, group) || depth > MAX_NESTING
        const said = await refused(() => groups.nest(uri(group), uri(inner), finite(until)))
        if (isWrong !== (said === 'InvalidArgument EINVAL'))
          t.fail(`seed ${seed} step ${step}: nesting said ${String(said)}`)
        if (!isWrong) {
          model.nested = [...model.nested.filter(([o, i]) => o !== group || i !== inner), [group, inner, until]]
        }
      } else if (act === 9) {
        groups.unnest(uri(group), uri(inner))
        model.nested = model.nested.filter(([o, i]) => o !== group || i !== inner)
      } else if (act === 10) {
        const until = end()
        groups.amend(uri(group), { expires: finite(until) ?? null })
        model.groups.set(group, until)
      } else if (below(4) === 0) {
        groups.delete(uri(group))
        model.groups.delete(group)
        model.members = model.members.filter(([, what]) => what !== group)
        model.nested = model.nested.filter(([o, i]) => o !== group && i !== group)
      }
      all.time += below(6)
      other.time = all.time
      // the next request: other processes are looked for once a turn
      if (file !== ':memory:') await new Promise((done) => setImmediate(done))
      for (const name of users) {
        const expected = model.of(name, all.time)
        for (const one of new Set([all, other])) {
          const found = named(one.groups.of(name))
          if (JSON.stringify(found) !== JSON.stringify(expected)) {
            t.same(found, expected, `seed ${seed} step ${step}: ${name}`)
            return
          }
        }
      }
    }
    t.pass(`seed ${seed}`)
  }
})
