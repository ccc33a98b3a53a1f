/** The storage interface in memory: the shortest code that keeps the contract. The oracle of the conformance suite, and everyone's fake. */
import { Readable } from 'node:stream'
import { Fault } from '../vospace/fault.ts'
import { shownMode } from '../vospace/mode.ts'
import { groupList, type Entry, type NodeType } from '../vospace/node.ts'
import { byteOrder, child, isWithin, nameOf, parentOf, ROOT, stepsOf, type NodePath } from '../vospace/path.ts'
// prettier-ignore
import {
  type AmendOptions, type Backend, type Cancel, type Capabilities, type Child, type Choose, type Changes, type ContainerDraft, type DataDraft, type Extent,
  type Ids, type LinkDraft, type ListOptions, type PutOptions, type ReadOptions, type Ref, type Removal, type Seen, type Usage,
} from './backend.ts'
import { countedIds } from './counted-ids.ts'
import { checkVersion, childPages, draftOf, type Kept, replaceable, type Stored, taken, within } from './memory-node.ts'
import { MemoryTrash } from './memory-trash.ts'
import { amended, collect, md5Of, noRoom } from './memory-bytes.ts'
// prettier-ignore
import {
  changed, rangeOf, received, refuseAborted, refuseReserved, refuseUnseen, writtenMode, wrongType,
} from './contract.ts'

export interface MemoryOptions {
  /** default: users get numbers as they come, from 1000; groups from 100000 */
  readonly ids?: Ids
  /** bytes for the whole store; default without limit */
  readonly quota?: number
  /** owner of the root container; default `root` */
  readonly owner?: string
  readonly allocationParents?: readonly NodePath[]
}

const TOTAL = 2 ** 40

export class MemoryBackend implements Backend {
  readonly capabilities: Capabilities = {
    atomicMove: true,
    exchange: true,
    linkProperties: true,
    hardLinks: false,
    quota: true,
    directUrl: false,
    reflink: false,
    snapshots: false,
  }
  readonly trash: MemoryTrash<Stored>
  readonly #ids: Ids
  readonly #parents: readonly NodePath[]
  readonly #byId = new Map<string, Stored>()
  readonly #root: Stored
  #count = 0
  #clock = 0n

