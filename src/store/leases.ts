/**
 * Locks that mounts hold on nodes, and who waits for them. A mount's locks hang on its session, which lives as long as it is renewed.
 *
 * They survive the gateway, not a power cut (no fsync): after a boot every session has one more time-to-live. Times are of the system's
 * monotonic clock, which all processes of a host share and nobody sets.
 */
import { randomUUID } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { excludes, type LockedRange, type LockKind, type LockType, type Range, withRange } from '../vospace/lock.ts'
import { type Database, type Row } from './database.ts'
import { bootId, mayLive, thisProcess } from './holder.ts'

export const LEASES_1 = `
  CREATE TABLE lease_sessions (session TEXT PRIMARY KEY, user TEXT NOT NULL, boot TEXT NOT NULL, ttl INTEGER NOT NULL,
    expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX lease_sessions_expires ON lease_sessions (expires);
  CREATE INDEX lease_sessions_user ON lease_sessions (user);
  CREATE TABLE leases (node TEXT NOT NULL, kind TEXT NOT NULL, session TEXT NOT NULL REFERENCES lease_sessions ON DELETE CASCADE,
    owner TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, type TEXT NOT NULL, pid INTEGER NOT NULL,
    PRIMARY KEY (node, kind, session, owner, first)) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_session ON leases (session, owner);
  CREATE TABLE lease_waits (place INTEGER PRIMARY KEY AUTOINCREMENT, ticket TEXT NOT NULL, node TEXT NOT NULL,
    kind TEXT NOT NULL, session TEXT NOT NULL REFERENCES lease_sessions ON DELETE CASCADE, owner TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, type TEXT NOT NULL, pid INTEGER NOT NULL, holder TEXT NOT NULL,
    UNIQUE (session, ticket)) STRICT;
  CREATE INDEX lease_waits_node ON lease_waits (node, kind);
  CREATE INDEX lease_waits_owner ON lease_waits (session, owner);
  CREATE TABLE lease_turns (turn INTEGER NOT NULL) STRICT;
  INSERT INTO lease_turns VALUES (0);
`

/** `scope`: the partition whose credential opened the session; empty: its user's own. */
export const LEASES_2 = `ALTER TABLE lease_sessions ADD COLUMN scope TEXT NOT NULL DEFAULT ''`

/** Whose a lock is: an owner (a process, an open file) of one mount. */
export interface Owner {
  readonly session: string
  readonly owner: string
}

export interface LockPlace extends Owner {
  /** the node's id: locks follow renames */
  readonly node: string
  readonly kind: LockKind
}

export interface Lock extends LockPlace, LockedRange {}

export interface LeaseLimits {
  /** of one user, each */
  readonly sessions: number
  readonly locks: number
  readonly waits: number
}

export const LEASE_LIMITS: LeaseLimits = { sessions: 512, locks: 16_384, waits: 1024 }

/** `by`: what stands against it. */
export type LockOutcome =
  { readonly state: 'granted' } | { readonly state: 'refused' | 'waiting' | 'deadlock'; readonly by: Lock }

/** Milliseconds of a clock that all processes of the host share. */
const monotonic = (): number => Math.floor(Number(process.hrtime.bigint() / 1_000_000n))

export interface LeaseOptions {
  readonly limits?: Partial<LeaseLimits>
  readonly clock?: () => number
}

export class StoredLeases {
  readonly #database: Database
  readonly #limits: LeaseLimits
  readonly #clock: () => number
  readonly #self = thisProcess()
  readonly #boot = bootId()

  constructor(database: Database, { limits = {}, clock = monotonic }: LeaseOptions = {}) {
    this.#database = database
    this.#limits = { ...LEASE_LIMITS, ...limits }
    this.#clock = clock
    this.#survive()
  }

