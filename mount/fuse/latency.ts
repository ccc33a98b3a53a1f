// How long requests took, in bounded memory: a count for each quarter of a power of two, from a microsecond to an hour.

const STEPS = 4
const BUCKETS = 32 * STEPS

export interface LatencySummary {
  /** Requests so far. */
  readonly count: number
  /** Milliseconds within which half of them, 95 and 99 of a hundred were answered, to a fifth. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly longest: number
}

export class Latency {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #longest = 0

  add(milliseconds: number): void {
    const bucket = Math.ceil(Math.log2(Math.max(milliseconds * 1000, 1)) * STEPS)
    const at = Math.min(bucket, BUCKETS - 1)
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#count++
    this.#longest = Math.max(this.#longest, milliseconds)
  }

  get summary(): LatencySummary {
    const rounded = (milliseconds: number) => Number(milliseconds.toPrecision(3))
    const within = (share: number) => rounded(Math.min(this.#within(share), this.#longest))
    const longest = rounded(this.#longest)
    return { count: this.#count, p50: within(0.5), p95: within(0.95), p99: within(0.99), longest }
  }

  #within(share: number): number {
    let left = this.#count * share
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket] ?? 0
      if (left <= 0) return 2 ** (bucket / STEPS) / 1000
    }
    return this.#longest
  }
}
