/**
 * Project quotas, which ext4 and XFS have alike: the project that an inode counts in (ioctl_xfs_fsgetxattr(2)), and what a project uses and may
 * use (quotactl(2), by descriptor: Linux 5.14). The kernel counts blocks, of every name below a directory that hands its project down.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { ERRNO } from './errno.ts'
import { declare, declareCall, LibcError } from './ffi.ts'
import { SYSCALL } from './syscalls.ts'

const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
/** What is made in the directory gets its project, and this flag. */
const PROJECT_INHERIT = 0x200
const OF_PROJECTS = 2
const Q_GETQUOTA = 0x800007
const Q_SETQUOTA = 0x800008
const Q_XGETQSTAT = 0x5805
const BLOCK_LIMITS = 1
const PROJECTS_ENFORCED = 0x20
/** Limits are said in these. */
const BLOCK = 1024n

const ask = declareCall('ioctl', 'int', ['int', 'uint64_t', 'void *'])
const ioctl = declare('ioctl', 'int', ['int', 'uint64_t', 'void *'])
const quotactl = declareCall('syscall', 'int64_t', ['int64_t', 'int', 'uint32_t', 'uint32_t', 'void *'])

/** struct fsxattr: flags, extent size, extents, project, extent size of copies, 8 spare bytes */
const attributes = new Uint32Array(7)

/** What counts in a project, and how much may. */
export interface ProjectUsage {
  /** bytes in blocks on the disk */
  readonly bytes: number
  /** bytes; undefined: as many as there are */
  readonly limit: number | undefined
  readonly inodes: number
  readonly inodeLimit: number | undefined
}

/** Whether the file system of a descriptor keeps projects within their limits now. */
export function enforcesProjects(fd: number): boolean {
  const state = Buffer.alloc(256)
  const result = call(fd, Q_XGETQSTAT, 0, state)
  return result === 0 && (state.readUInt16LE(2) & PROJECTS_ENFORCED) !== 0
}

/** The project of an open file or directory; 0 is nobody's, or the file system has none. Throws LibcError. */
export function projectOf(fd: number): number {
  const result = ask(fd, FS_IOC_FSGETXATTR, attributes)
  if (result === -ERRNO.ENOTTY || result === -ERRNO.EOPNOTSUPP) return 0
  if (result < 0) throw new LibcError('ioctl', -result)
  return attributes[3] ?? 0
}

/** Counts an open file or directory in a project from now on; a directory hands it down to what is made in it. Throws LibcError (ENOTTY, EOPNOTSUPP). */
export function setProject(fd: number, project: number, isDirectory: boolean): void {
  ioctl(fd, FS_IOC_FSGETXATTR, attributes)
  const flags = attributes[0] ?? 0
  const wanted = isDirectory ? flags | PROJECT_INHERIT : flags
  if (attributes[3] === project && flags === wanted) return
  attributes[0] = wanted
  attributes[3] = project
  ioctl(fd, FS_IOC_FSSETXATTR, attributes)
}

/** Throws LibcError. */
export function usageOf(fd: number, project: number): ProjectUsage {
  // struct if_dqblk: hard, soft, space, inode hard, inode soft, inodes, two times, and which of them count
  const block = new BigUint64Array(9)
  const result = call(fd, Q_GETQUOTA, project, block)
  // a project that nobody has used yet has no record
  if (result < 0 && result !== -ERRNO.ENOENT && result !== -ERRNO.ESRCH) throw new LibcError('quotactl_fd', -result)
  const [limit = 0n, , bytes = 0n, inodeLimit = 0n, , inodes = 0n] = block
  return {
    bytes: Number(bytes),
    limit: limit === 0n ? undefined : Number(limit * BLOCK),
    inodes: Number(inodes),
    inodeLimit: inodeLimit === 0n ? undefined : Number(inodeLimit),
  }
}

/** Bytes, of which the file system makes whole blocks, upwards; undefined: no limit. Throws LibcError (EPERM). */
export function limitProject(fd: number, project: number, bytes: number | undefined): void {
  const block = new BigUint64Array(9)
  // none at all would be no limit
  const most = bytes === undefined ? 0n : (BigInt(Math.max(1, bytes)) + BLOCK - 1n) / BLOCK
  block[0] = most
  block[8] = BigInt(BLOCK_LIMITS)
  const result = call(fd, Q_SETQUOTA, project, block)
  if (result < 0) throw new LibcError('quotactl_fd', -result)
}

/** Runs a step on a file or directory open for its attributes, which a symlink has none of. Throws errors of the kernel. */
export function onOpen<T>(file: string | Buffer, step: (fd: number) => T): T {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const fd = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    return step(fd)
  } finally {
    closeSync(fd)
  }
}

const call = (fd: number, command: number, project: number, answer: NodeJS.ArrayBufferView): number =>
  quotactl(SYSCALL.quotactl_fd, fd, ((command << 8) | OF_PROJECTS) >>> 0, project, answer)
