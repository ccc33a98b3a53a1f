/** The life of accounts in the store: identities given and taken, the last administrator, suspension, and who is gone for good. */
import t from 'tap'
import { openStore } from '../../src/store/store.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { storeFile } from './store-process.ts'

const GROUP = 'ivo://karst.local/gms?team'

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return isFault(error) ? error.fault : String(error)
  }
  return 'none'
}

t.test('a user is made with identities whole or not at all', async (t) => {
  const { users, close } = openStore(':memory:')
  t.teardown(close)
  users.create({ name: 'alice', identities: [{ kind: 'x509', value: 'cn=alice' }] })
  const taken = {
    name: 'bob',
    identities: [
      { kind: 'oidc', value: 'https://op bob' },
      { kind: 'x509', value: 'cn=alice' },
    ],
  } as const
  t.equal(
    refusal(() => users.create(taken)),
    'DuplicateNode',
  )
  t.equal(users.byName('bob'), undefined)
  t.equal(users.byIdentity({ kind: 'oidc', value: 'https://op bob' }), undefined)
  t.equal(users.create({ name: 'bob' }).uid, 20_001, 'the number was not lost')
})

t.test('an identity is taken away from its user only', async (t) => {
  const { users, close } = openStore(':memory:')
  t.teardown(close)
  const identity = { kind: 'x509', value: 'cn=alice' } as const
  users.create({ name: 'alice', identities: [identity] })
  users.create({ name: 'bob' })
  t.equal(
    refusal(() => users.removeIdentity('bob', identity)),
    'NodeNotFound',
  )
  t.equal(users.byIdentity(identity)?.name, 'alice')
  users.removeIdentity('alice', identity)
  t.equal(users.byIdentity(identity), undefined, 'at once')
  t.same(users.identities('alice'), [])
})

t.test('the last administrator stays one', async (t) => {
  const { users, close } = openStore(':memory:')
  t.teardown(close)
  users.create({ name: 'alice', admin: true })
  users.create({ name: 'bob', admin: true })
  users.suspend('bob')
  t.equal(
    refusal(() => users.setAdmin('alice', false)),
    'PermissionDenied',
    'a suspended one does not count',
  )
  t.equal(
    refusal(() => users.suspend('alice')),
    'PermissionDenied',
  )
  users.resume('bob')
  t.equal(users.setAdmin('alice', false).admin, false)
  t.equal(
    refusal(() => users.suspend('bob')),
    'PermissionDenied',
  )
  t.equal(
    refusal(() => users.setAdmin('nobody', true)),
    'NodeNotFound',
  )
})

t.test('who is suspended is so for every process, since when it was first said', async (t) => {
  const file = storeFile(t)
  const [one, other] = [openStore(file), openStore(file)]
  t.teardown(() => [one, other].forEach(({ close }) => close()))
  one.users.create({ name: 'alice', identities: [{ kind: 'uid', value: '7' }] })
  t.notOk(other.users.byIdentity({ kind: 'uid', value: '7' })?.suspended)
  await new Promise((turn) => setImmediate(turn))
  one.users.suspend('alice', 1000)
  one.users.suspend('alice', 2000)
  t.match(other.users.byIdentity({ kind: 'uid', value: '7' }), { suspended: true, suspendedSince: 1000 })
  t.match(other.users.byName('alice'), { suspended: true })
})

t.test('two gateways make the same user once', async (t) => {
  const file = storeFile(t)
  const [one, other] = [openStore(file), openStore(file)]
  t.teardown(() => [one, other].forEach(({ close }) => close()))
  t.equal(other.users.byName('alice'), undefined, 'looked at before')
  one.users.create({ name: 'alice' })
  t.equal(
    refusal(() => other.users.create({ name: 'alice' })),
    'DuplicateNode',
  )
})

t.test('who is deleted leaves name and number to nobody', async (t) => {
  const { users, groups, ids, jobs, close } = openStore(':memory:')
  t.teardown(close)
  const { uid } = users.create({ name: 'alice', identities: [{ kind: 'x509', value: 'cn=alice' }] })
  users.create({ name: 'bob' })
  groups.create(GROUP, { owner: 'alice' })
  groups.add(GROUP, 'alice')
  const job = jobs.create('alice', { kind: 'transfers' })
  t.equal(ids().ownerOf(uid), 'alice')
  t.equal(
    refusal(() => users.remove('alice')),
    'PreconditionFailed',
    'not suspended',
  )
  users.suspend('alice')
  t.equal(
    refusal(() => users.remove('alice')),
    'ContainerNotEmpty',
    'a group',
  )
  t.equal(users.handGroups('alice', 'bob'), 1)
  users.remove('alice')
  t.equal(users.byName('alice'), undefined)
  t.equal(users.byIdentity({ kind: 'x509', value: 'cn=alice' }), undefined)
  t.same(groups.members(GROUP), [])
  t.equal(groups.byUri(GROUP)?.owner, 'bob')
  t.equal(ids().ownerOf(uid), `uid:${uid}`)
  t.equal(ids().uidOf('alice'), undefined)
  jobs.sweep(Date.now())
  t.equal(jobs.get(job.id), undefined, 'their jobs are nobody’s to see')
  t.equal(
    refusal(() => users.create({ name: 'carol', uid })),
    'DuplicateNode',
    'the number',
  )
  t.equal(
    refusal(() => users.create({ name: 'alice' })),
    'DuplicateNode',
    'the name',
  )
  t.not(users.create({ name: 'alice', reuseName: true }).uid, uid, 'somebody else of that name')
  t.equal(ids().ownerOf(uid), `uid:${uid}`, 'does not get what was left')
})
