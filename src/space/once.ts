/**
 * What to do when an operation is repeated whose first attempt was cut short (store/operations.ts): nobody knows whether its effect
 * happened, so what stands there now is looked at, and counts as ours when it is what the operation would have left.
 *
 * Writing bytes, attributes or a property twice is the same as once. For what is exclusive or takes something away:
 * mkdir, symlink, exclusive put: a node of that kind, owned by the caller, made since the first attempt began.
 * remove, rename: the id of the node was noted before; when the path does not hold it (any more), or `to` does, it is done.
 * put and amend of one version: length and mtime are as asked, changed since.
 */
import { type Attempt } from '../store/operations.ts'
import { type Caller } from '../vospace/caller.ts'
import { isFault, type FaultName } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'

/** Of a call that may be a repetition. */
export interface Once {
  readonly attempt?: Attempt
}

/** The kernel stamps files with a clock that lags a few milliseconds. */
const LAG_MS = 1000

/** Does `work`; when it refuses with that fault and was attempted before, `look` may say that it was done then. */
export async function once<T>(
  attempt: Attempt | undefined,
  fault: FaultName,
  work: () => Promise<T>,
  look: () => Promise<T | undefined>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (attempt?.repeated !== true || !isFault(error, fault)) throw error
    const done = await look()
    if (done === undefined) throw error
    return done
  }
}

/** Whether the entry was last changed since the first attempt began. */
export const isSince = (attempt: Attempt | undefined, entry: Entry): boolean =>
  attempt !== undefined && entry.ctime / 1_000_000n >= BigInt(attempt.began - LAG_MS)

/** Whether the entry is what an exclusive creation by this caller would have left. */
export const isOurs = (attempt: Attempt | undefined, caller: Caller, entry: Entry): boolean =>
  entry.access.owner === caller.user && isSince(attempt, entry)

/** Whether the bytes are what a cut-short write would have left. */
export function isWritten(
  attempt: Attempt | undefined,
  entry: Entry,
  asked: { readonly length?: number; readonly mtime?: bigint; readonly md5?: string },
): boolean {
  const isSame =
    asked.md5 !== undefined && entry.md5 !== undefined
      ? asked.md5.toLowerCase() === entry.md5
      : asked.length === entry.size && (asked.mtime === undefined || asked.mtime === entry.mtime)
  return isSame && isSince(attempt, entry)
}
