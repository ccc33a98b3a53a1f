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
import { Fault } from '../vospace/fault.ts'
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
  await alone(space.backend, plan.staged, () => bring(space, context, { past, from: source.path, plan }))
  noteOf(space, caller, place.path, { act: 'snapshot.restore', name })
  return { results: [{ id: 'node', href: `final:${place.path}` }] }
}

interface Bringing {
  readonly past: Space
  readonly from: NodePath
  readonly plan: Checkpoint
}

async function bring(space: Space, context: JobContext, { past, from, plan }: Bringing): Promise<void> {
  const { backend, changes } = space
  const { staged, to } = plan
  let noted = { ...(context.checkpoint as Checkpoint | undefined), ...plan }
  const note = (more: Partial<Checkpoint>): void => context.save((noted = { ...noted, ...more }))
  if (noted.copy !== undefined && (await entryIn(backend, to))?.id === noted.copy) return
  note({})
  try {
    // known to be whole, it is not compared again: nothing may be in its place meanwhile
    if (noted.copy === undefined || (await entryIn(backend, staged))?.id !== noted.copy) {
      const progress = (done: number): void => context.progress(done)
      const run = { signal: context.signal, progress }
      const copy = await carryTree({ backend: past.backend, path: from }, { backend, path: staged }, run)
      note({ copy: copy.id })
    }
    await makeWay(space, context.caller, to, (before) => note({ before }))
    const entry = await backend.move(staged, to)
    changes.append({ id: entry.id, path: to, kind: 'made' })
  } catch (error) {
    // one that is told to stop goes on later from here, or is undone
    if (!context.signal.aborted) await takeBack(space, noted)
    throw error
  }
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

/** What made way for something that does not come now. What somebody has put there meanwhile stays. */
async function putBack(space: Space, to: NodePath, id: string): Promise<void> {
  const { backend, rules, changes } = space
  if (!(await isDiscarded(space, to, id)) || (await entryIn(backend, to)) !== undefined) return
  const entry = await backend.trash?.restore(keeperOf(to, rules.allocationParents), id, to)
  if (entry !== undefined) changes.append({ id: entry.id, path: to, kind: 'made' })
}
