// A large new file leaves for the gateway while it is still being written. Nothing of it is published before its flush, and
// whatever goes wrong on the way costs a repetition from the spool, which has it all.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type Remote, type RemoteRef } from './remote.ts'
import { type Spool } from './spool.ts'
import { PIECE, PieceMemory } from './upload.ts'

/** Bytes from which a file is large. */
const LARGE = 8 << 20
/** Milliseconds without anything new after which the connection is given back. */
const REST = 10_000

/** How many uploads may be under way before their files are closed: each holds a connection. */
export class UploadSlots {
  #left: number

  constructor(count: number) {
    this.#left = count
  }

  take(): boolean {
    if (this.#left === 0) return false
    this.#left--
    return true
  }

  give(): void {
    this.#left++
  }
}

export interface StreamingHost {
  readonly remote: Pick<Remote, 'put'>
  readonly slots: UploadSlots
  ref(): RemoteRef
}

/** The upload of one content, if there is one. */
export class Streaming {
  readonly #host: StreamingHost
  #upload: Upload | undefined
  /** It was written in another way than from its beginning to its end. */
  #isOff = false

  constructor(host: StreamingHost) {
    this.#host = host
  }

  /** Everything up to `length` is in the spool, and nothing that the gateway has counts: `version` is to be replaced. */
  grown(spool: Spool, length: number, version: string): void {
    if (this.#upload !== undefined) this.#upload.grow(length)
    else if (length >= LARGE && !this.#isOff) this.#upload = this.#begun(spool, length, version)
  }

  #begun(spool: Spool, length: number, version: string): Upload | undefined {
    const { remote, slots } = this.#host
    const ref = this.#host.ref()
    // what is written under a lock is sent only while that holds: the flush asks
    if (ref.lease !== undefined || !slots.take()) return undefined
    const body = new Body(spool, length)
    const upload = new Upload(body, (signal) =>
      remote.put(ref, () => body.parts(), { ifContentVersion: version, signal }),
    )
    void upload.settled.then(() => slots.give())
    return upload
  }

  /** Bytes that have left already. */
  get taken(): number {
    return this.#upload?.taken ?? 0
  }

  /** Bytes from `start` on are not, or no longer, what was written there before. */
  changed(start: number): void {
    if (this.#upload !== undefined && start < this.#upload.taken) this.abandon()
  }

  abandon(): void {
    this.#isOff ||= this.#upload !== undefined
    this.#upload?.abandon()
    this.#upload = undefined
  }

  /** What the gateway has refused for want of room, once: for the next write, so that not all of it is written in vain. */
  refusal(): Fault | undefined {
    const { failure } = this.#upload ?? {}
    if (!isFault(failure, 'QuotaExceeded')) return undefined
    this.#isOff = true
    this.#upload = undefined
    return failure
  }

  /** Ends the file at `length` and answers what became of it; undefined where it has to be sent in another way. */
  async finish(length: number): Promise<SeenEntry | undefined> {
    const upload = this.#upload
    this.#upload = undefined
    this.#isOff = false
    if (upload === undefined) return undefined
    if (this.#host.ref().lease === undefined) return upload.finish(length)
    upload.abandon()
    return undefined
  }
}

class Upload {
  readonly #body: Body
  readonly #abort = new AbortController()
  readonly #answer: Promise<SeenEntry | undefined>
  readonly settled: Promise<void>
  #timer: NodeJS.Timeout | undefined
  failure: unknown

  constructor(body: Body, put: (signal: AbortSignal) => Promise<SeenEntry>) {
    this.#body = body
    this.#answer = put(this.#abort.signal).catch((error: unknown) => {
      // the flush sends it all again, and tells what is refused then
      this.failure = error
      return undefined
    })
    this.settled = this.#answer.then(() => clearTimeout(this.#timer))
    this.#rest()
  }

  /** Bytes that are on their way, or about to be. */
  get taken(): number {
    return this.#body.taken
  }

  grow(length: number): void {
    this.#body.grow(length)
    this.#rest()
  }

  #rest(): void {
    clearTimeout(this.#timer)
    if (this.failure === undefined) this.#timer = setTimeout(() => this.abandon(), REST).unref()
  }

  abandon(): void {
    const why = new Fault('ServiceBusy', 'the upload was given up', { errno: 'EIO' })
    this.#body.break(why)
    this.#abort.abort(why)
  }

  finish(length: number): Promise<SeenEntry | undefined> {
    clearTimeout(this.#timer)
    this.#body.end(length)
    return this.#answer
  }
}

/** A body that goes on as its file grows. */
class Body {
  readonly #spool: Spool
  readonly #memory = new PieceMemory()
  #length: number
  #ended = false
  #broken: Fault | undefined
  #begun = false
  #more: PromiseWithResolvers<void> | undefined
  taken = 0

  constructor(spool: Spool, length: number) {
    this.#spool = spool
    this.#length = length
  }

  grow(length: number): void {
    if (this.#ended) return
    this.#length = length
    this.#more?.resolve()
  }

  end(length: number): void {
    this.#length = length
    this.#ended = true
    this.#more?.resolve()
  }

  /** It must not end as if it were whole. */
  break(why: Fault): void {
    this.#broken = why
    this.#more?.resolve()
  }

  /** Pieces as upload.ts has them. Once: a second attempt is the flush's, with a length that can be checked. */
  async *parts(): AsyncGenerator<Uint8Array> {
    if (this.#begun) throw new Fault('ServiceBusy', 'the connection was lost', { errno: 'EIO' })
    this.#begun = true
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken
      const end = Math.min(this.taken + PIECE, this.#length)
      const isWhole = end === this.taken + PIECE
      if (isWhole || (this.#ended && end > this.taken)) yield await this.#piece(end)
      else if (this.#ended) return
      else await this.#grown()
    }
  }

  async #piece(end: number): Promise<Uint8Array> {
    const start = this.taken
    // before it is read: what is written there from now on is not in it
    this.taken = end
    const piece = this.#memory.take(end - start)
    await this.#spool.fetch(piece, start)
    return piece
  }

  async #grown(): Promise<void> {
    this.#more = Promise.withResolvers()
    await this.#more.promise
  }
}
