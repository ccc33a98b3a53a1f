/** Local groups and their members. */
import { Fault } from '../vospace/fault.ts'
import { isGroupUri } from '../vospace/property.ts'
import { type Database, type Row } from './database.ts'
import { allocate, count, identitiesVersion } from './numbers.ts'
import { Unchanged } from './unchanged.ts'
import { known, type Users } from './users.ts'

export interface Group {
  /** `ivo://authority/gms?name` */
  readonly uri: string
  readonly gid: number
  readonly owner: string
}

/** Local groups. Membership is that of this moment: what is withdrawn, by whatever process, is withdrawn at once. */
export class Groups {
  readonly #database: Database
  readonly #users: Users
  readonly #memberships: Unchanged<ReadonlySet<string>>

  constructor(database: Database, users: Users) {
    this.#database = database
    this.#users = users
    this.#memberships = new Unchanged(database)
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
    // asked at every request
    return this.#memberships.of(user, () => {
      const rows = this.#database.all('SELECT uri FROM members WHERE user = ?', user)
      return new Set(rows.map((row) => String(row['uri'])))
    })
  }

  members(uri: string): string[] {
    const rows = this.#database.all('SELECT user FROM members WHERE uri = ? ORDER BY user', uri)
    return rows.map((row) => String(row['user']))
  }

  list(): Group[] {
    return this.#database.all('SELECT * FROM groups ORDER BY uri').flatMap((row) => toGroup(row) ?? [])
  }
}

function toGroup(row: Row | undefined): Group | undefined {
  if (row === undefined) return undefined
  return { uri: String(row['uri']), gid: Number(row['gid']), owner: String(row['owner']) }
}
