/**
 * The storage interface on CephFS: a POSIX tree, and what only CephFS has: quotas of directories, usage with everything below, layouts. It stands
 * around a PosixBackend of the same folder. What the cluster says of usage is some seconds old, and quotas are kept by the clients of the
 * cluster, each for itself: several gateways may together go over one by what they write at the same moment.
 */
import { statfs } from 'node:fs/promises'
import { type Readable } from 'node:stream'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../../vospace/node.ts'
import { parentOf, ROOT, type NodePath } from '../../vospace/path.ts'
// prettier-ignore
import {
  type AmendOptions, type Backend, type Cancel, type Capabilities, type Changes, type Child, type Choose, type ContainerDraft, type Extent,
  type LinkDraft, type ListOptions, type PosixCalls, type PutOptions, type ReadOptions, type Ref, type Removal, type Seen, type Snapshots, type Trash, type Usage,
} from '../backend.ts'
import { allocationOf, wrongType } from '../contract.ts'
import { type PosixBackend } from '../posix/posix.ts'
import { refusal, refusing } from '../posix/refusal.ts'
import { CephDirectories, type CephDirectory } from './attributes.ts'
import { refuseSnapshots, withoutSnapshots } from './names.ts'
import { CephSnapshots, withoutThoseOfDeleted } from './snapshots.ts'

export interface CephFsOptions {
  /** of the same folder, not started */
  readonly tree: PosixBackend
  readonly root: string
  /** Containers whose children are allocations: quotas stand on these. */
  readonly allocationParents: readonly NodePath[]
  /** data pool of what is written from now on; absent: as the folder has it */
  readonly pool?: string
}

/** A client that has lost its cluster hangs for minutes: it is not waited for. */
const PROBE_MS = 5000

export class CephFsBackend implements Backend {
  readonly #tree: PosixBackend
  readonly #options: CephFsOptions
  readonly #directories = new CephDirectories()
  readonly posix?: PosixCalls
  readonly trash: Trash
  readonly snapshots: Snapshots

