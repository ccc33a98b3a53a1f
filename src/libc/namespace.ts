// Mount namespaces, and mounts that stand nowhere until they are attached: fsopen(2), open_tree(2), move_mount(2) of Linux 5.2, mount_setattr(2) of 5.12.
// Whoever lets go of the descriptor of a mount that was never attached dissolves it.
import { declare } from './ffi.ts'
import { SYSCALL } from './syscalls.ts'

const CLONE_NEWNS = 0x20000
const CLOEXEC = 0o2000000
const AT_FDCWD = -100
const AT_RECURSIVE = 0x8000
const AT_EMPTY_PATH = 0x1000
const OPEN_TREE_CLONE = 1
const MOVE_MOUNT_F_EMPTY_PATH = 4
const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const FSOPEN_CLOEXEC = 1
const FSMOUNT_CLOEXEC = 1
const MOUNT_ATTR_RDONLY = 1
const MOUNT_ATTR_NOSUID = 2
const MOUNT_ATTR_NODEV = 4
const MNT_DETACH = 2
const MS_BIND = 0x1000
const MS_REC = 0x4000
const MS_UNBINDABLE = 0x20000
const MS_SLAVE = 0x80000

const unshare = declare('unshare', 'int', ['int'])
const umount2 = declare('umount2', 'int', ['const char *', 'int'])
const mount = declare('mount', 'int', ['const char *', 'const char *', 'const char *', 'uint64_t', 'const char *'])
const close = declare('close', 'int', ['int'])
const withText = declare('syscall', 'int64_t', ['int64_t', 'const char *', 'int64_t'])
const withTexts = declare('syscall', 'int64_t', ['int64_t', 'const char *', 'const char *'])
const withNumbers = declare('syscall', 'int64_t', ['int64_t', 'int64_t', 'int64_t', 'int64_t'])
const opening = declare('syscall', 'int64_t', ['int64_t', 'int64_t', 'const char *', 'int64_t'])
const moving = declare('syscall', 'int64_t', [
  ...(['int64_t', 'int64_t', 'const char *', 'int64_t', 'const char *', 'int64_t'] as const),
])
const configuring = declare('syscall', 'int64_t', [
  ...(['int64_t', 'int64_t', 'int64_t', 'const char *', 'const char *', 'int64_t'] as const),
])
const attributing = declare('syscall', 'int64_t', [
  ...(['int64_t', 'int64_t', 'const char *', 'int64_t', 'void *', 'int64_t'] as const),
])

/**
 * This thread, and what it starts from now on, gets a mount namespace of its own; what is mounted outside is still seen in it, and nothing of it
 * outside. The other threads of the process stay where they are. Throws LibcError (EPERM without CAP_SYS_ADMIN).
 */
export function ownMountNamespace(): void {
  unshare(CLONE_NEWNS)
  mount('none', '/', null, MS_REC | MS_SLAVE, null)
}

export interface FuseMount {
  /** an open /dev/fuse of this process */
  readonly device: number
  readonly source: string
  /** whose programs may look: nobody else's, root's included */
  readonly uid: number
  readonly gid: number
  readonly readOnly: boolean
}

/** A FUSE mount that stands nowhere yet. Answers its descriptor. Throws LibcError. */
export function detachedFuse({ device, source, uid, gid, readOnly }: FuseMount): number {
  const context = withText(SYSCALL.fsopen, 'fuse', FSOPEN_CLOEXEC)
  try {
    const set = (key: string, value: string): number =>
      configuring(SYSCALL.fsconfig, context, FSCONFIG_SET_STRING, key, value, 0)
    const values = {
      source,
      subtype: 'karst',
      fd: `${device}`,
      rootmode: '40000',
      user_id: `${uid}`,
      group_id: `${gid}`,
    }
    for (const [key, value] of Object.entries(values)) set(key, value)
    if (readOnly) configuring(SYSCALL.fsconfig, context, FSCONFIG_SET_FLAG, 'ro', null, 0)
    configuring(SYSCALL.fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0)
    const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (readOnly ? MOUNT_ATTR_RDONLY : 0)
    return withNumbers(SYSCALL.fsmount, context, FSMOUNT_CLOEXEC, attributes)
  } finally {
    close(context)
  }
}

/** A bind mount of a directory, with what is mounted below it, that stands nowhere yet. Answers its descriptor. Throws LibcError. */
export function detachedBind(dir: string, readOnly: boolean): number {
  const tree = opening(SYSCALL.open_tree, AT_FDCWD, dir, OPEN_TREE_CLONE | AT_RECURSIVE | CLOEXEC)
  try {
    const attributes = Buffer.alloc(32)
    attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (readOnly ? MOUNT_ATTR_RDONLY : 0)))
    attributing(SYSCALL.mount_setattr, tree, '', AT_EMPTY_PATH | AT_RECURSIVE, attributes, attributes.length)
    return tree
  } catch (error) {
    close(tree)
    throw error
  }
}

/** Attaches what `detachedFuse` or `detachedBind` made to a directory of this thread's namespace. Throws LibcError. */
export function attach(mounted: number, dir: string): void {
  moving(SYSCALL.move_mount, mounted, '', AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH)
}

/** Throws LibcError. */
export function bindMount(from: string, to: string): void {
  mount(from, to, null, MS_BIND | MS_REC, null)
}

/**
 * A directory in memory, of 1 MiB: for names to mount on. `alone`: a bind mount of what is around it does not take it along. Throws LibcError.
 */
export function memoryMount(dir: string, alone = false): void {
  mount('tmpfs', dir, 'tmpfs', 0, 'mode=755,size=1m')
  if (alone) mount('none', dir, null, MS_UNBINDABLE, null)
}

/** Takes a mount away from this namespace, whoever uses it. Throws LibcError. */
export function detachMount(dir: string): void {
  umount2(dir, MNT_DETACH)
}

/** `dir`, a mount, becomes the root, for every thread of this namespace; the old one is gone. Throws LibcError. */
export function changeRoot(dir: string): void {
  process.chdir(dir)
  withTexts(SYSCALL.pivot_root, '.', '.')
  umount2('.', MNT_DETACH)
  process.chdir('/')
}

/** Closes what was attached, or dissolves what was not. */
export function letGo(mounted: number): void {
  close(mounted)
}
