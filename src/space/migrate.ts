/**
 * A container brought to another storage profile, under the path that it has: its copy grows in the other storage, where nobody sees it; then
 * changes are refused for a moment, what has changed since comes over, and from one step to the next the other storage keeps it.
 */
import { type Backend, type Profiles } from '../backend/backend.ts'
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { told } from '../jobs/told.ts'
import { type StoredBinds } from '../store/binds.ts'
import { keeperOf } from '../vospace/allocation.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { isWithin, parentOf, ROOT, type NodePath } from '../vospace/path.ts'
import { localPath } from '../vospace/uri.ts'
import { alone } from './alone.ts'
import { carryTree, entryIn, refuseTrash, removeWhole, type Side, waiting } from './carry.ts'
import { refuseImported } from './import.ts'
import { entryAt } from './resolve.ts'
import { type Space } from './space.ts'

/** Name of the kind, and of its list. */
export const MIGRATIONS = 'migrations'

interface Checkpoint {
  readonly path: NodePath
  /** profiles */
  readonly from: string
  readonly to: string
}

/** Who has what as bind mounts. */
export type Binds = Pick<StoredBinds, 'over'>

/**
 * For JobRunner.register(MIGRATIONS, ...): jobs of administrators with the parameters `target`, a node URI, `profile`, and `force` where those who
 * have it as a bind mount do not count.
 */
export function migrationKind(space: Space, binds: Binds): Kind {
  return {
    run: told((context) => run(space, binds, context)),
    undo: async ({ checkpoint }) => {
      const { profiles } = space.backend
      const noted = checkpoint as Checkpoint
      if (profiles !== undefined) await alone(profiles, noted.path, () => takeBack(profiles, noted))
    },
  }
}

/** Removes a copy that does not count yet. */
async function takeBack(profiles: Profiles, { path, to }: Checkpoint): Promise<void> {
  if (profiles.of(path) !== to) await removeWhole(storageOf(profiles, to), path)
}

async function run(space: Space, binds: Binds, context: JobContext): Promise<Ending> {
  const { profiles } = space.backend
  const { target, profile } = context.job.parameters ?? {}
  if (!context.caller.admin) throw new Fault('PermissionDenied', 'only an administrator may')
  if (target === undefined || profile === undefined)
    throw new Fault('InvalidArgument', 'which node, and to which profile?')
  if (profiles === undefined) throw new Fault('OperationNotSupported', 'there is one storage here, and no other')
  const noted = context.checkpoint as Checkpoint | undefined
  const path = noted?.path ?? localPath(space.service, target)
  const refuseBound = (): void => {
    if (context.job.parameters?.['force'] === undefined) refuseBinds(binds, path)
  }
  return alone(profiles, path, async () => {
    const plan = noted ?? (await planned(space, profiles, path, profile))
    if (plan.from === plan.to) return {}
    if (noted === undefined) refuseBound()
    context.save(plan)
    if (profiles.of(path) === plan.to) await removeWhole(storageOf(profiles, plan.from), path)
    else await bringOrTakeBack({ space, profiles, refuseBound }, plan, context)
    return { results: [{ id: 'profile', href: `final:${plan.to}` }] }
  })
}

interface Bringing {
  readonly space: Space
  readonly profiles: Profiles
  /** NodeBusy while somebody writes past the gateway. */
  readonly refuseBound: () => void
}

async function bringOrTakeBack(how: Bringing, plan: Checkpoint, context: JobContext): Promise<void> {
  try {
    await bring(how, plan, context)
  } catch (error) {
    // what was interrupted goes on from the copy; of what is refused nothing is left
    if (isFault(error) && !context.signal.aborted) {
      await takeBack(how.profiles, plan).catch((cause: unknown) => {
        throw new Error(`what was brought to ${plan.to} could not be taken back`, { cause })
      })
    }
    throw error
  }
}

/** What is to be done, when it can be. */
async function planned(space: Space, profiles: Profiles, path: NodePath, to: string): Promise<Checkpoint> {
  if (!profiles.names.includes(to)) {
    throw new Fault('InvalidArgument', `there is no profile ${to}; there is ${profiles.names.join(', ')}`)
  }
  if ((await entryAt(space, path))?.type !== 'container') throw new Fault('NodeNotFound', `${path} is no container`)
  if (path === ROOT) throw new Fault('InvalidArgument', 'the root stays where it is')
  if (profiles.hasSeamBelow(path)) throw new Fault('InvalidArgument', `below ${path} another storage begins`)
  const plan = { path, from: profiles.of(path), to }
  if (plan.from === to) return plan
  refuseImported(space, path)
  await refuseDeleted(space, profiles, plan)
  if ((await entryIn(storageOf(profiles, to), path)) !== undefined) {
    throw new Fault('DuplicateNode', `${to} has something at ${path} already`)
  }
  return plan
}

