// One line of the benchmark's report.

export interface BenchRow {
  readonly name: string
  readonly ours: number
  readonly peer: number
  readonly unit: string
  /** ours to peer; above 1 is better for rates. */
  readonly ratio: number
  readonly target?: string
}

/** The middle value, NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}
