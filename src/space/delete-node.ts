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
  await deleteTree(space, caller, chain, options)
}

async function checkTree(space: Space, caller: Caller, chain: Chain, options: Options): Promise<void> {
  options.signal?.throwIfAborted()
  authorize(caller, 'delete', chain, space.rules)
  const node = chain.at(-1)
  if (node?.type !== 'container') return
  for await (const entry of space.backend.list(node.path, { ...options, order: 'any' })) {
    await checkTree(space, caller, [...chain, entry], options)
  }
}

async function deleteTree(space: Space, caller: Caller, chain: Chain, options: Options): Promise<void> {
  options.signal?.throwIfAborted()
  authorize(caller, 'delete', chain, space.rules)
  const node = chain.at(-1)
  if (node === undefined) return
  if (node.type === 'container') await deleteContainer(space, caller, chain, node, options)
  else if (!(await goes(space, node))) return
  space.changes.append({ id: node.id, path: node.path, kind: 'removed' })
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

async function deleteContainer(space: Space, caller: Caller, chain: Chain, node: Entry, options: Options) {
  for (let round = 1; ; round++) {
    await deleteChildren(space, caller, chain, node, options)
    try {
      await goes(space, node)
      return
    } catch (error) {
      if (!isFault(error, 'ContainerNotEmpty') || round === MAX_ROUNDS) throw error
    }
  }
}

// Batch by batch from the start: a listing that goes on while its container changes could leave some out.
async function deleteChildren(space: Space, caller: Caller, chain: Chain, node: Entry, options: Options) {
  for (;;) {
    const batch: Entry[] = []
    for await (const entry of space.backend.list(node.path, { ...options, order: 'any' })) {
      batch.push(entry)
      if (batch.length === BATCH) break
    }
    if (batch.length === 0) return
    for (const entry of batch) await deleteTree(space, caller, [...chain, entry], options)
  }
}
