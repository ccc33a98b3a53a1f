/** Sequences that one process makes and another reads, a bounded part of them under way: bytes of bodies, and entries of listings. */
import { Readable } from 'node:stream'
import { type Told } from './told.ts'

/** What may be under way, in items; so many bytes count as one. */
const WINDOW = 32
const BYTES = 64 * 1024

const costOf = (item: unknown): number =>
  item instanceof Uint8Array ? Math.max(1, Math.ceil(item.byteLength / BYTES)) : 1

export interface ProducerEvents {
  readonly items: (items: readonly unknown[]) => void
  readonly end: (error?: unknown) => void
}

/** Reads a source as far as the other side has granted. Nothing is read before it has asked. */
export class Producer {
  readonly #source: AsyncIterable<unknown>
  readonly #iterator: AsyncIterator<unknown, unknown>
  readonly #events: ProducerEvents
  #credit = 0
  #isRunning = false
  #isOver = false
  #ready: unknown[] = []
  #isFlushing = false

  constructor(source: AsyncIterable<unknown>, events: ProducerEvents) {
    this.#source = source
    this.#iterator = source[Symbol.asyncIterator]()
    this.#events = events
  }

  grant(credit: number): void {
    this.#credit += credit
    if (!this.#isRunning && !this.#isOver) void this.#run()
  }

  /** Nobody reads on. */
  drop(): void {
    if (this.#isOver) return
    this.#isOver = true
    // a stream's iterator returns only when what it waits for has come
    if (this.#source instanceof Readable) this.#source.destroy()
    else void this.#iterator.return?.().catch(() => undefined) // nobody is left to be told
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    try {
      while (this.#credit > 0 && !this.#isOver) {
        const { done, value } = await this.#iterator.next()
        if (this.#isOver) return
        if (done === true) return this.#end()
        this.#credit -= costOf(value)
        this.#ready.push(value)
        // what comes at once goes at once
        if (!this.#isFlushing) setImmediate(() => this.#flush())
        this.#isFlushing = true
      }
    } catch (error) {
      if (!this.#isOver) this.#end(error)
    } finally {
      this.#isRunning = false
    }
  }

  #flush(): void {
    this.#isFlushing = false
    if (this.#ready.length > 0) this.#events.items(this.#ready)
    this.#ready = []
  }

  #end(error?: unknown): void {
    this.#flush()
    this.#isOver = true
    this.#events.end(error)
  }
}

export interface ConsumerEvents {
  readonly grant: (credit: number) => void
  /** It is not read on: over, or left. */
  readonly over: (isLeft: boolean) => void
}

interface Waiting {
  readonly resolve: (result: IteratorResult<unknown, undefined>) => void
  readonly reject: (error: Error) => void
  readonly since: number
}

/** What the other side produces; it is read once. */
export class Consumer implements AsyncIterableIterator<unknown, undefined> {
  readonly #events: ConsumerEvents
  #items: unknown[] = []
  #waiting: Waiting | undefined
  #end: { error?: Error } | undefined
  readonly #over = Promise.withResolvers<undefined>()
  #window = WINDOW
  /** credit that the other side does not have */
  #owed = WINDOW

  constructor(events: ConsumerEvents) {
    this.#events = events
  }

  /** performance.now() since when its reader waits; undefined: it does not. */
  get waitingSince(): number | undefined {
    return this.#waiting?.since
  }

  /** When nothing more comes. */
  get over(): Promise<undefined> {
    return this.#over.promise
  }

  /** Nothing is made before it is asked for; to be said before anything is. */
  oneByOne(): this {
    this.#window = this.#owed = 1
    return this
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#items.length > 0) {
      const value = this.#items.shift()
      this.#owed += costOf(value)
      return Promise.resolve({ done: false, value })
    }
    if (this.#end !== undefined) {
      const { error } = this.#end
      this.#end = {}
      return error === undefined ? Promise.resolve(DONE) : Promise.reject(error)
    }
    if (this.#owed >= this.#window / 2) {
      this.#events.grant(this.#owed)
      this.#owed = 0
    }
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject, since: performance.now() }))
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    this.#items = []
    if (this.#end === undefined) {
      this.#end = {}
      this.#over.resolve(undefined)
      this.#events.over(true)
      this.#wake()
    }
    return Promise.resolve(DONE)
  }

  take(items: readonly unknown[]): void {
    if (this.#end !== undefined) return
    this.#items.push(...items)
    this.#wake()
  }

  end(error?: Error): void {
    if (this.#end !== undefined) return
    this.#end = error === undefined ? {} : { error }
    this.#over.resolve(undefined)
    this.#events.over(false)
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) void this.next().then(waiting.resolve, waiting.reject)
  }
}

const DONE = { done: true, value: undefined } as const

export type StreamMessage =
  | { readonly kind: 'grant'; readonly stream: number; readonly credit: number }
  | { readonly kind: 'drop'; readonly stream: number }
  | { readonly kind: 'items'; readonly stream: number; readonly items: readonly unknown[] }
  | { readonly kind: 'end'; readonly stream: number; readonly error?: Told }
