/** What recursive jobs have in common: where they start, how they count, and how their counts end the job (wire.md 3.6, 3.7). */
import { type Ending } from '../jobs/kind.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, type FaultName } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { localPath } from '../vospace/uri.ts'
import { type Chain } from './authorize.ts'
import { changing } from './nodes.ts'
import { chainOf, present, resolve } from './resolve.ts'
import { type Space } from './space.ts'

export interface Counts {
  readonly successes: number
  readonly errors: number
  /** the first refusal */
  readonly fault?: FaultName
}

/** What a recursion is given by who runs it: a job, or a test. */
export interface Running {
  readonly signal?: AbortSignal | undefined
  /** what was saved last before an interruption, as JSON gave it back */
  readonly checkpoint?: unknown
  /** Keeps where the work is. */
  readonly save: (checkpoint: object) => void
  readonly progress?: (done: number) => void
}

/** One more, and a recursive job gives up. */
export const MAX_ERRORS = 100

/** Nodes between two checkpoints. */
export const BATCH = 256

/** Containers on the way are looked at again, for locks and permissions, after so many milliseconds. */
export const FRESH_MS = 100

/** Thrown and caught within a recursion. */
export class TooManyErrors extends Error {}

/**
 * The node that a recursive job starts at, as itself when it is a link. NodeNotFound for a gap on the way too, PermissionDenied, InvalidURI,
 * LinkFound (strict).
 */
export async function startAt(space: Space, caller: Caller, target: string, signal?: AbortSignal): Promise<Chain> {
  const options = { ...changing(space), signal }
  return chainOf(present(await resolve(space, caller, localPath(space.service, target), options)))
}

/** The entries to the node that was started at before an interruption; undefined: it is gone, or another one stands there. */
export async function stillThere(space: Space, at: { path: Entry['path']; id: string }): Promise<Chain | undefined> {
  const chain = await space.backend.walk(at.path)
  const node = chain.at(-1)
  return node?.path === at.path && node.id === at.id ? chain : undefined
}

/** COMPLETED with a successcount, ABORTED with an errorcount too; nothing done at all is ERROR. Counts are in hrefs, as clients read them. */
export function endingOf({ successes, errors, fault = 'NodeNotFound' }: Counts): Ending {
  if (successes === 0) return { phase: 'ERROR', error: fault }
  const success = { id: 'successcount', href: `final:${successes}` }
  if (errors === 0) return { phase: 'COMPLETED', results: [success] }
  return { phase: 'ABORTED', results: [success, { id: 'errorcount', href: `final:${errors}` }] }
}

/** TransferFailed: what it says does not matter, since the job was told to stop. */
export function refuseStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new Fault('TransferFailed', 'cancelled', { cause: signal.reason })
}
