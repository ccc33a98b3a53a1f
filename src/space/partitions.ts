/** Partitions: what a caller may mount, and the terms on which they do (schemas/partitions.md). Who may is what authorize.ts says. */
import { type StoredBinds } from '../store/binds.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { isWithin, nameOf, nodePath, stepsOf, type NodePath } from '../vospace/path.ts'
import { type PartitionAccess, type PartitionKind, partitionWord, type PartitionWord } from '../vospace/partition.ts'
import { localPath, nodeUri } from '../vospace/uri.ts'
import { authorize, refusalOf, type Chain } from './authorize.ts'
import { checkQuota, makeHome } from './home.ts'
import { chainOf, find } from './resolve.ts'
import { type Scratches } from './scratch.ts'
import { capabilitiesOf, type Space } from './space.ts'

/** Of one kind that are listed at most. */
const MOST = 1000
/** Of its quota, from which on the owner of a partition is told. */
const NEARLY_FULL = 0.9

/** Of a home that is yet to be made. */
const UNUSED = { used: null, quota: null, quotaKeptBy: null, notices: [] } as const

/** Where partitions of one kind live: each in a container of its own right below it. */
export type PartitionPlaces = Readonly<Record<PartitionKind, readonly NodePath[]>>

export interface PartitionRules {
  readonly places: PartitionPlaces
  /** bytes of a new home; absent: no quota */
  readonly homeQuota?: number
  /** that a bind mount counts after it was last asked for */
  readonly bindSeconds: number
  /** the storage profile that a path is kept with: the name of its backend */
  readonly profileOf: (path: NodePath) => string
  /** Where the path is on a node that has the backend's file system; undefined: modes and owners are not true there, so it is not for binds. */
  readonly bindOf: (path: NodePath) => { readonly backend: string; readonly path: string } | undefined
}

/** What may be mounted. */
export interface Partition {
  /** short, and unlike others of its kind: home, scratch, demo, alma/2017.1 */
  readonly name: string
  readonly kind: PartitionKind
  readonly path: NodePath
  readonly uri: string
  readonly profile: string
  readonly access: PartitionAccess
  /** where it is mounted unless its session wants it elsewhere */
  readonly mount: string
  /** false: made when it is first asked for */
  readonly allocated: boolean
  /** bytes; null: not known, or none */
  readonly used: number | null
  readonly quota: number | null
  /** who counts: for the gateway what is written past it counts later, and is not refused; null: there is no quota */
  readonly quotaKeptBy: 'storage' | 'gateway' | null
  /** sentences for its owner */
  readonly notices: readonly string[]
}

export interface PartitionAsked {
  readonly partition: string
  readonly access?: PartitionAccess
  readonly profile?: string
  /** of which the scratch is, and who of its containers asks */
  readonly session?: string
  readonly member?: string
  /** backends whose file system the node has */
  readonly bind?: readonly string[]
}

export interface Granted extends Partition {
  readonly bind?: { readonly backend: string; readonly path: string }
  /** of a scratch: until when it is theirs, milliseconds since 1970 */
  readonly until?: number
}

export class Partitions {
  readonly #space: Space
  readonly #rules: PartitionRules
  readonly #scratches: Scratches
  readonly #binds: StoredBinds

  constructor(space: Space, rules: PartitionRules, scratches: Scratches, binds: StoredBinds) {
    this.#binds = binds
    this.#space = space
    this.#rules = rules
    this.#scratches = scratches
  }

