/**
 * Where deleted nodes wait until they come back or their time is over: a part of the interface of a storage backend, kept by the backend
 * because it is one rename there. What waits counts in the usage of the allocation it was taken from.
 */
import { Fault } from '../vospace/fault.ts'
import { type Entry, type NodeType } from '../vospace/node.ts'
import { parentOf, ROOT, type NodePath } from '../vospace/path.ts'
import { type Seen } from './backend.ts'
import { allocationOf } from './contract.ts'

/** What is written down of a deletion. */
export interface TrashNote {
  /** 1 to 64 letters, digits, `-` and `_` */
  readonly id: string
  /** where it stood */
  readonly path: NodePath
  readonly type: NodeType
  /** milliseconds since 1970 */
  readonly deleted: number
  /** who deleted it; undefined: not known any more */
  readonly by?: string
  /** how many nodes, itself included; undefined: nobody counted */
  readonly nodes?: number
}

/**
 * `keeper` is the allocation a node stands in, or the root for what stands in none (an allocation itself, too): `keeperOf`. NodeNotFound for
 * an id that is not there. A container that keeps something is not empty (ContainerNotEmpty from `remove`), and takes it along when it moves.
 */
export interface Trash {
  /**
   * Takes a node with everything below out of its place, whole or not at all. NodeNotFound (ESTALE), PreconditionFailed: it is not as it was
   * seen; DuplicateNode: the id is in use; QuotaExceeded: no room to write it down; PermissionDenied (EBUSY) for the root.
   */
  put(path: NodePath, seen: Seen, note: TrashNote): Promise<void>
  /** In any order. */
  list(keeper: NodePath): AsyncIterable<TrashNote>
  /**
   * Puts it where it was or anywhere else of the same keeper, with ids, access and properties. DuplicateNode, ContainerNotFound,
   * OperationNotSupported (EXDEV) for a place that another one keeps, PermissionDenied when it holds `.karst` that would be hidden or shown.
   */
  restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry>
  /** Removes one for good. */
  purge(keeper: NodePath, id: string): Promise<void>
  /** Removes for good what was put before that time, and what is left of purges that were cut short; answers how many. */
  sweep(keeper: NodePath, before: number): Promise<number>
  /** Where something may wait. */
  keepers(): AsyncIterable<NodePath>
}

/** The container whose trash a node goes to. */
export function keeperOf(path: NodePath, allocationParents: readonly NodePath[]): NodePath {
  return path === ROOT ? ROOT : (allocationOf(parentOf(path), allocationParents) ?? ROOT)
}

const ID = /^[A-Za-z0-9_-]{1,64}$/

/** NodeNotFound for what is no id. */
export function checkTrashId(id: string): void {
  if (!ID.test(id))
    throw new Fault('NodeNotFound', `nothing in the trash has the id ${JSON.stringify(id.slice(0, 100))}`)
}

export const isTrashId = (id: string): boolean => ID.test(id)

export const notInTrash = (id: string): Fault => new Fault('NodeNotFound', `nothing in the trash has the id ${id}`)

/** EXDEV unless the place is kept by the same one. */
export function checkKeeper(keeper: NodePath, to: NodePath, allocationParents: readonly NodePath[]): void {
  if (keeperOf(to, allocationParents) === keeper) return
  throw new Fault('OperationNotSupported', `${to} is not where this was deleted from`, { errno: 'EXDEV' })
}
