/**
 * One connection on which ranges of files are asked for, one after the other, and whose bytes are decrypted straight into the memory they
 * are wanted in. A client for everything is handed each record of TLS as a buffer of its own, which costs five times the processor.
 * A request may go beyond what is wanted at first: who asks for what follows takes it from the same answer, and as long as nobody does, the
 * other side is kept waiting.
 * It knows of HTTP/1.1 (RFC 9112) what a range takes; any other answer is left to the client for everything.
 */
import { validateHeaderValue } from 'node:http'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { type Inlet } from './inlet.ts'

export interface RangeRequest {
  /** path and query, percent-encoded */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** where the bytes of the inlet begin in the file */
  readonly start: number
  readonly inlet: Inlet
  /** bytes behind them that will be asked for next, as it seems */
  readonly more?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** milliseconds of silence after which it is given up: before the answer, and in it */
  readonly headersTimeout: number
  readonly bodyTimeout: number
}

/** A refusal, or 206 whose bytes are in the inlet. */
export interface RangeAnswer {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  /** of a refusal */
  readonly text: Buffer
}

export interface RangeConnectionOptions {
  /** name and port, as in the Host header */
  readonly host: string
  readonly tls: ConnectionOptions
  /** milliseconds to connect in */
  readonly connectTimeout: number
  /** milliseconds that it may be idle */
  readonly keepAlive: number
}

/** Bytes of an answer's head and of a refusal. */
const LONGEST_HEAD = 16 << 10
const LONGEST_TEXT = 16 << 10
const END_OF_HEAD = '\r\n\r\n'
/** milliseconds by which an idle connection is left before the other side closes it */
const MARGIN = 1000

/** Milliseconds that the other side is kept waiting with an answer that nobody takes. */
const STANDING = 2000
/** Bytes that may still come then: what was received at once, and what is left of a record of TLS. */
const SPILL = 128 << 10

type Head = Omit<RangeAnswer, 'text'>

interface Asked {
  readonly request: RangeRequest
  readonly done: PromiseWithResolvers<RangeAnswer | undefined>
  isGone: boolean
}

/** An answer that has not come whole. */
interface Open {
  readonly first: RangeRequest
  head?: Head
  /** bytes of the body that have not come */
  left: number
  /** where in the file those begin that nobody has asked for, and how many they are */
  next: number
  rest: number
}

export class RangeConnection {
  readonly #options: RangeConnectionOptions
  readonly #socket: TLSSocket
  /** What is no byte of a file: heads and refusals. */
  readonly #text = Buffer.allocUnsafeSlow(LONGEST_HEAD + LONGEST_TEXT)
  #texted = 0
  /** What came for nobody, to be taken by who asks next. */
  #spill: Buffer = NONE
  #spilled = 0
  /** Where the socket puts what comes next. */
  #room: Buffer = this.#text
  #open: Open | undefined
  /** Who takes what comes, in this order. */
  #asked: Asked[] = []
  #isOpen = false
  #isLast = false
  #error: Error | undefined
  #began = 0
  #distance = Infinity

