/** Moves and copies cut short at every step, and others who put things where a copy reads and writes. */
import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { type CopyCheckpoint, copyNode, removeStaged } from '../../src/space/copy.ts'
import { type MoveCheckpoint, moveNode } from '../../src/space/move.ts'
import { type Space } from '../../src/space/space.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { alice, at, bob, file, folder, link, STAFF, type World, world } from './space-world.ts'

class Crash extends Error {}

const MUTATIONS = ['make', 'put', 'copy', 'set', 'move', 'remove'] as const

/** The space, dying at its nth change: before it happens or after. Negative: never. */
function mortal({ space, backend }: World, nth: number, isAfter: boolean): Space {
  let left = nth
  const dying = new Proxy(backend, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      if (!MUTATIONS.some((name) => name === key)) return value.bind(target) as unknown
      return async (...args: unknown[]) => {
        if (left < 0) throw new Crash('dead already')
        if (left === 0 && !isAfter) left = -1
        if (left < 0) throw new Crash()
        const result: unknown = await (value as (...args: unknown[]) => Promise<unknown>).apply(target, args)
        if (left === 0) left = -1
        else left--
        if (left < 0) throw new Crash()
        return result
      }
    },
  })
  return { ...space, backend: dying }
}

/** A run of a copy whose checkpoint stays where the test sees it. */
class Runs {
  noted: CopyCheckpoint | undefined
  readonly name = 'abc123'
  readonly signal = new AbortController().signal
  readonly note = (checkpoint: CopyCheckpoint): void => {
    this.noted = JSON.parse(JSON.stringify(checkpoint)) as CopyCheckpoint
  }
  last: [number, number] = [0, 0]
  readonly progress = (...now: [number, number]): void => {
    this.last = now
  }

  copy(space: Space, from: string, to: string, caller: Caller = alice): Promise<unknown> {
    return copyNode(space, caller, at(from), at(to), { ...this, noted: this.noted })
  }
}

async function tree({ backend }: { backend: Backend }, path: string): Promise<string[]> {
  const lines: string[] = []
  for await (const entry of backend.list(at(path))) {
    const { body } = entry.type === 'data' ? await backend.read({ path: entry.path }) : { body: [] }
    const parts: Buffer[] = []
    for await (const part of body) parts.push(part as Buffer)
    lines.push(`${entry.path} ${entry.type} ${Buffer.concat(parts).toString()}${entry.text?.toString() ?? ''}`)
    if (entry.type === 'container') lines.push(...(await tree({ backend }, entry.path)))
  }
  return lines
}

async function furnished(): Promise<World> {
  const all = await world()
  const { backend } = all
  await folder(backend, '/home/alice/d')
  await folder(backend, '/home/alice/d/sub')
  for (const name of ['d/a', 'd/sub/b', 'd/sub/c', 'd/z']) await file(backend, `/home/alice/${name}`, {}, name)
  await link(backend, '/home/alice/d/ln', 'sub/b')
  await folder(backend, '/home/alice/into')
  return all
}

const crashed = async (work: Promise<unknown>): Promise<boolean> => {
  try {
    await work
    return false
  } catch (error) {
    if (error instanceof Crash) return true
    throw error
  }
}

for (const isAfter of [false, true]) {
  t.test(
    `a copy that died ${isAfter ? 'after' : 'before'} any change goes on to the same end, or is taken back`,
    async (t) => {
      const whole = await furnished()
      await new Runs().copy(whole.space, '/home/alice/d', '/home/alice/into')
      const want = await tree(whole, '/home/alice')
      const before = await tree(await furnished(), '/home/alice')
      let steps = 0
      for (let nth = 0; ; nth++) {
        const all = await furnished()
        const run = new Runs()
        if (!(await crashed(run.copy(mortal(all, nth, isAfter), '/home/alice/d', '/home/alice/into')))) break
        steps++
        const undo = await furnished()
        const second = new Runs()
        await crashed(second.copy(mortal(undo, nth, isAfter), '/home/alice/d', '/home/alice/into'))
        if (second.noted !== undefined) await removeStaged(undo.space, 'alice', second.noted, second.signal)
        const isPublished = second.noted?.id !== undefined && isAfter
        t.same(await tree(undo, '/home/alice'), isPublished ? want : before, `taken back at ${nth}`)
        // and dies once more on its way
        await crashed(run.copy(mortal(all, 2, isAfter), '/home/alice/d', '/home/alice/into'))
        await run.copy(all.space, '/home/alice/d', '/home/alice/into')
        t.same(await tree(all, '/home/alice'), want, `died at ${nth}`)
      }
      t.ok(steps >= 7, `${steps} steps`)
    },
  )

  t.test(`a move that died ${isAfter ? 'after' : 'before'} any change happens once`, async (t) => {
    for (const from of ['/home/alice/d', '/home/alice/d/ln', '/home/alice/d/a']) {
      const run: { noted: MoveCheckpoint | undefined } = { noted: undefined }
      const note = (checkpoint: MoveCheckpoint): void => void (run.noted = checkpoint)
      const whole = await furnished()
      await moveNode(whole.space, alice, at(from), at('/home/alice/into'), { note, noted: undefined })
      const want = await tree(whole, '/home/alice')
      for (let nth = 0; ; nth++) {
        run.noted = undefined
        const all = await furnished()
        const moving = moveNode(mortal(all, nth, isAfter), alice, at(from), at('/home/alice/into'), {
          note,
          noted: undefined,
        })
        const died = await crashed(moving)
        t.match(
          await moveNode(all.space, alice, at(from), at('/home/alice/into'), { note, noted: run.noted }),
          /^\/home\/alice\/into\/(d|ln|a)$/,
        )
        t.same(await tree(all, '/home/alice'), want, `${from} ${nth}`)
        if (!died) break
      }
    }
  })
}

