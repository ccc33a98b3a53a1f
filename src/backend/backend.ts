/**
 * The interface of a storage backend.
 *
 * Every method is safe to call concurrently, refuses with a `Fault` and nothing else, and happens whole or leaves no trace.
 * A backend never learns who is calling, never follows a link, never recurses.
 * Common refusals, of every method: NodeNotFound (nothing at the path, or another id), ContainerNotFound (the parent is missing: ENOENT,
 * or is no container: ENOTDIR), DuplicateNode, TypeNotSupported with EISDIR or ENOTDIR for the wrong type, QuotaExceeded (ENOSPC or EDQUOT),
 * InvalidURI with ENAMETOOLONG, PermissionDenied for reserved names (`.karst`), TransferFailed for a body that breaks off or is cancelled.
 * New bytes take setuid and setgid off, as in the kernel.
 */
import { type Readable } from 'node:stream'
import { type Fault } from '../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { type AclKind } from '../vospace/posix-acl.ts'
import { type Arrivals } from './arrivals.ts'
import { type Imports } from './imports.ts'
import { type TrashNote } from './trash.ts'

export type * from './arrivals.ts'
export type * from './imports.ts'
export { type TrashNote } from './trash.ts'

export interface Backend {
  readonly capabilities: Capabilities
  /** Where they are not the same everywhere: those of the storage that keeps `path`. */
  capabilitiesAt?(path: NodePath): Capabilities

  /** Rejects when the store cannot be used: the service must not start on it. Sweeps what a crash left. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Rejects when the store does not answer now (for availability). */
  probe(): Promise<void>

  /** The entries that exist along `path`, root first; ends early at a gap, or after a link or data node. */
  walk(path: NodePath, options?: Cancel): Promise<Entry[]>
  /** The same, where nobody has to be waited for: a store that tells at once has it. undefined: here it does not. */
  walkNow?(path: NodePath): Entry[] | undefined
  /** Children in the order of the UTF-8 bytes of their names, from `from` on, inclusive. Names that are not UTF-8 are left out and counted (`unservable`). */
  list(container: NodePath, options?: ListOptions): AsyncIterable<Entry>

  /** A container or link. Of many concurrent calls for one path exactly one succeeds; the rest get DuplicateNode. */
  make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry>
  /**
   * Creates or replaces a data node with its bytes and attributes in one step: readers see old or new, never a mix, and a broken put leaves
   * what was there. PreconditionFailed: ifAbsent on an existing node is DuplicateNode; wrong ifContentVersion, md5 or length is PreconditionFailed.
   * A replaced node keeps id, access, properties and base mode, except what `changes` says.
   */
  put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry>
  /**
   * The bytes of a data node; what is read is of one version even when the node is replaced meanwhile (else the stream errors).
   * RangeNotSatisfiable: a range that starts past the end. Whoever does not read the body to its end destroys it. A body may have
   * `recycle(chunk)`: it takes back a chunk that its reader is done with.
   */
  read(ref: Ref, options?: ReadOptions): Promise<{ entry: Entry; body: Readable }>
  /** Writes extents into an existing data node and sets its length, all or nothing. Bytes between old and new length read as zero. */
  amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry>

  /** Attributes of any node; the bytes stay. */
  set(ref: Ref, changes: Changes): Promise<Entry>
  /**
   * Renames atomically, whole trees too. Without replace: DuplicateNode when `to` exists. With it the POSIX rules of rename(2) hold
   * (EISDIR, ENOTDIR, ContainerNotEmpty, InvalidArgument into itself). `exchange`: both must exist (capability), else OperationNotSupported.
   */
  move(
    from: NodePath,
    to: NodePath,
    options?: { readonly replace?: boolean; readonly exchange?: boolean },
  ): Promise<Entry>
  /** One data node or link with its properties, never replacing; server-side where the store can. Access and mode from the draft. */
  copy(from: NodePath, to: NodePath, draft: { readonly access: Access; readonly mode: number } & Cancel): Promise<Entry>
  /**
   * One node, its type checked atomically (EISDIR, ENOTDIR); ContainerNotEmpty when it has children. With `seen` only that node, as it was
   * then: NodeNotFound (ESTALE) for another id, PreconditionFailed for another version.
   */
  remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void>
  /** Whether a container stays where it is, whoever asks: PermissionDenied (EBUSY) for what would take it away. Absent: the root alone. */
  isFixed?(path: NodePath): boolean
  /**
   * The children of a container as a recursive delete looks at them, in pages of at most 256 (contract.ts PAGE), in any order: much cheaper than their entries.
   * Names that `list` leaves out are left out.
   */
  survey(container: NodePath, options?: Cancel): AsyncIterable<readonly Child[]>
  /**
   * Removes children of a container that are no containers, a page at a time. `choose` is called with each page of children (containers too)
   * before anything of it goes, and answers those that shall go; nothing else of this process comes between its look, `choose` and the removal.
   * What `choose` throws ends the call, with nothing of that page gone. Answers for each page what became of the chosen, a page that chose nothing
   * too. NodeNotFound (ESTALE) when another container stands at the path meanwhile.
   */
  removeChildren(container: Ref, choose: Choose, options?: Cancel): AsyncIterable<readonly Removal[]>

