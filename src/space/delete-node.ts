/** DELETE of a node with everything below (VOSpace 2.1 section on deleteNode), a link as itself. */
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { checkTree } from './check-tree.ts'
import { deleteTree } from './recursive-delete.ts'
import { chainOf, present, resolve } from './resolve.ts'
import { type Space } from './space.ts'
import { discard } from './trash.ts'

/**
 * Every node below must be deletable for the caller: all are looked at before the first one goes, so a lock or a foreign container inside
 * refuses the whole with nothing lost. To the trash where there is one; else node by node, and what others do meanwhile is checked again at
 * each: a refusal then leaves the rest. Memory is bounded by the depth of the tree.
 * NodeNotFound, ContainerNotFound, LinkFound (strict), PermissionDenied (EBUSY for the root).
 */
export async function deleteNode(
  space: Space,
  caller: Caller,
  path: NodePath,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  if (path === '/') throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
  const way = space.rules.strict ? 'refuse' : 'follow'
  const chain = chainOf(present(await resolve(space, caller, path, { leaf: 'itself', way, signal })))
  const nodes = await checkTree(space, caller, chain, signal)
  if (!(await discard(space, caller, chain, nodes))) await deleteTree(space, caller, chain, signal)
}
