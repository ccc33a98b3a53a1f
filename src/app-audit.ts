/** The part of the composition root that is about the audit: where it goes, and how its trouble is told. */
import { type Logger } from 'pino'
import { AuditLog } from './audit-log.ts'
import { type Config } from './config.ts'
import { ConfigError } from './environment.ts'
import { type Availability } from './health.ts'
import { originOf } from './http/origin.ts'
import { type Audit, type AuditEvent } from './identity/audit.ts'

/** An audit that can be closed, and begun anew when its file was renamed. */
export interface AuditKept extends Audit {
  reopen(): void
  close(): void
  /** The check, with a note of events that are being lost. */
  checked(check: () => Promise<Availability>): () => Promise<Availability>
}

/** Throws ConfigError when the file cannot be opened. */
export function auditOf({ audit }: Pick<Config, 'audit'>, logger: Logger): AuditKept {
  if (audit === undefined) return toLog(logger)
  const kept = opened(audit.file, logger)
  return {
    note: (event) => kept.note(event),
    reopen: () => kept.reopen(),
    close: () => kept.close(),
    checked: (check) => async () => {
      const found = await check()
      return kept.lost === 0 ? found : { ...found, notes: [...found.notes, 'the audit cannot be written'] }
    },
  }
}

function opened(file: string, logger: Logger): AuditLog {
  try {
    return new AuditLog(file, { origin: originOf, log: logger })
  } catch (error) {
    throw new ConfigError(`audit: ${(error as Error).message}`, { cause: error })
  }
}

function toLog(logger: Logger): AuditKept {
  return {
    note: (event: AuditEvent) => logger.info({ event, origin: originOf() }, 'audit'),
    reopen: () => undefined,
    close: () => undefined,
    checked: (check) => check,
  }
}