  /** Home first, then projects and datasets by name, then scratches; `more`: there are others than these. NotAuthenticated. */
  async list(caller: Caller): Promise<{ readonly partitions: readonly Partition[]; readonly more: boolean }> {
    const user = named(caller)
    const found: Partition[] = []
    const [home] = this.#rules.places.user
    if (home !== undefined) found.push(await this.#homeOf(caller, this.#homePath(user, undefined)))
    let more = false
    for (const kind of ['project', 'dataset'] as const) {
      for (const place of this.#rules.places[kind]) more = (await this.#below(caller, kind, place, found)) || more
    }
    for (const { path } of this.#scratches.of(user)) {
      const at = await this.#standing(caller, nodePath(path))
      if (at !== undefined) found.push(await this.#described('scratch', at, 'write'))
    }
    return { partitions: found, more }
  }

  async #homeOf(caller: Caller, path: NodePath): Promise<Partition> {
    const chain = await this.#standing(caller, path)
    if (chain !== undefined) return this.#described('user', chain, 'write')
    return { ...this.#row('user', path, 'write'), allocated: false, ...UNUSED }
  }

  async #below(caller: Caller, kind: PartitionKind, place: NodePath, found: Partition[]): Promise<boolean> {
    const chain = await this.#standing(caller, place)
    if (chain === undefined || refusalOf(caller, 'list', chain, this.#space.rules) !== undefined) return false
    let left = MOST
    for await (const entry of this.#space.backend.list(place)) {
      const whole = [...chain, entry]
      const isTheirs = entry.type === 'container' && refusalOf(caller, 'list', whole, this.#space.rules) === undefined
      if (!isTheirs) continue
      if (left-- === 0) return true
      found.push(await this.#described(kind, whole, accessOf(caller, kind, whole, this.#space, undefined)))
    }
    return false
  }

  /** undefined: not there, or not for them to see */
  async #standing(caller: Caller, path: NodePath): Promise<Chain | undefined> {
    try {
      return chainOf(await find(this.#space, caller, path, { leaf: 'target', way: 'follow' }))
    } catch (error) {
      if (isFault(error, 'NodeNotFound', 'PermissionDenied')) return undefined
      throw error
    }
  }

  /**
   * The terms of one partition: a home is made at first, a scratch for its session. NotAuthenticated, InvalidArgument, NodeNotFound,
   * PermissionDenied, ServiceBusy. A full one is never a reason to refuse.
   */
  async negotiate(caller: Caller, asked: PartitionAsked): Promise<Granted> {
    const user = named(caller)
    const word = partitionWord(asked.partition)
    const { kind, path } = this.#placed(user, word, asked)
    const until = kind === 'scratch' && !('uri' in word) ? await this.#scratch(user, path, asked) : undefined
    if (kind === 'user' && !('uri' in word)) await this.#makeHome(user, path)
    const chain = await this.#chainFor(caller, path, asked.partition)
    const access = accessOf(caller, kind, chain, this.#space, asked.access)
    const partition = await this.#described(kind, chain, access)
    const bind = this.#bind(user, partition.path, asked)
    return { ...partition, ...(bind !== undefined && { bind }), ...(until !== undefined && { until }) }
  }

  /** Where the node that asks has it. It is written down in the same moment, so that the storage is not changed under it. */
  #bind(user: string, path: NodePath, { bind: backends = [], session = '', member }: PartitionAsked): Granted['bind'] {
    const bind = this.#rules.bindOf(path)
    if (bind === undefined || !backends.includes(bind.backend)) return undefined
    const expires = Date.now() + this.#rules.bindSeconds * 1000
    this.#binds.hold({ path, user, session, expires }, member ?? session)
    return bind
  }

  /** A container of the session has ended. NotAuthenticated, InvalidArgument. */
  leave(caller: Caller, asked: Pick<PartitionAsked, 'session' | 'member' | 'profile'>): void {
    const user = named(caller)
    const { session, member } = ofSession(asked)
    this.#binds.leave(user, session, member)
    for (const { path } of this.#scratches.of(user).filter((one) => one.session === session))
      this.#scratches.leave(nodePath(path), member)
  }

  /** The caller's groups that have a number: a session has them where the kernel decides. */
  groupsOf(caller: Caller): readonly { readonly uri: string; readonly gid: number }[] {
    return [...caller.groups].flatMap((uri) => {
      const gid = this.#space.ids.gidOf(uri)
      return gid === undefined ? [] : [{ uri, gid }]
    })
  }

  async #chainFor(caller: Caller, path: NodePath, asked: string): Promise<Chain> {
    try {
      const chain = chainOf(await find(this.#space, caller, path, { leaf: 'target', way: 'follow' }))
      if (chain.at(-1)?.type !== 'container') throw new Fault('InvalidArgument', `${asked} is no container`)
      authorize(caller, 'list', chain, this.#space.rules)
      return chain
    } catch (error) {
      if (!isFault(error, 'NodeNotFound')) throw error
      throw new Fault(
        'NodeNotFound',
        `there is no partition ${asked} (${path}); GET /partitions lists those there are`,
        {
          cause: error,
        },
      )
    }
  }

  #placed(user: string, word: PartitionWord, asked: PartitionAsked): { kind: PartitionKind; path: NodePath } {
    if ('uri' in word) {
      const path = localPath(this.#space.service, word.uri)
      return { kind: this.#kindOf(path), path }
    }
    if (word.kind === 'user') return { kind: 'user', path: this.#homePath(user, asked.profile) }
    const place = this.#placeOf(word.kind, asked.profile)
    if (word.kind === 'scratch') return { kind: 'scratch', path: scratchPath(place, user, ofSession(asked).session) }
    // a name may have several steps, and each is checked
    return { kind: word.kind, path: nodePath(`${place === '/' ? '' : place}/${word.name}`) }
  }

  #homePath(user: string, profile: string | undefined): NodePath {
    const place = this.#placeOf('user', profile)
    return nodePath(`${place === '/' ? '' : place}/${user}`)
  }

  #placeOf(kind: PartitionKind, profile: string | undefined): NodePath {
    const places = this.#rules.places[kind]
    const place = profile === undefined ? places[0] : places.find((one) => this.#rules.profileOf(one) === profile)
    if (place !== undefined) return place
    const known = [...new Set(places.map((one) => this.#rules.profileOf(one)))].join(', ')
    throw new Fault(
      'InvalidArgument',
      `no partition of kind ${kind} has the profile ${profile}; there is ${known || 'none'}`,
    )
  }

  #kindOf(path: NodePath): PartitionKind {
    const { places } = this.#rules
    const kinds = ['user', 'project', 'scratch', 'dataset'] as const
    return kinds.find((kind) => places[kind].some((place) => path !== place && isWithin(path, place))) ?? 'dataset'
  }

  async #makeHome(user: string, path: NodePath): Promise<void> {
    const { homeQuota } = this.#rules
    await this.#parentOf(path)
    const state = await makeHome(
      this.#space,
      path,
      user,
      capabilitiesOf(this.#space, path).quota ? homeQuota : undefined,
    )
    if (state === 'taken')
      throw new Fault('PermissionDenied', `${path} is not ${user}'s: an administrator has to move it out of the way`)
  }

  async #scratch(user: string, path: NodePath, asked: PartitionAsked): Promise<number> {
    await this.#parentOf(path)
    return this.#scratches.join(path, { user, ...ofSession(asked) })
  }

  /** Where homes or scratches live, which a new site has not. */
  async #parentOf(path: NodePath): Promise<void> {
    const parent = nodePath(`/${stepsOf(path).slice(0, -1).join('/')}`)
    if (parent === '/') return
    const { backend, changes } = this.#space
    const access = { owner: 'uid:0', isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
    try {
      const made = await backend.make(parent, { type: 'container', access, mode: 0o755 })
      changes.append({ id: made.id, path: parent, kind: 'made' })
    } catch (error) {
      if (!isFault(error, 'DuplicateNode')) throw error
    }
  }

  #row(
    kind: PartitionKind,
    path: NodePath,
    access: PartitionAccess,
  ): Omit<Partition, 'allocated' | keyof typeof UNUSED> {
    const name = this.#nameOf(kind, path)
    const mount = {
      user: `/home/${nameOf(path)}`,
      scratch: '/scratch',
      project: `/projects/${name}`,
      dataset: `/datasets/${name}`,
    }
    const uri = nodeUri(this.#space.service, path)
    return { name, kind, path, uri, profile: this.#rules.profileOf(path), access, mount: mount[kind] }
  }

  #nameOf(kind: PartitionKind, path: NodePath): string {
    if (kind === 'user') return 'home'
    if (kind === 'scratch') return 'scratch'
    const place = this.#rules.places[kind].find((one) => path !== one && isWithin(path, one))
    return place === undefined ? nameOf(path) || 'root' : path.slice(place === '/' ? 1 : place.length + 1)
  }

  async #described(kind: PartitionKind, chain: Chain, access: PartitionAccess): Promise<Partition> {
    const path = chain.at(-1)?.path ?? nodePath('/')
    const { used, quota, keptBy = 'storage' } = await this.#space.backend.usage(path)
    const notices = noticesOf(path, used, quota)
    const quotaKeptBy = quota === null ? null : keptBy
    return { ...this.#row(kind, path, access), allocated: true, used, quota, quotaKeptBy, notices }
  }
}

/** OperationNotSupported for quotas where the storage has none: a start that cannot keep what the configuration says. */
export function checkPartitionQuotas(space: Space, places: readonly NodePath[], quota: number | undefined): void {
  for (const place of places) checkQuota(space, place, quota)
}

function noticesOf(path: NodePath, used: number | null, quota: number | null): string[] {
  if (used === null || quota === null || used < quota * NEARLY_FULL) return []
  const percent = quota === 0 ? 100 : Math.floor((used / quota) * 100)
  const left = Math.max(0, quota - used)
  return [
    `${path} is ${percent} % full: ${left} bytes are left of ${quota}; remove what is not needed, or ask for more`,
  ]
}

/** A dataset is read unless its session means to change it. PermissionDenied for a wish that is not theirs to have. */
function accessOf(
  caller: Caller,
  kind: PartitionKind,
  chain: Chain,
  space: Space,
  asked: PartitionAccess | undefined,
): PartitionAccess {
  if (asked === 'write') authorize(caller, 'create', chain, space.rules)
  if (asked !== undefined) return asked
  if (kind === 'dataset') return 'read'
  return refusalOf(caller, 'create', chain, space.rules) === undefined ? 'write' : 'read'
}

// Others know each other's session ids: the name says whose it is too.
const scratchPath = (place: NodePath, user: string, session: string): NodePath =>
  nodePath(`${place === '/' ? '' : place}/${user}~${session}`)

/** Both are names: letters, digits, `.`, `_` and `-`. */
function ofSession({ session, member }: Pick<PartitionAsked, 'session' | 'member'>): {
  session: string
  member: string
} {
  if (session === undefined || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(session))
    throw new Fault(
      'InvalidArgument',
      'a scratch belongs to a session: session is 1 to 64 letters, digits, ".", "_", "-"',
    )
  if (member !== undefined && !/^[A-Za-z0-9._-]{1,64}$/.test(member))
    throw new Fault('InvalidArgument', 'member is 1 to 64 letters, digits, ".", "_", "-"')
  return { session, member: member ?? session }
}

function named({ user }: Caller): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'partitions are for users only')
  return user
}
