// The connections on which ranges are asked for: a bounded number, of one credential.
import {
  failure,
  type RangeAnswer,
  RangeConnection,
  type RangeConnectionOptions,
  type RangeRequest,
} from './range-connection.ts'

export class RangePool {
  readonly #options: RangeConnectionOptions
  readonly #most: number
  /** used last last */
  #idle: RangeConnection[] = []
  readonly #busy = new Set<RangeConnection>()
  #taken = 0
  readonly #waiting: (() => void)[] = []
  #closed: PromiseWithResolvers<void> | undefined
  #isDestroyed = false

  /** No more than `most` are asked at a time: other requests wait for their turn. */
  constructor(options: RangeConnectionOptions, most: number) {
    this.#options = options
    this.#most = most
  }

  /** As RangeConnection.ask. On a connection that the other side has closed meanwhile it is asked once more, on a new one. */
  async request(request: RangeRequest): Promise<RangeAnswer | undefined> {
    await this.#turn(request.signal)
    try {
      request.signal?.throwIfAborted()
      const used = this.#usable()
      return used === undefined ? await this.#ask(this.#made(), request) : await this.#again(used, request)
    } finally {
      this.#taken--
      this.#waiting.shift()?.()
      this.#ended()
    }
  }

  async #again(used: RangeConnection, request: RangeRequest): Promise<RangeAnswer | undefined> {
    try {
      return await this.#ask(used, request)
    } catch (error) {
      if (request.signal?.aborted === true || request.inlet.count > 0 || !isClosing(error)) throw error
      return this.#ask(this.#made(), request)
    }
  }

  async #ask(connection: RangeConnection, request: RangeRequest): Promise<RangeAnswer | undefined> {
    this.#busy.add(connection)
    try {
      return await connection.ask(request)
    } finally {
      this.#busy.delete(connection)
      if (connection.isUsable && this.#closed === undefined) this.#idle.push(connection)
      else connection.destroy()
    }
  }

  #made(): RangeConnection {
    if (this.#isDestroyed) throw failure('ECONNABORTED', 'the client is closed')
    return new RangeConnection(this.#options)
  }

  #usable(): RangeConnection | undefined {
    this.#idle = this.#idle.filter(({ isUsable }) => isUsable)
    return this.#idle.pop()
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    while (this.#taken >= this.#most) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = (): void => resolve()
      this.#waiting.push(wake)
      signal?.addEventListener('abort', wake, { once: true })
      await promise
      signal?.removeEventListener('abort', wake)
      if (signal?.aborted === true) this.#leave(wake, signal)
    }
    this.#taken++
  }

  /** Who gives up while it waits takes nobody's turn. */
  #leave(wake: () => void, signal: AbortSignal): never {
    const at = this.#waiting.indexOf(wake)
    if (at >= 0) this.#waiting.splice(at, 1)
    else this.#waiting.shift()?.()
    throw signal.reason
  }

  /** Resolves when what is under way has ended. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers()
    for (const connection of this.#idle.splice(0)) connection.destroy()
    this.#ended()
    return this.#closed.promise
  }

  /** What is under way is cut. */
  destroy(): Promise<void> {
    this.#isDestroyed = true
    for (const connection of this.#busy) connection.destroy()
    return this.close()
  }

  #ended(): void {
    if (this.#taken === 0) this.#closed?.resolve()
  }
}

function isClosing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}
