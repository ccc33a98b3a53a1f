/**
 * Snapshots: an allocation as it was at a moment. They are its owner's, to make, read, restore from and remove: what was shared then may have
 * been withdrawn since, so nobody else reads in them.
 */
import { createHash } from 'node:crypto'
import { type Snapshot, type Snapshots } from '../backend/backend.ts'
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { told } from '../jobs/told.ts'
import { allocationOf, keeperOf } from '../vospace/allocation.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { child, parentOf, type NodePath } from '../vospace/path.ts'
import { localPath } from '../vospace/uri.ts'
import { alone } from './alone.ts'
import { authorize, ownsTrash } from './authorize.ts'
import { carryTree, entryIn, removeWhole } from './carry.ts'
import { chainOf, resolve } from './resolve.ts'
import { type Space } from './space.ts'
import { discard, isDiscarded, keepsTrash, newTrashId } from './trash.ts'

/** Name of the kind, and of its list. */
export const RESTORES = 'snapshot-restores'

/** Of the allocation that a path is in, the oldest first. NodeNotFound, PermissionDenied, OperationNotSupported, of all of these. */
export async function listSnapshots(space: Space, caller: Caller, path: NodePath): Promise<readonly Snapshot[]> {
  const { snapshots, allocation } = await opened(space, caller, path, 'list')
  return snapshots.list(allocation)
}

/** InvalidArgument (the name), DuplicateNode, QuotaExceeded. */
export async function createSnapshot(space: Space, caller: Caller, path: NodePath, name: string): Promise<Snapshot> {
  const { snapshots, allocation } = await opened(space, caller, path, 'update')
  const made = await snapshots.make(allocation, name)
  noteOf(space, caller, allocation, { act: 'snapshot.create', name })
  return made
}

export async function removeSnapshot(space: Space, caller: Caller, path: NodePath, name: string): Promise<void> {
  const { snapshots, allocation } = await opened(space, caller, path, 'update')
  await snapshots.remove(allocation, name)
  noteOf(space, caller, allocation, { act: 'snapshot.remove', name })
}

/** The space with the allocation of a path as it was: what reads a node reads that one there. */
export async function pastSpace(space: Space, caller: Caller, path: NodePath, name: string): Promise<Space> {
  const { snapshots, allocation } = await opened(space, caller, path, 'list')
  return { ...space, backend: await snapshots.at(allocation, name) }
}

type Act = 'snapshot.create' | 'snapshot.remove' | 'snapshot.restore'

function noteOf({ audit }: Space, { user }: Caller, on: NodePath, { act, name }: { act: Act; name: string }): void {
  audit?.note({ act, by: user ?? null, on, result: 'allowed', detail: { name } })
}

interface Opened {
  readonly snapshots: Snapshots
  readonly allocation: NodePath
}

async function opened(space: Space, caller: Caller, path: NodePath, verb: 'list' | 'update'): Promise<Opened> {
  const { backend, rules } = space
  const { snapshots } = backend
  if (snapshots === undefined) throw new Fault('OperationNotSupported', 'this storage has no snapshots')
  const allocation = allocationOf(path, rules.allocationParents)
  if (allocation === undefined) throw new Fault('OperationNotSupported', 'snapshots are of allocations')
  const chain = await backend.walk(allocation)
  if (chain.at(-1)?.path !== allocation) throw new Fault('NodeNotFound', allocation)
  authorize(caller, verb, chain, rules)
  if (!ownsTrash(caller, chain, rules)) {
    throw new Fault('PermissionDenied', `the snapshots of ${allocation} are for its owner`)
  }
  return { snapshots, allocation }
}

interface Checkpoint {
  readonly staged: NodePath
  readonly to: NodePath
  /** the copy, when it is whole */
  readonly copy?: string
  /** what stood in its place, by its id in the trash: it may be on its way there */
  readonly before?: string
}

/**
 * For JobRunner.register(RESTORES, ...): jobs with the parameters `target`, a node URI, `snapshot`, and `to`, the URI of where it is to come; default
 * where it was. What stands there goes to the trash when the copy is whole; where there is no trash the place must be free.
 */
export function restoreKind(space: Space): Kind {
  return {
    run: told((context) => restore(space, context)),
    undo: async ({ checkpoint }) => {
      const noted = checkpoint as Checkpoint
      await alone(space.backend, noted.staged, () => takeBack(space, noted))
    },
  }
}

async function restore(space: Space, context: JobContext): Promise<Ending> {
  let noted = context.checkpoint as Checkpoint | undefined
  try {
    return await restored(space, context, (now) => context.save((noted = now)))
  } catch (error) {
    // one that is told to stop goes on later from here, or is undone
    if (!context.signal.aborted && noted !== undefined) await undone(space, noted, error)
    throw error
  }
}

/** Throws both errors where it cannot be taken back now: no Fault, so that the job takes it back later. */
async function undone(space: Space, noted: Checkpoint, why: unknown): Promise<void> {
  try {
    await alone(space.backend, noted.staged, () => takeBack(space, noted))
  } catch (error) {
    throw new AggregateError([why, error], 'a restore failed, and what it has done is not taken back yet')
  }
}

