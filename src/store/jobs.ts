/**
 * Job records, kept until their destruction time. Whose they are is checked above. A job with a *holder* has work left (to do, or to take
 * back): the holder is the process at it, and another one takes it over when that is gone; NOBODY: the next one that looks.
 */
import { randomBytes } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { type Job, type Phase } from '../vospace/transfer.ts'
import { type Database, type Row, textOf } from './database.ts'

/** What a new job is made of. */
export type JobDraft = Pick<Job, 'kind' | 'admin' | 'transfer' | 'node' | 'parameters'>

export type JobPatch = Partial<Omit<Job, 'id' | 'owner' | 'kind'>>

/** How a job begins that was done while its client waited: not PENDING, and under an id that was told before. */
export type JobStart = JobPatch & Pick<Job, 'id' | 'phase'>

export interface JobCreation {
  /** milliseconds since 1970 */
  readonly now?: number
  readonly start?: JobStart | undefined
  /** PENDING and QUEUED jobs that one owner may have; those of all anonymous callers count together */
  readonly waiting?: number
}

/** Which jobs of a list; newest first, at most 5000. */
export interface JobFilter {
  readonly phases?: readonly Phase[]
  /** made after, milliseconds since 1970 */
  readonly after?: number
  readonly last?: number
}

/** A job with work left. */
export interface HeldJob {
  readonly job: Job
  readonly holder: string
  /** when the holder last said that it lives, milliseconds since 1970 */
  readonly since: number
  /** how often it was begun */
  readonly attempts: number
}

export const NOBODY = ''

export const JOBS_1 = `
  CREATE TABLE jobs (id TEXT PRIMARY KEY, owner TEXT, created INTEGER NOT NULL, destruction INTEGER NOT NULL,
    document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX jobs_owner ON jobs (owner, created);
  CREATE INDEX jobs_destruction ON jobs (destruction);
`

export const JOBS_2 = `
  ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'transfers';
  ALTER TABLE jobs ADD COLUMN phase TEXT NOT NULL DEFAULT 'PENDING';
  ALTER TABLE jobs ADD COLUMN holder TEXT;
  ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE jobs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE jobs ADD COLUMN checkpoint TEXT;
  UPDATE jobs SET phase = json_extract(document, '$.phase');
  DROP INDEX jobs_owner;
  CREATE INDEX jobs_owner ON jobs (owner, kind, created);
  CREATE INDEX jobs_held ON jobs (holder) WHERE holder IS NOT NULL;
`

export const JOBS_3 = `
  CREATE INDEX jobs_waiting ON jobs (owner) WHERE phase IN ('PENDING', 'QUEUED');
`

const KEEP_MS = 7 * 86_400_000
/** Whoever comes may leave one, so they go soon. */
const KEEP_ANONYMOUS_MS = 3_600_000
/** Jobs of one list. */
const MAX_LISTED = 5000
const EXECUTION_SECONDS = 43_200
const SWEEP_ROWS = 500

export const newJobId = (): string => randomBytes(12).toString('hex')

/** What a client is told, that there is a job, that it was started, aborted, destroyed, how it ended, survives a power cut. */
export class StoredJobs {
  readonly #database: Database
  readonly #quick: Database

  /** `quick` is the same file, committed without an fsync: for what a job would find out again, or do again. */
  constructor(database: Database, quick: Database) {
    this.#database = database
    this.#quick = quick
  }

