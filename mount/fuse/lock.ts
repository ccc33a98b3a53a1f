// GETLK, SETLK and SETLKW: fcntl(2) and flock(2) as the kernel sends them. Owners are 64-bit numbers of no meaning, so they are kept as text.
import { type Message } from './message.ts'
import { type Reply } from './reply.ts'

/** The last byte the kernel can name: "to the end of the file". */
const LAST = 0x7fffffff
/** In lk_flags: flock(2), not fcntl(2). */
const FLOCK = 1
/** In release_flags: the handle's flock lock goes with it. */
const FLOCK_UNLOCK = 2
const TYPES = ['read', 'write', 'unlock'] as const

/** Bytes of fuse_lk_in and fuse_lk_out. */
export const LOCK_IN = 48
export const LOCK_OUT = 24

export interface FileLock {
  readonly start: number
  /** inclusive; MAX_SAFE_INTEGER: to the end of the file */
  readonly end: number
  readonly type: (typeof TYPES)[number]
  /** Process id, 0 where it is on another machine or in another mount. */
  readonly pid: number
}

export interface LockRequest extends FileLock {
  readonly owner: string
  readonly flock: boolean
}

/** A 64-bit number without loss. */
const exact = (m: Message, word: number): string => `${m.word(word + 1).toString(16)}.${m.word(word).toString(16)}`

/** `undefined`: a type or a range that is none. */
export function lockIn(m: Message): LockRequest | undefined {
  const start = m.long(14)
  const type = TYPES[m.word(18)]
  const end = Math.min(m.long(16), Number.MAX_SAFE_INTEGER)
  if (type === undefined || start > Number.MAX_SAFE_INTEGER || end < start) return undefined
  return { owner: exact(m, 12), flock: (m.word(20) & FLOCK) !== 0, start, end, type, pid: m.word(19) }
}

export function encodeLock(reply: Reply, word: number, { start, end, type, pid }: FileLock): void {
  reply.long(word, start)
  if (end < Number.MAX_SAFE_INTEGER) reply.long(word + 2, end)
  else {
    reply.words[word + 2] = 0xffffffff
    reply.words[word + 3] = LAST
  }
  reply.words[word + 4] = TYPES.indexOf(type)
  reply.words[word + 5] = pid
}

/** Whose fcntl locks end with a FLUSH. */
export const ownerOfFlush = (m: Message): string => exact(m, 14)

/** Whose flock locks end with a RELEASE. */
export function ownerOfRelease(m: Message): string | undefined {
  return (m.word(13) & FLOCK_UNLOCK) === 0 ? undefined : exact(m, 14)
}
