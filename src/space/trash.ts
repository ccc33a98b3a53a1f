/**
 * The trash: what is deleted through VOSpace waits there, in the allocation it was in, for as long as the site keeps it. The owner of the
 * allocation sees all of it; everybody else what they have deleted themselves.
 */
import { randomBytes } from 'node:crypto'
import { type Trash, type TrashNote } from '../backend/backend.ts'
import { allocationOf, keeperOf } from '../vospace/allocation.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { ROOT, type NodePath } from '../vospace/path.ts'
import { authorize, ownsTrash, seen, type Chain } from './authorize.ts'
import { resolve } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

/** A note, and when the node goes for good, milliseconds since 1970; undefined: the site does not say. */
export interface Discarded extends TrashNote {
  readonly expires: number | undefined
}

const DAY_MS = 86_400_000

/** Whether what is deleted waits in the trash. */
export const keepsTrash = ({ rules, backend }: Space): boolean => rules.trashDays > 0 && backend.trash !== undefined

export const newTrashId = (): string => Date.now().toString(36) + randomBytes(6).toString('hex')

/**
 * Moves a node with everything below to the trash; false: there is none for it, or no room even for a note of it, and it is to be removed instead.
 * Whether the caller may is checked before. `nodes` as they were counted.
 */
export async function discard(
  space: Space,
  caller: Caller,
  chain: Chain,
  nodes: number | undefined,
  id: string = newTrashId(),
): Promise<boolean> {
  const node = chain.at(-1)
  const { trash } = space.backend
  if (!keepsTrash(space) || trash === undefined || node === undefined || trash.keeps?.(node.path) === false)
    return false
  const { path, type } = node
  const by = caller.user
  try {
    await trash.put(
      path,
      { id: node.id },
      { id, path, type, deleted: Date.now(), ...(nodes !== undefined && { nodes }), ...(by !== undefined && { by }) },
    )
  } catch (error) {
    if (isFault(error, 'QuotaExceeded')) return false // who frees a full disk must be able to
    throw error
  }
  space.changes.append({ id: node.id, path, kind: 'removed' })
  return true
}

/** Whether something of that id waits where the node of a path went. */
export async function isDiscarded(space: Space, path: NodePath, id: string): Promise<boolean> {
  for await (const note of space.backend.trash?.list(keeperOf(path, space.rules.allocationParents)) ?? []) {
    if (note.id === id) return true
  }
  return false
}

/** What the caller may see of the trash of the allocation that a path is in. NodeNotFound, PermissionDenied, OperationNotSupported. */
export async function* listTrash(space: Space, caller: Caller, path: NodePath): AsyncGenerator<Discarded> {
  const { trash, keeper, isOwner } = await opened(space, caller, path)
  const { trashDays } = space.rules
  for await (const note of trash.list(keeper)) {
    if (!isOwner && (caller.user === undefined || note.by !== caller.user)) continue
    yield { ...note, expires: trashDays > 0 ? note.deleted + trashDays * DAY_MS : undefined }
  }
}

/**
 * Puts a node back where it was, or to another place of the same allocation where the caller may create. NodeNotFound (no such id that they may
 * see), DuplicateNode, ContainerNotFound, PermissionDenied, OperationNotSupported (another allocation).
 */
export async function restoreTrash(
  space: Space,
  caller: Caller,
  path: NodePath,
  id: string,
  to?: NodePath,
): Promise<SeenEntry> {
  const { trash, keeper } = await opened(space, caller, path)
  const note = await noteOf(space, caller, path, id)
  const place = await resolve(space, caller, to ?? note.path, { leaf: 'itself', way: 'follow' })
  if (place.node !== undefined) throw new Fault('DuplicateNode', place.path)
  authorize(caller, 'create', place.parents, space.rules)
  const entry = await trash.restore(keeper, id, place.path)
  space.changes.append({ id: entry.id, path: entry.path, kind: 'made' })
  return seen(caller, [...place.parents, entry], space.rules)
}

/** Removes for good: what is named, or all that the caller may see. Answers how many. NodeNotFound for an id that they may not see. */
export async function emptyTrash(
  space: Space,
  caller: Caller,
  path: NodePath,
  id?: string,
  signal?: AbortSignal,
): Promise<number> {
  const { trash, keeper } = await opened(space, caller, path)
  let purged = 0
  const notes = id === undefined ? listTrash(space, caller, path) : [await noteOf(space, caller, path, id)]
  for await (const note of notes) {
    if (signal?.aborted === true) break
    await trash.purge(keeper, note.id)
    purged++
  }
  const detail = { removed: purged, ...(id !== undefined && { id }) }
  space.audit?.note({ act: 'trash.empty', by: caller.user ?? null, on: keeper, result: 'allowed', detail })
  return purged
}

/** Removes for good what has waited long enough, everywhere. Answers how many. Nothing while the trash is off. */
export async function sweepTrash(space: Space, now: number = Date.now()): Promise<number> {
  const { trash } = space.backend
  if (trash === undefined || !keepsTrash(space)) return 0
  let swept = 0
  for await (const keeper of trash.keepers()) {
    try {
      swept += await trash.sweep(keeper, now - space.rules.trashDays * DAY_MS)
    } catch (error) {
      // an allocation that went meanwhile, or an item that another gateway is at
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound')) throw error
    }
  }
  return swept
}

async function noteOf(space: Space, caller: Caller, path: NodePath, id: string): Promise<TrashNote> {
  for await (const note of listTrash(space, caller, path)) if (note.id === id) return note
  throw new Fault('NodeNotFound', `nothing of theirs in the trash has the id ${id.slice(0, 100)}`)
}

interface Opened {
  readonly trash: Trash
  readonly keeper: NodePath
  readonly isOwner: boolean
}

async function opened(space: Space, caller: Caller, path: NodePath): Promise<Opened> {
  const { backend, rules } = space
  if (backend.trash === undefined) throw new Fault('OperationNotSupported', 'this storage has no trash')
  if (caller.user === undefined) throw new Fault('PermissionDenied', 'anonymous callers have no trash')
  const keeper = allocationOf(path, rules.allocationParents) ?? ROOT
  const chain = await backend.walk(keeper)
  if (chain.at(-1)?.path !== keeper) throw new Fault('NodeNotFound', keeper)
  authorize(caller, 'reach', chain.slice(0, -1), rules)
  return { trash: backend.trash, keeper, isOwner: ownsTrash(caller, chain, rules) }
}
