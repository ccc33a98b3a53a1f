/** Byte ranges under lock, as fcntl(2) and flock(2) have them. Pure: what an owner holds after a change, and what excludes what. */

/** fcntl locks and flock locks do not see each other. */
export const LOCK_KINDS = ['posix', 'flock'] as const
export type LockKind = (typeof LOCK_KINDS)[number]

/** Any number of readers, or one writer. */
export type LockType = 'read' | 'write'

/** Bytes from `start` to `end`, inclusive. */
export interface Range {
  readonly start: number
  readonly end: number
}

export interface LockedRange extends Range {
  readonly type: LockType
  /** of the process that took it last; 0: unknown */
  readonly pid: number
}

/** The `end` of a range that goes on to the end of the file, wherever that is. */
export const TO_THE_END = Number.MAX_SAFE_INTEGER

export const overlaps = (a: Range, b: Range): boolean => a.start <= b.end && b.start <= a.end

/** Whether two owners cannot have both. */
export const excludes = (a: LockedRange, b: LockedRange): boolean =>
  overlaps(a, b) && (a.type === 'write' || b.type === 'write')

/**
 * What one owner holds after locking a range anew, or unlocking it: sorted by `start`, disjoint, neighbours of one type and process merged.
 * `held` is such a list.
 */
export function withRange(
  held: readonly LockedRange[],
  range: Range,
  to: { readonly type: LockType; readonly pid: number } | undefined,
): LockedRange[] {
  const kept = held.flatMap((old) => outside(old, range))
  const all = to === undefined ? kept : [...kept, { start: range.start, end: range.end, type: to.type, pid: to.pid }]
  return merged(all.toSorted((a, b) => a.start - b.start))
}

/** What of a held range lies outside another: up to two pieces. */
function outside(old: LockedRange, range: Range): LockedRange[] {
  if (!overlaps(old, range)) return [old]
  const pieces: LockedRange[] = []
  if (old.start < range.start) pieces.push({ ...old, end: range.start - 1 })
  if (old.end > range.end) pieces.push({ ...old, start: range.end + 1 })
  return pieces
}

function merged(sorted: readonly LockedRange[]): LockedRange[] {
  const result: LockedRange[] = []
  for (const next of sorted) {
    const last = result.at(-1)
    const isOne = last?.type === next.type && last.pid === next.pid && last.end + 1 === next.start
    if (isOne) result[result.length - 1] = { ...last, end: next.end }
    else result.push(next)
  }
  return result
}
