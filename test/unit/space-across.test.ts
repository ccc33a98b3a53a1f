/** Moves and copies from one storage to another: with all that is kept of each node, whole or not at all, over a crash at every step. */
import t, { type Test } from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { countedIds } from '../../src/backend/counted-ids.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { RoutedBackend } from '../../src/backend/routed.ts'
import { Routes } from '../../src/backend/routes.ts'
import { copyNode } from '../../src/space/copy.ts'
import { type MoveCheckpoint, moveNode } from '../../src/space/move.ts'
import { undoAcross } from '../../src/space/move-across.ts'
import { type Space } from '../../src/space/space.ts'
import { Fault, isFault } from '../../src/vospace/fault.ts'
import { type Entry } from '../../src/vospace/node.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { admin, alice, at, file, folder, link, STAFF, world } from './space-world.ts'

class Crash extends Error {}
const ids = countedIds()

interface Two {
  readonly space: Space
  readonly routed: RoutedBackend
  readonly main: MemoryBackend
  readonly fast: Backend
  /** what is behind `fast` */
  readonly inner: MemoryBackend
}

/** `/home/alice` in main, `/fast` in another store, both with something of alice's. `wrap` stands between. */
async function two(wrap: (fast: MemoryBackend) => Backend = (fast) => fast): Promise<Two> {
  const { space, backend: main } = await world({ allocationParents: [] })
  const inner = new MemoryBackend({ ids })
  const fast = wrap(inner)
  const namespace = [
    { path: at('/'), backend: 'main' },
    { path: at('/fast'), backend: 'fast' },
  ]
  const allocationParents = [at('/home'), at('/projects')]
  const routed = new RoutedBackend(new Routes(new Map<string, Backend>([['main', main], ['fast', fast]]), namespace), { allocationParents }) // prettier-ignore
  await routed.start()
  await folder(inner, '/fast/alice', { owner: 'alice', isPublic: true })
  await folder(main, '/home/alice/t', { owner: 'alice', groupRead: [STAFF], inherit: true })
  await folder(main, '/home/alice/t/d', { owner: 'alice' })
  await file(main, '/home/alice/t/f', { owner: 'alice', groupWrite: [STAFF] }, 'bytes', new Map([['k', 'v']]))
  await file(main, '/home/alice/t/d/g', { owner: 'bob', isPublic: true }, 'x'.repeat(100_000))
  await link(main, '/home/alice/t/l', 'd/g', { owner: 'alice' })
  return { space: { ...space, backend: routed }, routed, main, fast, inner }
}

/** What is kept of each node, by its path below. */
async function tree(backend: Backend, path: NodePath): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  const look = async (entry: Entry): Promise<void> => {
    const { type, size, mode, access, properties, mtime, md5, text } = entry
    found[entry.path.slice(path.length)] = { type, size, mode, access, properties: [...properties], md5, text, ...(type !== 'link' && { mtime }) } // prettier-ignore
    if (type === 'container') for await (const below of backend.list(entry.path)) await look(below)
  }
  const top = (await backend.walk(path)).at(-1)
  if (top?.path === path) await look(top)
  return found
}

const names = async (backend: Backend, path: string): Promise<string[]> => Object.keys(await tree(backend, at(path)))

void t.test('a tree moves to another storage with all that is kept of it', async (t) => {
  const { space, routed, main } = await two()
  const before = await tree(routed, at('/home/alice/t'))
  const notes: MoveCheckpoint[] = []
  const run = { note: (one: MoveCheckpoint) => void notes.push(one), noted: undefined }
  t.equal(await moveNode(space, alice, at('/home/alice/t'), at('/fast/alice'), run), '/fast/alice/t')
  t.same(await tree(routed, at('/fast/alice/t')), before)
  t.same(Object.keys(before).length, 5)
  t.same(await names(routed, '/home/alice'), [''])
  t.same(await names(main, '/home/alice'), [''])
  for await (const item of main.trash.list(at('/'))) t.fail(`${item.path} is left in the trash`)
  t.same(await names(routed, '/fast/alice'), ['', '/t', '/t/d', '/t/d/g', '/t/f', '/t/l'])
})

