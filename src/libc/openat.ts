/** What node's fs lacks: openat2(2), renameat2(2), mknodat(2), utimensat(2) to the nanosecond, flock(2), fallocate(2), FICLONE. */
import { ERRNO } from './errno.ts'
import { declare, declareCall, LibcError } from './ffi.ts'
import { SYSCALL } from './syscalls.ts'

const { constants } = process.getBuiltinModule('node:fs')

/** linux/openat2.h and fcntl.h; the same on x64 and arm64. */
export const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000
const RESOLVE_NO_MAGICLINKS = 0x02
const RESOLVE_NO_SYMLINKS = 0x04
const RESOLVE_BENEATH = 0x08
const UTIME_OMIT = (1n << 30n) - 2n
const FICLONE = 0x40049409

const openat2 = declareCall('syscall', 'int64_t', ['int64_t', 'int', 'const char *', 'void *', 'size_t'])
const rename = declare('syscall', 'int64_t', ['int64_t', 'int', 'const char *', 'int', 'const char *', 'uint32_t'])
const mknodat = declare('mknodat', 'int', ['int', 'const char *', 'uint32_t', 'uint64_t'])
const utimensat = declare('utimensat', 'int', ['int', 'const char *', 'void *', 'int'])
const ioctl = declare('ioctl', 'int', ['int', 'uint64_t', 'int'])
const lock = declareCall('flock', 'int', ['int', 'int'])
const allocate = declare('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t'])

const how = new BigUint64Array(3)

/**
 * Opens a directory below another as an O_PATH descriptor: no symlink on the way is followed, no `..` leads out.
 * Throws LibcError: ENOENT, ENOTDIR, ELOOP (a symlink), ENOSYS (a kernel before 5.6).
 */
export function openBeneath(directory: number, path: string): number {
  how[0] = BigInt(O_PATH | O_CLOEXEC | constants.O_DIRECTORY)
  how[1] = 0n
  how[2] = BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
  for (let attempt = 0; ; attempt++) {
    const fd = openat2(SYSCALL.openat2, directory, path, how, how.byteLength)
    if (fd >= 0) return fd
    // EAGAIN: a rename elsewhere raced with the check for ".."
    if (fd !== -ERRNO.EAGAIN || attempt === 100) throw new LibcError('openat2', -fd)
  }
}

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2

/** Throws LibcError; EINVAL where the file system does not know the flag. */
export function renameat2(fromDirectory: number, from: string, toDirectory: number, to: string, flags: number): void {
  rename(SYSCALL.renameat2, fromDirectory, from, toDirectory, to, flags)
}

/** Makes a file, FIFO, socket or device; `mode` with its type, `device` as Linux encodes it in 32 bits. Throws LibcError (EEXIST). */
export function makeNode(directory: number, name: string, mode: number, device: number): void {
  mknodat(directory, name, mode, device)
}

/** Sets times in nanoseconds since 1970 of a path, followed (so `/proc/self/fd/N`, a symlink's own too); undefined leaves one alone. Throws LibcError. */
export function setTimes(path: string, times: { atime?: bigint | undefined; mtime?: bigint | undefined }): void {
  const spec = new BigInt64Array(4)
  for (const [i, time] of [times.atime, times.mtime].entries()) {
    const seconds = time === undefined ? 0n : (time - (((time % NANO) + NANO) % NANO)) / NANO
    spec[2 * i] = seconds
    spec[2 * i + 1] = time === undefined ? UTIME_OMIT : time - seconds * NANO
  }
  utimensat(-100, path, spec, 0)
}
const NANO = 1_000_000_000n

/** Makes the file share all bytes of another, copied on write. Throws LibcError (EOPNOTSUPP, EXDEV, EINVAL where it cannot). */
export function reflink(to: number, from: number): void {
  ioctl(to, FICLONE, from)
}

/** Tries to lock; false when another process holds it. Throws LibcError. */
export function tryLock(fd: number, kind: 'shared' | 'exclusive'): boolean {
  const result = lock(fd, (kind === 'shared' ? 1 : 2) | 4)
  if (result < 0 && result !== -ERRNO.EAGAIN) throw new LibcError('flock', -result)
  return result >= 0
}

/** Reserves room for the bytes of a range without changing the size. Throws LibcError (ENOSPC, EOPNOTSUPP). */
export function reserve(fd: number, offset: number, length: number): void {
  allocate(fd, 1, offset, length)
}

/** Makes a range read as zeros, the size kept. Throws LibcError (EOPNOTSUPP). */
export function punchHole(fd: number, offset: number, length: number): void {
  allocate(fd, 3, offset, length)
}
