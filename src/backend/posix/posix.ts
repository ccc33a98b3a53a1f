/** The storage interface on a POSIX tree: everything kept of a node stands in the file system itself. */
import { lstatSync, mkdirSync, statfsSync, symlinkSync } from 'node:fs'
import { type Readable } from 'node:stream'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../../vospace/node.ts'
import { ROOT, type NodePath } from '../../vospace/path.ts'
import {
  type AmendOptions,
  type Backend,
  type Cancel,
  type Capabilities,
  type Changes,
  type Child,
  type Choose,
  type ContainerDraft,
  type Extent,
  type LinkDraft,
  type ListOptions,
  type PosixCalls,
  type PutOptions,
  type ReadOptions,
  type Ref,
  type Removal,
  type Seen,
  type Trash,
  type Usage,
} from '../backend.ts'
import { allocationOf, changed, refuseAborted, refuseReserved, wrongType } from '../contract.ts'
import { aclOfMode } from '../../vospace/posix-acl.ts'
import { amend } from './amend.ts'
import { removeChildren, survey } from './children.ts'
import { readInode } from './inode.ts'
import { type Wanted, wantedOf, writeInode } from './inode-write.ts'
import { list } from './list.ts'
import { link, move, remove } from './moving.ts'
import { open, type Opened, type PosixOptions } from './open.ts'
import { copyData, put } from './put.ts'
import { putShared, sharedNode } from './put-shared.ts'
import { read } from './read.ts'
import { freeIn, grow, Growth, numbered } from './quota.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { discard, renameFresh, stageSpot } from './staging.ts'
import { missing, needType, noted, onNode, onQuietNode, type Store } from './store.ts'
import { PosixTrash } from './trash.ts'
import { trustedCalls } from './trusted.ts'
import { spot } from './tree.ts'

