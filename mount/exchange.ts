/** One call to the gateway: attempts until there is an answer, a refusal, an abort or the time limit. Knows HTTP, not what is said. */
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Dispatcher } from 'undici'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type Connections, type Logger } from './connections.ts'
import { type Inlet } from './inlet.ts'
import { type RangeRequest } from './range-connection.ts'
import { malformed, refusalOf } from './refusal.ts'
import { ofUnknownCa } from './unknown-ca.ts'
import { wholeAnswer } from './whole-answer.ts'

/** `body` is a Buffer of what was asked for as short. */
export type Answer = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers'> & { readonly body: Readable | Buffer }

export interface Call<T> {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** path and query, percent-encoded */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  /** A function is called anew for every attempt. */
  readonly body?: string | Buffer | (() => AsyncIterable<Uint8Array>)
  readonly signal?: AbortSignal | undefined
  /** Moves the bytes of files: must not keep others waiting. */
  readonly isBulk?: boolean
  /** The body goes on for as long as a program writes: must not keep others waiting at all. */
  readonly isGrowing?: boolean
  /** Is answered when something happens: must not keep others waiting either. */
  readonly isWaiting?: boolean
  /** The answer is taken whole before `accept` gets it. */
  readonly isShort?: boolean
  /** Of a range of bytes: they go straight into the inlet, where `accept` finds them; unless the answer is an unusual one. */
  readonly range?: Pick<RangeRequest, 'start' | 'inlet' | 'more'>
  /** Takes a 2xx answer. When the connection breaks in here, the call is repeated. */
  readonly accept: (answer: Answer) => Promise<T>
}

/** How an attempt ended that is not final. `wait`: milliseconds that the gateway asked for. */
interface Lost {
  readonly lost: unknown
  readonly wait?: number
}

/** Failures that another attempt may not meet. Anything else (certificates not trusted, a bug) is final. */
const PASSING = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN',
  'EAI_AGAIN', 'ENOTFOUND', 'UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
]) // prettier-ignore
/** A gateway starting, stopping or out of breath, or the balancer before it saying so. */
const PASSING_STATUS = new Set([429, 502, 503, 504])

/** milliseconds */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 5000
const SHORTEST_ATTEMPT = 500
/** bytes of a refusal that are read */
const REFUSAL_LIMIT = 65_536
/** bytes of an answer in JSON, or of an attribute; far above any */
const ANSWER_LIMIT = 4 << 20
const MOST = { answer: ANSWER_LIMIT, refusal: REFUSAL_LIMIT }

export class Exchange {
  readonly #connections: Connections
  readonly #limit: number
  readonly #logger: Logger
  readonly #closed = new AbortController()
  /** Names this mount to the gateway: its change stream leaves out what it has changed itself. */
  readonly mount = randomUUID()

  /** `timeLimit` in seconds. */
  constructor(connections: Connections, timeLimit: number, logger: Logger) {
    this.#connections = connections
    this.#limit = timeLimit * 1000
    this.#logger = logger
  }

  /**
   * What `accept` makes of the answer. Refusals are Faults; ServiceBusy with EIO when no answer came within the time limit,
   * counted from the start, and for streamed bodies (which may rightly take longer) from the first loss; InternalFault
   * for connections that can never work. An abort rejects at once with the signal's reason.
   */
  async send<T>(call: Call<T>): Promise<T> {
    const isStreamed = typeof call.body === 'function'
    let deadline = performance.now() + this.#limit
    for (let attempts = 1; ; attempts++) {
      const outcome = await this.#attempt(call, deadline - performance.now())
      if ('answer' in outcome) return outcome.answer
      if (isStreamed && attempts === 1) deadline = performance.now() + this.#limit
      const left = deadline - performance.now()
      const wait = pause(attempts, outcome.wait, left)
      if (wait >= left || this.#closed.signal.aborted) throw unanswered(call, attempts, outcome.lost)
      this.#logger.warn({ err: outcome.lost, method: call.method, target: call.target, attempts }, 'no answer, again')
      await this.#rest(wait, call.signal)
    }
  }

  /** Ends the waits between attempts: what has no answer by then is given up. */
  close(): void {
    this.#closed.abort()
  }

  async #attempt<T>(call: Call<T>, left: number): Promise<{ readonly answer: T } | Lost> {
    const body = bodyOf(call)
    let answer: Answer | undefined
    try {
      call.signal?.throwIfAborted()
      answer = await this.#request(call, body.content, left)
      if (answer.statusCode >= 200 && answer.statusCode < 300) return { answer: await call.accept(answer) }
      return await this.#refused(answer)
    } catch (error) {
      if (answer !== undefined) discard(answer)
      call.signal?.throwIfAborted()
      if (body.failure !== undefined) throw body.failure.error
      if (isFault(error)) throw error
      if (isPassing(error)) return { lost: error }
      const why = ofUnknownCa(error) ?? String(error)
      throw new Fault('InternalFault', `${call.method} ${call.target}: ${why}`, { cause: error })
    }
  }

