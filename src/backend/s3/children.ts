/** The children of a container: listed, surveyed and removed by the page. */
import { type NodeRow } from '../../store/catalog.ts'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { child, type NodePath } from '../../vospace/path.ts'
import {
  type Cancel,
  type Child,
  type Choose,
  type IdentifiedChild,
  type ListOptions,
  type Ref,
  type Removal,
} from '../backend.ts'
import { PAGE, refuseAborted, wrongType } from '../contract.ts'
import { childOf, idOf } from './entry.ts'
import { type Tree } from './tree.ts'

export async function* list(tree: Tree, container: NodePath, options: ListOptions): AsyncIterable<Entry> {
  const { row } = tree.need({ path: container }, 'container')
  const from = options.order === 'any' ? '' : (options.from ?? '')
  for (const page of pages(tree, row.id, from)) {
    refuseAborted(options.signal)
    for (const found of page) yield tree.entry({ row: found, path: child(container, found.name) })
  }
}

export async function* survey(tree: Tree, container: NodePath, { signal }: Cancel): AsyncIterable<readonly Child[]> {
  const { row } = tree.need({ path: container }, 'container')
  for (const page of pages(tree, row.id, '')) {
    refuseAborted(signal)
    yield page.map(childOf)
  }
  refuseAborted(signal)
}

export async function* removeChildren(
  tree: Tree,
  ref: Ref,
  choose: Choose,
  { signal }: Cancel,
): AsyncIterable<readonly Removal[]> {
  const { row } = tree.need(ref, 'container')
  let after = ''
  for (;;) {
    refuseAborted(signal)
    const { removals, last } = tree.catalog.transaction(() => {
      if (tree.along(ref.path).at(-1)?.row.id !== row.id) throw new Fault('NodeNotFound', ref.path, { errno: 'ESTALE' })
      const page = tree.catalog.pageAfter(row.id, after, PAGE)
      const rows = new Map(page.map((one) => [idOf(one), one]))
      const removals = page.length === 0 ? [] : choose(page.map(childOf)).map((one) => taken(tree, one, rows))
      return { removals, last: page.at(-1)?.name }
    })
    if (last === undefined) return
    after = last
    yield removals
  }
}

function taken(tree: Tree, child: IdentifiedChild, page: ReadonlyMap<string, NodeRow>): Removal {
  const row = page.get(child.id)
  if (row === undefined) return { child, fault: new Fault('NodeNotFound', child.name) }
  if (row.type === 'container') return { child, fault: wrongType(child.name, 'leaf', 'container') }
  try {
    tree.drop(row, child.name)
    return { child }
  } catch (error) {
    if (!isFault(error, 'PermissionDenied')) throw error
    return { child, fault: error }
  }
}

/** Each as it is when it is asked for. */
function* pages(tree: Tree, container: number, from: string): Generator<NodeRow[], void> {
  let page = tree.catalog.page(container, from, PAGE)
  while (page.length > 0) {
    yield page
    const last = page.at(-1)?.name
    if (page.length < PAGE || last === undefined) return
    page = tree.catalog.pageAfter(container, last, PAGE)
  }
}
