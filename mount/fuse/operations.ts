// The table of operations: what each reads from its request, which method it calls, how the answer is written.
// Positions are words of the message: the body starts at word 10, names at byte 40 plus the fixed part.
import { ERRNO } from '../../src/libc/errno.ts'
import {
  ATTR_OUT,
  ENTRY_OUT,
  FATTR,
  FSYNC_FDATASYNC,
  GETATTR_FH,
  IN_HEADER,
  OP,
  OPEN_KILL_SUIDGID,
  OPEN_OUT,
} from './constants.ts'
import { DirectoryBuffer } from './directory.ts'
import {
  type AttributesReply,
  type CreateReply,
  type Entry,
  type FileSystem,
  type NegativeEntry,
  type OpenReply,
  type SetAttributes,
  type StatfsReply,
  type Time,
} from './filesystem.ts'
import { encodeLock, type FileLock, LOCK_IN, LOCK_OUT, lockIn, ownerOfFlush, ownerOfRelease } from './lock.ts'
import { type Message } from './message.ts'
import { type Payload, type Reply } from './reply.ts'
import { type Request } from './request.ts'

const BODY = 4

export interface Operation {
  readonly name: string
  /** Bytes of the body before names and data. */
  readonly body: number
  /** Calls the handler. `undefined` where a method is missing is told from an empty answer by `method`. */
  readonly method: keyof FileSystem
  readonly run: (fs: FileSystem, message: Message, request: Request) => unknown
  /** Writes a handler's answer that is not a refusal; a negative number is a refusal found on the way. */
  readonly encode: (reply: Reply, answer: unknown, request: Request) => Payload
  /** Takes back what an answer counted, when it never reached the kernel; answers what `release` answered. */
  readonly undo?: (fs: FileSystem, answer: unknown, request: Request) => unknown
}

interface Kind<A> {
  encode: (reply: Reply, answer: A, request: Request) => Payload
  undo?: (fs: FileSystem, answer: A, request: Request) => unknown
}

const table: (Operation | undefined)[] = []

/** The operation of an opcode, `undefined` for one we do not have. */
export function operationOf(opcode: number): Operation | undefined {
  return table[opcode]
}

function define<A>(
  name: keyof typeof OP,
  method: keyof FileSystem,
  body: number,
  kind: Kind<A>,
  run: Operation['run'],
): void {
  // the answer of `run` is what the method's type says it is; the table forgets it
  table[OP[name]] = { name, method, body, run, ...kind } as Operation
}

const EMPTY: Kind<unknown> = { encode: () => 0 }

const ENTRY: Kind<Entry | NegativeEntry> = {
  encode(reply, answer) {
    reply.entry(BODY, answer)
    return ENTRY_OUT
  },
  undo(fs, answer) {
    if (answer.nodeid !== 0) fs.forget(answer.nodeid, 1)
  },
}

const ATTRIBUTES: Kind<AttributesReply> = {
  encode(reply, answer) {
    reply.attributesReply(BODY, answer)
    return ATTR_OUT
  },
}

const CREATED: Kind<CreateReply> = {
  encode(reply, answer) {
    reply.entry(BODY, answer.entry)
    reply.open(BODY + ENTRY_OUT / 4, answer.fh, answer.openFlags)
    return ENTRY_OUT + OPEN_OUT
  },
  undo(fs, answer, request) {
    const { nodeid } = answer.entry
    fs.forget(nodeid, 1)
    return fs.release?.(nodeid, answer.fh, 0, request)
  },
}

function opened(method: 'release' | 'releasedir'): Kind<OpenReply> {
  return {
    encode(reply, answer) {
      reply.open(BODY, answer.fh, answer.openFlags)
      return OPEN_OUT
    },
    undo(fs, answer, request) {
      return fs[method]?.(request.nodeid, answer.fh, 0, request)
    },
  }
}

