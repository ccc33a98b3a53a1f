/** Local users and the ways in which they are known. */
import { Fault } from '../vospace/fault.ts'
import { type Database, type Row } from './database.ts'
import { allocate, count, identitiesVersion, isTaken, LAST_ID } from './numbers.ts'
import { Unchanged } from './unchanged.ts'

export interface User {
  readonly name: string
  readonly uid: number
  /** the user's own group */
  readonly gid: number
  readonly admin: boolean
}

export interface Identity {
  readonly kind: 'x509' | 'oidc' | 'uid'
  /** x509: the canonical DN of the end entity; oidc: `issuer subject`; uid: the number */
  readonly value: string
}

/** Local users. Never deleted, since files keep their numbers. */
export class Users {
  readonly #database: Database
  readonly #known: Unchanged<User | undefined>

  constructor(database: Database) {
    this.#database = database
    this.#known = new Unchanged(database)
  }

  /** The next free uid from 20000 unless one is given. DuplicateNode when the name or the number is taken; InvalidArgument. */
  create(user: { readonly name: string; readonly uid?: number; readonly admin?: boolean }): User {
    if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(user.name)) {
      throw new Fault('InvalidArgument', `not a user name: ${JSON.stringify(user.name)}`)
    }
    return this.#database.transaction(() => {
      if (this.byName(user.name)) throw new Fault('DuplicateNode', `user ${user.name} exists already`)
      const uid = user.uid ?? allocate(this.#database, 'uid')
      if (!Number.isInteger(uid) || uid < 0 || uid > LAST_ID) throw new Fault('InvalidArgument', `not a uid: ${uid}`)
      if (isTaken(this.#database, uid)) throw new Fault('DuplicateNode', `number ${uid} is taken`)
      this.#database.run('INSERT INTO users VALUES (?, ?, ?)', user.name, uid, user.admin === true ? 1 : 0)
      count(this.#database, 'version', identitiesVersion(this.#database) + 1)
      return { name: user.name, uid, gid: uid, admin: user.admin === true }
    })
  }

  byName(name: string): User | undefined {
    return toUser(this.#database.get('SELECT * FROM users WHERE name = ?', name))
  }

  byIdentity({ kind, value }: Identity): User | undefined {
    const sql = 'SELECT u.* FROM identities i JOIN users u ON u.name = i.user WHERE i.kind = ? AND i.value = ?'
    // asked at every request
    return this.#known.of(`${kind} ${value}`, () => toUser(this.#database.get(sql, kind, value)))
  }

  /** Again for the same user: nothing happens. DuplicateNode when it is another user's; InvalidArgument: no such user. */
  addIdentity(name: string, identity: Identity): void {
    this.#database.transaction(() => {
      known(this, name)
      const { kind, value } = identity
      const row = this.#database.get('SELECT user FROM identities WHERE kind = ? AND value = ?', kind, value)
      if (row === undefined) this.#database.run('INSERT INTO identities VALUES (?, ?, ?)', kind, value, name)
      else if (row['user'] !== name) throw new Fault('DuplicateNode', `${value} is the identity of another user`)
    })
  }

  list(): User[] {
    return this.#database.all('SELECT * FROM users ORDER BY uid').flatMap((row) => toUser(row) ?? [])
  }
}

/** InvalidArgument when there is no such user. */
export function known(users: Users, name: string): void {
  if (!users.byName(name)) throw new Fault('InvalidArgument', `no such user: ${name}`)
}

function toUser(row: Row | undefined): User | undefined {
  if (row === undefined) return undefined
  return { name: String(row['name']), uid: Number(row['uid']), gid: Number(row['uid']), admin: row['admin'] === 1 }
}
