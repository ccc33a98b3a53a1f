/** The change sequence: what was changed through a gateway, in order, for mounts to forget what they cached. */
import { isFault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type ChangeOrigin, originOfChanges } from './change-origin.ts'
import { type Database, type Row, textOf } from './database.ts'
import { bootId } from './holder.ts'

export const CHANGE_KINDS = ['made', 'bytes', 'attributes', 'moved', 'removed'] as const
export type ChangeKind = (typeof CHANGE_KINDS)[number]

export interface Change {
  /** the node's id */
  readonly id: string
  /** where it stands now; removed: where it stood */
  readonly path: NodePath
  readonly kind: ChangeKind
  /** moved: where it stood */
  readonly from?: NodePath
}

export interface Changes {
  readonly changes: readonly (Change & { readonly seq: number; readonly mount?: string })[]
  /** There is a gap before these: forget everything. */
  readonly resync: boolean
}

/** What the rules need of it. */
export interface ChangeLog {
  /**
   * Answers the number it got: growing, with gaps, never used twice. undefined: it could not be kept, and mounts will resync; or it waits for
   * the answer of its operation (change-origin.ts).
   */
  append(change: Change): number | undefined
  /** Many in one go, in their order. */
  appendAll(changes: readonly Change[]): void
}

export const CHANGES_1 = `
  CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL,
    origin TEXT) STRICT;
  CREATE TABLE epochs (boot TEXT PRIMARY KEY, first INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

/** The mount that made the change. */
export const CHANGES_2 = 'ALTER TABLE changes ADD COLUMN mount TEXT'

const BOUNDS = `SELECT (SELECT coalesce(min(seq), 0) FROM changes) AS oldest, (SELECT first FROM epochs) AS first,
  (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes') AS last`

/** Changes kept; a mount that was away for longer forgets everything instead. */
const KEEP = 100_000
const PRUNE_EVERY = 1000
/** Rows of one statement; there are at most so many statements to be kept prepared. */
const ROWS = 32
/** More than are ever appended between two checkpoints of the file. */
const LEAP = 1_000_000

/**
 * An append survives the death of the process, but perhaps not a power cut (no fsync each). So after a boot the numbers leap:
 * a number that was lost is never given again, and who asks from before the leap is told to resync.
 */
export class StoredChanges implements ChangeLog {
  readonly #database: Database
  readonly #listeners = new Set<() => void>()
  #lost = false

  constructor(database: Database) {
    this.#database = database
    this.#startEpoch(bootId())
  }

  append(change: Change): number | undefined {
    const origin = originOfChanges()
    if (origin?.hold(change) === true) return undefined
    try {
      if (this.#lost) this.#leap()
      this.#lost = false
      return this.#insert([change], origin?.mount)
    } catch (error) {
      if (!isFault(error)) throw error
      // The node is changed already (only the store's disk is full, say), and its caller must not be told that it is not.
      this.#lost = true
      return undefined
    }
  }

  appendAll(changes: readonly Change[], mount: string | undefined = originOfChanges()?.mount): void {
    if (changes.length === 0) return
    try {
      if (this.#lost) this.#leap()
      this.#lost = false
      this.#database.transaction(() => this.#insertAll(changes, mount))
    } catch (error) {
      if (!isFault(error)) throw error
      this.#lost = true // as in append
    }
  }

  /** Those of an operation, and by `finish` its answer, in one transaction; in two where that cannot be. */
  appendWith(origin: ChangeOrigin, finish: () => void): void {
    const changes = origin.take()
    if (changes.length > 0 && !this.#lost) {
      try {
        this.#database.transaction(() => {
          this.#insertAll(changes, origin.mount)
          finish()
        })
        return
      } catch (error) {
        if (!isFault(error)) throw error
        // one of the two cannot be kept: perhaps the other
      }
    }
    this.appendAll(changes, origin.mount)
    finish()
  }

  #insertAll(changes: readonly Change[], mount: string | undefined): void {
    for (let at = 0; at < changes.length; at += ROWS) this.#insert(changes.slice(at, at + ROWS), mount)
  }

  #insert(changes: readonly Change[], mount: string | undefined): number {
    const rows = changes.map(() => '(?, ?, ?, ?, ?)').join(', ')
    const sql = `INSERT INTO changes (node, path, kind, origin, mount) VALUES ${rows}`
    const values = changes.flatMap(({ id, path, kind, from }) => [id, path, kind, from ?? null, mount ?? null])
    const seq = this.#database.insert(sql, ...values)
    for (const hear of this.#listeners) hear()
    if (seq % PRUNE_EVERY < changes.length) this.#database.run('DELETE FROM changes WHERE seq <= ?', seq - KEEP)
    return seq
  }

  /** `hear` is called after every change that this process makes; others are found by looking at `last`. Answers how to stop. */
  watch(hear: () => void): () => void {
    this.#listeners.add(hear)
    return () => this.#listeners.delete(hear)
  }

  /** The last number given: where who has nothing cached starts. */
  last(): number {
    return this.#database.number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'")
  }

  /** Those after `seq`, at most `limit`; ask again from the last one's `seq`. */
  since(seq: number, limit: number = 1000): Changes {
    // read each time: another gateway may have lost some
    const bounds = this.#database.get(BOUNDS) ?? {}
    const [oldest, first, last] = [Number(bounds['oldest']), Number(bounds['first']), Number(bounds['last'])]
    const pruned = oldest > first + 1 && seq < oldest - 1
    const resync = this.#lost || seq < first || seq > last || pruned
    if (resync || seq === last) return { changes: [], resync }
    const rows = this.#database.all('SELECT * FROM changes WHERE seq > ? ORDER BY seq LIMIT ?', seq, limit)
    return { changes: rows.map(toChange), resync }
  }

  #startEpoch(boot: string): void {
    const stored = 'SELECT first FROM epochs WHERE boot = ?'
    if (this.#database.get(stored, boot) !== undefined) return
    this.#database.transaction(() => {
      if (this.#database.get(stored, boot) !== undefined) return
      const isFirst = this.#database.number('SELECT count(*) FROM epochs') === 0
      this.#begin(boot, isFirst ? 0 : this.last() + LEAP)
    })
  }

  // Whoever asks from before a change that was lost is told to resync.
  #leap(): void {
    this.#database.transaction(() => {
      this.#begin(String(this.#database.get('SELECT boot FROM epochs')?.['boot']), this.last() + LEAP)
    })
  }

  #begin(boot: string, first: number): void {
    this.#database.run("DELETE FROM sqlite_sequence WHERE name = 'changes'")
    this.#database.run("INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', ?)", first)
    this.#database.run('DELETE FROM epochs')
    this.#database.run('INSERT INTO epochs VALUES (?, ?)', boot, first)
  }
}

function toChange(row: Row): Change & { seq: number; mount?: string } {
  const mount = textOf(row['mount'])
  return {
    seq: Number(row['seq']),
    id: String(row['node']),
    path: String(row['path']) as NodePath, // was one when it was appended
    kind: row['kind'] as ChangeKind,
    ...(row['origin'] !== null && { from: row['origin'] as NodePath }),
    ...(mount !== undefined && { mount }),
  }
}
