/**
 * Who may see and change groups. Owner, administrators and members of a group see who is in it; others, who must have been told its name, see
 * that it is there. Administrators of a group let in and out, the owner also says who administers it and ends it. A site administrator may
 * what an owner may. Limited proxies change nothing (RFC 3820; auth.md B2).
 */
import { type Group, type GroupChanges, type Groups, type Roll } from '../store/groups.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { canonicalGroup, groupName, type GroupServices, isGroupName, isKeptElsewhere } from '../vospace/group.ts'
import { type Audit } from './audit.ts'

export type Role = 'owner' | 'admin' | 'member'

/** A group as one caller sees it. */
export interface GroupView {
  readonly uri: string
  /** as in the URLs of the groups here: without the service when it is ours */
  readonly name: string
  /** The caller's; none: the rest is not for them. */
  readonly role?: Role
  readonly group?: Group
  readonly roll?: Roll
}

export interface GroupRulesOptions {
  readonly store: Groups
  readonly services: GroupServices
  readonly audit?: Audit
  readonly now?: () => number
}

/** Characters of a description. */
const LONGEST_DESCRIPTION = 1000
/** Groups of one owner: whoever makes more wants all good names. */
const MOST_OWNED = 1000
/** Of those, that others may have given them: nobody is asked whether they want one, and must be able to make their own all the same. */
const MOST_GIVEN = 500
/** Groups in the groups of one owner, together: to know in which groups somebody is takes time for each, and others wait meanwhile. */
const MOST_NESTED = 2000

export class GroupRules {
  readonly #store: Groups
  readonly #audit: Audit | undefined
  readonly #now: () => number
  readonly services: GroupServices

  constructor({ store, services, audit, now = Date.now }: GroupRulesOptions) {
    this.#store = store
    this.services = services
    this.#audit = audit
    this.#now = now
  }

  /**
   * The URI by which a group asked for is known here. `name`: of ours, or a whole URI. InvalidArgument for what is neither.
   */
  uriOf(name: string): string {
    const { own } = this.services
    const uri = isGroupName(name) ? `${own}?${name}` : this.#known(name)
    if (uri !== undefined) return uri
    throw new Fault('InvalidArgument', `not the name of a group here: ${JSON.stringify(name.slice(0, 300))}`)
  }

