/** Locks in the store: against a naive model, in turn, without circles, over restarts and the end of sessions. */
import t from 'tap'
import { Database } from '../../src/store/database.ts'
import { type Lock, StoredLeases } from '../../src/store/leases.ts'
import { openStore } from '../../src/store/store.ts'
import { type LockType, TO_THE_END } from '../../src/vospace/lock.ts'
import { seeded } from '../mount/tree-harness.ts'
import { storeFile } from './store-process.ts'

const OVER = { fault: 'NodeNotFound', errno: 'ENOLCK' } as object as Error

interface World {
  readonly leases: StoredLeases
  readonly file: string
  /** milliseconds on the clock of `leases` */
  now: number
  readonly again: () => StoredLeases
}

function world(t: Parameters<typeof storeFile>[0] & { teardown(end: () => void): void }, limits = {}): World {
  const file = storeFile(t)
  openStore(file).close()
  const open: Database[] = []
  t.teardown(() => open.forEach((database) => database.close()))
  const again = (): StoredLeases => {
    const database = new Database(file, { full: false })
    open.push(database)
    return new StoredLeases(database, { limits, clock: () => made.now })
  }
  const made = { file, now: 1_000_000, again } as World & { leases: StoredLeases }
  return Object.assign(made, { leases: again() })
}

const lock = (session: string, owner: string, type: LockType, start = 0, end = TO_THE_END, node = 'n'): Lock => ({
  ...{ session, owner, type, start, end, node },
  kind: 'posix',
  pid: 7,
})

t.test('random locks of several owners are granted and refused as a cell a byte says', async (t) => {
  const { leases } = world(t)
  const sessions = [leases.open('alice', 60_000), leases.open('bob', 60_000)]
  const users = new Map(sessions.map((session, at) => [session, ['alice', 'bob'][at] ?? '']))
  const below = seeded(7)
  /** who has what on each byte */
  const model = Array.from({ length: 12 }, () => new Map<string, LockType>())
  for (let step = 0; step < 1500; step++) {
    const session = sessions[below(2)] ?? ''
    const owner = String(below(2))
    const start = below(12)
    const end = start + below(12 - start)
    const me = `${session} ${owner}`
    const cells = model.slice(start, end + 1)
    if (below(3) === 0) {
      leases.unlock(users.get(session) ?? '', { node: 'n', kind: 'posix', session, owner }, { start, end })
      for (const cell of cells) cell.delete(me)
      continue
    }
    const type = below(2) === 0 ? 'read' : 'write'
    const others = cells.flatMap((cell) => [...cell].filter(([who]) => who !== me).map(([, of]) => of))
    const expected = others.some((of) => of === 'write' || type === 'write') ? 'refused' : 'granted'
    const { state } = leases.lock(users.get(session) ?? '', lock(session, owner, type, start, end))
    if (state !== expected) {
      t.equal(state, expected, `step ${step}`)
      return
    }
    if (state === 'granted') for (const cell of cells) cell.set(me, type)
  }
  t.pass('1500 steps agree')
})

t.test('who waits goes in turn, and a later one does not overtake', async (t) => {
  const { leases } = world(t)
  const [a, b, c] = [leases.open('a', 60_000), leases.open('b', 60_000), leases.open('c', 60_000)]
  t.equal(leases.lock('a', lock(a, '1', 'read')).state, 'granted')
  t.equal(leases.lock('b', lock(b, '1', 'write'), 'tb').state, 'waiting')
  t.match(leases.lock('c', lock(c, '1', 'read'), 'tc'), { state: 'waiting', by: { session: b } })
  leases.unlock('a', lock(a, '1', 'read'), lock(a, '1', 'read'))
  t.equal(leases.lock('c', lock(c, '1', 'read'), 'tc').state, 'waiting', 'it is not its turn')
  t.equal(leases.lock('b', lock(b, '1', 'write'), 'tb').state, 'granted')
  t.equal(leases.lock('c', lock(c, '1', 'read'), 'tc').state, 'waiting')
  leases.end('b', b)
  t.equal(leases.lock('c', lock(c, '1', 'read'), 'tc').state, 'granted')
})

t.test('the order of turns makes no circle of its own', async (t) => {
  const { leases } = world(t)
  const [a, b] = [leases.open('a', 60_000), leases.open('b', 60_000)]
  leases.lock('a', lock(a, '1', 'read', 0, 9))
  t.equal(leases.lock('b', lock(b, '1', 'write'), 'tb').state, 'waiting')
  t.equal(leases.lock('a', lock(a, '1', 'read', 5, 19), 'ta').state, 'granted', 'b waits for a already')
})

