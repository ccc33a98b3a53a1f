/** Local groups: whose they are, who is in them, which groups are in which. Who may change that is decided elsewhere (identity/groups.ts). */
import { Fault } from '../vospace/fault.ts'
import { isGroupUri } from '../vospace/property.ts'
import { type Database, type Row, textOf } from './database.ts'
import { type MappedNumbers } from './mapped-numbers.ts'
import { MAX_NESTING, Memberships } from './memberships.ts'
import { allocate, count, identitiesVersion } from './numbers.ts'
import { known, type Users } from './users.ts'

export interface Group {
  /** `ivo://authority/gms?name` */
  readonly uri: string
  readonly gid: number
  readonly owner: string
  readonly description?: string
  /** milliseconds since 1970; nobody is in it from then on, and it can be prolonged */
  readonly expires?: number
}

/** A user, or the URI of a group, in a group. */
export interface Membership {
  readonly member: string
  /** milliseconds since 1970; what has ended is listed, and does not count */
  readonly expires?: number
}

/** Who is in a group by name; more are in it through its groups. */
export interface Roll {
  readonly admins: readonly string[]
  readonly users: readonly Membership[]
  readonly groups: readonly Membership[]
}

/** null: it ends no more, or is described no more */
export interface GroupChanges {
  readonly owner?: string
  readonly description?: string | null
  readonly expires?: number | null
}

/** Numbers given to groups of other services: anybody who shares has one given, so there is an end to it. */
const MOST_FOREIGN = 100_000

/** Local groups. Membership is that of this moment: what is withdrawn or over, by whatever process, is so for the next request. */
export class Groups {
  readonly #database: Database
  readonly #users: Users
  readonly #memberships: Memberships
  readonly #mostForeign: number
  readonly #mapped: MappedNumbers | undefined

  constructor(
    database: Database,
    users: Users,
    {
      now = Date.now,
      mostForeign = MOST_FOREIGN,
      mapped,
    }: { readonly now?: () => number; readonly mostForeign?: number; readonly mapped?: MappedNumbers } = {},
  ) {
    this.#database = database
    this.#mapped = mapped
    this.#users = users
    this.#memberships = new Memberships(database, now)
    this.#mostForeign = mostForeign
  }

