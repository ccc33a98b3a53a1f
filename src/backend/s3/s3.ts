/** The storage interface on a bucket: the tree is rows of a catalog, the bytes are objects under keys that say nothing. */
import { mkdir } from 'node:fs/promises'
import { type Readable } from 'node:stream'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../../vospace/node.ts'
import { nameOf, type NodePath } from '../../vospace/path.ts'
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
  type Imports,
  type LinkDraft,
  type ListOptions,
  type PutOptions,
  type ReadOptions,
  type Ref,
  type Removal,
  type Seen,
  type Trash,
  type Usage,
  type Arrivals,
} from '../backend.ts'
import { rangeOf, refuseAborted, wrongType } from '../contract.ts'
import { arrivalKey, S3Arrivals } from './arrivals.ts'
import { collectExtents, compose } from './amend.ts'
import { claim, claimKey } from './claim.ts'
import { list, removeChildren, survey } from './children.ts'
import { copyObject } from './copy.ts'
import { mediaType } from './entry.ts'
import { S3Imports } from './import.ts'
import { move } from './moving.ts'
import { type Opened, openStore, type S3Options } from './opened.ts'
import { ReadAhead } from './read-ahead.ts'
import { openSpan } from './read.ts'
import { Spool } from './spool.ts'
import { CatalogTrash } from './trash.ts'
import { checkContent, type Placed, type Stored, type Tree } from './tree.ts'
import { upload } from './upload.ts'

/** How often an amend begins anew because the bytes have become others meanwhile. */
const AMENDS = 8
/** Bytes that all reads together have fetched before somebody takes them. */
const AHEAD_BYTES = 128 * 2 ** 20
/** How often a read begins anew because others have written the object past the gateway. */
const REFRESHES = 2

export class S3Backend implements Backend {
  readonly trash: Trash
  readonly imports: Imports
  readonly arrivals?: Arrivals
  readonly #options: S3Options
  readonly #ahead: ReadAhead
  #opened: Opened | undefined
  /** one amend of a node after the other: each is made of what the one before has left */
  readonly #amending = new Map<number, Promise<unknown>>()

