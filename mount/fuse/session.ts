// One mounted file system: takes requests from a transport, has a FileSystem answer them, writes the answers.
// Nothing a handler does ends the session: what it throws becomes EIO.
import { ERRNO, errnoName } from '../../src/libc/errno.ts'
import { isBeingKilled, isExiting } from './caller.ts'
import { IN_HEADER, OP, OUT_HEADER } from './constants.ts'
import { type FileSystem } from './filesystem.ts'
import { encodeInit, INIT_BODY, negotiate, type Negotiated, type SessionOptions } from './init.ts'
import { Latency } from './latency.ts'
import { MalformedRequest, uniqueOf, type Message } from './message.ts'
import { Notifier } from './notify.ts'
import { operationOf, type Operation } from './operations.ts'
import { Reply, type Payload } from './reply.ts'
import { Request } from './request.ts'
import { type Transport } from './transport.ts'

/** Where failures are reported that no caller is told of in full. */
export interface Logger {
  error(message: string, error?: unknown): void
}

/** Milliseconds between two looks at a caller that was interrupted. */
const KILL_CHECK = 250
const INTERRUPT_GRACE = 250
/** Milliseconds that the last close of a program that ends may take: the kernel lets nothing end it meanwhile. */
const LAST_CLOSE = 2000

/** Missing methods whose absence is no failure: nobody sees what they answer. */
const OPTIONAL = new Set(['RELEASE', 'RELEASEDIR'])

export class Session {
  /** Resolves when INIT is answered. Never, where the mount ends before. */
  readonly initialized: Promise<Negotiated>
  /** Resolves after the unmount, with the error if reading failed instead. Never rejects. */
  readonly closed: Promise<Error | undefined>
  readonly notifier: Notifier
  readonly latency = new Latency()
  readonly #fs: FileSystem
  readonly #transport: Transport
  readonly #logger: Logger
  readonly #options: SessionOptions
  readonly #reply = new Reply()
  readonly #inFlight = new Map<number, Request>()
  #onInitialized: (negotiated: Negotiated) => void = () => undefined
  #onClosed: (error: Error | undefined) => void = () => undefined
  #ended = false

