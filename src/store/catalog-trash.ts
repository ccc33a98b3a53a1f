/** What is written down of nodes that wait in the trash of a catalog; they themselves are rows like any other. */
import { type Database, type Row } from './database.ts'

export interface TrashRow {
  readonly id: string
  /** row id of the node */
  readonly node: number
  /** milliseconds since 1970 */
  readonly deleted: number
  /** JSON, of whoever put it there */
  readonly note: string
}

export class TrashNotes {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Answers whether the id was free. */
  add({ id, node, deleted, note }: TrashRow): boolean {
    const sql = 'INSERT INTO trash (id, node, deleted, note) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING'
    return this.#database.run(sql, id, node, deleted, note) === 1
  }

  get(id: string): TrashRow | undefined {
    return this.#database.get('SELECT * FROM trash WHERE id = ?', id) as TrashRow | undefined
  }

  remove(id: string): void {
    this.#database.run('DELETE FROM trash WHERE id = ?', id)
  }

  /** What waits in a container. */
  keptBy(keeper: number): TrashRow[] {
    const sql = 'SELECT trash.* FROM trash JOIN nodes ON nodes.id = trash.node WHERE nodes.parent = ? ORDER BY trash.id'
    return rowsOf(this.#database.all(sql, -keeper))
  }

  /** Containers in which something waits or is left of a purge that was cut short, by row id. */
  keepers(): number[] {
    const sql = 'SELECT DISTINCT -parent AS keeper FROM nodes WHERE parent < 0'
    return this.#database.all(sql).map(({ keeper }) => Number(keeper))
  }
}

const rowsOf = (rows: Row[]): TrashRow[] => rows as unknown as TrashRow[]
