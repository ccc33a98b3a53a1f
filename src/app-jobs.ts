/** The part of the composition root that is about jobs: who does which, and who looks after those whose bytes go past the gateway. */
import { type JobRunner } from './jobs/runner.ts'
import { type Accounts } from './identity/accounts.ts'
import { type People } from './space/access.ts'
import { callerOfGrant } from './space/bearer.ts'
import { importKind, IMPORTS } from './space/import.ts'
import { type Binds, MIGRATIONS, migrationKind } from './space/migrate.ts'
import { type Preauth } from './space/preauth.ts'
import { Pushes } from './space/pushes.ts'
import { ASYNC_DELETE, ASYNC_SETPROPS, deleteKind, setpropsKind } from './space/recursive-jobs.ts'
import { RESTORES, restoreKind } from './space/snapshots.ts'
import { type Space } from './space/space.ts'
import { transferKind, type TransferServices } from './space/transfer-jobs.ts'
import { TRANSFERS } from './vospace/transfer.ts'
import { type Logger } from 'pino'

/** The names are those of their lists. */
export function registerJobs(runner: JobRunner, services: TransferServices, binds: Binds): void {
  runner.register(TRANSFERS, transferKind(services))
  runner.register(ASYNC_DELETE, deleteKind(services.space))
  runner.register(ASYNC_SETPROPS, setpropsKind(services.space))
  runner.register(IMPORTS, importKind(services.space))
  runner.register(MIGRATIONS, migrationKind(services.space, binds))
  runner.register(RESTORES, restoreKind(services.space))
}

/** Undefined: no storage has clients put bytes to it. */
export function pushesOf(parts: {
  readonly space: Space
  readonly preauth: Preauth
  readonly runner: JobRunner
  readonly people: People
  readonly accounts: Accounts
  readonly logger: Logger
}): Pushes | undefined {
  const { space, preauth, runner, people, accounts, logger } = parts
  if (space.backend.arrivals === undefined) return undefined
  return new Pushes({
    space,
    preauth,
    jobs: runner,
    log: logger,
    callerOf: async (grant) => {
      if (grant.user !== undefined) await people.settled?.(grant.user)
      return callerOfGrant({ people, accounts }, grant)
    },
  })
}
