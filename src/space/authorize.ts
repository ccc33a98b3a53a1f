/**
 * Every permission decision, as pure functions of who asks, what stands along the path, and what is to be done
 * (wire.md section 8). Nothing else in karst decides who may do what, and nothing keeps an answer.
 *
 * read(node): public, or owner, or allocation owner, or member of groupRead or groupWrite. write(node): owner, allocation owner or member of
 * groupWrite; public never grants it, and anonymous callers never have it. Whatever is asked, each container on the way must be readable.
 * An administrator owns the containers that hold allocations (the root, /home), and nothing that users keep in them.
 */
import { type Child } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { child as childPath, isWithin, ROOT, type NodePath } from '../vospace/path.ts'
import { isBeyond } from '../vospace/partition.ts'
import { PROPERTY } from '../vospace/property.ts'
import { type Rules, type SeenEntry } from './space.ts'

/** The entries along a path, root first, the node in question last. */
export type Chain = readonly Entry[]
type Allocations = Pick<Rules, 'allocationParents'>

export type Verb =
  /** pass through these containers */
  | 'reach'
  /** the bytes of a data node */
  | 'read'
  /** the children of a container */
  | 'list'
  /** a link, to where it leads */
  | 'follow'
  /** new bytes in place of the old */
  | 'write'
  /** new bytes by a PUT of the whole file: who may write the container could as well remove and create it */
  | 'upload'
  /** something new in the container that ends the chain */
  | 'create'
  /** the node that ends the chain, out of its container; for a move too */
  | 'delete'
  /** properties and sharing; locks do not matter, so that they can be taken off */
  | 'update'
  /** mode and times: as `update`, refused as chmod(2) refuses */
  | 'attributes'
  /** owner and quota */
  | 'administer'

export interface Refusal {
  /** one sentence without its full stop */
  readonly reason: string
  /** EPERM: nobody may, as things stand (a lock); EACCES: this caller may not */
  readonly errno: 'EACCES' | 'EPERM'
  /** the container on the way that is closed to them */
  readonly at?: NodePath
}

/** Throws PermissionDenied with who, what and why. */
export function authorize(caller: Caller, verb: Verb, chain: Chain, rules: Allocations): void {
  const refusal = refusalOf(caller, verb, chain, rules)
  if (refusal === undefined) return
  // of what lies beyond a container that is closed to them nobody learns whether it exists
  const reached = verb === 'reach' ? refusal.at : chain.at(-1)?.path
  throw denied(caller, verb, reached ?? ROOT, refusal)
}

/** The refusal as PermissionDenied. */
export function denied(caller: Caller, verb: Verb, path: NodePath, { reason, errno }: Refusal): Fault {
  const what = `${caller.user ?? 'an anonymous caller'} may not ${PHRASE[verb]} ${path}`
  return new Fault('PermissionDenied', `${what}: ${reason}`, { errno })
}

const PHRASE: Record<Verb, string> = {
  reach: 'pass through',
  read: 'read',
  list: 'list',
  follow: 'follow',
  write: 'write to',
  upload: 'write to',
  create: 'create anything in',
  delete: 'delete or move',
  update: 'change the properties of',
  attributes: 'change the attributes of',
  administer: 'change owner or quota of',
}

/** Undefined: allowed. */
export function refusalOf(caller: Caller, verb: Verb, chain: Chain, rules: Allocations): Refusal | undefined {
  if (caller.trusted === true) return trustedRefusal(verb, chain)
  const above = verb === 'reach' ? chain : chain.slice(0, -1)
  const closed = above.findIndex((_, at) => !mayRead(caller, chain, at, rules))
  const at = chain[closed]?.path
  if (at !== undefined) return { ...no(`${at} is not readable to them`), at }
  if (verb === 'reach') return undefined
  if (isOutside(caller, chain.at(-1)?.path ?? ROOT)) return no('their credential is for a partition elsewhere')
  return nodeRefusal(caller, verb, chain, rules)
}

/** The credential of a partition shows nothing but the partition, not even what stands above it. */
export const isOutside = ({ scope }: Caller, path: NodePath): boolean =>
  scope !== undefined && !isWithin(path, scope.path)

/** Throws PermissionDenied for a path outside of the partition that the caller's credential is for. */
export function confine(caller: Caller, path: NodePath): void {
  if (isOutside(caller, path))
    throw new Fault('PermissionDenied', `the credential is for the partition ${caller.scope?.path}, not for ${path}`)
}

/** Whose kernel has decided may do what root does; locks are not the kernel's to know. */
function trustedRefusal(verb: Verb, chain: Chain): Refusal | undefined {
  const node = chain.length - 1
  if (verb === 'delete') return held(chain, node) ?? (node > 0 ? held(chain, node - 1) : no('it is the root', 'EPERM'))
  return verb === 'write' || verb === 'upload' || verb === 'create' ? held(chain, node) : undefined
}

