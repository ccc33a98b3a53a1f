/** The kinds of jobs that do something to a node and everything below: `/async-delete` and `/async-setprops` (wire.md 3.6, 3.7). */
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { ACCESS_PROPERTIES } from '../vospace/property.ts'
import { type Job } from '../vospace/transfer.ts'
import { deleteRecursively } from './recursive-delete.ts'
import { setRecursively, shareRecursively } from './recursive-setprops.ts'
import { endingOf, type Counts, type Running } from './recursion.ts'
import { type SharingChange } from './share.ts'
import { type Space } from './space.ts'

/** Names of the kinds, and of their lists. */
export const ASYNC_DELETE = 'async-delete'
export const ASYNC_SETPROPS = 'async-setprops'

/** For JobRunner.register(ASYNC_DELETE, ...): jobs with the parameter `target`, a node URI. */
export function deleteKind(space: Space): Kind {
  return counting(async ({ job, caller }, running) => {
    const target = job.parameters?.['target']
    if (target === undefined) throw new Fault('InvalidArgument', 'a recursive delete needs a target')
    return deleteRecursively(space, caller, target, running)
  })
}

/**
 * For JobRunner.register(ASYNC_SETPROPS, ...): jobs with a node document, or with the parameters `target`, a node URI, and `share`, a
 * SharingChange as JSON.
 */
export function setpropsKind(space: Space): Kind {
  return counting(async ({ job, caller }, running) => {
    const { target, share } = job.parameters ?? {}
    const noted = (work: Promise<Counts>): Promise<Counts> => noteTree(space, caller, job, work)
    if (target !== undefined && share !== undefined) {
      return noted(shareRecursively(space, caller, target, JSON.parse(share) as SharingChange, running))
    }
    if (job.node === undefined) throw new Fault('InvalidArgument', 'recursive properties need a node document')
    return noted(setRecursively(space, caller, job.node, running))
  })
}

/** One line for a tree, however many nodes it has: what was asked for and how far it came. Values of other properties are nobody's business. */
async function noteTree(
  { audit }: Space,
  { user }: Caller,
  { id, node, parameters }: Job,
  work: Promise<Counts>,
): Promise<Counts> {
  const given = node?.properties.filter(({ uri }) => ACCESS_PROPERTIES.has(uri))
  const asked = parameters?.['share'] ?? given?.map(({ uri, value }) => `${uri}=${value ?? ''}`).join(' ') ?? ''
  const event = { act: 'tree.share', by: user ?? null, on: node?.uri ?? parameters?.['target'] ?? '' }
  try {
    const counts = await work
    const { successes, errors } = counts
    if (asked !== '')
      audit?.note({ ...event, result: 'allowed', detail: { asked, job: id, nodes: successes, refused: errors } })
    return counts
  } catch (error) {
    if (isFault(error, 'PermissionDenied')) audit?.note({ ...event, result: 'refused', detail: { asked, job: id } })
    throw error
  }
}

function counting(work: (context: JobContext, running: Running) => Promise<Counts>): Kind {
  return {
    run: async (context): Promise<Ending> => {
      const { checkpoint, signal } = context
      const save = (state: object): void => context.save(state)
      return endingOf(await work(context, { checkpoint, signal, save, progress: (done) => context.progress(done) }))
    },
  }
}
