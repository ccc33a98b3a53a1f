/** The trash where there are allocations, and what of it stands on disk. */
import { mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { body, container, entryAt, file, namesIn, refused } from './cases.ts'
import { ALLOCATIONS } from './cases-trash.ts'
import { directory, ids, isRoot, posix } from './posix-tree.ts'

const p = nodePath
const allocationParents = [p('/home')]

for (const [sentence, run] of Object.entries(ALLOCATIONS)) {
  void t.test(`the memory trash ${sentence}`, async (t) => {
    const backend = new MemoryBackend({ ids, allocationParents })
    await run(t, backend, backend.trash, { backend, ids, dispose: async () => undefined })
  })
  void t.test(`the POSIX trash ${sentence}`, async (t) => {
    const { backend } = await tree(t)
    await run(t, backend, backend.trash, { backend, ids, dispose: async () => undefined })
  })
}

async function tree(t: Test) {
  const scratch = directory()
  const backend = posix(scratch.dir, { allocationParents, mode: isRoot ? 'root' : 'unprivileged' })
  await backend.start()
  t.teardown(async () => {
    await backend.stop()
    scratch.dispose()
  })
  return { backend, dir: scratch.dir }
}

void t.test('memory: what waits in the trash counts in the quota', async (t) => {
  const b = new MemoryBackend({ allocationParents })
  await b.make(p('/home'), container)
  await b.make(p('/home/alice'), container)
  await b.setQuota(p('/home/alice'), 10)
  await b.put(p('/home/alice/f'), body('12345678'), { draft: file })
  const seen = await entryAt(b, p('/home/alice/f'))
  const note = { id: 'x', path: p('/home/alice/f'), type: 'data', deleted: 1 } as const
  await b.trash.put(p('/home/alice/f'), { id: seen?.id ?? '' }, note)
  t.match(await b.usage(p('/home/alice')), { used: 8, free: 2 })
  await refused(t, b.put(p('/home/alice/g'), body('123'), { draft: file }), 'QuotaExceeded')
  await b.trash.purge(p('/home/alice'), 'x')
  await b.put(p('/home/alice/g'), body('123'), { draft: file })
})

void t.test('POSIX: the trash is closed to others, goes when it is empty, and outlives the gateway', async (t) => {
  const { backend: b, dir } = await tree(t)
  await b.make(p('/c'), container)
  const seen = await entryAt(b, p('/c'))
  await b.trash.put(p('/c'), { id: seen?.id ?? '' }, { id: 'x', path: p('/c'), type: 'container', deleted: 1 })
  t.equal(statSync(join(dir, '.karst')).mode & 0o777, 0o700)
  await b.stop()
  await b.start()
  t.same(readdirSync(join(dir, '.karst/trash')), ['x'])
  await b.trash.restore(ROOT, 'x', p('/c'))
  await b.stop()
  t.notOk(existsSync(join(dir, '.karst')), 'nothing of ours is left in the tree')
})

void t.test('POSIX: what a crash left in the trash is swept, and nothing else', async (t) => {
  const { backend: b, dir } = await tree(t)
  await b.make(p('/c'), container)
  const seen = await entryAt(b, p('/c'))
  await b.trash.put(p('/c'), { id: seen?.id ?? '' }, { id: 'x', path: p('/c'), type: 'container', deleted: 5000 })
  const trash = join(dir, '.karst/trash')
  mkdirSync(join(trash, '~half/node/deep'), { recursive: true })
  writeFileSync(join(trash, '~half/node/deep/f'), 'x')
  mkdirSync(join(trash, 'unmade'))
  writeFileSync(join(trash, 'unmade/note.json'), '{}')
  mkdirSync(join(trash, 'fresh'))
  utimesSync(join(trash, 'unmade'), 1e9, 1e9)
  mkdirSync(join(trash, 'noteless/node'), { recursive: true })
  writeFileSync(join(trash, 'noteless/note.json'), 'damaged')
  t.equal(await b.trash.sweep(ROOT, 5000), 0)
  t.same(readdirSync(trash).sort(), ['fresh', 'noteless', 'x'])
  await b.trash.restore(ROOT, 'noteless', p('/again'))
  t.same(await namesIn(b, ROOT), ['again'])
})

void t.test('POSIX: a removal for good follows no link, and takes names that are no text', async (t) => {
  const { backend: b, dir } = await tree(t)
  await b.make(p('/c'), container)
  mkdirSync(join(dir, 'keep'))
  writeFileSync(join(dir, 'keep/f'), 'x')
  symlinkSync(join(dir, 'keep'), join(dir, 'c/out'))
  symlinkSync('../..', join(dir, 'c/up'))
  mkdirSync(Buffer.concat([Buffer.from(`${dir}/c/bad-`), Buffer.from([0xff])]))
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/c/bad-`), Buffer.from([0xff]), Buffer.from('/f')]), 'x')
  const seen = await entryAt(b, p('/c'))
  await b.trash.put(p('/c'), { id: seen?.id ?? '' }, { id: 'x', path: p('/c'), type: 'container', deleted: 1 })
  await b.trash.purge(ROOT, 'x')
  t.same(readdirSync(join(dir, '.karst/trash')), [])
  t.same(readdirSync(join(dir, 'keep')), ['f'])
})

void t.test('POSIX: a .karst of a user’s own comes to no place where it would be hidden', async (t) => {
  const { backend: b, dir } = await tree(t)
  await b.make(p('/home'), container)
  await b.make(p('/c'), container)
  mkdirSync(join(dir, 'c/.karst'))
  const seen = await entryAt(b, p('/c'))
  await b.trash.put(p('/c'), { id: seen?.id ?? '' }, { id: 'x', path: p('/c'), type: 'container', deleted: 1 })
  await refused(t, b.trash.restore(ROOT, 'x', p('/home/c')), 'PermissionDenied')
  await b.trash.restore(ROOT, 'x', p('/c'))
})
