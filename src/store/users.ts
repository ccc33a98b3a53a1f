/** Local users, the ways in which they are known, and what became of those who are gone. */
import { Fault } from '../vospace/fault.ts'
import { type Database, type Row, textOf } from './database.ts'
import { type MappedNumbers } from './mapped-numbers.ts'
import { allocate, count, identitiesVersion, isTaken, LAST_ID } from './numbers.ts'
import { Unchanged } from './unchanged.ts'

export interface User {
  readonly name: string
  readonly uid: number
  /** the user's own group */
  readonly gid: number
  readonly admin: boolean
  /** keeps their files and gets nowhere */
  readonly suspended?: boolean
  /** milliseconds since 1970 */
  readonly suspendedSince?: number
  /** The container that was made for them, or shall be. */
  readonly home?: string
  /** It shall be, and may not be there yet. */
  readonly homeDue?: boolean
  readonly limits?: UserLimits
}

/** What of a site's limits is otherwise for one user. Connections and requests at a time, requests per second, bytes of one upload; null: as many as they like. */
export interface UserLimits {
  readonly connections?: number | null
  readonly requests?: number | null
  readonly perSecond?: number | null
  readonly uploadBytes?: number | null
}

export interface Identity {
  readonly kind: 'x509' | 'oidc' | 'uid'
  /** x509: the canonical DN of the end entity; oidc: `issuer subject`; uid: the number */
  readonly value: string
}

export interface NewUser {
  readonly name: string
  readonly uid?: number
  readonly admin?: boolean
  readonly identities?: readonly Identity[]
  readonly home?: string
  readonly homeDue?: boolean
  /** Even though somebody had that name who was deleted. */
  readonly reuseName?: boolean
}

/** Accounts have a life: who is deleted leaves name and number, which nobody gets again. */
export const USERS_2 = `
  ALTER TABLE users ADD COLUMN suspended INTEGER;
  ALTER TABLE users ADD COLUMN home TEXT;
  ALTER TABLE users ADD COLUMN home_due INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE users ADD COLUMN limits TEXT;
  CREATE TABLE former_users (uid INTEGER PRIMARY KEY, name TEXT NOT NULL, deleted INTEGER NOT NULL) STRICT;
  CREATE INDEX former_names ON former_users (name);
  CREATE INDEX identities_of ON identities (user);
`

export class Users {
  readonly #database: Database
  readonly #known: Unchanged<User | undefined>
  readonly #named: Unchanged<User | undefined>
  readonly #mapped: MappedNumbers | undefined

  constructor(database: Database, mapped?: MappedNumbers) {
    this.#database = database
    this.#mapped = mapped
    this.#known = new Unchanged(database)
    this.#named = new Unchanged(database)
  }

