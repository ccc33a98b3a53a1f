/** A directory by its descriptor: the names in it as getdents64(2) gives them, and what is asked or done of one name, with no path to walk. */
import { isUtf8 } from 'node:buffer'
import { ERRNO } from './errno.ts'
import { declareCall, LibcError } from './ffi.ts'
import { AT_FDCWD } from './statx.ts'
import { SYSCALL } from './syscalls.ts'

const NAME = 'const char *'
const getdents = declareCall('getdents64', 'int64_t', ['int', 'void *', 'size_t'])
const statx = declareCall('statx', 'int', ['int', NAME, 'int', 'uint32_t', 'void *'])
const unlinkat = declareCall('unlinkat', 'int', ['int', NAME, 'int'])
const listxattrat = declareCall('syscall', 'int64_t', ['int64_t', 'int', NAME, 'uint64_t', 'void *', 'size_t'])
const llistxattr = declareCall('llistxattr', 'int64_t', [NAME, 'void *', 'size_t'])

const AT_SYMLINK_NOFOLLOW = 0x100

const page = Buffer.alloc(32_768)

export type FileType = 'file' | 'directory' | 'symlink' | 'other' | 'unknown'

export interface DirectoryEntry {
  /** undefined: it is not UTF-8 */
  readonly name: string | undefined
  /** `unknown` where the file system does not say */
  readonly type: FileType
}

const TYPES: Readonly<Record<number, FileType>> = { 0: 'unknown', 4: 'directory', 8: 'file', 10: 'symlink' }

/**
 * The next names of a directory open for reading, without `.` and `..`; undefined at the end. What is read already may be removed. Throws LibcError.
 */
export function readEntries(fd: number): DirectoryEntry[] | undefined {
  const length = getdents(fd, page, page.length)
  if (length < 0) throw new LibcError('getdents64', -length)
  if (length === 0) return undefined
  const entries: DirectoryEntry[] = []
  // linux_dirent64: inode 8, offset 8, length 2, type 1, name and NUL
  for (let at = 0; at < length; at += page.readUInt16LE(at + 16)) {
    const name = nameAt(at + 19)
    if (name !== '.' && name !== '..') entries.push({ name, type: TYPES[page[at + 18] ?? 0] ?? 'other' })
  }
  return entries
}

/**
 * As readEntries, with no string for each: `take` is told where in `bytes` the name stands, which ends with a NUL, and whether it is UTF-8. What is
 * there is gone with the next call. False: there were no more.
 */
export function scanEntries(
  fd: number,
  take: (bytes: Uint8Array, start: number, end: number, type: FileType, isText: boolean) => void,
): boolean {
  const length = getdents(fd, page, page.length)
  if (length < 0) throw new LibcError('getdents64', -length)
  for (let at = 0; at < length; at += page.readUInt16LE(at + 16)) {
    const start = at + 19
    let end = start
    let bits = 0
    for (let byte = page[end] ?? 0; byte !== 0; byte = page[++end] ?? 0) bits |= byte
    const isDots = page[start] === DOT && (end - start === 1 || (end - start === 2 && page[start + 1] === DOT))
    if (isDots) continue
    const isText = bits < 0x80 || isUtf8(page.subarray(start, end))
    take(page, start, end, TYPES[page[at + 18] ?? 0] ?? 'other', isText)
  }
  return length > 0
}
const DOT = 0x2e

function nameAt(start: number): string | undefined {
  const name = page.toString('utf8', start, page.indexOf(0, start))
  // what is no UTF-8 is decoded to this; a name may also really have it
  return name.includes('\ufffd') && !isSame(name, start) ? undefined : name
}

function isSame(name: string, start: number): boolean {
  const bytes = Buffer.from(name)
  return page.compare(bytes, 0, bytes.length, start, start + bytes.length) === 0 && page[start + bytes.length] === 0
}

export interface StatAt {
  readonly type: FileType
  readonly nlink: number
  readonly ino: bigint
  /** nanoseconds since 1970; 0 where the file system does not say */
  readonly birthtimeNs: bigint
}

const BASIC_STATS_AND_BIRTH = 0xfff
const answer = Buffer.alloc(256)
const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
const isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/** Of the name itself, a symlink too; undefined: there is none. Throws LibcError. */
export function statAt(directory: number, name: string): StatAt | undefined {
  const result = statx(directory, name, AT_SYMLINK_NOFOLLOW, BASIC_STATS_AND_BIRTH, answer)
  if (result === -ERRNO.ENOENT) return undefined
  if (result < 0) throw new LibcError('statx', -result)
  // struct statx: nlink 16, mode 28, ino 32, btime 80
  return {
    type: typeOfMode(view.getUint16(28, isLittle)),
    nlink: view.getUint32(16, isLittle),
    ino: view.getBigUint64(32, isLittle),
    birthtimeNs: view.getBigInt64(80, isLittle) * 1_000_000_000n + BigInt(view.getUint32(88, isLittle)),
  }
}

function typeOfMode(mode: number): FileType {
  return TYPES[(mode & 0o170000) >> 12] ?? 'other'
}

const names = Buffer.alloc(65_536)
/** What is asked for at first: the kernel makes as much memory as there might be to answer. */
const FEW = 1024
let hasListxattrat = true

/**
 * Names of the extended attributes of the name itself (or, with AT_FDCWD, of a path), those that are UTF-8; undefined: nothing stands there.
 * None where the file system keeps none. Throws LibcError.
 */
export function listXattrAt(directory: number, name: string): readonly string[] | undefined {
  let length = listNames(directory, name, FEW)
  if (length === -ERRNO.ERANGE) length = listNames(directory, name, names.length)
  if (length === 0 || length === -ERRNO.EOPNOTSUPP || length === -ERRNO.E2BIG) return NO_NAMES
  if (length === -ERRNO.ENOENT) return undefined
  if (length < 0) throw new LibcError('llistxattr', -length)
  const all = names.toString('utf8', 0, length - 1)
  return all.includes('\ufffd') ? all.split('\0').filter((one) => !one.includes('\ufffd')) : all.split('\0')
}
const NO_NAMES: readonly string[] = []

function listNames(directory: number, name: string, size: number): number {
  if (hasListxattrat) {
    const length = listxattrat(SYSCALL.listxattrat, directory, name, AT_SYMLINK_NOFOLLOW, names, size)
    // an older kernel, or a sandbox that does not know the call
    if (length !== -ERRNO.ENOSYS && length !== -ERRNO.EPERM) return length
    hasListxattrat = false
  }
  return llistxattr(directory === AT_FDCWD ? name : `/proc/self/fd/${directory}/${name}`, names, size)
}

/** Removes a name that is no directory. Throws LibcError: ENOENT, EISDIR, EPERM, EACCES, EROFS. */
export function unlinkAt(directory: number, name: string): void {
  const result = unlinkat(directory, name, 0)
  if (result < 0) throw new LibcError('unlinkat', -result)
}
