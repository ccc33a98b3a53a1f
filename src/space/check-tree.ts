/** Whether a whole tree may be deleted, and how many nodes it is. */
import { type Caller } from '../vospace/caller.ts'
import { child, type NodePath } from '../vospace/path.ts'
import { authorize, childDeletion, denied, type Chain } from './authorize.ts'
import { refuseStopped } from './recursion.ts'
import { refuseFixed, type Space } from './space.ts'

/** The nodes of a tree, counted; throws the first refusal of one: PermissionDenied. Memory is bounded by the depth. */
export async function checkTree(space: Space, caller: Caller, chain: Chain, signal?: AbortSignal): Promise<number> {
  refuseStopped(signal)
  authorize(caller, 'delete', chain, space.rules)
  const node = chain.at(-1)
  let nodes = 1
  if (node?.type !== 'container') return nodes
  refuseFixed(space, node.path)
  for await (const page of space.backend.survey(node.path, signal && { signal })) {
    const refusalOfChild = childDeletion(caller, chain, space.rules)
    for (const below of page) {
      const path = child(node.path, below.name)
      if (below.type === 'container') nodes += await checkContainer(space, caller, chain, path, signal)
      else {
        const refusal = refusalOfChild(below)
        if (refusal !== undefined) throw denied(caller, 'delete', path, refusal)
        nodes++
      }
    }
  }
  return nodes
}

/** Nothing to count where it is gone by now. */
async function checkContainer(
  space: Space,
  caller: Caller,
  above: Chain,
  path: NodePath,
  signal: AbortSignal | undefined,
): Promise<number> {
  const entry = (await space.backend.walk(path)).at(-1)
  return entry?.path === path ? checkTree(space, caller, [...above, entry], signal) : 0
}
