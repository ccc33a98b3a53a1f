/** The contract of the trash, for backends that have one. */
import { type Test } from 'tap'
import { type Backend, type Trash, type TrashNote } from '../../src/backend/backend.ts'
import { child, ROOT, type NodePath } from '../../src/vospace/path.ts'
import { body, bytesOf, container, entryAt, file, link, namesIn, p, refused, type Harness } from './cases.ts'

type TrashCase = (t: Test, b: Backend, trash: Trash, h: Harness) => Promise<void>

const note = (path: string, more: Partial<TrashNote> = {}): TrashNote => ({
  id: 'one',
  path: p(path),
  type: 'container',
  deleted: 1000,
  by: 'alice',
  ...more,
})

async function put(b: Backend, trash: Trash, path: string, more: Partial<TrashNote> = {}): Promise<void> {
  const seen = await entryAt(b, p(path))
  if (seen === undefined) throw new Error(`${path} is not there`)
  // CephFS settles the times of a directory some moments after the last change in it, so its version is not asked for
  const wanted = seen.type === 'container' ? { id: seen.id } : seen
  await trash.put(p(path), wanted, note(path, { type: seen.type, ...more }))
}

async function all(trash: Trash, keeper: NodePath = ROOT): Promise<TrashNote[]> {
  const found: TrashNote[] = []
  for await (const item of trash.list(keeper)) found.push(item)
  return found.sort((a, b) => (a.id < b.id ? -1 : 1))
}

async function plant(b: Backend): Promise<void> {
  await b.make(p('/c'), { ...container, properties: new Map([['k', 'v']]) })
  await b.make(p('/c/d'), container)
  await b.put(p('/c/d/f'), body('bytes'), { draft: { ...file, properties: new Map([['long', 'x'.repeat(9000)]]) } })
  await b.make(p('/c/l'), link('d'))
}

