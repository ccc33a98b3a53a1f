import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { setRecursively } from '../../src/space/recursive-setprops.ts'
import { type Counts, type Running } from '../../src/space/recursion.ts'
import { type Space } from '../../src/space/space.ts'
import { type NodeDocument } from '../../src/vospace/document.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import {
  admin,
  alice,
  at,
  bob,
  document,
  file,
  folder,
  link,
  nobody,
  outcome,
  STAFF,
  world,
  type World,
} from './space-world.ts'

const idle: Running = { save: () => undefined }
const ask = (path: string, properties: Record<string, string | null>): NodeDocument =>
  document(path, 'ContainerNode', properties)

/** Seven nodes. */
async function planted({ backend }: World): Promise<void> {
  await folder(backend, '/home/alice/d')
  await folder(backend, '/home/alice/d/a')
  await file(backend, '/home/alice/d/a/f')
  await folder(backend, '/home/alice/d/a.b')
  await file(backend, '/home/alice/d/a.b/g', { locked: true })
  await link(backend, '/home/alice/d/l', '/home/alice/keep')
  await file(backend, '/home/alice/d/z')
}

/** What the backend keeps of some node. */
async function kept({ backend }: World, path: string) {
  const entry = (await backend.walk(at(path))).at(-1)
  if (entry === undefined || entry.path !== path) throw new Error(`${path} is not there`)
  return { ...entry.access, x: entry.properties.get('urn:x') }
}

t.test(
  'setRecursively sets a container and all below, locked ones too, inheritPermissions on containers only',
  async (t) => {
    const w = await world()
    await planted(w)
    const order: string[] = []
    const set = w.backend.set.bind(w.backend)
    w.backend.set = async (...given) => {
      order.push(given[0].path.slice('/home/alice/'.length))
      return set(...given)
    }
    const wishes = { [PROPERTY.groupRead]: STAFF, [PROPERTY.inherit]: 'true', 'urn:x': 'y' }
    const counts = await setRecursively(w.space, alice, ask('/home/alice/d', wishes), idle)
    t.same(counts, { successes: 7, errors: 0 })
    t.same(order, ['d', 'd/a', 'd/a/f', 'd/a.b', 'd/a.b/g', 'd/l', 'd/z'], 'a container before its children')
    t.match(await kept(w, '/home/alice/d/a'), { groupRead: [STAFF], inherit: true, x: 'y' })
    t.match(await kept(w, '/home/alice/d/a.b/g'), { groupRead: [STAFF], inherit: false, locked: true, x: 'y' })
    t.match(await kept(w, '/home/alice/d/l'), { groupRead: [STAFF], x: 'y' })
    t.equal(w.changes.filter(({ kind }) => kind === 'attributes').length, 7)
    const nil = await setRecursively(w.space, alice, ask('/home/alice/d/l', { 'urn:x': null }), idle)
    t.same(nil, { successes: 1, errors: 0 }, 'a link is itself')
    t.match(await kept(w, '/home/alice/d/l'), { x: undefined })
  },
)

t.test('setRecursively counts what it may not write once, and does not look into it', async (t) => {
  const w = await world()
  await folder(w.backend, '/data', { owner: 'alice', isPublic: true })
  await folder(w.backend, '/data/his', { owner: 'bob', isPublic: true })
  await file(w.backend, '/data/his/hers')
  await file(w.backend, '/data/f')
  const counts = await setRecursively(w.space, alice, ask('/data', { 'urn:x': 'y' }), idle)
  t.same(counts, { successes: 2, errors: 1, fault: 'PermissionDenied' })
  t.match(await kept(w, '/data/his/hers'), { x: undefined })
  for (let i = 0; i < 120; i++) await file(w.backend, `/data/g${1000 + i}`, { owner: 'bob' })
  t.match(await setRecursively(w.space, alice, ask('/data', { 'urn:x': 'z' }), idle), { successes: 2, errors: 101 })
})

t.test('setRecursively refuses owner and quota, bad properties and missing nodes, and changes nothing', async (t) => {
  const w = await world()
  await planted(w)
  const answer = async (who: typeof alice, wish: NodeDocument) => outcome(setRecursively(w.space, who, wish, idle))
  for (const uri of [PROPERTY.quota, PROPERTY.creator]) {
    for (const who of [alice, admin]) {
      t.equal(await answer(who, ask('/home/alice/d', { [uri]: '1', 'urn:x': 'y' })), 'PermissionDenied EACCES')
    }
  }
  const bad = ask('/home/alice/d', { 'ivo://ivoa.net/vospacecore#make-stuff-up': 'y', 'urn:x': 'y' })
  t.equal(await answer(alice, bad), 'InvalidArgument EINVAL')
  t.equal(await answer(alice, { ...bad, properties: [], uri: 'https://example.org' }), 'InvalidURI EINVAL')
  t.equal(await answer(alice, ask('/home/alice/none', { 'urn:x': 'y' })), 'NodeNotFound ENOENT')
  for (const who of [bob, nobody]) {
    t.match(await setRecursively(w.space, who, ask('/home/alice/d', { 'urn:x': 'y' }), idle), {
      successes: 0,
      errors: 1,
    })
  }
  t.match(await kept(w, '/home/alice/d'), { x: undefined })
})

class Killed extends Error {}

