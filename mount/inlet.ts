// Where the bytes of one answer go: memory that is there already, in parts, filled as they come.

export class Inlet {
  /** Bytes wanted; the parts have room for them. */
  readonly length: number
  readonly parts: readonly Buffer[]
  #part = 0
  /** Bytes in the part that is being filled. */
  #filled = 0
  #count = 0
  #most = 0
  #failure: Error | undefined
  #waiting: { readonly count: number; readonly done: PromiseWithResolvers<void> }[] = []

  constructor(parts: readonly Buffer[], length: number) {
    this.parts = parts
    this.length = length
  }

  /** Bytes of the answer so far. */
  get count(): number {
    return this.#count
  }

  /** An answer begins: what came of one that broke off comes again, the same bytes in the same places. */
  begin(): void {
    this.#part = 0
    this.#filled = 0
    this.#count = 0
  }

  /** Where the next bytes go; empty when all have come. */
  room(): Buffer {
    const part = this.parts[this.#part] ?? NONE
    return part.subarray(this.#filled, Math.min(part.length, this.#filled + this.length - this.#count))
  }

  /** So many bytes were put into `room()`. */
  took(count: number): void {
    this.#count += count
    this.#filled += count
    if (this.#filled === this.parts[this.#part]?.length) {
      this.#part++
      this.#filled = 0
    }
    if (this.#count > this.#most) this.#grown(this.#count)
  }

  /** Copies what there is room for. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const room = this.room()
      if (room.length === 0) return
      const part = bytes.subarray(at, at + room.length)
      room.set(part)
      this.took(part.length)
      at += part.length
    }
  }

  /** Whether that many bytes, from the first on, are there to be read. */
  has(count: number): boolean {
    return this.#most >= count
  }

  /** Resolves when they are; rejects with the error of `fail`. */
  reach(count: number): Promise<void> {
    if (this.has(count)) return Promise.resolve()
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ count, done })
    return done.promise
  }

  /** Nothing more will come. */
  fail(error: Error): void {
    this.#failure = error
    for (const { done } of this.#waiting.splice(0)) done.reject(error)
  }

  /** Views of the bytes from `start` on, up to `end`: they must have come. */
  slices(start: number, end: number): Buffer[] {
    const views: Buffer[] = []
    let at = 0
    for (const part of this.parts) {
      const [from, to] = [Math.max(start - at, 0), Math.min(end - at, part.length)]
      if (from < to) views.push(part.subarray(from, to))
      at += part.length
    }
    return views
  }

  #grown(most: number): void {
    this.#most = most
    if (!this.#waiting.some(({ count }) => count <= most)) return
    const reached = this.#waiting.filter(({ count }) => count <= most)
    this.#waiting = this.#waiting.filter(({ count }) => count > most)
    for (const { done } of reached) done.resolve()
  }
}

const NONE = Buffer.alloc(0)
