/** Bytes that wait to be a part of an upload, in memory that is used again. */

/** What is kept for the next ones, of all uploads together; bytes. */
const MOST_SPARE = 64 * 2 ** 20
/** Less is not worth keeping: bodies that do not fill a part are many, and parts have 5 MiB or more. */
const LEAST_SPARE = 4 * 2 ** 20
/** How long it is kept when nothing is uploaded; milliseconds. */
const KEPT = 30_000

/**
 * Memory of parts that are with the server, for the next ones. Each time that 64 MiB of it are new, V8 looks through its whole heap, which took
 * as much processor as the hashing did.
 */
export class Spare {
  readonly #free: Buffer[] = []
  readonly #end = setTimeout(() => this.#free.splice(0), KEPT).unref()

  take(bytes: number): Buffer {
    // none that is much larger: a body that comes slowly would hold it
    const fits = ({ length }: Buffer): boolean => length >= bytes && length <= 2 * bytes
    const fit = bytes < LEAST_SPARE ? -1 : this.#free.findIndex(fits)
    return (fit < 0 ? undefined : this.#free.splice(fit, 1)[0]) ?? Buffer.allocUnsafeSlow(bytes)
  }

  /** Of bytes that a lot has given, once, when nobody reads them any more. */
  give({ buffer }: Buffer): void {
    const kept = this.#free.reduce((sum, { length }) => sum + length, buffer.byteLength)
    if (buffer.byteLength < LEAST_SPARE || kept > MOST_SPARE) return
    this.#free.push(Buffer.from(buffer))
    this.#end.refresh()
  }
}

/** Of all uploads of this process. */
export const spare = new Spare()

const LEAST_MEMORY = 2 ** 16
/** How much more is taken when that is full: most bodies are small, and of the others every step is copied. */
const GROWTH = 16

export class Lot {
  readonly #spare: Spare
  #memory: Buffer = Buffer.alloc(0)
  /** there was as much before as there may be: it will be so again */
  #isLarge = false
  size = 0

  constructor(from: Spare = spare) {
    this.#spare = from
  }

  /** Takes in what there is room for when there may be so many bytes in all; answers how many that were. No more than `announced` will come. */
  fill(piece: Uint8Array, most: number, announced = most): number {
    const count = Math.min(piece.length, most - this.size)
    const bytes = this.size + count
    this.#reserve(bytes, Math.min(most, Math.max(bytes, announced)))
    this.#memory.set(count < piece.length ? piece.subarray(0, count) : piece, this.size)
    this.size += count
    return count
  }

  /** The first bytes, in memory of their own. */
  take(count: number): Buffer {
    const taken = this.#memory.subarray(0, count)
    const rest = this.#memory.subarray(count, this.size)
    this.#isLarge = this.size >= LEAST_SPARE
    this.#memory = Buffer.alloc(0)
    this.size = 0
    if (rest.length > 0) this.fill(rest, rest.length)
    return taken
  }

  #reserve(bytes: number, most: number): void {
    if (bytes <= this.#memory.length) return
    const before = this.#memory
    const wanted = this.#isLarge ? most : Math.max(bytes, GROWTH * before.length, LEAST_MEMORY)
    this.#memory = this.#spare.take(Math.min(most, wanted))
    this.#memory.set(before.subarray(0, this.size))
    this.#spare.give(before)
  }
}
