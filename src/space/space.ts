/** What every rule works on: the storage, the service's names, the site's rules, the change log and the numbers of owners. */
import { type Backend, type Capabilities, type Ids, type PosixCalls } from '../backend/backend.ts'
import { type Audit } from '../identity/audit.ts'
import { type ChangeLog } from '../store/changes.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Entry, type NodeType } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Service } from '../vospace/uri.ts'

/** The site's choices. */
export interface Rules {
  /** A container directly under one of these is an allocation: its owner reads and writes everything below. */
  readonly allocationParents: readonly NodePath[]
  /** The standard to the letter where clients want it loose: LinkFound for links on the way of PUT and DELETE, read-only properties refused. */
  readonly strict: boolean
  /** Links followed for one path before it counts as a cycle. */
  readonly maxHops: number
  /** Links may have targets elsewhere (`file:`, `http:`); they are kept, and never followed. */
  readonly externalLinks: boolean
  /** How long what is deleted through VOSpace waits in the trash; 0: it is gone at once. */
  readonly trashDays: number
}

export const DEFAULT_RULES: Rules = {
  allocationParents: [],
  strict: false,
  maxHops: 20,
  externalLinks: true,
  trashDays: 0,
}

/** The names of groups; identity/groups.ts has them. */
export interface GroupNames {
  /** The URI under which a group is shared with here. InvalidArgument when nobody known here keeps such a group. */
  shareable(uri: string): string
}

/** Passed first to every function of this folder. */
export interface Space {
  readonly backend: Backend
  readonly service: Service
  readonly rules: Rules
  readonly changes: ChangeLog
  readonly ids: Ids
  /** absent: any name will do */
  readonly groupNames?: GroupNames
  /** told of every grant and what is withdrawn */
  readonly audit?: Audit
}

/** What the storage can that keeps `path`. */
export function capabilitiesOf({ backend }: Pick<Space, 'backend'>, path: NodePath): Capabilities {
  return backend.capabilitiesAt?.(path) ?? backend.capabilities
}

/** PermissionDenied (EBUSY) for what stays where it is: better told before anything below it is gone. */
export function refuseFixed({ backend }: Space, path: NodePath): void {
  if (backend.isFixed?.(path) !== true) return
  throw new Fault(
    'PermissionDenied',
    `${path} stays: a storage profile begins there or below, or objects of a bucket are imported there`,
    { errno: 'EBUSY' },
  )
}

/** The names of the tree as a caller has them: a trusted mount sees more of them. */
export function namesFor(
  { backend }: Space,
  caller: Caller,
): Pick<Backend, 'walk' | 'list' | 'move' | 'link'> & {
  remove(path: NodePath, type: NodeType | 'leaf'): Promise<void>
} {
  return caller.trusted === true ? posixOf(backend) : backend
}

/** What a trusted mount calls. OperationNotSupported where the store keeps no numbers of its own. */
export function posixOf({ posix }: Backend): PosixCalls {
  if (posix === undefined) throw new Fault('OperationNotSupported', 'this storage has no trusted mounts')
  return posix
}

/** An entry as one caller sees it. `writable` of a container: the caller may create inside. */
export interface SeenEntry extends Entry {
  readonly readable: boolean
  readonly writable: boolean
}