void t.test('a move that is cut short at any step goes on, and nothing is lost or there twice', async (t) => {
  for (let nth = 0, ended = false; !ended && nth < 60; nth++) {
    for (const isAfter of [false, true]) {
      const { space, routed } = await two()
      const before = await tree(routed, at('/home/alice/t'))
      const life = { left: nth }
      let noted: MoveCheckpoint | undefined
      const note = (one: MoveCheckpoint): void => void (noted = JSON.parse(JSON.stringify(one)) as MoveCheckpoint)
      const signal = new AbortController()
      const dying = { ...space, backend: mortal(routed, life, isAfter, () => signal.abort()) }
      const from = at('/home/alice/t')
      const to = at('/fast/alice/moved')
      const died: unknown = await moveNode(dying, alice, from, to, { note, noted, signal: signal.signal }).catch((error: unknown) => error) // prettier-ignore
      ended = !(died instanceof Crash || isFault(died))
      if (!ended) await moveNode(space, alice, from, to, { note, noted }).catch((error: unknown) => {
        // published and gone before it was noted is told as such
        if (!isFault(error, 'NodeNotFound', 'DuplicateNode')) throw error
      }) // prettier-ignore
      const said = `dead ${isAfter ? 'after' : 'before'} step ${nth}`
      t.same(await tree(routed, to), before, said)
      t.same(await names(routed, '/home/alice'), [''], said)
      t.same(await names(routed, '/fast/alice'), ['', '/moved', '/moved/d', '/moved/d/g', '/moved/f', '/moved/l'], said)
    }
    if (nth === 59) t.fail('it never ended')
  }
})

/** Dies at its nth change, and stays dead. */
function mortal(backend: Backend, life: { left: number }, isAfter: boolean, onDeath: () => void): Backend {
  const die = (): never => {
    life.left = -1
    onDeath()
    throw new Crash()
  }
  return new Proxy(backend, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      const call = value as (...args: unknown[]) => Promise<unknown>
      if (!['make', 'put', 'set', 'move', 'remove'].includes(String(key))) return call.bind(target)
      return async (...args: unknown[]) => {
        if (life.left < 0 || (life.left === 0 && !isAfter)) return die()
        const result = await call.apply(target, args)
        return life.left-- === 0 ? die() : result
      }
    },
  })
}

