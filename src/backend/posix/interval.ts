/** Ranges of a file that later ones cut into. Pure. */

/** From start to before end, in bytes. */
export interface Interval {
  readonly start: number
  readonly end: number
  readonly hole: boolean
}

/** The intervals in order and disjoint, where the new one wins over those it overlaps. The list may be changed and answered again. */
export function insertInterval(intervals: Interval[], next: Interval): Interval[] {
  const last = intervals.at(-1)
  // the ordinary case, a program writing forwards, must not cost more with every extent
  if (last === undefined || last.end <= next.start) {
    if (last?.end === next.start && last.hole === next.hole)
      intervals[intervals.length - 1] = { ...last, end: next.end }
    else intervals.push(next)
    return intervals
  }
  const around = intervals.flatMap((old) => {
    if (old.end <= next.start || old.start >= next.end) return [old]
    const before = old.start < next.start ? [{ ...old, end: next.start }] : []
    const after = old.end > next.end ? [{ ...old, start: next.end }] : []
    return [...before, ...after]
  })
  return [...around, next].sort((a, b) => a.start - b.start)
}
