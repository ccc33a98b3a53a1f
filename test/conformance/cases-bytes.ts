/** The contract of a backend: put, read and amend. */
import { randomBytes } from 'node:crypto'
import { type Extent } from '../../src/backend/backend.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { ROOT } from '../../src/vospace/path.ts'
import {
  access,
  at,
  body,
  bytesOf,
  type Case,
  container,
  entryAt,
  extents,
  file,
  GROUPS,
  link,
  md5,
  namesIn,
  p,
  refused,
} from './cases.ts'

export const BYTES: Record<string, Case> = {
  'puts bytes and attributes in one step': async (t, b) => {
    const properties = new Map([['ivo://ivoa.net/vospace/core#title', 'été']])
    const changes = { properties: new Map([['k', 'v']]), mode: 0o600 }
    const made = await b.put(p('/f'), body('hel', 'lo'), { draft: { ...file, properties }, mtime: 1_500_000_001n, changes })
    t.match(made, { type: 'data', size: 5, mode: 0o600, mtime: 1_500_000_001n, nlink: 1 })
    t.same(new Map([...made.properties].sort()), new Map([...properties, ['k', 'v']]))
    t.match(made.contentVersion, /^[A-Za-z0-9._-]+$/)
    t.equal(made.md5, md5('hello'))
    t.same(made, await entryAt(b, p('/f')))
    t.equal(String(await bytesOf(b, p('/f'))), 'hello')
  }, // prettier-ignore
  'replaces bytes and keeps id, access, properties and mode': async (t, b) => {
    const shared = { ...access, groupRead: [GROUPS[0]], isPublic: true }
    const made = await b.put(p('/f'), body('old'), {
      draft: { access: shared, mode: 0o704, properties: new Map([['k', 'v']]) },
    })
    const replaced = await b.put(p('/f'), body('newer'), { draft: file })
    t.match(replaced, { id: made.id, mode: made.mode, size: 5 })
    t.same([replaced.access, replaced.properties], [made.access, made.properties])
    t.not(replaced.contentVersion, made.contentVersion)
    t.not(replaced.version, made.version)
    const again = await b.put(p('/f'), body('newer'), {})
    t.not(again.contentVersion, replaced.contentVersion, 'even with the same bytes')
    const changes = { access: { groupRead: [], isPublic: false } }
    const alone = await b.put(p('/f'), body('mine'), { changes })
    t.match(alone, { id: made.id, mode: 0o700, access: { ...shared, ...changes.access } })
    t.same(alone.properties, made.properties)
  },
  'takes the set-user-ID bits away with the bytes': async (t, b) => {
    await b.put(p('/f'), body('old'), { draft: file, changes: { mode: 0o6755 } })
    t.equal((await b.put(p('/f'), body('new'), {})).mode, 0o755)
    t.equal((await b.set({ path: p('/f') }, { mode: 0o6755 })).mode, 0o6755)
    t.equal((await b.amend({ path: p('/f') }, extents(at(0, 'x')), { length: 3 })).mode, 0o755)
  },
  'keeps the old content when a put fails, for whatever reason': async (t, b) => {
    const first = await b.put(p('/f'), body('old'), { draft: file })
    await b.put(p('/f'), body('old'), {})
    const put = (of: AsyncIterable<Uint8Array>, options = {}) => b.put(p('/f'), of, options)
    const kept = await entryAt(b, p('/f'))
    await refused(t, put(body('new', new Error('client went away'))), 'TransferFailed')
    await refused(t, put(body('new', new Fault('ServiceBusy', 'x'))), 'ServiceBusy')
    await refused(t, put(body('new'), { md5: '0'.repeat(32) }), 'PreconditionFailed')
    await refused(t, put(body('new'), { ifContentVersion: first.contentVersion }), 'PreconditionFailed')
    await refused(t, put(body('new'), { length: 4 }), 'PreconditionFailed')
    await refused(t, put(body('new'), { length: 2 }), 'PreconditionFailed')
    await refused(t, put(body('new'), { ifAbsent: true, draft: file }), 'DuplicateNode')
    await refused(t, put(body('new'), { id: 'nobody' }), 'NodeNotFound', 'ESTALE')
    t.same(await entryAt(b, p('/f')), kept)
    t.equal(String(await bytesOf(b, p('/f'))), 'old')
    await put(body('new'), { md5: md5('new').toUpperCase(), length: 3, ifContentVersion: kept?.contentVersion })
    t.equal(String(await bytesOf(b, p('/f'))), 'new')
  },
  'leaves nothing of a first put that fails': async (t, b) => {
    const put = (of: AsyncIterable<Uint8Array>, options = {}) => b.put(p('/f'), of, { draft: file, ...options })
    await refused(t, put(body('new', new Error('client went away'))), 'TransferFailed')
    await refused(t, put(body('new'), { md5: '0'.repeat(32) }), 'PreconditionFailed')
    await refused(t, put(body('new'), { length: 4 }), 'PreconditionFailed')
    await refused(t, put(body('new'), { ifContentVersion: 'x' }), 'PreconditionFailed')
    await refused(t, b.put(p('/f'), body('new'), {}), 'NodeNotFound')
    await refused(t, b.put(p('/none/f'), body('new'), { draft: file }), 'ContainerNotFound', 'ENOENT')
    t.same(await namesIn(b, ROOT), [])
  },
  'shows nothing of a put before what has to come first': async (t, b) => {
    let arrived: () => void = () => undefined
    const after = new Promise<void>((resolve) => (arrived = resolve))
    const made = b.put(p('/f'), body('new'), { draft: file, length: 3, after })
    // longer than any of them takes to put three bytes
    await new Promise((resolve) => setTimeout(resolve, 100))
    t.same(await namesIn(b, ROOT), [])
    arrived()
    t.match(await made, { size: 3 })
    const failed = Promise.reject(new Fault('InternalFault', 'not written down'))
    failed.catch(() => undefined)
    await refused(t, b.put(p('/f'), body('other'), { after: failed, length: 5 }), 'InternalFault')
    await refused(t, b.put(p('/g'), body('new'), { draft: file, after: failed }), 'InternalFault')
    t.equal(String(await bytesOf(b, p('/f'))), 'new')
    t.same(await namesIn(b, ROOT), ['f'])
  },
  'puts no bytes where no data node can be': async (t, b) => {
    await b.make(p('/c'), container)
    await b.make(p('/l'), link('c'))
    await b.put(p('/f'), body('x'), { draft: file })
    await refused(t, b.put(p('/c'), body('x'), { draft: file }), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.put(ROOT, body('x'), { draft: file }), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.put(p('/l'), body('x'), { draft: file }), 'TypeNotSupported')
    await refused(t, b.put(p('/f/x'), body('x'), { draft: file }), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, b.read({ path: p('/c') }), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.read({ path: p('/none') }), 'NodeNotFound')
    await refused(t, b.amend({ path: p('/c') }, extents(), { length: 0 }), 'TypeNotSupported', 'EISDIR')
  },
  'gives up a put at once when it is cancelled, even if the body hangs': async (t, b) => {
    const controller = new AbortController()
    async function* hanging(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('some')
      setTimeout(() => controller.abort(), 10)
      await new Promise(() => undefined)
    }
    await refused(t, b.put(p('/f'), hanging(), { draft: file, signal: controller.signal }), 'TransferFailed')
    await refused(t, b.put(p('/f'), body('x'), { draft: file, signal: AbortSignal.abort() }), 'TransferFailed')
    t.same(await namesIn(b, ROOT), [])
  },
  'lets exactly one of many conditional replaces win': async (t, b) => {
    const { contentVersion } = await b.put(p('/f'), body('old'), { draft: file })
    const puts = Array.from({ length: 10 }, (_, i) =>
      b.put(p('/f'), body(String(i)), { ifContentVersion: contentVersion }),
    )
    const all = await Promise.allSettled(puts)
    t.equal(all.filter((one) => one.status === 'fulfilled').length, 1)
    for (const one of all) if (one.status === 'rejected') t.equal((one.reason as Fault).fault, 'PreconditionFailed')
  },
  'keeps large bytes in many pieces of any size': async (t, b) => {
    const bytes = randomBytes(5_000_001)
    const pieces: Buffer[] = []
    for (let i = 0, size = 1; i < bytes.length; i += size, size = (size * 7) % 400_003) pieces.push(bytes.subarray(i, i + size))
    const made = await b.put(p('/f'), body(...pieces), { draft: file, length: bytes.length, md5: md5(bytes) })
    t.equal(made.size, bytes.length)
    t.ok(bytes.equals(await bytesOf(b, p('/f'))))
    const { body: part } = await b.read({ path: p('/f') }, { range: { start: 1_234_567, end: 4_000_000 } })
    t.ok(bytes.subarray(1_234_567, 4_000_001).equals(Buffer.concat((await part.toArray()) as Buffer[])))
  }, // prettier-ignore
  'reads ranges, and cuts them at the end': async (t, b) => {
    await b.put(p('/f'), body('0123456789'), { draft: file })
    await b.put(p('/empty'), body(), { draft: file })
    const read = async (path: string, range?: { start: number; end?: number }) => {
      const { body } = await b.read({ path: p(path) }, range === undefined ? {} : { range })
      return String(Buffer.concat((await body.toArray()) as Buffer[]))
    }
    t.equal(await read('/f', { start: 2, end: 4 }), '234')
    t.equal(await read('/f', { start: 9, end: 9 }), '9')
    t.equal(await read('/f', { start: 7 }), '789')
    t.equal(await read('/f', { start: 7, end: 1000 }), '789')
    t.equal(await read('/empty'), '')
    await refused(t, read('/f', { start: 10 }), 'RangeNotSatisfiable')
    await refused(t, read('/empty', { start: 0 }), 'RangeNotSatisfiable')
  },
  'reads one version whole while it is replaced': async (t, b) => {
    const old = randomBytes(4_000_000)
    const { contentVersion } = await b.put(p('/f'), body(old), { draft: file })
    const { entry, body: stream } = await b.read({ path: p('/f') }, { ifContentVersion: contentVersion })
    await b.put(p('/f'), body('new'), {})
    t.equal(entry.contentVersion, contentVersion)
    t.ok(old.equals(Buffer.concat((await stream.toArray()) as Buffer[])))
    await refused(t, b.read({ path: p('/f') }, { ifContentVersion: contentVersion }), 'PreconditionFailed')
  },
  'never shows a reader a mix of before and after an amend': async (t, b) => {
    const size = 6_000_000
    await b.put(p('/f'), body(Buffer.alloc(size, 'a')), { draft: file })
    const { body: stream } = await b.read({ path: p('/f') })
    const read: Promise<unknown[]> = stream.toArray()
    const amended = b.amend({ path: p('/f') }, extents({ offset: 0, bytes: Buffer.alloc(size, 'b') }), { length: size })
    const seen = await read.then(
      (pieces) => String(Buffer.concat(pieces as Buffer[])),
      () => 'cut',
    )
    await amended
    t.ok(seen === 'cut' || seen === 'a'.repeat(size) || seen === 'b'.repeat(size))
    t.ok((await bytesOf(b, p('/f'))).equals(Buffer.alloc(size, 'b')))
  },
  'amends ranges, holes and length, all in one': async (t, b) => {
    const made = await b.put(p('/f'), body('0123456789'), { draft: file })
    const ref = { path: p('/f') }
    const text = async () => String(await bytesOf(b, p('/f')))
    const amended = await b.amend(ref, extents(at(2, 'XY'), at(3, 'Z'), { offset: 5, hole: 2 }), { length: 10 })
    t.equal(await text(), '01XZ4\0\x00789')
    t.match(amended, { id: made.id, size: 10 })
    t.not(amended.contentVersion, made.contentVersion)
    t.ok(amended.md5 === undefined || amended.md5 === md5('01XZ4\0\x00789'))
    await b.amend(ref, extents(), { length: 3 })
    t.equal(await text(), '01X')
    await b.amend(ref, extents(at(5, '!')), { length: 7 })
    t.equal(await text(), '01X\0\0!\0')
    t.equal((await b.amend(ref, extents(at(0, 'abc')), { length: 1, mtime: 77n })).mtime, 77n)
    t.equal(await text(), 'a')
    t.same((await b.amend(ref, extents(), { length: 0 })).size, 0)
  },
  'keeps the old content when an amend fails': async (t, b) => {
    const first = await b.put(p('/f'), body('old'), { draft: file })
    await b.put(p('/f'), body('old'), {})
    const kept = await entryAt(b, p('/f'))
    const amend = (of: AsyncIterable<Extent>, options = {}, id = first.id) =>
      b.amend({ path: p('/f'), id }, of, { length: 3, ...options })
    await refused(t, amend(extents(at(0, 'n'), new Error('client went away'))), 'TransferFailed')
    await refused(t, amend(extents(at(0, 'n')), { ifContentVersion: first.contentVersion }), 'PreconditionFailed')
    await refused(t, amend(extents(at(0, 'n')), { signal: AbortSignal.abort() }), 'TransferFailed')
    await refused(t, amend(extents(at(0, 'n')), {}, 'nobody'), 'NodeNotFound', 'ESTALE')
    t.same(await entryAt(b, p('/f')), kept)
    t.equal(String(await bytesOf(b, p('/f'))), 'old')
  },
  'amends a node many times at once, each whole': async (t, b) => {
    await b.put(p('/f'), body('......'), { draft: file })
    const one = (i: number) => b.amend({ path: p('/f') }, extents(at(i, String(i))), { length: 6 })
    await Promise.all([0, 1, 2, 3, 4, 5].map(one))
    t.equal(String(await bytesOf(b, p('/f'))), '012345')
  },
}
