// Numbers of the kernel's FUSE protocol (include/uapi/linux/fuse.h, 7.41). Bits of INIT above 31 travel in flags2.

export const MAJOR = 7
/** What we answer at most; the fields we use have not moved since MINIMUM_MINOR (kernel 5.4). */
export const MINOR = 41
export const MINIMUM_MINOR = 31
export const ROOT_NODEID = 1
export const PAGE = 4096
/** Bytes of fuse_in_header and of fuse_out_header. */
export const IN_HEADER = 40
export const OUT_HEADER = 16
/** Bytes of fuse_entry_out, fuse_attr_out, fuse_open_out; and of what precedes a name in a directory entry. */
export const ENTRY_OUT = 128
export const ATTR_OUT = 104
export const OPEN_OUT = 16
export const DIRENT = 24

export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
} as const

/** INIT flags of the first word. */
export const INIT = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  FLOCK_LOCKS: 1 << 10,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  HANDLE_KILLPRIV_V2: 1 << 28,
  INIT_EXT: 1 << 30,
} as const

/** INIT flags of the second word: bit 32 of the protocol is bit 0 here. */
export const INIT2 = {
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  HAS_RESEND: 1 << 7,
} as const

/** Which fields of a SETATTR count. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const

/** What an OPEN, OPENDIR or CREATE may answer about the handle. */
export const FOPEN = {
  /** Reads and writes go past the page cache. */
  DIRECT_IO: 1 << 0,
  /** The pages cached by earlier opens are still good. */
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  /** Directories: entries may be cached by the kernel. */
  CACHE_DIR: 1 << 3,
  /** No FLUSH at close: only for handles that have nothing to report. */
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
} as const

/** In OPEN and CREATE: set-user-ID and set-group-ID are to be cleared along with the truncation. */
export const OPEN_KILL_SUIDGID = 1 << 0
/** In GETATTR: the file handle is valid. */
export const GETATTR_FH = 1 << 0
export const FSYNC_FDATASYNC = 1 << 0

/** Flags that a WRITE carries. */
export const WRITE = {
  /** Written back from the page cache: the caller's ids are not those of the writer. */
  CACHE: 1 << 0,
  /** Set-user-ID and set-group-ID are to be cleared. */
  KILL_SUIDGID: 1 << 2,
} as const

/** Notifications go out with unique 0 and the code in the place of the error. */
export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3, RESEND: 7 } as const

/** The highest bit of `unique` marks a request that is sent again after RESEND (kernel 6.9). */
export const RESENT_BIT = 0x80000000
