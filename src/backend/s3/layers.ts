/** What an amended object is made of: bytes of the old one, bytes that came, and zeros. Nothing but numbers. */

/** Bytes from `start` to before `end`; of the old object at the same place, from the spool at `at`, or zeros. */
export type Segment = { readonly start: number; readonly end: number } & (
  { readonly from: 'old' } | { readonly from: 'spool'; readonly at: number } | { readonly from: 'zeros' }
)

/** Changes laid over each other: a later one wins. */
export class Layers {
  readonly #laid: Segment[] = []

  /** `at` undefined: a hole. */
  lay(start: number, count: number, at: number | undefined): void {
    if (count === 0) return
    const end = start + count
    this.#laid.push(at === undefined ? { start, end, from: 'zeros' } : { start, end, from: 'spool', at })
  }

  /** All of the new object, in order, without gaps. */
  over(oldSize: number, length: number): Segment[] {
    const found: Segment[] = []
    let at = 0
    const rest = (end: number): void => {
      if (at < Math.min(end, oldSize)) found.push({ from: 'old', start: at, end: Math.min(end, oldSize) })
      if (Math.max(at, oldSize) < end) found.push({ from: 'zeros', start: Math.max(at, oldSize), end })
    }
    for (const segment of flat(this.#laid)) {
      if (segment.start >= length) break
      rest(segment.start)
      found.push(...cut(segment, segment.start, length))
      at = Math.min(segment.end, length)
    }
    rest(length)
    return found
  }
}

/** In order and side by side. By halves, so that many changes in any order cost their number and little more. */
function flat(laid: readonly Segment[]): readonly Segment[] {
  if (laid.length < 2) return laid
  const half = laid.length >> 1
  return overlaid(flat(laid.slice(half)), flat(laid.slice(0, half)))
}

function overlaid(upper: readonly Segment[], lower: readonly Segment[]): Segment[] {
  const found: Segment[] = []
  let next = 0
  for (const one of lower) {
    for (let at = one.start; at < one.end;) {
      const over = upper[next]
      if (over === undefined || over.start >= one.end) {
        found.push(...cut(one, at, one.end))
        break
      }
      found.push(...cut(one, at, over.start))
      // what reaches beyond this one may cover the next as well
      if (over.end > one.end) break
      found.push(over)
      at = Math.max(at, over.end)
      next++
    }
  }
  return found.concat(upper.slice(next))
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