  // also one with the name of another service that this site keeps itself
  #known(uri: string): string | undefined {
    return this.#store.byUri(uri)?.uri ?? canonicalGroup(uri, this.services)
  }

  /**
   * The URI under which a group can be shared with. InvalidArgument when there is none: a name that is free could be taken by anybody, and of
   * other services only those that the site lists are ever asked.
   */
  shareable(uri: string): string {
    const known = this.#known(uri)
    if (known !== undefined && (this.#store.byUri(known) !== undefined || isKeptElsewhere(known, this.services)))
      return known
    const detail =
      known === undefined
        ? `nobody is known here who keeps the group ${uri}; groups of this site are ${this.services.own}?NAME`
        : `there is no group ${known}`
    throw new Fault('InvalidArgument', detail)
  }

  /** Those the caller is in, owns or administers; `all`: every group here, for site administrators. NotAuthenticated, PermissionDenied. */
  list(caller: Caller, all = false): GroupView[] {
    const user = named(caller)
    if (all && !caller.admin) throw new Fault('PermissionDenied', 'all groups are listed for administrators only')
    const groups = all ? this.#store.list() : this.#around(user, caller)
    return groups.map((group) => this.#view(caller, group))
  }

  #around(user: string, caller: Caller): Group[] {
    const found = new Map(this.#store.managedBy(user).map((group) => [group.uri, group]))
    for (const uri of caller.groups) {
      const group = found.has(uri) ? undefined : this.#store.byUri(uri)
      if (group !== undefined) found.set(uri, group)
    }
    return [...found.values()].sort((a, b) => (a.uri < b.uri ? -1 : 1))
  }

  /** NotAuthenticated, NodeNotFound. */
  show(caller: Caller, name: string): GroupView {
    named(caller)
    const group = this.#existing(name)
    const view = this.#view(caller, group)
    return view.group === undefined ? view : { ...view, roll: this.#store.roll(group.uri) }
  }

  /** The caller owns it; a site administrator may make it another's. DuplicateNode, InvalidArgument, QuotaExceeded. */
  create(caller: Caller, name: string, { owner, ...about }: GroupChanges = {}): GroupView {
    const user = named(caller)
    return this.#noted(caller, 'group.create', this.uriOf(name), { ...(owner !== undefined && { owner }) }, (uri) => {
      if (groupName(uri)?.service !== this.services.own) {
        throw new Fault('InvalidArgument', `groups made here are ${this.services.own}?NAME`)
      }
      if (owner !== undefined && owner !== user && !caller.admin) {
        throw new Fault('PermissionDenied', 'only an administrator makes groups for others')
      }
      if (!caller.admin && this.#store.countOwned(user) >= MOST_OWNED) {
        throw new Fault('QuotaExceeded', `${user} owns ${MOST_OWNED} groups already`)
      }
      this.#check(about)
      return this.#view(caller, this.#store.create(uri, { ...about, owner: owner ?? user }))
    })
  }

  /** The owner gives it away, administrators describe it and say when it ends. QuotaExceeded: to one who has many. */
  amend(caller: Caller, name: string, changes: GroupChanges): GroupView {
    const detail = { fields: Object.keys(changes).join(' '), ...(changes.owner && { owner: changes.owner }) }
    return this.#change(
      caller,
      'group.change',
      name,
      detail,
      changes.owner === undefined ? 'admin' : 'owner',
      (uri) => {
        this.#check(changes)
        this.#checkHeir(caller, uri, changes)
        return this.#view(caller, this.#store.amend(uri, changes))
      },
    )
  }

  delete(caller: Caller, name: string): void {
    this.#change(caller, 'group.delete', name, {}, 'owner', (uri) => this.#store.delete(uri))
  }

  /** `expires`: milliseconds since 1970; without: for good. */
  add(caller: Caller, name: string, user: string, expires?: number): void {
    this.#change(caller, 'group.add', name, { user, ...ending(expires) }, 'admin', (uri) => {
      this.#check({ ...(expires !== undefined && { expires }) })
      this.#store.add(uri, user, expires)
    })
  }

  /** A member may leave by themselves. NodeNotFound: they are not in it by name. */
  remove(caller: Caller, name: string, user: string): void {
    this.#change(caller, 'group.remove', name, { user }, caller.user === user ? 'self' : 'admin', (uri) => {
      if (!this.#store.remove(uri, user)) throw new Fault('NodeNotFound', `${user} is no member of ${uri} by name`)
    })
  }

  addAdmin(caller: Caller, name: string, user: string): void {
    this.#change(caller, 'group.admin', name, { user }, 'owner', (uri) => this.#store.addAdmin(uri, user))
  }

  /** An administrator may give it up by themselves. NodeNotFound: they are none. */
  removeAdmin(caller: Caller, name: string, user: string): void {
    this.#change(caller, 'group.unadmin', name, { user }, caller.user === user ? 'self' : 'owner', (uri) => {
      if (!this.#store.removeAdmin(uri, user)) throw new Fault('NodeNotFound', `${user} is no administrator of ${uri}`)
    })
  }

  /** Who is in the group `inner` is in this one, for as long as it lasts. QuotaExceeded: its owner's groups have many in them already. */
  nest(caller: Caller, name: string, inner: string, expires?: number): void {
    const group = this.uriOf(inner)
    this.#change(caller, 'group.nest', name, { group, ...ending(expires) }, 'admin', (uri) => {
      this.#check({ ...(expires !== undefined && { expires }) })
      this.#checkNested(caller, this.#existing(uri).owner, 1)
      this.#store.nest(uri, this.#existing(group).uri, expires)
    })
  }

  /** NodeNotFound: it is not in it. */
  unnest(caller: Caller, name: string, inner: string): void {
    const group = this.uriOf(inner)
    this.#change(caller, 'group.unnest', name, { group }, 'admin', (uri) => {
      if (!this.#store.unnest(uri, group)) throw new Fault('NodeNotFound', `${group} is not in ${uri}`)
    })
  }

  /** Names of our own groups the caller is in, of those asked for when any are (GMS 1.0). NotAuthenticated. */
  search(caller: Caller, asked: readonly string[]): string[] {
    named(caller)
    const names = [...caller.groups].flatMap((uri) => {
      const parts = groupName(uri)
      return parts?.service === this.services.own ? [parts.name] : []
    })
    return names.filter((name) => asked.length === 0 || asked.includes(name)).sort()
  }

  #change<T>(
    caller: Caller,
    act: string,
    name: string,
    detail: Detail,
    needed: 'owner' | 'admin' | 'self',
    work: (uri: string) => T,
  ): T {
    named(caller)
    return this.#noted(caller, act, this.uriOf(name), detail, (uri) => {
      const role = this.#role(caller, this.#existing(uri))
      const may = caller.admin || role === 'owner' || needed === 'self' || (needed === 'admin' && role === 'admin')
      if (may) return work(uri)
      const who = needed === 'owner' ? 'its owner' : 'its owner and administrators'
      throw new Fault('PermissionDenied', `${uri} is changed so by ${who} only`)
    })
  }

  #noted<T>(caller: Caller, act: string, on: string, detail: Detail, work: (uri: string) => T): T {
    const event = { act, by: caller.user ?? null, on, detail }
    try {
      if (caller.limited === true) throw new Fault('PermissionDenied', 'a limited proxy changes no groups')
      const done = work(on)
      this.#audit?.note({ ...event, result: 'allowed' })
      return done
    } catch (error) {
      if (isFault(error)) this.#audit?.note({ ...event, result: 'refused', detail: { ...detail, fault: error.fault } })
      throw error
    }
  }

  #existing(name: string): Group {
    const uri = this.uriOf(name)
    const group = this.#store.byUri(uri)
    if (group === undefined) throw new Fault('NodeNotFound', `there is no group ${uri}`)
    return group
  }

  #role({ user, groups }: Caller, group: Group): Role | undefined {
    if (user === undefined) return undefined
    if (group.owner === user) return 'owner'
    if (this.#store.isAdmin(group.uri, user)) return 'admin'
    return groups.has(group.uri) ? 'member' : undefined
  }

  #view(caller: Caller, group: Group): GroupView {
    const { uri } = group
    const parts = groupName(uri)
    const role = this.#role(caller, group)
    const name = parts?.service === this.services.own ? parts.name : uri
    if (role === undefined && !caller.admin) return { uri, name }
    return { uri, name, group, ...(role !== undefined && { role }) }
  }

  #checkHeir(caller: Caller, uri: string, { owner }: GroupChanges): void {
    if (owner === undefined || caller.admin || this.#store.byUri(uri)?.owner === owner) return
    this.#checkNested(caller, owner, this.#store.roll(uri).groups.length)
    if (this.#store.countOwned(owner) < MOST_GIVEN) return
    throw new Fault(
      'QuotaExceeded',
      `${owner} owns ${MOST_GIVEN} groups or more: an administrator may give them others`,
    )
  }

  #checkNested(caller: Caller, owner: string, more: number): void {
    if (caller.admin || this.#store.countNested(owner) + more <= MOST_NESTED) return
    throw new Fault('QuotaExceeded', `there are ${MOST_NESTED} groups in the groups of ${owner} at most`)
  }

  #check({ description, expires }: GroupChanges): void {
    if (typeof description === 'string' && (description.length > LONGEST_DESCRIPTION || /\p{Cc}/u.test(description))) {
      throw new Fault('InvalidArgument', `a description is one line of ${LONGEST_DESCRIPTION} characters at most`)
    }
    if (typeof expires === 'number' && expires <= this.#now()) {
      throw new Fault('InvalidArgument', `${new Date(expires).toISOString()} is past; to end a membership, remove it`)
    }
  }
}

type Detail = Readonly<Record<string, string | null>>

const ending = (expires: number | undefined): Detail =>
  expires === undefined ? {} : { expires: new Date(expires).toISOString() }

function named({ user }: Caller): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'groups are shown to users only')
  return user
}
