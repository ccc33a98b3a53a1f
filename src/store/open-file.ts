/** Opens a file of ours: makes it when it is missing, looks whose it is, brings its schema up to date. */
import { closeSync, openSync } from 'node:fs'
import { Fault } from '../vospace/fault.ts'
import { Database } from './database.ts'
import { checkOurs, migrate, type Schema } from './migrations.ts'

/** Two connections to one file (to `:memory:` one): what `durable` commits survives a power cut, at the cost of an fsync each. */
export interface OpenFile {
  readonly durable: Database
  readonly quick: Database
  readonly close: () => void
}

/** Throws InternalFault that names the file: no database, of another program, of a newer karst, not writable. */
export function openFile(file: string, schema: Schema): OpenFile {
  if (file !== ':memory:') create(file)
  const durable = openOurs(file, schema)
  const quick = file === ':memory:' ? durable : new Database(file, { full: false })
  const close = (): void => {
    durable.close()
    if (quick !== durable) quick.close()
  }
  try {
    migrate(durable, file, schema)
    return { durable, quick, close }
  } catch (error) {
    close()
    throw error
  }
}

// Looked at before the first change: another program's file stays as it is.
function openOurs(file: string, schema: Schema): Database {
  const database = new Database(file, { full: true })
  try {
    checkOurs(database, file, schema)
    if (file !== ':memory:') database.useWal()
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

// Jobs hold pre-authorised URLs, so the file is the gateway's alone from the start (SQLite gives its companions the same mode).
function create(file: string): void {
  try {
    closeSync(openSync(file, 'a', 0o600))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Fault('InternalFault', `the store ${file} cannot be opened for writing: ${why}`, { cause: error })
  }
}