async function bring({ space, profiles, refuseBound }: Bringing, plan: Checkpoint, context: JobContext): Promise<void> {
  const { path } = plan
  const { signal } = context
  if (profiles.of(path) !== plan.from || profiles.hasSeamBelow(path)) {
    throw new Fault('NodeBusy', `${path} has come to ${profiles.of(path)} meanwhile, or something below it elsewhere`)
  }
  const from = { backend: storageOf(profiles, plan.from), path }
  const to = { backend: storageOf(profiles, plan.to), path }
  await profiles.prepare(path, plan.to)
  await carryTree(from, to, { signal, progress: (done) => context.progress(done) })
  const before = await entryAt(space, path)
  const held = await profiles.hold(path)
  try {
    await refuseDeleted(space, profiles, plan)
    await carryTree(from, to, { signal })
    await carryQuotas(space, from, to, context)
    // in one step with the change, since terms are given at any time
    refuseBound()
    profiles.assign(path, plan.to)
  } finally {
    held.release()
  }
  const after = await entryAt(space, path)
  if (before !== undefined) space.changes.append({ id: before.id, path, kind: 'removed' })
  if (after !== undefined) space.changes.append({ id: after.id, path, kind: 'made' })
  await held.remove()
}

/** Its own quota, and those of the allocations within it. */
async function carryQuotas({ rules }: Space, from: Side, to: Side, context: JobContext): Promise<void> {
  await carryQuota(from, to, context)
  for (const parent of rules.allocationParents.filter((one) => isWithin(one, from.path))) {
    if ((await entryIn(from.backend, parent)) === undefined) continue
    for await (const { type, path } of from.backend.list(parent, { order: 'any' })) {
      if (type === 'container') await carryQuota({ ...from, path }, { ...to, path }, context)
    }
  }
}

/** What a container may hold, where its storage has it so. What a storage tells of a path may be the quota of what that is in. */
async function carryQuota(from: Side, to: Side, { log }: JobContext): Promise<void> {
  const [own, above] = [await from.backend.usage(from.path), await from.backend.usage(parentOf(from.path))]
  const isAbove = own.quota === above.quota && own.used === above.used && own.files === above.files
  if (own.quota === null || isAbove) return
  try {
    await to.backend.setQuota(to.path, own.quota)
  } catch (error) {
    if (!isFault(error, 'OperationNotSupported')) throw error
    log.warn({ path: from.path, quota: own.quota }, 'the storage that keeps it now has no quota for it')
  }
}

function storageOf(profiles: Profiles, name: string): Backend {
  const storage = profiles.storage(name)
  if (storage === undefined) throw new Fault('InvalidArgument', `there is no profile ${name}`)
  return storage
}

/** NodeBusy with whose they are: what they write is written where it was, and would be lost. */
function refuseBinds(binds: Binds, path: NodePath): void {
  const [last, ...others] = binds.over(path)
  if (last === undefined) return
  const { user, session, expires, path: bound } = last
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  const whose = `${session === '' ? 'a mount' : `session ${session}`} of ${user}${more}`
  const until = new Date(expires).toISOString()
  throw new Fault(
    'NodeBusy',
    `${bound} is bind mounted by ${whose}, and what that writes would be lost: end it, or wait until ${until}; --force migrates all the same`,
  )
}

/** NodeBusy: what was deleted there could not come back, since a trash is of one storage. */
async function refuseDeleted({ rules }: Space, profiles: Profiles, { path, from }: Checkpoint): Promise<void> {
  const storage = storageOf(profiles, from)
  await refuseTrash(storage, path)
  for (const keeper of new Set([keeperOf(path, rules.allocationParents), ROOT])) {
    try {
      for await (const note of storage.trash?.list(keeper) ?? []) {
        if (isWithin(note.path, path) && note.path !== path) throw waiting(note.path)
      }
    } catch (error) {
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound')) throw error
    }
  }
}
