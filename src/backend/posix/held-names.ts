/** Names as bytes in one buffer: a hundred thousand strings that are held for a while would grow the heap, and stay in it for long. */

/** Each with its NUL. Which they are in the order of their bytes is known after `sort`. */
export class HeldNames {
  #bytes = new Uint8Array(1 << 12)
  #spare = new Uint8Array(0)
  #used = 0
  #starts = new Uint32Array(1 << 8)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** What stands in `from` at `start`, up to its NUL. */
  add(from: Uint8Array, start: number, end: number): void {
    const length = end - start + 1
    if (this.#used + length > this.#bytes.length) this.#bytes = larger(this.#bytes, this.#used + length)
    if (this.#count === this.#starts.length) {
      const starts = new Uint32Array(2 * this.#count)
      starts.set(this.#starts)
      this.#starts = starts
    }
    this.#starts[this.#count++] = this.#used
    // a call takes longer than so few bytes
    for (let i = 0; i < length - 1; i++) this.#bytes[this.#used + i] = from[start + i] ?? 0
    this.#bytes[this.#used + length - 1] = 0
    this.#used += length
  }

  /** Orders them, and lets go of those after the first `most`. */
  sort(most: number): void {
    const bytes = this.#bytes
    this.#starts.subarray(0, this.#count).sort((a, b) => compareNames(bytes, a, bytes, b))
    if (this.#count > most) this.#cut(most)
  }

  /** To be filled anew, in the same memory. */
  clear(): void {
    this.#used = 0
    this.#count = 0
  }

  /** With its NUL. */
  bytesOf(at: number): Uint8Array {
    const start = this.#starts[at] ?? 0
    return this.#bytes.subarray(start, this.#bytes.indexOf(0, start) + 1)
  }

  strings(from: number, to: number): string[] {
    const names: string[] = []
    for (let at = from; at < Math.min(to, this.#count); at++) {
      const { buffer, byteOffset, length } = this.bytesOf(at)
      names.push(Buffer.from(buffer, byteOffset, length - 1).toString())
    }
    return names
  }

  #cut(most: number): void {
    const from = this.#bytes
    const starts = this.#starts.slice(0, most)
    const into = this.#spare.length < this.#bytes.length ? new Uint8Array(this.#bytes.length) : this.#spare
    this.#bytes = into
    this.#spare = from
    this.clear()
    for (const start of starts) this.add(from, start, from.indexOf(0, start))
  }
}

/** Of two names with their NULs, by their bytes, which is by their characters too. */
export function compareNames(a: Uint8Array, i: number, b: Uint8Array, j: number): number {
  for (; ; i++, j++) {
    const x = a[i] ?? 0
    const y = b[j] ?? 0
    if (x !== y) return x - y
    if (x === 0) return 0
  }
}

function larger(bytes: Uint8Array, least: number): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(Math.max(2 * bytes.length, least))
  more.set(bytes)
  return more
}
