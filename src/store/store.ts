/** The embedded store, one SQLite file for all gateways of a host: users, groups, operation ids, changes, jobs. */
import { StoredBinds } from './binds.ts'
import { StoredChanges } from './changes.ts'
import { type Database } from './database.ts'
import { StoredDelegations } from './delegations.ts'
import { Groups } from './groups.ts'
import { StoredIds } from './ids.ts'
import { StoredJobs } from './jobs.ts'
import { StoredLeases } from './leases.ts'
import { MappedNumbers } from './mapped-numbers.ts'
import { STORE } from './migrations.ts'
import { REMEMBERED } from './numbers.ts'
import { openFile } from './open-file.ts'
import { Operations } from './operations.ts'
import { Placements } from './placements.ts'
import { StoredScratches } from './scratches.ts'
import { Users } from './users.ts'
import { WalSync } from './wal-sync.ts'

export interface Store {
  readonly users: Users
  readonly groups: Groups
  readonly operations: Operations
  readonly changes: StoredChanges
  readonly jobs: StoredJobs
  readonly leases: StoredLeases
  readonly delegations: StoredDelegations
  readonly scratches: StoredScratches
  readonly binds: StoredBinds
  readonly placements: Placements
  /** numbers that another service has given */
  readonly mapped: MappedNumbers
  readonly ids: () => StoredIds
  /** Throws InternalFault or ServiceBusy when nothing can be written now. */
  readonly probe: () => void
  readonly close: () => void
}

export interface StoreOptions {
  /** Whether a group that is none here is kept by another service that is believed: it gets a number for ACLs when something is shared with it. */
  readonly isForeignGroup?: (groupUri: string) => boolean
}

/**
 * Opens the file, makes it when it is missing (readable by its owner only) and brings its schema up to date. `:memory:` is for tests.
 * Throws InternalFault that names the file: no database, of another program, of a newer karst, not writable.
 *
 * Two connections: what is promised to survive a power cut (identities, what clients were told of jobs) is committed with an fsync each,
 * the rest without. Of that, what operations are about to do is synced afterwards, for many at a time.
 */
export function openStore(file: string, { isForeignGroup = () => false }: StoreOptions = {}): Store {
  const { durable, quick, close: closeFile } = openFile(file, STORE)
  const sync = new WalSync(file)
  const close = (): void => {
    // what is under way is of a descriptor of its own
    void sync.close()
    closeFile()
  }
  try {
    durable.countBy(REMEMBERED, quick)
    const mapped = new MappedNumbers(durable)
    const users = new Users(durable, mapped)
    const groups = new Groups(durable, users, { mapped })
    const ids = new StoredIds(durable, { users, groups, mapped, isForeign: isForeignGroup })
    const changes = new StoredChanges(quick)
    const operations = new Operations(quick, changes, sync)
    const jobs = new StoredJobs(durable, quick)
    const leases = new StoredLeases(quick)
    const delegations = new StoredDelegations(durable)
    const scratches = new StoredScratches(durable)
    const binds = new StoredBinds(durable)
    const placements = new Placements(durable)
    const kept = { users, groups, operations, changes, jobs, leases, delegations, scratches, binds, placements, mapped }
    return { ...kept, ids: () => ids, probe: () => probe(quick), close }
  } catch (error) {
    close()
    throw error
  }
}

// A real write that changes nothing: what cannot be written is found out by writing only.
function probe(database: Database): void {
  database.transaction(() => database.exec(`PRAGMA user_version = ${database.number('PRAGMA user_version')}`))
}
