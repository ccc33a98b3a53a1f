/** Several storages as one: the contract in each of them, random operations over all of them, and what happens at the seams. */
import t, { type Test } from 'tap'
import { type Backend } from '../../src/backend/backend.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { RoutedBackend } from '../../src/backend/routed.ts'
import { Routes } from '../../src/backend/routes.ts'
import { type Fault } from '../../src/vospace/fault.ts'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { backendConformance, body, bytesOf, container, entryAt, file, link, namesIn, refused } from './backend.ts'
import { below } from './below.ts'
import { compareWithModel, SEED } from './model.ts'
import { directory, ids, posix } from './posix-tree.ts'

const p = nodePath

function routed(lines: Record<string, string>, backends: Record<string, Backend>): RoutedBackend {
  const namespace = Object.entries(lines).map(([path, backend]) => ({ path: p(path), backend }))
  return new RoutedBackend(new Routes(new Map(Object.entries(backends)), namespace))
}

/** With `/` in main, `/fast` and `/deep/er/fast` in fast, `/fast/inner` in main again. */
async function three(t: Test): Promise<{ b: RoutedBackend; main: MemoryBackend; fast: MemoryBackend }> {
  const main = new MemoryBackend({ ids })
  const fast = new MemoryBackend({ ids })
  const lines = { '/': 'main', '/fast': 'fast', '/deep/er/fast': 'fast', '/fast/inner': 'main' }
  const b = routed(lines, { main, fast })
  await b.start()
  t.teardown(() => b.stop())
  return { b, main, fast }
}

const memoryCan = { atomicMove: true, exchange: true, linkProperties: true, hardLinks: false, quota: true }

backendConformance(
  'a memory store beside another one',
  async () => {
    const allocationParents = [ROOT]
    const [main, fast] = [new MemoryBackend({ ids, allocationParents }), new MemoryBackend({ ids, allocationParents })]
    const backend = below(routed({ '/': 'main', '/fast': 'fast' }, { main, fast }), p('/fast'))
    return { backend, ids, dispose: async () => undefined }
  },
  memoryCan,
)

backendConformance(
  'a POSIX tree that keeps the root',
  async () => {
    const { dir, dispose } = directory()
    const main = posix(dir, { mode: 'unprivileged' })
    const backend = routed({ '/': 'main' }, { main, fast: new MemoryBackend({ ids }) })
    return { backend, ids, dispose: async () => dispose() }
  },
  { hardLinks: true, quota: false },
)

void t.test(`random operations over three storages, seed ${SEED}`, async (t) => {
  const memory = (): Backend => new MemoryBackend({ ids })
  const lines = { '/': 'main', '/w1': 'fast', '/w2': 'main', '/w3': 'cheap' }
  await compareWithModel(t, routed(lines, { main: memory(), fast: memory(), cheap: memory() }))
})

void t.test('a walk goes across the seams, and shows each storage where it begins', async (t) => {
  const { b, main, fast } = await three(t)
  await b.put(p('/deep/er/fast/f'), body('x'), { draft: file })
  const walked = await b.walk(p('/deep/er/fast/f'))
  t.same(walked.map(({ path }) => path), ['/', '/deep', '/deep/er', '/deep/er/fast', '/deep/er/fast/f']) // prettier-ignore
  t.equal(new Set(walked.map(({ id }) => id)).size, 5, 'ids of several storages are apart')
  t.ok(await entryAt(fast, p('/deep/er/fast/f')))
  t.notOk(await entryAt(main, p('/deep/er/fast')))
  t.same(
    (await b.walk(p('/fast/inner/x/y'))).map(({ path }) => path),
    ['/', '/fast', '/fast/inner'],
  )
})

