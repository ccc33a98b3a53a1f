/**
 * The contract of a backend as tests: every backend passes all of it, unchanged.
 * A test that only one store needs stands in that store's own file.
 */
import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Backend, type Capabilities, type Extent, type Ids } from '../../src/backend/backend.ts'
import { Fault, type FaultName } from '../../src/vospace/fault.ts'
import { shownMode } from '../../src/vospace/mode.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { byteOrder, child, nodePath, ROOT, type NodePath } from '../../src/vospace/path.ts'

export interface Harness {
  readonly backend: Backend
  readonly ids: Ids
  readonly dispose: () => Promise<void>
}

export const GROUPS = ['ivo://karst.local/gms?astro', 'ivo://karst.local/gms?survey'] as const

/** What alice keeps to herself. */
export const access: Access = {
  owner: 'alice',
  isPublic: false,
  groupRead: [],
  groupWrite: [],
  inherit: false,
  locked: false,
}
export const container = { type: 'container', access, mode: 0o750 } as const
export const file = { access, mode: 0o640 } as const
export const link = (text: string | Buffer) =>
  ({ type: 'link', access: { ...access, isPublic: true }, mode: 0o777, text: Buffer.from(text) }) as const

/** A body of these pieces; an Error among them is thrown there. */
export async function* body(...pieces: (string | Uint8Array | Error)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield typeof piece === 'string' ? Buffer.from(piece) : piece
  }
}

export async function* extents(...pieces: (Extent | Error)[]): AsyncGenerator<Extent> {
  for (const piece of pieces) {
    if (piece instanceof Error) throw piece
    yield piece
  }
}

export const at = (offset: number, text: string): Extent => ({ offset, bytes: Buffer.from(text) })
export const md5 = (bytes: string | Buffer) => createHash('md5').update(bytes).digest('hex')

export async function bytesOf(backend: Backend, path: NodePath): Promise<Buffer> {
  const { body } = await backend.read({ path })
  return Buffer.concat((await body.toArray()) as Buffer[])
}

export async function entryAt(backend: Backend, path: NodePath): Promise<Entry | undefined> {
  const found = (await backend.walk(path)).at(-1)
  return found?.path === path ? found : undefined
}

export async function namesIn(backend: Backend, path: NodePath, options = {}): Promise<string[]> {
  const names: string[] = []
  for await (const entry of backend.list(path, options)) names.push(entry.path.slice(entry.path.lastIndexOf('/') + 1))
  return names
}

/** The promise is refused with this fault, and with this errno when one is said. */
export async function refused(t: Test, promise: Promise<unknown>, fault: FaultName, errno?: string): Promise<void> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(error instanceof Fault)) return void t.fail(`${fault} expected, got ${String(error)}`)
  t.equal(error.fault, fault, error.message)
  if (errno !== undefined) t.equal(error.errno, errno, error.message)
}

type Case = (t: Test, b: Backend, h: Harness) => Promise<void>
const p = nodePath

/** Runs every test of the contract, each on a fresh store. `expected` is checked both ways against what the store says and does. */
export function backendConformance(name: string, make: () => Promise<Harness>, expected: Partial<Capabilities>): void {
  void t.test(`${name} keeps the backend contract`, async (t) => {
    for (const [sentence, run] of Object.entries({ ...TREE, ...BYTES, ...ATTRIBUTES, ...MOVES })) {
      await t.test(`it ${sentence}`, async (t) => {
        const harness = await make()
        await harness.backend.start()
        t.teardown(async () => {
          await harness.backend.stop()
          await harness.dispose()
        })
        await run(t, harness.backend, harness)
      })
    }
    await t.test('it tells the truth about its capabilities', async (t) => {
      const { backend, dispose } = await make()
      await backend.start()
      t.match(backend.capabilities, expected)
      await capabilities(t, backend)
      await backend.stop()
      await dispose()
    })
  })
}

