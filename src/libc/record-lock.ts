// Locks of bytes by fcntl(2), as SQLite and HDF5 take them.
import { ERRNO } from './errno.ts'
import { declareCall, LibcError } from './ffi.ts'

const F_SETLK = 6
const F_OFD_SETLK = 37
const F_WRLCK = 1

const fcntl = declareCall('fcntl', 'int', ['int', 'int', 'void *'])

/**
 * Tries to lock a whole file for writing, for this process or for this opening of it alone (F_OFD_SETLK): the two exclude each other within one
 * process too. False where somebody else has it. Throws LibcError (ENOLCK, EOPNOTSUPP; EINVAL where the kernel has none for an opening).
 */
export function tryRecordLock(fd: number, owner: 'process' | 'opening'): boolean {
  // struct flock: type and whence of 16 bits, start and length of 64, a process; alike on x64 and arm64
  const lock = Buffer.alloc(32)
  lock.writeInt16LE(F_WRLCK, 0)
  const result = fcntl(fd, owner === 'process' ? F_SETLK : F_OFD_SETLK, lock)
  if (result >= 0) return true
  if (result === -ERRNO.EAGAIN || result === -ERRNO.EACCES) return false
  throw new LibcError('fcntl', -result)
}