/** Dies at its n-th change, before it or after it. */
function dying(space: Space, n: number, when: 'before' | 'after'): Space {
  let changes = 0
  const backend = new Proxy(space.backend, {
    get(of, key) {
      const value: unknown = Reflect.get(of, key, of)
      if (key !== 'set') return typeof value === 'function' ? (value.bind(of) as unknown) : value
      return async (...given: Parameters<Backend['set']>) => {
        const isLast = ++changes === n
        if (isLast && when === 'before') throw new Killed()
        const entry = await of.set(...given)
        if (isLast) throw new Killed()
        return entry
      }
    },
  })
  return { ...space, backend }
}

async function overKills(
  space: Space,
  caller: typeof alice,
  wish: NodeDocument,
  when: () => [number, 'before' | 'after'],
): Promise<Counts> {
  let checkpoint: unknown
  const save = (state: object): void => void (checkpoint = JSON.parse(JSON.stringify(state)))
  for (;;) {
    try {
      return await setRecursively(dying(space, ...when()), caller, wish, { checkpoint, save })
    } catch (error) {
      if (!(error instanceof Killed)) throw error
    }
  }
}

t.test('setRecursively continues after a kill at any moment, and its counts are right', async (t) => {
  for (let n = 1; n <= 7; n++) {
    for (const when of ['before', 'after'] as const) {
      const w = await world()
      await planted(w)
      let runs = 0
      const wish = ask('/home/alice/d', { 'urn:x': 'y' })
      const counts = await overKills(w.space, alice, wish, () => [runs++ === 0 ? n : Infinity, when])
      t.same(counts, { successes: 7, errors: 0 }, `killed ${when} change ${n}`)
    }
  }
})

t.test('setRecursively counts a thousand nodes right over many kills, errors among them', async (t) => {
  const w = await world()
  await folder(w.backend, '/data', { owner: 'alice', isPublic: true })
  for (let c = 0; c < 10; c++) {
    await folder(w.backend, `/data/c${c}`)
    for (let i = 0; i < 99; i++) {
      await file(w.backend, `/data/c${c}/${i}`, { owner: i === 50 ? 'bob' : 'alice' })
    }
  }
  let kills = 0
  const wish = ask('/data', { 'urn:x': 'y', [PROPERTY.isPublic]: 'true' })
  const counts = await overKills(w.space, alice, wish, () => [++kills * 37, kills % 2 === 0 ? 'before' : 'after'])
  t.match(counts, { successes: 991, errors: 10 })
  t.ok(kills > 3)
})

t.test(
  'setRecursively counts the same whether killed or not when it takes the caller’s own permission away',
  async (t) => {
    const prepared = async () => {
      const w = await world()
      await folder(w.backend, '/data', { isPublic: true })
      for (const name of ['a', 'b', 'c']) {
        await folder(w.backend, `/data/${name}`, { groupWrite: [STAFF], isPublic: true })
        await file(w.backend, `/data/${name}/f`, { groupWrite: [STAFF] })
      }
      await w.backend.set({ path: at('/data') }, { access: { groupWrite: [STAFF] } })
      await folder(w.backend, '/data/dark', { groupWrite: [STAFF] })
      await file(w.backend, '/data/dark/f', { groupWrite: [STAFF] })
      return w
    }
    const wish = ask('/data', { [PROPERTY.groupWrite]: null })
    const whole = await setRecursively((await prepared()).space, bob, wish, idle)
    t.match(whole, { successes: 8, errors: 1 }, 'what is in the dark is out of his reach once it is his no more')
    for (let n = 1; n <= 8; n++) {
      for (const when of ['before', 'after'] as const) {
        let runs = 0
        const { space } = await prepared()
        t.same(await overKills(space, bob, wish, () => [runs++ === 0 ? n : Infinity, when]), whole, `${when} ${n}`)
      }
    }
  },
)

t.test('setRecursively stops when told to', async (t) => {
  const w = await world()
  await planted(w)
  const stopped = { ...idle, signal: AbortSignal.abort() }
  t.equal(
    await outcome(setRecursively(w.space, alice, ask('/home/alice/d', { 'urn:x': 'y' }), stopped)),
    'TransferFailed EIO',
  )
  t.match(await kept(w, '/home/alice/d'), { x: undefined })
})

t.test('setRecursively pulls the children of a huge container as it sets them', async (t) => {
  const w = await world()
  await folder(w.backend, '/home/alice/d')
  for (let i = 0; i < 1000; i++) await file(w.backend, `/home/alice/d/f${1000 + i}`)
  let pulled = 0
  let ahead = 0
  const list = w.backend.list.bind(w.backend)
  w.backend.list = async function* (...given) {
    for await (const entry of list(...given)) {
      pulled++
      yield entry
    }
  }
  let done = 0
  const set = w.backend.set.bind(w.backend)
  w.backend.set = async (...given) => {
    ahead = Math.max(ahead, pulled - done++)
    return set(...given)
  }
  const saved: number[] = []
  const save = (state: object): void => void saved.push(JSON.stringify(state).length)
  const counts = await setRecursively(w.space, alice, ask('/home/alice/d', { 'urn:x': 'y' }), { save })
  t.same(counts, { successes: 1001, errors: 0 })
  t.ok(pulled >= 1000)
  t.ok(ahead <= 1, `never more than one child ahead of the work: ${ahead}`)
  t.ok(saved.length >= 3 && saved.every((length) => length < 500), 'and what is saved does not grow')
})
