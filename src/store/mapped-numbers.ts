/**
 * Numbers that another service, a POSIX mapper, has given to users and groups. Files carry them: so what was learned first stays, whatever that
 * service says later, and nothing here is given a number that it has given to others.
 */
import { Fault } from '../vospace/fault.ts'
import { isGroupUri } from '../vospace/property.ts'
import { type Database } from './database.ts'
import { LAST_ID } from './numbers.ts'

export type MappedKind = 'user' | 'group'

/** `name`: of a user, or the URI of a group. */
export interface Mapping {
  readonly kind: MappedKind
  readonly name: string
  readonly number: number
}

export interface RefusedMapping extends Mapping {
  readonly why: string
}

export type NumberQuestion =
  { readonly kind: MappedKind; readonly name: string } | { readonly kind: MappedKind; readonly number: number }

/** The service, as far as the store knows it. */
export interface NumberService {
  /** Asks in its own time, and has learned what comes of it. */
  want(question: NumberQuestion): void
  /** Whether it has said lately that it knows no such name. */
  isUnknown(kind: MappedKind, name: string): boolean
}

export const MAPPED_NUMBERS_1 = `
  CREATE TABLE mapped_numbers (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL UNIQUE,
    UNIQUE (kind, name)) STRICT;
`

/** Those below are the system's, and 65534 and 65535 nobody's. */
const FIRST_OF_PEOPLE = 1000
const NOBODIES: readonly number[] = [65_534, 65_535]
/** Where numbers given here begin while another service gives them: those of its own are well below. */
export const FIRST_BESIDE = 2_000_000_000

/** As many as are kept; an answer beyond is no map of any site. */
const MOST = 500_000

const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/

export class MappedNumbers {
  readonly #database: Database
  readonly #most: number
  #service: NumberService | undefined

  constructor(database: Database, { most = MOST }: { readonly most?: number } = {}) {
    this.#database = database
    this.#most = most
  }

  /** From now on numbers are the service's to give. Without one what was learned before still holds. */
  connect(service: NumberService): void {
    this.#service = service
  }

  get isConnected(): boolean {
    return this.#service !== undefined
  }

  /** Asks for what is not known, if there is anybody to ask. */
  want(question: NumberQuestion): void {
    if ('number' in question && whyNot(question.number) !== undefined) return
    this.#service?.want(question)
  }

  get count(): number {
    return this.#database.number('SELECT count(*) FROM mapped_numbers')
  }

  /** Those learned after the one of that id, oldest first; none is ever changed. */
  after(id: number): (Mapping & { readonly id: number })[] {
    const rows = this.#database.all('SELECT * FROM mapped_numbers WHERE id > ? ORDER BY id', id)
    return rows.map((row) => ({
      id: Number(row['id']),
      kind: row['kind'] as MappedKind,
      name: String(row['name']),
      number: Number(row['number']),
    }))
  }

  get last(): number {
    return this.#database.number('SELECT max(id) FROM mapped_numbers')
  }

  numberOf(kind: MappedKind, name: string): number | undefined {
    const row = this.#database.get('SELECT number FROM mapped_numbers WHERE kind = ? AND name = ?', kind, name)
    return row === undefined ? undefined : Number(row['number'])
  }

  /**
   * The number that a user or group to be made gets of the service; undefined when there is no service, or (groups) it knows none: then one is
   * given here. ServiceBusy: it is being asked. PreconditionFailed: it knows no such user, and files of theirs must have its number.
   */
  allot(kind: MappedKind, name: string): number | undefined {
    const number = this.numberOf(kind, name)
    if (number !== undefined || this.#service === undefined) return number
    if (!this.#service.isUnknown(kind, name)) {
      this.#service.want({ kind, name })
      throw new Fault('ServiceBusy', `the POSIX mapper is being asked for the number of ${name}: try again`)
    }
    if (kind === 'group') return undefined
    throw new Fault(
      'PreconditionFailed',
      `the POSIX mapper knows no user ${name}: make them known there, or say the uid`,
    )
  }

  /** The lowest number that may be given here; undefined: as ever. */
  get first(): number | undefined {
    return this.#service === undefined ? undefined : FIRST_BESIDE
  }

  /** Keeps what is new and fits; answers what does not, with the reason. All in one go. */
  learn(mappings: readonly Mapping[]): RefusedMapping[] {
    return this.#database.transaction(() => {
      let count = this.count
      return mappings.flatMap((mapping) => {
        const kept = this.#keep(mapping, count)
        if (kept === true) count++
        return typeof kept === 'string' ? [{ ...mapping, why: kept }] : []
      })
    })
  }

  // True: new. False: known so already. Else why not.
  #keep({ kind, name, number }: Mapping, count: number): boolean | string {
    const isName = kind === 'user' ? USER_NAME.test(name) : isGroupUri(name)
    if (!isName) return kind === 'user' ? 'no name of a user' : 'no group URI'
    const unfit = whyNot(number)
    if (unfit !== undefined) return unfit
    const held = this.#heldBy(kind, name)
    if (held !== undefined) return held === number ? false : `it has the number ${held} already, which files carry`
    const other = this.#holderOf(number)
    if (other !== undefined) return `the number is ${other}'s already`
    if (count >= this.#most) return `there are ${this.#most} already`
    this.#database.run('INSERT INTO mapped_numbers (kind, name, number) VALUES (?, ?, ?)', kind, name, number)
    return true
  }

  #heldBy(kind: MappedKind, name: string): number | undefined {
    const own =
      kind === 'user'
        ? 'SELECT uid AS number FROM users WHERE name = ?1'
        : 'SELECT gid AS number FROM groups WHERE uri = ?1 UNION ALL SELECT gid FROM group_numbers WHERE uri = ?1'
    const row = this.#database.get(own, name)
    return row === undefined ? this.numberOf(kind, name) : Number(row['number'])
  }

  #holderOf(number: number): string | undefined {
    const sql = `SELECT name FROM mapped_numbers WHERE number = ?1 UNION ALL SELECT name FROM users WHERE uid = ?1
      UNION ALL SELECT uri FROM groups WHERE gid = ?1 UNION ALL SELECT uri FROM group_numbers WHERE gid = ?1
      UNION ALL SELECT name FROM former_users WHERE uid = ?1`
    const row = this.#database.get(sql, number)
    return row === undefined ? undefined : String(row['name'])
  }
}

function whyNot(number: number): string | undefined {
  if (!Number.isInteger(number) || number < 0 || number >= LAST_ID) return 'no number that a system takes'
  if (number < FIRST_OF_PEOPLE) return `numbers below ${FIRST_OF_PEOPLE} are the system's`
  return NOBODIES.includes(number) ? "the number is nobody's" : undefined
}
