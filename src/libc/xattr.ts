/**
 * Extended attributes (xattr(7)). Reading is of the node at a path itself, never of what a symlink there leads to. Writing follows:
 * it is for `/proc/self/fd/N` of a descriptor, which no rename can make another file, or for paths that are nobody else's.
 */
import { ERRNO } from './errno.ts'
import { declare, declareCall, LibcError } from './ffi.ts'

/** XATTR_SIZE_MAX and XATTR_LIST_MAX: one buffer for every answer, used between two lines of synchronous code. */
const answer = Buffer.alloc(65536)
/** What is asked for at first: the kernel makes, and clears, as much memory as there might be to answer. */
const FEW = 1024

const PATH = 'const char *'
const get = declareCall('lgetxattr', 'int64_t', [PATH, PATH, 'void *', 'size_t'])
const getOpen = declareCall('fgetxattr', 'int64_t', ['int', PATH, 'void *', 'size_t'])
const set = declare('setxattr', 'int', [PATH, PATH, 'const void *', 'size_t', 'int'])
const remove = declareCall('removexattr', 'int', [PATH, PATH])

/** The value; undefined when there is none, the file system keeps none, or we may not read it. Throws LibcError. */
export function getXattr(path: string, name: string): Buffer | undefined {
  let length = get(path, name, answer, FEW)
  if (length === -ERRNO.ERANGE) length = get(path, name, answer, answer.length)
  if (length >= 0) return Buffer.from(answer.subarray(0, length))
  if (!isAbsence(-length)) throw new LibcError('lgetxattr', -length)
  return undefined
}

/** The value of an open file. */
export function getXattrOpen(fd: number, name: string): Buffer | undefined {
  let length = getOpen(fd, name, answer, FEW)
  if (length === -ERRNO.ERANGE) length = getOpen(fd, name, answer, answer.length)
  if (length >= 0) return Buffer.from(answer.subarray(0, length))
  if (!isAbsence(-length)) throw new LibcError('fgetxattr', -length)
  return undefined
}

/** Throws LibcError (ENOSPC, E2BIG, ERANGE, EOPNOTSUPP, EPERM). */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  set(path, name, value, value.length, 0)
}

/** Removes it when it is there. Throws LibcError. */
export function removeXattr(path: string, name: string): void {
  const result = remove(path, name)
  if (result < 0 && result !== -ERRNO.ENODATA && result !== -ERRNO.EOPNOTSUPP) {
    throw new LibcError('removexattr', -result)
  }
}

function isAbsence(errno: number): boolean {
  return errno === ERRNO.ENODATA || errno === ERRNO.EOPNOTSUPP || errno === ERRNO.EACCES || errno === ERRNO.EPERM
}
