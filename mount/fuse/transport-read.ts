// The plain way: reads of the thread pool that block until a request comes. Three times fewer small requests a second
// than epoll, and each outstanding read occupies a pool thread; it relies on nothing but fs.
import fs from 'node:fs'
import { setBlocking } from '../../src/libc/descriptor.ts'
import { type Message } from './message.ts'
import { MessagePool } from './message-pool.ts'
import { DeviceWriter } from './device-writer.ts'
import { endOf, type Transport } from './transport.ts'

/** Two, so that one is on its way while the other is handled; more would starve other users of the thread pool. */
const OUTSTANDING = 2

/** Interrupted: read again. */
const TRANSIENT = new Set(['EINTR', 'ENOENT'])

export class ReadTransport implements Transport {
  readonly #fd: number
  readonly #writer: DeviceWriter
  readonly #pool: MessagePool
  #ended = false
  #onRequest: (message: Message) => void = () => undefined
  #onEnd: (error: Error | undefined) => void = () => undefined

  /** `size` in bytes of the longest request. */
  constructor(fd: number, size: number) {
    setBlocking(fd, true)
    this.#fd = fd
    this.#writer = new DeviceWriter(fd)
    this.#pool = new MessagePool(size)
  }

  start(onRequest: (message: Message) => void, onEnd: (error: Error | undefined) => void): void {
    this.#onRequest = onRequest
    this.#onEnd = onEnd
    for (let i = 0; i < OUTSTANDING; i++) this.#next()
  }

  write(parts: readonly Uint8Array[], length: number): number {
    return this.#writer.write(parts, length)
  }

  notify(bytes: Uint8Array): Promise<number> {
    return this.#writer.notify(bytes)
  }

  /** A read that waits in the kernel keeps its thread until the next request or the unmount. */
  close(): void {
    this.#finish(undefined)
  }

  #next(): void {
    if (this.#ended) return
    const message = this.#pool.take(() => this.#next())
    if (message === undefined) return
    fs.read(this.#fd, message.bytes, 0, message.bytes.length, null, (error, length) => {
      if (this.#ended) return
      if (error !== null && !TRANSIENT.has(error.code ?? '')) {
        this.#finish(error)
        return
      }
      if (error === null) {
        message.length = length
        this.#onRequest(message)
      }
      if (!message.held) this.#pool.give(message)
      this.#next()
    })
  }

  #finish(error: NodeJS.ErrnoException | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#writer.end()
    fs.close(this.#fd, () => this.#onEnd(endOf(error)))
  }
}
