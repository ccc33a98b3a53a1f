/** Time as the runner sees it; tests have one of their own. */
export interface Clock {
  /** milliseconds since 1970 */
  now(): number
  /** Calls `act` once, so many milliseconds from now; answers how to call it off. Does not keep the process alive. */
  after(milliseconds: number, act: () => void): () => void
}

/** Longest that setTimeout waits */
const LONGEST = 2 ** 31 - 1

export const CLOCK: Clock = {
  now: () => Date.now(),
  after(milliseconds, act) {
    const timer = setTimeout(act, Math.min(milliseconds, LONGEST)).unref()
    return () => clearTimeout(timer)
  },
}
