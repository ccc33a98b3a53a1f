// Who in this very mount stands in the way of a lock.
import { excludes, type LockedRange } from '../src/vospace/lock.ts'

/** The first lock in the way among those of others. */
export function localHolder(
  others: Iterable<LockedRange>,
  { start, end, type, pid }: LockedRange,
): LockedRange | undefined {
  for (const held of others) if (excludes(held, { start, end, type, pid })) return held
  return undefined
}