async function capabilities(t: Test, b: Backend): Promise<void> {
  await b.make(p('/a'), container)
  await b.make(p('/b'), container)
  await b.put(p('/a/x'), body('x'), { draft: file })
  if (b.capabilities.quota) {
    await b.setQuota(p('/a'), 1000)
    t.equal((await b.usage(p('/a/x'))).quota, 1000)
  } else await refused(t, b.setQuota(p('/a'), 1000), 'OperationNotSupported')
  if (b.capabilities.exchange) {
    await b.move(p('/a'), p('/b'), { exchange: true })
    t.same([await namesIn(b, p('/a')), await namesIn(b, p('/b'))], [[], ['x']])
  } else await refused(t, b.move(p('/a'), p('/b'), { exchange: true }), 'OperationNotSupported')
  if (b.capabilities.linkProperties) {
    const made = await b.make(p('/l'), { ...link('a'), properties: new Map([['k', 'v']]) })
    t.same([...made.properties], [['k', 'v']])
    t.same([...(await b.set({ path: p('/l') }, { properties: new Map([['k', null]]) })).properties], [])
  } else {
    await refused(t, b.make(p('/l'), { ...link('a'), properties: new Map([['k', 'v']]) }), 'OperationNotSupported')
  }
  if (!b.capabilities.directUrl) {
    await refused(t, b.directUrl(ROOT, { direction: 'read', seconds: 1 }), 'OperationNotSupported')
  }
}

