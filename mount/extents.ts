// Which ranges of a file are in a set: sorted, disjoint, half open. Sequential writing costs one comparison.

/** Bytes from `start` up to, not including, `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** A set of byte ranges. */
export class ExtentMap {
  #spans: { start: number; end: number }[] = []

  get isEmpty(): boolean {
    return this.#spans.length === 0
  }

  /** Bytes in the set. */
  get bytes(): number {
    return this.#spans.reduce((sum, span) => sum + span.end - span.start, 0)
  }

  /** The ranges in order. */
  get spans(): readonly Span[] {
    return this.#spans
  }

  add(start: number, end: number): void {
    if (end <= start) return
    const last = this.#spans.at(-1)
    if (last === undefined || start > last.end) {
      this.#spans.push({ start, end })
    } else if (start >= last.start) {
      if (end > last.end) last.end = end
    } else {
      this.#merge(start, end)
    }
  }

  #merge(start: number, end: number): void {
    const from = this.#firstEndingAt(start)
    let to = from
    for (let span = this.#spans[to]; span !== undefined && span.start <= end; span = this.#spans[++to]) {
      start = Math.min(start, span.start)
      end = Math.max(end, span.end)
    }
    this.#spans.splice(from, to - from, { start, end })
  }

  addAll(other: ExtentMap): void {
    for (const { start, end } of other.#spans) this.add(start, end)
  }

  remove(start: number, end: number): void {
    if (end <= start) return
    const from = this.#firstEndingAt(start + 1)
    const kept: { start: number; end: number }[] = []
    let to = from
    for (let span = this.#spans[to]; span !== undefined && span.start < end; span = this.#spans[++to]) {
      if (span.start < start) kept.push({ start: span.start, end: start })
      if (span.end > end) kept.push({ start: end, end: span.end })
    }
    this.#spans.splice(from, to - from, ...kept)
  }

  clear(): void {
    this.#spans = []
  }

  covers(start: number, end: number): boolean {
    if (end <= start) return true
    const span = this.#spans[this.#firstEndingAt(start + 1)]
    return span !== undefined && span.start <= start && span.end >= end
  }

  /** What of the range is not in the set. */
  gaps(start: number, end: number): Span[] {
    const gaps: Span[] = []
    let at = start
    for (let i = this.#firstEndingAt(start + 1); at < end; i++) {
      const span = this.#spans[i]
      const until = span === undefined ? end : Math.min(span.start, end)
      if (until > at) gaps.push({ start: at, end: until })
      if (span === undefined) break
      at = Math.max(at, span.end)
    }
    return gaps
  }

  /** Index of the first span whose end is at `position` or after it. */
  #firstEndingAt(position: number): number {
    let low = 0
    let high = this.#spans.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const span = this.#spans[middle]
      if (span !== undefined && span.end < position) low = middle + 1
      else high = middle
    }
    return low
  }
}
