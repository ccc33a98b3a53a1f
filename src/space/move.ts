/** Move: a node, whole trees and links as themselves, to another name or into another container (VOSpace 2.1, moveNode; wire.md 4.4). */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { carriedText, textPath } from '../vospace/link.ts'
import { type Entry } from '../vospace/node.ts'
import { child, isWithin, nameOf, type NodePath } from '../vospace/path.ts'
import { authorize, authorizeCrossing, type Chain } from './authorize.ts'
import { isCrossing } from './carry.ts'
import { deleteNode } from './delete-node.ts'
import { isMovedAcross, moveAcross } from './move-across.ts'
import { checkMakeable, hasNullName, isNull, newPath } from './reserved-names.ts'
import { chainOf, entryAt, find, resolve, type Found } from './resolve.ts'
import { capabilitiesOf, type Space } from './space.ts'

/** Where something is to come, under a name that is free. */
export interface Destination {
  readonly path: NodePath
  /** root first; what ends it is the container it comes into */
  readonly containers: Chain
}

/** What a move that was cut short knows of itself. */
export interface MoveCheckpoint {
  readonly id: string
  /** links resolved */
  readonly from: NodePath
  readonly to: NodePath
  /** of one that goes to another storage: the copy that is to take the place, and when it is whole its id */
  readonly staged?: { readonly path: NodePath; readonly id?: string }
}

/** How a move is tied to its job: `noted` is what `note` was told by a run that was cut short. */
export interface MoveRun {
  readonly note: (checkpoint: MoveCheckpoint) => void
  readonly noted: MoveCheckpoint | undefined
  readonly signal?: AbortSignal
  /** nodes that have come to another storage */
  readonly progress?: (done: number) => void
}

/** What a container is told that would come into itself; the Java suite looks for these words (wire.md 4.4). */
export const INTO_ITSELF = {
  move: 'Cannot move container node into its descendants',
  copy: 'Cannot copy container node into its descendants',
} as const

/**
 * Into `to` when that is a container (or a link to one), under its own name; else to that name, which must be free, in a container that is
 * there. What comes to `.null` is deleted; for `.auto` a name is made up. Answers where it is now.
 * NodeNotFound (the source), ContainerNotFound (no container at the destination), DuplicateNode, InvalidArgument (INTO_ITSELF),
 * UnreadableLinkTarget, PermissionDenied: write permission on both containers, nothing of it locked.
 */
export async function moveNode(
  space: Space,
  caller: Caller,
  from: NodePath,
  to: NodePath,
  { note, noted, signal, progress }: MoveRun,
): Promise<NodePath> {
  const done = noted !== undefined && (await isDone(space, noted))
  if (done) return noted.to
  const source = await find(space, caller, from, { leaf: 'itself', way: 'follow' })
  authorize(caller, 'delete', chainOf(source), space.rules)
  if (isNull(await resolve(space, caller, to, { leaf: 'target', way: 'follow' }))) {
    note({ id: source.node.id, from: source.path, to })
    await deleteNode(space, caller, source.path, signal && { signal })
    return to
  }
  const { path, containers } = await destinationOf(space, caller, source, to, 'move')
  checkCrossing(space, caller, source, containers)
  note({ id: source.node.id, from: source.path, to: path })
  const text = source.node.text && carriedText(source.node.text, source.path, path, space.service)
  if (text !== undefined && !text.equals(source.node.text ?? text)) {
    await relink(space, source.node, path, text)
    return path
  }
  try {
    const entry = await space.backend.move(source.path, path)
    space.changes.append({ id: entry.id, path, kind: 'moved', from: source.path })
  } catch (error) {
    if (!isCrossing(error)) throw error
    await moveAcross(space, { id: source.node.id, from: source.path, to: path }, { note, signal, progress })
  }
  return path
}

// A link whose text would lead elsewhere from its new place: a storage keeps texts as they are, so another link takes its place.
async function relink(space: Space, link: Entry, path: NodePath, text: Buffer): Promise<void> {
  const { backend, changes } = space
  const { access, mode, properties } = link
  const kept = capabilitiesOf(space, path).linkProperties ? properties : new Map<string, string>()
  const entry = await backend.make(path, { type: 'link', access, mode, text, properties: kept })
  changes.append({ id: entry.id, path, kind: 'made' })
  await backend.remove(link.path, 'link')
  changes.append({ id: link.id, path: link.path, kind: 'removed' })
}

/** Where a source comes to when it is moved or copied to `to`, looked at with write permission. Refuses as moveNode does. */
export async function destinationOf(
  space: Space,
  caller: Caller,
  source: Found,
  to: NodePath,
  what: keyof typeof INTO_ITSELF,
): Promise<Destination> {
  const place = await resolve(space, caller, newPath(to), { leaf: 'target', way: 'follow' })
  const isInside = place.node?.type === 'container'
  if (source.node.type === 'container' && isWithin(place.path, source.path)) {
    throw new Fault('InvalidArgument', INTO_ITSELF[what])
  }
  if (place.node !== undefined && !isInside) throw new Fault('DuplicateNode', place.path)
  const containers = isInside ? chainOf({ ...place, node: place.node }) : place.parents
  const path = isInside ? child(place.path, nameOf(source.path)) : place.path
  authorize(caller, 'create', containers, space.rules)
  if (!isInside) checkMakeable(path)
  else await checkFree(space, path)
  return { path, containers }
}

// The storage looks again, in the same step; here it is for the order of refusals.
async function checkFree(space: Space, path: NodePath): Promise<void> {
  if ((await entryAt(space, path)) !== undefined) throw new Fault('DuplicateNode', path)
}

// A program that gets EXDEV copies instead; here it is simply not allowed.
function checkCrossing(space: Space, caller: Caller, source: Found, containers: Chain): void {
  try {
    authorizeCrossing(caller, chainOf(source), containers, space.rules)
  } catch (error) {
    if (!isFault(error, 'OperationNotSupported')) throw error
    throw new Fault('PermissionDenied', error.detail, { cause: error })
  }
}

/** Whether a move that was cut short has happened. Of a link that was made anew the old one may be left. */
async function isDone(space: Space, noted: MoveCheckpoint): Promise<boolean> {
  const { id, from, to } = noted
  if (noted.staged !== undefined) return isMovedAcross(space, noted)
  const source = await entryAt(space, from)
  const isGone = source?.id !== id
  if (hasNullName(to)) return isGone
  const moved = await entryAt(space, to)
  if (moved?.id === id) return true
  const target = moved?.text && textPath(moved.text, to)
  if (target === undefined || isGone) return target !== undefined
  if (source.text === undefined || textPath(source.text, from) !== target) return false
  await space.backend.remove(from, 'link')
  space.changes.append({ id, path: from, kind: 'removed' })
  return true
}
