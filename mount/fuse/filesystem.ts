// What a file system gives to a Session: one method an operation, in the kernel's terms and nothing of VOSpace.
import { errnoNumber, type ErrnoName } from '../../src/libc/errno.ts'
import { type FileLock, type LockRequest } from './lock.ts'

/** A refusal: a negative error number, as system calls answer it. Cheaper than throwing, and never logged. */
export type Refusal = number

/** The refusal of that name: `return refuse('ENOENT')`. */
export function refuse(name: ErrnoName): Refusal {
  return -errnoNumber(name)
}

/** The refusal of a name that came from elsewhere; EIO for one that Linux does not have. */
export function refuseNamed(name: string): Refusal {
  return -errnoNumber(name)
}

/**
 * A handler answers at once or by a promise; an answer at once costs no promise. A refusal is a negative number.
 * Whatever a handler throws is a bug or an outage: the caller gets EIO and the logger the error.
 */
export type Answer<T> = T | Refusal | Promise<T | Refusal>

/** Who asks. `signal` is aborted when the asking program is being killed; answer EINTR then, if the work is worth stopping. */
export interface RequestContext {
  readonly uid: number
  readonly gid: number
  /** Thread id of the caller, 0 where it is in a PID namespace that is not ours or the kernel asks for itself. */
  readonly pid: number
  /** Number of the request, the same when it is sent again. */
  readonly unique: number
  /** Sent again after a take-over: it may have been carried out already. */
  readonly resent: boolean
  readonly signal: AbortSignal
}

/** A point in time: seconds and nanoseconds, or nanoseconds since 1970 as one bigint (slower). */
export type Time = bigint | { readonly sec: number; readonly nsec: number }

export interface Attributes {
  readonly ino: number
  /** Bytes. */
  readonly size: number
  /** Units of 512 bytes. */
  readonly blocks: number
  readonly atime: Time
  readonly mtime: Time
  readonly ctime: Time
  /** Type and permission bits. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly blksize: number
}

export interface AttributesReply {
  readonly attributes: Attributes
  /** Seconds the kernel may rely on them; fractions count. */
  readonly attributesTtl: number
}

/**
 * A name found or made. Each entry answered adds one to the kernel's count of `nodeid`, given back by `forget`.
 * nodeid with generation must be unique for the life of the mount; nodeid is below 2^53.
 */
export interface Entry extends AttributesReply {
  readonly nodeid: number
  readonly generation: number
  /** Seconds the kernel may rely on the name. */
  readonly entryTtl: number
}

/** "No such name", which the kernel may remember for `entryTtl` seconds. A refusal with ENOENT is not remembered. */
export interface NegativeEntry {
  readonly nodeid: 0
  readonly entryTtl: number
}

export interface OpenReply {
  /** Below 2^53; given back with every operation on the handle. */
  readonly fh: number
  /** FOPEN bits. */
  readonly openFlags: number
}

export interface CreateReply extends OpenReply {
  readonly entry: Entry
}

/** What a SETATTR is to change; a field that is absent stays. */
export interface SetAttributes {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly atime?: Time | 'now'
  readonly mtime?: Time | 'now'
  readonly ctime?: Time
  /** The handle through which it is done (ftruncate). */
  readonly fh?: number
  /** Clear set-user-ID, and set-group-ID where the group may execute. */
  readonly killPrivileges?: boolean
}

export interface StatfsReply {
  /** Totals in units of `frsize` bytes. */
  readonly blocks: number
  readonly bfree: number
  readonly bavail: number
  readonly files: number
  readonly ffree: number
  readonly bsize: number
  readonly frsize: number
  readonly namelen: number
}

/** Takes directory entries until the reply is full. `offset` is the position after the entry: where to go on. */
export interface DirectorySink {
  /** READDIR: false when it did not fit. Of `mode` only the type counts. */
  add(name: Uint8Array, offset: number, ino: number, mode: number): boolean
  /** READDIRPLUS: as add, with the whole entry; one that was taken counts as a lookup, except for `.` and `..`. */
  addPlus(name: Uint8Array, offset: number, entry: Entry): boolean
}

/**
 * Names, link texts and xattr names are raw bytes without slash or NUL: they may be no UTF-8. They are the handler's to
 * keep. A method left out is answered ENOSYS, which the kernel remembers for the life of the mount where it says
 * "sticky": a refusal is therefore never ENOSYS.
 */
