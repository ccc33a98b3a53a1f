// The life of accounts: who may do what to them, and what holds of them. Every administrative act is told to the audit, refused ones too.
import { type Groups } from '../store/groups.ts'
import { type User, type UserLimits, type Users } from '../store/users.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type NodePath, nodePath } from '../vospace/path.ts'
import { type Audit, type AuditEvent } from './audit.ts'
import { canonicalDn } from './dn.ts'
import { type UserDirectory } from './caller.ts'
import { type Identity } from './proof.ts'
import { isReservedName } from './reserved-users.ts'

/** Where homes are; src/space/home.ts has it. */
export interface Homes {
  state(path: NodePath, user: string): Promise<'theirs' | 'taken' | 'absent'>
  /** Answers what stands there then. */
  make(path: NodePath, user: string, quota?: number): Promise<'theirs' | 'taken' | 'absent'>
  /** OperationNotSupported: the storage keeps no quotas. */
  checkQuota(quota: number | undefined): void
  /** Bytes; undefined: there is none */
  usage(path: NodePath): Promise<{ readonly used: number | null; readonly quota: number | null } | undefined>
}

export interface HomePolicy {
  /** the container that homes are made in */
  readonly parent: NodePath
  /** bytes; undefined: without */
  readonly quota?: number
}

export interface AccountsOptions {
  readonly users: Users
  readonly groups: Pick<Groups, 'of'>
  readonly homes: Homes
  /** Absent: nobody gets a home. */
  readonly home?: HomePolicy
  readonly audit?: Audit
  /** Resolves when it is known whether another service has a number for that name. */
  readonly settled?: (name: string) => Promise<void>
}

export interface AccountDraft {
  readonly name: string
  readonly uid?: number
  readonly admin?: boolean
  readonly identities?: readonly Identity[]
  /** Default: where the site makes homes. */
  readonly home?: boolean
  /** bytes; default that of the site */
  readonly quota?: number
  /** Even though somebody of that name was deleted. */
  readonly reuseName?: boolean
}

/** What of an account is shown. */
export interface Account extends User {
  readonly identities: readonly Identity[]
  /** how many they are a member of */
  readonly groups: number
}

export class Accounts implements UserDirectory {
  readonly #options: AccountsOptions
  readonly #users: Users

  constructor(options: AccountsOptions) {
    this.#options = options
    this.#users = options.users
  }

  get home(): HomePolicy | undefined {
    return this.#options.home
  }

  /** Undefined too for an account whose home is still to be made: it is not in use yet. */
  byIdentity(identity: Identity): User | undefined {
    const user = this.#users.byIdentity(identity)
    return user?.homeDue === true && user.suspended !== true ? undefined : user
  }

  byName(name: string): User | undefined {
    return this.#users.byName(name)
  }

  /** PermissionDenied when the account is suspended or gone, or the name another's by now: for what was handed out before. */
  checkActive(name: string, uid?: number): void {
    const user = this.#users.byName(name)
    if (user === undefined || (uid ?? user.uid) !== user.uid)
      throw new Fault('PermissionDenied', `there is no user ${name}`)
    if (user.suspended === true) throw new Fault('PermissionDenied', `the account ${name} is suspended`)
  }

  /** All for administrators, for others their own. NotAuthenticated. */
  list(caller: Caller): Account[] {
    const user = namedUser(caller)
    if (!caller.admin) return [this.show(caller, user)]
    return this.#users.list().map((one) => this.#account(one))
  }

  /** PermissionDenied for others than administrators and themselves, whether or not there is such a user; NodeNotFound. */
  show(caller: Caller, name: string): Account {
    if (namedUser(caller) !== name && !caller.admin)
      throw new Fault('PermissionDenied', 'only administrators see others')
    return this.#account(this.#existing(name))
  }

  /** Of one user; undefined: they have none. */
  async homeUsage({ home }: User): ReturnType<Homes['usage']> {
    return home === undefined ? undefined : this.#options.homes.usage(nodePath(home))
  }

