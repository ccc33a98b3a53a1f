// The driver's log: lines of time, message and error, for people.
import type { Logger as FuseLogger } from './fuse/session.ts'
import type { Logger as ClientLogger } from './connections.ts'

export interface DriverLog extends FuseLogger, ClientLogger {
  info(message: string): void
}

/** `write` gets one line at a time, with its end. */
export function driverLog(write: (line: string) => void): DriverLog {
  const line = (text: string) => write(`${new Date().toISOString()} ${text}\n`)
  return {
    info: line,
    warn: (fields, message) => line(`${message} ${JSON.stringify(fields)}`),
    error: (message, error) => line(error === undefined ? message : `${message}: ${describe(error)}`),
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** A log that remembers its last failure, for status. */
export interface NotingLog extends DriverLog {
  readonly last: { readonly at: string; readonly message: string } | undefined
}

export function notingLog(log: DriverLog): NotingLog {
  let last: NotingLog['last']
  const note = (message: string, cause: unknown) => {
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    last = { at: new Date().toISOString(), message: `${message}${why}` }
  }
  return {
    get last() {
      return last
    },
    info: (message) => log.info(message),
    warn: (fields, message) => {
      note(message, 'err' in fields ? fields.err : undefined)
      log.warn(fields, message)
    },
    error: (message, error) => {
      note(message, error)
      log.error(message, error)
    },
  }
}
