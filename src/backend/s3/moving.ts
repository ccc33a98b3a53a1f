/** Moves in a catalog: one row, whatever stands below. */
import { type NodeRow, ROOT_ID } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { isWithin, nameOf, ROOT, type NodePath } from '../../vospace/path.ts'
import { wrongType } from '../contract.ts'
import { type Placed, type Tree } from './tree.ts'

interface MoveOptions {
  readonly replace?: boolean
  readonly exchange?: boolean
}

/** The rules of rename(2), with what the storage interface says of them. */
export function move(tree: Tree, from: NodePath, to: NodePath, options: MoveOptions): Entry {
  const { catalog } = tree
  return catalog.transaction(() => {
    const moved = tree.need({ path: from })
    const parent = tree.parent(to)
    const row = to === ROOT ? undefined : catalog.child(parent.id, nameOf(to))
    const there = row && { row, path: to }
    if (from === ROOT || to === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    tree.named.refuseMove(moved)
    if (there !== undefined) tree.named.refuseMove(there)
    tree.named.refuseCrossing(to)
    if (options.exchange === true) return exchange(tree, moved, there)
    if (there !== undefined && options.replace !== true) throw new Fault('DuplicateNode', to)
    if (there?.row.id === moved.row.id) return tree.entry(moved)
    if (isWithin(to, from)) throw new Fault('InvalidArgument', `${from} into itself`)
    if (there !== undefined) checkReplaceable(tree, moved, there)
    tree.refuseMove(moved.row, parent.id, there?.row.size ?? 0)
    if (there !== undefined) tree.drop(there.row, to)
    return tree.entry({ row: catalog.rename(moved.row, parent.id, nameOf(to)), path: to })
  })
}

function checkReplaceable(tree: Tree, moved: Placed, there: Placed): void {
  const { row, path } = there
  if (isWithin(moved.path, path)) throw new Fault('ContainerNotEmpty', path)
  if (moved.row.type === 'container' && row.type !== 'container') throw wrongType(path, 'container', row.type)
  if (moved.row.type !== 'container' && row.type === 'container') throw wrongType(path, 'leaf', row.type)
  if (tree.catalog.hasChildren(row.id)) throw new Fault('ContainerNotEmpty', path)
}

function exchange(tree: Tree, a: Placed, b: Placed | undefined): Entry {
  if (b === undefined) throw new Fault('NodeNotFound', 'nothing to exchange it with')
  if (a.row.id === b.row.id) return tree.entry(a)
  if (isWithin(b.path, a.path) || isWithin(a.path, b.path)) {
    throw new Fault('InvalidArgument', `${a.path} into ${b.path}`)
  }
  tree.refuseMove(a.row, parentIn(b.row), b.row.size)
  tree.refuseMove(b.row, parentIn(a.row), a.row.size)
  return tree.entry({ row: tree.catalog.exchange(a.row, b.row), path: b.path })
}

const parentIn = ({ parent }: NodeRow): number => parent ?? ROOT_ID