void t.test('the same move asked for twice at once, or undone meanwhile, loses nothing', async (t) => {
  const { space, routed } = await two()
  const before = await tree(routed, at('/home/alice/t'))
  const [from, to] = [at('/home/alice/t'), at('/fast/alice/moved')]
  const run = { note: () => undefined, noted: undefined }
  const [move, hold] = [routed.move.bind(routed), routed.profiles.hold.bind(routed.profiles)]
  const [isCopied, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let noted: MoveCheckpoint | undefined
  let second: Promise<unknown> | undefined
  const again = async (): Promise<unknown> => {
    const note = (one: MoveCheckpoint): void => void (noted = one)
    const refusal: unknown = await moveNode(space, alice, from, to, { note, noted: undefined }).catch(
      (error: unknown) => error,
    )
    if (noted !== undefined) await undoAcross(space, noted)
    isCopied.resolve()
    return refusal
  }
  // the first holds the source when both have made their copy, and puts it into its place when the other has been refused
  routed.profiles.hold = async (path) => {
    if (second !== undefined) {
      isCopied.resolve()
      await isHeld.promise
      return hold(path)
    }
    second = again()
    await isCopied.promise
    const held = await hold(path)
    isHeld.resolve()
    return held
  }
  routed.move = async (source, target, options) => {
    if (source !== from) await second
    return move(source, target, options)
  }
  await moveNode(space, alice, from, to, run)
  t.match(await second, { fault: 'NodeBusy' })
  t.same(await tree(routed, to), before)
  t.same(await names(routed, '/home/alice'), [''])
})

void t.test('an allocation with something in its trash stays where it is', async (t) => {
  const { space, routed, main, inner } = await two()
  await folder(inner, '/fast/root', { owner: 'root' })
  const path = at('/home/alice/t/f')
  const id = (await main.walk(path)).at(-1)?.id ?? ''
  await main.trash.put(path, { id }, { id: 'x', path, type: 'data', deleted: 1 })
  const run = { note: () => undefined, noted: undefined }
  const refusal: unknown = await moveNode(space, admin, at('/home/alice'), at('/fast/root'), run).catch((error: unknown) => error) // prettier-ignore
  t.match(refusal, { fault: 'NodeBusy', detail: /t\/f waits in the trash/ })
  await main.trash.restore(at('/home/alice'), 'x', path)
  t.same(await names(routed, '/fast'), ['', '/alice', '/root'])
})

void t.test('what does not read as it was written is not kept, and its source stays', async (t) => {
  const { space, routed } = await two(damaging)
  const run = { note: () => undefined, noted: undefined }
  const before = await tree(routed, at('/home/alice/t'))
  const moving = moveNode(space, alice, at('/home/alice/t'), at('/fast/alice'), run)
  const refusal: unknown = await moving.catch((error: unknown) => error)
  t.match(refusal, { fault: 'TransferFailed', detail: /does not read as it was written/ })
  t.same(await tree(routed, at('/home/alice/t')), before)
  t.same(await names(routed, '/fast/alice'), [''])
})

/** A store that loses the first byte of everything. */
function damaging(inner: MemoryBackend): Backend {
  const put: Backend['put'] = async (path, body, options) => {
    const entry = await inner.put(path, body, options)
    await inner.amend({ path, id: entry.id }, zero(), { length: entry.size, ...(options.mtime !== undefined && { mtime: options.mtime }) }) // prettier-ignore
    return entry
  }
  return new Proxy<Backend>(inner, {
    get: (target, key) => {
      if (key === 'put') return put
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

async function* zero() {
  yield { offset: 0, bytes: Buffer.from([0]) }
}

void t.test('what is written while it moves comes along; who writes at the last moment is told to wait', async (t) => {
  const { space, routed } = await two()
  const hold = routed.profiles.hold.bind(routed.profiles)
  let refused: unknown
  routed.profiles.hold = async (path) => {
    await routed.put(at('/home/alice/t/late'), bytes('late'), { draft: { access: (await routed.walk(path)).at(-1)?.access ?? never(), mode: 0o640 } }) // prettier-ignore
    const held = await hold(path)
    refused = await routed.remove(at('/home/alice/t/f'), 'data').catch((error: unknown) => error)
    return held
  }
  await moveNode(space, alice, at('/home/alice/t'), at('/fast/alice'), { note: () => undefined, noted: undefined })
  t.ok((await names(routed, '/fast/alice/t')).includes('/late'))
  t.match(refused, { fault: 'NodeBusy' })
  await routed.make(at('/home/alice/t'), { type: 'container', access: (await routed.walk(at('/home/alice'))).at(-1)?.access ?? never(), mode: 0o750 }) // prettier-ignore
})

async function* bytes(text: string) {
  yield Buffer.from(text)
}
const never = (): never => {
  throw new Error('not there')
}

void t.test('an aborted move takes away what it has made', async (t) => {
  const { space, routed } = await two()
  const signal = new AbortController()
  let noted: MoveCheckpoint | undefined
  const run = { note: (one: MoveCheckpoint) => void (noted = one), noted: undefined, signal: signal.signal, progress: () => signal.abort() } // prettier-ignore
  await t.rejects(moveNode(space, alice, at('/home/alice/t'), at('/fast/alice'), run))
  t.not((await names(routed, '/fast/alice')).length, 1, 'it goes on after a restart')
  if (noted !== undefined) await undoAcross(space, noted)
  t.same(await names(routed, '/fast/alice'), [''])
  t.equal((await names(routed, '/home/alice')).length, 6)
})

void t.test('a tree is copied to another storage as within one', async (t) => {
  const { space, routed } = await two()
  await copy(t, space, '/home/alice/t', '/fast/alice')
  await copy(t, space, '/home/alice/t', '/home/alice/u')
  const [across, within] = [await tree(routed, at('/fast/alice/t')), await tree(routed, at('/home/alice/u'))]
  const timeless = (found: Record<string, unknown>) =>
    Object.entries(found).map(([path, one]) => [path, { ...(one as object), mtime: 0 }])
  t.same(timeless(across), timeless(within))
  t.equal((await names(routed, '/home/alice/t')).length, 5)
})

async function copy(t: Test, space: Space, from: string, to: string): Promise<void> {
  await copyNode(space, alice, at(from), at(to), {
    name: `n${from.length}${to.length}`,
    signal: new AbortController().signal,
    noted: undefined,
    note: () => undefined,
    progress: (done, total) => void t.ok(done <= total),
  })
}

void t.test('a container over its own seam, and one that holds one, stays', async (t) => {
  const { space } = await two()
  const run = { note: () => undefined, noted: undefined }
  await t.rejects(moveNode(space, { ...alice, admin: true }, at('/fast'), at('/home/alice'), run), Fault)
})
