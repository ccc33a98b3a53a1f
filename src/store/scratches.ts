/** Scratch space of sessions: who shares one, and until when. What is written here is gone on with by whatever gateway starts next. */
import { type Database, type Row } from './database.ts'

export const SCRATCHES_1 = `
  CREATE TABLE scratches (path TEXT PRIMARY KEY, user TEXT NOT NULL, session TEXT NOT NULL, ending INTEGER NOT NULL DEFAULT 0)
    STRICT, WITHOUT ROWID;
  CREATE INDEX scratches_user ON scratches (user, session);
  CREATE TABLE scratch_members (path TEXT NOT NULL REFERENCES scratches ON DELETE CASCADE, member TEXT NOT NULL,
    expires INTEGER NOT NULL, PRIMARY KEY (path, member)) STRICT, WITHOUT ROWID;
  CREATE INDEX scratch_members_expires ON scratch_members (expires);
`

export interface StoredScratch {
  readonly path: string
  readonly user: string
  readonly session: string
  /** milliseconds since 1970, of the member that stays longest */
  readonly expires: number
}

export class StoredScratches {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** A container of the session has come, or goes on, until then. False: the scratch is being removed. */
  join(scratch: StoredScratch, member: string): boolean {
    const { path, user, session, expires } = scratch
    return this.#database.transaction(() => {
      const known = this.#database.get('SELECT ending FROM scratches WHERE path = ?', path)
      if (known !== undefined && Number(known['ending']) === 1) return false
      if (known === undefined)
        this.#database.run('INSERT INTO scratches (path, user, session) VALUES (?, ?, ?)', path, user, session)
      const sql = `INSERT INTO scratch_members (path, member, expires) VALUES (?, ?, ?)
        ON CONFLICT (path, member) DO UPDATE SET expires = excluded.expires`
      this.#database.run(sql, path, member, expires)
      return true
    })
  }

  leave(path: string, member: string): void {
    this.#database.run('DELETE FROM scratch_members WHERE path = ? AND member = ?', path, member)
  }

  /** Those whose last member has left or has not been heard of until `now`; from now on nobody joins them. */
  ended(now: number): string[] {
    return this.#database.transaction(() => {
      this.#database.run('DELETE FROM scratch_members WHERE expires <= ?', now)
      this.#database.run('UPDATE scratches SET ending = 1 WHERE path NOT IN (SELECT path FROM scratch_members)')
      return this.#database
        .all('SELECT path FROM scratches WHERE ending = 1 ORDER BY path')
        .map((row) => String(row['path']))
    })
  }

  /** It is gone. */
  remove(path: string): void {
    this.#database.run('DELETE FROM scratches WHERE path = ?', path)
  }

  /** Those of a user that go on. */
  of(user: string): StoredScratch[] {
    const sql = `SELECT path, user, session, max(expires) AS expires FROM scratches JOIN scratch_members USING (path)
      WHERE user = ? AND ending = 0 GROUP BY path ORDER BY path`
    return this.#database.all(sql, user).map(toScratch)
  }
}

const toScratch = (row: Row): StoredScratch => ({
  path: String(row['path']),
  user: String(row['user']),
  session: String(row['session']),
  expires: Number(row['expires']),
})
