/** What an amended object is made of: bytes of the old one, bytes that came, and zeros. Nothing but numbers. */

/** Bytes from `start` to before `end`; of the old object at the same place, from the spool at `at`, or zeros. */
export type Segment = { readonly start: number; readonly end: number } & (
  { readonly from: 'old' } | { readonly from: 'spool'; readonly at: number } | { readonly from: 'zeros' }
)

/** Changes laid over each other: a later one wins. */
export class Layers {
  #segments: Segment[] = []

  /** `at` undefined: a hole. */
  lay(start: number, count: number, at: number | undefined): void {
    if (count === 0) return
    const end = start + count
    const first = this.#segments.findIndex((one) => one.end > start)
    const from = first === -1 ? this.#segments.length : first
    let to = from
    while ((this.#segments[to]?.start ?? Infinity) < end) to++
    const covered = this.#segments.slice(from, to)
    const fresh: Segment = at === undefined ? { start, end, from: 'zeros' } : { start, end, from: 'spool', at }
    const before = covered.slice(0, 1).flatMap((one) => cut(one, one.start, start))
    const after = covered.slice(-1).flatMap((one) => cut(one, end, one.end))
    this.#segments.splice(from, to - from, ...before, fresh, ...after)
  }

  /** All of the new object, in order, without gaps. */
  over(oldSize: number, length: number): Segment[] {
    const found: Segment[] = []
    let at = 0
    const rest = (end: number): void => {
      if (at < Math.min(end, oldSize)) found.push({ from: 'old', start: at, end: Math.min(end, oldSize) })
      if (Math.max(at, oldSize) < end) found.push({ from: 'zeros', start: Math.max(at, oldSize), end })
    }
    for (const segment of this.#segments) {
      if (segment.start >= length) break
      rest(segment.start)
      found.push(...cut(segment, segment.start, length))
      at = Math.min(segment.end, length)
    }
    rest(length)
    return found
  }
}

function cut(segment: Segment, start: number, end: number): Segment[] {
  const from = Math.max(start, segment.start)
  const to = Math.min(end, segment.end)
  if (from >= to) return []
  if (segment.from !== 'spool') return [{ ...segment, start: from, end: to }]
  return [{ ...segment, start: from, end: to, at: segment.at + from - segment.start }]
}

/** A part that the server copies from the old object, or one (or more) that is sent. */
export type Piece = { readonly copied: { readonly start: number; readonly end: number } } | { readonly sent: Segment[] }

/** Parts of an object, none but the last smaller than `least` bytes, copied ones no larger than `most`. */
export function planParts(segments: readonly Segment[], { least, most }: { readonly least: number; readonly most: number }): Piece[] {
  const pieces: Piece[] = []
  const length = segments.at(-1)?.end ?? 0
  let sent: Segment[] = []
  const size = (): number => (sent.at(-1)?.end ?? 0) - (sent[0]?.start ?? 0)
  const flush = (): void => {
    if (sent.length > 0) pieces.push({ sent })
    sent = []
  }
  for (const segment of segments) {
    // a part that is sent, and still too small, takes from the old bytes after it
    const short = sent.length > 0 ? Math.max(0, least - size()) : 0
    const from = segment.start + short
    const isLast = segment.end === length
    if (segment.from !== 'old' || segment.end - from < (isLast ? 1 : least)) {
      sent.push(segment)
      continue
    }
    sent.push(...cut(segment, segment.start, from))
    flush()
    const count = Math.ceil((segment.end - from) / most)
    const edge = (i: number): number => from + Math.floor(((segment.end - from) * i) / count)
    for (let i = 0; i < count; i++) pieces.push({ copied: { start: edge(i), end: edge(i + 1) } })
  }
  flush()
  return pieces
} // prettier-ignore