const TREE: Record<string, Case> = {
  'walks as far as nodes exist, and not beyond a link or data node': async (t, b) => {
    await b.make(p('/a'), container)
    await b.put(p('/a/f'), body(''), { draft: file })
    await b.make(p('/a/l'), link('..'))
    const walked = async (path: string) => (await b.walk(p(path))).map((entry) => entry.path)
    t.same(await walked('/'), ['/'])
    t.same(await walked('/a/b/c'), ['/', '/a'])
    t.same(await walked('/a/f/c'), ['/', '/a', '/a/f'])
    t.same(await walked('/a/l/a'), ['/', '/a', '/a/l'])
  },
  'lists in the order of the UTF-8 bytes, from any name on': async (t, b) => {
    const names = ['a', 'a-b', 'a b', 'Z', 'é', 'e\u0301', '\uFFEE', '😀', '%2F', '#', '-x', 'x'.repeat(255), '\x01\n']
    for (const name of names) {
      if (name === 'a') await b.make(child(ROOT, name), container)
      else await b.put(child(ROOT, name), body(name), { draft: file })
    }
    const sorted = [...names].sort(byteOrder)
    t.same(await namesIn(b, ROOT), sorted)
    t.same(await namesIn(b, ROOT, { from: 'a b' }), sorted.slice(sorted.indexOf('a b')))
    t.same(await namesIn(b, ROOT, { from: 'a a' }), sorted.slice(sorted.indexOf('a b')))
    t.same((await namesIn(b, ROOT, { order: 'any' })).sort(byteOrder), sorted)
  },
  'lists what walk shows, and stops when the reader stops': async (t, b) => {
    for (let i = 0; i < 20; i++) await b.put(child(ROOT, `n${i}`), body('x'), { draft: file })
    for await (const entry of b.list(ROOT)) {
      t.same(entry, await entryAt(b, entry.path))
      if (entry.path === '/n3') break
    }
  },
  'refuses to list what is no container, or is not there': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    const list = (path: string) => namesIn(b, p(path))
    await refused(t, list('/f'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, list('/none'), 'NodeNotFound', 'ENOENT')
    await refused(t, list('/none/x'), 'ContainerNotFound', 'ENOENT')
  },
  'makes containers and links exclusively': async (t, b) => {
    const made = await b.make(p('/c'), { ...container, mtime: 123_456_789_012n })
    t.match(made, { type: 'container', path: '/c', size: 0, contentVersion: '', mtime: 123_456_789_012n })
    t.match(made.id, /^[A-Za-z0-9._-]+$/)
    t.same(made, await entryAt(b, p('/c')))
    await refused(t, b.make(p('/c'), container), 'DuplicateNode', 'EEXIST')
    await refused(t, b.make(p('/c'), link('x')), 'DuplicateNode')
    await refused(t, b.make(ROOT, container), 'DuplicateNode')
    await refused(t, b.make(p('/none/c'), container), 'ContainerNotFound', 'ENOENT')
    await b.put(p('/f'), body('x'), { draft: file })
    await refused(t, b.make(p('/f/c'), container), 'ContainerNotFound', 'ENOTDIR')
    await b.make(p('/l'), link('c'))
    await refused(t, b.make(p('/l/x'), container), 'ContainerNotFound', 'ENOTDIR')
  },
  'keeps the text of a link byte for byte': async (t, b) => {
    const texts = [Buffer.from('../a b/%41'), Buffer.from([0xff, 0xfe, 0x2f]), Buffer.from('/'.repeat(1000))]
    for (const [i, text] of texts.entries()) {
      const made = await b.make(child(ROOT, `l${i}`), link(text))
      t.match(made, { type: 'link', size: text.length, mode: 0o777, contentVersion: '' })
      t.ok(made.text?.equals(text))
      t.ok((await entryAt(b, made.path))?.text?.equals(text))
    }
    // XFS has an end at 1023 bytes: whole, or refused for what it is
    const longest = Buffer.from('a'.repeat(4095))
    const made = await b.make(p('/long'), link(longest)).catch((error: unknown) => error)
    if (made instanceof Fault) t.equal(made.errno, 'ENAMETOOLONG')
    else t.ok((await entryAt(b, p('/long')))?.text?.equals(longest))
  },
  'lets exactly one of many concurrent makes and puts win': async (t, b) => {
    const drafts = Array.from({ length: 12 }, (_, i) =>
      i % 3 === 0
        ? b.make(p('/a'), container)
        : i % 3 === 1
          ? b.make(p('/a'), link('x'))
          : b.put(p('/a'), body('x'), { draft: file, ifAbsent: true }),
    )
    const all = await Promise.allSettled(drafts)
    t.equal(all.filter((one) => one.status === 'fulfilled').length, 1)
    for (const one of all) if (one.status === 'rejected') t.equal((one.reason as Fault).fault, 'DuplicateNode')
  },
  'removes one node, its type checked': async (t, b) => {
    await b.make(p('/c'), container)
    await b.put(p('/c/f'), body('x'), { draft: file })
    await b.make(p('/c/l'), link('f'))
    await refused(t, b.remove(p('/c'), 'container'), 'ContainerNotEmpty', 'ENOTEMPTY')
    await refused(t, b.remove(p('/c'), 'leaf'), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.remove(p('/c'), 'data'), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.remove(p('/c/f'), 'container'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.remove(p('/c/l'), 'container'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.remove(p('/c/l'), 'data'), 'TypeNotSupported')
    await refused(t, b.remove(p('/c/f'), 'link'), 'TypeNotSupported')
    await refused(t, b.remove(p('/c/none'), 'leaf'), 'NodeNotFound', 'ENOENT')
    await refused(t, b.remove(p('/none/x'), 'leaf'), 'ContainerNotFound', 'ENOENT')
    await refused(t, b.remove(p('/c/f/x'), 'leaf'), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, b.remove(ROOT, 'container'), 'PermissionDenied')
    await b.remove(p('/c/l'), 'leaf')
    await b.remove(p('/c/f'), 'data')
    await b.remove(p('/c'), 'container')
    t.same(await namesIn(b, ROOT), [])
  },
  'keeps its reserved names to itself': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    for (const path of [p('/.karst'), p('/.karst/staging')]) {
      await refused(t, b.walk(path), 'PermissionDenied')
      await refused(t, b.make(path, container), 'PermissionDenied')
      await refused(t, b.put(path, body('x'), { draft: file }), 'PermissionDenied')
      await refused(t, b.read({ path }), 'PermissionDenied')
      await refused(t, b.set({ path }, { mode: 0o777 }), 'PermissionDenied')
      await refused(t, b.move(p('/f'), path), 'PermissionDenied')
      await refused(t, b.move(path, p('/g')), 'PermissionDenied')
      await refused(t, b.copy(p('/f'), path, file), 'PermissionDenied')
      await refused(t, b.remove(path, 'container'), 'PermissionDenied')
      await refused(t, namesIn(b, path), 'PermissionDenied')
    }
    t.same(await namesIn(b, ROOT), ['f'])
  },
  'says how much room there is': async (t, b) => {
    const usage = await b.usage(ROOT)
    t.ok(usage.total > 0 && usage.free >= 0 && usage.free <= usage.total)
    await b.probe()
  },
}

const BYTES: Record<string, Case> = {
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

const ATTRIBUTES: Record<string, Case> = {
  'keeps every access that can be said, and shows it in the mode': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/c'), container)
    await b.make(p('/l'), link('f'))
    const groupSets = [[], [GROUPS[0]], [...GROUPS]]
    for (const isPublic of [false, true])
      for (const groupRead of groupSets)
        for (const groupWrite of groupSets)
          for (const flag of [false, true]) {
            const want = { owner: flag ? 'bob' : 'alice', isPublic, groupRead, groupWrite, inherit: flag, locked: flag }
            for (const path of [p('/f'), p('/c'), p('/l')]) {
              const entry = await b.set({ path }, { access: want })
              t.same(entry.access, { ...want, inherit: flag && path === '/c' })
              const base = entry.type === 'container' ? (isPublic ? 0o755 : 0o750) : isPublic ? 0o644 : 0o640
              t.equal(entry.mode, shownMode(entry.type, base, want))
              t.same(entry, await entryAt(b, path))
            }
          }
  },
  'gives nodes to their owner and the group of the owner': async (t, b, { ids }) => {
    const made = await b.put(p('/f'), body('x'), { draft: file })
    t.match(made, { uid: ids.uidOf('alice'), gid: ids.gidOfUser('alice') })
    const given = await b.set({ path: p('/f') }, { access: { owner: 'bob' } })
    t.match(given, { uid: ids.uidOf('bob'), gid: ids.gidOfUser('bob'), mode: made.mode })
    t.equal((await b.set({ path: p('/f') }, { gid: 4242 })).gid, 4242)
    t.equal((await b.set({ path: p('/f') }, { access: { owner: 'alice' } })).gid, 4242, 'a chosen group stays')
  },
  'changes what it is told, and nothing else': async (t, b) => {
    const made = await b.put(p('/f'), body('x'), {
      draft: { access: { ...access, groupRead: [GROUPS[0]] }, mode: 0o740, properties: new Map([['a', '1'], ['b', '2']]) },
    }) // prettier-ignore
    const set = await b.set({ path: p('/f') }, { properties: new Map([['a', null], ['c', '3'], ['none', null]]) }) // prettier-ignore
    t.same([...set.properties].sort(), [['b', '2'], ['c', '3']]) // prettier-ignore
    const { version: _v, ctime: _c, properties: _p, ...rest } = set
    t.match(made, rest)
    t.not(set.version, made.version)
    const moded = await b.set({ path: p('/f') }, { mode: 0o604 })
    t.match(moded, { mode: 0o644, access: { isPublic: true, groupRead: [GROUPS[0]] } }, 'the group shows in the mode')
    t.equal((await b.set({ path: p('/f') }, { access: { groupRead: [] } })).mode, 0o604)
  },
  'keeps times to the nanosecond, and the content version with them': async (t, b) => {
    const made = await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/l'), link('f'))
    await b.make(p('/c'), container)
    for (const path of [p('/f'), p('/l'), p('/c')]) {
      const entry = await b.set({ path }, { mtime: 1_234_567_890_123_456_789n, atime: 5n })
      t.equal(entry.mtime, 1_234_567_890_123_456_789n)
    }
    t.match(await entryAt(b, p('/f')), { contentVersion: made.contentVersion, md5: md5('x') })
    t.equal((await b.set({ path: p('/f') }, { mtime: -1_500_000_000n })).mtime, -1_500_000_000n, 'before 1970')
  },
  'keeps every mode a program can ask for': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/c'), container)
    for (const path of [p('/f'), p('/c')])
      for (const mode of [0, 0o400, 0o200, 0o111, 0o1777, 0o4755, 0o2770, 0o644, 0o700, 0o777, 0o7777]) {
        const entry = await b.set({ path }, { mode })
        t.equal(entry.mode, mode)
        t.equal(entry.access.isPublic, (mode & 4) !== 0)
        t.same(await entryAt(b, path), entry)
      }
    t.equal(String(await bytesOf(b, p('/f'))), 'x')
  },
  'keeps properties of any URI and size': async (t, b) => {
    const properties = new Map([
      ['ivo://ivoa.net/vospace/core#description', 'x'.repeat(3000)],
      [`ivo://example.org/${'long/'.repeat(180)}#uri`, 'v'],
      ['bare', ''],
      ['karst.node', 'mine'],
      ['a:b c', ' blanks\tand\nlines 😀'],
      ['big', 'é'.repeat(30_000)],
      ['nul', 'a\0b'],
    ])
    const sorted = (of: ReadonlyMap<string, string> | undefined) => [...(of ?? [])].sort()
    await b.put(p('/f'), body('x'), { draft: { ...file, properties } })
    t.same(sorted((await entryAt(b, p('/f')))?.properties), sorted(properties))
    await b.put(p('/f'), body('y'), {})
    t.same(sorted((await entryAt(b, p('/f')))?.properties), sorted(properties), 'over replaced bytes')
    await b.move(p('/f'), p('/g'))
    t.same(sorted((await entryAt(b, p('/g')))?.properties), sorted(properties), 'over a rename')
    const copied = await b.copy(p('/g'), p('/h'), file)
    t.same(sorted(copied.properties), sorted(properties), 'in a copy')
    const gone = await b.set(
      { path: p('/g') },
      { properties: new Map([...properties.keys()].map((uri) => [uri, null])) },
    )
    t.same(gone.properties.size, 0)
    t.same(sorted((await entryAt(b, p('/h')))?.properties), sorted(properties), 'the copy is apart')
    const made = await b.make(p('/c'), { ...container, properties })
    t.same(sorted(made.properties), sorted(properties), 'on a container')
  },
}

