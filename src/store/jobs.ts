/** Job records. Whose they are is checked above; here they are kept until their destruction time. */
import { randomBytes } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { type Job, type Transfer } from '../vospace/transfer.ts'
import { type Database, type Row, textOf } from './database.ts'

export interface JobStore {
  /** A PENDING job with a new id. */
  create(owner: string | undefined, transfer: Transfer): Job
  get(id: string): Job | undefined
  /** Answers the job as it is then; NodeNotFound when it is gone. */
  update(id: string, patch: Partial<Omit<Job, 'id' | 'owner'>>): Job
  /** Newest first, the newest 5000. */
  list(owner: string): Job[]
}

export const JOBS_1 = `
  CREATE TABLE jobs (id TEXT PRIMARY KEY, owner TEXT, created INTEGER NOT NULL, destruction INTEGER NOT NULL,
    document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX jobs_owner ON jobs (owner, created);
  CREATE INDEX jobs_destruction ON jobs (destruction);
`

const KEEP_MS = 7 * 86_400_000
/** Whoever comes may leave one, so they go soon. */
const KEEP_ANONYMOUS_MS = 3_600_000
/** Jobs of one list. */
const MAX_LISTED = 5000
const EXECUTION_SECONDS = 43_200
const SWEEP_ROWS = 500

export class StoredJobs implements JobStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  create(owner: string | undefined, transfer: Transfer, now: number = Date.now()): Job {
    this.#sweep(now)
    const job: Job = {
      id: randomBytes(12).toString('hex'),
      owner,
      phase: 'PENDING',
      created: now,
      destruction: now + (owner === undefined ? KEEP_ANONYMOUS_MS : KEEP_MS),
      executionDuration: EXECUTION_SECONDS,
      results: [],
      transfer,
    }
    const sql = 'INSERT INTO jobs (id, owner, created, destruction, document) VALUES (?, ?, ?, ?, ?)'
    this.#database.run(sql, job.id, owner ?? null, now, job.destruction, JSON.stringify(job))
    return job
  }

  get(id: string): Job | undefined {
    return toJob(this.#database.get('SELECT * FROM jobs WHERE id = ?', id))
  }

  update(id: string, patch: Partial<Omit<Job, 'id' | 'owner'>>): Job {
    return this.#database.transaction(() => {
      const before = this.get(id)
      if (before === undefined) throw new Fault('NodeNotFound', `no such job: ${id}`)
      const job = { ...before, ...patch }
      const sql = 'UPDATE jobs SET destruction = ?, document = ? WHERE id = ?'
      this.#database.run(sql, job.destruction, JSON.stringify(job), id)
      return job
    })
  }

  list(owner: string): Job[] {
    const sql = 'SELECT * FROM jobs WHERE owner = ? ORDER BY created DESC, id LIMIT ?'
    const rows = this.#database.all(sql, owner, MAX_LISTED)
    return rows.flatMap((row) => toJob(row) ?? [])
  }

  #sweep(now: number): void {
    const sql = `DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE destruction < ? LIMIT ${SWEEP_ROWS})`
    this.#database.run(sql, now)
  }
}

// `owner` is a column because JSON leaves out what is undefined, and the type says it is there.
function toJob(row: Row | undefined): Job | undefined {
  if (row === undefined) return undefined
  const document = JSON.parse(String(row['document'])) as Job
  return { ...document, owner: textOf(row['owner']) }
}