  /**
   * Nobody could renew while no gateway ran. What is still in the table was given to nobody else, so it may live on; but what nobody
   * has renewed for minutes is not kept alive by gateways that start again and again.
   */
  #survive(): void {
    const now = this.#clock()
    const sql = `UPDATE lease_sessions SET boot = ?1, expires = ?2 + ttl
      WHERE boot <> ?1 OR (expires < ?2 + ttl AND expires > ?2 - 120000)`
    this.#database.run(sql, this.#boot, now)
  }

  /** No gateway that could be asked ran here for so many milliseconds until now: what is still in the table lives on for as long. */
  stalled(milliseconds: number): void {
    this.#database.run('UPDATE lease_sessions SET expires = min(expires + ?, ? + ttl)', milliseconds, this.#clock())
  }

  /** A new session, for `ttl` milliseconds at first. QuotaExceeded (ENOLCK): the user has too many. */
  open(user: string, ttl: number, scope = ''): string {
    const session = randomUUID()
    this.#database.transaction(() => {
      this.#expire()
      const count = this.#database.number('SELECT count(*) FROM lease_sessions WHERE user = ?', user)
      this.#limit(count, this.#limits.sessions, 'sessions with locks')
      const insert = 'INSERT INTO lease_sessions (session, user, boot, ttl, expires, scope) VALUES (?, ?, ?, ?, ?, ?)'
      this.#database.run(insert, session, user, this.#boot, ttl, this.#clock() + ttl, scope)
    })
    return session
  }

  /** NodeNotFound (ENOLCK) for one that was opened by another credential than that of this partition. */
  checkScope(session: string, scope: string): void {
    const sql = 'SELECT count(*) FROM lease_sessions WHERE session = ? AND scope = ?'
    if (this.#database.number(sql, session, scope) === 0) throw over()
  }

  /** Another time-to-live; answers how many locks the session has. NodeNotFound (ENOLCK): it is over, and its locks are gone. */
  renew(user: string, session: string): number {
    const now = this.#clock()
    const sql = 'UPDATE lease_sessions SET expires = ?1 + ttl WHERE session = ?2 AND user = ?3 AND expires >= ?1'
    if (this.#database.run(sql, now, session, user) === 0) throw over()
    return this.#database.number('SELECT count(*) FROM leases WHERE session = ?', session)
  }

  /** NodeNotFound (ENOLCK) unless the session is this user's and goes on. */
  check(user: string, session: string): void {
    const sql = 'SELECT count(*) FROM lease_sessions WHERE session = ? AND user = ? AND expires >= ?'
    if (this.#database.number(sql, session, user, this.#clock()) === 0) throw over()
  }

  /** All its locks and waits go, and itself; with a `scope` only where it is of that. */
  end(user: string, session: string, scope: string | null = null): void {
    const sql = 'DELETE FROM lease_sessions WHERE session = ?1 AND user = ?2 AND (?3 IS NULL OR scope = ?3)'
    this.#freeing(() => this.#database.run(sql, session, user, scope))
  }

  /**
   * Takes a lock, or joins those who wait under `ticket` (asking again keeps the place), or neither. Who came before and is excluded by it
   * goes first, unless that would be a deadlock. NodeNotFound (ENOLCK): the session is over. QuotaExceeded (ENOLCK): too many.
   */
  lock(user: string, lock: Lock, ticket?: string): LockOutcome {
    return this.#database.transaction(() => {
      this.#expire()
      this.check(user, lock.session)
      const place = ticket === undefined ? undefined : this.#placeOf(lock.session, ticket)
      const by = this.#against(lock) ?? this.#before(lock, place)
      if (by !== undefined && ticket === undefined) return { state: 'refused', by }
      if (by !== undefined) return this.#wait(user, lock, by, ticket ?? '', place)
      this.#grant(user, lock)
      if (ticket !== undefined) this.#leave(lock.session, ticket)
      return { state: 'granted' }
    })
  }

  /** What stands against a lock that is not taken: F_GETLK. */
  test(lock: Lock): Lock | undefined {
    return this.#against(lock)
  }

  /** Gives a range back; nothing happens where nothing was held. */
  unlock(user: string, place: LockPlace, range: Range): void {
    this.#freeing(() => {
      this.check(user, place.session)
      const held = this.#held(place)
      if (held.length > 0) this.#replace(place, held, withRange(held, range, undefined))
      return held.length
    })
  }

  /** Gives up waiting. */
  forget(user: string, session: string, ticket: string): void {
    this.#freeing(() => {
      this.check(user, session)
      return this.#leave(session, ticket)
    })
  }

  /** Another number whenever something was given back, here or in another gateway, or a session has run out. */
  turn(): number {
    const due = 'SELECT count(*) FROM lease_sessions WHERE expires < ?'
    if (this.#database.number(due, this.#clock()) > 0) this.#freeing(() => this.#expire())
    return this.#database.number('SELECT turn FROM lease_turns')
  }

  /** Locks held by anybody, as rows. */
  count(): number {
    return this.#database.number('SELECT count(*) FROM leases')
  }

  /** Calls that wait for a lock. */
  waiting(): number {
    return this.#database.number('SELECT count(*) FROM lease_waits')
  }

  #freeing(work: () => number): void {
    this.#database.transaction(() => {
      if (work() > 0) this.#database.run('UPDATE lease_turns SET turn = turn + 1')
    })
  }

  #expire(): number {
    const gone = this.#database.run('DELETE FROM lease_sessions WHERE expires < ?', this.#clock())
    if (gone > 0) this.#database.run('UPDATE lease_turns SET turn = turn + 1')
    return gone
  }

  /** Another owner's lock that excludes it. */
  #against(lock: Lock): Lock | undefined {
    return this.#blockers(lock, 1)[0]
  }

  #blockers({ node, kind, start, end, type, session, owner }: Lock, limit = -1): Lock[] {
    const sql = `SELECT leases.* FROM leases JOIN lease_sessions USING (session)
      WHERE node = ? AND kind = ? AND first <= ? AND last >= ? AND (type = 'write' OR ? = 'write')
      AND NOT (session = ? AND owner = ?) AND expires >= ? ORDER BY first LIMIT ?`
    return this.#database.all(sql, node, kind, end, start, type, session, owner, this.#clock(), limit).map(toLock)
  }

  /** One who waits since before, whom it would overtake; unless they wait for this very owner. */
  #before(lock: Lock, place: number | undefined): Lock | undefined {
    const sql = `SELECT * FROM lease_waits WHERE node = ? AND kind = ? AND place < ? ORDER BY place`
    for (const row of this.#database.all(sql, lock.node, lock.kind, place ?? Number.MAX_SAFE_INTEGER)) {
      const first = toLock(row)
      if (sameOwner(first, lock) || !excludes(first, lock)) continue
      if (mayLive(String(row['holder']), this.#self, 0, Infinity) && !this.#waitsFor(first, lock)) return first
    }
    return undefined
  }

  #wait(user: string, lock: Lock, by: Lock, ticket: string, place: number | undefined): LockOutcome {
    if (lock.kind === 'posix' && this.#blockers(lock).some((one) => this.#waitsFor(one, lock))) {
      this.#leave(lock.session, ticket)
      return { state: 'deadlock', by }
    }
    if (place !== undefined) {
      this.#database.run('UPDATE lease_waits SET holder = ? WHERE place = ?', this.#self, place)
      return { state: 'waiting', by }
    }
    const count = `SELECT count(*) FROM lease_waits JOIN lease_sessions USING (session) WHERE user = ?`
    this.#limit(this.#database.number(count, user), this.#limits.waits, 'waits for locks')
    const insert = `INSERT INTO lease_waits (ticket, node, kind, session, owner, first, last, type, pid, holder)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
    const { node, kind, session, owner, start, end, type, pid } = lock
    this.#database.run(insert, ticket, node, kind, session, owner, start, end, type, pid, this.#self)
    return { state: 'waiting', by }
  }

  /** Whether an owner waits, through however many others, for what another holds: fcntl(2), EDEADLK. */
  #waitsFor(from: Owner, to: Owner): boolean {
    const seen = new Set<string>()
    const open: Owner[] = [from]
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (sameOwner(at, to)) return true
      const key = `${at.session} ${at.owner}`
      if (seen.has(key)) continue
      seen.add(key)
      open.push(...this.#awaited(at))
    }
    return false
  }

  #awaited({ session, owner }: Owner): Owner[] {
    const sql = `SELECT DISTINCT leases.session, leases.owner FROM lease_waits AS w JOIN leases
      ON leases.node = w.node AND leases.kind = w.kind AND leases.first <= w.last AND leases.last >= w.first
      WHERE w.session = ?1 AND w.owner = ?2 AND (leases.type = 'write' OR w.type = 'write')
      AND NOT (leases.session = ?1 AND leases.owner = ?2)`
    const rows = this.#database.all(sql, session, owner)
    return rows.map((row) => ({ session: String(row['session']), owner: String(row['owner']) }))
  }

  #grant(user: string, lock: Lock): void {
    const count = 'SELECT count(*) FROM leases JOIN lease_sessions USING (session) WHERE user = ?'
    const held = this.#held(lock)
    const after = withRange(held, lock, lock)
    if (after.length > held.length) this.#limit(this.#database.number(count, user), this.#limits.locks, 'locks')
    this.#replace(lock, held, after)
    // a write lock that becomes one for reading lets others in
    if (lock.type === 'read' && held.some(({ type }) => type === 'write')) {
      this.#database.run('UPDATE lease_turns SET turn = turn + 1')
    }
  }

  #held({ node, kind, session, owner }: LockPlace): LockedRange[] {
    const sql = 'SELECT * FROM leases WHERE node = ? AND kind = ? AND session = ? AND owner = ? ORDER BY first'
    return this.#database.all(sql, node, kind, session, owner).map(toLock)
  }

  #replace(
    { node, kind, session, owner }: LockPlace,
    before: readonly LockedRange[],
    after: readonly LockedRange[],
  ): void {
    const same = (a: LockedRange, b: LockedRange): boolean =>
      a.start === b.start && a.end === b.end && a.type === b.type && a.pid === b.pid
    const remove = 'DELETE FROM leases WHERE node = ? AND kind = ? AND session = ? AND owner = ? AND first = ?'
    const insert =
      'INSERT INTO leases (node, kind, session, owner, first, last, type, pid) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
    for (const old of before) {
      if (!after.some((now) => same(now, old))) this.#database.run(remove, node, kind, session, owner, old.start)
    }
    for (const now of after) {
      if (before.some((old) => same(now, old))) continue
      this.#database.run(insert, node, kind, session, owner, now.start, now.end, now.type, now.pid)
    }
  }

  #placeOf(session: string, ticket: string): number | undefined {
    const row = this.#database.get('SELECT place FROM lease_waits WHERE session = ? AND ticket = ?', session, ticket)
    return row === undefined ? undefined : Number(row['place'])
  }

  #leave(session: string, ticket: string): number {
    return this.#database.run('DELETE FROM lease_waits WHERE session = ? AND ticket = ?', session, ticket)
  }

  #limit(count: number, most: number, what: string): void {
    if (count < most) return
    throw new Fault('QuotaExceeded', `${most} ${what} are all that one user may have`, { errno: 'ENOLCK' })
  }
}

const over = (): Fault => new Fault('NodeNotFound', 'the session is over, and its locks are gone', { errno: 'ENOLCK' })

const sameOwner = (a: Owner, b: Owner): boolean => a.session === b.session && a.owner === b.owner

function toLock(row: Row): Lock {
  return {
    node: String(row['node']),
    kind: row['kind'] as LockKind,
    session: String(row['session']),
    owner: String(row['owner']),
    start: Number(row['first']),
    end: Number(row['last']),
    type: row['type'] as LockType,
    pid: Number(row['pid']),
  }
}
