// One request as the kernel wrote it. Fields are read in place: 64-bit numbers as pairs of little-endian words.
import { IN_HEADER, RESENT_BIT } from './constants.ts'

/** The request is not what the protocol says: too short, or a name without its end. */
export class MalformedRequest extends Error {
  override readonly name = 'MalformedRequest'
}

const WORD = 0x100000000

/** The number of a request, of its two words, without the mark of one that is sent again. */
export function uniqueOf(low: number, high: number): number {
  return (high & ~RESENT_BIT) * WORD + low
}

/** A buffer for one request. Word 0 is the length; the body starts at byte 40, word 10. */
export class Message {
  readonly bytes: Buffer
  readonly words: Uint32Array
  /** Bytes that were read into it. */
  length = 0
  #held = false
  readonly #onRelease: ((message: Message) => void) | undefined

  constructor(size: number, onRelease?: (message: Message) => void) {
    const memory = new ArrayBuffer(size)
    this.bytes = Buffer.from(memory)
    this.words = new Uint32Array(memory)
    this.#onRelease = onRelease
  }

  get opcode(): number {
    return this.word(1)
  }

  get uniqueLow(): number {
    return this.word(2)
  }

  get uniqueHigh(): number {
    return this.word(3)
  }

  /** The request's number without the mark of a request that is sent again. */
  get unique(): number {
    return this.uniqueAt(2)
  }

  /** As `unique`, of the number at another word. */
  uniqueAt(index: number): number {
    return uniqueOf(this.word(index), this.word(index + 1))
  }

  get resent(): boolean {
    return this.uniqueHigh >= RESENT_BIT
  }

  get nodeid(): number {
    return this.long(4)
  }

  word(index: number): number {
    return this.words[index] ?? 0
  }

  /** Unsigned 64-bit number at a word; above 2^53 it is not exact, so compare with MAX_SAFE_INTEGER before use. */
  long(index: number): number {
    return this.word(index + 1) * WORD + this.word(index)
  }

  /** Signed seconds. */
  seconds(index: number): number {
    return (this.word(index + 1) | 0) * WORD + this.word(index)
  }

  /** Throws MalformedRequest unless header and `body` bytes have come, and just as many as the header says. */
  expect(body: number): void {
    if (this.length < IN_HEADER + body || this.word(0) !== this.length) {
      throw new MalformedRequest(`opcode ${this.opcode}: ${this.length} bytes came, the header says ${this.word(0)}`)
    }
  }

  /** Index of the NUL that ends the string at `start`. */
  endOfString(start: number): number {
    const { bytes, length } = this
    for (let end = start; end < length; end++) if (bytes[end] === 0) return end
    throw new MalformedRequest(`opcode ${this.opcode}: string without end`)
  }

  /** A copy of the string at byte `start`, without its NUL. */
  string(start: number): Buffer {
    return this.copy(start, this.endOfString(start))
  }

  /** A copy of these bytes, which must have come. */
  copy(start: number, end: number): Buffer {
    const view = this.view(start, end)
    const copied = Buffer.allocUnsafe(view.length)
    view.copy(copied)
    return copied
  }

  /** These bytes in place: good until the message is reused. */
  view(start: number, end: number): Buffer {
    if (end > this.length) throw new MalformedRequest(`opcode ${this.opcode}: ${end} bytes wanted of ${this.length}`)
    return this.bytes.subarray(start, end)
  }

  get held(): boolean {
    return this.#held
  }

  /** Somebody still uses the bytes: the transport must read the next request into another message. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#onRelease?.(this)
  }
}