const MOVES: Record<string, Case> = {
  'moves whole trees, ids and attributes kept': async (t, b) => {
    await b.make(p('/a'), container)
    await b.make(p('/a/b'), container)
    const made = await b.put(p('/a/b/f'), body('x'), { draft: { ...file, properties: new Map([['k', 'v']]) } })
    const before = await entryAt(b, p('/a'))
    const moved = await b.move(p('/a'), p('/z'))
    t.match(moved, { id: before?.id, path: '/z', type: 'container' })
    const found = await entryAt(b, p('/z/b/f'))
    t.match(found, { id: made.id, contentVersion: made.contentVersion, md5: md5('x') })
    t.same(found?.properties, made.properties)
    t.equal(await entryAt(b, p('/a')), undefined)
  },
  'never replaces unasked': async (t, b) => {
    await b.put(p('/a'), body('a'), { draft: file })
    await b.put(p('/b'), body('b'), { draft: file })
    await b.make(p('/c'), container)
    await b.make(p('/d'), container)
    await refused(t, b.move(p('/a'), p('/b')), 'DuplicateNode', 'EEXIST')
    await refused(t, b.move(p('/a'), p('/c')), 'DuplicateNode')
    await refused(t, b.move(p('/c'), p('/d')), 'DuplicateNode')
    await refused(t, b.move(p('/a'), p('/none/b')), 'ContainerNotFound', 'ENOENT')
    await refused(t, b.move(p('/a'), p('/b/x')), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, b.move(p('/none'), p('/x')), 'NodeNotFound')
    await refused(t, b.move(p('/c'), p('/c/x')), 'InvalidArgument', 'EINVAL')
    await refused(t, b.move(ROOT, p('/x')), 'PermissionDenied')
    t.equal(String(await bytesOf(b, p('/b'))), 'b')
  },
  'replaces as rename(2) does': async (t, b) => {
    const a = await b.put(p('/a'), body('a'), { draft: file })
    await b.put(p('/b'), body('b'), { draft: file })
    for (const name of ['c', 'd', 'd/x', 'e']) await b.make(p(`/${name}`), container)
    const replace = { replace: true }
    await refused(t, b.move(p('/a'), p('/c'), replace), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.move(p('/c'), p('/a'), replace), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.move(p('/c'), p('/d'), replace), 'ContainerNotEmpty', 'ENOTEMPTY')
    await refused(t, b.move(p('/d/x'), p('/d'), replace), 'ContainerNotEmpty', 'ENOTEMPTY')
    t.match(await b.move(p('/a'), p('/a'), replace), { id: a.id })
    t.match(await b.move(p('/a'), p('/b'), replace), { id: a.id, path: '/b' })
    await b.move(p('/c'), p('/e'), replace)
    await b.make(p('/l'), link('b'))
    await b.move(p('/l'), p('/b'), replace)
    t.same(await namesIn(b, ROOT), ['b', 'd', 'e'])
  },
  'finds a node by its id after a rename, and never another one': async (t, b) => {
    await b.make(p('/c'), container)
    const { id } = await b.put(p('/c/f'), body('mine'), { draft: file })
    const ref = { path: p('/c/f'), id }
    await b.move(p('/c/f'), p('/c/g'))
    await b.move(p('/c'), p('/d'))
    await b.make(p('/c'), container)
    await b.put(p('/c/f'), body('other'), { draft: file })
    t.equal((await b.set(ref, { mode: 0o600 })).path, '/d/g')
    const { entry, body: unread } = await b.read(ref)
    unread.destroy()
    t.equal(entry.path, '/d/g')
    await b.put(ref.path, body('mine too'), { id })
    await b.amend(ref, extents(at(0, 'M')), { length: 8 })
    t.equal(String(await bytesOf(b, p('/d/g'))), 'Mine too')
    t.equal(String(await bytesOf(b, p('/c/f'))), 'other')
    await b.remove(p('/d/g'), 'data')
    await refused(t, b.set(ref, { mode: 0o600 }), 'NodeNotFound', 'ESTALE')
    await refused(t, b.put(ref.path, body('x'), { id, draft: file }), 'NodeNotFound', 'ESTALE')
  },
  'never gives an id twice': async (t, b) => {
    const seen = new Set<string>()
    for (let i = 0; i < 50; i++) {
      const { id } = await b.put(p('/f'), body('x'), { draft: file })
      t.notOk(seen.has(id))
      seen.add(id)
      await b.remove(p('/f'), 'data')
    }
  },
  'copies one data node or link, never replacing': async (t, b, { ids }) => {
    const bytes = randomBytes(2_000_001)
    const from = await b.put(p('/f'), body(bytes), { draft: { ...file, properties: new Map([['k', 'v']]) } })
    await b.make(p('/c'), container)
    await b.make(p('/l'), link('../f'))
    const draft = { access: { ...access, owner: 'bob', groupRead: [GROUPS[1]] }, mode: 0o600 }
    const copied = await b.copy(p('/f'), p('/c/g'), draft)
    t.match(copied, { type: 'data', path: '/c/g', size: bytes.length, mode: 0o640, access: draft.access, uid: ids.uidOf('bob') }) // prettier-ignore
    t.ok(copied.md5 === undefined || copied.md5 === md5(bytes))
    t.same([...copied.properties], [['k', 'v']])
    t.not(copied.id, from.id)
    t.ok(bytes.equals(await bytesOf(b, p('/c/g'))))
    t.ok((await b.copy(p('/l'), p('/c/l'), draft)).text?.equals(Buffer.from('../f')))
    await refused(t, b.copy(p('/f'), p('/c/g'), draft), 'DuplicateNode')
    await refused(t, b.copy(p('/c'), p('/d'), draft), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.copy(p('/none'), p('/d'), draft), 'NodeNotFound')
    await refused(t, b.copy(p('/f'), p('/none/d'), draft), 'ContainerNotFound')
    await refused(t, b.copy(p('/f'), p('/d'), { ...draft, signal: AbortSignal.abort() }), 'TransferFailed')
    t.same(await namesIn(b, ROOT), ['c', 'f', 'l'])
  },
}
