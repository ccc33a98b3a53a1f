/** DELETE of a node with everything below (VOSpace 2.1 section on deleteNode), a link as itself. */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { authorize, type Chain } from './authorize.ts'
import { chainOf, present, resolve } from './resolve.ts'
import { type Space } from './space.ts'

/** Nodes held at a time for each level of the tree. */
const BATCH = 256
/** How often a container is emptied again because somebody else goes on writing into it. */
const MAX_ROUNDS = 5

interface Options {
  readonly signal?: AbortSignal
}

/**
 * Every node below must be deletable for the caller: all are looked at before the first one goes, so a lock or a foreign container inside
 * refuses the whole with nothing lost. What others do meanwhile is checked again at each node; a refusal then leaves the rest.
 * Memory is bounded by the depth of the tree. NodeNotFound, ContainerNotFound, LinkFound (strict), PermissionDenied (EBUSY for the root).
 */
export async function deleteNode(space: Space, caller: Caller, path: NodePath, options: Options = {}): Promise<void> {
  if (path === '/') throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
  const way = space.rules.strict ? 'refuse' : 'follow'
  const found = present(await resolve(space, caller, path, { leaf: 'itself', way, signal: options.signal }))
  const chain = chainOf(found)
  await checkTree(space, caller, chain, options)
  await deleteTree(space, caller, found.path, options)
}

function refuseAborted({ signal }: Options): void {
  if (signal?.aborted === true) throw new Fault('TransferFailed', 'cancelled', { cause: signal.reason })
}

async function checkTree(space: Space, caller: Caller, chain: Chain, options: Options): Promise<void> {
  refuseAborted(options)
  authorize(caller, 'delete', chain, space.rules)
  const node = chain.at(-1)
  if (node?.type !== 'container') return
  for await (const entry of space.backend.list(node.path, { ...options, order: 'any' })) {
    await checkTree(space, caller, [...chain, entry], options)
  }
}

// Looked at anew: since the check somebody may have locked it, or put another node in its place.
async function deleteTree(space: Space, caller: Caller, path: NodePath, options: Options): Promise<boolean> {
  refuseAborted(options)
  const chain = await space.backend.walk(path, options)
  const node = chain.at(-1)
  if (node?.path !== path) return false
  authorize(caller, 'delete', chain, space.rules)
  const isGone =
    node.type === 'container' ? await deleteContainer(space, caller, node, options) : await goes(space, node)
  if (isGone) space.changes.append({ id: node.id, path, kind: 'removed' })
  return isGone
}

// What somebody else has removed meanwhile is as gone as we want it.
async function goes(space: Space, node: Entry): Promise<boolean> {
  try {
    await space.backend.remove(node.path, node.type)
    return true
  } catch (error) {
    if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return false
    throw error
  }
}

async function deleteContainer(space: Space, caller: Caller, node: Entry, options: Options): Promise<boolean> {
  for (let round = 1; ; round++) {
    await deleteChildren(space, caller, node, options)
    try {
      return await goes(space, node)
    } catch (error) {
      if (!isFault(error, 'ContainerNotEmpty') || round === MAX_ROUNDS) throw error
    }
  }
}

// Batch by batch from the start: a listing that goes on while its container changes could leave some out.
async function deleteChildren(space: Space, caller: Caller, node: Entry, options: Options): Promise<void> {
  for (;;) {
    const batch: NodePath[] = []
    for await (const { path } of space.backend.list(node.path, { ...options, order: 'any' })) {
      batch.push(path)
      if (batch.length === BATCH) break
    }
    let went = 0
    for (const path of batch) if (await deleteTree(space, caller, path, options)) went++
    if (went === 0) return
  }
}