  /**
   * Another name, in an existing container, for a data node or link: one node, with one id, at two paths. DuplicateNode, TypeNotSupported (EPERM)
   * for a container, OperationNotSupported without the capability, or (EXDEV) where the store cannot.
   */
  link(ref: Ref, to: NodePath): Promise<Entry>
  /** Absent: the store keeps no numbers and modes of its own, and nobody can mount it in trusted mode. */
  readonly posix?: PosixCalls

  /** Space in the allocation of `path`. */
  usage(path: NodePath): Promise<Usage>
  /** Whether there may be a quota on the last of these or above it, as walkNow has told them. Absent: there may be. */
  isLimited?(chain: readonly Entry[]): boolean
  /** OperationNotSupported without the capability. */
  setQuota(container: NodePath, bytes: number | null): Promise<void>
  /** Of a backend that several storages stand behind. */
  readonly profiles?: Profiles
  /** Of a storage that can have buckets with objects of others. */
  readonly imports?: Imports
  /** Of a storage that clients can bring bytes to themselves. */
  readonly arrivals?: Arrivals
  /** Where deleted trees wait; without it what is removed is gone. */
  readonly trash?: Trash
  /** How allocations were; without it nothing is kept of the past. */
  readonly snapshots?: Snapshots
  /**
   * A URL at which whoever holds it reads the bytes from the storage itself, for as long as that is configured to be good. OperationNotSupported
   * without the capability, and for what has no bytes there.
   */
  directUrl(path: NodePath): Promise<URL>
}

/**
 * The tree as root has it, for trusted mounts: numbers and modes count as they are, and sharing is what follows from them. FIFOs, sockets and
 * devices are there too, as data nodes that are `special`; walk, list, move, remove and link are otherwise those of Backend.
 */
export interface PosixCalls extends Pick<Backend, 'walk' | 'list' | 'move' | 'link'> {
  remove(path: NodePath, type: NodeType | 'leaf'): Promise<void>
  /**
   * As mkdir(2), mknod(2) and symlink(2) do it for a process with these ids: group from a set-group-ID container, access from its default ACL,
   * else what the umask leaves of the mode.
   */
  make(path: NodePath, draft: PosixDraft): Promise<Entry>
  /** chown(2), then chmod(2), then utimensat(2). */
  set(ref: Ref, changes: PosixChanges): Promise<Entry>
  /** In the form of the attribute system.posix_acl_*; undefined: there is none. TypeNotSupported for links. */
  acl(ref: Ref, kind: AclKind): Promise<Buffer | undefined>
  /** null takes it away. InvalidArgument for what is no ACL. */
  setAcl(ref: Ref, kind: AclKind, value: Buffer | null): Promise<Entry>
}

export interface PosixDraft {
  readonly uid: number
  readonly gid: number
  /** type (S_IFMT) and 12 bits, as mknod(2) takes them; containers and links too */
  readonly mode: number
  readonly umask: number
  /** of a device, as Linux encodes it in 32 bits */
  readonly device?: number
  /** of a link */
  readonly text?: Buffer
}

export interface PosixChanges {
  readonly uid?: number
  readonly gid?: number
  /** 12 bits */
  readonly mode?: number
  /** nanoseconds */
  readonly mtime?: bigint
  readonly atime?: bigint
}

