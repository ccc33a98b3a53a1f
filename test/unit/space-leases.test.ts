/** Two gateways on one store: a lock given back through one is had through the other, and changes made through one are told by the other. */
import t, { type Test } from 'tap'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { ChangeStreams, type ChangeLine } from '../../src/space/change-stream.ts'
import { Leases, type LockAsked } from '../../src/space/leases.ts'
import { DEFAULT_RULES, type Space } from '../../src/space/space.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { TO_THE_END } from '../../src/vospace/lock.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { service } from '../../src/vospace/uri.ts'
import { storeFile } from './store-process.ts'

const FILE = { path: nodePath('/f') }

async function twoGateways(t: Test) {
  const file = storeFile(t)
  const stores: [Store, Store] = [openStore(file), openStore(file)]
  t.teardown(() => stores.forEach((store) => store.close()))
  const backend = new MemoryBackend({ ids: stores[0].ids() })
  const access = { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false }
  await backend.set({ path: nodePath('/') }, { access: { isPublic: true } })
  await backend.put(FILE.path, pieces(), { draft: { access, mode: 0o600, properties: new Map() } })
  const of = (store: Store) => {
    const space: Space = {
      ...{ backend, service: service('ivo://karst.local/karst'), rules: DEFAULT_RULES },
      ...{ changes: store.changes, ids: store.ids() },
    }
    return { space, leases: new Leases(store.leases, store.changes), streams: new ChangeStreams(store.changes) }
  }
  return [of(stores[0]), of(stores[1])] as const
}

async function* pieces(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('x')
}

const alice: Caller = { user: 'alice', uid: 1000, gid: 1000, groups: new Set(), admin: false }
const asked = (session: string, type: 'read' | 'write'): LockAsked => ({
  ...{ session, type, owner: '1', kind: 'posix', start: 0, end: TO_THE_END, pid: 1 },
})
const wait = (ticket: string) => ({ wait: { ticket, milliseconds: 60_000 } })

t.test('the credential of a partition touches no session that another has opened', async (t) => {
  const [{ leases, space }] = await twoGateways(t)
  const scoped = (path: string): Caller => ({ ...alice, scope: { path: nodePath(path), access: 'write' } })
  const [home, data] = [scoped('/'), scoped('/data')]
  const own = leases.open(alice).session
  const { session } = leases.open(home)
  t.match(await leases.take(space, home, FILE, asked(session, 'write')), { granted: true })
  const over = /the session is over/
  for (const theirs of [own, session]) {
    leases.end(data, theirs)
    t.throws(() => leases.renew(data, theirs), over)
    t.throws(() => leases.check(data, theirs), over)
    t.throws(() => leases.forget(data, theirs, 'x'), over)
    t.throws(() => leases.unlock(data, { ...asked(theirs, 'write'), node: 'n' }, { start: 0, end: 9 }), over)
    await t.rejects(leases.take(space, data, FILE, asked(theirs, 'read')), over)
  }
  t.equal(leases.renew(home, session), 1, 'it has its lock still')
  t.equal(leases.renew(alice, own), 0)
  leases.end(alice, session)
  t.throws(() => leases.renew(home, session), over, 'its user ends it with a credential of their own')
})

t.test('a lock is waited for through one gateway and given back through another', async (t) => {
  const [one, two] = await twoGateways(t)
  const [a, b, c] = [one.leases.open(alice), two.leases.open(alice), two.leases.open(alice)].map((s) => s.session)
  if (a === undefined || b === undefined || c === undefined) throw new Error('no sessions')
  const taken = await one.leases.take(one.space, alice, FILE, asked(a, 'write'))
  if (!taken.granted) throw new Error('not granted')
  const waiting = [
    two.leases.take(two.space, alice, FILE, asked(b, 'write'), wait('b')),
    two.leases.take(two.space, alice, FILE, asked(c, 'write'), wait('c')),
  ]
  await new Promise((resolve) => setTimeout(resolve, 120))
  one.leases.unlock(alice, { ...asked(a, 'write'), node: taken.entry.id }, { start: 0, end: TO_THE_END })
  t.match(await waiting[0], { granted: true })
  one.leases.end(alice, b)
  t.match(await waiting[1], { granted: true }, 'and so when a session is ended through the other')
  const last = one.leases.take(one.space, alice, FILE, asked(one.leases.open(alice).session, 'read'), wait('d'))
  one.leases.stop()
  t.match(await last, { granted: false, waiting: true }, 'a gateway that stops lets them ask elsewhere')
  two.leases.stop()
})

t.test('a gateway that stood still takes no lock away for it', async (t) => {
  const [{ leases, space }] = await twoGateways(t)
  const [a, b] = [leases.open(alice, 2000).session, leases.open(alice).session]
  t.match(await leases.take(space, alice, FILE, asked(a, 'write')), { granted: true })
  const standStill = (milliseconds: number) =>
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
  standStill(2500)
  t.match(await leases.take(space, alice, FILE, asked(b, 'read')), { granted: false })
  t.equal(leases.renew(alice, a), 1)
  standStill(1500)
  await new Promise((resolve) => setTimeout(resolve, 2200))
  t.match(
    await leases.take(space, alice, FILE, asked(b, 'read')),
    { granted: true },
    'who does not renew loses it in time',
  )
  t.throws(() => leases.renew(alice, a), /the session is over/)
  leases.stop()
})

t.test('what is changed through one gateway is told by the other', async (t) => {
  const [one, two] = await twoGateways(t)
  const end = new AbortController()
  const lines: ChangeLine[] = []
  const options = { path: nodePath('/'), signal: end.signal, life: 60_000, heartbeat: 60_000 }
  const following = (async () => {
    for await (const batch of two.streams.follow(two.space, alice, options)) {
      lines.push(...batch)
      if (lines.some((line) => 'id' in line && line.id === 'last')) end.abort()
    }
  })()
  await new Promise((resolve) => setTimeout(resolve, 50))
  one.space.changes.append({ id: 'first', path: nodePath('/a'), kind: 'made' })
  await new Promise((resolve) => setTimeout(resolve, 250))
  one.space.changes.append({ id: 'last', path: nodePath('/a'), kind: 'removed' })
  await following
  t.match(
    lines.filter((line) => 'id' in line),
    [{ id: 'first' }, { id: 'last' }],
  )
  two.streams.stop()
})
