/** Quotas that the gateway counts, on file systems that have none for a tree: what is special beside the contract (posix.test.ts). */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type QuotaSettings } from '../../src/backend/posix/open.ts'
import { type PosixBackend } from '../../src/backend/posix/posix.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { body, container, file, refused } from './backend.ts'
import { p } from './cases.ts'
import { directory, isRoot, posix, QUOTAS } from './posix-tree.ts'

const KIB = 1024
const COUNTED: QuotaSettings = { ...QUOTAS, keptBy: 'gateway' }

async function tree(t: Test, before: (dir: string) => void = () => undefined): Promise<{ b: PosixBackend; dir: string }> {
  const { dir, dispose } = directory()
  mkdirSync(join(dir, 'home'))
  before(dir)
  const mode = isRoot ? 'root' : 'unprivileged'
  const b = posix(dir, { mode, allocationParents: [p('/home')], quotas: COUNTED })
  await b.start()
  t.teardown(async () => {
    await b.stop()
    dispose()
  })
  return { b, dir }
} // prettier-ignore

const used = async (b: PosixBackend, path: string): Promise<number | null> => (await b.usage(p(path))).used

async function until(t: Test, what: string, look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await look()) return void t.pass(what)
    await new Promise((done) => setTimeout(done, 50))
  }
  t.fail(what)
}

void t.test('what is there is walked, a file of two names once, and what passes is added', async (t) => {
  const { b } = await tree(t, (dir) => {
    mkdirSync(join(dir, 'home/alice/deep/er'), { recursive: true })
    for (const name of ['deep/er/a', 'b']) writeFileSync(join(dir, 'home/alice', name), Buffer.alloc(10 * KIB))
  })
  await b.link({ path: p('/home/alice/b') }, p('/home/alice/deep/b'))
  t.same([(await b.usage(p('/home/alice'))).quota, (await b.usage(p('/home/alice'))).keptBy], [null, undefined])
  await b.setQuota(p('/home/alice'), 100 * KIB)
  t.match(await b.usage(p('/home/alice/deep')), { quota: 100 * KIB, used: 20 * KIB, keptBy: 'gateway', files: 5 })
  await b.put(p('/home/alice/c'), body(Buffer.alloc(5 * KIB)), { draft: file })
  await b.put(p('/home/alice/c'), body(Buffer.alloc(7 * KIB)), { draft: file })
  t.equal(await used(b, '/home/alice'), 27 * KIB)
  await b.remove(p('/home/alice/b'), 'data')
  t.equal(await used(b, '/home/alice'), 27 * KIB, 'one of two names')
  await b.remove(p('/home/alice/deep/b'), 'data')
  t.equal(await used(b, '/home/alice'), 17 * KIB)
  await b.move(p('/home/alice/c'), p('/home/alice/deep/er/a'), { replace: true })
  t.equal(await used(b, '/home/alice'), 7 * KIB)
})

void t.test('what is announced counts while it is under way, and no longer when it breaks off', async (t) => {
  const { b } = await tree(t)
  await b.make(p('/home/alice'), container)
  await b.setQuota(p('/home/alice'), 100 * KIB)
  const arrived = Promise.withResolvers<undefined>()
  const broken = Promise.withResolvers<undefined>()
  const slow = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(KIB)
    arrived.resolve(undefined)
    await broken.promise
    throw new Error('the client has gone')
  }
  const first = b.put(p('/home/alice/a'), slow(), { draft: file, length: 80 * KIB })
  await arrived.promise
  t.equal(await used(b, '/home/alice'), 80 * KIB)
  const lot = Buffer.alloc(30 * KIB)
  await refused(t, b.put(p('/home/alice/b'), body(lot), { draft: file, length: lot.length }), 'QuotaExceeded', 'EDQUOT')
  await refused(t, b.put(p('/home/alice/b'), body(lot), { draft: file }), 'QuotaExceeded', 'EDQUOT')
  broken.resolve(undefined)
  await refused(t, first, 'TransferFailed')
  t.equal(await used(b, '/home/alice'), 0)
  await b.put(p('/home/alice/b'), body(lot), { draft: file, length: lot.length })
})

