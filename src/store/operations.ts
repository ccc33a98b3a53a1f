/**
 * Operation ids: what was answered, so that a repetition gets the first answer and changes nothing.
 *
 * An operation is written down before its effect (the intent) and its answer after it. Both survive the death of the process at once,
 * and a power cut 10 ms later, or when `durable` has resolved: for what is itself durable when it is answered. A gateway killed in between
 * leaves an intent with no answer; who repeats it then gets an `Attempt` with `repeated` true, must look at what stands there
 * before doing anything (space/once.ts), and knows by `noted` what the first attempt was about to do it to.
 */
import { Fault } from '../vospace/fault.ts'
import { ChangeOrigin } from './change-origin.ts'
import { type StoredChanges } from './changes.ts'
import { type Database, type Row, textOf } from './database.ts'
import { mayLive, thisProcess } from './holder.ts'
import { type WalSync } from './wal-sync.ts'

export interface Attempt {
  /** True: an attempt before this one was cut short, and nobody knows whether its effect happened. */
  readonly repeated: boolean
  /** when the first attempt began, milliseconds since 1970 */
  readonly began: number
  /** what the first attempt noted, if it came that far */
  readonly noted: string | undefined
  /** Keeps a word (the id of the node that is about to go or to move) for whoever repeats this. */
  note(text: string): void
  /** Resolves when a power cut cannot take the intent any more, nor what was noted. InternalFault where the disk refuses. */
  durable(): Promise<void>
}

export type Begun =
  | { readonly state: 'new'; readonly attempt: Attempt }
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly status: number; readonly body: string }

export interface Answer {
  readonly status: number
  readonly body: string
}

/** No change. */
const NOTHING = new ChangeOrigin(undefined)

export const OPERATIONS_1 = `
  CREATE TABLE operations (user TEXT NOT NULL, id TEXT NOT NULL, fingerprint TEXT NOT NULL, holder TEXT NOT NULL,
    began INTEGER NOT NULL, note TEXT, finished INTEGER, status INTEGER, body TEXT, PRIMARY KEY (user, id))
    STRICT, WITHOUT ROWID;
  CREATE INDEX operations_finished ON operations (finished, began);
`

/** In the order in which they began: each change writes to the end of the table, and nothing else is kept in order but the names. */
export const OPERATIONS_2 = `
  ALTER TABLE operations RENAME TO operations_1;
  CREATE TABLE operations (user TEXT NOT NULL, id TEXT NOT NULL, fingerprint TEXT NOT NULL, holder TEXT NOT NULL,
    began INTEGER NOT NULL, note TEXT, finished INTEGER, status INTEGER, body TEXT, PRIMARY KEY (user, id)) STRICT;
  INSERT INTO operations SELECT * FROM operations_1 ORDER BY began;
  DROP TABLE operations_1;
`

/** How long an answer is kept (schemas/fs-v1.md), and an intent whose gateway died; milliseconds. */
const KEEP_MS = 600_000
const KEEP_INTENT_MS = 86_400_000
/** Rows looked at in one sweep, so that nobody waits for it; and the pause after one that has come to the young. */
const SWEEP_ROWS = 2000
const SWEEP_PAUSE_MS = 10_000

export class Operations {
  readonly #database: Database
  readonly #changes: StoredChanges
  readonly #sync: WalSync
  readonly #self = thisProcess()
  #nextSweep = 0
  /** the row up to which the sweep has come */
  #swept = 0

  /** `database` commits without an fsync, `changes` are in it too, and `sync` is of its log. */
  constructor(database: Database, changes: StoredChanges, sync: WalSync) {
    this.#database = database
    this.#changes = changes
    this.#sync = sync
  }

