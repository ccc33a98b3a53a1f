// The driver's log: lines of time, message and error, for people.
import { type Logger as FuseLogger } from './fuse/session.ts'
import { type Logger as ClientLogger } from './connections.ts'

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
