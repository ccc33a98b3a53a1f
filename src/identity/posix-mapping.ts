// Names and numbers as sessions and other services ask for them (the posix-mapper contract). Whoever is somebody may read them, as anybody on a
// system reads /etc/passwd and /etc/group; only what is the caller's own is ever given a number by asking.
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { canonicalGroup, type GroupServices, isKeptElsewhere } from '../vospace/group.ts'

/** By user: `#user-mapping-0.1`; by group: `#group-mapping-0.1`. */
export const POSIX_USERS = 'http://www.opencadc.org/std/posix#user-mapping-0.1'
export const POSIX_GROUPS = 'http://www.opencadc.org/std/posix#group-mapping-0.1'

/** A user's name or a group's URI, and the number. */
export type Numbered = readonly [name: string, number: number]

/** What of the numbers is needed; src/store/ids.ts has it. */
export interface NumberDirectory {
  uidOfUser(name: string): number | undefined
  userOf(uid: number): string | undefined
  gidOfGroup(uri: string): number | undefined
  groupNumbered(gid: number): string | undefined
  /** gives one to a group of another service that is believed */
  gidOf(uri: string): number | undefined
  allUsers(): Iterable<Numbered>
  allGroups(): Iterable<Numbered>
}

/** Nothing of it: everybody. */
export interface NumbersAsked {
  readonly names: readonly string[]
  readonly numbers: readonly number[]
  /** what is the caller's own: their name, the groups they are in */
  readonly own: boolean
}

export class PosixMapping {
  readonly #ids: NumberDirectory
  readonly #services: GroupServices

  constructor(ids: NumberDirectory, services: GroupServices) {
    this.#ids = ids
    this.#services = services
  }

  /** Those there are of those asked for, each once. NotAuthenticated; NodeNotFound when there is none of them. */
  users(caller: Caller, { names, numbers, own }: NumbersAsked): Iterable<Numbered> {
    const user = named(caller)
    if (names.length + numbers.length === 0 && !own) return this.#ids.allUsers()
    const asked = [...names, ...numbers.flatMap((uid) => this.#ids.userOf(uid) ?? []), ...(own ? [user] : [])]
    return found([...new Set(asked)].map((name) => [name, this.#ids.uidOfUser(name)]))
  }

  /**
   * As `users`. A group of another service gets a number when the caller is in it; names that any caller makes up never do. An alias is
   * answered under the name that was asked for. NotAuthenticated, NodeNotFound.
   */
  groups(caller: Caller, { names, numbers, own }: NumbersAsked): Iterable<Numbered> {
    named(caller)
    if (names.length + numbers.length === 0 && !own) return this.#ids.allGroups()
    const asked = [...names, ...numbers.flatMap((gid) => this.#ids.groupNumbered(gid) ?? [])]
    const theirs = [...new Set(asked)].map((uri) => [uri, this.#gid(caller, uri)] as const)
    if (!own) return found(theirs)
    // who is in no group has asked for something that is there: nothing
    return numberedOnly([...theirs, ...[...caller.groups].map((uri) => [uri, this.#gid(caller, uri)] as const)])
  }

  #gid({ groups, limited }: Caller, asked: string): number | undefined {
    const uri = canonicalGroup(asked, this.#services) ?? asked
    const gid = this.#ids.gidOfGroup(uri)
    const mayHave = limited !== true && groups.has(uri) && isKeptElsewhere(uri, this.#services)
    return gid ?? (mayHave ? this.#ids.gidOf(uri) : undefined)
  }
}

type Maybe = readonly [name: string, number: number | undefined]

const numberedOnly = (all: readonly Maybe[]): Numbered[] =>
  all.flatMap(([name, number]) => (number === undefined ? [] : [[name, number] as const]))

function found(all: readonly Maybe[]): Numbered[] {
  const numbered = numberedOnly(all)
  if (numbered.length === 0) throw new Fault('NodeNotFound', 'nobody here has such a name or number')
  return numbered
}

function named({ user }: Caller): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'names and numbers are told to users only')
  return user
}