export class PosixBackend implements Backend {
  readonly trash: Trash = new PosixTrash(() => this.#store)
  /** In root mode: the kernel must keep owners and modes. */
  readonly posix?: PosixCalls
  readonly #options: PosixOptions
  #opened: Opened | undefined

  constructor(options: PosixOptions) {
    this.#options = options
    if (options.mode === 'root') {
      this.posix = trustedCalls(() => ({ store: this.#store, exchange: this.capabilities.exchange }))
    }
  }

  /** Before start: what every POSIX tree can. */
  get capabilities(): Capabilities {
    return {
      atomicMove: true,
      exchange: this.#opened?.exchange ?? true,
      linkProperties: true,
      hardLinks: true,
      quota: this.#options.quotas !== undefined,
      directUrl: false,
      reflink: this.#opened?.store.reflink ?? false,
      snapshots: false,
    }
  }

  /** Names passed over in listings since the start: no UTF-8, sockets, FIFOs, devices. */
  get unservable(): number {
    return this.#opened?.unservable.count ?? 0
  }

  async start(): Promise<void> {
    this.#opened ??= await open(this.#options)
  }

  async stop(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await opened?.close()
  }

  async probe(): Promise<void> {
    refusing('the store', () => statfsSync(spot(this.#store.tree.fd, '.').file))
    refusing('the store', () => lstatSync(this.#options.root))
  }

  get #store(): Store {
    if (this.#opened === undefined) throw new Fault('ServiceBusy', 'the store is not started')
    return this.#opened.store
  }

  async walk(path: NodePath): Promise<Entry[]> {
    return this.walkNow(path)
  }

  walkNow(path: NodePath): Entry[] {
    const store = this.#store
    refuseReserved(path, store.allocationParents)
    return refusing(path, () => store.way.walk(path))
  }

  list(container: NodePath, options: ListOptions = {}): AsyncIterable<Entry> {
    const store = this.#store
    return list(store, container, options, this.#opened?.unservable ?? { count: 0 })
  }

  isLimited(chain: readonly Entry[]): boolean {
    return this.#store.quotas?.isLimited(chain) ?? false
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    const store = this.#store
    refuseReserved(path, store.allocationParents)
    if (path === ROOT) throw new Fault('DuplicateNode', path)
    const wanted = made(store, draft)
    return this.#numbered(path, () =>
      makeFresh(store, path, wanted, (file) =>
        draft.type === 'link' ? symlinkSync(draft.text, file) : mkdirSync(file, 0o700),
      ),
    )
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    const growing = { path, now: () => this.#sizeAt(path, options) }
    return this.#growing(growing, async (growth) => {
      if (options.length !== undefined) await growth?.announce(options.length)
      const parts = growth?.within(body, (part) => part.length) ?? body
      const shared = sharedNode(this.#store, path, options)
      if (shared === undefined) return put(this.#store, path, parts, options, () => growth?.check())
      const entry = await putShared(this.#store, shared, parts, options)
      return options.changes === undefined ? entry : this.set(shared, options.changes)
    })
  }

  async read(ref: Ref, options: ReadOptions = {}): Promise<{ entry: Entry; body: Readable }> {
    return read(this.#store, ref, options)
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    return this.#growing({ path: ref.path, now: () => this.#sizeAt(ref.path, ref) }, async (growth) => {
      await growth?.announce(options.length)
      const parts = growth?.within(extents, (part) => ('bytes' in part ? part.bytes.length : 0)) ?? extents
      return amend(this.#store, ref, parts, options)
    })
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    const store = this.#store
    return onQuietNode(store, ref, (at, inode, path) => {
      try {
        writeInode(at.file, inode, wantedOf(inode, changes, store.keeping), store.keeping)
      } catch (error) {
        const now = readInode(at.file, store.keeping)
        if (now !== undefined) {
          const before = { ...wantedOf(inode, {}, store.keeping), mtime: inode.stat.mtimeNs }
          writeInode(at.file, now, before, store.keeping)
        }
        throw error
      }
      const after = readInode(at.file, store.keeping)
      if (after === undefined) throw missing(ref)
      return noted(store, after, path)
    })
  }

  async move(
    from: NodePath,
    to: NodePath,
    options: { readonly replace?: boolean; readonly exchange?: boolean } = {},
  ): Promise<Entry> {
    return move(this.#store, from, to, { ...options, canExchange: this.capabilities.exchange })
  }

  async copy(
    from: NodePath,
    to: NodePath,
    draft: { readonly access: Access; readonly mode: number } & Cancel,
  ): Promise<Entry> {
    const store = this.#store
    refuseAborted(draft.signal)
    const source = onNode(store, { path: from }, (_at, inode) => inode)
    refuseReserved(to, store.allocationParents)
    if (source.type === 'container') throw wrongType(from, 'leaf', source.type)
    if (source.type === 'data') {
      return this.#growing({ path: to, now: () => 0 }, async (growth) => {
        await growth?.announce(Number(source.stat.size))
        return copyData(store, from, to, draft)
      })
    }
    const text = source.text ?? Buffer.alloc(0)
    const { properties } = source
    return this.make(to, { type: 'link', text, access: draft.access, mode: draft.mode, properties })
  }

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    remove(this.#store, path, type, { seen })
  }

  async link(ref: Ref, to: NodePath): Promise<Entry> {
    return link(this.#store, ref, to)
  }

  survey(container: NodePath, options: Cancel = {}): AsyncIterable<readonly Child[]> {
    return survey(this.#store, container, options, this.#opened?.unservable ?? { count: 0 })
  }

  removeChildren(container: Ref, choose: Choose, options: Cancel = {}): AsyncIterable<readonly Removal[]> {
    const all = this.#opened?.unservable ?? { count: 0 }
    return unknown(this.#store, container.path, removeChildren(this.#store, container, choose, options, all))
  }

  async usage(path: NodePath): Promise<Usage> {
    const store = this.#store
    const whole = onNode(store, { path }, (at, inode) =>
      room(inode.type === 'container' ? spot(at.dir, at.name).file : spot(at.dir, '.').file),
    )
    const limited = refusing(path, () => store.quotas?.room(path))
    if (limited === undefined) return whole
    const { quota, used, files, filesFree } = limited
    // a file system with projects says of a folder what is left of its project
    const { free, filesFree: most } = refusing(path, () => room(spot(store.tree.fd, '.').file))
    return {
      quota,
      used,
      total: quota,
      free: Math.min(free, freeIn(limited)),
      files,
      filesFree: filesFree ?? most,
      keptBy: store.quotas?.by ?? 'storage',
    }
  }

  /** On allocations; OperationNotSupported for others. */
  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    const store = this.#store
    const { quotas, allocationParents } = store
    if (quotas === undefined) throw new Fault('OperationNotSupported', 'this storage has no quotas')
    onNode(store, { path: container }, (_at, inode) => needType(inode, 'container', container))
    if (allocationOf(container, allocationParents) !== container) {
      throw new Fault('OperationNotSupported', 'on a POSIX tree a quota stands on an allocation')
    }
    await refusingAsync(container, () => quotas.set(container, bytes ?? undefined))
  }

  async directUrl(): Promise<URL> {
    throw new Fault('OperationNotSupported', 'a plain POSIX tree has no direct URLs')
  }

  /** Runs what makes a node larger within the quota of its allocation. */
  async #growing(
    { path, now }: { readonly path: NodePath; readonly now: () => number },
    step: (growth: Growth | undefined) => Promise<Entry>,
  ): Promise<Entry> {
    const { quotas, allocationParents } = this.#store
    if (quotas === undefined) return step(undefined)
    refuseReserved(path, allocationParents)
    return this.#numbered(path, async () => {
      if (refusing(path, () => quotas.room(path)) === undefined) return step(undefined)
      await refusingAsync(path, () => quotas.counted(path))
      return grow(new Growth(quotas, path, now()), step)
    })
  }

  /** Bytes of a data node; 0: there is none, or another. */
  #sizeAt(path: NodePath, { id }: { readonly id?: string }): number {
    try {
      const ref = { path, ...(id !== undefined && { id }) }
      return onNode(this.#store, ref, (_at, { type, stat }) => (type === 'data' ? Number(stat.size) : 0))
    } catch (error) {
      // the step itself refuses it
      if (isFault(error)) return 0
      throw error
    }
  }

  async #numbered(path: NodePath, step: () => Promise<Entry>): Promise<Entry> {
    try {
      return await step()
    } catch (error) {
      const { quotas, tree } = this.#store
      throw numbered(quotas, path, () => room(spot(tree.fd, '.').file).free, error)
    }
  }
}

/** Removals of which nobody knows the bytes. */
async function* unknown<T>({ quotas }: Store, path: NodePath, removals: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const removal of removals) {
    quotas?.changed(path, undefined)
    yield removal
  }
}

/** Of the file system. */
function room(file: string): Usage {
  const { blocks, bfree, bavail, bsize, files, ffree } = statfsSync(file)
  return {
    used: (blocks - bfree) * bsize,
    quota: null,
    // without what only root may still use, so that used and free make the whole
    total: (blocks - bfree + bavail) * bsize,
    free: bavail * bsize,
    files: files - ffree,
    filesFree: ffree,
  }
}

function made({ keeping }: Store, draft: ContainerDraft | LinkDraft): Wanted {
  const { type, properties = new Map<string, string>() } = draft
  const gid = keeping.ids.gidOfUser(draft.access.owner)
  const kept = changed(type, { ...draft, properties, gid })
  return { ...kept, gid, acl: aclOfMode(kept.mode), mtime: draft.type === 'container' ? draft.mtime : undefined }
}

/** Makes a container or link aside with all its attributes, then gives it its name, unless that is taken. */
async function makeFresh(store: Store, path: NodePath, wanted: Wanted, make: (file: string) => void): Promise<Entry> {
  const taken = () => new Fault('DuplicateNode', path)
  refusing(path, () => store.tree.at(path, (to) => {
    if (lstatSync(to.file, { throwIfNoEntry: false }) !== undefined) throw taken()
  }))
  const staged = refusing(path, () => stageSpot(store, path))
  try {
    return refusing(path, () => {
      make(staged.file)
      const fresh = readInode(staged.file, store.keeping)
      if (fresh === undefined) throw new Fault('InternalFault', 'the staged node is gone')
      writeInode(staged.file, fresh, wanted, store.keeping)
      return store.tree.at(path, (to) => {
        if (!renameFresh(staged, to)) throw taken()
        const inode = readInode(to.file, store.keeping)
        if (inode === undefined) throw new Fault('NodeNotFound', path)
        return noted(store, inode, path)
      })
    })
  } finally {
    discard(store, staged)
  }
} // prettier-ignore
