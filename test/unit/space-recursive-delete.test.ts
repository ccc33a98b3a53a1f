import t from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { PAGE } from '../../src/backend/contract.ts'
import { type MemoryBackend } from '../../src/backend/memory.ts'
import { deleteRecursively } from '../../src/space/recursive-delete.ts'
import { endingOf, FRESH_MS, type Counts, type Running } from '../../src/space/recursion.ts'
import { type Space } from '../../src/space/space.ts'
import { alice, at, bob, byOne, file, folder, link, nobody, outcome, STAFF, tree, world } from './space-world.ts'

const uri = (path: string): string => `vos://karst.local~karst${path}`
const idle: Running = { save: () => undefined }

/** A folder of three levels, twelve nodes in all. */
async function planted(backend: MemoryBackend, top = '/home/alice/d'): Promise<void> {
  await folder(backend, top)
  await folder(backend, `${top}/a`)
  await folder(backend, `${top}/a/b`)
  await folder(backend, `${top}/empty`)
  for (const name of ['1', '2', '3']) {
    await file(backend, `${top}/f${name}`)
    await file(backend, `${top}/a/b/f${name}`)
  }
  await link(backend, `${top}/l`, '/home/alice/keep')
  await file(backend, `${top}/a/f`)
}

/** A space over a backend that dies at its n-th removal, before it or after it: nothing more happens, and nobody is told. */
function dying(space: Space, n: number, when: 'before' | 'after'): Space {
  let removals = 0
  const { backend } = space
  const dead: Backend = new Proxy(backend, {
    get(of, key) {
      const value: unknown = Reflect.get(of, key, of)
      if (key === 'removeChildren') return byOne({ list: of.list.bind(of), remove, removeChildren }).removeChildren
      if (key !== 'remove') return typeof value === 'function' ? (value.bind(of) as unknown) : value
      return remove
    },
  })
  const removeChildren = backend.removeChildren.bind(backend)
  const remove = async (...given: Parameters<Backend['remove']>): Promise<void> => {
    const isLast = ++removals === n
    if (isLast && when === 'before') throw new Killed()
    await backend.remove(...given)
    if (isLast) throw new Killed()
  }
  return { ...space, backend: dead }
}
class Killed extends Error {
  override readonly message = 'killed'
}

t.test('deleteRecursively counts each node that goes, and takes the link itself', async (t) => {
  const { space, backend, changes } = await world()
  await file(backend, '/home/alice/keep')
  await planted(backend)
  const order: string[] = []
  const remove = byOne(backend).remove.bind(backend)
  backend.remove = async (...given) => {
    order.push(given[0].slice('/home/alice/'.length))
    return remove(...given)
  }
  t.same(await deleteRecursively(space, alice, uri('/home/alice/d'), idle), { successes: 12, errors: 0 })
  t.same(await tree(backend, '/home/alice'), ['/home/alice/keep'])
  t.same(
    order,
    ['d/f1', 'd/f2', 'd/f3', 'd/l', 'd/a/f', 'd/a/b/f1', 'd/a/b/f2', 'd/a/b/f3', 'd/a/b', 'd/a', 'd/empty', 'd'],
    'what is no container first, then the containers in depth, each after what is in it',
  )
  t.equal(changes.length, 12)
  await link(backend, '/home/alice/l', 'keep')
  t.same(await deleteRecursively(space, alice, uri('/home/alice/l'), idle), { successes: 1, errors: 0 })
  t.same(await tree(backend, '/home/alice'), ['/home/alice/keep'])
})

