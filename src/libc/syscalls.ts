/** Numbers of the system calls that the C library has no function for, or not every one (asm/unistd.h). */

/** The same on every architecture, as all from 424 on are. */
const ALIKE = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  openat2: 437,
  mount_setattr: 442,
  quotactl_fd: 443,
  /** since Linux 6.13 */
  listxattrat: 465,
} as const

export const SYSCALLS = {
  x64: { ...ALIKE, copy_file_range: 326, ioctl: 16, pivot_root: 155, renameat2: 316, statx: 332 },
  arm64: { ...ALIKE, copy_file_range: 285, ioctl: 29, pivot_root: 41, renameat2: 276, statx: 291 },
} as const

/** Those of this machine. */
export const SYSCALL = SYSCALLS[process.arch === 'arm64' ? 'arm64' : 'x64']