type Note = (now: Checkpoint) => void

async function restored(space: Space, context: JobContext, note: Note): Promise<Ending> {
  const { caller, job } = context
  const { target = '', snapshot: name = '', to } = job.parameters ?? {}
  const path = localPath(space.service, target)
  const past = await pastSpace(space, caller, path, name)
  const source = await resolve(past, caller, path, { leaf: 'itself', way: 'refuse' })
  if (source.node === undefined) throw new Fault('NodeNotFound', `${path} is not in the snapshot ${name}`)
  const wanted = to === undefined ? path : localPath(space.service, to)
  if (allocationOf(wanted, space.rules.allocationParents) === wanted) {
    throw new Fault('InvalidArgument', 'an allocation is restored node by node, or into a container: say where to')
  }
  const place = await resolve(space, caller, wanted, { leaf: 'itself', way: 'follow' })
  authorize(caller, 'create', place.parents, space.rules)
  const key = createHash('sha256').update(`${name} ${path} ${place.path}`).digest('hex').slice(0, 20)
  const plan = { staged: child(parentOf(place.path), `.karst-copy-${key}`), to: place.path }
  await alone(space.backend, plan.staged, () => bring(space, context, { past, from: source.path, plan, note }))
  noteOf(space, caller, place.path, { act: 'snapshot.restore', name })
  return { results: [{ id: 'node', href: `final:${place.path}` }] }
}

interface Bringing {
  readonly past: Space
  readonly from: NodePath
  readonly plan: Checkpoint
  readonly note: Note
}

async function bring(space: Space, context: JobContext, { past, from, plan, note }: Bringing): Promise<void> {
  const { backend, changes } = space
  const { staged, to } = plan
  const earlier = context.checkpoint as Checkpoint | undefined
  // a link on the way leads elsewhere by now
  if (earlier !== undefined && earlier.to !== to) await takeBack(space, earlier)
  let noted: Checkpoint = { ...(earlier?.to === to && earlier), ...plan }
  const noteMore = (more: Partial<Checkpoint>): void => note((noted = { ...noted, ...more }))
  if (noted.copy !== undefined && (await entryIn(backend, to))?.id === noted.copy) return
  noteMore({})
  if (!(await hasMadeWay(space, noted))) {
    const run = { signal: context.signal, progress: (done: number) => context.progress(done) }
    const copy = await carryTree({ backend: past.backend, path: from }, { backend, path: staged }, run)
    noteMore({ copy: copy.id })
    await makeWay(space, context.caller, to, (before) => noteMore({ before }))
  }
  const entry = await backend.move(staged, to)
  changes.append({ id: entry.id, path: to, kind: 'made' })
}

/**
 * Killed just before the copy took its place: it is not compared again while nothing is there. Only then is it known to be whole: what takes it back
 * puts back first what made way.
 */
async function hasMadeWay(space: Space, { staged, to, copy, before }: Checkpoint): Promise<boolean> {
  if (copy === undefined || before === undefined) return false
  const isWaiting = (await entryIn(space.backend, staged))?.id === copy && (await isDiscarded(space, to, before))
  return isWaiting && (await entryIn(space.backend, to)) === undefined
}

/** As if it had not been asked for; one that has come to its place stays there. */
async function takeBack(space: Space, { staged, to, copy, before }: Checkpoint): Promise<void> {
  const { backend } = space
  if (copy !== undefined && (await entryIn(backend, to))?.id === copy) return
  if (before !== undefined) await putBack(space, to, before)
  await removeWhole(backend, staged)
}

/** What stands in the place of something restored is not lost; `note` is told its id in the trash first. DuplicateNode where nothing could bring it back. */
async function makeWay(space: Space, caller: Caller, to: NodePath, note: (before: string) => void): Promise<void> {
  const there = await resolve(space, caller, to, { leaf: 'itself', way: 'follow' })
  if (there.node === undefined) return
  const chain = chainOf({ ...there, node: there.node })
  authorize(caller, 'delete', chain, space.rules)
  const before = newTrashId()
  note(before)
  if (keepsTrash(space) && (await discard(space, caller, chain, undefined, before))) return
  throw new Fault('DuplicateNode', `${to} is there, and could not wait in a trash: say another place`)
}

/** What made way for something that does not come now. What somebody has put there meanwhile stays, and where it cannot be put back it waits in the trash. */
async function putBack(space: Space, to: NodePath, id: string): Promise<void> {
  const { backend, rules, changes } = space
  if (!(await isDiscarded(space, to, id)) || (await entryIn(backend, to)) !== undefined) return
  try {
    const entry = await backend.trash?.restore(keeperOf(to, rules.allocationParents), id, to)
    if (entry !== undefined) changes.append({ id: entry.id, path: to, kind: 'made' })
  } catch (error) {
    if (!isFault(error, 'ContainerNotFound', 'DuplicateNode', 'NodeNotFound')) throw error
  }
}
