/** Allocations: the containers right under an allocation parent, each one user's or project's. */
import { isWithin, parentOf, ROOT, stepsOf, type NodePath } from './path.ts'

/** The allocation that a path stands in: the container right under an allocation parent; undefined outside of every one. */
export function allocationOf(path: NodePath, allocationParents: readonly NodePath[]): NodePath | undefined {
  let longest: NodePath | undefined
  for (const parent of allocationParents) {
    if (path === parent || !isWithin(path, parent)) continue
    if (longest === undefined || parent.length > longest.length) longest = parent
  }
  if (longest === undefined) return undefined
  const depth = stepsOf(longest).length
  return `/${stepsOf(path)
    .slice(0, depth + 1)
    .join('/')}` as NodePath
}

/** The container whose trash a node goes to. */
export function keeperOf(path: NodePath, allocationParents: readonly NodePath[]): NodePath {
  return path === ROOT ? ROOT : (allocationOf(parentOf(path), allocationParents) ?? ROOT)
}