  constructor(options: RangeConnectionOptions) {
    this.#options = options
    const onread = {
      buffer: (): Buffer => (this.#room = this.#nextRoom()),
      callback: (count: number) => this.#received(count),
    }
    // the types have onread for net.connect only
    const tls: ConnectionOptions & { onread: typeof onread } = { ...options.tls, onread, ALPNProtocols: ['http/1.1'] }
    const socket = connect(tls)
    this.#socket = socket.setNoDelay(true).setTimeout(options.connectTimeout)
    socket.on('connectionAttempt', () => (this.#began = performance.now()))
    socket.once('connect', () => (this.#distance = performance.now() - this.#began))
    socket.once('secureConnect', () => {
      this.#isOpen = true
      this.#write()
    })
    socket.on('timeout', () => this.#fail(failure('ETIMEDOUT', 'no byte came for too long')))
    socket.on('error', (error: Error) => (this.#error ??= error))
    socket.on('end', () => socket.destroy())
    socket.on('close', () => this.#closed())
  }

  /** Whether it can be asked. */
  get isUsable(): boolean {
    return !this.#isLast && !this.#socket.destroyed
  }

  /** Whether somebody waits for its bytes. */
  get isBusy(): boolean {
    return this.#asked.length > 0
  }

  /** Whether it has been asked for more than anybody has wanted so far: then it takes requests that go on from there, and no others. */
  get isOpen(): boolean {
    return this.#open !== undefined
  }

  /** Milliseconds to the other side and back, as it was when they met. */
  get distance(): number {
    return this.#distance
  }

  /** Whether a request is for what this one's answer goes on with. */
  goesOn({ path, headers, start, inlet }: RangeRequest): boolean {
    if (this.#open === undefined || !this.isUsable) return false
    const { first, next, rest } = this.#open
    const names = Object.keys(headers)
    return (
      start === next &&
      inlet.length <= rest &&
      path === first.path &&
      names.length === Object.keys(first.headers).length &&
      names.every((name) => headers[name] === first.headers[name])
    )
  }

  /**
   * The answer once the inlet is full, or has all that there is; undefined where it is not for us. Rejects with the connection's error, or the
   * signal's reason, and from then on nothing is written to the inlet.
   */
  async ask(request: RangeRequest): Promise<RangeAnswer | undefined> {
    for (const [name, value] of Object.entries(request.headers)) validateHeaderValue(name, value)
    const asked: Asked = { request, done: Promise.withResolvers(), isGone: false }
    const { signal, inlet } = request
    inlet.begin()
    const abort = (): void => this.#giveUp(asked)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      if (this.goesOn(request)) this.#goOn(asked)
      else this.#begin(asked)
      return await asked.done.promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** What is asked rejects. */
  destroy(): void {
    this.#fail(failure('ECONNABORTED', 'the client is closed'))
  }

  #begin(asked: Asked): void {
    const { request } = asked
    const { start, inlet, more = 0 } = request
    this.#open = { first: request, left: 0, next: start + inlet.length, rest: more }
    this.#asked = [asked]
    this.#texted = 0
    if (this.#socket.closed) this.#closed()
    else if (this.#isOpen) this.#write()
  }

  #goOn(asked: Asked): void {
    const { inlet, bodyTimeout } = asked.request
    if (this.#open === undefined) return
    this.#open.next += inlet.length
    this.#open.rest -= inlet.length
    if (this.#asked.push(asked) > 1) return
    this.#socket.setTimeout(bodyTimeout)
    const bytes = this.#spill.subarray(0, this.#spilled)
    this.#spilled = 0
    this.#pour(bytes)
    if (this.#settle()) this.#socket.resume()
  }

  /** Who is served is told when nothing can be written any more; who is not leaves a gap, at which the connection ends. */
  #giveUp(asked: Asked): void {
    asked.isGone = true
    if (this.#asked[0] === asked) this.#fail(failure('ECONNRESET', 'who was served has given up'))
    else asked.done.reject(asked.request.signal?.reason)
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#socket.destroy()
  }

  #closed(): void {
    const error = this.#error ?? failure('ECONNRESET', 'the connection was closed')
    for (const { done, request, isGone } of this.#asked.splice(0)) done.reject(isGone ? request.signal?.reason : error)
  }

  #write(): void {
    if (this.#open === undefined) return
    const { path, headers, headersTimeout, start } = this.#open.first
    const range = `bytes=${start}-${this.#open.next + this.#open.rest - 1}`
    const lines = Object.entries({ host: this.#options.host, ...headers, range })
    this.#socket.setTimeout(headersTimeout)
    const head = lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${head}${END_OF_HEAD}`)
  }

  /** So many bytes have come into the room. False: no more for now. */
  #received(count: number): boolean {
    // it is over: what still comes is thrown away
    if (this.#error !== undefined) return false
    const open = this.#open
    if (open === undefined) this.#fail(failure('ECONNRESET', 'bytes that nobody has asked for'))
    else if (open.head === undefined) {
      // what was chosen to be read into when nobody waited may still be
      if (this.#room.buffer !== this.#text.buffer) this.#room.copy(this.#text, this.#texted, 0, count)
      this.#texted += count
      this.#readHead(open)
    } else {
      open.left -= count
      if (open.head.statusCode !== 206) this.#texted += count
      else if (this.#room.buffer === this.#spill.buffer) this.#pour(this.#room.subarray(0, count))
      else this.#asked[0]?.request.inlet.took(count)
    }
    return this.#settle()
  }

  /** To who has asked, in their order; the rest is kept for who asks next. */
  #pour(bytes: Buffer): void {
    let at = 0
    for (const { request, isGone } of this.#asked) {
      if (isGone) break
      const { inlet } = request
      const part = bytes.subarray(at, at + inlet.length - inlet.count)
      inlet.write(part)
      at += part.length
    }
    if (at === bytes.length) return
    if (this.#spill.length === 0) this.#spill = Buffer.allocUnsafeSlow(SPILL)
    this.#spill.set(bytes.subarray(at), this.#spilled)
    this.#spilled += bytes.length - at
  }

  /** Answers who has got everything. Whether bytes are wanted. */
  #settle(): boolean {
    const { head, left = 0 } = this.#open ?? {}
    if (left < 0) this.#fail(failure('ECONNRESET', 'more bytes than the answer has'))
    if (head === undefined || this.#socket.destroyed) return true
    const isWhole = left === 0 && this.#spilled === 0
    for (let [asked] = this.#asked; asked !== undefined && (isWhole || isFull(asked)); [asked] = this.#asked) {
      this.#asked.shift()
      asked.done.resolve({ ...head, text: Buffer.from(this.#text.subarray(0, this.#texted)) })
    }
    if (this.#asked[0]?.isGone === true) this.#fail(failure('ECONNRESET', 'who came next has given up'))
    if (isWhole) this.#end(head)
    else if (this.#asked.length === 0) return this.#stand()
    return true
  }

  #stand(): boolean {
    if (this.#spilled === SPILL) this.#fail(failure('ECONNRESET', 'more bytes than there is room for'))
    this.#socket.setTimeout(STANDING)
    return false
  }

  /** Never an empty one: TLSWrap asks for rooms until it has put all of a record into them. */
  #nextRoom(): Buffer {
    if (this.#error !== undefined) return this.#text
    const [asked] = this.#asked
    if (this.#open?.head?.statusCode !== 206) return this.#text.subarray(this.#texted)
    if (asked !== undefined && !asked.isGone) return asked.request.inlet.room()
    if (this.#spill.length === 0) this.#spill = Buffer.allocUnsafeSlow(SPILL)
    return this.#spill.subarray(this.#spilled)
  }

  /** The answer has come whole. */
  #end({ headers }: Head): void {
    this.#open = undefined
    this.#texted = 0
    this.#socket.setTimeout(this.#idle(headers['keep-alive']))
    if (headers['connection']?.toLowerCase() === 'close') this.#leave()
  }

  /** Milliseconds; the other side may say that it closes sooner. */
  #idle(hint = ''): number {
    const [, seconds] = /\btimeout=(\d{1,6})/.exec(hint) ?? []
    if (seconds === undefined) return this.#options.keepAlive
    return Math.max(1, Math.min(this.#options.keepAlive, Number(seconds) * 1000 - MARGIN))
  }

  #leave(): void {
    this.#isLast = true
    this.#socket.destroy()
  }

  /** An answer that is not for us. */
  #decline(): void {
    for (const { done } of this.#asked.splice(0)) done.resolve(undefined)
    this.#leave()
  }

  #readHead(open: Open): void {
    const came = this.#text.subarray(0, this.#texted)
    const end = came.indexOf(END_OF_HEAD)
    if (end < 0) return came.length >= LONGEST_HEAD ? this.#decline() : undefined
    const head = headOf(came.toString('latin1', 0, end))
    const rest = came.subarray(end + END_OF_HEAD.length)
    const length = head === undefined ? undefined : lengthOf(head, open)
    if (head === undefined || length === undefined) return this.#decline()
    open.head = head
    open.left = length - rest.length
    open.rest = Math.max(0, open.first.start + length - open.next)
    this.#texted = 0
    this.#socket.setTimeout(open.first.bodyTimeout)
    if (open.left < 0) return
    if (head.statusCode === 206) this.#pour(rest)
    else this.#texted = rest.copy(this.#text)
  }
}

const NONE = Buffer.alloc(0)

function isFull({ request: { inlet } }: Asked): boolean {
  return inlet.count === inlet.length
}

/** undefined: not what HTTP/1.1 says. */
function headOf(text: string): Head | undefined {
  const [first = '', ...lines] = text.split('\r\n')
  const [, status] = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(first) ?? []
  if (status === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
    if (name === undefined || value === undefined) return undefined
    headers[name.toLowerCase()] = value
  }
  return { statusCode: Number(status), headers }
}

/** Bytes of the body; undefined: not the range that was asked for, and no refusal of known length either. */
function lengthOf({ statusCode, headers }: Head, { first: { start }, next, rest }: Open): number | undefined {
  const { 'content-length': said = '', 'content-range': range = '', 'transfer-encoding': coding } = headers
  if (coding !== undefined || !/^\d{1,15}$/.test(said)) return undefined
  const length = Number(said)
  if (statusCode >= 400) return length <= LONGEST_TEXT ? length : undefined
  const isOurs = statusCode === 206 && range.startsWith(`bytes ${start}-${start + length - 1}/`)
  return isOurs && length > 0 && length <= next + rest - start ? length : undefined
}

export function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
