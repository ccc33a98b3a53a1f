/** Parts of the namespace that have been brought to another storage than the configuration gives them: these count. */
import { nodePath, type NodePath } from '../vospace/path.ts'
import { type Database } from './database.ts'

export const PLACEMENTS_1 = `
  CREATE TABLE placements (path TEXT PRIMARY KEY, backend TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

export class Placements {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  all(): { readonly path: NodePath; readonly backend: string }[] {
    const rows = this.#database.all('SELECT path, backend FROM placements ORDER BY path')
    return rows.map((row) => ({ path: nodePath(String(row['path'])), backend: String(row['backend']) }))
  }

  /** Over a power cut too. */
  keep(path: NodePath, backend: string): void {
    const sql = 'INSERT INTO placements VALUES (?1, ?2) ON CONFLICT (path) DO UPDATE SET backend = ?2'
    this.#database.run(sql, path, backend)
  }
}