  /**
   * A gid from 90000 is given, or that of another service (MappedNumbers.allot). DuplicateNode when it exists, or existed: files may still be shared under that name. InvalidArgument: no group
   * URI, no such user.
   */
  create(uri: string, options: Required<Pick<GroupChanges, 'owner'>> & Omit<GroupChanges, 'owner'>): Group {
    if (!isGroupUri(uri)) throw new Fault('InvalidArgument', `not a group URI: ${JSON.stringify(uri)}`)
    return this.#database.transaction(() => {
      const { owner, description, expires } = options
      known(this.#users, owner)
      if (this.byUri(uri)) throw new Fault('DuplicateNode', `group ${uri} exists already`)
      const kept = this.#database.get('SELECT gid, kind FROM group_numbers WHERE uri = ?', uri)
      if (kept?.['kind'] === 'former') {
        const detail = `${uri} was the name of a group that was deleted; nodes may still be shared with it`
        throw new Fault('DuplicateNode', detail)
      }
      this.#database.run('DELETE FROM group_numbers WHERE uri = ?', uri)
      const gid = kept === undefined ? this.#number(uri) : Number(kept['gid'])
      const sql = 'INSERT INTO groups (uri, gid, owner, description, expires) VALUES (?, ?, ?, ?, ?)'
      this.#database.run(sql, uri, gid, owner, description ?? null, expires ?? null)
      this.#renumber()
      return this.#existing(uri)
    })
  }

  byUri(uri: string): Group | undefined {
    return toGroup(this.#database.get('SELECT * FROM groups WHERE uri = ?', uri))
  }

  /** Whether a group of that name was deleted. */
  isFormer(uri: string): boolean {
    const sql = `SELECT EXISTS (SELECT 1 FROM group_numbers WHERE uri = ? AND kind = 'former')`
    return this.#database.number(sql, uri) === 1
  }

  /** InvalidArgument: no such group, no such owner. */
  amend(uri: string, { owner, description, expires }: GroupChanges): Group {
    return this.#database.transaction(() => {
      this.#existing(uri)
      const set = (column: string, value: string | number | null): void =>
        void this.#database.run(`UPDATE groups SET ${column} = ? WHERE uri = ?`, value, uri)
      if (owner !== undefined) {
        known(this.#users, owner)
        set('owner', owner)
      }
      if (description !== undefined) set('description', description)
      if (expires !== undefined) set('expires', expires)
      return this.#existing(uri)
    })
  }

  /** Nobody is in it any more, and it is in no other. Name and number stay taken, since files carry them. InvalidArgument: no such group. */
  delete(uri: string): void {
    this.#database.transaction(() => {
      const { gid } = this.#existing(uri)
      for (const table of ['members', 'group_admins']) this.#database.run(`DELETE FROM ${table} WHERE uri = ?`, uri)
      this.#database.run('DELETE FROM nested WHERE uri = ?1 OR member = ?1', uri)
      this.#database.run('DELETE FROM groups WHERE uri = ?', uri)
      this.#database.run(`INSERT INTO group_numbers VALUES (?, ?, 'former')`, uri, gid)
      this.#renumber()
    })
  }

  /** `expires` (milliseconds since 1970) replaces what was said before; without: for good. InvalidArgument: no such group or user. */
  add(uri: string, user: string, expires?: number): void {
    this.#database.transaction(() => {
      known(this.#users, user)
      this.#existing(uri)
      const sql = 'INSERT INTO members VALUES (?1, ?2, ?3) ON CONFLICT (user, uri) DO UPDATE SET expires = ?3'
      this.#database.run(sql, user, uri, expires ?? null)
    })
  }

  /** As `add`, the first time only: who is removed afterwards stays removed, whatever the configuration says at the next start. */
  seed(uri: string, user: string): void {
    this.#database.transaction(() => {
      known(this.#users, user)
      this.#existing(uri)
      if (this.#database.run('INSERT OR IGNORE INTO seeded VALUES (?, ?)', uri, user) === 0) return
      this.#database.run('INSERT OR IGNORE INTO members (user, uri) VALUES (?, ?)', user, uri)
    })
  }

  /** False: they were no member. */
  remove(uri: string, user: string): boolean {
    return this.#database.run('DELETE FROM members WHERE user = ? AND uri = ?', user, uri) > 0
  }

  /** An administrator already: nothing happens. InvalidArgument: no such group or user. */
  addAdmin(uri: string, user: string): void {
    this.#database.transaction(() => {
      known(this.#users, user)
      this.#existing(uri)
      this.#database.run('INSERT OR IGNORE INTO group_admins VALUES (?, ?)', uri, user)
    })
  }

  /** False: they were none. */
  removeAdmin(uri: string, user: string): boolean {
    return this.#database.run('DELETE FROM group_admins WHERE uri = ? AND user = ?', uri, user) > 0
  }

  /** Who is in `inner` is in `uri`. InvalidArgument: no such groups, `uri` is in `inner` already (a loop), or too many levels. */
  nest(uri: string, inner: string, expires?: number): void {
    this.#database.transaction(() => {
      for (const one of [uri, inner]) this.#existing(one)
      const below = this.#levels(inner, 'SELECT member AS uri FROM nested WHERE uri = ?')
      if (below.some((level) => level.has(uri))) {
        throw new Fault('InvalidArgument', `${uri} is in ${inner} already, and cannot contain it`)
      }
      const above = this.#levels(uri, 'SELECT uri FROM nested WHERE member = ?')
      if (below.length + above.length - 1 > MAX_NESTING) {
        throw new Fault('InvalidArgument', `groups are nested ${MAX_NESTING} levels deep at most`)
      }
      const sql = 'INSERT INTO nested VALUES (?1, ?2, ?3) ON CONFLICT (uri, member) DO UPDATE SET expires = ?3'
      this.#database.run(sql, uri, inner, expires ?? null)
    })
  }

  /** False: it was not in it. */
  unnest(uri: string, inner: string): boolean {
    return this.#database.run('DELETE FROM nested WHERE uri = ? AND member = ?', uri, inner) > 0
  }

  /** Of all those the user is in now, through other groups too. */
  of(user: string): ReadonlySet<string> {
    return this.#memberships.of(user)
  }

  /** Another number whenever `of` may answer otherwise for anybody: after a change by whatever process, and when something has ended. */
  get version(): number {
    return this.#memberships.version
  }

  /** Names of the users in it by name, whether or not that has ended. */
  members(uri: string): string[] {
    return this.roll(uri).users.map(({ member }) => member)
  }

  roll(uri: string): Roll {
    const admins = this.#database.all('SELECT user FROM group_admins WHERE uri = ? ORDER BY user', uri)
    const users = this.#database.all('SELECT user AS member, expires FROM members WHERE uri = ? ORDER BY user', uri)
    const groups = this.#database.all('SELECT member, expires FROM nested WHERE uri = ? ORDER BY member', uri)
    const memberships = (rows: Row[]): Membership[] =>
      rows.map(({ member, expires }) => ({
        member: String(member),
        ...(typeof expires === 'number' && { expires }),
      }))
    return {
      admins: admins.map(({ user }) => String(user)),
      users: memberships(users),
      groups: memberships(groups),
    }
  }

  isAdmin(uri: string, user: string): boolean {
    const sql = 'SELECT EXISTS (SELECT 1 FROM group_admins WHERE uri = ? AND user = ?)'
    return this.#database.number(sql, uri, user) === 1
  }

  /** All there are, in order of their URIs. */
  list(): Group[] {
    return this.#database.all('SELECT * FROM groups ORDER BY uri').flatMap((row) => toGroup(row) ?? [])
  }

  /** Those the user owns or administers. */
  managedBy(user: string): Group[] {
    const sql = `SELECT * FROM groups WHERE owner = ?1
      OR uri IN (SELECT uri FROM group_admins WHERE user = ?1) ORDER BY uri`
    return this.#database.all(sql, user).flatMap((row) => toGroup(row) ?? [])
  }

  countOwned(user: string): number {
    return this.#database.number('SELECT count(*) FROM groups WHERE owner = ?', user)
  }

  /** How many groups are in the user's groups, all of those together. */
  countNested(user: string): number {
    const sql = 'SELECT count(*) FROM nested n JOIN groups g ON g.uri = n.uri WHERE g.owner = ?'
    return this.#database.number(sql, user)
  }

  /** Every URI that has a number: groups here, those that were, and those of other services. */
  numbered(): { readonly uri: string; readonly gid: number }[] {
    const rows = this.#database.all('SELECT uri, gid FROM groups UNION ALL SELECT uri, gid FROM group_numbers')
    return rows.map(({ uri, gid }) => ({ uri: String(uri), gid: Number(gid) }))
  }

  /** The number of a group that another service keeps, given now if need be; undefined when there are too many already. ServiceBusy: see MappedNumbers.allot. */
  numberForeign(uri: string): number | undefined {
    if (!isGroupUri(uri)) return undefined
    return this.#database.transaction(() => {
      const sql = 'SELECT gid FROM groups WHERE uri = ?1 UNION ALL SELECT gid FROM group_numbers WHERE uri = ?1'
      const known = this.#database.get(sql, uri)
      if (known !== undefined) return Number(known['gid'])
      const many = this.#database.number(`SELECT count(*) FROM group_numbers WHERE kind = 'foreign'`)
      if (many >= this.#mostForeign) return undefined
      const given = this.#mapped?.allot('group', uri)
      if (given !== undefined) return given
      const gid = this.#number(uri)
      this.#database.run(`INSERT INTO group_numbers VALUES (?, ?, 'foreign')`, uri, gid)
      this.#renumber()
      return gid
    })
  }

  #number(uri: string): number {
    return this.#mapped?.allot('group', uri) ?? allocate(this.#database, 'gid', this.#mapped?.first)
  }

  #existing(uri: string): Group {
    const group = this.byUri(uri)
    if (group === undefined) throw new Fault('InvalidArgument', `no such group: ${uri}`)
    return group
  }

  // The sets at each distance, the group itself first. A level more than allowed is enough to know, so a loop ends.
  #levels(uri: string, step: string): ReadonlySet<string>[] {
    const levels = [new Set([uri])]
    while (levels.length <= MAX_NESTING + 1) {
      const next = [...(levels.at(-1) ?? [])].flatMap((one) => this.#database.all(step, one))
      if (next.length === 0) break
      levels.push(new Set(next.map((row) => String(row['uri']))))
    }
    return levels
  }

  // Who keeps names and numbers in memory is to read them again.
  #renumber(): void {
    count(this.#database, 'version', identitiesVersion(this.#database) + 1)
  }
}

function toGroup(row: Row | undefined): Group | undefined {
  if (row === undefined) return undefined
  const { uri, gid, owner, expires } = row
  const description = textOf(row['description'])
  return {
    uri: String(uri),
    gid: Number(gid),
    owner: String(owner),
    ...(description !== undefined && { description }),
    ...(typeof expires === 'number' && { expires }),
  }
}
