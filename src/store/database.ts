/** One connection to the store's SQLite file: prepared statements kept, transactions, SQLite's errors as faults. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { Fault } from '../vospace/fault.ts'

export type Row = Record<string, unknown>

/** Milliseconds a statement waits for another process's write; writes take a millisecond or so. */
const BUSY_MS = 5000

/** Of other connections' commits: our own are counted here. */
const WRITES = 'PRAGMA data_version'

export class Database {
  readonly #connection: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #file: string
  #writes = 0
  #version = 0
  #counting = WRITES
  #counter: Database = this
  /** what was counted at the last look, our own writes then, and how many of them had been undone */
  #seen: number | undefined
  #own = 0
  #seenUndone = 0
  #undone = 0
  /** whether it was looked in this turn of the event loop */
  #looked = false
  readonly #forget = (): void => {
    this.#looked = false
  }

  /** `full`: a commit survives a power cut, at the cost of one fsync; else it survives only the death of the process. */
  constructor(file: string, options: { readonly full: boolean }) {
    this.#file = file
    this.#connection = naming(file, () => new DatabaseSync(file, { timeout: BUSY_MS }))
    this.exec('PRAGMA foreign_keys = ON')
    this.exec(`PRAGMA synchronous = ${options.full ? 'FULL' : 'NORMAL'}`)
  }

  /** The file keeps it. Turning to WAL does not wait for others as statements do, and several processes start at once. */
  useWal(): void {
    for (let tries = 50; ; tries--) {
      try {
        this.exec('PRAGMA journal_mode = WAL')
        return
      } catch (error) {
        if (tries === 0 || !(error instanceof Fault) || error.fault !== 'ServiceBusy') throw error
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      }
    }
  }

  exec(sql: string): void {
    naming(this.#file, () => this.#connection.exec(sql))
  }

  /** Answers how many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    this.#writes++
    return naming(this.#file, () => Number(this.#statement(sql).run(...values).changes))
  }

  /** As `run`, answering the row id that was given. */
  insert(sql: string, ...values: SQLInputValue[]): number {
    this.#writes++
    return naming(this.#file, () => Number(this.#statement(sql).run(...values).lastInsertRowid))
  }

  /** As `insert`, of a statement that may find the place taken: undefined then. */
  insertFree(sql: string, ...values: SQLInputValue[]): number | undefined {
    this.#writes++
    return naming(this.#file, () => {
      const { changes, lastInsertRowid } = this.#statement(sql).run(...values)
      return Number(changes) === 0 ? undefined : Number(lastInsertRowid)
    })
  }

  /** Commits within `work` survive the death of the process, and a power cut once a later one does. */
  inHaste<T>(work: () => T): T {
    this.exec('PRAGMA synchronous = NORMAL')
    try {
      return work()
    } finally {
      this.exec('PRAGMA synchronous = FULL')
    }
  }

  /** Grows with everything that this connection writes. */
  get writes(): number {
    return this.#writes
  }

  /**
   * From now on `version` tells of what this statement counts, and of nothing else. It is counted by `counter`, a connection to the same file: the
   * one that writes most, since every other has to read its pages anew after each commit.
   */
  countBy(sql: string, counter: Database = this): void {
    this.#counting = sql
    this.#counter = counter
  }

  /**
   * Another number whenever something may have been written, by this connection or any other of any process; with `countBy`, something of what is
   * counted. It is looked for once a turn of the event loop: what was committed before a request came in is seen by it
   * (https://sqlite.org/pragma.html#pragma_data_version).
   */
  get version(): number {
    if (this.#looked && this.#own === this.#writes) return this.#version
    if (!this.#looked) setImmediate(this.#forget)
    // what is not committed no other connection can see, and one within a transaction sees what was before it
    const counter = this.isChanging || this.#counter.isChanging ? this : this.#counter
    const seen = counter.number(this.#counting)
    const isOwn = this.#counting === WRITES && this.#own !== this.#writes
    if (seen !== this.#seen || this.#seenUndone !== this.#undone || isOwn) this.#version++
    this.#seen = seen
    this.#seenUndone = this.#undone
    this.#own = this.#writes
    this.#looked = true
    return this.#version
  }

  /** Within a transaction: what is read now may never have been. */
  get isChanging(): boolean {
    return this.#connection.isTransaction
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return naming(this.#file, () => this.#statement(sql).get(...values))
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return naming(this.#file, () => this.#statement(sql).all(...values))
  }

  number(sql: string, ...values: SQLInputValue[]): number {
    return Number(Object.values(this.get(sql, ...values) ?? {})[0] ?? 0)
  }

  /** All of `work` or nothing of it; one writer at a time, over all processes. */
  transaction<T>(work: () => T): T {
    naming(this.#file, () => this.#statement('BEGIN IMMEDIATE').run())
    try {
      const result = work()
      naming(this.#file, () => this.#statement('COMMIT').run())
      return result
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  close(): void {
    this.#statements.clear()
    this.#connection.close()
  }

  // SQLite itself rolls back after some errors (a full disk): then there is nothing left to roll back, and saying so would hide the error.
  #rollback(): void {
    this.#writes++
    this.#undone++
    if (this.#connection.isTransaction) this.#connection.exec('ROLLBACK')
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#connection.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

/** A column that may be NULL. */
export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

const BUSY = 5
const LOCKED = 6
const FULL = 13

// node:sqlite's errors carry SQLite's (extended) result code: https://sqlite.org/rescode.html
function naming<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') throw error
    const code = error.errcode & 0xff
    if (code === BUSY || code === LOCKED) throw new Fault('ServiceBusy', `${file} is busy`, { cause: error })
    const errno = code === FULL ? 'ENOSPC' : 'EIO'
    throw new Fault('InternalFault', `the store ${file} cannot be used: ${error.message}`, { cause: error, errno })
  }
}
