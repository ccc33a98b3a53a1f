/** Names and numbers in memory, for backends that keep numbers: synchronous, read again only when somebody was added or is gone. */
import { isFault } from '../vospace/fault.ts'
import { type Database } from './database.ts'
import { type Groups } from './groups.ts'
import { type MappedNumbers } from './mapped-numbers.ts'
import { identitiesVersion, type Ids } from './numbers.ts'
import { type Users } from './users.ts'

export interface Numbered {
  readonly users: Users
  readonly groups: Groups
  readonly mapped: MappedNumbers
  /** Whether a group that is none of ours is kept by another service that is believed, so that it may have a number here. */
  readonly isForeign: (groupUri: string) => boolean
}

/**
 * Owners nobody knows are `uid:N`: those who were deleted among them, so that nobody who gets their name gets their files. What another service
 * (MappedNumbers) says counts where nothing is known here.
 */
export class StoredIds implements Ids {
  readonly #database: Database
  readonly #numbered: Numbered
  #uids = new Map<string, number>()
  #owners = new Map<number, string>()
  #gids = new Map<string, number>()
  #groupUris = new Map<number, string>()
  #former: ReadonlySet<string> = new Set()
  readonly #mapped = { user: twoWays(), group: twoWays() }
  #seen = -1
  /** id of the last mapping read */
  #learned = 0
  /** the store's version when it was last looked */
  #looked = -1

  constructor(database: Database, numbered: Numbered) {
    this.#database = database
    this.#numbered = numbered
  }

  get version(): number {
    this.#refresh()
    // both only grow
    return this.#seen + this.#learned
  }

  uidOf(owner: string): number | undefined {
    return this.uidOfUser(owner) ?? unmapped(owner)
  }

  ownerOf(uid: number): string {
    const name = this.userOf(uid)
    if (name === undefined) this.#numbered.mapped.want({ kind: 'user', number: uid })
    return name ?? `uid:${uid}`
  }

  gidOfUser(owner: string): number | undefined {
    return this.uidOfUser(owner)
  }

  gidOf(groupUri: string): number | undefined {
    const known = this.gidOfGroup(groupUri) ?? unmapped(groupUri)
    return known ?? (this.#numbered.isForeign(groupUri) ? this.#foreign(groupUri) : undefined)
  }

  groupOf(gid: number): string | undefined {
    const uri = this.groupNumbered(gid)
    if (uri === undefined && this.userOf(gid) === undefined) this.#numbered.mapped.want({ kind: 'group', number: gid })
    return uri
  }

  /** Nobody else is asked, and nothing is given, by this and the next ones. */
  uidOfUser(name: string): number | undefined {
    this.#refresh()
    return this.#uids.get(name) ?? (this.#former.has(name) ? undefined : this.#mapped.user.numbers.get(name))
  }

  userOf(uid: number): string | undefined {
    this.#refresh()
    return this.#owners.get(uid) ?? this.#mappedUser(uid)
  }

  gidOfGroup(uri: string): number | undefined {
    this.#refresh()
    return this.#gids.get(uri) ?? this.#mapped.group.numbers.get(uri)
  }

  groupNumbered(gid: number): string | undefined {
    this.#refresh()
    return this.#groupUris.get(gid) ?? this.#mappedGroup(gid)
  }

  /** Everybody with their number. */
  *allUsers(): Generator<readonly [name: string, uid: number]> {
    this.#refresh()
    yield* this.#uids
    for (const [name, uid] of this.#mapped.user.numbers) if (this.#mappedUser(uid) !== undefined) yield [name, uid]
  }

  /** Every group that has a number, those that were among them: files carry it. */
  *allGroups(): Generator<readonly [uri: string, gid: number]> {
    this.#refresh()
    yield* this.#gids
    for (const [uri, gid] of this.#mapped.group.numbers) if (this.#mappedGroup(gid) !== undefined) yield [uri, gid]
  }

  // Somebody of that name who has another number here is somebody else.
  #mappedUser(uid: number): string | undefined {
    const name = this.#mapped.user.names.get(uid)
    return name === undefined || this.#uids.has(name) || this.#former.has(name) ? undefined : name
  }

  #mappedGroup(gid: number): string | undefined {
    const uri = this.#mapped.group.names.get(gid)
    return uri === undefined || this.#gids.has(uri) ? undefined : uri
  }

  // Whose number is still being asked for has none yet: the node keeps its name in another way until then.
  #foreign(uri: string): number | undefined {
    try {
      return this.#numbered.groups.numberForeign(uri)
    } catch (error) {
      if (isFault(error, 'ServiceBusy') && this.#numbered.mapped.isConnected) return undefined
      throw error
    }
  }

  #refresh(): void {
    const { version } = this.#database
    if (version === this.#looked) return
    this.#looked = version
    this.#read()
    this.#learn()
  }

  #read(): void {
    const now = identitiesVersion(this.#database)
    if (now === this.#seen) return
    const users = this.#numbered.users.list()
    const groups = this.#numbered.groups.numbered()
    this.#uids = new Map(users.map(({ name, uid }) => [name, uid]))
    this.#owners = new Map(users.map(({ name, uid }) => [uid, name]))
    this.#gids = new Map(groups.map(({ uri, gid }) => [uri, gid]))
    this.#groupUris = new Map(groups.map(({ uri, gid }) => [gid, uri]))
    this.#former = new Set(this.#numbered.users.formerNames())
    this.#seen = now
  }

  // Of these there are many, and none ever changes: only the new ones are read.
  #learn(): void {
    if (this.#numbered.mapped.last === this.#learned) return
    for (const { id, kind, name, number } of this.#numbered.mapped.after(this.#learned)) {
      this.#mapped[kind].numbers.set(name, number)
      this.#mapped[kind].names.set(number, name)
      this.#learned = id
    }
  }
}

const twoWays = () => ({ numbers: new Map<string, number>(), names: new Map<number, string>() })

// So that the owner of a file from outside can be written back as it was read.
function unmapped(name: string): number | undefined {
  const match = /^[ug]id:(\d{1,10})$/.exec(name)
  return match === null ? undefined : Number(match[1])
}
