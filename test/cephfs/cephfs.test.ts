/** The contract and random operations on a real CephFS, and what only that has. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import {
  at,
  backendConformance,
  body,
  bytesOf,
  container,
  entryAt,
  extents,
  file,
  namesIn,
  refused,
} from '../conformance/backend.ts'
import { compareWithModel, SEED } from '../conformance/model.ts'
import { cephTree, harness, skip, type CephTree } from './tree.ts'

const p = nodePath

if (skip === false) {
  backendConformance('CephFS', harness, { exchange: false, hardLinks: true, quota: true, reflink: false })
} else void t.test('CephFS keeps the backend contract', { skip }, () => undefined)

async function started(t: Test, options?: Parameters<typeof cephTree>[0]): Promise<CephTree> {
  const tree = cephTree(options)
  await tree.backend.start()
  t.teardown(async () => {
    await tree.backend.stop()
    tree.dispose()
  })
  return tree
}

const attribute = (dir: string, name: string): string =>
  execFileSync('getfattr', ['--only-values', '-n', name, dir], { encoding: 'utf8' })

async function until(t: Test, what: string, look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await look()) return void t.pass(what)
    await new Promise((done) => setTimeout(done, 100))
  }
  t.fail(what)
}

void t.test(`random operations, seed ${SEED}`, { skip }, async (t) => {
  const { backend, dispose } = cephTree({ allocationParents: [] })
  await compareWithModel(t, backend, { operations: 600 })
  dispose()
})

void t.test('a quota is set, shown, and kept with numbers', { skip }, async (t) => {
  const { backend: b, dir } = await started(t)
  await b.make(p('/a'), container)
  await b.setQuota(p('/a'), 8_000_000)
  t.equal(attribute(join(dir, 'a'), 'ceph.quota.max_bytes'), '8000000')
  t.match(await b.usage(p('/a')), { quota: 8_000_000, total: 8_000_000 })
  const numbers = /of 8000000 bytes are used/
  const big = Buffer.alloc(4_000_000, 'x')
  await b.put(p('/a/f'), body(big), { draft: file })
  await until(t, 'the cluster tells what is used', async () => (await b.usage(p('/a'))).used === 4_000_000)
  t.match(await b.usage(p('/a/f')), { quota: 8_000_000, free: 4_000_000 }, 'and of what is below')
  for (const options of [{ length: 4_500_000 }, {}]) {
    const refusal: unknown = await b.put(p('/a/g'), body(big, Buffer.alloc(500_000)), { draft: file, ...options }).catch((error: unknown) => error) // prettier-ignore
    t.match(refusal, { fault: 'QuotaExceeded', errno: 'EDQUOT', detail: numbers })
  }
  t.same(await namesIn(b, p('/a')), ['f'], 'nothing is half there')
  await refused(t, b.amend({ path: p('/a/f') }, extents(at(0, 'y')), { length: 9_000_000 }), 'QuotaExceeded', 'EDQUOT')
  await b.put(p('/a/f'), body(big, Buffer.alloc(100)), { length: 4_000_100 })
  t.equal((await bytesOf(b, p('/a/f'))).length, 4_000_100, 'what is replaced makes room')
  await b.setQuota(p('/a'), null)
  await b.put(p('/a/g'), body(big, big), { draft: file })
  t.equal((await b.usage(p('/a'))).quota, null)
})

void t.test('a quota of bytes and one of nodes are told and kept, wherever each stands', { skip }, async (t) => {
  const { backend: b, dir } = await started(t)
  const set = (path: string, kind: 'bytes' | 'files', value: number): Buffer =>
    execFileSync('setfattr', ['-n', `ceph.quota.max_${kind}`, '-v', String(value), join(dir, path)])
  for (const path of ['/a', '/a/b', '/n', '/n/b']) await b.make(p(path), container)
  set('/a', 'bytes', 8_000_000)
  set('/a/b', 'files', 1000)
  set('/n', 'files', 1000)
  set('/n/b', 'bytes', 8_000_000)
  for (const path of ['/a/b', '/n/b'] as const) {
    const { quota, files, filesFree } = await b.usage(p(path))
    t.same([quota, (files ?? 0) + (filesFree ?? 0)], [8_000_000, 1000], path)
    const refusal: unknown = await b.put(p(`${path}/f`), body(''), { draft: file, length: 8_000_001 }).catch((error: unknown) => error) // prettier-ignore
    t.match(refusal, { fault: 'QuotaExceeded', errno: 'EDQUOT', detail: /bytes are used, \d+ nodes are there, and \d+ more are allowed/ }) // prettier-ignore
  }
  t.match(await b.usage(p('/a')), { quota: 8_000_000 }, 'below it is none of those above')
})

void t.test('a quota stands on allocations and on the root', { skip }, async (t) => {
  const { backend: b } = await started(t)
  await b.make(p('/a'), container)
  await b.make(p('/a/b'), container)
  await b.put(p('/a/f'), body('x'), { draft: file })
  await refused(t, b.setQuota(p('/a/b'), 1000), 'OperationNotSupported')
  await refused(t, b.setQuota(p('/a/f'), 1000), 'TypeNotSupported', 'ENOTDIR')
  await refused(t, b.setQuota(p('/none'), 1000), 'NodeNotFound')
  await b.setQuota(ROOT, 1_000_000)
  t.equal((await b.usage(p('/a/f'))).quota, 1_000_000)
})

void t.test('a tree is not renamed into a quota, which a copy is for', { skip }, async (t) => {
  const { backend: b } = await started(t)
  for (const path of ['/a', '/b', '/b/tree']) await b.make(p(path), container)
  await b.put(p('/b/tree/f'), body('x'), { draft: file })
  await b.setQuota(p('/a'), 1_000_000)
  await refused(t, b.move(p('/b/tree'), p('/a/tree')), 'OperationNotSupported', 'EXDEV')
  t.same(await namesIn(b, p('/b/tree')), ['f'])
  await b.copy(p('/b/tree/f'), p('/a/f'), file)
  t.equal(String(await bytesOf(b, p('/a/f'))), 'x')
})

void t.test('a container has the size of everything below it', { skip }, async (t) => {
  const { backend: b } = await started(t)
  for (const path of ['/a', '/a/b', '/a/b/c']) await b.make(p(path), container)
  await b.put(p('/a/b/c/f'), body(Buffer.alloc(12_345)), { draft: file })
  await until(t, 'walked', async () => (await entryAt(b, p('/a')))?.size === 12_345)
  for await (const entry of b.list(p('/a'))) t.match(entry, { path: '/a/b', size: 12_345 })
})

void t.test('snapshots are no nodes', { skip }, async (t) => {
  const { backend: b, dir } = await started(t)
  await b.make(p('/a'), container)
  await b.put(p('/a/f'), body('x'), { draft: file })
  mkdirSync(join(dir, 'a/.snap/one'))
  t.same(await namesIn(b, p('/a')), ['f'])
  for (const path of ['/.snap', '/a/.snap', '/a/.snap/one/f', '/a/x/.snap'].map(p)) {
    await refused(t, b.walk(path), 'PermissionDenied')
    await refused(t, namesIn(b, path), 'PermissionDenied')
    await refused(t, b.make(path, container), 'PermissionDenied')
    await refused(t, b.put(path, body('x'), { draft: file }), 'PermissionDenied')
    await refused(t, b.read({ path }), 'PermissionDenied')
    await refused(t, b.move(p('/a/f'), path), 'PermissionDenied')
    await refused(t, b.remove(path, 'container'), 'PermissionDenied')
    await refused(t, b.posix?.walk(path) ?? Promise.resolve(), 'PermissionDenied')
  }
  t.same(readdirSync(join(dir, 'a/.snap')), ['one'])
  execFileSync('rmdir', [join(dir, 'a/.snap/one')])
})

void t.test('snapshots of an allocation: a tree of the past, read only, that goes with what is deleted', { skip }, async (t) => {
  const { backend: b, dir } = await started(t)
  await b.make(p('/a'), container)
  await b.make(p('/a/d'), container)
  await b.put(p('/a/d/f'), body('old'), { draft: file })
  const made = await b.snapshots.make(p('/a'), 'one')
  t.ok(Math.abs(made.created - Date.now()) < 60_000, `${made.created}`)
  mkdirSync(join(dir, 'a/d/.snap/inner'))
  await b.put(p('/a/d/f'), body('new'), {})
  await refused(t, b.snapshots.make(p('/a'), 'one'), 'DuplicateNode')
  t.same((await b.snapshots.list(p('/a'))).map(({ name }) => name), ['one'])
  const past = await b.snapshots.at(p('/a'), 'one')
  t.equal(String(await bytesOf(past, p('/a/d/f'))), 'old')
  t.equal(String(await bytesOf(b, p('/a/d/f'))), 'new')
  t.same([await namesIn(past, p('/a')), await namesIn(past, p('/a/d'))], [['d'], ['f']])
  t.same((await past.walk(p('/a/d/f'))).map(({ path }) => path), ['/', '/a', '/a/d', '/a/d/f'])
  for (const change of [past.make(p('/a/x'), container), past.put(p('/a/x'), body('x'), { draft: file }), past.remove(p('/a/d/f'), 'data'), past.set({ path: p('/a') }, {})]) {
    await refused(t, change, 'PermissionDenied', 'EROFS')
  }
  await refused(t, past.walk(p('/b')), 'NodeNotFound')
  for (const path of ['/a/d', '/'].map(p)) await refused(t, b.snapshots.list(path), 'OperationNotSupported')
  await refused(t, b.snapshots.make(p('/a'), '../x'), 'InvalidArgument')
  await refused(t, b.snapshots.at(p('/a'), 'two'), 'NodeNotFound')
  await refused(t, b.snapshots.remove(p('/a'), 'two'), 'NodeNotFound')
  execFileSync('rmdir', [join(dir, 'a/d/.snap/inner')])
  const entry = await entryAt(b, p('/a'))
  await b.trash.put(p('/a'), { id: entry?.id ?? '' }, { id: 'gone', path: p('/a'), type: 'container', deleted: 1 })
  await b.trash.purge(ROOT, 'gone')
  t.same(await namesIn(b, ROOT), [])
}) // prettier-ignore

void t.test('a profile may have a data pool of its own', { skip }, async (t) => {
  const { backend: b, dir } = await started(t, { pool: 'cephfs.extra' })
  await b.make(p('/a'), container)
  await b.put(p('/a/f'), body('x'), { draft: file })
  t.equal(attribute(join(dir, 'a/f'), 'ceph.file.layout.pool'), 'cephfs.extra')
  const wrong = cephTree({ pool: 'none' })
  t.teardown(wrong.dispose)
  await refused(t, wrong.backend.start(), 'OperationNotSupported')
})

void t.test('times before 1970 are refused', { skip }, async (t) => {
  const { backend: b } = await started(t)
  await refused(t, b.put(p('/f'), body('x'), { draft: file, mtime: -1n }), 'InvalidArgument')
  await refused(t, b.make(p('/c'), { ...container, mtime: -1n }), 'InvalidArgument')
  t.same(await namesIn(b, ROOT), [])
})

void t.test('a client that has died is found out', { skip }, async (t) => {
  const place = mkdtempSync('/tmp/karst-ceph-mount-')
  const pidFile = `${place}.pid`
  const conf = process.env['KARST_CEPH_CONF'] ?? ''
  execFileSync('ceph-fuse', ['-c', conf, '-n', 'client.admin', `--pid-file=${pidFile}`, place], { stdio: 'pipe' })
  t.teardown(() => {
    execFileSync('umount', ['-l', place])
    rmSync(place, { recursive: true })
    rmSync(pidFile, { force: true })
  })
  const { backend } = cephTree({}, place)
  await backend.start()
  await backend.probe()
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL')
  await until(t, 'the kernel knows', async () => backend.probe().then(() => false, () => true)) // prettier-ignore
  await refused(t, backend.probe(), 'InternalFault', 'ENOTCONN')
  await refused(t, backend.walk(ROOT), 'InternalFault', 'ENOTCONN')
  await backend.stop().catch((error: unknown) => t.match(error, { message: /ENOTCONN/ }))
})
