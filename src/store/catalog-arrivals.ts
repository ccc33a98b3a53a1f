/** Objects that clients are to put into a bucket themselves, past the gateway: what each is to become, and what has become of it. */
import { type Database } from './database.ts'

/**
 * `awaited`: it has not come, or nobody has seen it yet. `taken`: a node has its bytes; `refused`: none gets them, and `fault` says why; of both
 * nobody has been told. `over`: they have.
 */
export type ArrivalState = 'awaited' | 'taken' | 'refused' | 'over'

export interface ArrivalRow {
  readonly key: string
  readonly path: string
  /** whose leave it is put by */
  readonly token: string
  readonly job: string | null
  /** bytes that were announced */
  readonly length: number | null
  readonly md5: string | null
  /** milliseconds since 1970; what comes later comes too late */
  readonly until: number
  readonly state: ArrivalState
  readonly fault: string | null
}

export const ARRIVALS = `
  CREATE TABLE arrivals (key TEXT PRIMARY KEY, path TEXT NOT NULL, token TEXT NOT NULL, job TEXT, length INTEGER, md5 TEXT,
    until INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'awaited', fault TEXT) STRICT, WITHOUT ROWID;
  CREATE INDEX arrivals_path ON arrivals (path);
  CREATE INDEX arrivals_job ON arrivals (job);
`

export class ArrivalRows {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  add({ key, path, token, job, length, md5, until }: Omit<ArrivalRow, 'state' | 'fault'>): void {
    const sql = 'INSERT INTO arrivals (key, path, token, job, length, md5, until) VALUES (?, ?, ?, ?, ?, ?, ?)'
    this.#database.run(sql, key, path, token, job, length, md5, until)
  }

  get(key: string): ArrivalRow | undefined {
    return this.#database.get('SELECT * FROM arrivals WHERE key = ?', key) as unknown as ArrivalRow | undefined
  }

  /** Whether an object of that key may be there. */
  has(key: string, now: number): boolean {
    return this.#database.get('SELECT 1 FROM arrivals WHERE key = ? AND until > ?', key, now) !== undefined
  }

  count(): number {
    return this.#database.number('SELECT count(*) FROM arrivals')
  }

  /** How many something may still become of. */
  open(): number {
    return this.#database.number(`SELECT count(*) FROM arrivals WHERE state <> 'over'`)
  }

  all(): ArrivalRow[] {
    return this.#database.all('SELECT * FROM arrivals') as unknown as ArrivalRow[]
  }

  /** Those of a path that something may still become of. */
  at(path: string): ArrivalRow[] {
    return this.#database.all(`SELECT * FROM arrivals WHERE path = ? AND state <> 'over'`, path) as unknown as ArrivalRow[]
  } // prettier-ignore

  /** The same, by the job that has negotiated them. */
  pathOf(job: string): string | undefined {
    const row = this.#database.get(`SELECT path FROM arrivals WHERE job = ? AND state <> 'over' LIMIT 1`, job)
    return row && String(row['path'])
  }

  /** Within the transaction that gives a node its bytes. False: somebody else has, or it is too late. */
  take(key: string): boolean {
    return this.#database.run(`UPDATE arrivals SET state = 'taken' WHERE key = ? AND state = 'awaited'`, key) === 1
  }

  refuse(key: string, fault: string): void {
    this.#database.run(
      `UPDATE arrivals SET state = 'refused', fault = ? WHERE key = ? AND state = 'awaited'`,
      fault,
      key,
    )
  }

  /** Whoever had to know has been told. */
  end(key: string): void {
    this.#database.run(`UPDATE arrivals SET state = 'over' WHERE key = ?`, key)
  }

  /** Those that no URL is good for any more. */
  forget(now: number): void {
    this.#database.run('DELETE FROM arrivals WHERE until <= ?', now)
  }
}