/** The storages behind one namespace, by the names of their profiles. */
export interface Profiles {
  readonly names: readonly string[]
  /** The profile that keeps a path. */
  of(path: NodePath): string
  /** The storage itself, with nothing of the others: a node has the same path there, and its own id. Undefined: no such profile. */
  storage(name: string): Backend | undefined
  /** Whether another storage begins below a path. */
  hasSeamBelow(path: NodePath): boolean
  /** From now on refuses every change of a tree with NodeBusy; resolves when what was under way has ended. */
  hold(path: NodePath): Promise<Held>
  /** Makes the containers that lead to a path in a storage that is to keep it. */
  prepare(path: NodePath, name: string): Promise<void>
  /** From now on, restarts included, a path and all below it are kept by that storage. */
  assign(path: NodePath, name: string): void
}

/** A tree that nobody else can change. */
export interface Held {
  /** Takes it away for good, from the storage that kept it when it was held. */
  remove(): Promise<void>
  /** May be called again. */
  release(): void
}

/**
 * Where deleted nodes wait until they come back or their time is over; kept by the backend because it is one rename there. What waits counts in
 * the usage of the allocation it was taken from.
 *
 * `keeper` is the allocation a node stands in, or the root for what stands in none (an allocation itself, too): vospace/allocation.ts. NodeNotFound for
 * an id that is not there. A container that keeps something is not empty (ContainerNotEmpty from `remove`), and takes it along when it moves.
 */
export interface Trash {
  /** False: what is deleted there is gone at once. Absent: it waits, wherever it was. */
  keeps?(path: NodePath): boolean
  /**
   * Takes a node with everything below out of its place, whole or not at all. NodeNotFound (ESTALE), PreconditionFailed: it is not as it was
   * seen; DuplicateNode: the id is in use; QuotaExceeded: no room to write it down; PermissionDenied (EBUSY) for the root.
   */
  put(path: NodePath, seen: Seen, note: TrashNote): Promise<void>
  /** In any order. */
  list(keeper: NodePath): AsyncIterable<TrashNote>
  /**
   * Puts it where it was or anywhere else of the same keeper, with ids, access and properties. DuplicateNode, ContainerNotFound,
   * OperationNotSupported (EXDEV) for a place that another one keeps, PermissionDenied when it holds `.karst` that would be hidden or shown.
   */
  restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry>
  /** Removes one for good. */
  purge(keeper: NodePath, id: string): Promise<void>
  /** Removes for good what was put before that time, and what is left of purges that were cut short; answers how many. */
  sweep(keeper: NodePath, before: number): Promise<number>
  /** Where something may wait. */
  keepers(): AsyncIterable<NodePath>
}

/**
 * Allocations as they were. OperationNotSupported for what is no allocation, InvalidArgument for what is no name of a snapshot (1 to 64 letters, digits,
 * `.`, `_`, `-`), NodeNotFound for one that is not there.
 */
export interface Snapshots {
  /** The oldest first. */
  list(allocation: NodePath): Promise<readonly Snapshot[]>
  /** From one moment to the next, of everything in it. DuplicateNode, QuotaExceeded (the store keeps no more). */
  make(allocation: NodePath, name: string): Promise<Snapshot>
  remove(allocation: NodePath, name: string): Promise<void>
  /** The namespace with that allocation as it was, under the paths that its nodes had; what would change something is refused. */
  at(allocation: NodePath, name: string): Promise<Backend>
}

export interface Snapshot {
  readonly name: string
  /** milliseconds since 1970 */
  readonly created: number
}

/** What this store can do. `false` means: the call refuses with OperationNotSupported, and nothing is emulated. */
export interface Capabilities {
  readonly atomicMove: boolean
  readonly exchange: boolean
  readonly linkProperties: boolean
  readonly hardLinks: boolean
  readonly quota: boolean
  readonly directUrl: boolean
  readonly reflink: boolean
  readonly snapshots: boolean
}

export interface Cancel {
  readonly signal?: AbortSignal
}

/** A node by path; with `id` it is that node or none: a path that now holds another node is looked for by id where the backend can, else NodeNotFound (ESTALE). */
export interface Ref {
  readonly path: NodePath
  readonly id?: string
}

/** A node as somebody has looked at it. */
export interface Seen {
  readonly id: string
  /** Entry.version; undefined: whatever has changed of it since */
  readonly version?: string
}

/** What decides whether a child may be deleted from its container. */
export interface Child {
  readonly name: string
  readonly type: NodeType
  readonly locked: boolean
  /** the property that says so is `true` */
  readonly immutable: boolean
}