  /**
   * The next free uid from 20000, or the one of another service (MappedNumbers.allot), unless one is given. DuplicateNode when the name, the number or an identity is taken, or the name was
   * that of somebody who was deleted; InvalidArgument.
   */
  create(user: NewUser): User {
    const { name, identities = [] } = user
    if (!/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) {
      throw new Fault('InvalidArgument', `not a user name: ${JSON.stringify(name)}`)
    }
    return this.#database.transaction(() => {
      if (this.#look(name)) throw new Fault('DuplicateNode', `user ${name} exists already`)
      if (user.reuseName !== true && this.isFormer(name)) {
        throw new Fault('DuplicateNode', `${name} was the name of a user who was deleted`)
      }
      const uid = user.uid ?? this.#mapped?.allot('user', name) ?? allocate(this.#database, 'uid')
      if (!Number.isInteger(uid) || uid < 0 || uid > LAST_ID) throw new Fault('InvalidArgument', `not a uid: ${uid}`)
      if (isTaken(this.#database, uid, name)) throw new Fault('DuplicateNode', `number ${uid} is taken`)
      const sql = 'INSERT INTO users (name, uid, admin, home, home_due) VALUES (?, ?, ?, ?, ?)'
      const flags = [user.admin === true ? 1 : 0, user.home ?? null, user.homeDue === true ? 1 : 0] as const
      this.#database.run(sql, name, uid, ...flags)
      for (const identity of identities) this.#add(name, identity)
      this.#renumber()
      return this.#existing(name)
    })
  }

  byName(name: string): User | undefined {
    const sql = 'SELECT * FROM users WHERE name = ?'
    return this.#named.of(name, () => toUser(this.#database.get(sql, name)))
  }

  /** As the file has it now: what another process has just written may not be known to byName in this turn of the event loop. */
  #look(name: string): User | undefined {
    return toUser(this.#database.get('SELECT * FROM users WHERE name = ?', name))
  }

  byIdentity({ kind, value }: Identity): User | undefined {
    const sql = 'SELECT u.* FROM identities i JOIN users u ON u.name = i.user WHERE i.kind = ? AND i.value = ?'
    // asked at every request
    return this.#known.of(`${kind} ${value}`, () => toUser(this.#database.get(sql, kind, value)))
  }

  /** Whether somebody of that name was deleted. */
  isFormer(name: string): boolean {
    return this.#database.number('SELECT EXISTS (SELECT 1 FROM former_users WHERE name = ?)', name) === 1
  }

  /** Names of those who were deleted. */
  formerNames(): string[] {
    return this.#database.all('SELECT DISTINCT name FROM former_users').map((row) => String(row['name']))
  }

  list(): User[] {
    return this.#database.all('SELECT * FROM users ORDER BY uid').flatMap((row) => toUser(row) ?? [])
  }

  identities(name: string): Identity[] {
    const rows = this.#database.all('SELECT kind, value FROM identities WHERE user = ? ORDER BY kind, value', name)
    return rows.map((row) => ({ kind: String(row['kind']) as Identity['kind'], value: String(row['value']) }))
  }

  /** Again for the same user: nothing happens. DuplicateNode when it is another user's; InvalidArgument: no such user. */
  addIdentity(name: string, identity: Identity): void {
    this.#database.transaction(() => {
      known(this, name)
      this.#add(name, identity)
    })
  }

  /** NodeNotFound when it is not theirs. */
  removeIdentity(name: string, { kind, value }: Identity): void {
    const sql = 'DELETE FROM identities WHERE user = ? AND kind = ? AND value = ?'
    if (this.#database.run(sql, name, kind, value) === 0) {
      throw new Fault('NodeNotFound', `${value} is no identity of ${name}`)
    }
  }

  /** PermissionDenied when nobody would be left to administer; NodeNotFound. */
  setAdmin(name: string, admin: boolean): User {
    return this.#change(name, () => {
      if (!admin) this.#refuseLast(name)
      this.#database.run('UPDATE users SET admin = ? WHERE name = ?', admin ? 1 : 0, name)
    })
  }

  /** Who is suspended already stays so since then. PermissionDenied: the last administrator; NodeNotFound. */
  suspend(name: string, now: number = Date.now()): User {
    return this.#change(name, () => {
      this.#refuseLast(name)
      this.#database.run('UPDATE users SET suspended = coalesce(suspended, ?) WHERE name = ?', now, name)
    })
  }

  resume(name: string): User {
    return this.#change(name, () => {
      this.#database.run('UPDATE users SET suspended = NULL WHERE name = ?', name)
    })
  }

  /** `undefined`: those of the site. NodeNotFound. */
  setLimits(name: string, limits: UserLimits | undefined): User {
    return this.#change(name, () => {
      const text = limits === undefined ? null : JSON.stringify(limits)
      this.#database.run('UPDATE users SET limits = ? WHERE name = ?', text, name)
    })
  }

  /** Where their home is, undefined: they have none; whatever was due is so no more. NodeNotFound. */
  settleHome(name: string, home: string | undefined): User {
    return this.#change(name, () => {
      this.#database.run('UPDATE users SET home = ?, home_due = 0 WHERE name = ?', home ?? null, name)
    })
  }

  /** URIs of the groups they own. */
  groupsOwned(name: string): string[] {
    const rows = this.#database.all('SELECT uri FROM groups WHERE owner = ? ORDER BY uri', name)
    return rows.map((row) => String(row['uri']))
  }

  /** All groups of one become another's; answers how many. NodeNotFound: no such users. */
  handGroups(from: string, to: string): number {
    return this.#database.transaction(() => {
      for (const name of [from, to]) this.#existing(name)
      return this.#database.run('UPDATE groups SET owner = ? WHERE owner = ?', to, from)
    })
  }

  /**
   * Gone with identities and memberships; jobs go with the next sweep. Number and name stay taken. PreconditionFailed unless suspended,
   * ContainerNotEmpty while groups are theirs, NodeNotFound. Whether nodes are theirs is for the caller to know.
   */
  remove(name: string, now: number = Date.now()): void {
    this.#database.transaction(() => {
      const { uid, suspended } = this.#existing(name)
      if (suspended !== true) throw new Fault('PreconditionFailed', `${name} is to be suspended first`)
      const [group] = this.groupsOwned(name)
      if (group !== undefined) throw new Fault('ContainerNotEmpty', `${name} owns groups, ${group} among them`)
      this.#database.run('DELETE FROM identities WHERE user = ?', name)
      this.#database.run('DELETE FROM members WHERE user = ?', name)
      this.#database.run('UPDATE jobs SET destruction = 0 WHERE owner = ?', name)
      this.#database.run('INSERT INTO former_users VALUES (?, ?, ?)', uid, name, now)
      this.#database.run('DELETE FROM users WHERE name = ?', name)
      this.#renumber()
    })
  }

  #add(name: string, { kind, value }: Identity): void {
    const row = this.#database.get('SELECT user FROM identities WHERE kind = ? AND value = ?', kind, value)
    if (row === undefined) this.#database.run('INSERT INTO identities VALUES (?, ?, ?)', kind, value, name)
    else if (row['user'] !== name) throw new Fault('DuplicateNode', `${value} is the identity of another user`)
  }

  #change(name: string, change: () => void): User {
    return this.#database.transaction(() => {
      this.#existing(name)
      change()
      return this.#existing(name)
    })
  }

  #existing(name: string): User {
    const user = this.#look(name)
    if (user === undefined) throw new Fault('NodeNotFound', `there is no user ${name}`)
    return user
  }

  #refuseLast(name: string): void {
    const { admin, suspended } = this.#existing(name)
    if (!admin || suspended === true) return
    const sql = 'SELECT count(*) FROM users WHERE admin = 1 AND suspended IS NULL AND name <> ?'
    if (this.#database.number(sql, name) > 0) return
    throw new Fault('PermissionDenied', `${name} is the last administrator`, { errno: 'EPERM' })
  }

  // Who keeps names and numbers in memory is to read them again.
  #renumber(): void {
    count(this.#database, 'version', identitiesVersion(this.#database) + 1)
  }
}

/** InvalidArgument when there is no such user. */
export function known(users: Users, name: string): void {
  if (!users.byName(name)) throw new Fault('InvalidArgument', `no such user: ${name}`)
}

function toUser(row: Row | undefined): User | undefined {
  if (row === undefined) return undefined
  const { suspended } = row
  const home = textOf(row['home'])
  const limits = textOf(row['limits'])
  return {
    name: String(row['name']),
    uid: Number(row['uid']),
    gid: Number(row['uid']),
    admin: row['admin'] === 1,
    ...(typeof suspended === 'number' && { suspended: true, suspendedSince: suspended }),
    ...(home !== undefined && { home }),
    ...(row['home_due'] === 1 && { homeDue: true }),
    ...(limits !== undefined && { limits: JSON.parse(limits) as UserLimits }),
  }
}