  constructor(options: MemoryOptions = {}) {
    this.#ids = options.ids ?? countedIds()
    this.#parents = options.allocationParents ?? []
    const access = {
      owner: options.owner ?? 'root',
      isPublic: true,
      groupRead: [],
      groupWrite: [],
      inherit: false,
      locked: false,
    }
    this.trash = new MemoryTrash<Stored>({
      cut: (path, seen) => this.#cut(path, seen),
      plant: (stored, to) => this.#plant(stored, to),
      nodeAt: (path) => this.#need({ path }),
      pathOf: ({ path }) => path,
      allocationParents: this.#parents,
    })
    this.#root = this.#fresh(ROOT, { type: 'container', access, mode: 0o755 })
    this.#root.quota = options.quota ?? null
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async probe(): Promise<void> {}

  async walk(path: NodePath): Promise<Entry[]> {
    return this.walkNow(path)
  }

  walkNow(path: NodePath): Entry[] {
    refuseReserved(path, this.#parents)
    return this.#along(path).map((stored) => this.#entry(stored))
  }

  async *list(container: NodePath, options: ListOptions = {}): AsyncIterable<Entry> {
    const { children } = this.#need({ path: container }, 'container')
    const from = options.order === 'any' ? '' : (options.from ?? '')
    for (const name of [...children.keys()].sort(byteOrder)) {
      refuseAborted(options.signal)
      const stored = children.get(name)
      if (stored !== undefined && byteOrder(name, from) >= 0) yield this.#entry(stored)
    }
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    return this.#entry(this.#add(path, () => this.#fresh(path, draft)))
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    const before = this.#putTarget(path, options)
    const room = this.#room(before?.path ?? path) + (before?.bytes.length ?? 0)
    if ((options.length ?? 0) > room) throw noRoom()
    const bytes = await collect(body, options, room)
    await options.after
    const replaced = this.#putTarget(path, options)
    if (replaced !== undefined) replaced.mode = writtenMode(replaced.mode)
    const stored = replaced ?? this.#add(path, () => this.#fresh(path, draftOf(options)))
    stored.bytes = bytes
    return this.#change(
      stored,
      { ...options.changes, mtime: options.mtime ?? options.changes?.mtime ?? this.#now() },
      true,
    )
  }

  async read(ref: Ref, options: ReadOptions = {}): Promise<{ entry: Entry; body: Readable }> {
    refuseAborted(options.signal)
    const stored = this.#need(ref, 'data')
    checkVersion(stored, options.ifContentVersion)
    const { start, count } = rangeOf(stored.bytes.length, options.range)
    const bytes = stored.bytes.subarray(start, start + count)
    return { entry: this.#entry(stored), body: Readable.from(count === 0 ? [] : [bytes], { objectMode: false }) }
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    checkVersion(this.#need(ref, 'data'), options.ifContentVersion)
    const taken: Extent[] = []
    for await (const extent of received(extents, options.signal)) taken.push(extent)
    const stored = this.#need(ref, 'data')
    checkVersion(stored, options.ifContentVersion)
    if (options.length - stored.bytes.length > this.#room(stored.path)) throw noRoom()
    stored.bytes = amended(stored.bytes, taken, options.length)
    stored.mode = writtenMode(stored.mode)
    return this.#change(stored, { mtime: options.mtime ?? this.#now() }, true)
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    return this.#change(this.#need(ref), changes)
  }

  async move(
    from: NodePath,
    to: NodePath,
    options: { readonly replace?: boolean; readonly exchange?: boolean } = {},
  ): Promise<Entry> {
    const stored = this.#need({ path: from })
    const parent = this.#parent(to)
    const there = parent.children.get(nameOf(to))
    if (from === ROOT || to === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    if (options.exchange === true) return this.#exchange(stored, this.#need({ path: to }))
    if (there !== undefined && options.replace !== true) throw new Fault('DuplicateNode', to)
    if (there === stored) return this.#entry(stored)
    if (isWithin(to, from)) throw new Fault('InvalidArgument', `${from} into itself`)
    if (there !== undefined) replaceable(stored, there)
    this.#moveRoom(stored, to, there === undefined ? 0 : this.#sizeOf(there))
    if (there !== undefined) this.#byId.delete(there.id)
    this.#need({ path: parentOf(from) }).children.delete(nameOf(from))
    this.#place(stored, to)
    return this.#entry(stored)
  }

  async copy(
    from: NodePath,
    to: NodePath,
    draft: { readonly access: Entry['access']; readonly mode: number } & Cancel,
  ): Promise<Entry> {
    refuseAborted(draft.signal)
    const { type, text, bytes, properties } = this.#need({ path: from })
    if (type === 'container') throw wrongType(from, 'leaf', type)
    const stored = this.#add(to, () => {
      if (bytes.length > this.#room(to)) throw noRoom()
      const { access, mode } = draft
      return this.#fresh(to, type === 'link' ? { type, text: text ?? bytes, access, mode, properties } : { type, access, mode, properties })
    }) // prettier-ignore
    stored.bytes = bytes
    return this.#entry(stored)
  }

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    const stored = this.#need({ path })
    refuseUnseen(stored, seen, path)
    if (stored.type !== type && (type !== 'leaf' || stored.type === 'container'))
      throw wrongType(path, type, stored.type)
    if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    if (stored.children.size > 0 || this.trash.keptBy(stored).length > 0) throw new Fault('ContainerNotEmpty', path)
    this.#need({ path: parentOf(path) }).children.delete(nameOf(path))
    this.#byId.delete(stored.id)
  }

  async *survey(container: NodePath, options: Cancel = {}): AsyncIterable<readonly Child[]> {
    yield* childPages(this.#need({ path: container }, 'container'), options)
  }

  async *removeChildren(ref: Ref, choose: Choose, options: Cancel = {}): AsyncIterable<readonly Removal[]> {
    const stored = this.#need(ref, 'container')
    for (const page of childPages(stored, options)) {
      if (this.#along(ref.path).at(-1) !== stored) throw new Fault('NodeNotFound', ref.path, { errno: 'ESTALE' })
      const removals = choose(page).map((child) => taken(stored, child))
      for (const { child, fault } of removals) if (fault === undefined) this.#byId.delete(child.id)
      yield removals
    }
  }

  async usage(path: NodePath): Promise<Usage> {
    const limited = this.#limits(path).at(-1) ?? this.#root
    const used = this.#sizeOf(limited)
    const total = limited.quota ?? TOTAL
    return { used, quota: limited.quota, total, free: this.#room(path), files: this.#byId.size, filesFree: null }
  }

  async link(): Promise<Entry> {
    throw new Fault('OperationNotSupported', 'a node has one name here', { errno: 'EPERM' })
  }

  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    this.#need({ path: container }, 'container').quota = bytes
  }

  async directUrl(): Promise<URL> {
    throw new Fault('OperationNotSupported', 'no direct URLs')
  }

  #cut(path: NodePath, seen: Seen): Stored {
    const stored = this.#need({ path })
    refuseUnseen(stored, seen, path)
    this.#need({ path: parentOf(path) }).children.delete(nameOf(path))
    for (const below of within(stored)) this.#byId.delete(below.id)
    return stored
  }

  #plant(stored: Stored, to: NodePath): Entry {
    if (to === ROOT || this.#parent(to).children.has(nameOf(to))) throw new Fault('DuplicateNode', to)
    for (const below of within(stored)) this.#byId.set(below.id, below)
    this.#place(stored, to)
    return this.#entry(stored)
  }

  #putTarget(path: NodePath, options: PutOptions): Stored | undefined {
    const { id } = options
    const found = id === undefined ? this.#parent(path).children.get(nameOf(path)) : this.#need({ path, id })
    const stored = path === ROOT ? this.#root : found
    if (stored !== undefined && options.ifAbsent === true) throw new Fault('DuplicateNode', path)
    if (stored === undefined && options.draft === undefined) throw new Fault('NodeNotFound', path)
    if (stored !== undefined && stored.type !== 'data') throw wrongType(path, 'data', stored.type)
    if (stored === undefined && options.ifContentVersion !== undefined) throw new Fault('PreconditionFailed', path)
    if (stored !== undefined) checkVersion(stored, options.ifContentVersion)
    return stored
  }

  #exchange(a: Stored, b: Stored): Entry {
    const { path: from } = a
    const { path: to } = b
    if (a !== b && (isWithin(to, from) || isWithin(from, to))) throw new Fault('InvalidArgument', `${from} into ${to}`)
    this.#moveRoom(a, to, this.#sizeOf(b))
    this.#moveRoom(b, from, this.#sizeOf(a))
    this.#place(b, from)
    this.#place(a, to)
    return this.#entry(a)
  }

  #place(stored: Stored, to: NodePath): void {
    const rename = (node: Stored, path: NodePath) => {
      node.path = path
      for (const [name, below] of node.children) rename(below, child(path, name))
    }
    rename(stored, to)
    this.#need({ path: parentOf(to) }).children.set(nameOf(to), stored)
    this.#touch(stored)
  }

  #change(stored: Stored, changes: Changes, bytes = false): Entry {
    const { owner } = stored.access
    const next: Kept = changed(stored.type, stored, changes)
    // the owner's own group follows the owner
    const own = stored.gid === this.#ids.gidOfUser(owner) && changes.gid === undefined
    if (own) next.gid = this.#ids.gidOfUser(next.access.owner)
    Object.assign(stored, next, { mtime: changes.mtime ?? stored.mtime })
    this.#touch(stored)
    if (bytes) stored.contentVersion = `c${stored.version}`
    return this.#entry(stored)
  }

  #touch(stored: Stored): void {
    stored.ctime = this.#now()
    stored.version = String(++this.#count)
  }

  /** Nanoseconds, never the same twice. */
  #now(): bigint {
    const now = BigInt(Date.now()) * 1_000_000n
    return (this.#clock = now > this.#clock ? now : this.#clock + 1n)
  }

  #fresh(path: NodePath, draft: ContainerDraft | LinkDraft | ({ readonly type: 'data' } & DataDraft)): Stored {
    const now = this.#now()
    const gid = ('gid' in draft ? draft.gid : undefined) ?? this.#ids.gidOfUser(draft.access.owner)
    const kept = {
      access: draft.access,
      mode: draft.mode,
      gid,
      properties: draft.properties ?? new Map<string, string>(),
    }
    const mtime = ('mtime' in draft ? draft.mtime : undefined) ?? now
    const count = String(++this.#count)
    const stored: Stored = {
      ...changed(draft.type, kept),
      id: `m${count}`, type: draft.type, path, children: new Map(), bytes: Buffer.alloc(0), quota: null,
      ...(draft.type === 'link' && { text: Buffer.from(draft.text) }),
      mtime, ctime: now, contentVersion: draft.type === 'data' ? `c${count}` : '', version: count,
    } // prettier-ignore
    this.#byId.set(stored.id, stored)
    return stored
  }

  #add(path: NodePath, fresh: () => Stored): Stored {
    const parent = this.#parent(path)
    if (path === ROOT || parent.children.has(nameOf(path))) throw new Fault('DuplicateNode', path)
    const stored = fresh()
    parent.children.set(nameOf(path), stored)
    return stored
  }