t.test('circles of two and of three are refused, through whichever gateway', async (t) => {
  const { leases, again } = world(t)
  const other = again()
  const [a, b, c] = [leases.open('a', 60_000), other.open('b', 60_000), leases.open('c', 60_000)]
  const at = (session: string, byte: number): Lock => lock(session, '1', 'write', byte, byte)
  leases.lock('a', at(a, 1))
  other.lock('b', at(b, 2))
  leases.lock('c', at(c, 3))
  t.equal(leases.lock('a', at(a, 2), 'ta').state, 'waiting')
  t.equal(other.lock('b', at(b, 3), 'tb').state, 'waiting')
  t.equal(leases.lock('c', at(c, 1), 'tc').state, 'deadlock')
  leases.forget('b', b, 'tb')
  t.throws(() => leases.forget('a', b, 'tb'), OVER)
  t.equal(leases.lock('c', at(c, 1), 'tc').state, 'waiting', 'the circle is open')
})

t.test('flock locks wait in circles as flock(2) does', async (t) => {
  const { leases } = world(t)
  const a = leases.open('a', 60_000)
  const flock = (owner: string, node: string): Lock => ({
    ...lock(a, owner, 'write', 0, TO_THE_END, node),
    kind: 'flock',
  })
  leases.lock('a', flock('1', 'x'))
  leases.lock('a', flock('2', 'y'))
  t.equal(leases.lock('a', flock('1', 'y'), 't1').state, 'waiting')
  t.equal(leases.lock('a', flock('2', 'x'), 't2').state, 'waiting')
})

t.test('a session that is not renewed ends with its locks and waits, and one that is renewed does not', async (t) => {
  const made = world(t)
  const { leases } = made
  const [a, b] = [leases.open('a', 10_000), leases.open('b', 10_000)]
  leases.lock('a', lock(a, '1', 'write'))
  made.now += 9_000
  t.equal(leases.renew('a', a), 1)
  made.now += 9_000
  t.throws(() => leases.renew('b', b), OVER)
  const fresh = leases.open('b', 10_000)
  t.equal(leases.lock('b', lock(fresh, '1', 'write'), 'tb').state, 'waiting')
  const turn = leases.turn()
  made.now += 2_000
  t.not(leases.turn(), turn, 'those who wait hear of it')
  t.equal(leases.lock('b', lock(fresh, '1', 'write'), 'tb').state, 'granted')
  t.throws(() => leases.lock('a', lock(a, '1', 'read')), OVER)
  t.throws(() => leases.lock('a', lock(fresh, '1', 'read')), OVER)
})

t.test('locks survive a gateway that was away for longer than they live', async (t) => {
  const made = world(t)
  const a = made.leases.open('a', 10_000)
  made.leases.lock('a', lock(a, '1', 'write'))
  made.now += 30_000
  const after = made.again()
  t.equal(after.renew('a', a), 1)
  made.now += 9_000
  const b = after.open('b', 10_000)
  t.equal(after.lock('b', lock(b, '1', 'write')).state, 'refused')
})

t.test('after a boot every session has one more time to live', async (t) => {
  const made = world(t)
  const a = made.leases.open('a', 10_000)
  made.leases.lock('a', lock(a, '1', 'write'))
  const raw = new Database(made.file, { full: false })
  raw.run("UPDATE lease_sessions SET boot = 'the boot before'")
  raw.close()
  made.now = 500 // the clock begins anew
  const after = made.again()
  const b = after.open('b', 10_000)
  t.equal(after.lock('b', lock(b, '1', 'read')).state, 'refused')
  made.now += 10_001
  t.equal(after.lock('b', lock(after.open('b', 10_000), '1', 'read')).state, 'granted', 'nobody renewed it')
})

t.test('nobody has more than their share', async (t) => {
  const { leases } = world(t, { sessions: 2, locks: 3, waits: 1 })
  const [a, other, b] = [leases.open('a', 60_000), leases.open('a', 60_000), leases.open('b', 60_000)]
  const full = { fault: 'QuotaExceeded', errno: 'ENOLCK' } as object as Error
  t.throws(() => leases.open('a', 60_000), full)
  for (const byte of [0, 2, 4]) leases.lock('a', lock(a, '1', 'write', byte, byte))
  t.throws(() => leases.lock('a', lock(other, '1', 'write', 6, 6)), full)
  t.equal(leases.lock('a', lock(a, '1', 'write', 0, 4)).state, 'granted', 'what makes one of three is no more')
  t.equal(leases.lock('b', lock(b, '1', 'write', 0, 0), 'one').state, 'waiting')
  t.throws(() => leases.lock('b', lock(b, '1', 'write', 1, 1), 'two'), full)
})

t.test('a lock is told to whoever asks, and what they hold themselves is not in their way', async (t) => {
  const { leases } = world(t)
  const a = leases.open('a', 60_000)
  leases.lock('a', lock(a, '1', 'read', 10, 19))
  t.equal(leases.test(lock(a, '1', 'write')), undefined)
  t.equal(leases.test(lock(a, '2', 'read')), undefined)
  t.match(leases.test(lock(a, '2', 'write')), { start: 10, end: 19, type: 'read', pid: 7, owner: '1' })
  t.equal(leases.test({ ...lock(a, '2', 'write'), kind: 'flock' }), undefined)
})
