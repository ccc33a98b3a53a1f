/** The job record a synchronous transfer leaves: what was asked, what was negotiated, phase and results (wire.md 4.3). */
import { type JobStore } from '../store/jobs.ts'
import { type Fault } from '../vospace/fault.ts'
import { type Job, type JobResult, type Transfer } from '../vospace/transfer.ts'

/** What a negotiation came to. */
export interface Outcome {
  readonly details: Transfer
  readonly error?: Fault
  readonly dataNode?: string
  readonly linkNode?: string
}

/**
 * Keeps it: phase EXECUTING with the results transferDetails, dataNode and, when a link was asked for, linkNode;
 * a refusal is phase ERROR with the bare fault token, and transferDetails that have no protocols.
 * `transfers` is the absolute URL of `/transfers`.
 */
export function recordSyncTransfer(
  jobs: JobStore,
  owner: string | undefined,
  transfer: Transfer,
  outcome: Outcome,
  transfers: string,
): Job {
  const { id } = jobs.create(owner, transfer)
  const now = Date.now()
  const results: JobResult[] = [{ id: 'transferDetails', href: `${transfers}/${id}/results/transferDetails` }]
  if (outcome.dataNode !== undefined) results.push({ id: 'dataNode', href: outcome.dataNode })
  if (outcome.linkNode !== undefined) results.push({ id: 'linkNode', href: outcome.linkNode })
  const { details, error } = outcome
  if (error === undefined) return jobs.update(id, { phase: 'EXECUTING', started: now, results, details })
  return jobs.update(id, { phase: 'ERROR', started: now, ended: now, results, details, error: error.fault })
}