export interface FileSystem {
  lookup(parent: number, name: Buffer, context: RequestContext): Answer<Entry | NegativeEntry>
  /** The kernel drops `count` of its references to a node. Not answered. */
  forget(nodeid: number, count: number): void
  getattr(nodeid: number, fh: number | undefined, context: RequestContext): Answer<AttributesReply>
  setattr?(nodeid: number, changes: SetAttributes, context: RequestContext): Answer<AttributesReply>
  readlink?(nodeid: number, context: RequestContext): Answer<Buffer>
  symlink?(parent: number, name: Buffer, text: Buffer, context: RequestContext): Answer<Entry>
  mknod?(
    parent: number,
    name: Buffer,
    mode: number,
    rdev: number,
    umask: number,
    context: RequestContext,
  ): Answer<Entry>
  mkdir?(parent: number, name: Buffer, mode: number, umask: number, context: RequestContext): Answer<Entry>
  unlink?(parent: number, name: Buffer, context: RequestContext): Answer<void>
  rmdir?(parent: number, name: Buffer, context: RequestContext): Answer<void>
  /** flags of renameat2. Sticky only for non-zero flags, as EINVAL. */
  rename?(
    parent: number,
    name: Buffer,
    newParent: number,
    newName: Buffer,
    flags: number,
    context: RequestContext,
  ): Answer<void>
  link?(nodeid: number, newParent: number, newName: Buffer, context: RequestContext): Answer<Entry>
  /** With O_TRUNC in flags the file is to be emptied here: no SETATTR follows. */
  open?(nodeid: number, flags: number, killPrivileges: boolean, context: RequestContext): Answer<OpenReply>
  /** Up to `size` bytes; less means the end of the file. */
  read?(
    nodeid: number,
    fh: number,
    offset: number,
    size: number,
    context: RequestContext,
  ): Answer<Uint8Array | Uint8Array[]>
  /** `data` is only valid until the answer is there. `flags` are WRITE bits. Answers the bytes written. */
  write?(
    nodeid: number,
    fh: number,
    offset: number,
    data: Buffer,
    flags: number,
    context: RequestContext,
  ): Answer<number>
  /** Each close(2) of a descriptor, whose error close reports; the fcntl locks of `owner` end. Sticky: without it no error ever reaches close. */
  flush?(nodeid: number, fh: number, context: RequestContext, owner?: string): Answer<void>
  /** The first lock in the way, or `unlock`. With `setlk`, or else the kernel keeps all locks itself. */
  getlk?(nodeid: number, fh: number, lock: LockRequest, context: RequestContext): Answer<FileLock>
  /** EAGAIN where another is in the way; with `wait` it waits, and `signal` is aborted by any signal of the caller. */
  setlk?(nodeid: number, fh: number, lock: LockRequest, wait: boolean, context: RequestContext): Answer<void>
  /** Sticky, as success. */
  fsync?(nodeid: number, fh: number, dataOnly: boolean, context: RequestContext): Answer<void>
  /** The last reference to a handle is gone, with the flock lock of that owner. Nobody waits for the answer; an unmount may drop the request. */
  release?(nodeid: number, fh: number, flags: number, context: RequestContext, flockOwner?: string): Answer<void>
  opendir?(nodeid: number, flags: number, context: RequestContext): Answer<OpenReply>
  /** Fills the sink from `offset` on (0 = start); returning without adding is the end. */
  readdir?(nodeid: number, fh: number, offset: number, sink: DirectorySink, context: RequestContext): Answer<void>
  /** As readdir, by sink.addPlus. When it is there the kernel uses nothing else. */
  readdirplus?(nodeid: number, fh: number, offset: number, sink: DirectorySink, context: RequestContext): Answer<void>
  releasedir?(nodeid: number, fh: number, flags: number, context: RequestContext): Answer<void>
  /** Sticky, as success. */
  fsyncdir?(nodeid: number, fh: number, dataOnly: boolean, context: RequestContext): Answer<void>
  statfs?(nodeid: number, context: RequestContext): Answer<StatfsReply>
  /** The whole value, ENODATA where there is none. Sticky, as EOPNOTSUPP. */
  getxattr?(nodeid: number, name: Buffer, context: RequestContext): Answer<Uint8Array>
  /** All names. Sticky, as EOPNOTSUPP. */
  listxattr?(nodeid: number, context: RequestContext): Answer<readonly Uint8Array[]>
  /** flags: XATTR_CREATE 1, XATTR_REPLACE 2. Sticky, as EOPNOTSUPP. */
  setxattr?(nodeid: number, name: Buffer, value: Buffer, flags: number, context: RequestContext): Answer<void>
  /** Sticky, as EOPNOTSUPP. */
  removexattr?(nodeid: number, name: Buffer, context: RequestContext): Answer<void>
  /** access(2), and chdir(2) into a directory; not asked with default_permissions. Sticky, as "yes". */
  access?(nodeid: number, mask: number, context: RequestContext): Answer<void>
  /** Sticky: the kernel then uses mknod and open. `mode` is already masked unless the session says dontMask. */
  create?(
    parent: number,
    name: Buffer,
    mode: number,
    flags: number,
    umask: number,
    context: RequestContext,
  ): Answer<CreateReply>
  /** Sticky, as EOPNOTSUPP. */
  fallocate?(
    nodeid: number,
    fh: number,
    offset: number,
    length: number,
    mode: number,
    context: RequestContext,
  ): Answer<void>
  /** SEEK_DATA 3 and SEEK_HOLE 4 only. Sticky: the kernel then takes the whole file for data. */
  lseek?(nodeid: number, fh: number, offset: number, whence: number, context: RequestContext): Answer<number>
  /** Sticky: the kernel then copies by reading and writing. */
  copyFileRange?(from: CopyEnd, to: CopyEnd, length: number, context: RequestContext): Answer<number>
  /** The session is over: nothing more will come, handles that were not released never will be. */
  destroy?(): void | Promise<void>
}

export interface CopyEnd {
  readonly nodeid: number
  readonly fh: number
  readonly offset: number
}
