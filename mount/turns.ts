// What concerns one node and must not overlap: flushes of its bytes, and changes of its names and attributes.

export class Turns {
  #current: Promise<unknown> | undefined

  /** Does the call when those before it have ended, well or not: their errors belong to whoever made them. */
  async take<T>(call: () => Promise<T>): Promise<T> {
    // looked at and taken in one step, so that of all who wait only one goes on
    while (this.#current !== undefined) await this.#current.catch(() => undefined)
    const current = call()
    this.#current = current
    try {
      return await current
    } finally {
      this.#current = undefined
    }
  }
}

/** Does the call in the turn of each, in this order. */
export function inTurn<T>(all: readonly { readonly turns: Turns }[], call: () => Promise<T>): Promise<T> {
  const [first, ...rest] = all
  return first === undefined ? call() : first.turns.take(() => inTurn(rest, call))
}
