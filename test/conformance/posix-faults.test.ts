/** What goes wrong on a POSIX tree: broken bodies, full disks, kill -9. The old content stays, and no debris. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { access, at, body, bytesOf, container, entryAt, extents, file, md5, refused } from './backend.ts'
import {
  debris,
  directory,
  isRoot,
  notRoot,
  openDescriptors,
  posix,
  tmpfs,
  unavailable,
  xfs,
  type Scratch,
} from './posix-tree.ts'

const p = nodePath
const mode = isRoot ? 'root' : 'unprivileged'
const big = new Map([['big', 'x'.repeat(10_000)]])

void t.test('a put that fails leaves nothing behind, not even a sidecar', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode })
  await b.start()
  const before = openDescriptors()
  const draft = { ...file, properties: big }
  const puts = [
    { of: body('x', new Error('client went away')) },
    { of: body('x'), md5: '0'.repeat(32) },
    { of: body('x'), length: 2 },
    { of: body('xyz'), length: 2 },
    { of: body('x'), signal: AbortSignal.abort() },
    { of: body('x'), ifContentVersion: 'stale' },
    { of: body('x'), changes: { access: { owner: 'nobody we know' } } },
  ]
  for (const { of, ...options } of puts) {
    const error = await b.put(p('/f'), of, { draft, ...options }).then(() => undefined, (error: unknown) => error) // prettier-ignore
    if (mode === 'root' || options.changes === undefined) t.ok(error, `refused: ${Object.keys(options).join()}`)
    else await b.remove(p('/f'), 'data')
    t.same(debris(dir), [])
    t.same(readdirSync(join(dir, '.karst/sidecar')), [])
    t.notOk(existsSync(join(dir, 'f')))
  }
  t.equal(openDescriptors(), before, 'no descriptor is left open')
  await b.put(p('/f'), body('x'), { draft })
  await b.put(p('/f'), body('y'), {})
  t.equal(readdirSync(join(dir, '.karst/sidecar')).length, 1, 'a replaced node has one sidecar')
  await b.remove(p('/f'), 'data')
  await b.stop()
  t.same(readdirSync(dir), [], 'nothing of ours is left in the tree')
  dispose()
})

void t.test('staging is in the allocation, and goes with it', async (t) => {
  const { dir, dispose } = directory()
  mkdirSync(join(dir, 'home'))
  const b = posix(dir, { mode, allocationParents: [p('/home')] })
  await b.start()
  await b.make(p('/home/alice'), container)
  await b.put(p('/home/alice/f'), body('x'), { draft: file })
  t.ok(existsSync(join(dir, 'home/alice/.karst/staging')))
  for (const path of ['/home/alice/.karst', '/home/alice/.karst/staging', '/.karst']) {
    await refused(t, b.walk(p(path)), 'PermissionDenied')
  }
  await b.make(p('/home/alice/deeper'), container)
  await b.make(p('/home/alice/deeper/.karst'), container)
  await refused(t, b.move(p('/home/alice/deeper'), p('/home/other')), 'PermissionDenied')
  await b.remove(p('/home/alice/deeper/.karst'), 'container')
  await b.move(p('/home/alice'), p('/alice'))
  t.same(readdirSync(join(dir, 'alice')).sort(), ['deeper', 'f'], 'elsewhere it is no allocation')
  await b.move(p('/alice'), p('/home/alice'))
  await b.put(p('/home/alice/f'), body('y'), {})
  await b.remove(p('/home/alice/f'), 'data')
  await b.remove(p('/home/alice/deeper'), 'container')
  await b.remove(p('/home/alice'), 'container')
  await b.stop()
  t.same(readdirSync(dir), ['home'])
  dispose()
})

void t.test('bytes written from outside', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode })
  await b.start()
  const made = await b.put(p('/f'), body('hello'), { draft: file })
  appendFileSync(join(dir, 'f'), '!')
  const appended = await entryAt(b, p('/f'))
  t.match(appended, { id: made.id, size: 6 })
  t.equal(appended?.md5, undefined, 'a stale digest is never served')
  t.not(appended?.contentVersion, made.contentVersion)
  const { atime, mtime } = statSync(join(dir, 'f'))
  const put = await b.put(p('/f'), body('hello'), {})
  writeFileSync(join(dir, 'f'), 'olleh')
  utimesSync(join(dir, 'f'), atime, mtime)
  t.equal((await entryAt(b, p('/f')))?.md5, undefined)
  const timed = await b.set({ path: p('/f') }, { mtime: put.mtime })
  t.equal(timed.md5, undefined, 'not even when the time is set back through us')
  t.not(timed.contentVersion, put.contentVersion)
  const { body: stream } = await b.read({ path: p('/f') })
  writeFileSync(join(dir, 'f'), 'other')
  await refused(t, stream.toArray(), 'TransferFailed')
  const same = await b.put(p('/f'), body('hello'), {})
  const { body: calm } = await b.read({ path: p('/f') })
  await b.set({ path: p('/f') }, { mtime: 5n })
  t.equal(String(Buffer.concat((await calm.toArray()) as Buffer[])), 'hello', 'a time that is set cuts nobody')
  t.match(await entryAt(b, p('/f')), { md5: md5('hello'), contentVersion: same.contentVersion })
  await b.stop()
  dispose()
})

void t.test('a full disk', { skip: notRoot || unavailable(() => tmpfs('8m')) }, async (t) => {
  const { dir, dispose } = tmpfs('8m')
  const b = posix(dir)
  await b.start()
  const old = await b.put(p('/f'), body('old'), { draft: file })
  let pulled = 0
  async function* large() {
    for (let i = 0; i < 160; i++) {
      pulled++
      yield Buffer.alloc(65536, 'x')
    }
  }
  for (const attempt of ['first', 'second']) {
    await refused(t, b.put(p('/f'), large(), { length: 160 * 65536 }), 'QuotaExceeded', 'ENOSPC')
    t.equal(pulled, 0, `${attempt}: refused before the first byte`)
    await refused(t, b.put(p('/g'), large(), { draft: file }), 'QuotaExceeded', 'ENOSPC')
    pulled = 0
    await refused(t, b.put(p('/f'), large(), {}), 'QuotaExceeded', 'ENOSPC')
    pulled = 0
    const grown = [0, 4, 8].map((n) => ({ offset: n << 20, bytes: Buffer.alloc(4 << 20, 'y') }))
    await refused(t, b.amend({ path: p('/f') }, extents(...grown), { length: 12 << 20 }), 'QuotaExceeded', 'ENOSPC')
    // the extents fit beside, but not a second time in the file: no promise is made that cannot be kept
    await refused(t, b.amend({ path: p('/f') }, extents(...grown.slice(0, 1), at(5 << 20, 'z')), { length: 6 << 20 }), 'QuotaExceeded', 'ENOSPC') // prettier-ignore
    t.same(debris(dir), [], attempt)
    t.same(await entryAt(b, p('/g')), undefined)
    const kept = await entryAt(b, p('/f'))
    t.match(kept, { md5: md5('old'), contentVersion: old.contentVersion, id: old.id, mtime: old.mtime })
    t.equal(String(await bytesOf(b, p('/f'))), 'old')
  }
  await b.put(p('/f'), body('new'), {})
  const { free } = await b.usage(ROOT)
  await b.put(p('/filler'), body(Buffer.alloc(free, 'x')), { draft: file })
  await refused(t, b.set({ path: p('/f') }, { properties: big, mode: 0o600 }), 'QuotaExceeded')
  t.match(await entryAt(b, p('/f')), { mode: 0o640, properties: new Map(), md5: md5('new') }, 'nothing of it is done')
  await refused(t, b.put(p('/f'), body('newer'), { changes: { properties: big } }), 'QuotaExceeded')
  t.equal(String(await bytesOf(b, p('/f'))), 'new')
  await b.stop()
  dispose()
})

for (const how of ['put', 'amend']) {
  void t.test(`kill -9 during ${how}`, async (t) => killed(t, how, directory()))
  void t.test(`kill -9 during ${how} on XFS`, { skip: notRoot || unavailable(xfs) }, async (t) => killed(t, how, xfs()))
}

/** Whatever instant it dies: the file is the last that was said to be done, or the one after it, and whole. */
async function killed(t: Test, how: string, { dir, dispose }: Scratch): Promise<void> {
  const b = posix(dir, { mode })
  await b.start()
  const { id } = await b.put(p('/f'), body(Buffer.alloc(3_000_000, 0)), { draft: { access, mode: 0o640 } })
  await b.stop()
  let last = 0
  let torn = 0
  for (let round = 0; round < 8; round++) {
    last = await killWriter(dir, how, last, 5 + 13 * round)
    torn += debris(dir).length
    await b.start()
    const bytes = readFileSync(join(dir, 'f'))
    t.ok(bytes.equals(Buffer.alloc(3_000_000, bytes[0])), 'whole')
    t.ok([last % 256, (last + 1) % 256].includes(bytes[0] ?? -1), `${bytes[0]} after ${last}`)
    t.match(await entryAt(b, p('/f')), { id, nlink: 1 })
    const known = (await entryAt(b, p('/f')))?.md5
    t.ok(known === undefined || known === md5(bytes))
    t.same(debris(dir), [], 'swept')
    await b.stop()
    if (bytes[0] !== last % 256) last++
  }
  t.ok(torn > 0, 'at least one of them was in the middle')
  t.same(readdirSync(dir), ['f'])
  dispose()
}

async function killWriter(dir: string, how: string, first: number, after: number): Promise<number> {
  const script = join(import.meta.dirname, '../fixtures/posix-writer.ts')
  const child = spawn(process.execPath, [script, dir, how, mode, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let last = first
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'started') setTimeout(() => child.kill('SIGKILL'), after)
    else last = Number(line)
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return last
} // prettier-ignore
