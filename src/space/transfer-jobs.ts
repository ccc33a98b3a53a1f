/** The kind of job that does transfer documents: negotiations, moves and copies (VOSpace 2.1 section on transfers; wire.md 4). */
import { type Ending, type JobContext, type Kind } from '../jobs/kind.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Job, type Transfer, TRANSFERS } from '../vospace/transfer.ts'
import { localPath, nodeUri } from '../vospace/uri.ts'
import { type CopyCheckpoint, copyNode, removeStaged } from './copy.ts'
import { INTO_ITSELF as WORDS, type MoveCheckpoint, moveNode } from './move.ts'
import { type Mounts } from './mount-terms.ts'
import { undoAcross } from './move-across.ts'
import { type Preauth } from './preauth.ts'
import { type Space } from './space.ts'
import { negotiate, negotiatedJob } from './transfers.ts'

export interface TransferServices {
  readonly space: Space
  readonly preauth: Preauth
  /** absent: nothing is mounted by negotiation */
  readonly mounts?: Mounts
  /** as clients see the service; asked for at every use */
  readonly publicUrl: string
}

/** For JobRunner.register(TRANSFERS, ...). */
export function transferKind(services: TransferServices): Kind {
  return {
    run: (context) => run(services, context),
    undo: (context) => undo(services, context),
    isQuick: (job) => !isCopy(job) && !isDeletion(job) && !isAcross(services, job),
  }
}

const INTO_ITSELF: ReadonlySet<string> = new Set(Object.values(WORDS))

const isNode = (direction: string): boolean => /^vos:/i.test(direction.trim())

/** With a node as direction, keepBytes says copy or move; it is true where a document does not say (the clients' default). */
const isCopy = ({ transfer }: Job): boolean =>
  transfer !== undefined && isNode(transfer.direction) && transfer.keepBytes !== false

/** A move to the bit bucket */
const isDeletion = ({ transfer }: Job): boolean => transfer !== undefined && /\.null\/?\s*$/.test(transfer.direction)

/** A move that goes from one storage to another, as far as its paths say: links may lead elsewhere. */
function isAcross({ space }: TransferServices, { transfer }: Job): boolean {
  const { profiles } = space.backend
  if (profiles === undefined || transfer === undefined || !isNode(transfer.direction)) return false
  try {
    const [from, to] = pathsOf(space, transfer)
    return profiles.of(from) !== profiles.of(to)
  } catch (error) {
    if (isFault(error)) return false // refused when it runs
    throw error
  }
}

async function run(services: TransferServices, context: JobContext): Promise<Ending> {
  const { transfer } = context.job
  if (transfer === undefined) throw new Fault('InvalidArgument', 'a transfer job needs a transfer document')
  if (!isNode(transfer.direction)) return negotiated(services, context, transfer)
  try {
    const path = isCopy(context.job)
      ? await copied(services, context, transfer)
      : await moved(services, context, transfer)
    return { results: [{ id: 'destination', href: nodeUri(services.space.service, path) }] }
  } catch (error) {
    // the one refusal that clients look into (wire.md 4.4)
    if (isFault(error, 'InvalidArgument') && INTO_ITSELF.has(error.detail))
      return { phase: 'ERROR', error: `${error.fault}: ${error.detail}` }
    throw error
  }
}

async function copied({ space }: TransferServices, context: JobContext, transfer: Transfer): Promise<NodePath> {
  const [from, to] = pathsOf(space, transfer)
  const { path } = await copyNode(space, context.caller, from, to, {
    name: context.job.id,
    signal: context.signal,
    noted: context.checkpoint as CopyCheckpoint | undefined,
    note: (checkpoint) => context.save(checkpoint),
    progress: (done, total) => context.progress(done, total),
  })
  return path
}

// A move within one storage has happened whole or not at all.
async function undo({ space }: TransferServices, { job, checkpoint, signal }: JobContext): Promise<void> {
  if (isCopy(job)) await removeStaged(space, job.owner, checkpoint as CopyCheckpoint, signal)
  else if (isNode(job.transfer?.direction ?? '')) await undoAcross(space, checkpoint as MoveCheckpoint)
}

async function negotiated(
  { space, preauth, publicUrl, mounts }: TransferServices,
  { job, caller }: JobContext,
  transfer: Transfer,
): Promise<Ending> {
  const endpoints = { files: `${publicUrl}/files`, preauth, job: job.id, ...(mounts && { mounts }) }
  const negotiation = await negotiate(space, caller, transfer, endpoints)
  return negotiatedJob(negotiation, `${publicUrl}/${TRANSFERS}/${job.id}/results/transferDetails`)
}

async function moved({ space }: TransferServices, context: JobContext, transfer: Transfer): Promise<NodePath> {
  const [from, to] = pathsOf(space, transfer)
  const noted = context.checkpoint as MoveCheckpoint | undefined
  const { signal } = context
  return moveNode(space, context.caller, from, to, {
    note: (checkpoint) => context.save(checkpoint),
    noted,
    signal,
    progress: (done) => context.progress(done),
  })
}

/** Source and destination. InvalidArgument: several targets; InvalidURI: not of this service. */
function pathsOf(space: Space, { targets, direction }: Transfer) {
  const [target, ...more] = targets
  if (target === undefined || more.length > 0) throw new Fault('InvalidArgument', 'a move or copy has one target')
  return [localPath(space.service, target), localPath(space.service, direction.trim())] as const
}