  #parent(path: NodePath): Stored {
    refuseReserved(path, this.#parents)
    let at: Stored | undefined = this.#root
    for (const name of stepsOf(parentOf(path))) {
      if (at.type !== 'container') break
      at = at.children.get(name)
      if (at === undefined) throw new Fault('ContainerNotFound', parentOf(path))
    }
    if (at.type !== 'container') throw new Fault('ContainerNotFound', parentOf(path), { errno: 'ENOTDIR' })
    return at
  }

  #need(ref: Ref, type?: NodeType): Stored {
    const { path, id } = ref
    let stored = id === undefined ? undefined : this.#byId.get(id)
    if (id === undefined) stored = path === ROOT ? this.#root : this.#parent(path).children.get(nameOf(path))
    if (id !== undefined) refuseReserved(path, this.#parents)
    if (stored === undefined) throw new Fault('NodeNotFound', path, id === undefined ? {} : { errno: 'ESTALE' })
    if (type !== undefined && stored.type !== type) throw wrongType(path, type, stored.type)
    return stored
  }

  #along(path: NodePath): Stored[] {
    const found = [this.#root]
    for (const name of stepsOf(path)) {
      const next = found.at(-1)?.children.get(name)
      if (next === undefined) break
      found.push(next)
    }
    return found
  }

