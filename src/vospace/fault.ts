/**
 * The one table of faults. The name is what VOSpace 2.1 puts in a response body (its section on faults;
 * those it does not have are named in the same manner), `status` what HTTP says, `errno` what the mount
 * tells the kernel. No other file writes a status or an errno for a refusal.
 */
export const FAULTS = {
  // VOSpace 2.1
  InternalFault: { status: 500, errno: 'EIO' },
  PermissionDenied: { status: 403, errno: 'EACCES' },
  InvalidURI: { status: 400, errno: 'EINVAL' },
  InvalidArgument: { status: 400, errno: 'EINVAL' },
  InvalidData: { status: 400, errno: 'EINVAL' },
  TypeNotSupported: { status: 400, errno: 'EOPNOTSUPP' },
  ViewNotSupported: { status: 400, errno: 'EOPNOTSUPP' },
  OptionNotSupported: { status: 400, errno: 'EOPNOTSUPP' },
  ProtocolNotSupported: { status: 400, errno: 'EOPNOTSUPP' },
  OperationNotSupported: { status: 400, errno: 'EOPNOTSUPP' },
  LinkFound: { status: 400, errno: 'ELOOP' },
  NodeNotFound: { status: 404, errno: 'ENOENT' },
  ContainerNotFound: { status: 404, errno: 'ENOENT' },
  UnreadableLinkTarget: { status: 404, errno: 'ELOOP' },
  DuplicateNode: { status: 409, errno: 'EEXIST' },
  NodeBusy: { status: 423, errno: 'EBUSY' },
  NodeLocked: { status: 423, errno: 'EPERM' },
  TransferFailed: { status: 500, errno: 'EIO' },
  // ours, named in the same manner
  NotAuthenticated: { status: 401, errno: 'EACCES' },
  MethodNotAllowed: { status: 405, errno: 'EOPNOTSUPP' },
  ContainerNotEmpty: { status: 409, errno: 'ENOTEMPTY' },
  PreconditionFailed: { status: 412, errno: 'ESTALE' },
  RequestEntityTooLarge: { status: 413, errno: 'EFBIG' },
  QuotaExceeded: { status: 413, errno: 'EDQUOT' },
  RangeNotSatisfiable: { status: 416, errno: 'EINVAL' },
  ServiceBusy: { status: 503, errno: 'EAGAIN' },
} as const satisfies Record<string, { status: number; errno: string }>

export type FaultName = keyof typeof FAULTS

export interface FaultOptions extends ErrorOptions {
  /** Exact errno name where a POSIX program looks at it (ENOTDIR, EISDIR, EXDEV, EPERM, ENAMETOOLONG, ENOSPC). */
  readonly errno?: string
}

/** A refusal that the caller may read. Anything else that is thrown is a bug, or the storage failing. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly fault: FaultName
  readonly detail: string
  readonly errno: string

  constructor(fault: FaultName, detail: string, options: FaultOptions = {}) {
    super(`${fault}: ${detail}`, options)
    this.fault = fault
    this.detail = detail
    this.errno = options.errno ?? FAULTS[fault].errno
  }

  get status(): number {
    return FAULTS[this.fault].status
  }
}

/** True for a refusal of that name. Branch on this, never on a message. */
export function isFault(error: unknown, ...names: FaultName[]): error is Fault {
  return error instanceof Fault && (names.length === 0 || names.includes(error.fault))
}