function nodeRefusal(
  caller: Caller,
  verb: Exclude<Verb, 'reach'>,
  chain: Chain,
  rules: Allocations,
): Refusal | undefined {
  const node = chain.length - 1
  switch (verb) {
    case 'read':
    case 'list':
    case 'follow':
      return mayRead(caller, chain, node, rules) ? undefined : no('it is not shared with them')
    case 'attributes':
      return mayWrite(caller, chain, node, rules) ? undefined : no('they have no write permission on it', 'EPERM')
    case 'update':
      return mayWrite(caller, chain, node, rules) ? undefined : no('they have no write permission on it')
    case 'write':
    case 'create':
      return (
        held(chain, node) ?? (mayWrite(caller, chain, node, rules) ? undefined : no('they have no write permission'))
      )
    case 'upload':
      return held(chain, node) ?? uploadRefusal(caller, chain, rules)
    case 'delete':
      return deleteRefusal(caller, chain, rules)
    case 'administer':
      return caller.admin ? undefined : no('only an administrator may', 'EPERM')
  }
}

function uploadRefusal(caller: Caller, chain: Chain, rules: Allocations): Refusal | undefined {
  const node = chain.length - 1
  if (mayWrite(caller, chain, node, rules)) return undefined
  const byContainer = node > 0 && held(chain, node - 1) === undefined && mayWrite(caller, chain, node - 1, rules)
  return byContainer ? undefined : no('they have write permission neither on it nor on its container')
}

function deleteRefusal(caller: Caller, chain: Chain, rules: Allocations): Refusal | undefined {
  const node = chain.length - 1
  if (node === 0) return no('it is the root', 'EPERM')
  const lock = held(chain, node) ?? held(chain, node - 1)
  if (lock !== undefined) return lock
  if (mayWrite(caller, chain, node - 1, rules)) return undefined
  return no(`they have no write permission on ${chain[node - 1]?.path}`)
}

/** What a child says of itself when it is to be deleted. */
export type DeletedChild = Pick<Child, 'name' | 'locked' | 'immutable'>

/**
 * As refusalOf(caller, 'delete', [...container, child], rules), for many children of the container that ends the chain: what stands above
 * them is decided once.
 */
export function childDeletion(
  caller: Caller,
  container: Chain,
  rules: Allocations,
): (child: DeletedChild) => Refusal | undefined {
  const last = container.length - 1
  const path = container[last]?.path ?? ROOT
  const closed = refusalOf(caller, 'reach', container, rules)
  const writing = mayWrite(caller, container, last, rules) ? undefined : no(`they have no write permission on ${path}`)
  const above = held(container, last) ?? writing
  return (child) => closed ?? heldChild(path, child) ?? above
}

function heldChild(container: NodePath, { name, locked, immutable }: DeletedChild): Refusal | undefined {
  if (!locked && !immutable) return undefined
  return no(`${childPath(container, name)} is ${locked ? 'locked' : 'immutable'}`, 'EPERM')
}

const no = (reason: string, errno: Refusal['errno'] = 'EACCES'): Refusal => ({ reason, errno })

/** Locked (CADC), or immutable (VOSpace 2.1, appendix on standard properties): bytes and children stay as they are. */
export function held(chain: Chain, at: number): Refusal | undefined {
  const entry = chain[at]
  if (entry?.access.locked === true) return no(`${entry.path} is locked`, 'EPERM')
  if (entry?.properties.get(PROPERTY.immutable) === 'true') return no(`${entry.path} is immutable`, 'EPERM')
  return undefined
}

/** The rule that lets somebody in; of a group rule, by which of the groups. */
export interface Ground {
  readonly rule: 'public' | 'owner' | 'allocation owner' | 'administrator' | 'groupRead' | 'groupWrite'
  readonly group?: string
}

const PUBLIC: Ground = { rule: 'public' }
const OWNER: Ground = { rule: 'owner' }
const ALLOCATION_OWNER: Ground = { rule: 'allocation owner' }
const ADMINISTRATOR: Ground = { rule: 'administrator' }

/** Why the caller may read the entry `at` of the chain, whatever stands above it; undefined: they may not. */
export function readGround(caller: Caller, chain: Chain, at: number, rules: Allocations): Ground | undefined {
  const entry = chain[at]
  if (entry === undefined || (caller.scope !== undefined && isBeyond(entry.path, caller.scope))) return undefined
  const { access } = entry
  if (access.isPublic) return PUBLIC
  return ownGround(caller, chain, at, rules) ?? groupGround(caller, 'groupRead', access.groupRead)
}

/** As readGround, for writing. */
export function writeGround(caller: Caller, chain: Chain, at: number, rules: Allocations): Ground | undefined {
  const { scope } = caller
  const path = chain[at]?.path
  if (scope !== undefined && path !== undefined && (scope.access === 'read' || !isWithin(path, scope.path)))
    return undefined
  return ownGround(caller, chain, at, rules)
}