t.test('a link that moves leads where it has led', async (t) => {
  const { space, backend } = await furnished()
  const options = { note: () => undefined, noted: undefined }
  await moveNode(space, alice, at('/home/alice/d/ln'), at('/home/alice/into'), options)
  const [entry] = (await backend.walk(at('/home/alice/into/ln'))).slice(-1)
  t.equal(entry?.text?.toString(), '../d/sub/b')
})

/** The space with something happening right before a method of the storage does its work. */
function meanwhile(all: World, method: 'copy' | 'make' | 'list', path: string, act: () => Promise<unknown>): Space {
  const original = all.backend
  // a copy lists first to count
  let left = method === 'list' ? 2 : 1
  const backend = new Proxy(original, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      if (key !== method) return value.bind(target) as unknown
      if (method === 'list') {
        return async function* (container: NodePath, options: object) {
          if (container === path && --left === 0) await act()
          yield* target.list(container, options)
        }
      }
      return async (...args: unknown[]) => {
        if (args.includes(path) && --left === 0) await act()
        return (value as (...args: unknown[]) => Promise<unknown>).apply(target, args)
      }
    },
  })
  return { ...all.space, backend }
}

const outcomeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'ok'
  } catch (error) {
    if (!isFault(error)) throw error
    return error.fault
  }
}

t.test('what is put in place of a node while it is copied is not copied for who may not read it', async (t) => {
  for (const method of ['copy', 'list'] as const) {
    const all = await furnished()
    const { backend } = all
    await folder(backend, '/home/alice/shared', { groupWrite: [STAFF] })
    await folder(backend, '/home/alice/shared/bobs', { owner: 'bob' })
    await file(backend, '/home/alice/shared/bobs/f', { owner: 'bob', isPublic: true }, 'harmless')
    await folder(backend, '/home/alice/shared/private')
    await file(backend, '/home/alice/shared/private/f', { isPublic: true }, 'secret')
    await folder(backend, '/home/bob', { owner: 'bob' })
    const swap = async (): Promise<void> => {
      await backend.move(at('/home/alice/shared/bobs'), at('/home/alice/shared/x'))
      await backend.move(at('/home/alice/shared/private'), at('/home/alice/shared/bobs'))
    }
    const watched = `/home/alice/shared/bobs${method === 'copy' ? '/f' : ''}`
    const run = new Runs()
    const space = meanwhile(all, method, watched, swap)
    await outcomeOf(run.copy(space, '/home/alice/shared/bobs', '/home/bob/copy', bob))
    t.notMatch((await tree(all, '/home/bob')).join('\n'), 'secret', method)
  }
})

t.test('what is put in place of a copy on its way is neither written to nor removed', async (t) => {
  const all = await furnished()
  const { backend } = all
  await folder(backend, '/home/alice/shared', { groupWrite: [STAFF], isPublic: true })
  await folder(backend, '/home/alice/shared/precious', { isPublic: true })
  await file(backend, '/home/alice/shared/precious/f', {}, 'alice')
  await folder(backend, '/home/bob', { owner: 'bob', isPublic: true })
  await folder(backend, '/home/bob/d', { owner: 'bob' })
  for (const name of ['1', '2', '3']) await file(backend, `/home/bob/d/${name}`, { owner: 'bob' })
  const staged = at('/home/alice/shared/.karst-copy-abc123')
  const swap = async (): Promise<void> => {
    await backend.move(staged, at('/home/alice/shared/elsewhere'))
    await backend.move(at('/home/alice/shared/precious'), staged)
  }
  const run = new Runs()
  const space = meanwhile(all, 'list', '/home/bob/d', swap)
  t.equal(await outcomeOf(run.copy(space, '/home/bob/d', '/home/alice/shared/copy', bob)), 'ContainerNotFound')
  t.same(await tree(all, staged), [`${staged}/f data alice`])
  if (run.noted !== undefined) await outcomeOf(removeStaged(all.space, 'bob', run.noted, run.signal))
  t.same(await tree(all, staged), [`${staged}/f data alice`])
})

t.test('what is removed while it is copied is not there to be copied', async (t) => {
  const all = await furnished()
  const gone = meanwhile(all, 'copy', '/home/alice/d/a', () => all.backend.remove(at('/home/alice/d/a'), 'data'))
  const run = new Runs()
  await run.copy(gone, '/home/alice/d', '/home/alice/copy')
  t.notMatch((await tree(all, '/home/alice/copy')).join('\n'), '/copy/a ')
  t.equal((await tree(all, '/home/alice/copy')).length, 5)
  const root = meanwhile(all, 'copy', '/home/alice/d/z', () => all.backend.remove(at('/home/alice/d/z'), 'data'))
  t.equal(await outcomeOf(new Runs().copy(root, '/home/alice/d/z', '/home/alice/y')), 'NodeNotFound')
})

t.test('bytes that change while they are copied are one version, those of a node made anew too', async (t) => {
  const all = await furnished()
  const path = '/home/alice/d/a'
  const anew = meanwhile(all, 'copy', path, async () => {
    await all.backend.remove(at(path), 'data')
    await file(all.backend, path, {}, 'new')
  })
  await new Runs().copy(anew, '/home/alice/d', '/home/alice/copy')
  t.match((await tree(all, '/home/alice/copy')).join('\n'), '/copy/a data new')
})
