/** Errors of the kernel as faults: the one place in this backend that knows both. */
import { errnoName } from '../../libc/errno.ts'
import { Fault, type FaultName, isFault } from '../../vospace/fault.ts'

const FAULT_OF: Record<string, FaultName> = {
  ENOENT: 'NodeNotFound',
  ESTALE: 'NodeNotFound',
  EEXIST: 'DuplicateNode',
  ENOTDIR: 'TypeNotSupported',
  EISDIR: 'TypeNotSupported',
  ELOOP: 'TypeNotSupported',
  ENXIO: 'TypeNotSupported',
  ENOTEMPTY: 'ContainerNotEmpty',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
  EROFS: 'PermissionDenied',
  ENOSPC: 'QuotaExceeded',
  EDQUOT: 'QuotaExceeded',
  E2BIG: 'QuotaExceeded',
  EFBIG: 'RequestEntityTooLarge',
  ENAMETOOLONG: 'InvalidURI',
  EINVAL: 'InvalidArgument',
  EXDEV: 'OperationNotSupported',
  EOPNOTSUPP: 'OperationNotSupported',
  ENOTTY: 'OperationNotSupported',
  EMLINK: 'QuotaExceeded',
  EBUSY: 'NodeBusy',
  ETXTBSY: 'NodeBusy',
  EMFILE: 'ServiceBusy',
  ENFILE: 'ServiceBusy',
  ENOMEM: 'ServiceBusy',
}

/** The errno name of an error of the kernel, from node's fs or from libc; undefined for anything else. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  const { code } = error
  if (typeof code !== 'string') return undefined
  // what libuv has no name for (EDQUOT among them) node calls `Unknown system error -122`
  if (/^E[A-Z0-9]+$/.test(code) || !('errno' in error) || typeof error.errno !== 'number') return code
  return errnoName(Math.abs(error.errno)) ?? code
}

/** A fault for whatever was thrown; what is no refusal of the kernel (a bug) is passed on as it is. */
export function refusal(error: unknown, what: string): unknown {
  if (isFault(error)) return error
  const code = codeOf(error)
  if (code === undefined) return error
  // what fails in any other way is the storage failing: EIO, EUCLEAN
  return new Fault(FAULT_OF[code] ?? 'InternalFault', `${what}: ${code}`, { errno: code, cause: error })
}

/** The same for a container on the way: missing (ENOENT), or none (ENOTDIR, a link). */
export function parentRefusal(error: unknown, container: string): unknown {
  const code = codeOf(error)
  if (code === 'ENOENT') return new Fault('ContainerNotFound', container, { cause: error })
  if (code === 'ENOTDIR' || code === 'ELOOP') {
    return new Fault('ContainerNotFound', container, { errno: 'ENOTDIR', cause: error })
  }
  return refusal(error, container)
}

/** Runs a step on a node; errors of the kernel come out as faults. */
export function refusing<T>(what: string, step: () => T): T {
  try {
    return step()
  } catch (error) {
    throw refusal(error, what)
  }
}

/** The same for a step that takes its time. */
export async function refusingAsync<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw refusal(error, what)
  }
}
