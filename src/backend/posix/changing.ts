/**
 * Inodes whose bytes are being changed in place: one change at a time, everyone else waits for its end, and readers that
 * began before are told. Other conditions need no lock: they are checked and acted on in one synchronous stretch.
 */
export interface Reader {
  cut: boolean
}

export class Changing {
  readonly #tails = new Map<string, Promise<void>>()
  readonly #readers = new Map<string, Set<Reader>>()

  /** The end of the change that is going on; undefined: none is. */
  of(self: string): Promise<void> | undefined {
    return this.#tails.get(self)
  }

  /** Runs a change when those before it are through; readers that are at it now are cut. */
  async run<T>(self: string, change: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(self)
    const { promise, resolve } = Promise.withResolvers<void>()
    const tail = (before ?? Promise.resolve()).then(() => promise)
    this.#tails.set(self, tail)
    try {
      await before
      return await change()
    } finally {
      resolve()
      if (this.#tails.get(self) === tail) this.#tails.delete(self)
    }
  }

  /** Call at the moment before the first byte changes. */
  cutReaders(self: string): void {
    for (const reader of this.#readers.get(self) ?? []) reader.cut = true
  }

  reading(self: string): Reader {
    const reader = { cut: false }
    const readers = this.#readers.get(self) ?? new Set()
    this.#readers.set(self, readers.add(reader))
    return reader
  }

  done(self: string, reader: Reader): void {
    const readers = this.#readers.get(self)
    readers?.delete(reader)
    if (readers?.size === 0) this.#readers.delete(self)
  }
}
