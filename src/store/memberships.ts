/** Which groups a user is in: through groups in groups too, as of this moment. Asked at every request, so it is remembered while nothing changes. */
import { type Database, type Row } from './database.ts'
import { MEMBERSHIPS } from './group-schema.ts'

/** Levels of groups in groups. Nesting deeper is refused; what stands deeper in a store all the same does not count. */
export const MAX_NESTING = 8

/** Users whose groups are remembered. */
const MOST = 10_000

interface Membership {
  readonly groups: ReadonlySet<string>
  /** milliseconds since 1970: something of it ends then */
  readonly until: number
}

/** What of a group counts: where it stands, until when one is in it, and until when it is one. */
const EDGE = 'g.uri AS uri, e.expires AS expires, g.expires AS ends'

const DIRECT = `SELECT ${EDGE} FROM members e JOIN groups g ON g.uri = e.uri WHERE e.user = ?`
/** A whole level at once: each statement is a look at the file. */
const AROUND = `SELECT ${EDGE} FROM json_each(?) inside JOIN nested e ON e.member = inside.value JOIN groups g ON g.uri = e.uri`

const NEXT_END = `SELECT min(expires) FROM (
  SELECT expires FROM members UNION ALL SELECT expires FROM nested UNION ALL SELECT expires FROM groups) WHERE expires > ?`

export class Memberships {
  readonly #database: Database
  readonly #now: () => number
  readonly #remembered = new Map<string, Membership>()
  /** the store's version, and the count of changes of memberships, when it was last looked */
  #looked = -1
  #count = -1
  #version = 0
  /** when, by time alone, somebody is a member no more; undefined: to be looked for */
  #nextEnd: number | undefined

  constructor(database: Database, now: () => number = Date.now) {
    this.#database = database
    this.#now = now
  }

  of(user: string): ReadonlySet<string> {
    const now = this.#now()
    // inside a transaction it may be of rows that are rolled back
    if (this.#database.isChanging) return this.#closure(user, now).groups
    this.#look()
    const known = this.#remembered.get(user)
    if (known !== undefined && now < known.until) return known.groups
    const found = this.#closure(user, now)
    if (this.#remembered.size >= MOST) this.#remembered.clear()
    this.#remembered.set(user, found)
    return found.groups
  }

  /** Another number whenever anybody's groups may be others than before, by a change of whatever process or by the time. */
  get version(): number {
    if (this.#database.isChanging) return -1
    this.#look()
    const now = this.#now()
    if (this.#nextEnd !== undefined && now >= this.#nextEnd) {
      this.#version++
      this.#nextEnd = undefined
    }
    this.#nextEnd ??= this.#database.number(NEXT_END, now) || Infinity
    return this.#version
  }

  // Most of what is written to the store is about other things: then one number is read, and all stays remembered.
  #look(): void {
    const { version } = this.#database
    if (version === this.#looked) return
    this.#looked = version
    const count = this.#database.number('SELECT value FROM counters WHERE name = ?', MEMBERSHIPS)
    if (count === this.#count) return
    this.#count = count
    this.#version++
    this.#nextEnd = undefined
    this.#remembered.clear()
  }

  // Level by level, each group once: a loop, however it came there, ends.
  #closure(user: string, now: number): Membership {
    const groups = new Set<string>()
    let until = Infinity
    const live = ({ uri, expires, ends }: Row): string[] => {
      const end = Math.min(endOf(expires), endOf(ends))
      if (end <= now) return []
      until = Math.min(until, end)
      return [String(uri)]
    }
    let level = this.#database.all(DIRECT, user).flatMap(live)
    for (let depth = 0; level.length > 0; depth++) {
      const fresh = [...new Set(level)].filter((uri) => !groups.has(uri))
      for (const uri of fresh) groups.add(uri)
      if (depth === MAX_NESTING) break
      level = fresh.length === 0 ? [] : this.#database.all(AROUND, JSON.stringify(fresh)).flatMap(live)
    }
    return { groups, until }
  }
}

const endOf = (expires: unknown): number => (typeof expires === 'number' ? expires : Infinity)
