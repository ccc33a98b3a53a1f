/**
 * Who may do what with a node, and why, in words. Nothing is decided here: every answer is what authorize.ts says to somebody who asks, and
 * the rules that let people in are found by asking as each of those whom the node names.
 */
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry, type NodeType } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import {
  allocationOf,
  type Chain,
  type Ground,
  held,
  readGround,
  refusalOf,
  type Verb,
  writeGround,
} from './authorize.ts'
import { chainOf, find, targetPath } from './resolve.ts'
import { closedTo } from './share.ts'
import { type Space } from './space.ts'

/** What is known of people; identity has it. */
export interface People {
  /** As at a request of theirs now. PermissionDenied: there is no such user, or the account is suspended. */
  callerOf(name: string): Caller
  /** Resolves when the group services that can be asked about them have answered, so that `callerOf` knows it. Absent: there are none. */
  settled?(name: string): Promise<unknown>
  /** Groups from `uri` down to the one that names the user. */
  wayInto(user: string, uri: string): readonly string[] | undefined
  /** Who is in `inner` is in `uri`. */
  isWithin(inner: string, uri: string): boolean
}

export interface ExplainOptions {
  readonly people: People
  /** Somebody else than the caller. */
  readonly as?: string
  /** Whether the caller may know who is in a group. */
  readonly mayTell: (group: string) => boolean
}

/** Somebody whom the node lets in. */
export interface Granted extends Ground {
  /** name of a user */
  readonly user?: string
  readonly read: boolean
  readonly write: boolean
  /** containers on the way that do not let them pass, root first: with any, `read` and `write` are false */
  readonly closed: readonly NodePath[]
}

/** `way`: groups, from the one that is granted down to the one that names them. */
export type Answer =
  | ({ readonly allowed: true; readonly way?: readonly string[] } & Partial<Ground>)
  | { readonly allowed: false; readonly reason: string; readonly at?: NodePath }

export interface Verdict {
  /** null: anonymous */
  readonly user: string | null
  /** bytes; of a container its children; of a link where it leads */
  readonly read: Answer
  /** change what is there; in a container, create */
  readonly write: Answer
  /** data nodes: a PUT of the whole file */
  readonly replace?: Answer
  /** out of its container */
  readonly delete: Answer
  /** properties and sharing */
  readonly share: Answer
}

export interface Explanation {
  readonly path: NodePath
  readonly type: NodeType
  readonly owner: string
  /** a link: where it leads; what is there has its own rules */
  readonly target?: NodePath
  readonly allocation?: { readonly path: NodePath; readonly owner: string }
  /** what is made in this container is shared as it is */
  readonly inherit?: boolean
  readonly granted: readonly Granted[]
  /** sentences without their full stops */
  readonly locks: readonly string[]
  readonly verdict: Verdict
}

/**
 * The rules that let people at a node, and the verdict on one person: the caller, or `as`, whom only the owner of node or allocation and
 * administrators ask about. What the caller cannot reach is refused as getNode refuses it.
 */
export async function explain(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: ExplainOptions,
): Promise<Explanation> {
  const found = await find(space, caller, path, { leaf: 'itself', way: 'follow' })
  const chain = chainOf(found)
  const { node } = found
  const { as = caller.user } = options
  if (as !== caller.user && !mayAskAbout(space, caller, chain)) {
    throw new Fault('PermissionDenied', `only the owner of ${node.path} and administrators ask what others may`)
  }
  const allocation = allocationOf(chain, chain.length - 1, space.rules)
  const target = node.type === 'link' ? targetPath(node, space.service) : undefined
  return {
    path: node.path,
    type: node.type,
    owner: node.access.owner,
    ...(target !== undefined && { target }),
    ...(allocation !== undefined && { allocation: { path: allocation.path, owner: allocation.access.owner } }),
    ...(node.type === 'container' && { inherit: node.access.inherit }),
    granted: grantedIn(space, chain, options.people),
    locks: locksIn(chain),
    verdict: await verdictOn(space, caller, path, chain, { ...options, as }),
  }
}

function mayAskAbout({ rules }: Space, caller: Caller, chain: Chain): boolean {
  const rule = writeGround(caller, chain, chain.length - 1, rules)?.rule
  return caller.admin || rule === 'owner' || rule === 'allocation owner'
}

const locksIn = (chain: Chain): string[] =>
  [chain.length - 1, chain.length - 2].flatMap((at) => held(chain, at)?.reason ?? [])

// Nobody has this name: they are let in as what they are else.
const SOMEBODY: Caller = { ...ANONYMOUS, user: '' }

/** A member of a group and of no other, but those that it is in. */
export function memberOf(group: string, chain: Chain, people: Pick<People, 'isWithin'>): Caller {
  const named = chain.flatMap(({ access }) => [...access.groupRead, ...access.groupWrite])
  return { ...SOMEBODY, groups: new Set([group, ...named.filter((uri) => people.isWithin(group, uri))]) }
}