const DATA: Kind<Uint8Array | Uint8Array[]> = {
  encode(reply, answer, request) {
    const parts = Array.isArray(answer) ? answer : [answer]
    let total = 0
    for (const part of parts) total += part.length
    if (total > request.limit) throw new RangeError(`${total} bytes answered, ${request.limit} were asked for`)
    return reply.payload(parts)
  },
}

const TEXT: Kind<Uint8Array> = { encode: (reply, answer) => reply.payload([answer]) }

/** write, copy_file_range. */
const COUNT: Kind<number> = {
  encode(reply, answer) {
    reply.words[BODY] = answer
    reply.words[BODY + 1] = 0
    return 8
  },
}

const POSITION: Kind<number> = {
  encode(reply, answer) {
    reply.long(BODY, answer)
    return 8
  },
}

/** A value of an xattr or the list of names: size 0 asks how long it is. */
function sized(reply: Reply, value: readonly Uint8Array[], limit: number): Payload {
  let total = 0
  for (const part of value) total += part.length
  if (limit === 0) {
    reply.words[BODY] = total
    reply.words[BODY + 1] = 0
    return 8
  }
  return total > limit ? -ERRNO.ERANGE : reply.payload(value)
}

const VALUE: Kind<Uint8Array> = { encode: (reply, answer, request) => sized(reply, [answer], request.limit) }

const NUL = Buffer.alloc(1)
const NAMES: Kind<readonly Uint8Array[]> = {
  encode: (reply, answer, request) =>
    sized(
      reply,
      answer.flatMap((name) => [name, NUL]),
      request.limit,
    ),
}

const LISTING: Kind<unknown> = {
  encode(reply, _answer, request) {
    return request.sink === undefined ? 0 : reply.payload([request.sink.finish()])
  },
  undo(fs, _answer, request) {
    for (const nodeid of request.sink?.counted() ?? []) fs.forget(nodeid, 1)
  },
}

const STATFS: Kind<StatfsReply> = {
  encode(reply, s) {
    reply.words.fill(0, BODY, BODY + 20)
    reply.long(BODY, s.blocks)
    reply.long(BODY + 2, s.bfree)
    reply.long(BODY + 4, s.bavail)
    reply.long(BODY + 6, s.files)
    reply.long(BODY + 8, s.ffree)
    reply.words[BODY + 10] = s.bsize
    reply.words[BODY + 11] = s.namelen
    reply.words[BODY + 12] = s.frsize
    return 80
  },
}

function time(m: Message, word: number, nsecWord: number): Time {
  return { sec: m.seconds(word), nsec: m.word(nsecWord) }
}

function setAttributes(m: Message): SetAttributes {
  const valid = m.word(10)
  return {
    ...(valid & FATTR.FH && { fh: m.long(12) }),
    ...(valid & FATTR.SIZE && { size: m.long(14) }),
    ...(valid & FATTR.ATIME && { atime: valid & FATTR.ATIME_NOW ? 'now' : time(m, 18, 24) }),
    ...(valid & FATTR.MTIME && { mtime: valid & FATTR.MTIME_NOW ? 'now' : time(m, 20, 25) }),
    ...(valid & FATTR.CTIME && { ctime: time(m, 22, 26) }),
    ...(valid & FATTR.MODE && { mode: m.word(27) }),
    ...(valid & FATTR.UID && { uid: m.word(29) }),
    ...(valid & FATTR.GID && { gid: m.word(30) }),
    ...(valid & FATTR.KILL_SUIDGID && { killPrivileges: true }),
  }
}

/** An offset or length we cannot hold exactly: no file is that long. */
function tooLarge(value: number): boolean {
  return value > Number.MAX_SAFE_INTEGER
}

define('LOOKUP', 'lookup', 1, ENTRY, (fs, m, r) => fs.lookup(r.nodeid, m.string(IN_HEADER), r))

define('GETATTR', 'getattr', 16, ATTRIBUTES, (fs, m, r) =>
  fs.getattr(r.nodeid, m.word(10) & GETATTR_FH ? m.long(12) : undefined, r),
)

