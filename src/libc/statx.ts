/** statx(2) into memory of ours, told apart word by word: what a stat costs without objects for its dates and big integers. */
import { address, declareCall, LibcError } from './ffi.ts'
import { ERRNO } from './errno.ts'
import { SYSCALL } from './syscalls.ts'

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
/** STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID */
const MASK = 0x07ff | 0x0800 | 0x1000

const statx = declareCall('syscall', 'int64_t', ['int64_t', 'int', 'const char *', 'int', 'uint32_t', 'uint64_t'])

const memory = new ArrayBuffer(256)
const answer = new Int32Array(memory)
/** the same memory; little-endian as all that follows */
const longs = new BigInt64Array(memory)
let place: number | undefined

/** As a directory: names are paths then. */
export const AT_FDCWD = -100

// Where in struct statx, in words of 32 bits (linux/stat.h; the same everywhere, little-endian here).
const MNT_ID = [36, 37] as const
/** what makes an inode: number, birth, device; and the mount it is seen through */
const INODE = [8, 9, 20, 21, 22, 34, 35, ...MNT_ID] as const
/** links, owner, group, mode, size, change and modification: all but the time of access, and how it is laid out */
const ALL = [...INODE, 4, 5, 6, 7, 10, 11, 24, 25, 26, 28, 29, 30] as const

/** A stat that was taken. */
export type Words = Readonly<Int32Array>

/** The same told apart; times in nanoseconds since 1970, that of birth 0 where the file system does not say. */
export interface Stat {
  readonly dev: number
  readonly ino: bigint
  /** type and permissions */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** of a device node, as Linux encodes it in 32 bits */
  readonly device: number
  /** bytes */
  readonly size: number
  /** of 512 bytes */
  readonly blocks: number
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly birthtimeNs: bigint
}

/**
 * What a name in a directory stands for, a symlink itself; of an empty name the directory. The answer is overwritten by the next call: copy
 * what is to be kept. undefined: nothing there. Throws LibcError.
 */
export function statOf(directory: number, name: string): Words | undefined {
  // as a number, which is half the price of a big integer: addresses of programs have 47 bits, on arm64 52 at most
  place ??= Number(address(answer))
  const flags = name === '' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW
  const result = statx(SYSCALL.statx, directory, name, flags, MASK, place)
  if (result === 0) return answer
  if (result === -ERRNO.ENOENT || result === -ERRNO.ENOTDIR) return undefined
  throw new LibcError('statx', -result)
}

/** As statOf, told apart and not overwritten. */
export function statIn(directory: number, name: string): Stat | undefined {
  if (statOf(directory, name) === undefined) return undefined
  return {
    dev: deviceIn(34),
    ino: BigInt.asUintN(64, longs[4] ?? 0n),
    mode: (answer[7] ?? 0) & 0xffff,
    nlink: (answer[4] ?? 0) >>> 0,
    uid: (answer[5] ?? 0) >>> 0,
    gid: (answer[6] ?? 0) >>> 0,
    device: deviceIn(32),
    size: Number(longs[5]),
    blocks: Number(longs[6]),
    atimeNs: timeIn(16),
    mtimeNs: timeIn(28),
    ctimeNs: timeIn(24),
    birthtimeNs: timeIn(20),
  }
}

const timeIn = (at: number): bigint => (longs[at / 2] ?? 0n) * 1_000_000_000n + BigInt((answer[at + 2] ?? 0) >>> 0)

/** Major and minor as Linux has them in 32 bits (linux/kdev_t.h). */
function deviceIn(at: number): number {
  const [major, minor] = [answer[at] ?? 0, answer[at + 1] ?? 0]
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0
}

/** Whether nothing has changed from one to the other, the time of access aside. */
export const isUnchanged = (a: Words, b: Words): boolean => agree(a, b, ALL)

/** Whether it is one inode, seen through one mount. */
export const isSameInode = (a: Words, b: Words): boolean => agree(a, b, INODE)

/** Whether both are seen through one mount (one file system, where the kernel does not say: before Linux 5.8). */
export const isSameMount = (a: Words, b: Words): boolean => agree(a, b, [34, 35, ...MNT_ID])

function agree(a: Words, b: Words, words: readonly number[]): boolean {
  for (let i = 0; i < words.length; i++) {
    const at = words[i] ?? 0
    if (a[at] !== b[at]) return false
  }
  return true
}

const nanoseconds = (words: Words, at: number): bigint =>
  (BigInt(words[at + 1] ?? 0) * 0x1_0000_0000n + BigInt((words[at] ?? 0) >>> 0)) * 1_000_000_000n +
  BigInt((words[at + 2] ?? 0) >>> 0)

/** Nanoseconds since 1970. */
export const ctimeOf = (words: Words): bigint => nanoseconds(words, 24)

export const inodeOf = (words: Words): bigint =>
  BigInt((words[9] ?? 0) >>> 0) * 0x1_0000_0000n + BigInt((words[8] ?? 0) >>> 0)