  /**
   * Time limits hold for silence, not for the whole: half the limit, so that there is a second attempt. After an upload the gateway
   * has the whole limit, since a repetition is dear. Waiting for a free connection does not count: those before are limited too.
   */
  async #request<T>(call: Call<T>, body: string | Buffer | Readable | null, left: number): Promise<Answer> {
    const ranges = call.range && (await this.#connections.pool('ranges'))
    const pool = await this.#connections.pool(poolOf(call))
    const half = this.#limit / 2
    const asked = {
      path: call.target,
      headers: {
        ...call.headers,
        ...this.#connections.authorization,
        ...(call.method !== 'GET' && { 'mount-id': this.mount }),
      },
      signal: call.signal,
      headersTimeout: typeof call.body === 'function' ? this.#limit : Math.max(Math.min(left, half), SHORTEST_ATTEMPT),
      bodyTimeout: half,
    }
    const answer = call.range && (await ranges?.request({ ...asked, ...call.range }))
    if (answer !== undefined) return { ...answer, body: answer.text }
    const headers = { ...asked.headers, ...(call.range && { range: rangeOf(call.range) }) }
    const request = { ...asked, headers, method: call.method, body }
    return call.isShort === true && !(body instanceof Readable)
      ? wholeAnswer(pool, request, MOST)
      : pool.request(request)
  }

  async #refused(answer: Answer): Promise<Lost> {
    const fault = refusalOf(answer.statusCode, await limitedText(answer))
    if (PASSING_STATUS.has(answer.statusCode)) return { lost: fault, ...retryAfter(answer) }
    // The credential may have been renewed since the last look.
    if (answer.statusCode === 401 && (await this.#connections.look())) return { lost: fault, wait: 0 }
    throw fault
  }

  async #rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    const { signal: closed } = this.#closed
    const either = signal === undefined ? closed : AbortSignal.any([signal, closed])
    // Aborted: by the caller, thrown on the next line, or by close(), seen by the next attempt.
    await sleep(milliseconds, undefined, { signal: either }).catch(() => undefined)
    signal?.throwIfAborted()
  }
}

function rangeOf({ start, inlet }: { readonly start: number; readonly inlet: Inlet }): string {
  return `bytes=${start}-${start + inlet.length - 1}`
}

function poolOf<T>({ isWaiting, isGrowing, isBulk }: Call<T>): 'waiting' | 'growing' | 'bulk' | 'prompt' {
  if (isWaiting === true) return 'waiting'
  if (isGrowing === true) return 'growing'
  return isBulk === true ? 'bulk' : 'prompt'
}

/** The body of one attempt; `failure` when its source failed, which is no failure of the connection. */
function bodyOf<T>(call: Call<T>): { content: string | Buffer | Readable | null; failure?: { error: unknown } } {
  if (typeof call.body !== 'function') return { content: call.body ?? null }
  const parts = call.body()
  const body: { content: Readable; failure?: { error: unknown } } = { content: Readable.from(watched()) }
  return body

  async function* watched(): AsyncGenerator<Uint8Array> {
    const iterator = parts[Symbol.asyncIterator]()
    try {
      for (;;) {
        // Not around the yield: what the stream throws in there is the connection's failure.
        const next = await iterator.next().catch((error: unknown) => {
          body.failure = { error }
          throw error
        })
        if (next.done === true) return
        if (next.value.length > 0) yield next.value
      }
    } finally {
      await iterator.return?.()
    }
  }
}

/** Milliseconds before the next attempt: exponential with jitter, or what the gateway asked for, but never all that is left. */
function pause(attempts: number, asked: number | undefined, left: number): number {
  if (asked !== undefined) return Math.max(Math.min(asked, left / 2), asked === 0 ? 0 : FIRST_PAUSE)
  return Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1)) * (0.5 + Math.random() / 2)
}

function unanswered<T>({ method, target }: Call<T>, attempts: number, cause: unknown): Fault {
  const said = isFault(cause) ? cause.detail : inWords(cause)
  return new Fault('ServiceBusy', `${method} ${target}: no answer after ${attempts} attempts: ${said}`, {
    errno: 'EIO',
    cause,
  })
}

/** A name with several addresses (localhost: ::1 and 127.0.0.1) fails with one error each and no message of its own. */
function inWords(cause: unknown): string {
  return cause instanceof AggregateError ? cause.errors.map(String).join('; ') : String(cause)
}

/** Seconds or a date (RFC 9110 section 10.2.3). */
function retryAfter(answer: Answer): { wait?: number } {
  const value = String(answer.headers['retry-after'] ?? '')
  const milliseconds = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isNaN(milliseconds) ? {} : { wait: Math.max(milliseconds, FIRST_PAUSE) }
}

async function limitedText(answer: Answer): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of partsOf(answer)) {
    parts.push(part)
    if ((length += part.length) >= REFUSAL_LIMIT) break
  }
  return Buffer.concat(parts).toString('utf8')
}

/** A whole answer. InternalFault where it is longer than any that is not the bytes of a file. */
export async function bytesOf(answer: Answer): Promise<Buffer> {
  if (Buffer.isBuffer(answer.body)) return answer.body
  const parts: Buffer[] = []
  let length = 0
  for await (const part of partsOf(answer)) {
    if ((length += part.length) > ANSWER_LIMIT) throw malformed('longer than any answer is')
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The bytes of an answer as they come. */
export function partsOf({ body }: Answer): AsyncIterable<Buffer> | readonly Buffer[] {
  return Buffer.isBuffer(body) ? [body] : (body as AsyncIterable<Buffer>)
}

/** Gives up an answer's body; its connection is closed unless all has come. */
export function discard({ body }: Answer): void {
  // Nobody reads it any more, so nobody needs to hear that it broke.
  if (!Buffer.isBuffer(body)) body.on('error', () => undefined).destroy()
}

/** True for a failure of the connection that another attempt may not meet. */
export function isPassing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && PASSING.has(error.code)
}
