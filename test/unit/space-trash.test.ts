import t from 'tap'
import { type Backend, type Trash } from '../../src/backend/backend.ts'
import { deleteNode } from '../../src/space/nodes.ts'
import { deleteRecursively } from '../../src/space/recursive-delete.ts'
import { type Running } from '../../src/space/recursion.ts'
import { type Space } from '../../src/space/space.ts'
import { emptyTrash, listTrash, restoreTrash, sweepTrash } from '../../src/space/trash.ts'
import { Fault } from '../../src/vospace/fault.ts'
import {
  admin,
  alice,
  all,
  at,
  bob,
  carol,
  file,
  folder,
  link,
  nobody,
  outcome,
  STAFF,
  tree,
  world,
  type World,
} from './space-world.ts'

const uri = (path: string): string => `vos://karst.local~karst${path}`
const idle: Running = { save: () => undefined }
const kept = (): Promise<World> => world({ trashDays: 7 })

/** Six nodes. */
async function planted({ backend }: World, top = '/home/alice/d'): Promise<void> {
  await folder(backend, top)
  await folder(backend, `${top}/a`)
  await file(backend, `${top}/a/f`)
  await file(backend, `${top}/a/g`)
  await file(backend, `${top}/f`)
  await link(backend, `${top}/l`, '/home/alice')
}

const seen = async ({ space }: World, who = alice, path = '/home/alice') =>
  (await all(listTrash(space, who, at(path)))).map((note) => `${note.path} ${note.nodes} ${note.by}`).sort()

const only = async ({ space }: World, path = '/home/alice'): Promise<string> => {
  const [note] = await all(listTrash(space, alice, at(path)))
  if (note === undefined) throw new Error('nothing in the trash')
  return note.id
}

t.test('what is deleted waits in the trash, and comes back as it was', async (t) => {
  const w = await kept()
  await planted(w)
  const before = await tree(w.backend, '/home/alice')
  await deleteNode(w.space, alice, at('/home/alice/d'))
  t.same(await tree(w.backend, '/home/alice'), [])
  t.same(await seen(w), ['/home/alice/d 6 alice'])
  t.match(w.changes.at(-1), { kind: 'removed', path: '/home/alice/d' })
  await restoreTrash(w.space, alice, at('/home/alice'), await only(w))
  t.same(await tree(w.backend, '/home/alice'), before)
  t.match(w.changes.at(-1), { kind: 'made', path: '/home/alice/d' })
  t.same(await seen(w), [])
  await deleteNode(w.space, alice, at('/home/alice/d/f'))
  await deleteNode(w.space, alice, at('/home/alice/d/l'))
  t.same(await seen(w), ['/home/alice/d/f 1 alice', '/home/alice/d/l 1 alice'])
})

t.test('nothing waits where the trash is off, and nothing is refused there that was kept before', async (t) => {
  const w = await kept()
  await planted(w)
  await deleteNode(w.space, alice, at('/home/alice/d/a'))
  const off: Space = { ...w.space, rules: { ...w.space.rules, trashDays: 0 } }
  await deleteNode(off, alice, at('/home/alice/d/f'))
  t.same(await seen(w), ['/home/alice/d/a 3 alice'])
  t.equal(await sweepTrash(off, Date.now() + 1e12), 0)
  await restoreTrash(off, alice, at('/home/alice'), await only(w))
})

t.test('a refusal inside keeps the whole tree out of the trash', async (t) => {
  const w = await kept()
  await planted(w)
  await w.backend.set({ path: at('/home/alice/d/a/g') }, { access: { locked: true } })
  const before = await tree(w.backend)
  t.equal(await outcome(deleteNode(w.space, alice, at('/home/alice/d'))), 'PermissionDenied EPERM')
  t.same(await tree(w.backend), before)
  t.same(await seen(w), [])
})

t.test('deleteRecursively counts the tree and moves it once', async (t) => {
  const w = await kept()
  await planted(w)
  t.same(await deleteRecursively(w.space, alice, uri('/home/alice/d'), idle), { successes: 6, errors: 0 })
  t.same(await seen(w), ['/home/alice/d 6 alice'])
})

