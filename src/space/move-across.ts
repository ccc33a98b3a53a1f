/**
 * A move from one storage to another: a copy grows beside where it is to come, with all that is kept of each node. When it is whole the source is
 * held, so that nobody changes it, what has changed meanwhile is brought over, the copy takes its place, and only then the source goes.
 */
import { createHash } from 'node:crypto'
import { type Held } from '../backend/backend.ts'
import { child, parentOf, type NodePath } from '../vospace/path.ts'
import { alone } from './alone.ts'
import { carryTree, entryIn, refuseTrash, removeWhole, type CarryRun } from './carry.ts'
import { refuseImported } from './import.ts'
import { type MoveCheckpoint, type MoveRun } from './move.ts'
import { type Space } from './space.ts'

interface CrossingRun {
  readonly note: MoveRun['note']
  readonly signal: AbortSignal | undefined
  readonly progress: ((done: number) => void) | undefined
}

/** NodeBusy: the source is moved by another, or has a trash of its own; TransferFailed; refusals of the storages. What is not whole is taken away again. */
export async function moveAcross(
  space: Space,
  plan: Pick<MoveCheckpoint, 'id' | 'from' | 'to'>,
  crossing: CrossingRun,
): Promise<void> {
  const staged = stagedFor(plan.id, plan.to)
  // the same move twice has one copy
  await alone(space.backend, staged, () => bring(space, plan, staged, crossing))
}

async function bring(
  space: Space,
  { id, from, to }: Pick<MoveCheckpoint, 'id' | 'from' | 'to'>,
  staged: NodePath,
  { note, signal = new AbortController().signal, progress }: CrossingRun,
): Promise<void> {
  const { backend, changes } = space
  refuseImported(space, from, to)
  await refuseTrash(backend, from)
  note({ id, from, to, staged: { path: staged } })
  const run: CarryRun = { signal, ...(progress && { progress }) }
  const source = { backend, path: from }
  let held
  try {
    await carryTree(source, { backend, path: staged }, run)
    held = await holdOf(space, from)
    await refuseTrash(backend, from)
    const copy = await carryTree(source, { backend, path: staged }, { signal })
    note({ id, from, to, staged: { path: staged, id: copy.id } })
    const entry = await backend.move(staged, to)
    changes.append({ id: entry.id, path: to, kind: 'made' })
    await held.remove()
    changes.append({ id, path: from, kind: 'removed' })
  } catch (error) {
    // one that is told to stop goes on later from here, or is undone
    if (!signal.aborted) await removeWhole(backend, staged)
    throw error
  } finally {
    held?.release()
  }
}

/** Whether a move that was cut short has put the copy into its place; then what is left of the source goes. */
export async function isMovedAcross(space: Space, { id, from, to, staged }: MoveCheckpoint): Promise<boolean> {
  const { backend, changes } = space
  if (staged?.id === undefined) return false
  if ((await entryIn(backend, to))?.id !== staged.id) return false
  if ((await entryIn(backend, from))?.id !== id) return true
  const held = await holdOf(space, from)
  try {
    await held.remove()
    changes.append({ id, path: from, kind: 'removed' })
  } finally {
    held.release()
  }
  return true
}

/** A storage that is alone may refuse a rename as well (CephFS, into a quota): there nobody is kept from the source. */
async function holdOf({ backend }: Space, path: NodePath): Promise<Held> {
  return backend.profiles?.hold(path) ?? { remove: () => removeWhole(backend, path), release: () => undefined }
}

/** Takes away what a move across that does not go on has made. */
export async function undoAcross({ backend }: Space, { to, staged }: MoveCheckpoint): Promise<void> {
  if (staged === undefined) return
  if (staged.id !== undefined && (await entryIn(backend, to))?.id === staged.id) return
  await alone(backend, staged.path, () => removeWhole(backend, staged.path))
}

/** The same at every try, so that one that was cut short is found again. */
function stagedFor(id: string, to: NodePath): NodePath {
  const name = createHash('sha256').update(`${id} ${to}`).digest('hex').slice(0, 20)
  return child(parentOf(to), `.karst-copy-${name}`)
}