void t.test('many at once never go over it', async (t) => {
  const { b } = await tree(t)
  await b.make(p('/home/alice'), container)
  await b.setQuota(p('/home/alice'), 100 * KIB)
  const pieces = () => body(...Array.from({ length: 30 }, () => Buffer.alloc(KIB)))
  const settled = await Promise.allSettled(
    ['a', 'b', 'c', 'd', 'e', 'f'].map(async (name) => b.put(p(`/home/alice/${name}`), pieces(), { draft: file })),
  )
  for (const one of settled) if (one.status === 'rejected') t.match(one.reason, { fault: 'QuotaExceeded' })
  t.ok(settled.some(({ status }) => status === 'rejected'))
  const sum = settled.filter(({ status }) => status === 'fulfilled').length * 30 * KIB
  t.equal(await used(b, '/home/alice'), sum)
  t.ok(sum <= 100 * KIB)
})

void t.test('a tree that went is found out: after a while, and before anything is refused for it', async (t) => {
  const { b } = await tree(t)
  for (const path of ['/home/alice', '/home/alice/d'].map(p)) await b.make(path, container)
  await b.setQuota(p('/home/alice'), 100 * KIB)
  await b.put(p('/home/alice/d/f'), body(Buffer.alloc(80 * KIB)), { draft: file })
  const id = (await b.walk(p('/home/alice/d'))).at(-1)?.id ?? ''
  await b.trash.put(p('/home/alice/d'), { id }, { id: 'one', path: p('/home/alice/d'), type: 'container', deleted: 1 })
  const lot = Buffer.alloc(50 * KIB)
  await refused(t, b.put(p('/home/alice/g'), body(lot), { draft: file }), 'QuotaExceeded')
  t.equal(await used(b, '/home/alice'), 80 * KIB, 'what waits in the trash counts')
  await b.trash.purge(p('/home/alice'), 'one')
  await b.put(p('/home/alice/g'), body(lot), { draft: file })
  t.equal(await used(b, '/home/alice'), 50 * KIB)
  for await (const removed of b.removeChildren({ path: p('/home/alice') }, (page) => page)) t.equal(removed.length, 1)
  await until(t, 'counted again', async () => (await used(b, '/home/alice')) === 0)
})

void t.test('a restart and a rename keep it; what came past the gateway is found at a start', async (t) => {
  const { b, dir } = await tree(t)
  for (const path of ['/home/alice', '/home/bob', '/open'].map(p)) await b.make(path, container)
  await b.setQuota(p('/home/alice'), 100 * KIB)
  await b.put(p('/home/alice/f'), body(Buffer.alloc(10 * KIB)), { draft: file })
  await b.move(p('/home/alice'), p('/home/alicia'))
  t.match(await b.usage(p('/home/alicia')), { quota: 100 * KIB, used: 10 * KIB })
  await refused(t, b.move(p('/home/alicia/f'), p('/home/bob/f')), 'OperationNotSupported', 'EXDEV')
  await refused(t, b.move(p('/home/alicia'), p('/open/alicia')), 'OperationNotSupported', 'EXDEV')
  await b.stop()
  writeFileSync(join(dir, 'home/alicia/past'), Buffer.alloc(20 * KIB))
  await b.start()
  await until(t, 'counted at the start', async () => (await used(b, '/home/alicia')) === 30 * KIB)
  rmSync(join(dir, 'home/alicia/past'))
  await b.setQuota(p('/home/alicia'), null)
  await b.move(p('/home/alicia/f'), p('/home/bob/f'))
})

void t.test('where one may stand, and what is asked of a file system that has none', async (t) => {
  const { b, dir } = await tree(t)
  for (const path of ['/home/alice', '/home/alice/d'].map(p)) await b.make(path, container)
  await b.put(p('/home/alice/f'), body('x'), { draft: file })
  await refused(t, b.setQuota(p('/home/alice/d'), KIB), 'OperationNotSupported')
  await refused(t, b.setQuota(ROOT, KIB), 'OperationNotSupported')
  await refused(t, b.setQuota(p('/home/alice/f'), KIB), 'TypeNotSupported', 'ENOTDIR')
  await refused(t, b.setQuota(p('/home/none'), KIB), 'NodeNotFound')
  // no kernel has projects for who may not administer it
  const insisting = posix(dir, { mode: 'unprivileged', quotas: { ...QUOTAS, keptBy: 'storage' } })
  await refused(t, insisting.start(), 'OperationNotSupported')
})
