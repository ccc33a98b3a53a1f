// The partitions of a session as mounts that stand nowhere yet: FUSE served by the driver of the node, or a bind of what the node has itself.
import path from 'node:path'
import { Fault } from '../../src/vospace/fault.ts'
import { detachedBind, detachedFuse } from '../../src/libc/namespace.ts'
import { LibcError, loadLibrary } from '../../src/libc/ffi.ts'
import { O_PATH, openBeneath } from '../../src/libc/openat.ts'
import { mountCommand } from '../command.ts'
import { mountByFusermount } from '../fuse/mount-fusermount.ts'
import { MountError } from '../fuse/mount-options.ts'
import { DEVICE } from '../fuse/mount-root.ts'
import { type Agreed } from './terms.ts'
import { type RunFolder, writeWhole } from './run-folder.ts'
import { type Way } from './ways.ts'

const fs = process.getBuiltinModule('node:fs')

/** What is needed of the C library, ahead of the first mount. */
export const loadCalls = loadLibrary

export interface MountWith {
  readonly run: RunFolder
  readonly way: Way
  readonly url: string
  readonly ca?: string
  readonly stateDir: string
  /** as the kernel of this namespace numbers them */
  readonly uid: number
  readonly gid: number
  /** where the file systems of backends are on this node */
  readonly binds: Readonly<Record<string, string>>
  /** seconds that the gateway is waited for */
  readonly timeout?: number
}

export interface PreparedMount extends Agreed {
  /** descriptor of a mount to attach; undefined: it stands where it shall already */
  readonly mounted: number | undefined
  /** under which the driver has it; undefined: a bind */
  readonly driverDir: string | undefined
}

/** Where the driver reads the credential of a partition. */
export const tokenFile = (run: RunFolder, index: number): string => run.driver(`token-${index}`)

/** Throws Faults, MountError. */
export async function prepareMount(agreed: Agreed, index: number, how: MountWith): Promise<PreparedMount> {
  const { terms } = agreed
  writeWhole(tokenFile(how.run, index), terms.credential.token, 0o600)
  try {
    const mounted = bound(agreed, how)
    if (mounted !== undefined) return { ...agreed, mounted, driverDir: undefined }
    return await fuseMount(agreed, index, how)
  } catch (error) {
    if (!(error instanceof LibcError)) throw error
    throw notMounted(agreed, agreed.at, error)
  }
}

/** Where calls are that others make as a matter of course, but seccomp and old kernels refuse. */
const NO_CALLS =
  'mounts need Linux 5.12, and a container that is let mount (its seccomp profile); or try --way fusermount'

/** What the kernel said about the mount of a partition. */
export function notMounted({ planned }: Pick<Agreed, 'planned'>, at: string, error: LibcError): MountError {
  const mend = ['EPERM', 'ENOSYS'].includes(error.code) ? `: ${NO_CALLS}` : ''
  const why = `the partition ${planned.partition} cannot be mounted at ${at}: ${error.message}${mend}`
  return new MountError(why, error.code, { cause: error })
}

async function fuseMount(agreed: Agreed, index: number, how: MountWith): Promise<PreparedMount> {
  const { terms, at } = agreed
  const { run, way, uid, gid, url, ca, stateDir, timeout } = how
  const readOnly = terms.access === 'read'
  const isHere = way === 'fusermount'
  const device = isHere ? await byFusermount(agreed, readOnly) : fs.openSync(DEVICE, 'r+')
  try {
    const mounted = isHere ? undefined : detachedFuse({ device, source: terms.uri, uid, gid, readOnly })
    const driverDir = isHere ? at : path.join(run.path, 'at', String(index))
    await mountCommand({
      ...{ uri: terms.uri, dir: driverDir, url, stateDir, fd: device, uid, gid, readOnly },
      ...{ tokenFile: tokenFile(run, index), foreground: false, allowOther: false, shared: readOnly },
      ...(ca !== undefined && { ca }),
      ...(agreed.ahead !== undefined && { ahead: agreed.ahead }),
      ...(timeout !== undefined && { timeout }),
    })
    return { ...agreed, mounted, driverDir }
  } finally {
    // the driver has its own; with this one open a mount would outlive it
    fs.closeSync(device)
  }
}

async function byFusermount({ at, terms, planned }: Agreed, readOnly: boolean): Promise<number> {
  try {
    fs.mkdirSync(at, { recursive: true })
  } catch (error) {
    const { code = 'EIO' } = error as NodeJS.ErrnoException
    const why = `${planned.partition} cannot be mounted at ${at} (${code}): with fusermount3 it takes a directory of one's own; name one in a manifest (at)`
    throw new MountError(why, code, { cause: error })
  }
  return (await mountByFusermount(at, { fsname: terms.uri, readOnly })).fd
}

/**
 * Where the node has the container, if whom the command runs as is whom the gateway means: a bind mount of it. undefined: it is not for binds.
 * NodeNotFound; throws LibcError.
 */
function bound({ terms, planned }: Agreed, { binds, way, uid }: MountWith): number | undefined {
  const { bind, access, user } = terms
  const root = bind === undefined ? undefined : binds[bind.backend]
  if (bind === undefined || root === undefined || way !== 'root' || uid !== user.uid) return undefined
  const dir = openedBelow(root, bind.path)
  if (dir === undefined)
    throw new Fault(
      'NodeNotFound',
      `the partition ${planned.partition} is not at ${path.join(root, bind.path)} of this node: is that the file system of the backend ${bind.backend}?`,
    )
  try {
    return detachedBind(`/proc/self/fd/${dir}`, access === 'read')
  } finally {
    fs.closeSync(dir)
  }
}

/**
 * A descriptor of the directory, whatever takes its place from now on; undefined: it is none. No link is followed below what the node's administrator
 * has named, nor `..`. Throws LibcError.
 */
export function openedBelow(root: string, below: string): number | undefined {
  const top = fs.openSync(root, O_PATH | fs.constants.O_DIRECTORY)
  try {
    return openBeneath(top, below === '' ? '.' : below)
  } catch (error) {
    if (error instanceof LibcError && ['ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV'].includes(error.code)) return undefined
    throw error
  } finally {
    fs.closeSync(top)
  }
}