  constructor(fs: FileSystem, transport: Transport, logger: Logger, options: SessionOptions = {}) {
    this.#fs = fs
    this.#transport = transport
    this.#logger = logger
    this.#options = options
    this.initialized = new Promise((resolve) => (this.#onInitialized = resolve))
    this.closed = new Promise((resolve) => (this.#onClosed = resolve))
    this.notifier = new Notifier(transport, (errno) => logger.error(`FUSE notification refused: ${nameOf(errno)}`))
  }

  start(): void {
    if (this.#options.negotiated !== undefined) this.#onInitialized(this.#options.negotiated)
    this.#transport.start(
      (message) => this.#handle(message),
      (error) => void this.#end(error),
    )
  }

  /** Stops serving without unmounting; resolves like `closed`. */
  close(): Promise<Error | undefined> {
    this.#transport.close()
    return this.closed
  }

  async #end(error: Error | undefined): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    for (const request of this.#inFlight.values()) request.abort()
    try {
      await this.#fs.destroy?.()
    } catch (failure) {
      this.#logger.error('FUSE destroy', failure)
    }
    this.#onClosed(error)
  }

  /** Never throws: it is called from the event loop. */
  #handle(message: Message): void {
    if (message.length < IN_HEADER) {
      this.#logger.error(`FUSE request of ${message.length} bytes`)
      return
    }
    try {
      const operation = operationOf(message.opcode)
      if (operation !== undefined) this.#dispatch(operation, message)
      else this.#control(message)
    } catch (error) {
      // the protocol was not kept, by the kernel or by us; a FORGET gets no answer whatever it was
      this.#logger.error(`FUSE opcode ${message.opcode}`, error)
      if (message.opcode !== OP.FORGET && message.opcode !== OP.BATCH_FORGET) this.#refuse(message, -ERRNO.EIO)
    }
  }

  #dispatch(operation: Operation, message: Message): void {
    message.expect(operation.body)
    const request = new Request(message)
    if (message.resent && this.#repeat(message)) return
    if (this.#fs[operation.method] === undefined) {
      this.#send(request, OPTIONAL.has(operation.name) ? 0 : -ERRNO.ENOSYS)
      return
    }
    let answer: unknown
    try {
      const { within } = this.#options
      const run = () => operation.run(this.#fs, message, request)
      answer = within === undefined ? run() : within(request, run)
    } catch (error) {
      if (error instanceof MalformedRequest) throw error
      this.#failed(operation, request, error)
      return
    }
    if (answer instanceof Promise) this.#later(operation, message, request, answer)
    else this.#answer(operation, request, answer)
  }

  /** Whether the process before this one had decided on an answer, which the kernel then gets. */
  #repeat(message: Message): boolean {
    const answer = this.#options.decided?.(message.unique)
    if (answer === undefined) return false
    answer.writeUInt32LE(message.uniqueLow, 8)
    answer.writeUInt32LE(message.uniqueHigh, 12)
    this.#transport.write([answer], answer.length)
    return true
  }

  #later(operation: Operation, message: Message, request: Request, answer: Promise<unknown>): void {
    const holds = message.opcode === OP.WRITE
    if (holds) message.hold()
    this.#inFlight.set(request.unique, request)
    if (message.opcode === OP.FLUSH) this.#hurry(request)
    const settle = () => {
      this.#inFlight.delete(request.unique)
      if (holds) message.release()
    }
    answer.then(
      (value) => {
        settle()
        this.#answer(operation, request, value)
      },
      (error: unknown) => {
        settle()
        this.#failed(operation, request, error)
      },
    )
  }

  #failed(operation: Operation, request: Request, error: unknown): void {
    // a handler that gave up because its caller is being killed did what it was asked
    if (!request.aborted) this.#logger.error(`FUSE ${operation.name} of node ${request.nodeid}`, error)
    if (!request.answered) this.#send(request, request.aborted ? -ERRNO.EINTR : -ERRNO.EIO)
    this.#undo(operation, request, undefined)
  }

  #answer(operation: Operation, request: Request, answer: unknown): void {
    if (typeof answer === 'number' && answer < 0) {
      if (!request.answered) this.#send(request, answer)
      this.#undo(operation, request, undefined)
      return
    }
    if (request.answered) {
      this.#undo(operation, request, answer)
      return
    }
    let payload: Payload
    try {
      payload = operation.encode(this.#reply, answer, request)
    } catch (error) {
      this.#failed(operation, request, error)
      return
    }
    if (this.#send(request, payload)) request.sink?.recycle()
    else this.#undo(operation, request, answer)
  }

  /** `answer` is undefined where there is none: then only a listing has something to take back. */
  #undo(operation: Operation, request: Request, answer: unknown): void {
    const failed = (error: unknown) =>
      this.#logger.error(`FUSE ${operation.name}: taking back an answer nobody got`, error)
    try {
      if (answer !== undefined || request.sink !== undefined) {
        const released = operation.undo?.(this.#fs, answer, request)
        if (released instanceof Promise) released.catch(failed)
      }
    } catch (error) {
      failed(error)
    }
    request.sink?.recycle()
  }

  /** False when the kernel did not take the answer, so that nobody has what was answered. */
  #send(request: Request, payload: Payload): boolean {
    request.answered = true
    this.latency.add(performance.now() - request.began)
    const status = this.#write(request.uniqueLow, request.uniqueHigh, payload)
    if (status >= 0) return true
    // ENOENT: the request was interrupted and nobody waits. ENODEV, EBADF: unmounted
    if (status === -ERRNO.ENOENT || status === -ERRNO.ENODEV || status === -ERRNO.EBADF) return false
    this.#logger.error(`FUSE opcode ${request.opcode}: the kernel refuses our answer: ${nameOf(-status)}`)
    if (typeof payload !== 'number' || payload >= 0) {
      this.#write(request.uniqueLow, request.uniqueHigh, -ERRNO.EIO)
    }
    return false
  }