export interface IdentifiedChild extends Child {
  readonly id: string
}

export type Choose = (page: readonly IdentifiedChild[]) => readonly IdentifiedChild[]

/** What became of a child; with a fault it is still there, or was not there any more (NodeNotFound). */
export interface Removal {
  readonly child: IdentifiedChild
  readonly fault?: Fault
}

export interface ListOptions extends Cancel {
  /** first name, inclusive */
  readonly from?: string
  /** 'any': the caller does not care, and may get them as the store reads them (then `from` does not apply) */
  readonly order?: 'name' | 'any'
  /** OperationNotSupported at the end where names were left out: for who would take away what is not listed */
  readonly whole?: boolean
}

interface Draft {
  readonly access: Access
  /** base mode (vospace/mode.ts) */
  readonly mode: number
  readonly properties?: ReadonlyMap<string, string>
}
export interface ContainerDraft extends Draft {
  readonly type: 'container'
  readonly mtime?: bigint
}
export interface LinkDraft extends Draft {
  readonly type: 'link'
  /** byte for byte; 1 to 4095 bytes, no NUL */
  readonly text: Buffer
}
export interface DataDraft extends Draft {
  readonly gid?: number
}

/** Bytes of a body that is taken in whole before a put looks at anything: one look, the later one, is enough then, and one write. */
export const SMALL = 1 << 16

export interface PutOptions extends Cancel {
  /** attributes when the node does not exist yet; undefined: NodeNotFound then */
  readonly draft?: DataDraft
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  /** the node that must be there; a first put has none */
  readonly id?: string
  /** 32 hex digits, checked before the bytes become visible */
  readonly md5?: string
  /** expected bytes; a body that is shorter or longer is refused with PreconditionFailed */
  readonly length?: number
  /** nanoseconds; default now */
  readonly mtime?: bigint
  /** on the replaced or created node, in the same step */
  readonly changes?: Changes
  /** false: a power cut may take it again; for what is empty, and about to be written */
  readonly durable?: boolean
  /** nothing of it is seen before this is fulfilled; what it is rejected with refuses the put */
  readonly after?: Promise<void> | undefined
}

export interface ByteRange {
  /** first byte */
  readonly start: number
  /** last byte, inclusive (RFC 9110); beyond the end is cut */
  readonly end?: number
}
export interface ReadOptions extends Cancel {
  readonly range?: ByteRange
  readonly ifContentVersion?: string
}

/** Bytes at an offset, or a hole that reads as zeros. In any order; a later one wins. */
export type Extent =
  { readonly offset: number; readonly bytes: Uint8Array } | { readonly offset: number; readonly hole: number }

export interface AmendOptions extends Cancel {
  /** final length in bytes */
  readonly length: number
  readonly ifContentVersion?: string
  readonly mtime?: bigint
}

export interface Changes {
  readonly access?: Partial<Access>
  /** base mode; when absent and access changes, the other bits follow isPublic (mode.ts `agreeing`) */
  readonly mode?: number
  readonly gid?: number
  readonly mtime?: bigint
  readonly atime?: bigint
  /** null removes the property */
  readonly properties?: ReadonlyMap<string, string | null>
}

/** Bytes, and nodes: those there are (`files`) and those that may still be made. `null`: unknown or unlimited. */
export interface Usage {
  readonly used: number | null
  readonly quota: number | null
  readonly total: number
  readonly free: number
  readonly files: number | null
  readonly filesFree: number | null
  /** who counts and refuses for a quota, where that may be the gateway: then what is written past it is not refused */
  readonly keptBy?: 'storage' | 'gateway'
}

/** Owners and groups as numbers, for stores that keep numbers. Unknown numbers are `uid:N`, `gid:N`; the mapping is loaded and synchronous. */
export interface Ids {
  /** Another one when somebody was added, so that an owner or a group unknown before may have a name now. Absent: nothing is to be remembered. */
  readonly version?: number
  /** undefined: no such user */
  uidOf(owner: string): number | undefined
  ownerOf(uid: number): string
  /** the user's own group, the owning group of what they make */
  gidOfUser(owner: string): number | undefined
  /** allocates for a known group; undefined: not a group of ours */
  gidOf(groupUri: string): number | undefined
  groupOf(gid: number): string | undefined
}