  /** A PENDING job with a new id, or one that has begun. ServiceBusy: its owner has too many waiting. */
  create(
    owner: string | undefined,
    draft: JobDraft,
    { now = Date.now(), start, waiting = Infinity }: JobCreation = {},
  ): Job {
    this.sweep(now)
    const job: Job = {
      ...draft,
      id: newJobId(),
      owner,
      phase: 'PENDING',
      created: now,
      destruction: now + (owner === undefined ? KEEP_ANONYMOUS_MS : KEEP_MS),
      executionDuration: EXECUTION_SECONDS,
      results: [],
      ...start,
    }
    const { id, kind, destruction, phase } = job
    const sql = 'INSERT INTO jobs (id, owner, kind, created, destruction, phase, document) VALUES (?, ?, ?, ?, ?, ?, ?)'
    this.#database.transaction(() => {
      if (phase === 'PENDING') this.#refuseCrowd(owner, waiting)
      this.#database.run(sql, id, owner ?? null, kind, now, destruction, phase, JSON.stringify(job))
    })
    return job
  }

  #refuseCrowd(owner: string | undefined, waiting: number): void {
    const sql = "SELECT count(*) FROM jobs WHERE owner IS ? AND phase IN ('PENDING', 'QUEUED')"
    if (this.#database.number(sql, owner ?? null) < waiting) return
    const whose = owner === undefined ? 'anonymous callers have' : 'you have'
    throw new Fault('ServiceBusy', `${whose} ${waiting} jobs that wait: run, abort or delete some of them first`)
  }

  get(id: string): Job | undefined {
    return toJob(this.#database.get('SELECT owner, kind, document FROM jobs WHERE id = ?', id))
  }

  /**
   * Changes a job in one step; undefined when it is gone, or `next` does not want to. `holder`: who holds it from now on, null: nobody
   * needs to (its checkpoint goes too); undefined: as it is.
   */
  change(
    id: string,
    next: (job: Job) => Job | undefined,
    holder?: string | null,
    now: number = Date.now(),
  ): Job | undefined {
    return this.#change(this.#database, id, next, holder, now)
  }

  /** As `change`, but a power cut may take it: for what nobody was told, and what is found out or done again (progress, the start). */
  note(
    id: string,
    next: (job: Job) => Job | undefined,
    holder?: string | null,
    now: number = Date.now(),
  ): Job | undefined {
    return this.#change(this.#quick, id, next, holder, now)
  }

  #change(
    database: Database,
    id: string,
    next: (job: Job) => Job | undefined,
    holder: string | null | undefined,
    now: number,
  ): Job | undefined {
    return database.transaction(() => {
      const before = this.get(id)
      const job = before && next(before)
      if (job === undefined) return undefined
      const sql = 'UPDATE jobs SET destruction = ?, phase = ?, document = ? WHERE id = ?'
      database.run(sql, job.destruction, job.phase, JSON.stringify(job), id)
      if (holder === null) database.run('UPDATE jobs SET holder = NULL, checkpoint = NULL WHERE id = ?', id)
      else if (holder !== undefined) {
        database.run('UPDATE jobs SET holder = ?, held = ? WHERE id = ?', holder, now, id)
      }
      return job
    })
  }

  /** Newest first. */
  list(owner: string, kind: string, { phases = [], after, last = MAX_LISTED }: JobFilter = {}): Job[] {
    const places = phases.map(() => '?').join(', ')
    const sql = `SELECT owner, kind, document FROM jobs WHERE owner = ? AND kind = ? AND created > ? AND destruction > ?
      ${phases.length === 0 ? '' : `AND phase IN (${places})`} ORDER BY created DESC, id LIMIT ?`
    const limit = Math.min(last, MAX_LISTED)
    const rows = this.#database.all(sql, owner, kind, after ?? -1, Date.now(), ...phases, limit)
    return rows.flatMap((row) => toJob(row) ?? [])
  }

  /** The jobs with work left: what was begun first, then the oldest. */
  held(): HeldJob[] {
    const begun = "json_extract(document, '$.started')"
    const sql = `SELECT * FROM jobs WHERE holder IS NOT NULL ORDER BY ${begun} IS NULL, ${begun}, created, id`
    return this.#database.all(sql).flatMap((row) => toHeld(row) ?? [])
  }

  /** Takes a job over from a holder that is gone; false: somebody else was faster. */
  takeOver(id: string, from: string, holder: string, now: number): boolean {
    const sql = 'UPDATE jobs SET holder = ?, held = ? WHERE id = ? AND holder = ?'
    return this.#quick.run(sql, holder, now, id, from) === 1
  }

  /** The holder lives. */
  renew(holder: string, now: number): void {
    this.#quick.run('UPDATE jobs SET held = ? WHERE holder = ?', now, holder)
  }

  /** Answers how often it was begun, this time included. */
  countAttempt(id: string): number {
    this.#quick.run('UPDATE jobs SET attempts = attempts + 1 WHERE id = ?', id)
    return this.#database.number('SELECT attempts FROM jobs WHERE id = ?', id)
  }

  /** What this holder has left goes on elsewhere, or later, without having counted as an attempt. */
  letGo(holder: string): void {
    const sql = `UPDATE jobs SET holder = '${NOBODY}', attempts = max(attempts - 1, 0) WHERE holder = ?`
    this.#quick.run(sql, holder)
  }

  checkpoint(id: string): unknown {
    const text = textOf(this.#database.get('SELECT checkpoint FROM jobs WHERE id = ?', id)?.['checkpoint'])
    return text === undefined ? undefined : (JSON.parse(text) as unknown)
  }

  /** Kept when this returns, over a power cut too: it says what is about to be done. False: the job is not this holder's any more. */
  keepCheckpoint(id: string, holder: string, checkpoint: unknown): boolean {
    const sql = `UPDATE jobs SET checkpoint = ? WHERE id = ? AND holder = ? AND phase = 'EXECUTING'`
    return this.#database.run(sql, JSON.stringify(checkpoint), id, holder) === 1
  }

  /** Jobs past their destruction time go; those with work left are answered, to be ended first. */
  sweep(now: number): string[] {
    const past = `SELECT id FROM jobs WHERE destruction < ? AND holder IS`
    this.#quick.run(`DELETE FROM jobs WHERE id IN (${past} NULL LIMIT ${SWEEP_ROWS})`, now)
    return this.#database.all(`${past} NOT NULL`, now).map((row) => String(row['id']))
  }
}

// `owner` is a column because JSON leaves out what is undefined, and the type says it is there; records of older files have no kind.
function toJob(row: Row | undefined): Job | undefined {
  if (row === undefined) return undefined
  const document = JSON.parse(String(row['document'])) as Job
  return { ...document, owner: textOf(row['owner']), kind: String(row['kind']) }
}

function toHeld(row: Row): HeldJob | undefined {
  const job = toJob(row)
  return (
    job && {
      job,
      holder: String(row['holder']),
      since: Number(row['held']),
      attempts: Number(row['attempts']),
    }
  )
}