  constructor(options: S3Options) {
    const { bucket, prefix, settings, pushes } = options
    this.#options = options
    this.#ahead = new ReadAhead({
      rangeBytes: settings.partBytes,
      most: options.parallelReads ?? 1,
      bytes: AHEAD_BYTES,
    })
    this.trash = new CatalogTrash(() => this.#open)
    this.imports = new S3Imports(() => this.#open, { bucket: bucket.name, prefix })
    if (pushes !== undefined) this.arrivals = new S3Arrivals(() => this.#open, { bucket, prefix, settings, ...pushes })
  }

  get capabilities(): Capabilities {
    return {
      atomicMove: true,
      exchange: true,
      linkProperties: true,
      hardLinks: false,
      quota: true,
      directUrl: this.#options.presigned !== undefined,
      reflink: false,
      snapshots: false,
    }
  }

  /** A container that objects of a bucket are imported into stays, and what it is in. */
  isFixed(path: NodePath): boolean {
    return this.#tree.named.isFixed(path)
  }

  /** Rejects when the bucket does not answer, is not there or is of another catalog, or the catalog cannot be used. */
  async start(): Promise<void> {
    if (this.#opened !== undefined) return
    await this.#options.bucket.probe()
    await mkdir(this.#options.spool, { recursive: true, mode: 0o700 })
    const opened = openStore(this.#options)
    try {
      const { bucket, prefix, pushes } = this.#options
      await claim(this.#options, opened.tree.catalog)
      await pushes?.urls.start(bucket, claimKey(prefix), arrivalKey(prefix))
    } catch (error) {
      opened.tree.catalog.close()
      throw error
    }
    this.#opened = opened
    opened.garbage.start()
  }

  async stop(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    opened?.writes.stop()
    await opened?.garbage.stop()
    opened?.tree.catalog.close()
    this.#options.bucket.close()
    this.#options.presigned?.close()
    this.#options.pushes?.urls.close()
  }

  async probe(): Promise<void> {
    this.#tree.catalog.probe()
    await this.#options.bucket.probe()
  }

  async walk(path: NodePath): Promise<Entry[]> {
    return this.#tree.walk(path)
  }

  walkNow(path: NodePath): Entry[] {
    return this.#tree.walk(path)
  }

  list(container: NodePath, options: ListOptions = {}): AsyncIterable<Entry> {
    return list(this.#tree, container, options)
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    return this.#tree.make(path, draft)
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    const tree = this.#tree
    const target = tree.putTarget(path, options)
    const standing = target?.row.size ?? 0
    const room = tree.room(target?.path ?? path) + standing
    if (options.length !== undefined) tree.refuseRoom(target?.path ?? path, options.length - standing)
    const { settings, bucket } = this.#options
    const parts = (): AsyncIterable<Uint8Array> => within(body, room, options.after)
    const named = target === undefined ? tree.named.at(path) : tree.named.of(target.row)
    if (named !== undefined) {
      const known = (): string | null => tree.putTarget(path, options)?.row.etag ?? null
      return this.#open.writes.named(
        { named, known },
        (into, over, note) => upload(into, named.key, parts(), { ...options, over }, settings, note),
        (object) => tree.commit(path, object, options),
      )
    }
    return this.#open.writes.own(
      (key, note) => upload(bucket, key, parts(), options, settings, note),
      (object) => tree.commit(path, object, options),
    )
  }

  async read(ref: Ref, options: ReadOptions = {}): Promise<{ entry: Entry; body: Readable }> {
    return this.#read(ref, options, REFRESHES)
  }

  async #read(ref: Ref, options: ReadOptions, refreshes: number): Promise<{ entry: Entry; body: Readable }> {
    refuseAborted(options.signal)
    const tree = this.#tree
    const placed = tree.need(ref, 'data')
    const { row } = placed
    checkContent(row, options.ifContentVersion)
    const { start, count } = rangeOf(row.size, options.range)
    const release = this.#hold(placed)
    try {
      const span = { key: row.key ?? '', etag: row.etag, start, count }
      const body = await openSpan(this.#open.named.bucketOf(row), span, options.signal, this.#ahead)
      body.once('close', release)
      return { entry: tree.entry(placed), body }
    } catch (error) {
      release()
      // others may have written it past the gateway: then it is read as they have left it
      if (refreshes > 0 && isFault(error, 'TransferFailed') && (await this.#open.writes.isRefreshed(row))) {
        return this.#read(ref, options, refreshes - 1)
      }
      throw error
    }
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    const { row } = this.#tree.need(ref, 'data')
    checkContent(row, options.ifContentVersion)
    const spool = await Spool.open(this.#options.spool)
    try {
      const layers = await collectExtents(extents, spool, options.signal)
      return await this.#afterOthers(row.id, async () => {
        for (let tries = AMENDS; ; tries--) {
          const entry = await this.#amendOnce({ ...ref, id: `n${row.id}` }, { layers, spool }, options)
          if (entry !== false) return entry
          if (tries === 1) throw new Fault('ServiceBusy', 'others go on writing this node')
        }
      })
    } finally {
      await spool.close()
    }
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    return this.#tree.set(ref, changes)
  }

  async move(
    from: NodePath,
    to: NodePath,
    options: { readonly replace?: boolean; readonly exchange?: boolean } = {},
  ): Promise<Entry> {
    return move(this.#tree, from, to, options)
  }

  async copy(source: NodePath, to: NodePath, draft: { readonly access: Access; readonly mode: number } & Cancel): Promise<Entry> {
    refuseAborted(draft.signal)
    const tree = this.#tree
    const placed = tree.need({ path: source })
    const { row } = placed
    if (row.type === 'container') throw wrongType(source, 'leaf', row.type)
    tree.refuseTaken(to)
    tree.named.refuseCrossing(to)
    tree.refuseRoom(to, row.size)
    if (row.key === null) return tree.commitCopy(row, to, draft, { ...row, md5: row.md5 ?? undefined })
    const release = this.#hold(placed)
    try {
      const { bucket, settings } = this.#options
      const from = this.#open.named.bucketOf(row).name
      return await this.#open.writes.own(
        (key, note) => copyObject(bucket, row, key, settings, { note, signal: draft.signal, from }),
        (object) => tree.commitCopy(row, to, draft, object),
      )
    } finally {
      release()
    }
  } // prettier-ignore

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    this.#tree.remove(path, type, seen)
  }

  survey(container: NodePath, options: Cancel = {}): AsyncIterable<readonly Child[]> {
    return survey(this.#tree, container, options)
  }

  removeChildren(ref: Ref, choose: Choose, options: Cancel = {}): AsyncIterable<readonly Removal[]> {
    return removeChildren(this.#tree, ref, choose, options)
  }

  async link(): Promise<Entry> {
    throw new Fault('OperationNotSupported', 'a node has one name here', { errno: 'EPERM' })
  }

  async usage(path: NodePath): Promise<Usage> {
    return this.#tree.usage(path)
  }

  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    this.#tree.setQuota(container, bytes)
  }

  async directUrl(path: NodePath): Promise<URL> {
    const { presigned } = this.#options
    const { row } = this.#tree.need({ path }, 'data')
    if (presigned === undefined || row.key === null || row.size === 0) {
      throw new Fault('OperationNotSupported', 'there is no URL for that')
    }
    const object = { bucket: this.#open.named.bucketOf(row).name, key: row.key }
    return presigned.read(object, mediaType(row), nameOf(path))
  }

  /** Key of the object of a data node; undefined: it has no bytes. For who looks into the bucket besides. */
  objectOf(path: NodePath): string | undefined {
    return this.#tree.need({ path }, 'data').row.key ?? undefined
  }

  get #open(): Opened {
    if (this.#opened === undefined) throw new Fault('ServiceBusy', 'the store is not started')
    return this.#opened
  }

  get #tree(): Tree {
    return this.#open.tree
  }

  /** A node's object stays until the answered function is called. */
  #hold({ row }: Placed): () => void {
    return row.key === null ? () => undefined : this.#open.garbage.hold(row.key)
  }

  async #amendOnce(
    ref: Ref,
    { layers, spool }: { readonly layers: Parameters<typeof compose>[0]['layers']; readonly spool: Spool },
    options: AmendOptions,
  ): Promise<Entry | false> {
    const tree = this.#tree
    const placed = tree.need(ref, 'data')
    const { row } = placed
    checkContent(row, options.ifContentVersion)
    tree.refuseRoom(placed.path, options.length - row.size)
    const { bucket, settings } = this.#options
    const { length, signal } = options
    const release = this.#hold(placed)
    const commit = (object: Stored): Entry | false => tree.commitAmend(row.id, row, object, options.mtime)
    const named = tree.named.of(row)
    try {
      if (named !== undefined) {
        tree.named.refuseReadOnly(row)
        const isSame = (): boolean => tree.catalog.byId(row.id)?.content === row.content
        return await this.#open.writes
          .named(
            { named, known: () => row.etag },
            (into, over, note) =>
              compose({ bucket: into, key: named.key, old: row, layers, spool, length, signal, over }, settings, note),
            commit,
          )
          .catch((error: unknown) => {
            // another write of ours: once more, over what that has left
            if (isFault(error, 'PreconditionFailed', 'TransferFailed') && !isSame()) return false as const
            throw error
          })
      }
      return await this.#open.writes.own(
        (key, note) => compose({ bucket, key, old: row, layers, spool, length, signal }, settings, note),
        commit,
      )
    } finally {
      release()
    }
  }

  async #afterOthers<T>(node: number, work: () => Promise<T>): Promise<T> {
    const before = this.#amending.get(node)
    const mine = before === undefined ? work() : before.then(work, work)
    this.#amending.set(node, mine)
    try {
      return await mine
    } finally {
      if (this.#amending.get(node) === mine) this.#amending.delete(node)
    }
  }
}

/** A body that is cut when there is no room for more, and ends after `after`: an object of that key is seen once it is whole. */
async function* within(
  body: AsyncIterable<Uint8Array>,
  room: number,
  after: Promise<void> | undefined,
): AsyncGenerator<Uint8Array, void> {
  let size = 0
  for await (const piece of body) {
    size += piece.length
    if (size > room) throw new Fault('QuotaExceeded', `there is room for ${Math.max(0, room)} bytes`)
    yield piece
  }
  await after
}
