// Work that costs a processor: little of it at a time, and whoever asks for much waits longer than who asks for little.
import { Fault } from '../vospace/fault.ts'

export interface TurnsOptions {
  /** done at a time, for all together */
  readonly atOnce: number
  /** that may wait, of one asker and of all */
  readonly waitingOfOne: number
  readonly waiting: number
}

/** Askers take turns, each one's work comes in its order. */
export class Turns {
  readonly #options: TurnsOptions
  // the first asker is the next one; who was served goes to the end
  readonly #waiting = new Map<string, (() => void)[]>()
  #doing = 0
  #size = 0

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** What `work` answers, when it is its turn. ServiceBusy, at once: too much of theirs, or of everybody's, waits already. */
  async take<T>(asker: string, work: () => Promise<T>): Promise<T> {
    if (this.#doing < this.#options.atOnce) this.#doing++
    else await this.#turn(asker)
    try {
      return await work()
    } finally {
      // whoever is next has the place, so that nobody comes in between
      if (!this.#next()) this.#doing--
    }
  }

  #turn(asker: string): Promise<void> {
    const { waitingOfOne, waiting } = this.#options
    const own = this.#waiting.get(asker) ?? []
    if (own.length >= waitingOfOne || this.#size >= waiting) {
      throw new Fault('ServiceBusy', 'too much waits for this already: try again')
    }
    this.#size++
    return new Promise((resolve) => {
      own.push(resolve)
      this.#waiting.set(asker, own)
    })
  }

  #next(): boolean {
    const [first] = this.#waiting
    if (first === undefined) return false
    const [asker, own] = first
    const go = own.shift()
    this.#waiting.delete(asker)
    if (own.length > 0) this.#waiting.set(asker, own)
    this.#size--
    go?.()
    return true
  }
}
