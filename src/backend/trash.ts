/** What every trash decides alike: ids, and which places are of one keeper. */
import { Fault } from '../vospace/fault.ts'
import { keeperOf } from '../vospace/allocation.ts'
import { type NodeType } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'

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