export const TRASH: Record<string, TrashCase> = {
  'takes a tree out of its place, and gives it back as it was': async (t, b, trash) => {
    await plant(b)
    const before = await Promise.all(['/c', '/c/d', '/c/d/f', '/c/l'].map((path) => entryAt(b, p(path))))
    await put(b, trash, '/c', { nodes: 4 })
    t.same(await namesIn(b, ROOT), [])
    t.equal(await entryAt(b, p('/c/d/f')), undefined)
    await refused(t, b.read({ path: p('/c/d/f'), id: before[2]?.id ?? '' }), 'NodeNotFound')
    t.same(await all(trash), [note('/c', { nodes: 4 })])
    t.match(await trash.restore(ROOT, 'one', p('/c')), { path: '/c', id: before[0]?.id ?? '', type: 'container' })
    for (const seen of before) {
      const now = await entryAt(b, seen?.path ?? ROOT)
      // what a store says of the size of a whole tree may be late
      const still = { ctime: 0, version: 0, ...(seen?.type === 'container' && { size: 0 }) }
      t.same({ ...now, ...still }, { ...seen, ...still }, seen?.path ?? '')
    }
    t.equal(String(await bytesOf(b, p('/c/d/f'))), 'bytes')
    t.same(await all(trash), [])
    await refused(t, trash.restore(ROOT, 'one', p('/x')), 'NodeNotFound')
  },
  'takes data nodes and links, to come back under another name': async (t, b, trash) => {
    await plant(b)
    await put(b, trash, '/c/d/f', { id: 'f' })
    await put(b, trash, '/c/l', { id: 'l' })
    t.same(await namesIn(b, p('/c')), ['d'])
    t.match(await all(trash), [
      { id: 'f', path: '/c/d/f', type: 'data' },
      { id: 'l', path: '/c/l', type: 'link' },
    ])
    await trash.restore(ROOT, 'f', p('/g'))
    await trash.restore(ROOT, 'l', p('/c/d/l'))
    t.equal(String(await bytesOf(b, p('/g'))), 'bytes')
    t.match(await entryAt(b, p('/c/d/l')), { type: 'link' })
  },
  'gives back into a free place only, and keeps what it could not': async (t, b, trash) => {
    await plant(b)
    await put(b, trash, '/c/d')
    await b.make(p('/c/d'), container)
    await refused(t, trash.restore(ROOT, 'one', p('/c/d')), 'DuplicateNode')
    await refused(t, trash.restore(ROOT, 'one', p('/none/d')), 'ContainerNotFound', 'ENOENT')
    await refused(t, trash.restore(ROOT, 'one', p('/c/l/d')), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, trash.restore(ROOT, 'one', p('/.karst/d')), 'PermissionDenied')
    await refused(t, trash.restore(ROOT, 'one', ROOT), 'DuplicateNode')
    t.equal((await all(trash)).length, 1)
    await b.remove(p('/c/d'), 'container')
    await trash.restore(ROOT, 'one', p('/c/d'))
    t.same(await namesIn(b, p('/c/d')), ['f'])
  },
  'takes the node that was seen, under an id that is free': async (t, b, trash) => {
    await plant(b)
    const seen = await entryAt(b, p('/c/d/f'))
    if (seen === undefined) return
    await b.set({ path: p('/c/d/f') }, { access: { locked: true } })
    await refused(t, trash.put(p('/c/d/f'), seen, note('/c/d/f')), 'PreconditionFailed')
    await refused(t, trash.put(p('/c/d/f'), { id: 'other' }, note('/c/d/f')), 'NodeNotFound', 'ESTALE')
    await refused(t, trash.put(p('/none'), { id: 'other' }, note('/none')), 'NodeNotFound', 'ENOENT')
    const root = await entryAt(b, ROOT)
    await refused(t, trash.put(ROOT, { id: root?.id ?? '' }, note('/')), 'PermissionDenied', 'EBUSY')
    for (const id of ['', '..', 'a/b', '~gone', 'x'.repeat(65)]) {
      await refused(t, trash.put(p('/c'), { id: 'any' }, note('/c', { id })), 'NodeNotFound')
      await refused(t, trash.restore(ROOT, id, p('/x')), 'NodeNotFound')
      await refused(t, trash.purge(ROOT, id), 'NodeNotFound')
    }
    await put(b, trash, '/c/d/f')
    await put(b, trash, '/c/l', { id: 'two' })
    const again = await entryAt(b, p('/c/d'))
    await refused(t, trash.put(p('/c/d'), { id: again?.id ?? '' }, note('/c/d')), 'DuplicateNode')
    t.same(await namesIn(b, p('/c')), ['d'])
    t.match(await all(trash), [
      { id: 'one', path: '/c/d/f' },
      { id: 'two', path: '/c/l' },
    ])
  },
  'removes for good by id, and by time': async (t, b, trash) => {
    await plant(b)
    await put(b, trash, '/c/d', { id: 'old', deleted: 1000 })
    await put(b, trash, '/c/l', { id: 'new', deleted: 2000 })
    await put(b, trash, '/c', { id: 'newer', deleted: 3000 })
    t.equal(await trash.sweep(ROOT, 2000), 1)
    t.match(await all(trash), [{ id: 'new' }, { id: 'newer' }])
    await trash.purge(ROOT, 'newer')
    await refused(t, trash.purge(ROOT, 'newer'), 'NodeNotFound')
    t.match(await all(trash), [{ id: 'new' }])
    t.equal(await trash.sweep(ROOT, Infinity), 1)
    t.equal(await trash.sweep(ROOT, Infinity), 0)
    t.same(await all(trash), [])
  },
  'says where something waits': async (t, b, trash) => {
    await plant(b)
    await put(b, trash, '/c')
    const keepers: string[] = []
    for await (const keeper of trash.keepers()) keepers.push(keeper)
    t.ok(keepers.includes(ROOT))
  },
  'takes hundreds of nodes at once': async (t, b, trash) => {
    await b.make(p('/c'), container)
    for (let i = 0; i < 300; i++) await b.make(child(p('/c'), `d${i}`), container)
    await put(b, trash, '/c')
    t.same(await namesIn(b, ROOT), [])
    await trash.restore(ROOT, 'one', p('/c'))
    t.equal((await namesIn(b, p('/c'))).length, 300)
    await put(b, trash, '/c')
    await trash.purge(ROOT, 'one')
    t.same(await all(trash), [])
  },
}

/** What a store does whose /home holds allocations. */
export const ALLOCATIONS: Record<string, TrashCase> = {
  'keeps what was deleted with its allocation, and moves with it': async (t, b, trash) => {
    for (const path of ['/home', '/home/alice', '/home/bob', '/other']) await b.make(p(path), container)
    await b.put(p('/home/alice/f'), body('x'), { draft: file })
    await put(b, trash, '/home/alice/f')
    t.match(await all(trash, p('/home/alice')), [{ id: 'one', path: '/home/alice/f' }])
    t.same([...(await all(trash)), ...(await all(trash, p('/home/bob')))], [])
    await refused(t, trash.restore(p('/home/bob'), 'one', p('/home/bob/f')), 'NodeNotFound')
    await refused(t, trash.restore(p('/home/alice'), 'one', p('/home/bob/f')), 'OperationNotSupported', 'EXDEV')
    await refused(t, b.remove(p('/home/alice'), 'container'), 'ContainerNotEmpty')
    await put(b, trash, '/home/alice', { id: 'home' })
    t.match(await all(trash), [{ id: 'home', path: '/home/alice' }])
    await b.make(p('/home/alice'), container)
    t.same(await all(trash, p('/home/alice')), [], 'another alice')
    await trash.restore(ROOT, 'home', p('/home/carol'))
    t.match(await all(trash, p('/home/carol')), [{ id: 'one' }])
    await trash.restore(p('/home/carol'), 'one', p('/home/carol/f'))
    t.equal(String(await bytesOf(b, p('/home/carol/f'))), 'x')
    await b.remove(p('/home/carol/f'), 'data')
    await b.remove(p('/home/carol'), 'container')
  },
}
