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
  readonly #idle = new Set<RangeConnection>()
  /** Those whose answers have not come whole, whoever waits for them. */
  readonly #busy = new Set<RangeConnection>()
  #asking = 0
  #taken = 0
  readonly #waiting: (() => void)[] = []
  #closed: PromiseWithResolvers<void> | undefined
  #isDestroyed = false
  #distance = Infinity

  /** No more than `most` are begun at a time: other requests wait for their turn. Nor do more go beyond what is wanted at first. */
  constructor(options: RangeConnectionOptions, most: number) {
    this.#options = options
    this.#most = most
  }

  /** Milliseconds to the other side and back; Infinity until that is known. */
  get distance(): number {
    return this.#distance
  }

  /** As RangeConnection.ask. On a connection that the other side has closed meanwhile it is asked once more, on a new one. */
  async request(request: RangeRequest): Promise<RangeAnswer | undefined> {
    this.#asking++
    try {
      request.signal?.throwIfAborted()
      const open = this.#goingOn(request)
      const goneOn = open === undefined ? 'broken off' : await this.#unlessBroken(open, request)
      return goneOn === 'broken off' ? await this.#inTurn(request) : goneOn
    } finally {
      this.#asking--
      this.#ended()
    }
  }

  /** Others wait on it too: whoever loses it waits for a turn. */
  async #unlessBroken(open: RangeConnection, request: RangeRequest): Promise<RangeAnswer | undefined | 'broken off'> {
    try {
      return await this.#ask(open, request)
    } catch (error) {
      if (mayAskAgain(request, error)) return 'broken off'
      throw error
    }
  }

  async #inTurn(request: RangeRequest): Promise<RangeAnswer | undefined> {
    while (this.#taken >= this.#most) await this.#turn(request.signal)
    // what follows in the same turn of the event loop finds it asked
    this.#taken++
    try {
      request.signal?.throwIfAborted()
      const used = this.#goingOn(request) ?? this.#usable()
      return used === undefined ? await this.#ask(this.#made(), request) : await this.#again(used, request)
    } finally {
      this.#taken--
      this.#waiting.shift()?.()
    }
  }

  async #again(used: RangeConnection, request: RangeRequest): Promise<RangeAnswer | undefined> {
    try {
      return await this.#ask(used, request)
    } catch (error) {
      if (!mayAskAgain(request, error)) throw error
      return this.#ask(this.#goingOn(request) ?? this.#made(), request)
    }
  }

  async #ask(connection: RangeConnection, request: RangeRequest): Promise<RangeAnswer | undefined> {
    this.#idle.delete(connection)
    const more = this.#busy.size < this.#most ? request.more : 0
    this.#busy.add(connection)
    try {
      return await connection.ask({ ...request, more })
    } finally {
      this.#distance = Math.min(this.#distance, connection.distance)
      this.#place(connection)
    }
  }

  #place(connection: RangeConnection): void {
    if (connection.isUsable && connection.isBusy) return
    const isWanted = connection.isUsable && this.#closed === undefined
    if (!isWanted) connection.destroy()
    else if (connection.isOpen) return
    else this.#idle.add(connection)
    this.#busy.delete(connection)
  }

  #made(): RangeConnection {
    if (this.#isDestroyed) throw failure('ECONNABORTED', 'the client is closed')
    return new RangeConnection(this.#options)
  }

  /** One whose answer goes on with what is asked. */
  #goingOn(request: RangeRequest): RangeConnection | undefined {
    for (const connection of this.#busy) this.#place(connection)
    return [...this.#busy].find((connection) => connection.goesOn(request))
  }

  #usable(): RangeConnection | undefined {
    for (const connection of this.#idle) if (!connection.isUsable) this.#idle.delete(connection)
    return [...this.#idle].at(-1)
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#waiting.push(wake)
    signal?.addEventListener('abort', wake, { once: true })
    await promise
    signal?.removeEventListener('abort', wake)
    if (signal?.aborted === true) this.#leave(wake, signal)
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
    for (const connection of [...this.#idle, ...this.#busy]) if (!connection.isBusy) connection.destroy()
    this.#idle.clear()
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
    if (this.#asking === 0) this.#closed?.resolve()
  }
}

/** Nobody has given it up, nothing of it has come, and the other side has closed the connection. */
function mayAskAgain({ signal, inlet }: RangeRequest, error: unknown): boolean {
  if (signal?.aborted === true || inlet.count > 0) return false
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}