/** By which a user may write, and so read too, whatever their credential is confined to. */
function ownGround(caller: Caller, chain: Chain, at: number, rules: Allocations): Ground | undefined {
  const entry = chain[at]
  if (entry === undefined || caller.user === undefined) return undefined
  if (entry.access.owner === caller.user) return OWNER
  if (allocationOwner(chain, at, rules) === caller.user) return ALLOCATION_OWNER
  if (caller.admin && holdsAllocations(entry, rules)) return ADMINISTRATOR
  return groupGround(caller, 'groupWrite', entry.access.groupWrite)
}

function groupGround(
  { user, groups }: Caller,
  rule: 'groupRead' | 'groupWrite',
  granted: readonly string[],
): Ground | undefined {
  const group = user === undefined ? undefined : granted.find((uri) => groups.has(uri))
  return group === undefined ? undefined : { rule, group }
}

/** The groups by which the caller is let in along the chain: at each entry the first that counts. */
export function groupGrounds(caller: Caller, chain: Chain, rules: Allocations): readonly string[] {
  const grounds = chain.flatMap((_, at) => [
    readGround(caller, chain, at, rules),
    writeGround(caller, chain, at, rules),
  ])
  return [...new Set(grounds.flatMap((ground) => ground?.group ?? []))]
}

const mayRead = (caller: Caller, chain: Chain, at: number, rules: Allocations): boolean =>
  readGround(caller, chain, at, rules) !== undefined

const mayWrite = (caller: Caller, chain: Chain, at: number, rules: Allocations): boolean =>
  writeGround(caller, chain, at, rules) !== undefined

const allocationOwner = (chain: Chain, at: number, rules: Allocations): string | undefined =>
  allocationOf(chain, at, rules)?.access.owner

/** The allocation a node stands in is the nearest container, itself included, directly under an allocation parent. */
export function allocationOf(chain: Chain, at: number, { allocationParents }: Allocations): Entry | undefined {
  for (let i = at; i > 0; i--) {
    const parent = chain[i - 1]
    if (parent === undefined || !allocationParents.includes(parent.path)) continue
    if (chain[i]?.type === 'container') return chain[i]
  }
  return undefined
}

/**
 * A node that comes into another allocation is open to the owner of that one, with everything below it: so only who may read it all may
 * move it there. OperationNotSupported (EXDEV: programs copy then, what they may read).
 */
export function authorizeCrossing(caller: Caller, chain: Chain, container: Chain, rules: Allocations): void {
  if (caller.trusted === true) return
  const node = chain.at(-1)
  const from = allocationOf(chain, chain.length - 2, rules)
  if (from?.path === allocationOf(container, container.length - 1, rules)?.path) return
  // under another name it would stay in this allocation, open to the owner of the other
  const isShared = node !== undefined && node.type !== 'container' && node.nlink > 1
  if (!isShared && from !== undefined && from.access.owner === caller.user) return
  if (!isShared && node?.type !== 'container' && refusalOf(caller, 'read', chain, rules) === undefined) return
  throw new Fault('OperationNotSupported', `${node?.path} is not theirs to move to another allocation`, {
    errno: 'EXDEV',
  })
}

const holdsAllocations = (entry: Entry, { allocationParents }: Allocations): boolean =>
  entry.type === 'container' && allocationParents.some((parent) => isWithin(parent, entry.path))

/** Whether all of the trash kept by the container that ends the chain is theirs: its owner's; of the root, an administrator's too. */
export function ownsTrash(caller: Caller, chain: Chain, rules: Allocations): boolean {
  const keeper = chain.at(-1)
  if (keeper === undefined || caller.user === undefined) return false
  return keeper.access.owner === caller.user || (caller.admin && holdsAllocations(keeper, rules))
}

/** As `seen` of each child of the container that ends the chain: what stands above them is decided once. */
export function seenBelow(caller: Caller, container: Chain, rules: Rules): (child: Entry) => SeenEntry {
  if (caller.trusted === true) return (child) => seen(caller, [...container, child], rules)
  const isClosed = refusalOf(caller, 'reach', container, rules) !== undefined
  const chain = [...container]
  return (child) => {
    chain[container.length] = child
    const isShut = isClosed || isOutside(caller, child.path)
    const may = (verb: 'read' | 'create' | 'write'): boolean =>
      !isShut && nodeRefusal(caller, verb, chain, rules) === undefined
    return { ...child, readable: may('read'), writable: may(child.type === 'container' ? 'create' : 'write') }
  }
}

/** The node that ends the chain as this caller sees it. `writable` of a container: something may be created inside. */
export function seen(caller: Caller, chain: Chain, rules: Allocations): SeenEntry {
  const node = chain.at(-1)
  if (node === undefined) throw new Error('a chain has at least the root')
  return {
    ...node,
    readable: refusalOf(caller, 'read', chain, rules) === undefined,
    writable: refusalOf(caller, node.type === 'container' ? 'create' : 'write', chain, rules) === undefined,
  }
}