  /**
   * An account with its home. DuplicateNode: name, number, an identity or the place of the home is taken; InvalidArgument: reserved or no
   * name; OperationNotSupported: a quota where the storage has none.
   */
  async create(caller: Caller, draft: AccountDraft): Promise<Account> {
    const { name, uid, admin = false, reuseName = false, identities = [] } = draft
    const detail = { admin, reuseName, identities: identities.length, ...(uid !== undefined && { uid }) }
    return this.act(caller, 'user.create', name, detail, async () => {
      if (name === 'me') throw new Fault('InvalidArgument', 'me is no name: it stands for who asks')
      if (isReservedName(name) && uid === undefined)
        throw new Fault('InvalidArgument', `${name} is a name of the system: give it with its uid if you mean it`)
      const home = this.#homeFor(draft)
      const quota = draft.quota ?? this.#options.home?.quota
      if (home !== undefined) await this.#checkPlace(home, name, quota)
      const due = home !== undefined && { home, homeDue: true }
      if (uid === undefined) await this.settled(name)
      const user = this.#users.create({
        name,
        admin,
        reuseName,
        identities: identities.map(canonicalIdentity),
        ...(uid !== undefined && { uid }),
        ...due,
      })
      return this.#account(home === undefined ? user : await this.makeHome(user, quota))
    })
  }

  /** Before an account of that name is made: the number may be another service's to give. */
  async settled(name: string): Promise<void> {
    await this.#options.settled?.(name)
  }

  /** Whether something stands where the home of a new user of that name would be, whoever it is recorded for. */
  async isHomeTaken(name: string): Promise<boolean> {
    const { home, homes } = this.#options
    return home !== undefined && (await homes.state(homePath(home, name), name)) !== 'absent'
  }

  /** Makes the home that is due; done again where it broke off. Who finds somebody else's container in its place goes without. */
  async makeHome(user: User, quota: number | undefined = this.#options.home?.quota): Promise<User> {
    if (user.home === undefined || user.homeDue !== true) return user
    const state = await this.#options.homes.make(nodePath(user.home), user.name, quota)
    if (state === 'absent') throw new Fault('ServiceBusy', `${user.home} went away while it was made`)
    return this.#users.settleHome(user.name, state === 'theirs' ? user.home : undefined)
  }

  /** DuplicateNode: it is another user's. */
  async link(caller: Caller, name: string, identity: Identity): Promise<Account> {
    const { kind, value } = canonicalIdentity(identity)
    return this.act(caller, 'user.link', name, { kind, value }, () => {
      this.#existing(name)
      this.#users.addIdentity(name, { kind, value })
      return this.#account(this.#existing(name))
    })
  }

  /** NodeNotFound: it is not theirs. */
  async unlink(caller: Caller, name: string, identity: Identity): Promise<Account> {
    const { kind, value } = canonicalIdentity(identity)
    return this.act(caller, 'user.unlink', name, { kind, value }, () => {
      this.#users.removeIdentity(name, { kind, value })
      return this.#account(this.#existing(name))
    })
  }

  /** Refused from the next request on; what is under way is cut, and jobs end. Files and sharing stay. */
  async suspend(caller: Caller, name: string): Promise<Account> {
    return this.act(caller, 'user.suspend', name, {}, () => this.#account(this.#users.suspend(name)))
  }

  async resume(caller: Caller, name: string): Promise<Account> {
    return this.act(caller, 'user.resume', name, {}, () => this.#account(this.#users.resume(name)))
  }

  /** PermissionDenied: the last administrator. */
  async setAdmin(caller: Caller, name: string, admin: boolean): Promise<Account> {
    return this.act(caller, 'user.admin', name, { admin }, () => this.#account(this.#users.setAdmin(name, admin)))
  }

  /** `undefined`: those of the site again. */
  async setLimits(caller: Caller, name: string, limits: UserLimits | undefined): Promise<Account> {
    return this.act(caller, 'user.limit', name, { ...limits }, () => this.#account(this.#users.setLimits(name, limits)))
  }

  /** Before nodes are handed over: there are two, and the one who gets them can use them. */
  async checkHandOver(caller: Caller, from: string, to: string, path: NodePath): Promise<void> {
    await this.act(caller, 'user.hand-over', from, { to, path }, () => this.#checkHeir(from, to))
  }

  /** Before an account is deleted. PreconditionFailed unless it is suspended. */
  async checkRemoval(caller: Caller, name: string, to: string | undefined): Promise<void> {
    await this.act(caller, 'user.delete', name, { to: to ?? null }, () => {
      const { suspended } = this.#existing(name)
      if (suspended !== true) throw new Fault('PreconditionFailed', `${name} is to be suspended first`)
      if (to !== undefined) return this.#checkHeir(name, to)
      const [group] = this.#users.groupsOwned(name)
      if (group !== undefined) throw new Fault('ContainerNotEmpty', `${name} owns groups, ${group} among them`)
    })
  }

  /** Groups change hands: the last step of a whole hand-over. */
  handGroups(from: string, to: string): number {
    return this.#users.handGroups(from, to)
  }

  /** For good; nodes are no more theirs. */
  remove(caller: Caller, name: string): void {
    this.#checkAdmin(caller)
    this.#users.remove(name)
    this.note({ act: 'user.deleted', by: caller.user ?? null, on: name, result: 'allowed' })
  }

  note(event: AuditEvent): void {
    this.#options.audit?.note(event)
  }

  /** Does what only an administrator does, and tells the audit how it went. PermissionDenied; NotAuthenticated. */
  async act<T>(
    caller: Caller,
    act: string,
    on: string,
    detail: NonNullable<AuditEvent['detail']>,
    work: () => T | Promise<T>,
  ): Promise<T> {
    const event = { act, by: caller.user ?? null, on }
    try {
      this.#checkAdmin(caller)
      const done = await work()
      this.note({ ...event, result: 'allowed', detail })
      return done
    } catch (error) {
      const why = isFault(error) ? error.fault : 'InternalFault'
      this.note({ ...event, result: 'refused', detail: { ...detail, why } })
      throw error
    }
  }

  #checkAdmin(caller: Caller): void {
    namedUser(caller)
    if (caller.admin) return
    const why = caller.limited === true ? ', and not by a limited proxy' : ''
    throw new Fault('PermissionDenied', `only an administrator may${why}`, { errno: 'EPERM' })
  }

  #checkHeir(from: string, to: string): void {
    this.#existing(from)
    if (from === to) throw new Fault('InvalidArgument', `${from} has it already`)
    if (this.#existing(to).suspended === true) throw new Fault('PermissionDenied', `the account ${to} is suspended`)
  }

  #homeFor({ name, home, quota }: AccountDraft): NodePath | undefined {
    const policy = this.#options.home
    if (home === false) {
      if (quota !== undefined) throw new Fault('InvalidArgument', 'a quota is for a home')
      return undefined
    }
    if (policy !== undefined) return homePath(policy, name)
    if (home === true || quota !== undefined)
      throw new Fault('OperationNotSupported', 'the configuration says nowhere where homes are made (accounts.home)')
    return undefined
  }

  async #checkPlace(path: NodePath, name: string, quota: number | undefined): Promise<void> {
    this.#options.homes.checkQuota(quota)
    if ((await this.#options.homes.state(path, name)) !== 'taken') return
    throw new Fault('DuplicateNode', `${path} is there, and not theirs`)
  }

  #existing(name: string): User {
    const user = this.#users.byName(name)
    if (user === undefined) throw new Fault('NodeNotFound', `there is no user ${name}`)
    return user
  }

  #account(user: User): Account {
    const groups = this.#options.groups.of(user.name).size
    return { ...user, identities: this.#users.identities(user.name), groups }
  }
}

export const homePath = ({ parent }: HomePolicy, name: string): NodePath =>
  nodePath(parent === '/' ? `/${name}` : `${parent}/${name}`)

function namedUser({ user }: Caller): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'this is for users: show a certificate or a token')
  return user
}

/** An identity as it is compared with what requests prove. InvalidArgument. */
export function canonicalIdentity({ kind, value }: Identity): Identity {
  switch (kind) {
    case 'x509':
      return { kind, value: canonicalDn(value) }
    case 'oidc':
      if (/^https?:\/\/[^\s/]\S* \S(.{0,254}\S)?$/u.test(value) && value.length <= 2048)
        // issuers write their name with a slash at the end in one place and without in another
        return { kind, value: value.replace(/^(\S*)\/ /, '$1 ') }
      throw new Fault('InvalidArgument', 'an oidc identity is the URL of the issuer, a space, and the subject')
    case 'uid':
      if (/^(0|[1-9]\d{0,9})$/.test(value) && Number(value) < 0xffffffff) return { kind, value }
      throw new Fault('InvalidArgument', `not a uid: ${JSON.stringify(value.slice(0, 100))}`)
  }
}
