// Messages that a transport reads into, in rotation: one whose bytes a handler still uses is not read into.
import { Message } from './message.ts'

/** How many requests may hold their bytes at once before reading stops. Untouched pages of a buffer cost no memory. */
const LIMIT = 64

export class MessagePool {
  readonly #size: number
  readonly #limit: number
  readonly #free: Message[] = []
  #made = 0
  #onFree: (() => void) | undefined

  /** `size` in bytes, at least the longest WRITE plus a page, or reading fails with EINVAL. */
  constructor(size: number, limit = LIMIT) {
    this.#size = size
    this.#limit = limit
  }

  /** `undefined` when all are held; `onFree` is then called once, when one is back. */
  take(onFree: () => void): Message | undefined {
    const message = this.#free.pop()
    if (message !== undefined) return message
    if (this.#made < this.#limit) {
      this.#made += 1
      return new Message(this.#size, (released) => this.give(released))
    }
    this.#onFree = onFree
    return undefined
  }

  give(message: Message): void {
    this.#free.push(message)
    const onFree = this.#onFree
    this.#onFree = undefined
    onFree?.()
  }
}