t.test('deleteRecursively moves what may go in the largest pieces when something stays', async (t) => {
  const w = await kept()
  await planted(w)
  await folder(w.backend, '/home/alice/d/z')
  await folder(w.backend, '/home/alice/d/z/y')
  await file(w.backend, '/home/alice/d/z/y/f')
  await w.backend.set({ path: at('/home/alice/d/a/g') }, { access: { locked: true } })
  const counts = await deleteRecursively(w.space, alice, uri('/home/alice/d'), idle)
  t.same(counts, { successes: 6, errors: 1, fault: 'PermissionDenied' })
  t.same(await tree(w.backend, '/home/alice'), ['/home/alice/d', '/home/alice/d/a', '/home/alice/d/a/g'])
  t.same(await seen(w), [
    '/home/alice/d/a/f 1 alice',
    '/home/alice/d/f 1 alice',
    '/home/alice/d/l 1 alice',
    '/home/alice/d/z 3 alice',
  ])
})

t.test('deleteRecursively with a trash counts the same as without, over kills too', async (t) => {
  const prepare = async (days: number): Promise<World> => {
    const w = await world({ trashDays: days })
    await planted(w)
    for (const c of ['p', 'q', 'r']) {
      await folder(w.backend, `/home/alice/d/${c}`)
      for (let i = 0; i < 5; i++) await file(w.backend, `/home/alice/d/${c}/${i}`, { locked: i === 3 && c !== 'q' })
    }
    await folder(w.backend, '/home/alice/d/locked', { locked: true })
    return w
  }
  const expected = await deleteRecursively((await prepare(0)).space, alice, uri('/home/alice/d'), idle)
  t.match(expected, { errors: 3 })
  t.same(await deleteRecursively((await prepare(7)).space, alice, uri('/home/alice/d'), idle), expected)
  for (let n = 1; n <= 8; n++) {
    for (const when of ['before', 'after'] as const) {
      const w = await prepare(7)
      let checkpoint: unknown
      const save = (state: object): void => void (checkpoint = JSON.parse(JSON.stringify(state)))
      await t.rejects(deleteRecursively(dying(w.space, n, when), alice, uri('/home/alice/d'), { save }), {
        message: 'killed',
      })
      const counts = await deleteRecursively(w.space, alice, uri('/home/alice/d'), { checkpoint, save })
      t.same(counts, expected, `killed ${when} move ${n}`)
    }
  }
})

/** A space whose trash dies at its n-th put. */
function dying(space: Space, n: number, when: 'before' | 'after'): Space {
  let puts = 0
  return withPut(space, async (put, ...given) => {
    const isLast = ++puts === n
    if (isLast && when === 'before') throw new Error('killed')
    await put(...given)
    if (isLast) throw new Error('killed')
  })
}

function withPut(space: Space, put: (put: Trash['put'], ...given: Parameters<Trash['put']>) => Promise<void>): Space {
  const bound = <T extends object>(of: T, key: keyof T, replaced: unknown): T =>
    new Proxy(of, {
      get(from, name) {
        if (name === key) return replaced
        const value: unknown = Reflect.get(from, name, from)
        return typeof value === 'function' ? (value.bind(from) as unknown) : value
      },
    })
  const { trash } = space.backend
  if (trash === undefined) throw new Error('no trash')
  const put2 = async (...given: Parameters<Trash['put']>) => put(trash.put.bind(trash), ...given)
  return { ...space, backend: bound<Backend>(space.backend, 'trash', bound<Trash>(trash, 'put', put2)) }
}

t.test('where there is no room for the trash, what is deleted is gone, and counted', async (t) => {
  for (const first of [1, 2]) {
    const w = await kept()
    await planted(w)
    await w.backend.set({ path: at('/home/alice/d/a/g') }, { access: { locked: true } })
    let puts = 0
    const full = withPut(w.space, async (put, ...given) => {
      if (++puts >= first) throw new Fault('QuotaExceeded', 'full')
      await put(...given)
    })
    const counts = await deleteRecursively(full, alice, uri('/home/alice/d'), idle)
    t.same(counts, { successes: 3, errors: 1, fault: 'PermissionDenied' })
    t.equal((await seen(w)).length, first - 1)
    await file(w.backend, '/home/alice/x')
    await deleteNode(full, alice, at('/home/alice/x'))
    t.same(await tree(w.backend, '/home/alice'), ['/home/alice/d', '/home/alice/d/a', '/home/alice/d/a/g'])
  }
})

