/** The one place where a refusal becomes a reply (wire.md 3.0). Anything that is no Fault is a bug or an outage: logged whole, told as InternalFault. */
import { type FastifyReply, type FastifyRequest } from 'fastify'
import { writeFault } from '../codec/fault-text.ts'
import { type FaultJson } from '../codec/fs-v1.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { challenges } from './challenge.ts'
import { takeOver } from './endpoint.ts'
import { refuseRest, streamOf } from './http2-exchange.ts'
import { noteReason } from './origin.ts'
import { drain, hasBody, isExpecting } from './request-body.ts'
import { type HttpContext, type HttpLimits } from './services.ts'
import { targetOf } from './target.ts'

/** Seconds, whole: what clients read (wire.md 6.3). */
const RETRY_AFTER = '1'

/** An unread rest of a body no longer than this is read and dropped, and the connection kept. */
const SMALL_REST = 1 << 16

/** Answers with the refusal. */
export async function replyFault(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { services, limits }: HttpContext,
): Promise<void> {
  const fault = asFault(error, request)
  noteReason(request, fault)
  if (reply.raw.headersSent) {
    // too late to say it politely: a cut connection is the only sign that the document is not whole
    reply.raw.destroy()
    return
  }
  if (fault.status === 401) {
    request.log.info({ ...('code' in fault && { code: fault.code }), reason: fault.detail }, 'not authenticated')
    reply.header('WWW-Authenticate', challenges(services, fault))
  }
  if (fault.status === 503) reply.header('Retry-After', RETRY_AFTER)
  const [type, text] = targetOf(request.raw).isMount
    ? ['application/json', JSON.stringify(faultJson(fault))]
    : ['text/plain', writeFault(fault)]
  await replyBeforeBody(request, reply, { status: fault.status, type, body: Buffer.from(text) }, limits)
}

export function faultJson({ fault, errno, detail }: Fault): FaultJson {
  return { fault, errno, detail }
}

/** The refusal that an error means to the caller; what is no refusal goes to the log with its stack. */
export function asFault(error: unknown, request: FastifyRequest): Fault {
  if (request.raw.socket.destroyed) request.log.info({ reason: String(error) }, 'the client went away')
  else if (!isFault(error) || (error.status >= 500 && !isRefusal(error)))
    request.log.error({ err: error }, 'a request failed')
  if (isFault(error) && error.fault !== 'InternalFault') return error
  // what is ours alone (where the store is, what its disk says) is in the log; the error number is for programs
  const errno = isFault(error) ? { errno: error.errno } : {}
  return new Fault('InternalFault', `something went wrong here; request ${request.id}`, { ...errno, cause: error })
}

// Too much at a time: said by us, and no failure. A busy store has a cause.
const isRefusal = (fault: Fault): boolean => fault.fault === 'ServiceBusy' && fault.cause === undefined

export interface WholeAnswer {
  readonly status: number
  readonly type?: string
  readonly body: Buffer
}

/**
 * Answers a request whose body may not have been read. The answer goes out whole at once; then what the client is still sending is read
 * and dropped within bounds, since closing at once would reset the connection and take the answer with it. HTTP/2 can end the stream alone.
 */
export async function replyBeforeBody(
  request: FastifyRequest,
  reply: FastifyReply,
  { status, type, body }: WholeAnswer,
  limits: HttpLimits,
): Promise<void> {
  const unread = hasBody(request.raw) && !request.raw.complete
  const keep = !unread || (!isExpecting(request.raw) && Number(request.headers['content-length']) <= SMALL_REST)
  const stream = streamOf(request.raw)
  const raw = takeOver(reply, status, {
    ...(type !== undefined && { 'Content-Type': type }),
    // RFC 9110, 8.6: none with a 204
    ...(status !== 204 && { 'Content-Length': body.length }),
    ...(!keep && stream === undefined && { Connection: 'close' }),
  })
  if (stream !== undefined) {
    raw.end(body)
    if (unread) refuseRest(stream)
    return
  }
  const isBare = request.method === 'HEAD' || body.length === 0
  if (!unread) {
    // headers, body and end in one write
    raw.end(isBare ? undefined : body)
    return
  }
  if (isBare) raw.flushHeaders()
  else raw.write(body)
  await drain(request.raw, { bytes: limits.drainedBytes, time: limits.drainedTime })
  raw.end()
}
