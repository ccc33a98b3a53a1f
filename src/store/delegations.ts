/** Credentials that users have delegated to the gateway. Keys come sealed, and are opened elsewhere; what has ended is not there any more. */
import { type Database, type Row, textOf } from './database.ts'

export interface StoredDelegation {
  readonly id: string
  readonly user: string
  /** canonical, of the end entity */
  readonly dn: string
  /** PEM */
  readonly request: string
  readonly sealedKey: Buffer
  /** PEM, the leaf first; undefined: not yet sent */
  readonly certificates: string | undefined
  /** milliseconds since 1970 */
  readonly expires: number
}

export const DELEGATIONS_1 = `
  CREATE TABLE delegations (id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
    dn TEXT NOT NULL, request TEXT NOT NULL, key BLOB NOT NULL, certificates TEXT, expires INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE INDEX delegations_user ON delegations (user, expires);
  CREATE INDEX delegations_expires ON delegations (expires);
`

export class StoredDelegations {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Adds one; when the user has more than `most` then, requests never answered go first, then what ends first. */
  add(row: Omit<StoredDelegation, 'certificates'>, most: number): void {
    const { id, user, dn, request, sealedKey, expires } = row
    this.#database.transaction(() => {
      this.#database.run(
        'DELETE FROM delegations WHERE id IN (SELECT id FROM delegations WHERE user = ? ORDER BY certificates IS NULL, expires DESC LIMIT -1 OFFSET ?)',
        user,
        most - 1,
      )
      const sql = 'INSERT INTO delegations (id, user, dn, request, key, expires) VALUES (?, ?, ?, ?, ?, ?)'
      this.#database.run(sql, id, user, dn, request, sealedKey, expires)
    })
  }

  get(user: string, id: string, now: number): StoredDelegation | undefined {
    const sql = 'SELECT * FROM delegations WHERE id = ? AND user = ? AND expires > ?'
    return toDelegation(this.#database.get(sql, id, user, now))
  }

  /** Those that end last first. */
  list(user: string, now: number): StoredDelegation[] {
    const sql = 'SELECT * FROM delegations WHERE user = ? AND expires > ? ORDER BY expires DESC, id'
    return this.#database.all(sql, user, now).flatMap((row) => toDelegation(row) ?? [])
  }

  /** False when there is none any more. */
  certify(user: string, id: string, certificates: string, expires: number): boolean {
    const sql = 'UPDATE delegations SET certificates = ?, expires = ? WHERE id = ? AND user = ?'
    return this.#database.run(sql, certificates, expires, id, user) === 1
  }

  /** False when there is none. */
  remove(user: string, id: string, now: number): boolean {
    return this.#database.run('DELETE FROM delegations WHERE id = ? AND user = ? AND expires > ?', id, user, now) === 1
  }

  /** Answers how many had ended. */
  sweep(now: number): number {
    return this.#database.run('DELETE FROM delegations WHERE expires <= ?', now)
  }
}

function toDelegation(row: Row | undefined): StoredDelegation | undefined {
  if (row === undefined) return undefined
  return {
    id: String(row['id']),
    user: String(row['user']),
    dn: String(row['dn']),
    request: String(row['request']),
    sealedKey: Buffer.from(row['key'] as Uint8Array),
    certificates: textOf(row['certificates']),
    expires: Number(row['expires']),
  }
}
