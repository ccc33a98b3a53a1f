/** Bodies of requests: documents read whole within bounds, uploads handed on as they come. */
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { Fault } from '../vospace/fault.ts'
import { streamOf } from './http2-exchange.ts'

/** Requests whose client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1). */
const expecting = new WeakSet<IncomingMessage>()

/** Content-Type as it came. */
const contentTypes = new WeakMap<IncomingMessage, string>()

/**
 * Before routing: takes the Content-Type away from the router, which refuses an empty or odd one (wire.md trap 3: bodies come without).
 */
export function takeContentType(request: IncomingMessage): void {
  const { headers } = request
  const given = headers['content-type']
  if (given === undefined) return
  if (given !== '') contentTypes.set(request, given)
  headers['content-type'] = 'application/octet-stream'
}

/** Exactly as the client wrote it; undefined when it said nothing. */
export function contentTypeOf(request: IncomingMessage): string | undefined {
  return contentTypes.get(request)
}

/**
 * The client waits for `100 Continue`. Until it gets it the connection is one to be closed: a client that is refused may send the body or not,
 * and its next request must not be taken for it.
 */
export function expectContinue(request: IncomingMessage, response: ServerResponse): void {
  if (!hasBody(request)) return
  expecting.add(request)
  response.shouldKeepAlive = false
}

export function isExpecting(request: IncomingMessage): boolean {
  return expecting.has(request)
}

/** Lets a waiting client go on: called when nothing speaks against its body any more. */
function letContinue(request: IncomingMessage, response: ServerResponse): void {
  if (!expecting.delete(request)) return
  response.shouldKeepAlive = request.headers.connection?.toLowerCase() !== 'close'
  response.writeContinue()
}

/** Whether a body is announced at all. */
export function hasBody(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  return encoding !== undefined || (length === undefined ? isOpen(request) : Number(length) > 0)
}

/** Content-Length; undefined for a body of which nobody says how long it is. */
export function bodyLength(request: IncomingMessage): number | undefined {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  if (encoding !== undefined) return undefined
  if (length !== undefined) return Number(length)
  return isOpen(request) ? undefined : 0
}

// HTTP/2 has no Transfer-Encoding: a body comes unless the headers were the end of the stream
const isOpen = (request: IncomingMessage): boolean => streamOf(request)?.endAfterHeaders === false

/** Bytes of an upload that are taken. */
const uploadLimits = new WeakMap<IncomingMessage, number>()

/** More than so many bytes are refused by uploadOf. */
export function limitUpload(request: IncomingMessage, bytes: number): void {
  uploadLimits.set(request, bytes)
}

/**
 * The bytes of an upload. Whoever stops reading early leaves the connection as it is, so that a refusal still reaches the client;
 * a client that goes away makes it throw. RequestEntityTooLarge beyond limitUpload, before the first byte where the client says how many there are.
 */
export async function* uploadOf(request: IncomingMessage, response: ServerResponse): AsyncGenerator<Buffer> {
  const most = uploadLimits.get(request) ?? Infinity
  if ((bodyLength(request) ?? 0) > most) throw uploadTooLarge(most)
  letContinue(request, response)
  let length = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length
    if (length > most) throw uploadTooLarge(most)
    yield chunk as Buffer
  }
}

/** A whole document, of any content type. RequestEntityTooLarge beyond `limit` bytes; ServiceBusy when it does not come in time. */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  { limit, timeout }: { limit: number; timeout: number },
): Promise<Buffer> {
  if ((bodyLength(request) ?? 0) > limit) throw tooLarge(limit)
  letContinue(request, response)
  // a client that sends a byte a minute is cut off: nobody waits for the answer
  const timer = setTimeout(() => request.destroy(), timeout)
  try {
    return await whole(request, limit)
  } finally {
    clearTimeout(timer)
  }
}

/** By its events: an iterator takes several times as long for the one part that there mostly is. */
function whole(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let length = 0
    const take = (part: Buffer): void => {
      parts.push(part)
      if ((length += part.length) <= limit) return
      request.pause()
      fail(tooLarge(limit))
    }
    const end = (): void => {
      leave()
      resolve(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, length))
    }
    const fail = (error: Error): void => {
      leave()
      reject(error)
    }
    const close = (): void => fail(new Error('the client went away'))
    const leave = (): void => {
      request.off('data', take).off('end', end).off('error', fail).off('close', close)
    }
    if (request.destroyed) return close()
    request.on('data', take).on('end', end).on('error', fail).on('close', close)
  })
}

const uploadTooLarge = (limit: number): Fault =>
  new Fault('RequestEntityTooLarge', `an upload of yours may have ${limit} bytes`)

function tooLarge(limit: number): Fault {
  return new Fault('RequestEntityTooLarge', `the document is larger than ${limit} bytes`)
}

/** Aborted when the client goes away before it has its answer. */
export function clientGone(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new Error('the client went away'))
  })
  return controller.signal
}

/** Reads on and drops what comes, within bounds: a client that is still sending gets to see the answer. */
export async function drain(request: IncomingMessage, bounds: { bytes: number; time: number }): Promise<void> {
  if (request.complete || request.destroyed) return
  await new Promise<void>((resolve) => {
    let left = bounds.bytes
    const timer = setTimeout(finish, bounds.time)
    const count = (part: Buffer): void => {
      left -= part.length
      if (left < 0) finish()
    }
    function finish(): void {
      clearTimeout(timer)
      request.off('data', count)
      request.pause()
      resolve()
    }
    request.once('end', finish).once('error', finish).once('close', finish).on('data', count).resume()
  })
}
