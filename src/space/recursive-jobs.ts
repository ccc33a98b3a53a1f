/** The kinds of jobs that do something to a node and everything below: `/async-delete` and `/async-setprops` (wire.md 3.6, 3.7). */
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { Fault } from '../vospace/fault.ts'
import { deleteRecursively } from './recursive-delete.ts'
import { setRecursively } from './recursive-setprops.ts'
import { endingOf, type Counts, type Running } from './recursion.ts'
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

/** For JobRunner.register(ASYNC_SETPROPS, ...): jobs with a node document. */
export function setpropsKind(space: Space): Kind {
  return counting(async ({ job, caller }, running) => {
    if (job.node === undefined) throw new Fault('InvalidArgument', 'recursive properties need a node document')
    return setRecursively(space, caller, job.node, running)
  })
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
