/**
 * One connection on which ranges of files are asked for, one after the other, and whose bytes are decrypted straight into the memory they
 * are wanted in. A client for everything is handed each record of TLS as a buffer of its own, which costs five times the processor.
 * It knows of HTTP/1.1 (RFC 9112) what a range takes; any other answer is left to the client for everything.
 */
import { validateHeaderValue } from 'node:http'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { type Inlet } from './inlet.ts'

export interface RangeRequest {
  /** path and query, percent-encoded */
  readonly path: string
  /** with Range: from `start` on, as many bytes as the inlet has room for */
  readonly headers: Readonly<Record<string, string>>
  readonly start: number
  readonly inlet: Inlet
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

type Head = Omit<RangeAnswer, 'text'>

/** What is asked, and of its answer: the head, and how many bytes have not come. */
interface Asked {
  readonly request: RangeRequest
  readonly done: PromiseWithResolvers<RangeAnswer | undefined>
  head?: Head
  left: number
}

export class RangeConnection {
  readonly #options: RangeConnectionOptions
  readonly #socket: TLSSocket
  /** What is no byte of a file: heads and refusals. */
  readonly #text = Buffer.allocUnsafeSlow(LONGEST_HEAD + LONGEST_TEXT)
  #texted = 0
  /** Where the socket puts what comes next. */
  #room: Buffer = this.#text
  #asked: Asked | undefined
  #isOpen = false
  #isLast = false
  #error: Error | undefined

  constructor(options: RangeConnectionOptions) {
    this.#options = options
    const onread = {
      buffer: (): Buffer => this.#room,
      callback: (count: number) => {
        this.#received(count)
        return true
      },
    }
    // the types have onread for net.connect only
    const tls: ConnectionOptions & { onread: typeof onread } = { ...options.tls, onread, ALPNProtocols: ['http/1.1'] }
    const socket = connect(tls)
    this.#socket = socket.setNoDelay(true).setTimeout(options.connectTimeout)
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

  /**
   * The answer once it has come whole; undefined where it is not for us. Rejects with the connection's error, or the signal's reason, and
   * from then on nothing is written to the inlet.
   */
  async ask(request: RangeRequest): Promise<RangeAnswer | undefined> {
    for (const [name, value] of Object.entries(request.headers)) validateHeaderValue(name, value)
    const asked: Asked = { request, done: Promise.withResolvers(), left: 0 }
    this.#asked = asked
    this.#texted = 0
    request.inlet.begin()
    const { signal } = request
    const abort = (): void => this.#fail(signal?.reason as Error)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      if (this.#socket.closed) this.#closed()
      else if (this.#isOpen) this.#write()
      return await asked.done.promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** What is asked rejects. */
  destroy(): void {
    this.#fail(failure('ECONNABORTED', 'the client is closed'))
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#socket.destroy()
  }

  #closed(): void {
    this.#asked?.done.reject(this.#error ?? failure('ECONNRESET', 'the connection was closed'))
    this.#asked = undefined
  }

  #write(): void {
    if (this.#asked === undefined) return
    const { path, headers, headersTimeout } = this.#asked.request
    const lines = Object.entries({ host: this.#options.host, ...headers })
    this.#socket.setTimeout(headersTimeout)
    const head = lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${head}${END_OF_HEAD}`)
  }

  /** So many bytes have come into the room. */
  #received(count: number): void {
    const asked = this.#asked
    if (asked === undefined) return this.#fail(failure('ECONNRESET', 'bytes that nobody has asked for'))
    if (asked.head === undefined) {
      this.#texted += count
      this.#readHead(asked)
    } else {
      if (asked.head.statusCode === 206) asked.request.inlet.took(count)
      else this.#texted += count
      asked.left -= count
    }
    this.#go(asked)
  }

  /** Sees to what comes next. */
  #go(asked: Asked): void {
    const { head, left, request } = asked
    if (left < 0) this.#fail(failure('ECONNRESET', 'more bytes than the answer has'))
    else if (head !== undefined && left === 0) this.#end({ ...head, text: Buffer.from(this.#text.subarray(0, this.#texted)) })
    else this.#room = head?.statusCode === 206 ? request.inlet.room() : this.#text.subarray(this.#texted)
  } // prettier-ignore

  #end(answer: RangeAnswer | undefined): void {
    const asked = this.#asked
    this.#asked = undefined
    this.#room = this.#text
    this.#socket.setTimeout(this.#idle(answer?.headers['keep-alive']))
    if (answer === undefined || answer.headers['connection']?.toLowerCase() === 'close') {
      this.#isLast = true
      this.#socket.destroy()
    }
    asked?.done.resolve(answer)
  }

  /** Milliseconds; the other side may say that it closes sooner. */
  #idle(hint = ''): number {
    const [, seconds] = /\btimeout=(\d{1,6})/.exec(hint) ?? []
    if (seconds === undefined) return this.#options.keepAlive
    return Math.max(1, Math.min(this.#options.keepAlive, Number(seconds) * 1000 - MARGIN))
  }

  #readHead(asked: Asked): void {
    const came = this.#text.subarray(0, this.#texted)
    const end = came.indexOf(END_OF_HEAD)
    if (end < 0) {
      if (came.length >= LONGEST_HEAD) this.#end(undefined)
      return
    }
    const head = headOf(came.toString('latin1', 0, end))
    const rest = came.subarray(end + END_OF_HEAD.length)
    const length = head === undefined ? undefined : lengthOf(head, asked.request)
    if (head === undefined || length === undefined) return this.#end(undefined)
    asked.head = head
    asked.left = length - rest.length
    this.#socket.setTimeout(asked.request.bodyTimeout)
    if (head.statusCode === 206) {
      asked.request.inlet.write(rest)
      this.#texted = 0
    } else {
      this.#text.set(rest)
      this.#texted = rest.length
    }
  }
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
function lengthOf({ statusCode, headers }: Head, { start, inlet }: RangeRequest): number | undefined {
  const { 'content-length': said = '', 'content-range': range = '', 'transfer-encoding': coding } = headers
  if (coding !== undefined || !/^\d{1,15}$/.test(said)) return undefined
  const length = Number(said)
  if (statusCode >= 400) return length <= LONGEST_TEXT ? length : undefined
  const isOurs = statusCode === 206 && range.startsWith(`bytes ${start}-${start + length - 1}/`)
  return isOurs && length > 0 && length <= inlet.length ? length : undefined
}

export function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