  /** With what waits in the trash of its allocations. */
  #sizeOf(stored: Stored): number {
    let sum = 0
    for (const below of within(stored)) {
      sum += below.bytes.length
      for (const kept of this.trash.keptBy(below)) sum += this.#sizeOf(kept)
    }
    return sum
  }

  #limits(path: NodePath): Stored[] {
    return this.#along(path).filter((stored) => stored.quota !== null)
  }

  #room(path: NodePath): number {
    return Math.min(TOTAL, ...this.#limits(path).map((stored) => (stored.quota ?? TOTAL) - this.#sizeOf(stored)))
  }

  #moveRoom(stored: Stored, to: NodePath, freed: number): void {
    for (const limit of this.#limits(parentOf(to))) {
      if (isWithin(stored.path, limit.path)) continue
      if (this.#sizeOf(limit) + this.#sizeOf(stored) - freed > (limit.quota ?? TOTAL)) throw noRoom()
    }
  }

  #entry(stored: Stored): Entry {
    const { id, path, type, access, mtime, ctime, contentVersion, version, bytes, text } = stored
    const folders = [...stored.children.values()].filter((below) => below.type === 'container').length
    return {
      id, path, type, mtime, ctime, contentVersion, version,
      size: type === 'link' ? (text?.length ?? 0) : bytes.length,
      mode: shownMode(type, stored.mode, access),
      uid: this.#ids.uidOf(access.owner) ?? 65534,
      gid: stored.gid ?? 65534,
      nlink: type === 'container' ? 2 + folders : 1,
      access: { ...access, groupRead: groupList(access.groupRead), groupWrite: groupList(access.groupWrite) },
      properties: new Map(stored.properties),
      ...(type === 'data' && { md5: md5Of(bytes) }),
      ...(text !== undefined && { text: Buffer.from(text) }),
    } // prettier-ignore
  }
}
