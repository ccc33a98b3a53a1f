/** The storage interface on a POSIX tree: everything kept of a node stands in the file system itself. */
import { lstatSync, mkdirSync, statfsSync, symlinkSync } from 'node:fs'
import { type Readable } from 'node:stream'
import { Fault } from '../../vospace/fault.ts'
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
import { changed, refuseAborted, refuseReserved, wrongType } from '../contract.ts'
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
import { refusing } from './refusal.ts'
import { discard, renameFresh, stageSpot } from './staging.ts'
import { missing, noted, onNode, onQuietNode, type Store } from './store.ts'
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
      quota: false,
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
    this.#opened?.close()
    this.#opened = undefined
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

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    const store = this.#store
    refuseReserved(path, store.allocationParents)
    if (path === ROOT) throw new Fault('DuplicateNode', path)
    const wanted = made(store, draft)
    return makeFresh(store, path, wanted, (file) =>
      draft.type === 'link' ? symlinkSync(draft.text, file) : mkdirSync(file, 0o700),
    )
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    const shared = sharedNode(this.#store, path, options)
    if (shared === undefined) return put(this.#store, path, body, options)
    const entry = await putShared(this.#store, shared, body, options)
    return options.changes === undefined ? entry : this.set(shared, options.changes)
  }

  async read(ref: Ref, options: ReadOptions = {}): Promise<{ entry: Entry; body: Readable }> {
    return read(this.#store, ref, options)
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    return amend(this.#store, ref, extents, options)
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
    if (source.type === 'data') return copyData(store, from, to, draft)
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
    return removeChildren(this.#store, container, choose, options, this.#opened?.unservable ?? { count: 0 })
  }

  async usage(path: NodePath): Promise<Usage> {
    return onNode(this.#store, { path }, (at, inode) => {
      const file = inode.type === 'container' ? spot(at.dir, at.name).file : spot(at.dir, '.').file
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
    })
  }

  async setQuota(): Promise<void> {
    throw new Fault('OperationNotSupported', 'a plain POSIX tree keeps no quotas')
  }

  async directUrl(): Promise<URL> {
    throw new Fault('OperationNotSupported', 'a plain POSIX tree has no direct URLs')
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
    await discard(store, staged)
  }
} // prettier-ignore
