/** Users, what proves who they are, groups and their members; and the numbers of all of them. */
import { Fault } from '../vospace/fault.ts'
import { isGroupUri } from '../vospace/property.ts'
import { type Database, type Row } from './database.ts'

export interface User {
  readonly name: string
  readonly uid: number
  /** the user's own group */
  readonly gid: number
  readonly admin: boolean
}

export interface Group {
  /** `ivo://authority/gms?name` */
  readonly uri: string
  readonly gid: number
  readonly owner: string
}

export interface Identity {
  readonly kind: 'x509'
  /** x509: the canonical DN of the end entity */
  readonly value: string
}

/** Owners and groups as numbers; the same shape as the backend's. */
export interface Ids {
  uidOf(owner: string): number | undefined
  ownerOf(uid: number): string
  gidOfUser(owner: string): number | undefined
  gidOf(groupUri: string): number | undefined
  groupOf(gid: number): string | undefined
}

/** First numbers given out; those below are the system's. */
const FIRST = { uid: 20_000, gid: 90_000 } as const
/** The largest a Linux kernel takes; the next is "no id". */
const LAST_ID = 0xfffffffe

export const IDENTITIES_1 = `
  CREATE TABLE users (name TEXT PRIMARY KEY, uid INTEGER NOT NULL UNIQUE, admin INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE identities (kind TEXT NOT NULL, value TEXT NOT NULL, user TEXT NOT NULL REFERENCES users(name),
    PRIMARY KEY (kind, value)) STRICT, WITHOUT ROWID;
  CREATE TABLE groups (uri TEXT PRIMARY KEY, gid INTEGER NOT NULL UNIQUE, owner TEXT NOT NULL REFERENCES users(name))
    STRICT, WITHOUT ROWID;
  CREATE TABLE members (user TEXT NOT NULL REFERENCES users(name), uri TEXT NOT NULL REFERENCES groups(uri),
    PRIMARY KEY (user, uri)) STRICT, WITHOUT ROWID;
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

/** Local users. Never deleted, since files keep their numbers. */
export class Users {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
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

  byDn(canonicalDn: string): User | undefined {
    const sql = "SELECT u.* FROM identities i JOIN users u ON u.name = i.user WHERE i.kind = 'x509' AND i.value = ?"
    return toUser(this.#database.get(sql, canonicalDn))
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

/** Local groups. Membership is read anew at each call: what is withdrawn is withdrawn at once. */
export class Groups {
  readonly #database: Database
  readonly #users: Users

  constructor(database: Database, users: Users) {
    this.#database = database
    this.#users = users
  }

  /** A gid from 90000 is given. DuplicateNode when it exists; InvalidArgument: no group URI, no such user. */
  create(uri: string, options: { readonly owner: string }): Group {
    if (!isGroupUri(uri)) throw new Fault('InvalidArgument', `not a group URI: ${JSON.stringify(uri)}`)
    return this.#database.transaction(() => {
      known(this.#users, options.owner)
      if (this.byUri(uri)) throw new Fault('DuplicateNode', `group ${uri} exists already`)
      const gid = allocate(this.#database, 'gid')
      this.#database.run('INSERT INTO groups VALUES (?, ?, ?)', uri, gid, options.owner)
      count(this.#database, 'version', identitiesVersion(this.#database) + 1)
      return { uri, gid, owner: options.owner }
    })
  }

  byUri(uri: string): Group | undefined {
    return toGroup(this.#database.get('SELECT * FROM groups WHERE uri = ?', uri))
  }

  /** A member already: nothing happens. InvalidArgument: no such group or user. */
  add(uri: string, user: string): void {
    this.#database.transaction(() => {
      known(this.#users, user)
      if (!this.byUri(uri)) throw new Fault('InvalidArgument', `no such group: ${uri}`)
      this.#database.run('INSERT OR IGNORE INTO members VALUES (?, ?)', user, uri)
    })
  }

  /** No member: nothing happens. */
  remove(uri: string, user: string): void {
    this.#database.run('DELETE FROM members WHERE user = ? AND uri = ?', user, uri)
  }

  of(user: string): ReadonlySet<string> {
    const rows = this.#database.all('SELECT uri FROM members WHERE user = ?', user)
    return new Set(rows.map((row) => String(row['uri'])))
  }

  members(uri: string): string[] {
    const rows = this.#database.all('SELECT user FROM members WHERE uri = ? ORDER BY user', uri)
    return rows.map((row) => String(row['user']))
  }

  list(): Group[] {
    return this.#database.all('SELECT * FROM groups ORDER BY uri').flatMap((row) => toGroup(row) ?? [])
  }
}

function known(users: Users, name: string): void {
  if (!users.byName(name)) throw new Fault('InvalidArgument', `no such user: ${name}`)
}

// A user's own group has the user's number: so users and groups draw from one set of numbers, and none is given twice.
function allocate(database: Database, name: keyof typeof FIRST): number {
  let next = Math.max(FIRST[name], counted(database, name))
  while (isTaken(database, next)) next++
  count(database, name, next + 1)
  return next
}

/** Grows with every user and group made, by whatever process. */
export function identitiesVersion(database: Database): number {
  return counted(database, 'version')
}

const counted = (database: Database, name: string): number =>
  database.number('SELECT value FROM counters WHERE name = ?', name)

function count(database: Database, name: string, value: number): void {
  database.run('INSERT INTO counters VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2', name, value)
}

function isTaken(database: Database, number: number): boolean {
  const sql = 'SELECT EXISTS (SELECT 1 FROM users WHERE uid = ?1) OR EXISTS (SELECT 1 FROM groups WHERE gid = ?1)'
  return database.number(sql, number) === 1
}

function toUser(row: Row | undefined): User | undefined {
  if (row === undefined) return undefined
  return { name: String(row['name']), uid: Number(row['uid']), gid: Number(row['uid']), admin: row['admin'] === 1 }
}

function toGroup(row: Row | undefined): Group | undefined {
  if (row === undefined) return undefined
  return { uri: String(row['uri']), gid: Number(row['gid']), owner: String(row['owner']) }
}
