/** The rules of groups where no door is: what is noted, and what administrators and limited proxies may. */
import t, { type Test } from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { GroupRules } from '../../src/identity/groups.ts'
import { openStore } from '../../src/store/store.ts'
import { ANONYMOUS, type Caller } from '../../src/vospace/caller.ts'
import { canonicalGroup, groupName, isGroupName } from '../../src/vospace/group.ts'
import { isGroupUri, parseGroups } from '../../src/vospace/property.ts'
import { outcome } from './space-world.ts'

const SERVICES = {
  own: 'ivo://karst.local/gms',
  aliases: ['ivo://cadc.nrc.ca/gms'],
  remote: ['ivo://remote.example/gms'],
}
const refused = (work: () => unknown) => outcome((async () => work())())

function world(t: Test) {
  const store = openStore(':memory:')
  t.teardown(() => store.close())
  for (const name of ['alice', 'bob', 'root']) store.users.create({ name, admin: name === 'root' })
  const audited: AuditEvent[] = []
  const rules = new GroupRules({
    store: store.groups,
    services: SERVICES,
    audit: { note: (event) => void audited.push(event) },
  })
  const caller = (name: string, more: Partial<Caller> = {}): Caller => {
    const { uid, gid, admin } = store.users.byName(name) ?? { uid: 0, gid: 0, admin: false }
    return { user: name, uid, gid, admin, groups: store.groups.of(name), ...more }
  }
  return { store, rules, audited, caller }
}

t.test('every change and every refusal is noted, with who, what and to what', async (t) => {
  const { rules, audited, caller } = world(t)
  const expires = Date.now() + 1_000_000
  rules.create(caller('alice'), 'g')
  rules.add(caller('alice'), 'g', 'bob', expires)
  await refused(() => rules.add(caller('bob'), 'g', 'bob'))
  await refused(() => rules.add(caller('alice'), 'g', 'mallory'))
  rules.addAdmin(caller('alice'), 'g', 'bob')
  rules.amend(caller('alice'), 'g', { description: 'x', owner: 'bob' })
  rules.remove(caller('bob'), 'g', 'bob')
  await refused(() => rules.delete(caller('alice'), 'g'))
  rules.delete(caller('bob'), 'g')
  const on = 'ivo://karst.local/gms?g'
  t.match(audited, [
    { act: 'group.create', by: 'alice', on, result: 'allowed' },
    {
      act: 'group.add',
      by: 'alice',
      on,
      result: 'allowed',
      detail: { user: 'bob', expires: new Date(expires).toISOString() },
    },
    { act: 'group.add', by: 'bob', on, result: 'refused', detail: { user: 'bob', fault: 'PermissionDenied' } },
    { act: 'group.add', by: 'alice', on, result: 'refused', detail: { user: 'mallory', fault: 'InvalidArgument' } },
    { act: 'group.admin', by: 'alice', on, result: 'allowed', detail: { user: 'bob' } },
    { act: 'group.change', by: 'alice', on, result: 'allowed', detail: { fields: 'description owner', owner: 'bob' } },
    { act: 'group.remove', by: 'bob', on, result: 'allowed', detail: { user: 'bob' } },
    { act: 'group.delete', by: 'alice', on, result: 'refused' },
    { act: 'group.delete', by: 'bob', on, result: 'allowed' },
  ])
  t.equal(audited.length, 9)
})

t.test('a limited proxy sees groups and changes none', async (t) => {
  const { rules, caller } = world(t)
  rules.create(caller('alice'), 'g')
  const limited = caller('alice', { limited: true })
  t.equal(rules.show(limited, 'g').role, 'owner')
  for (const work of [
    () => rules.create(limited, 'h'),
    () => rules.add(limited, 'g', 'bob'),
    () => rules.nest(limited, 'g', 'g'),
    () => rules.amend(limited, 'g', { description: 'x' }),
    () => rules.delete(limited, 'g'),
    () => rules.addAdmin(limited, 'g', 'bob'),
  ])
    t.equal(await refused(work), 'PermissionDenied EACCES')
})

t.test('a site administrator may what an owner may', async (t) => {
  const { rules, caller, store } = world(t)
  rules.create(caller('alice'), 'g')
  const root = caller('root')
  t.match(rules.show(root, 'g'), { group: { owner: 'alice' }, roll: { users: [] } })
  rules.add(root, 'g', 'bob')
  rules.amend(root, 'g', { owner: 'bob' })
  t.equal(store.groups.byUri('ivo://karst.local/gms?g')?.owner, 'bob')
  t.equal(rules.create(root, 'for-bob', { owner: 'bob' }).group?.owner, 'bob')
  t.same(
    rules.list(root, true).map(({ name }) => name),
    ['for-bob', 'g'],
  )
  t.same(rules.list(root), [])
  t.equal(await refused(() => rules.list(caller('alice'), true)), 'PermissionDenied EACCES')
  rules.delete(root, 'g')
})

t.test('a group under the name of another service is the administrators’ to keep here', async (t) => {
  const { rules, caller, store } = world(t)
  const uri = 'ivo://elsewhere.example/gms?g'
  t.equal(await refused(() => rules.create(caller('root'), uri)), 'InvalidArgument EINVAL')
  t.equal(await refused(() => rules.create(caller('root'), 'ivo://remote.example/gms?g')), 'InvalidArgument EINVAL')
  store.groups.create(uri, { owner: 'alice' })
  t.equal(rules.show(caller('alice'), uri).name, uri)
  rules.add(caller('alice'), uri, 'bob')
  t.equal(rules.shareable(uri), uri)
  t.same(rules.search(caller('bob'), []), [], 'another service’s groups are not ours to tell')
})

