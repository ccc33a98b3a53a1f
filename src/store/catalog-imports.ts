/** Buckets whose objects are nodes under their own keys: which container has which of them, and what could not become a node. */
import { type NodeRow } from './catalog.ts'
import { type Database, textOf } from './database.ts'

export interface ImportRow {
  readonly id: number
  /** row id of the container */
  readonly node: number
  readonly bucket: string
  /** what the keys begin with; the rest of a key is the path below the container */
  readonly prefix: string
  readonly writable: boolean
  /** which run was at it last */
  readonly run: string | undefined
  /** how far that one has come, JSON; undefined: at its beginning */
  readonly mark: string | undefined
}

export interface LeftOutRow {
  readonly key: string
  readonly reason: string
}

export class Imports {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** By the container, by row id. */
  of(node: number): ImportRow | undefined {
    return this.all().find((one) => one.node === node)
  }

  byId(id: number): ImportRow | undefined {
    return this.all().find((one) => one.id === id)
  }

  /** There are few. */
  all(): ImportRow[] {
    return this.#database.all('SELECT * FROM imports ORDER BY id').map((row) => ({
      id: Number(row['id']),
      node: Number(row['node']),
      bucket: String(row['bucket']),
      prefix: String(row['prefix']),
      writable: row['writable'] === 1,
      run: textOf(row['run']),
      mark: textOf(row['mark']),
    }))
  }

  /** A run that begins anew; what an earlier one has left out is looked at again. */
  begin({ node, bucket, prefix, writable, run }: Omit<ImportRow, 'id' | 'mark' | 'run'> & { readonly run: string }): number {
    const sql = `INSERT INTO imports (node, bucket, prefix, writable, run) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (node) DO UPDATE SET writable = excluded.writable, run = excluded.run, mark = NULL RETURNING id`
    const id = Number(this.#database.get(sql, node, bucket, prefix, writable ? 1 : 0, run)?.['id'])
    this.#database.run('DELETE FROM left_out WHERE import = ?', id)
    return id
  } // prettier-ignore

  keep(id: number, mark: string): void {
    this.#database.run('UPDATE imports SET mark = ? WHERE id = ?', mark, id)
  }

  /** What is left of its nodes are containers with something else in them. */
  end(id: number): void {
    this.#database.run('UPDATE nodes SET import = NULL, key = NULL, etag = NULL, modified = NULL WHERE import = ?', id)
    this.#database.run('DELETE FROM imports WHERE id = ?', id)
    this.#database.run('DELETE FROM left_out WHERE import = ?', id)
  }

  leaveOut(id: number, { key, reason }: LeftOutRow): void {
    this.#database.run('INSERT OR REPLACE INTO left_out (import, key, reason) VALUES (?, ?, ?)', id, key, reason)
  }

  /** In the order of keys. */
  leftOut(id: number, after: string, limit: number): LeftOutRow[] {
    const sql = 'SELECT key, reason FROM left_out WHERE import = ? AND key > ? ORDER BY key LIMIT ?'
    return this.#database.all(sql, id, after, limit) as unknown as LeftOutRow[]
  }

  /** Nodes of an import with keys after one and up to another; undefined: to the end. */
  between(id: number, after: string, until: string | undefined): NodeRow[] {
    const from = 'SELECT * FROM nodes WHERE import = ? AND key > ?'
    const rows =
      until === undefined
        ? this.#database.all(from, id, after)
        : this.#database.all(`${from} AND key <= ?`, id, after, until)
    return rows as unknown as NodeRow[]
  }

  withKey(id: number, key: string): NodeRow | undefined {
    const sql = 'SELECT * FROM nodes WHERE import = ? AND key = ?'
    return this.#database.get(sql, id, key) as unknown as NodeRow | undefined
  }

  /** Containers that an import has made, with nothing in them and no object that stands for them. */
  hollow(id: number, limit: number): NodeRow[] {
    const sql = `SELECT * FROM nodes WHERE import = ? AND key IS NULL AND nodes = 1 LIMIT ?`
    return this.#database.all(sql, id, limit) as unknown as NodeRow[]
  }

  /** Rows of an import, whatever they are. */
  some(id: number, limit: number): NodeRow[] {
    return this.#database.all('SELECT * FROM nodes WHERE import = ? AND nodes = 1 LIMIT ?', id, limit) as unknown as NodeRow[]
  } // prettier-ignore
}