function grantedIn(space: Space, chain: Chain, people: People): Granted[] {
  const last = chain.length - 1
  const access = chain[last]?.access
  if (access === undefined) return []
  const owners = [access.owner, allocationOf(chain, last, space.rules)?.access.owner]
  const users = [...new Set(owners)].filter((user) => user !== undefined)
  const groups = [...new Set([...access.groupWrite, ...access.groupRead])]
  return [
    ...grantedTo(space, chain, ANONYMOUS, {}),
    ...users.flatMap((user) => grantedTo(space, chain, ownerNamed(user, people), { user })),
    ...groups.flatMap((group) => grantedTo(space, chain, memberOf(group, chain, people), { group })),
    ...grantedTo(space, chain, { ...SOMEBODY, admin: true }, {}, 'administrator'),
  ]
}

function ownerNamed(user: string, people: People): Caller {
  try {
    return people.callerOf(user)
  } catch (error) {
    if (!isFault(error)) throw error
    return { ...ANONYMOUS, user }
  }
}

/** Nothing for people whom the node itself does not let in, or whom it lets in as everybody. */
function grantedTo(
  { rules }: Space,
  chain: Chain,
  people: Caller,
  who: { readonly user?: string; readonly group?: string },
  only?: Ground['rule'],
): Granted[] {
  const last = chain.length - 1
  const ground = writeGround(people, chain, last, rules) ?? readGround(people, chain, last, rules)
  if (ground === undefined || (only !== undefined && ground.rule !== only)) return []
  if (ground.rule === 'public' && people !== ANONYMOUS) return []
  const [read, write] = verbsOf(chain[last]?.type)
  return [
    {
      ...ground,
      ...who,
      read: refusalOf(people, read, chain, rules) === undefined,
      write: refusalOf(people, write, chain, rules) === undefined,
      closed: closedTo(chain.slice(0, -1), people, rules),
    },
  ]
}

const verbsOf = (type: NodeType | undefined): [Verb, Verb] =>
  type === 'container' ? ['list', 'create'] : [type === 'link' ? 'follow' : 'read', 'write']

interface Asked extends Omit<ExplainOptions, 'as'> {
  readonly as: string | undefined
}

async function verdictOn(space: Space, caller: Caller, path: NodePath, chain: Chain, asked: Asked): Promise<Verdict> {
  const { as, people } = asked
  const user = as ?? null
  let person: Caller
  try {
    person = as === undefined || as === caller.user ? caller : people.callerOf(as)
    // the links on the way are followed by them too
    await find(space, person, path, { leaf: 'itself', way: 'follow' })
  } catch (error) {
    if (!isFault(error, 'PermissionDenied')) throw error
    return everything(user, chain, refusedBy(space, chain, error, as, people))
  }
  const may = answerer(space, chain, person, asked)
  const [read, write] = verbsOf(chain.at(-1)?.type)
  const last = chain.length - 1
  const replace = chain[last]?.type === 'data' && { replace: may('upload', last, last - 1) }
  return {
    user,
    read: may(read, last),
    write: may(write, last),
    ...replace,
    delete: may('delete', last - 1),
    share: may('update', last),
  }
}

function refusedBy(space: Space, chain: Chain, { detail }: Fault, as: string | undefined, people: People): Answer {
  try {
    const person = as === undefined ? ANONYMOUS : people.callerOf(as)
    const refusal = refusalOf(person, 'reach', chain.slice(0, -1), space.rules)
    if (refusal?.at !== undefined) return { allowed: false, reason: refusal.reason, at: refusal.at }
  } catch (error) {
    if (!isFault(error, 'PermissionDenied')) throw error
  }
  return { allowed: false, reason: detail }
}

function everything(user: string | null, chain: Chain, refused: Answer): Verdict {
  const replace = chain.at(-1)?.type === 'data' && { replace: refused }
  return { user, read: refused, write: refused, ...replace, delete: refused, share: refused }
}

/** Answers for one person: `places` are the entries of the chain that may let them, in this order. */
function answerer({ rules }: Space, chain: Chain, person: Caller, { people, mayTell, as }: Asked) {
  return (verb: Verb, ...places: number[]): Answer => {
    const refusal = refusalOf(person, verb, chain, rules)
    if (refusal !== undefined) {
      const { reason, at } = refusal
      return { allowed: false, reason, ...(at !== undefined && { at }) }
    }
    const groundAt = verb === 'read' || verb === 'list' || verb === 'follow' ? readGround : writeGround
    const ground = places.map((at) => groundAt(person, chain, at, rules)).find((one) => one !== undefined)
    const isTold = ground?.group !== undefined && as !== undefined && mayTell(ground.group)
    const way = isTold && ground.group !== undefined ? people.wayInto(as, ground.group) : undefined
    return { allowed: true, ...ground, ...(way !== undefined && { way }) }
  }
}

/** For who may see it in one look: the entry's sharing as it stands. */
export const sharingOf = ({ access }: Entry): Pick<Entry['access'], 'isPublic' | 'groupRead' | 'groupWrite'> => ({
  isPublic: access.isPublic,
  groupRead: access.groupRead,
  groupWrite: access.groupWrite,
})
