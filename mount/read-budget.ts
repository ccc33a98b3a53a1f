/** The memory that all readers of a process share for bytes read ahead: how much each may have, and the memory itself, used again and again. */
import { Inlet } from './inlet.ts'

/** Bytes in which memory is given out. */
export const SLAB = 128 << 10
/** Less than that is allocated as it is wanted. */
const SMALL = SLAB / 2

/** Bytes that are kept to be used again: what is waited for is over the budget, and allocated anew each time it would be garbage before it is collected. */
const MOST_FREE = 64 << 20

/** Bytes of memory for that many of a file. */
export function slabsOf(bytes: number): number {
  return bytes < SMALL ? bytes : Math.ceil(bytes / SLAB) * SLAB
}

/** A reader, as the budget sees it. */
export interface Holder {
  /** Lets go of what nobody waits for. */
  shed(): void
}

export class ReadBudget {
  readonly bytes: number
  readonly #rest: number
  readonly #clock: () => number
  #used = 0
  /** when each was used last; least recently used first */
  readonly #holders = new Map<Holder, number>()
  /** Slabs that nobody reads from or writes to. */
  readonly #free: Buffer[] = []

  /**
   * `bytes`: what read-ahead may hold in all; what a program waits for is counted too, but never refused.
   * `rest`: seconds after which an unused reader loses what it holds, when another needs the room. `clock`: milliseconds, as performance.now()
   */
  constructor(bytes: number, rest = 2, clock = (): number => performance.now()) {
    this.bytes = bytes
    this.#rest = rest * 1000
    this.#clock = clock
  }

  /** bytes */
  get used(): number {
    return this.#used
  }

  /** Marks a reader as the one used last. */
  use(holder: Holder): void {
    this.#holders.delete(holder)
    this.#holders.set(holder, this.#clock())
  }

  forget(holder: Holder): void {
    this.#holders.delete(holder)
  }

  /** Bytes that each reader in use may plan with. */
  share(): number {
    const since = this.#clock() - this.#rest
    let active = 0
    for (const last of this.#holders.values()) if (last > since) active++
    return this.bytes / Math.max(1, active)
  }

  /** True when the bytes were free, or could be had from other readers at rest. */
  take(bytes: number, asker: Holder): boolean {
    if (bytes > this.bytes) return false
    const since = this.#clock() - this.#rest
    for (const [holder, last] of this.#holders) {
      if (this.#used + bytes <= this.bytes || last > since) break
      if (holder !== asker) holder.shed()
    }
    if (this.#used + bytes > this.bytes) return false
    this.#used += bytes
    return true
  }

  /** Takes what a program waits for, room or not. */
  force(bytes: number): void {
    this.#used += bytes
  }

  give(bytes: number): void {
    this.#used -= bytes
  }

  /** Memory for bytes that were taken. */
  inlet(bytes: number): Inlet {
    if (bytes < SMALL) return new Inlet([Buffer.allocUnsafeSlow(bytes)], bytes)
    const slabs = Array.from({ length: slabsOf(bytes) / SLAB }, () => this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB))
    return new Inlet(slabs, bytes)
  }

  /** Nothing is written to it any more, and who was given views of it has used them when this turn of the event loop is over. */
  recycle({ parts }: Inlet): void {
    setImmediate(() => {
      for (const part of parts) {
        if (part.length === SLAB && this.#free.length * SLAB < MOST_FREE) this.#free.push(part)
      }
    })
  }
}