void t.test('a listing shows the seams in their place, once, from any name on', async (t) => {
  const { b, main, fast } = await three(t)
  for (const path of ['/a', '/e', '/z']) await b.make(p(path), container)
  await main.put(p('/deep/er/fast'), body('hidden'), { draft: file })
  await fast.make(p('/other'), container)
  t.same(await namesIn(b, ROOT), ['a', 'deep', 'e', 'fast', 'z'])
  t.same(await namesIn(b, ROOT, { from: 'f' }), ['fast', 'z'])
  t.same(await namesIn(b, ROOT, { from: 'fast0' }), ['z'])
  t.same((await namesIn(b, ROOT, { order: 'any' })).sort(), ['a', 'deep', 'e', 'fast', 'z'])
  t.same(await namesIn(b, p('/fast')), ['inner'])
  t.same(await namesIn(b, p('/deep/er')), ['fast'])
  t.equal((await entryAt(b, p('/deep/er/fast')))?.type, 'container')
  for await (const entry of b.list(ROOT)) t.same(entry, await entryAt(b, entry.path))
})

void t.test('what holds a seam stays where it is, and is not emptied in vain', async (t) => {
  const { b } = await three(t)
  const stays = ['/fast', '/deep', '/deep/er/fast', '/fast/inner']
  for (const path of stays.map(p)) {
    await refused(t, b.remove(path, 'container'), 'PermissionDenied', 'EBUSY')
    await refused(t, b.move(path, p('/elsewhere')), 'PermissionDenied', 'EBUSY')
    await refused(t, b.move(p('/nothing'), path), 'DuplicateNode')
    await refused(t, b.move(p('/nothing'), path, { replace: true }), 'PermissionDenied', 'EBUSY')
    const { id = '' } = (await entryAt(b, path)) ?? {}
    const note = { id: 'x', path, type: 'container', deleted: 1 } as const
    await refused(t, b.trash?.put(path, { id }, note) ?? Promise.resolve(), 'PermissionDenied', 'EBUSY')
    t.ok(b.isFixed(path))
  }
  await b.put(p('/deep/f'), body('x'), { draft: file })
  t.notOk(b.isFixed(p('/deep/f')))
  const surveyed: string[] = []
  for await (const page of b.survey(p('/deep/er'))) surveyed.push(...page.map(({ name }) => name))
  t.same(surveyed, ['fast'])
  const { id = '' } = (await entryAt(b, p('/deep'))) ?? {}
  const shown: string[] = []
  const choose = (page: readonly { readonly name: string }[]) => (shown.push(...page.map(({ name }) => name)), [])
  for await (const removals of b.removeChildren({ path: p('/deep'), id }, choose)) t.same(removals, [])
  t.same(shown.sort(), ['er', 'f'])
})

void t.test('what goes from one storage to another is refused as the kernel does it', async (t) => {
  const { b } = await three(t)
  await b.put(p('/f'), body('x'), { draft: file })
  await b.make(p('/l'), link('f'))
  const across = ['OperationNotSupported', 'EXDEV'] as const
  await refused(t, b.move(p('/f'), p('/fast/f')), ...across)
  await refused(t, b.move(p('/l'), p('/deep/er/fast/l')), ...across)
  await refused(t, b.copy(p('/f'), p('/fast/f'), file), ...across)
  await refused(t, b.link({ path: p('/f') }, p('/fast/f')), ...across)
  await b.copy(p('/f'), p('/fast/inner/f'), file)
  t.equal(String(await bytesOf(b, p('/fast/inner/f'))), 'x', 'one storage may have several places')
})

void t.test('an id of one storage is none of another', async (t) => {
  const { b } = await three(t)
  const made = await b.put(p('/fast/f'), body('x'), { draft: file })
  t.match(made.id, /^fast\./)
  t.equal((await b.set({ path: p('/fast/f'), id: made.id }, { mode: 0o600 })).id, made.id)
  const other = await b.put(p('/f'), body('x'), { draft: file })
  await refused(t, b.set({ path: p('/fast/f'), id: other.id }, { mode: 0o600 }), 'NodeNotFound', 'ESTALE')
  await refused(t, b.set({ path: p('/f'), id: made.id }, { mode: 0o600 }), 'NodeNotFound', 'ESTALE')
  await refused(t, b.put(p('/f'), body('y'), { id: made.id }), 'NodeNotFound', 'ESTALE')
})