  #write(uniqueLow: number, uniqueHigh: number, payload: Payload): number {
    const reply = this.#reply
    if (typeof payload === 'number') {
      const length = OUT_HEADER + Math.max(payload, 0)
      reply.head(length, Math.min(payload, 0), uniqueLow, uniqueHigh)
      return this.#give(uniqueLow, uniqueHigh, [reply.bytes], length)
    }
    const length = payload.reduce((sum, part) => sum + part.length, OUT_HEADER)
    reply.head(length, 0, uniqueLow, uniqueHigh)
    return this.#give(uniqueLow, uniqueHigh, [reply.header, ...payload], length)
  }

  #give(uniqueLow: number, uniqueHigh: number, parts: readonly Uint8Array[], length: number): number {
    this.#options.beforeReply?.(uniqueOf(uniqueLow, uniqueHigh), parts, length)
    return this.#transport.write(parts, length)
  }

  #refuse(message: Message, error: number): void {
    this.#write(message.uniqueLow, message.uniqueHigh, error)
  }

  /** What concerns the session itself. */
  #control(message: Message): void {
    switch (message.opcode) {
      case OP.FORGET:
        message.expect(8)
        this.#fs.forget(message.nodeid, message.long(10))
        break
      case OP.BATCH_FORGET:
        this.#forgetMany(message)
        break
      case OP.INTERRUPT:
        message.expect(8)
        this.#interrupt(message)
        break
      case OP.INIT:
        message.expect(INIT_BODY)
        this.#initialize(message)
        break
      case OP.DESTROY:
        this.#refuse(message, 0)
        break
      default:
        this.#refuse(message, -ERRNO.ENOSYS)
    }
  }

  #forgetMany(message: Message): void {
    message.expect(8)
    const count = message.word(10)
    message.expect(8 + count * 16)
    for (let i = 0; i < count; i++) this.#fs.forget(message.long(12 + 4 * i), message.long(14 + 4 * i))
  }

  #initialize(message: Message): void {
    const negotiated = negotiate(message, this.#fs, this.#options)
    if (negotiated === undefined) {
      this.#logger.error(`FUSE: the kernel speaks ${message.word(10)}.${message.word(11)}, which is too old`)
      this.#refuse(message, -ERRNO.EPROTO)
      return
    }
    const bytes = encodeInit(this.#reply, negotiated, this.#options)
    if (this.#write(message.uniqueLow, message.uniqueHigh, bytes) === 0) this.#onInitialized(negotiated)
  }

  /** The caller got a signal. An interrupt overtaken by its own request is asked for again (EAGAIN). */
  #interrupt(message: Message): void {
    const unique = message.uniqueAt(10)
    const request = this.#inFlight.get(unique)
    if (request === undefined) this.#refuse(message, -ERRNO.EAGAIN)
    else {
      // a lock is waited for until any signal comes, as local file systems do
      if (request.opcode === OP.SETLKW) request.abort()
      void this.#watch(unique, request)
    }
  }

  /** A program that ends closes what it has open, and cannot be killed any more: it is not kept waiting for a gateway. */
  #hurry(request: Request): void {
    const { unique, pid } = request
    const look = async () => {
      if (this.#inFlight.get(unique) !== request || request.answered || this.#ended) return
      if (await isExiting(pid)) this.#send(request, -ERRNO.EINTR)
      else this.#after(LAST_CLOSE, look)
    }
    this.#after(LAST_CLOSE, look)
  }

  #after(milliseconds: number, look: () => Promise<void>): void {
    setTimeout(() => void look(), milliseconds).unref()
  }

  /** Until the request is done: looks whether its caller is being killed, and lets it go then. */
  async #watch(unique: number, request: Request): Promise<void> {
    const waiting = () => this.#inFlight.get(unique) === request && !request.answered && !this.#ended
    while (waiting() && !(await isBeingKilled(request.pid))) await pause(KILL_CHECK)
    if (!waiting()) return
    request.abort()
    await pause(this.#options.interruptGrace ?? INTERRUPT_GRACE)
    if (waiting()) this.#send(request, -ERRNO.EINTR)
  }
}

function nameOf(errno: number): string {
  return errnoName(errno) ?? String(errno)
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref())
}