t.test('the owner of the allocation sees all of its trash, who deleted theirs, others nothing', async (t) => {
  const w = await kept()
  await folder(w.backend, '/home/alice/shared', { groupWrite: [STAFF], isPublic: true })
  await file(w.backend, '/home/alice/shared/his')
  await file(w.backend, '/home/alice/shared/hers')
  await deleteNode(w.space, bob, at('/home/alice/shared/his'))
  await deleteNode(w.space, alice, at('/home/alice/shared/hers'))
  t.equal((await seen(w)).length, 2)
  t.same(await seen(w, bob), ['/home/alice/shared/his 1 bob'])
  t.same(await seen(w, carol), [])
  t.same(await seen(w, admin), [], 'not an administrator’s')
  t.equal(await outcome(all(listTrash(w.space, nobody, at('/home/alice')))), 'PermissionDenied EACCES')
  const ids: Record<string, string> = {}
  for (const { by = '', id } of await all(listTrash(w.space, alice, at('/home/alice/shared')))) ids[by] = id
  const ask = async (who: typeof alice, id = '') => outcome(restoreTrash(w.space, who, at('/home/alice'), id))
  t.equal(await ask(bob, ids['alice']), 'NodeNotFound ENOENT')
  t.equal(await ask(carol, ids['bob']), 'NodeNotFound ENOENT')
  t.equal(await outcome(emptyTrash(w.space, bob, at('/home/alice'), ids['alice'])), 'NodeNotFound ENOENT')
  t.equal(await ask(bob, ids['bob']), 'ok')
  await w.backend.set({ path: at('/home/alice/shared') }, { access: { groupWrite: [] } })
  t.equal(await emptyTrash(w.space, bob, at('/home/alice')), 0)
  t.equal(await ask(alice, ids['alice']), 'ok')
})

t.test('restoring goes where they may create, into a free place of the same allocation', async (t) => {
  const w = await kept()
  await planted(w)
  await folder(w.backend, '/home/bob', { owner: 'bob', isPublic: true, groupWrite: [STAFF] })
  await folder(w.backend, '/home/alice/locked', { locked: true })
  await deleteNode(w.space, alice, at('/home/alice/d/a'))
  const id = await only(w)
  const ask = async (to?: string) =>
    outcome(restoreTrash(w.space, alice, at('/home/alice'), id, to === undefined ? undefined : at(to)))
  t.equal(await ask('/home/alice/d'), 'DuplicateNode EEXIST')
  t.equal(await ask('/home/alice/none/a'), 'ContainerNotFound ENOENT')
  t.equal(await ask('/home/alice/locked/a'), 'PermissionDenied EPERM')
  t.equal(await ask('/home/bob/a'), 'PermissionDenied EACCES')
  t.equal(await ask('/home/alice/d/b'), 'ok')
  await deleteNode(w.space, alice, at('/home/alice/d/b/f'))
  await deleteNode(w.space, alice, at('/home/alice/d'))
  const [note] = (await all(listTrash(w.space, alice, at('/home/alice')))).filter(({ nodes }) => nodes === 1)
  t.equal(await outcome(restoreTrash(w.space, alice, at('/home/alice'), note?.id ?? '')), 'ContainerNotFound ENOENT')
})

t.test('the trash is emptied at once by its owner, and by time for all', async (t) => {
  const w = await kept()
  await planted(w)
  await deleteNode(w.space, alice, at('/home/alice/d/f'))
  await deleteNode(w.space, alice, at('/home/alice/d'))
  t.equal(await sweepTrash(w.space, Date.now() + 6.9 * 86_400_000), 0)
  const [first] = await all(listTrash(w.space, alice, at('/home/alice')))
  t.ok(Math.abs((first?.expires ?? 0) - (first?.deleted ?? 0) - 7 * 86_400_000) < 1)
  t.equal(await emptyTrash(w.space, alice, at('/home/alice'), first?.id), 1)
  t.equal(await sweepTrash(w.space, Date.now() + 7.1 * 86_400_000), 1)
  t.same(await seen(w), [])
})

t.test('an allocation that goes for good takes its trash along', async (t) => {
  const w = await kept()
  await planted(w)
  await w.backend.set({ path: at('/home') }, { access: { owner: 'alice' } })
  await deleteNode(w.space, alice, at('/home/alice/d'))
  const off: Space = { ...w.space, rules: { ...w.space.rules, trashDays: 0 } }
  await deleteNode(off, alice, at('/home/alice'))
  t.same(await tree(w.backend), ['/home', '/projects'])
})

t.test('an allocation in the trash is an administrator’s to give back, with what it kept', async (t) => {
  const w = await kept()
  await planted(w)
  await w.backend.set({ path: at('/home') }, { access: { owner: 'alice' } })
  await deleteNode(w.space, alice, at('/home/alice/d'))
  await deleteNode(w.space, alice, at('/home/alice'))
  t.same(await seen(w, admin, '/home'), ['/home/alice 1 alice'])
  const [note] = await all(listTrash(w.space, admin, at('/')))
  await restoreTrash(w.space, admin, at('/home'), note?.id ?? '')
  t.same(await seen(w), ['/home/alice/d 6 alice'])
})