void t.test('quotas, usage and capabilities are those of the storage that a path is in', async (t) => {
  const fast = new MemoryBackend({ ids, quota: 10 })
  const { dir, dispose } = directory()
  const main = posix(dir, { mode: 'unprivileged' })
  const b = routed({ '/': 'main', '/fast': 'fast' }, { main, fast })
  await b.start()
  t.teardown(async () => {
    await b.stop()
    dispose()
  })
  t.match(await b.usage(p('/fast')), { quota: 10, used: 0 })
  t.equal((await b.usage(ROOT)).quota, null)
  await refused(t, b.put(p('/fast/f'), body('12345678901'), { draft: file }), 'QuotaExceeded')
  t.match([b.capabilitiesAt(p('/fast/f')).quota, b.capabilitiesAt(ROOT).quota], [true, false])
  t.match(b.capabilities, { quota: false, hardLinks: false, linkProperties: true })
  t.equal(b.posix, undefined, 'trusted mounts need every storage')
  t.ok(b.walkNow(ROOT), 'the one that tells at once is asked')
  t.equal(b.walkNow(p('/fast')), undefined)
})

void t.test('what was deleted comes back into the storage it was in only', async (t) => {
  const { b } = await three(t)
  for (const path of ['/f', '/fast/f']) await b.put(p(path), body(path), { draft: file })
  for (const path of ['/f', '/fast/f']) {
    const { id = '' } = (await entryAt(b, p(path))) ?? {}
    await b.trash?.put(p(path), { id }, { id: path.replaceAll('/', '-'), path: p(path), type: 'data', deleted: 1 })
  }
  const ids: string[] = []
  for await (const note of b.trash?.list(ROOT) ?? []) ids.push(note.id)
  t.same(ids.sort(), ['-f', '-fast-f'])
  const restore = b.trash?.restore(ROOT, '-fast-f', p('/g'))
  await refused(t, restore ?? Promise.resolve(), 'OperationNotSupported', 'EXDEV')
  t.match(await b.trash?.restore(ROOT, '-fast-f', p('/fast/g')), { path: '/fast/g' })
  t.equal(await b.trash?.sweep(ROOT, Infinity), 1)
})

void t.test('a storage that cannot be used keeps the others from starting, and is named', async (t) => {
  const main = new MemoryBackend({ ids })
  const b = routed({ '/': 'main', '/fast': 'fast' }, { main, fast: posix('/no/such/folder') })
  const error: unknown = await b.start().catch((error: unknown) => error)
  t.match((error as Error).message, /storage profile fast: .*\/no\/such\/folder/)
  await main.put(p('/deep'), body('x'), { draft: file })
  const blocked = routed({ '/': 'main', '/deep/fast': 'fast' }, { main, fast: new MemoryBackend({ ids }) })
  const why: unknown = await blocked.start().catch((error: unknown) => error)
  t.match(why, { fault: 'TypeNotSupported', errno: 'ENOTDIR' })
  t.match((why as Fault).detail, /storage profile main: \/deep is a data node/)
})

void t.test('nothing changes behind a closed gate, and what is under way is waited for', async (t) => {
  const { b } = await three(t)
  await b.make(p('/fast/c'), container)
  const { promise, resolve } = Promise.withResolvers<string>()
  async function* slow() {
    yield Buffer.from(await promise)
  }
  const putting = b.put(p('/fast/c/f'), slow(), { draft: file })
  const closing = b.gate.close(p('/fast/c'), 60_000)
  await refused(t, b.put(p('/fast/c/g'), body('x'), { draft: file }), 'NodeBusy', 'EBUSY')
  await refused(t, b.move(p('/fast/c'), p('/fast/d')), 'NodeBusy', 'EBUSY')
  await b.put(p('/fast/g'), body('x'), { draft: file })
  resolve('whole')
  await putting
  const open = await closing
  t.same([await namesIn(b, p('/fast/c')), String(await bytesOf(b, p('/fast/c/f')))], [['f'], 'whole'])
  await refused(t, b.remove(p('/fast/c/f'), 'data'), 'NodeBusy')
  open()
  await b.remove(p('/fast/c/f'), 'data')
  const hanging = b.put(p('/fast/c/f'), slowForever(), { draft: file })
  const opened = await b.gate.close(p('/fast/c'), 10)
  await refused(t, hanging, 'TransferFailed')
  opened()
})

async function* slowForever(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('x')
  await new Promise(() => undefined)
}
