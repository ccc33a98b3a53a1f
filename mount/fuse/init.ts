// The first exchange with the kernel: which protocol version, sizes and features the session uses.
import { declare } from '../../src/libc/ffi.ts'
import { INIT, INIT2, MAJOR, MINIMUM_MINOR, MINOR } from './constants.ts'
import { type FileSystem, type RequestContext } from './filesystem.ts'
import { type Message } from './message.ts'
import { type Reply } from './reply.ts'

export interface SessionOptions {
  /** Bytes of the longest READ and WRITE; 1 MiB (the kernel's usual limit of 256 pages) unless said otherwise. */
  readonly maxWrite?: number
  /** Bytes of a page of the kernel, in which it is told the longest READ: those of this machine (4096; on arm64 up to 65536). */
  readonly pageSize?: number
  /** Bytes; lowers what the kernel offers. To raise it see `setReadAhead`. */
  readonly maxReadahead?: number
  /** Read-ahead and other background requests the kernel keeps in flight: 128. */
  readonly maxBackground?: number
  /** The kernel keeps written pages and becomes the authority on size and mtime. Off: wrong for shared remote storage. */
  readonly writeback?: boolean
  /** Drop cached pages when mtime or size change under them. On. */
  readonly autoInvalidate?: boolean
  /** Modes come unmasked, the handler applies `umask` itself. Off. */
  readonly dontMask?: boolean
  /** The kernel checks permissions itself, ACLs too, which it reads and sets as system.posix_acl_*. Off. */
  readonly posixAcl?: boolean
  /** The handlers clear set-user-ID and set-group-ID when told (killPrivileges), sparing a getxattr a write. On. */
  readonly killPrivileges?: boolean
  /** Milliseconds between telling a handler that its caller is being killed and answering EINTR for it. 250. */
  readonly interruptGrace?: number
  /** Take over a connection whose INIT was answered by an earlier process: what `initialized` resolved to there. */
  readonly negotiated?: Negotiated
  /** Hears each answer before the kernel gets it: header and body, `length` bytes of `parts`. */
  readonly beforeReply?: (unique: number, parts: readonly Uint8Array[], length: number) => void
  /** The answer that an earlier process had decided on for a request that is sent again: it may not have got it away. */
  readonly decided?: (unique: number) => Buffer | undefined
  /** Each operation runs in this. */
  readonly within?: <T>(request: RequestContext, call: () => T) => T
}

/** What was agreed; plain data, so that it can be given to the process that takes over. */
export interface Negotiated {
  readonly minor: number
  readonly flags: number
  readonly flags2: number
  readonly maxWrite: number
  readonly maxReadahead: number
  readonly maxBackground: number
}

export const DEFAULT_MAX_WRITE = 1048576
const DEFAULT_MAX_BACKGROUND = 128
const PAGES_WITHOUT_MAX_PAGES = 32
/** Body of INIT as it was before flags2, and bytes of fuse_init_out. */
export const INIT_BODY = 16
const INIT_OUT = 64
const WITH_FLAGS2 = 20

const ownPageSize = declare('getpagesize', 'int', [])

/** Reads INIT; `undefined` when the kernel is too old to serve. */
export function negotiate(message: Message, fs: FileSystem, options: SessionOptions): Negotiated | undefined {
  const minor = message.word(11)
  if (message.word(10) !== MAJOR || minor < MINIMUM_MINOR) return undefined
  const offered = message.word(13)
  const offered2 = (offered & INIT.INIT_EXT) !== 0 && message.word(0) >= 40 + WITH_FLAGS2 ? message.word(14) : 0
  const flags = wanted(fs, options) & offered
  const limit =
    (flags & INIT.MAX_PAGES) !== 0 ? Infinity : PAGES_WITHOUT_MAX_PAGES * (options.pageSize ?? ownPageSize())
  return {
    minor: Math.min(minor, MINOR),
    flags: flags >>> 0,
    flags2: (INIT2.DIRECT_IO_ALLOW_MMAP | INIT2.HAS_RESEND) & offered2,
    maxWrite: Math.min(options.maxWrite ?? DEFAULT_MAX_WRITE, limit),
    maxReadahead: Math.min(message.word(12), options.maxReadahead ?? Infinity),
    maxBackground: options.maxBackground ?? DEFAULT_MAX_BACKGROUND,
  }
}

function wanted(fs: FileSystem, options: SessionOptions): number {
  let flags =
    INIT.ASYNC_READ |
    INIT.ATOMIC_O_TRUNC |
    INIT.BIG_WRITES |
    INIT.ASYNC_DIO |
    INIT.PARALLEL_DIROPS |
    INIT.MAX_PAGES |
    INIT.INIT_EXT
  if (fs.readdirplus !== undefined) flags |= INIT.DO_READDIRPLUS
  if (fs.getlk !== undefined && fs.setlk !== undefined) flags |= INIT.POSIX_LOCKS | INIT.FLOCK_LOCKS
  if (options.writeback === true) flags |= INIT.WRITEBACK_CACHE
  if (options.autoInvalidate !== false) flags |= INIT.AUTO_INVAL_DATA
  if (options.dontMask === true) flags |= INIT.DONT_MASK
  if (options.posixAcl === true) flags |= INIT.POSIX_ACL
  if (options.killPrivileges !== false) flags |= INIT.HANDLE_KILLPRIV_V2
  return flags
}

/** Writes fuse_init_out; answers its bytes. */
export function encodeInit(reply: Reply, n: Negotiated, { pageSize = ownPageSize() }: SessionOptions): number {
  const { words } = reply
  words.fill(0, 4, 4 + INIT_OUT / 4)
  words[4] = MAJOR
  words[5] = n.minor
  words[6] = n.maxReadahead
  words[7] = n.flags
  words[8] = n.maxBackground | (((n.maxBackground * 3) >> 2) << 16)
  words[9] = n.maxWrite
  words[10] = 1 // granularity of times: nanoseconds
  words[11] = Math.ceil(n.maxWrite / pageSize)
  words[12] = n.flags2
  return INIT_OUT
}