t.test(
  'deleteRecursively leaves what is locked or not theirs, counts it, and not the containers it stands in',
  async (t) => {
    const { space, backend } = await world()
    await planted(backend)
    await backend.set({ path: at('/home/alice/d/a/b/f2') }, { access: { locked: true } })
    await backend.set({ path: at('/home/alice/d/empty') }, { access: { locked: true } })
    const counts = await deleteRecursively(space, alice, uri('/home/alice/d'), idle)
    t.same(counts, { successes: 7, errors: 2, fault: 'PermissionDenied' })
    t.same(
      await tree(backend, '/home/alice'),
      ['d', 'd/a', 'd/a/b', 'd/a/b/f2', 'd/empty'].map((name) => `/home/alice/${name}`),
    )
    await folder(backend, '/data', { owner: 'alice', isPublic: true })
    await folder(backend, '/data/d', { isPublic: true })
    await folder(backend, '/data/d/his', { owner: 'bob', isPublic: true })
    for (const name of ['f', 'g']) await file(backend, `/data/d/his/${name}`, { owner: 'bob' })
    await folder(backend, '/data/d/dark', { owner: 'bob' })
    await file(backend, '/data/d/dark/f', { owner: 'bob' })
    t.same(await deleteRecursively(space, alice, uri('/data/d'), idle), {
      successes: 0,
      errors: 3,
      fault: 'PermissionDenied',
    })
  },
)

t.test('deleteRecursively refuses where nothing can come of it, and loses nothing', async (t) => {
  const { space, backend } = await world()
  await planted(backend)
  const before = await tree(backend)
  const ask = async (who: typeof alice, target: string) => outcome(deleteRecursively(space, who, target, idle))
  t.equal(await ask(alice, 'https://example.org/x'), 'InvalidURI EINVAL')
  t.equal(await ask(alice, 'vos://other.org~x/home'), 'InvalidURI EINVAL')
  t.equal(await ask(alice, uri('/home/alice/none')), 'NodeNotFound ENOENT')
  t.equal(await ask(alice, uri('')), 'PermissionDenied EPERM')
  t.equal(await ask(bob, uri('/home/alice/d')), 'PermissionDenied EACCES')
  t.equal(await ask(nobody, uri('/home/alice/d')), 'PermissionDenied EACCES')
  await backend.set({ path: at('/home/alice/d') }, { access: { locked: true } })
  t.equal(await ask(alice, uri('/home/alice/d')), 'PermissionDenied EPERM')
  t.same(await tree(backend), before)
})

t.test('deleteRecursively gives up at more than a hundred errors', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  for (let i = 0; i < 300; i++) await file(backend, `/home/alice/d/${1000 + i}`, { locked: i >= 5 })
  const counts = await deleteRecursively(space, alice, uri('/home/alice/d'), idle)
  t.match(counts, { successes: 5, errors: 101 })
  await folder(backend, '/home/alice/e')
  for (let i = 0; i < 100; i++) await file(backend, `/home/alice/e/${1000 + i}`, { locked: true })
  await file(backend, '/home/alice/e/z')
  t.match(await deleteRecursively(space, alice, uri('/home/alice/e'), idle), { successes: 1, errors: 100 })
})

t.test('deleteRecursively sees a lock that comes after the listing, and takes what comes meanwhile', async (t) => {
  const { space, backend } = await world()
  await planted(backend)
  const remove = byOne(backend).remove.bind(backend)
  let first = true
  backend.remove = async (...given) => {
    if (first) await backend.set({ path: at('/home/alice/d/a/f') }, { access: { locked: true } })
    if (first) await file(backend, '/home/alice/d/a/b/late')
    if (first) await file(backend, '/home/alice/d/late')
    first = false
    return remove(...given)
  }
  const counts = await deleteRecursively(space, alice, uri('/home/alice/d'), idle)
  t.same(counts, { successes: 10, errors: 1, fault: 'PermissionDenied' }, 'd/late stays with d, which cannot go')
  t.same(
    await tree(backend, '/home/alice'),
    ['d', 'd/a', 'd/a/f', 'd/late'].map((name) => `/home/alice/${name}`),
  )
})

