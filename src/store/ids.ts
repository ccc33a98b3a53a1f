/** Names and numbers in memory, for backends that keep numbers: synchronous, read again only when somebody was added or is gone. */
import { type Database } from './database.ts'
import { type Groups } from './groups.ts'
import { identitiesVersion, type Ids } from './numbers.ts'
import { type Users } from './users.ts'

/** Owners nobody knows are `uid:N`: those who were deleted among them, so that nobody who gets their name gets their files. */
export class StoredIds implements Ids {
  readonly #database: Database
  readonly #users: Users
  readonly #groups: Groups
  readonly #isForeign: (groupUri: string) => boolean
  #uids = new Map<string, number>()
  #owners = new Map<number, string>()
  #gids = new Map<string, number>()
  #groupUris = new Map<number, string>()
  #seen = -1
  /** the store's version when it was last looked */
  #looked = -1

  /** `isForeign`: whether a group that is none of ours is kept by another service that is believed, so that it may have a number here. */
  constructor(database: Database, users: Users, groups: Groups, isForeign: (groupUri: string) => boolean) {
    this.#database = database
    this.#users = users
    this.#groups = groups
    this.#isForeign = isForeign
  }

  get version(): number {
    this.#refresh()
    return this.#seen
  }

  uidOf(owner: string): number | undefined {
    return this.#find(() => this.#uids.get(owner)) ?? unmapped(owner)
  }

  ownerOf(uid: number): string {
    return this.#find(() => this.#owners.get(uid)) ?? `uid:${uid}`
  }

  gidOfUser(owner: string): number | undefined {
    return this.#find(() => this.#uids.get(owner))
  }

  gidOf(groupUri: string): number | undefined {
    const known = this.#find(() => this.#gids.get(groupUri)) ?? unmapped(groupUri)
    return known ?? (this.#isForeign(groupUri) ? this.#groups.numberForeign(groupUri) : undefined)
  }

  groupOf(gid: number): string | undefined {
    return this.#find(() => this.#groupUris.get(gid))
  }

  #find<T>(look: () => T | undefined): T | undefined {
    this.#refresh()
    return look()
  }

  #refresh(): void {
    const { version } = this.#database
    if (version === this.#looked) return
    this.#looked = version
    this.#read()
  }

  #read(): void {
    const now = identitiesVersion(this.#database)
    if (now === this.#seen) return
    const users = this.#users.list()
    const groups = this.#groups.numbered()
    this.#uids = new Map(users.map(({ name, uid }) => [name, uid]))
    this.#owners = new Map(users.map(({ name, uid }) => [uid, name]))
    this.#gids = new Map(groups.map(({ uri, gid }) => [uri, gid]))
    this.#groupUris = new Map(groups.map(({ uri, gid }) => [gid, uri]))
    this.#seen = now
  }
}

// So that the owner of a file from outside can be written back as it was read.
function unmapped(name: string): number | undefined {
  const match = /^[ug]id:(\d{1,10})$/.exec(name)
  return match === null ? undefined : Number(match[1])
}