  constructor(options: CephFsOptions) {
    this.#options = options
    this.#tree = options.tree
    this.trash = withoutThoseOfDeleted(options.tree.trash, this.#directories)
    const { tree, allocationParents } = options
    this.snapshots = new CephSnapshots({ now: this, tree, directories: this.#directories, allocationParents })
    if (options.tree.posix !== undefined) this.posix = withoutSnapshots(options.tree.posix)
  }

  get capabilities(): Capabilities {
    return { ...this.#tree.capabilities, quota: true, snapshots: true }
  }

  /** OperationNotSupported for a folder that is not on CephFS, and for a pool that is none of its data pools. */
  async start(): Promise<void> {
    const { root, pool } = this.#options
    await this.#tree.start()
    try {
      this.#directories.open(root)
      const bytes = this.#directories.at(ROOT, (directory) => directory.bytes)
      if (bytes === undefined) throw new Fault('OperationNotSupported', `${root} is not on CephFS`)
      if (pool !== undefined) this.#usePool(pool)
    } catch (error) {
      await this.stop()
      throw refusal(error, root)
    }
  }

  #usePool(pool: string): void {
    try {
      this.#directories.at(ROOT, (directory) => {
        if (directory.pool !== pool) directory.pool = pool
      })
    } catch (error) {
      const why = `${pool} cannot be the data pool of ${this.#options.root}: it is none of the file system, or this client may not set layouts (mds cap p)`
      throw new Fault('OperationNotSupported', why, { cause: error })
    }
  }

  async stop(): Promise<void> {
    this.#directories.close()
    await this.#tree.stop()
  }

  /** Rejects for a client that has died (ENOTCONN) and for one that does not answer in time (ETIMEDOUT). */
  async probe(): Promise<void> {
    const { root } = this.#options
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      late.reject(new Fault('ServiceBusy', `${root} does not answer`, { errno: 'ETIMEDOUT' }))
    }, PROBE_MS)
    try {
      await Promise.race([statfs(root), late.promise])
      await this.#tree.probe()
    } catch (error) {
      throw refusal(error, root)
    } finally {
      clearTimeout(timer)
    }
  }

  async walk(path: NodePath): Promise<Entry[]> {
    refuseSnapshots(path)
    const chain = await this.#tree.walk(path)
    return chain.map((entry, i) => (i === chain.length - 1 ? this.#sized(entry) : entry))
  }

  async *list(container: NodePath, options?: ListOptions): AsyncGenerator<Entry> {
    refuseSnapshots(container)
    for await (const entry of this.#tree.list(container, options)) yield this.#sized(entry)
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    refuseSnapshots(path)
    if (draft.type === 'container') refuseEarly(draft.mtime)
    return this.#numbered(path, () => this.#tree.make(path, draft))
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    refuseSnapshots(path)
    refuseEarly(options.mtime, options.changes?.mtime)
    const room = this.#room(path)
    if (room.bytes === undefined) return this.#numbered(path, () => this.#tree.put(path, body, options))
    const replaced = (await this.#tree.walk(path)).at(-1)
    const free = room.bytes.free + (replaced?.path === path && replaced.type === 'data' ? replaced.size : 0)
    if ((options.length ?? 0) > free) throw overQuota(path, room)
    return this.#numbered(path, () => this.#tree.put(path, atMost(body, free, overQuota(path, room)), options))
  }

  async read(ref: Ref, options?: ReadOptions): Promise<{ entry: Entry; body: Readable }> {
    refuseSnapshots(ref.path)
    return this.#tree.read(ref, options)
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    refuseSnapshots(ref.path)
    refuseEarly(options.mtime)
    const room = this.#room(ref.path)
    const now = room.bytes && (await this.#tree.walk(ref.path)).at(-1)
    if (room.bytes !== undefined && now?.path === ref.path && options.length - now.size > room.bytes.free) {
      throw overQuota(ref.path, room)
    }
    return this.#numbered(ref.path, () => this.#tree.amend(ref, extents, options))
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    refuseSnapshots(ref.path)
    refuseEarly(changes.mtime, changes.atime)
    return this.#sized(await this.#tree.set(ref, changes))
  }

  /** OperationNotSupported (EXDEV) for what does not fit into the quota of where it is to go: copying it says so. */
  async move(
    from: NodePath,
    to: NodePath,
    options?: { readonly replace?: boolean; readonly exchange?: boolean },
  ): Promise<Entry> {
    refuseSnapshots(from, to)
    return this.#sized(await this.#tree.move(from, to, options))
  }

  async copy(
    from: NodePath,
    to: NodePath,
    draft: { readonly access: Access; readonly mode: number } & Cancel,
  ): Promise<Entry> {
    refuseSnapshots(from, to)
    const room = this.#room(to)
    const source = room.bytes && (await this.#tree.walk(from)).at(-1)
    if (room.bytes !== undefined && source?.path === from && source.size > room.bytes.free) throw overQuota(to, room)
    return this.#numbered(to, () => this.#tree.copy(from, to, draft))
  }

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    refuseSnapshots(path)
    return this.#tree.remove(path, type, seen)
  }

  survey(container: NodePath, options?: Cancel): AsyncIterable<readonly Child[]> {
    refuseSnapshots(container)
    return this.#tree.survey(container, options)
  }

  removeChildren(container: Ref, choose: Choose, options?: Cancel): AsyncIterable<readonly Removal[]> {
    refuseSnapshots(container.path)
    return this.#tree.removeChildren(container, choose, options)
  }

  async link(ref: Ref, to: NodePath): Promise<Entry> {
    refuseSnapshots(ref.path, to)
    return this.#tree.link(ref, to)
  }

  /**
   * Bytes of the nearest container with a quota of bytes, nodes of the nearest with one of nodes; without one, of the whole file system, with what
   * is below the root as used.
   */
  async usage(path: NodePath): Promise<Usage> {
    refuseSnapshots(path)
    const whole = await this.#tree.usage(path)
    const { bytes, nodes } = this.#room(path)
    const { files, free: filesFree } = nodes ?? { files: bytes?.files ?? whole.files, free: whole.filesFree }
    // a quota of nodes alone says nothing of bytes
    if (bytes === undefined) return { ...whole, files, filesFree }
    const { quota, used, free } = bytes
    return { quota, used, total: quota, free: Math.min(whole.free, free), files, filesFree }
  }

  /**
   * On allocations, and on the root: what is written is staged there first, and CephFS renames nothing into a quota from outside it.
   * OperationNotSupported for others, TypeNotSupported for what is no container; PermissionDenied where this client may not (mds cap p).
   */
  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    refuseSnapshots(container)
    const node = (await this.#tree.walk(container)).at(-1)
    if (node?.path !== container) throw new Fault('NodeNotFound', container)
    if (node.type !== 'container') throw wrongType(container, 'container', node.type)
    if (container !== ROOT && allocationOf(container, this.#options.allocationParents) !== container) {
      throw new Fault('OperationNotSupported', 'on CephFS a quota stands on an allocation')
    }
    refusing(container, () =>
      this.#directories.at(
        container,
        (directory) => (directory.quota = bytes === null ? undefined : Math.max(1, bytes)),
      ),
    )
  }

  async directUrl(): Promise<URL> {
    throw new Fault('OperationNotSupported', 'CephFS has no direct URLs')
  }

  /** A container with the bytes of everything below it. */
  #sized(entry: Entry): Entry {
    if (entry.type !== 'container') return entry
    const size = this.#look(entry.path, (directory) => directory.bytes)
    return size === undefined ? entry : { ...entry, size }
  }

  /** What is left of the quotas that a path is under: the nearest of each kind, wherever the other stands. */
  #room(path: NodePath): Room {
    let room: Room = {}
    for (let at = path; ; at = parentOf(at)) {
      room = { ...this.#look(at, roomOf), ...room }
      if (at === ROOT || (room.bytes !== undefined && room.nodes !== undefined)) return room
    }
  }

  /** undefined too where there is no such directory. */
  #look<T>(path: NodePath, look: (directory: CephDirectory) => T | undefined): T | undefined {
    try {
      return this.#directories.at(path, look)
    } catch (error) {
      const fault = refusal(error, path)
      if (isFault(fault, 'NodeNotFound', 'TypeNotSupported')) return undefined
      throw fault
    }
  }

  /** A refusal for the quota says how much there is of it. */
  async #numbered<T>(path: NodePath, step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      if (isFault(error, 'OperationNotSupported') && error.errno === 'EXDEV') {
        const why = `${path} is under a quota that somebody has set on a directory that is no allocation`
        throw new Fault('OperationNotSupported', why, { errno: 'EXDEV', cause: error })
      }
      const room = isFault(error, 'QuotaExceeded') && error.errno === 'EDQUOT' ? this.#room(path) : {}
      throw room.bytes === undefined && room.nodes === undefined ? error : overQuota(path, room, error)
    }
  }
}