t.test('deleteRecursively does not take another node for the one it saw', async (t) => {
  const { space, backend } = await world()
  await planted(backend)
  await file(backend, '/home/alice/precious')
  const remove = byOne(backend).remove.bind(backend)
  let first = true
  backend.remove = async (...given) => {
    if (first) await backend.move(at('/home/alice/precious'), at('/home/alice/d/f2'), { replace: true })
    first = false
    return remove(...given)
  }
  // it is in the way of d, so it goes in the next round, as what comes meanwhile does: by its own permission
  await backend.set({ path: at('/home/alice/precious') }, { access: { locked: true } })
  const counts = await deleteRecursively(space, alice, uri('/home/alice/d'), idle)
  t.same(counts, { successes: 10, errors: 1, fault: 'PermissionDenied' })
  t.same(await tree(backend, '/home/alice'), ['/home/alice/d', '/home/alice/d/f2'])
})

t.test('deleteRecursively continues after a kill at any moment, and its counts are right', async (t) => {
  for (const locked of [false, true]) {
    for (let n = 1; n <= 12; n++) {
      for (const when of ['before', 'after'] as const) {
        const { space, backend } = await world()
        await planted(backend)
        if (locked) await backend.set({ path: at('/home/alice/d/a/b/f1') }, { access: { locked: true } })
        let runs = 0
        const counts = await overKills(space, uri('/home/alice/d'), () => [runs++ === 0 ? n : Infinity, when])
        const expected = locked ? { successes: 8, errors: 1 } : { successes: 12, errors: 0 }
        t.match(counts, expected, `killed ${when} removal ${n}, ${locked ? 'one locked' : 'all may go'}`)
      }
    }
  }
})

t.test('deleteRecursively counts a thousand nodes right over many kills', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  for (let c = 0; c < 10; c++) {
    await folder(backend, `/home/alice/d/c${c}`)
    for (let i = 0; i < 99; i++) await file(backend, `/home/alice/d/c${c}/${i}`, { locked: i === 7 && c === 3 })
  }
  let kills = 0
  const counts = await overKills(space, uri('/home/alice/d'), () => [
    ++kills * 13,
    kills % 2 === 0 ? 'before' : 'after',
  ])
  t.match(counts, { successes: 998, errors: 1 })
  t.ok(kills > 3)
})

/** Runs it, killed again and again; what was saved is all that the next run knows. */
async function overKills(space: Space, target: string, when: () => [number, 'before' | 'after']): Promise<Counts> {
  let checkpoint: unknown
  const save = (state: object): void => void (checkpoint = JSON.parse(JSON.stringify(state)))
  for (;;) {
    try {
      return await deleteRecursively(dying(space, ...when()), alice, target, { checkpoint, save })
    } catch (error) {
      if (!(error instanceof Killed)) throw error
    }
  }
}

t.test('deleteRecursively leaves a node that came to the place of the first one while it was down', async (t) => {
  const { space, backend } = await world()
  await planted(backend)
  let checkpoint: unknown
  const save = (state: object): void => void (checkpoint = JSON.parse(JSON.stringify(state)))
  const killed = deleteRecursively(dying(space, 12, 'after'), alice, uri('/home/alice/d'), { save })
  await t.rejects(killed, { message: 'killed' })
  await planted(backend)
  t.same(await deleteRecursively(space, alice, uri('/home/alice/d'), { checkpoint, save }), {
    successes: 12,
    errors: 0,
  })
  t.equal((await tree(backend, '/home/alice')).length, 12)
})

t.test('deleteRecursively stops when told to, and its members need no ownership where the group writes', async (t) => {
  const { space, backend } = await world()
  await planted(backend)
  const signal = AbortSignal.abort()
  t.equal(
    await outcome(deleteRecursively(space, alice, uri('/home/alice/d'), { ...idle, signal })),
    'TransferFailed EIO',
  )
  t.equal((await tree(backend, '/home/alice')).length, 12)
  for (const path of ['/home/alice', ...(await tree(backend, '/home/alice'))]) {
    await backend.set({ path: at(path) }, { access: { groupWrite: [STAFF] } })
  }
  t.same(await deleteRecursively(space, bob, uri('/home/alice/d'), idle), { successes: 12, errors: 0 })
})

