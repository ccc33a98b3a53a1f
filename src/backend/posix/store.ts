/** What the operations of the POSIX backend share: the tree, how nodes are kept, who is being changed, where nodes went. */
import { Fault } from '../../vospace/fault.ts'
import { type Entry, type NodeType } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type Ref } from '../backend.ts'
import { refuseReserved, wrongType } from '../contract.ts'
import { type Changing } from './changing.ts'
import { entryOf, readInode, readInodeAt, type Inode, type Keeping } from './inode.ts'
import { type Quotas } from './quota.ts'
import { refusing } from './refusal.ts'
import { type Spot, type Tree } from './tree.ts'
import { type Way } from './way.ts'
import { type Whereabouts } from './whereabouts.ts'

export interface Store {
  readonly tree: Tree
  readonly keeping: Keeping
  readonly changing: Changing
  readonly whereabouts: Whereabouts
  readonly way: Way
  readonly allocationParents: readonly NodePath[]
  /** keepers (tree.ts) that may have a `.karst` now */
  readonly kept: Set<NodePath>
  /** the file system clones files (FICLONE) */
  readonly reflink: boolean
  /** absent: allocations have no quotas here */
  readonly quotas?: Quotas
}

/** Runs a synchronous step on the node of a ref, wherever it is by now. Throws NodeNotFound, with ESTALE for an id. */
export function onNode<T>(store: Store, ref: Ref, step: (spot: Spot, inode: Inode, path: NodePath) => T, special = false): T {
  refuseReserved(ref.path, store.allocationParents)
  const found = locate(store, ref, special)
  return refusing(found, () =>
    store.tree.at(found, (spot) => {
      const inode = readInodeAt(spot, store.keeping, special)
      if (inode === undefined) throw missing(ref)
      return step(spot, inode, found)
    }),
  )
} // prettier-ignore

/** The same when no change in place is going on: waits for its end first. */
export async function onQuietNode<T>(store: Store, ref: Ref, step: (spot: Spot, inode: Inode, path: NodePath) => T, special = false): Promise<T> {
  for (;;) {
    const outcome = onNode(store, ref, (spot, inode, path) => {
      const busy = store.changing.of(inode.self)
      return busy === undefined ? { value: step(spot, inode, path) } : { busy }
    }, special)
    if ('value' in outcome) return outcome.value
    await outcome.busy
  }
} // prettier-ignore

/** The path at which the node of a ref is: the one given, or where a node of that id went. */
export function locate(store: Store, ref: Ref, special = false): NodePath {
  const { path, id } = ref
  if (id === undefined || idAt(store, path, special) === id) return path
  const moved = store.whereabouts.of(id)
  if (moved !== undefined && moved !== path && idAt(store, moved, special) === id) return moved
  throw missing(ref)
}

function idAt(store: Store, path: NodePath, special: boolean): string | undefined {
  try {
    return refusing(path, () => store.tree.at(path, (spot) => readInodeAt(spot, store.keeping, special)?.id))
  } catch (error) {
    if (error instanceof Fault && error.fault === 'ContainerNotFound') return undefined
    throw error
  }
}

export function missing({ path, id }: Ref): Fault {
  return new Fault('NodeNotFound', path, id === undefined ? {} : { errno: 'ESTALE' })
}

/** The entry of what stands at a spot, and notes where it is. */
export function entryAt(store: Store, spot: Spot, path: NodePath): Entry | undefined {
  const inode = readInode(spot.file, store.keeping)
  return inode === undefined ? undefined : noted(store, inode, path)
}

export function noted(store: Store, inode: Inode, path: NodePath, special = false): Entry {
  store.whereabouts.seen(inode.id, path)
  return entryOf(inode, path, store.keeping, special)
}

export function needType(inode: Inode, type: NodeType, path: NodePath): void {
  if (inode.type !== type) throw wrongType(path, type, inode.type)
}

/** PreconditionFailed unless the bytes are those. */
export function needVersion(inode: Inode, wanted: string | undefined, path: NodePath): void {
  if (wanted !== undefined && inode.contentVersion !== wanted) {
    throw new Fault('PreconditionFailed', `${path} has changed`)
  }
}
