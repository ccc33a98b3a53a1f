/** Errors of the kernel as faults: the one place in this backend that knows both. */
import { codeOf } from '../../libc/errno.ts'
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