define('SETATTR', 'setattr', 88, ATTRIBUTES, (fs, m, r) =>
  m.word(10) & FATTR.SIZE && tooLarge(m.long(14)) ? -ERRNO.EFBIG : fs.setattr?.(r.nodeid, setAttributes(m), r),
)

define('READLINK', 'readlink', 0, TEXT, (fs, _m, r) => fs.readlink?.(r.nodeid, r))

define('SYMLINK', 'symlink', 2, ENTRY, (fs, m, r) => {
  const end = m.endOfString(IN_HEADER)
  return fs.symlink?.(r.nodeid, m.copy(IN_HEADER, end), m.string(end + 1), r)
})

define('MKNOD', 'mknod', 16, ENTRY, (fs, m, r) =>
  fs.mknod?.(r.nodeid, m.string(IN_HEADER + 16), m.word(10), m.word(11), m.word(12), r),
)

define('MKDIR', 'mkdir', 8, ENTRY, (fs, m, r) =>
  fs.mkdir?.(r.nodeid, m.string(IN_HEADER + 8), m.word(10), m.word(11), r),
)

define('UNLINK', 'unlink', 1, EMPTY, (fs, m, r) => fs.unlink?.(r.nodeid, m.string(IN_HEADER), r))
define('RMDIR', 'rmdir', 1, EMPTY, (fs, m, r) => fs.rmdir?.(r.nodeid, m.string(IN_HEADER), r))

function rename(fs: FileSystem, m: Message, r: Request, start: number, flags: number): unknown {
  const end = m.endOfString(start)
  return fs.rename?.(r.nodeid, m.copy(start, end), m.long(10), m.string(end + 1), flags, r)
}

define('RENAME', 'rename', 8, EMPTY, (fs, m, r) => rename(fs, m, r, IN_HEADER + 8, 0))
define('RENAME2', 'rename', 16, EMPTY, (fs, m, r) => rename(fs, m, r, IN_HEADER + 16, m.word(12)))

define('LINK', 'link', 8, ENTRY, (fs, m, r) => fs.link?.(m.long(10), r.nodeid, m.string(IN_HEADER + 8), r))

define('OPEN', 'open', 8, opened('release'), (fs, m, r) =>
  fs.open?.(r.nodeid, m.word(10), (m.word(11) & OPEN_KILL_SUIDGID) !== 0, r),
)

define('READ', 'read', 40, DATA, (fs, m, r) => {
  r.limit = m.word(14)
  const offset = m.long(12)
  return tooLarge(offset) ? -ERRNO.EOVERFLOW : fs.read?.(r.nodeid, m.long(10), offset, r.limit, r)
})

define('WRITE', 'write', 40, COUNT, (fs, m, r) => {
  const start = IN_HEADER + 40
  const offset = m.long(12)
  const data = m.view(start, start + m.word(14))
  return tooLarge(offset + data.length) ? -ERRNO.EFBIG : fs.write?.(r.nodeid, m.long(10), offset, data, m.word(15), r)
})

define('STATFS', 'statfs', 0, STATFS, (fs, _m, r) => fs.statfs?.(r.nodeid, r))
define('RELEASE', 'release', 24, EMPTY, (fs, m, r) =>
  fs.release?.(r.nodeid, m.long(10), m.word(12), r, ownerOfRelease(m)),
)
define('FLUSH', 'flush', 24, EMPTY, (fs, m, r) => fs.flush?.(r.nodeid, m.long(10), r, ownerOfFlush(m)))

const LOCK: Kind<FileLock> = {
  encode(reply, answer) {
    encodeLock(reply, BODY, answer)
    return LOCK_OUT
  },
}

define('GETLK', 'getlk', LOCK_IN, LOCK, (fs, m, r) => {
  const lock = lockIn(m)
  return lock === undefined ? -ERRNO.EINVAL : fs.getlk?.(r.nodeid, m.long(10), lock, r)
})

