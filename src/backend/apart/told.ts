/** Errors as they go from one process to another: a Fault stays one, anything else keeps its words. */
import { Fault, isFault, type FaultName } from '../../vospace/fault.ts'

export interface Told {
  readonly fault?: FaultName
  /** of a fault: its detail */
  readonly message: string
  readonly errno?: string
  readonly code?: string
  readonly stack?: string
}

export function tell(error: unknown): Told {
  if (isFault(error)) return { fault: error.fault, message: error.detail, errno: error.errno }
  if (!(error instanceof Error)) return { message: String(error) }
  const { code } = error as NodeJS.ErrnoException
  return {
    message: error.message,
    ...(code !== undefined && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
  }
}

export function heard({ fault, message, errno, code, stack }: Told): Error {
  if (fault !== undefined) return new Fault(fault, message, errno === undefined ? {} : { errno })
  const error: NodeJS.ErrnoException = new Error(message)
  if (code !== undefined) error.code = code
  // where it happened, not where it was heard
  if (stack !== undefined) error.stack = stack
  return error
}
