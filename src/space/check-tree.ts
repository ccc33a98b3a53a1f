/** Whether a whole tree may be deleted, and how many nodes it is. */
import { type Caller } from '../vospace/caller.ts'
import { authorize, type Chain } from './authorize.ts'
import { refuseStopped } from './recursion.ts'
import { type Space } from './space.ts'

/** The nodes of a tree, counted; throws the first refusal of one: PermissionDenied. Memory is bounded by the depth. */
export async function checkTree(space: Space, caller: Caller, chain: Chain, signal?: AbortSignal): Promise<number> {
  refuseStopped(signal)
  authorize(caller, 'delete', chain, space.rules)
  const node = chain.at(-1)
  let nodes = 1
  if (node?.type !== 'container') return nodes
  for await (const entry of space.backend.list(node.path, { ...(signal && { signal }), order: 'any' })) {
    if (entry.type === 'container') nodes += await checkTree(space, caller, [...chain, entry], signal)
    else {
      authorize(caller, 'delete', [...chain, entry], space.rules)
      nodes++
    }
  }
  return nodes
}
