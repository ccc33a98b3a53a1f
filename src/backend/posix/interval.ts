/** Ranges of a file that later ones cut into. Pure. */

/** From start to before end, in bytes. */
export interface Interval {
  readonly start: number
  readonly end: number
  readonly hole: boolean
}

/** The intervals in order and disjoint, where the new one wins over those it overlaps. The list itself is changed, and answered again. */
export function insertInterval(intervals: Interval[], next: Interval): Interval[] {
  const last = intervals.at(-1)
  if (last?.end === next.start && last.hole === next.hole) {
    intervals[intervals.length - 1] = { ...last, end: next.end }
    return intervals
  }
  // whatever the order, an extent must not cost a walk over all others
  const from = firstFrom(intervals, (old) => old.end > next.start)
  const to = firstFrom(intervals, (old) => old.start >= next.end)
  const [first, final] = [intervals[from], intervals[to - 1]]
  const before = from < to && first !== undefined && first.start < next.start ? [{ ...first, end: next.start }] : []
  const after = from < to && final !== undefined && final.end > next.end ? [{ ...final, start: next.end }] : []
  intervals.splice(from, to - from, ...before, next, ...after)
  return intervals
}

/** The place of the first for which it is so, as it then is for all after it. */
function firstFrom(intervals: readonly Interval[], isSo: (interval: Interval) => boolean): number {
  let [low, high] = [0, intervals.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const interval = intervals[middle]
    if (interval !== undefined && isSo(interval)) high = middle
    else low = middle + 1
  }
  return low
}