t.test(
  'deleteRecursively takes a huge container by the page, and the page that a kill cut short is settled',
  async (t) => {
    const { space, backend, changes } = await world()
    await folder(backend, '/home/alice/d')
    for (let i = 0; i < 1000; i++) await file(backend, `/home/alice/d/f${1000 + i}`)
    const sizes: number[] = []
    let checkpoint: unknown
    let left = 3
    const save = (state: object): void => {
      const text = JSON.stringify(state)
      sizes.push(text.length)
      checkpoint = JSON.parse(text)
      left--
    }
    const removeChildren = backend.removeChildren.bind(backend)
    // what is written down goes, but nobody lives to count it
    backend.removeChildren = async function* (...given) {
      for await (const removals of removeChildren(...given)) {
        if (left <= 0) throw new Killed()
        yield removals
      }
    }
    const uriOfIt = uri('/home/alice/d')
    await t.rejects(deleteRecursively(space, alice, uriOfIt, { save }), { message: 'killed' })
    const standing = (await tree(backend, '/home/alice/d')).length
    t.ok(standing > 0 && standing < 1000, `${standing} left`)
    left = Infinity
    t.same(await deleteRecursively(space, alice, uriOfIt, { save, checkpoint }), { successes: 1001, errors: 0 })
    t.equal(new Set(changes.filter(({ kind }) => kind === 'removed').map(({ path }) => path)).size, 1001)
    t.ok(Math.max(...sizes) < 20_000, `checkpoints of a page: ${Math.max(...sizes)}`)
  },
)

t.test('deleteRecursively stops between two pages when told to', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  for (let i = 0; i < 1000; i++) await file(backend, `/home/alice/d/f${1000 + i}`)
  const stop = new AbortController()
  const progress = (): void => stop.abort()
  const work = deleteRecursively(space, alice, uri('/home/alice/d'), { ...idle, progress, signal: stop.signal })
  t.equal(await outcome(work), 'TransferFailed EIO')
  t.equal((await tree(backend, '/home/alice/d')).length, 1000 - PAGE)
})

t.test('deleteRecursively sees a lock on the container that comes between two pages', async (t) => {
  const { space, backend } = await world()
  await folder(backend, '/home/alice/d')
  for (let i = 0; i < 1000; i++) await file(backend, `/home/alice/d/f${1000 + i}`)
  const removeChildren = backend.removeChildren.bind(backend)
  backend.removeChildren = async function* (...given) {
    for await (const removals of removeChildren(...given)) {
      await backend.set({ path: at('/home/alice/d') }, { access: { locked: true } })
      await new Promise((done) => setTimeout(done, 2 * FRESH_MS))
      yield removals
    }
  }
  const counts = await deleteRecursively(space, alice, uri('/home/alice/d'), idle)
  t.same(counts, { successes: PAGE, errors: 101, fault: 'PermissionDenied' })
})

t.test('endingOf is what clients look for', async (t) => {
  t.same(endingOf({ successes: 3, errors: 0 }), {
    phase: 'COMPLETED',
    results: [{ id: 'successcount', href: 'final:3' }],
  })
  t.same(endingOf({ successes: 3, errors: 1, fault: 'PermissionDenied' }), {
    phase: 'ABORTED',
    results: [
      { id: 'successcount', href: 'final:3' },
      { id: 'errorcount', href: 'final:1' },
    ],
  })
  t.same(endingOf({ successes: 0, errors: 1, fault: 'PermissionDenied' }), {
    phase: 'ERROR',
    error: 'PermissionDenied',
  })
  t.same(endingOf({ successes: 0, errors: 0 }), { phase: 'ERROR', error: 'NodeNotFound' })
})
