/** The schema, as numbered steps that are never edited, only added to; `user_version` says how many a file has had. */
import { Fault } from '../vospace/fault.ts'
import { BINDS_1 } from './binds.ts'
import { type Database } from './database.ts'
import { CHANGES_1, CHANGES_2 } from './changes.ts'
import { DELEGATIONS_1 } from './delegations.ts'
import { GROUPS_2 } from './group-schema.ts'
import { LEASES_1, LEASES_2 } from './leases.ts'
import { MAPPED_NUMBERS_1 } from './mapped-numbers.ts'
import { JOBS_1, JOBS_2, JOBS_3 } from './jobs.ts'
import { IDENTITIES_1, IDENTITIES_2 } from './numbers.ts'
import { OPERATIONS_1, OPERATIONS_2 } from './operations.ts'
import { SCRATCHES_1 } from './scratches.ts'
import { PLACEMENTS_1 } from './placements.ts'
import { USERS_2 } from './users.ts'

export const MIGRATIONS: readonly string[] = [
  IDENTITIES_1,
  OPERATIONS_1,
  CHANGES_1,
  JOBS_1,
  JOBS_2,
  JOBS_3,
  USERS_2,
  GROUPS_2,
  DELEGATIONS_1,
  MAPPED_NUMBERS_1,
  CHANGES_2,
  LEASES_1,
  SCRATCHES_1,
  PLACEMENTS_1,
  LEASES_2,
  IDENTITIES_2,
  BINDS_1,
  OPERATIONS_2,
]

/** What a file of ours is: SQLite's `application_id`, its schema in steps, and its name in what people read. */
export interface Schema {
  readonly application: number
  readonly steps: readonly string[]
  readonly name: string
}

/** "krst" */
export const STORE: Schema = { application: 0x6b727374, steps: MIGRATIONS, name: 'karst store' }

/**
 * Brings a file to the newest schema, all steps or none; several processes may start at once.
 * Throws InternalFault for another program's file and for one of a newer karst.
 */
export function migrate(database: Database, file: string, schema: Schema = STORE): void {
  const { application, steps } = schema
  if (versionOf(database, file, schema) === steps.length) return
  database.transaction(() => {
    const from = versionOf(database, file, schema)
    for (const step of steps.slice(from)) database.exec(step)
    database.exec(`PRAGMA application_id = ${application}`)
    database.exec(`PRAGMA user_version = ${steps.length}`)
  })
}

/** InternalFault for another program's file, and for one of a newer karst. */
export function checkOurs(database: Database, file: string, schema: Schema = STORE): void {
  versionOf(database, file, schema)
}

function versionOf(database: Database, file: string, { application, steps, name }: Schema): number {
  const version = database.number('PRAGMA user_version')
  const found = database.number('PRAGMA application_id')
  const isEmpty = database.number('SELECT count(*) FROM sqlite_schema') === 0
  if (found !== application && !isEmpty) {
    throw new Fault('InternalFault', `${file} is the database of another program, not a ${name}`)
  }
  if (version > steps.length) {
    const detail = `${file} was written by a newer karst (schema ${version}, this one knows ${steps.length})`
    throw new Fault('InternalFault', detail)
  }
  return isEmpty ? 0 : version
}