/** Of quotas: of bytes, of nodes, of both or of neither. `files`: the nodes below the container that has the quota. */
interface Room {
  readonly bytes?: { readonly quota: number; readonly used: number; readonly free: number; readonly files: number }
  readonly nodes?: { readonly files: number; readonly free: number }
}

function roomOf(directory: CephDirectory): Room {
  const { quota, fileQuota } = directory
  if (quota === undefined && fileQuota === undefined) return {}
  const { bytes: used = 0, entries: files = 0 } = directory
  return {
    ...(quota !== undefined && { bytes: { quota, used, free: Math.max(0, quota - used), files } }),
    ...(fileQuota !== undefined && { nodes: { files, free: Math.max(0, fileQuota - files) } }),
  }
}

function overQuota(path: NodePath, { bytes, nodes }: Room, cause?: unknown): Fault {
  const numbers = [
    ...(bytes === undefined ? [] : [`${bytes.used} of ${bytes.quota} bytes are used`]),
    ...(nodes === undefined ? [] : [`${nodes.files} nodes are there, and ${nodes.free} more are allowed`]),
  ]
  return new Fault('QuotaExceeded', `${path}: ${numbers.join(', ')}`, { errno: 'EDQUOT', cause })
}

/** The pieces of a body until they are more than fit. */
async function* atMost(body: AsyncIterable<Uint8Array>, bytes: number, refusal: Fault): AsyncGenerator<Uint8Array> {
  let left = bytes
  for await (const piece of body) {
    left -= piece.length
    if (left < 0) throw refusal
    yield piece
  }
}

/** InvalidArgument: CephFS keeps seconds since 1970 without a sign, and would show such a time as one after 2100. */
function refuseEarly(...times: readonly (bigint | undefined)[]): void {
  if (times.some((time) => time !== undefined && time < 0n)) {
    throw new Fault('InvalidArgument', 'CephFS keeps no times before 1970')
  }
}