  /**
   * `fingerprint` says what is asked: the same id with another one is InvalidArgument. 'new': do it, then `finish` it (refusals too),
   * or `abandon` it. 'running': a living process is at it.
   */
  begin(user: string | undefined, id: string, fingerprint: string, now: number = Date.now()): Begun {
    this.#sweep(now)
    const key = user ?? ''
    const insert = `INSERT INTO operations (user, id, fingerprint, holder, began) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`
    if (this.#database.run(insert, key, id, fingerprint, this.#self, now) === 1) return this.#attempt(key, id, now)
    const row = this.#database.get('SELECT * FROM operations WHERE user = ? AND id = ?', key, id)
    if (row === undefined) return this.begin(user, id, fingerprint, now) // forgotten just now
    if (row['fingerprint'] !== fingerprint) {
      throw new Fault('InvalidArgument', `operation ${id} was another call before`)
    }
    if (row['finished'] === null) return this.#takeOver(key, row, now)
    if (Number(row['finished']) >= now - KEEP_MS) {
      return { state: 'done', status: Number(row['status']), body: String(row['body']) }
    }
    this.#database.run('DELETE FROM operations WHERE user = ? AND id = ? AND finished IS NOT NULL', key, id)
    return this.begin(user, id, fingerprint, now)
  }

  /**
   * Keeps the answer, refusals too, and what the operation has changed. It survives the death of the process; a power cut may take it (no
   * fsync), which is then as if the gateway had been killed just before: the intent is there, and a repetition looks at what was done.
   */
  finish(user: string | undefined, id: string, answer: Answer, origin = NOTHING, now: number = Date.now()): void {
    const sql = 'UPDATE operations SET finished = ?, status = ?, body = ? WHERE user = ? AND id = ?'
    const { status, body } = answer
    this.#changes.appendWith(origin, () => this.#database.run(sql, now, status, body, user ?? '', id))
  }

  /** It failed, and nobody can say whether it had an effect: a repetition is an attempt like that after a crash. */
  abandon(user: string | undefined, id: string, origin = NOTHING): void {
    const sql = "UPDATE operations SET holder = '' WHERE user = ? AND id = ? AND finished IS NULL"
    this.#changes.appendWith(origin, () => this.#database.run(sql, user ?? '', id))
  }

  // Of several who find a dead one's intent, the one whose update hits takes it over.
  #takeOver(user: string, row: Row, now: number): Begun {
    const holder = String(row['holder'])
    const began = Number(row['began'])
    const id = String(row['id'])
    if (mayLive(holder, this.#self, began, now)) return { state: 'running' }
    const sql = 'UPDATE operations SET holder = ? WHERE user = ? AND id = ? AND holder = ? AND finished IS NULL'
    if (this.#database.run(sql, this.#self, user, id, holder) === 0) return { state: 'running' }
    return this.#attempt(user, id, began, { noted: textOf(row['note']) })
  }

  #attempt(user: string, id: string, began: number, before?: { noted: string | undefined }): Begun {
    const note = (text: string): void => {
      this.#database.run('UPDATE operations SET note = ? WHERE user = ? AND id = ?', text, user, id)
      this.#sync.soon()
    }
    this.#sync.soon()
    const durable = (): Promise<void> => this.#sync.now()
    return { state: 'new', attempt: { repeated: before !== undefined, began, noted: before?.noted, note, durable } }
  }

  /** From the oldest on, as far as there may be some that are to be forgotten; those that are kept longer are passed over. */
  #sweep(now: number): void {
    if (now < this.#nextSweep) return
    const nth = `SELECT rowid AS row, began FROM operations WHERE rowid > ? ORDER BY rowid LIMIT 1 OFFSET ${SWEEP_ROWS - 1}`
    const end = this.#database.get(nth, this.#swept)
    const last = Number(end?.['row'] ?? Number.MAX_SAFE_INTEGER)
    const sql = `DELETE FROM operations WHERE rowid > ? AND rowid <= ?
      AND (finished < ? OR (finished IS NULL AND began < ?))`
    this.#database.run(sql, this.#swept, last, now - KEEP_MS, now - KEEP_INTENT_MS)
    const isMore = end !== undefined && Number(end['began']) < now - KEEP_MS
    this.#swept = isMore ? last : 0
    this.#nextSweep = isMore ? now : now + SWEEP_PAUSE_MS
  }
}
