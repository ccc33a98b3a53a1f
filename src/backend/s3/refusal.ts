/** What an S3 server refuses, as faults: the one place that looks at its codes. */
import { Fault, isFault, type FaultName } from '../../vospace/fault.ts'

/** Of the server's words for "no more": AWS, Ceph, MinIO, and HTTP 507. */
const FULL = ['QuotaExceeded', 'InsufficientStorage', 'XMinioStorageFull', 'EntityTooLarge', 'TooManyBuckets']
/** It is there, and has no time; the SDK has tried again already. */
const BUSY = ['SlowDown', 'ServiceUnavailable', 'Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'TooManyRequests', 'RequestTimeout'] // prettier-ignore
const MISSING = ['NoSuchKey', 'NotFound', 'NoSuchUpload']
/** The bytes that came are not those that were sent. */
const DAMAGED = [
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
  'InvalidPart',
]

/** Servers that keep objects in folders: one goes with its last object while another object comes into it (versitygw). The same again succeeds. */
const PASSING = ['ExistingObjectIsDirectory']
const PASSING_TRIES = 5

/** Runs a request to the server; what it refuses is a Fault that names no key and no bucket. */
export async function asking<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = PASSING_TRIES; ; tries--) {
    try {
      return await work()
    } catch (error) {
      if (tries === 1 || !PASSING.includes(wordsOf(error).name)) throw refusal(error)
    }
  }
}

export function refusal(error: unknown): Fault {
  if (isFault(error)) return error
  const { name, status } = wordsOf(error)
  const fault = (of: FaultName, detail: string, errno?: string): Fault =>
    new Fault(of, detail, { cause: error, ...(errno !== undefined && { errno }) })
  if (name === 'AbortError') return fault('TransferFailed', 'cancelled')
  if (FULL.includes(name) || status === 507) return fault('QuotaExceeded', 'the object store is full', 'ENOSPC')
  if (MISSING.includes(name)) return fault('TransferFailed', 'the object store does not have these bytes')
  if (status === 412) return fault('TransferFailed', 'the object store has other bytes than these')
  if (DAMAGED.includes(name)) return fault('TransferFailed', 'the object store got other bytes than were sent')
  if (BUSY.includes(name) || status === 503 || status === 429) return fault('ServiceBusy', 'the object store is busy')
  if (status === undefined) return fault('ServiceBusy', 'the object store does not answer', 'EIO')
  if (status >= 500) return fault('ServiceBusy', 'the object store has failed', 'EIO')
  return fault('InternalFault', `the object store refuses: ${name}`)
}

/** Whether it says that there is no such object. */
export function isMissing(error: unknown): boolean {
  const { name, status } = wordsOf(error)
  return MISSING.includes(name) || status === 404
}

/** The HTTP status of what a server has refused, or of the refusal that has become a fault. */
export function statusOf(error: unknown): number | undefined {
  return wordsOf(isFault(error) ? error.cause : error).status
}

function wordsOf(error: unknown): { name: string; status: number | undefined } {
  if (!(error instanceof Error)) return { name: '', status: undefined }
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } }
  return { name: error.name, status: $metadata?.httpStatusCode }
}
