/** Several ranges of one object at once, in bounded memory: for whoever reads faster than one connection to the server brings. */
import { type Span } from './read.ts'

export interface ReadAheadOptions {
  /** of a range */
  readonly rangeBytes: number
  /** ranges of one reader that are under way at once */
  readonly most: number
  /** that wait for all readers together */
  readonly bytes: number
}

/** What all readers of a store have together. */
export class ReadAhead {
  readonly options: ReadAheadOptions
  #free: number

  constructor(options: ReadAheadOptions) {
    this.options = options
    this.#free = options.bytes
  }

  take(bytes: number): boolean {
    if (bytes > this.#free) return false
    this.#free -= bytes
    return true
  }

  give(bytes: number): void {
    this.#free += bytes
  }
}

type Open = (range: Span) => Promise<AsyncGenerator<Buffer>>

/** Resolves when the first answer has come. What is under way when the reader ends is for `open` to abort. */
export async function spread(span: Span, open: Open, ahead: ReadAhead): Promise<AsyncGenerator<Buffer>> {
  const { most, rangeBytes } = ahead.options
  if (most === 1 || span.count <= rangeBytes) return open(span)
  const reader = new Reader(span, open, ahead)
  return reader.read(await open(reader.next()))
}

class Reader {
  readonly #span: Span
  readonly #open: Open
  readonly #ahead: ReadAhead
  readonly #waiting: Collected[] = []
  /** bytes that have been asked for */
  #asked = 0

  constructor(span: Span, open: Open, ahead: ReadAhead) {
    this.#span = span
    this.#open = open
    this.#ahead = ahead
  }

  /** The next range, which is then asked for. */
  next(): Span {
    const start = this.#span.start + this.#asked
    const count = Math.min(this.#ahead.options.rangeBytes, this.#span.count - this.#asked)
    this.#asked += count
    return { ...this.#span, start, count }
  }

  get #isAllAsked(): boolean {
    return this.#asked === this.#span.count
  }

  async *read(first: AsyncGenerator<Buffer>): AsyncGenerator<Buffer, void> {
    try {
      this.#fetch()
      yield* first
      for (;;) {
        const head = this.#waiting.shift()
        if (head !== undefined) {
          try {
            this.#fetch()
            yield* head.pieces()
          } finally {
            this.#ahead.give(head.bytes)
          }
        } else if (!this.#isAllAsked) yield* await this.#open(this.next())
        else return
      }
    } finally {
      for (const { bytes } of this.#waiting.splice(0)) this.#ahead.give(bytes)
    }
  }

  /** One is being read meanwhile. */
  #fetch(): void {
    const { rangeBytes, most } = this.#ahead.options
    while (this.#waiting.length < most - 1 && !this.#isAllAsked && this.#ahead.take(rangeBytes))
      this.#waiting.push(new Collected(this.#open(this.next()), rangeBytes))
  }
}

/** A range that comes into memory, whoever waits for it. */
class Collected {
  /** that it may have */
  readonly bytes: number
  readonly #pieces: Buffer[] = []
  #isOver = false
  #failure: { readonly error: unknown } | undefined
  #look: () => void = () => undefined

  constructor(range: Promise<AsyncGenerator<Buffer>>, bytes: number) {
    this.bytes = bytes
    void this.#collect(range)
  }

  async *pieces(): AsyncGenerator<Buffer, void> {
    for (;;) {
      const piece = this.#pieces.shift()
      if (piece !== undefined) yield piece
      else if (this.#failure !== undefined) throw this.#failure.error
      else if (this.#isOver) return
      else await new Promise<void>((resolve) => (this.#look = resolve))
    }
  }

  async #collect(range: Promise<AsyncGenerator<Buffer>>): Promise<void> {
    try {
      for await (const piece of await range) {
        this.#pieces.push(piece)
        this.#look()
      }
    } catch (error) {
      // of whoever comes to read it
      this.#failure = { error }
    }
    this.#isOver = true
    this.#look()
  }
}