for (const name of ['SETLK', 'SETLKW'] as const)
  define(name, 'setlk', LOCK_IN, EMPTY, (fs, m, r) => {
    const lock = lockIn(m)
    return lock === undefined ? -ERRNO.EINVAL : fs.setlk?.(r.nodeid, m.long(10), lock, name === 'SETLKW', r)
  })

define('FSYNC', 'fsync', 16, EMPTY, (fs, m, r) =>
  fs.fsync?.(r.nodeid, m.long(10), (m.word(12) & FSYNC_FDATASYNC) !== 0, r),
)

define('SETXATTR', 'setxattr', 8, EMPTY, (fs, m, r) => {
  const end = m.endOfString(IN_HEADER + 8)
  const value = m.copy(end + 1, end + 1 + m.word(10))
  return fs.setxattr?.(r.nodeid, m.copy(IN_HEADER + 8, end), value, m.word(11), r)
})

define('GETXATTR', 'getxattr', 8, VALUE, (fs, m, r) => {
  r.limit = m.word(10)
  return fs.getxattr?.(r.nodeid, m.string(IN_HEADER + 8), r)
})

define('LISTXATTR', 'listxattr', 8, NAMES, (fs, m, r) => {
  r.limit = m.word(10)
  return fs.listxattr?.(r.nodeid, r)
})

define('REMOVEXATTR', 'removexattr', 1, EMPTY, (fs, m, r) => fs.removexattr?.(r.nodeid, m.string(IN_HEADER), r))

define('OPENDIR', 'opendir', 8, opened('releasedir'), (fs, m, r) => fs.opendir?.(r.nodeid, m.word(10), r))

define('READDIR', 'readdir', 40, LISTING, (fs, m, r) => {
  r.sink = new DirectoryBuffer(m.word(14), false)
  return fs.readdir?.(r.nodeid, m.long(10), m.long(12), r.sink, r)
})

define('READDIRPLUS', 'readdirplus', 40, LISTING, (fs, m, r) => {
  r.sink = new DirectoryBuffer(m.word(14), true)
  return fs.readdirplus?.(r.nodeid, m.long(10), m.long(12), r.sink, r)
})

define('RELEASEDIR', 'releasedir', 24, EMPTY, (fs, m, r) => fs.releasedir?.(r.nodeid, m.long(10), m.word(12), r))

define('FSYNCDIR', 'fsyncdir', 16, EMPTY, (fs, m, r) =>
  fs.fsyncdir?.(r.nodeid, m.long(10), (m.word(12) & FSYNC_FDATASYNC) !== 0, r),
)

define('ACCESS', 'access', 8, EMPTY, (fs, m, r) => fs.access?.(r.nodeid, m.word(10), r))

define('CREATE', 'create', 16, CREATED, (fs, m, r) =>
  fs.create?.(r.nodeid, m.string(IN_HEADER + 16), m.word(11), m.word(10), m.word(12), r),
)

define('FALLOCATE', 'fallocate', 32, EMPTY, (fs, m, r) => {
  const offset = m.long(12)
  const length = m.long(14)
  return tooLarge(offset + length) ? -ERRNO.EFBIG : fs.fallocate?.(r.nodeid, m.long(10), offset, length, m.word(16), r)
})

define('LSEEK', 'lseek', 24, POSITION, (fs, m, r) => {
  const offset = m.long(12)
  return tooLarge(offset) ? -ERRNO.ENXIO : fs.lseek?.(r.nodeid, m.long(10), offset, m.word(14), r)
})

define('COPY_FILE_RANGE', 'copyFileRange', 56, COUNT, (fs, m, r) => {
  const from = { nodeid: r.nodeid, fh: m.long(10), offset: m.long(12) }
  const to = { nodeid: m.long(14), fh: m.long(16), offset: m.long(18) }
  const length = m.long(20)
  if (tooLarge(from.offset + length) || tooLarge(to.offset + length)) return -ERRNO.EFBIG
  return fs.copyFileRange?.(from, to, length, r)
})
