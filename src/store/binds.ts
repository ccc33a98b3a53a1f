/** Partitions that sessions have as bind mounts of a node's own file system: past the gateway, so what becomes of them is nothing that it sees. */
import { isWithin, nodePath, type NodePath } from '../vospace/path.ts'
import { type Database } from './database.ts'

export const BINDS_1 = `
  CREATE TABLE binds (path TEXT NOT NULL, user TEXT NOT NULL, session TEXT NOT NULL, member TEXT NOT NULL, expires INTEGER NOT NULL,
    PRIMARY KEY (path, user, session, member)) STRICT, WITHOUT ROWID;
`

export interface Bind {
  readonly path: NodePath
  readonly user: string
  /** empty where none was named */
  readonly session: string
  /** milliseconds since 1970: unless it is asked for again */
  readonly expires: number
}

export class StoredBinds {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** The terms have been given, or given again. */
  hold({ path, user, session, expires }: Bind, member: string, now: number = Date.now()): void {
    this.#database.transaction(() => {
      this.#database.run('DELETE FROM binds WHERE expires <= ?', now)
      const sql = `INSERT INTO binds (path, user, session, member, expires) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (path, user, session, member) DO UPDATE SET expires = excluded.expires`
      this.#database.run(sql, path, user, session, member, expires)
    })
  }

  /** A container of the session has ended. */
  leave(user: string, session: string, member: string): void {
    this.#database.run('DELETE FROM binds WHERE user = ? AND session = ? AND member = ?', user, session, member)
  }

  /** Those of a container, of what it is in and of what is in it; the one that lasts longest first. */
  over(path: NodePath, now: number = Date.now()): Bind[] {
    return this.#database
      .all('SELECT path, user, session, expires FROM binds WHERE expires > ? ORDER BY expires DESC', now)
      .map((row) => ({
        path: nodePath(String(row['path'])),
        user: String(row['user']),
        session: String(row['session']),
        expires: Number(row['expires']),
      }))
      .filter((bind) => isWithin(bind.path, path) || isWithin(path, bind.path))
  }
}