t.test('there is an end to what one user owns', async (t) => {
  const { rules, caller, store } = world(t)
  for (let i = 0; i < 1000; i++) store.groups.create(`ivo://karst.local/gms?${i}`, { owner: 'alice' })
  t.equal(await refused(() => rules.create(caller('alice'), 'more')), 'QuotaExceeded EDQUOT')
  t.equal(rules.create(caller('bob'), 'more').role, 'owner')
})

t.test('groups that are given away keep nobody from making their own', async (t) => {
  const { store, rules, caller } = world(t)
  for (let i = 0; i < 500; i++) store.groups.create(`ivo://karst.local/gms?bob-${i}`, { owner: 'bob' })
  for (const name of ['gift', 'other']) rules.create(caller('alice'), name)
  const give = (by: string) => refused(() => rules.amend(caller(by), 'gift', { owner: 'bob' }))
  t.equal(await give('alice'), 'QuotaExceeded EDQUOT')
  t.equal(store.groups.byUri('ivo://karst.local/gms?gift')?.owner, 'alice')
  rules.create(caller('bob'), 'own')
  rules.amend(caller('bob'), 'own', { owner: 'bob', description: 'as before' })
  rules.amend(caller('root'), 'gift', { owner: 'bob' })
  store.groups.delete('ivo://karst.local/gms?bob-0')
  store.groups.delete('ivo://karst.local/gms?bob-1')
  store.groups.delete('ivo://karst.local/gms?bob-2')
  rules.amend(caller('alice'), 'other', { owner: 'bob' })
  t.equal(store.groups.countOwned('bob'), 500)
})

t.test('there is an end to the groups in the groups of one owner, who keep all others waiting', async (t) => {
  const { store, rules, caller } = world(t)
  const uri = (i: number, j: number) => `ivo://karst.local/gms?g-${i}-${j}`
  // two levels, each group of the one in each of the other: 1980, and twenty more
  for (let i = 0; i < 45; i++) for (const level of [0, 1]) store.groups.create(uri(level, i), { owner: 'alice' })
  for (let i = 0; i < 44; i++) for (let j = 0; j < 45; j++) store.groups.nest(uri(1, i), uri(0, j))
  for (let j = 0; j < 20; j++) rules.nest(caller('alice'), uri(1, 44), uri(0, j))
  t.equal(store.groups.countNested('alice'), 2000)
  t.equal(await refused(() => rules.nest(caller('alice'), uri(1, 44), uri(0, 20))), 'QuotaExceeded EDQUOT')
  rules.create(caller('bob'), 'bobs')
  rules.create(caller('bob'), 'inner')
  rules.nest(caller('bob'), 'bobs', 'inner')
  t.equal(
    await refused(() => rules.amend(caller('bob'), 'bobs', { owner: 'alice' })),
    'QuotaExceeded EDQUOT',
    'nor by gifts',
  )
  rules.unnest(caller('alice'), uri(1, 44), uri(0, 0))
  rules.nest(caller('alice'), uri(1, 44), uri(0, 20))
  rules.nest(caller('root'), uri(1, 44), uri(0, 21))
})

t.test('nobody asks without a name', async (t) => {
  const { rules } = world(t)
  for (const work of [
    () => rules.list(ANONYMOUS),
    () => rules.show(ANONYMOUS, 'g'),
    () => rules.search(ANONYMOUS, []),
    () => rules.create(ANONYMOUS, 'g'),
  ])
    t.equal(await refused(work), 'NotAuthenticated EACCES')
})

t.test(
  'names of groups: of the standard and of the services that there are, taken apart and put into one form',
  async (t) => {
    for (const name of ['a', 'A-b_c.d~e,f', 'a/b/c', '..a', 'x'.repeat(256)]) t.ok(isGroupName(name), name)
    for (const name of ['', '.', '..', ',', 'a,', 'a b', 'a\n', 'a%20', 'é', 'a?b', 'a#b', 'a&b', 'x'.repeat(257)])
      t.notOk(isGroupName(name), name)
    t.same(groupName('ivo://A.b/C/d?Name'), { service: 'ivo://a.b/c/d', name: 'Name' })
    t.equal(canonicalGroup('ivo://CADC.nrc.ca/gms?X', SERVICES), 'ivo://karst.local/gms?X')
    t.equal(canonicalGroup('ivo://Remote.Example/GMS?X', SERVICES), 'ivo://remote.example/gms?X')
    for (const uri of [
      'ivo://evil.example/gms?x',
      'ivo://karst.local/gms',
      'ivo://karst.local/gms/x?y',
      'ivo://karst.local/gms?x?y',
      'x',
    ])
      t.equal(canonicalGroup(uri, SERVICES), undefined, uri)
    t.notOk(isGroupUri(`ivo://a/gms?${'x'.repeat(600)}`))
    const list = 'ivo://a/g?x,y,ivo://a/g?z, ivo://b/g?,w\tivo://c/g?v,'
    t.same(parseGroups('u', list), ['ivo://a/g?x,y', 'ivo://a/g?z', 'ivo://b/g?,w', 'ivo://c/g?v'])
    const started = performance.now()
    for (const long of [','.repeat(1 << 20), ' '.repeat(1 << 20), ',ivo:'.repeat(1 << 18)])
      await refused(() => parseGroups('u', long))
    t.ok(performance.now() - started < 60_000)
  },
)
