/**
 * Changes through /fs/v1 happen once: `Operation-Id` and the user name them, a repetition gets the first answer again (schemas/fs-v1.md).
 * Refusals are answers too; a failure of ours or a client that went away in the midst is none, and leaves nothing behind.
 */
import { type FastifyReply, type FastifyRequest } from 'fastify'
import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ChangeOrigin } from '../space/change-stream.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { faultJson, replyBeforeBody, type WholeAnswer } from './fault-reply.ts'
import { noteReason } from './origin.ts'
import { clientGone } from './request-body.ts'
import { type Attempt, type Begun, type HttpContext } from './services.ts'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** How long a repetition waits for the first call, milliseconds; it may come again. */
const PATIENCE = 25_000

export const JSON_TYPE = 'application/json'

/** What a change answers; no document: an empty body. */
export interface Answer {
  readonly status: number
  readonly document?: unknown
}

export interface Change {
  /** what of the body belongs to the question: none of an upload */
  readonly body?: Buffer
  readonly act: (attempt: Attempt) => Promise<Answer>
}

/** Does it, or answers what was answered before. */
export async function once(
  context: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  change: Change,
): Promise<unknown> {
  const { operations } = context.services
  const { user } = request.caller
  // anonymous callers never write, and have no name to keep answers under
  if (user === undefined) throw new Fault('PermissionDenied', 'anonymous callers change nothing')
  const id = operationId(request)
  const fingerprint = fingerprintOf(request, change.body)
  const begun = await beginOrWait(() => operations.begin(user, id, fingerprint), reply)
  if (begun.state === 'done') return send(context, request, reply, begun.status, begun.body)
  const { status, text } = await attempt(context, request, { user, id, change, attempt: begun.attempt })
  return send(context, request, reply, status, text)
}

interface Run {
  readonly user: string
  readonly id: string
  readonly change: Change
  readonly attempt: Attempt
}

async function attempt(
  { services }: HttpContext,
  request: FastifyRequest,
  { user, id, change, attempt }: Run,
): Promise<{ status: number; text: string }> {
  const { operations } = services
  let answered: { status: number; text: string }
  const origin = new ChangeOrigin(mountOf(request))
  try {
    checkLease(services, request)
    const { status, document } = await origin.during(() => change.act(attempt))
    answered = { status, text: document === undefined ? '' : JSON.stringify(document) }
  } catch (error) {
    if (!isFault(error) || error.status >= 500 || isCutShort(request)) {
      operations.abandon(user, id, origin)
      throw error
    }
    noteReason(request, error)
    answered = { status: error.status, text: JSON.stringify(faultJson(error)) }
  }
  try {
    operations.finish(user, id, { status: answered.status, body: answered.text }, origin)
  } catch (error) {
    // it has happened, and the client may know; only a repetition will have to wait
    request.log.error({ err: error, operation: id }, 'the answer of an operation could not be kept')
  }
  return answered
}

/** The client went away before its body was whole: what was refused then was not what it asked. */
function isCutShort({ raw }: FastifyRequest): boolean {
  return raw.destroyed && !raw.complete
}

async function beginOrWait(begin: () => Begun, reply: FastifyReply): Promise<Exclude<Begun, { state: 'running' }>> {
  const deadline = Date.now() + PATIENCE
  const gone = clientGone(reply.raw)
  for (let pause = 5; ; pause = Math.min(pause * 2, 500)) {
    const begun = begin()
    if (begun.state !== 'running') return begun
    if (gone.aborted || Date.now() > deadline)
      throw new Fault('ServiceBusy', 'the first call of this operation goes on')
    await sleep(pause)
  }
}

/** NodeLocked (EIO): what is sent was written under locks that may be another's by now. */
function checkLease({ leases }: HttpContext['services'], { caller, headers }: FastifyRequest): void {
  const { lease } = headers
  if (lease === undefined) return
  try {
    leases?.check(caller, String(lease))
  } catch (error) {
    if (!isFault(error, 'NodeNotFound')) throw error
    throw new Fault('NodeLocked', `written under locks that are gone: ${error.detail}`, { errno: 'EIO', cause: error })
  }
}

/** The mount that changes something: its own change stream leaves that out. */
function mountOf({ headers }: FastifyRequest): string | undefined {
  const id = headers['mount-id']
  return typeof id === 'string' && UUID.test(id) ? id.toLowerCase() : undefined
}

function operationId(request: FastifyRequest): string {
  const id = request.headers['operation-id']
  if (typeof id === 'string' && UUID.test(id)) return id.toLowerCase()
  throw new Fault('InvalidArgument', 'a change needs an Operation-Id, a UUID')
}

function fingerprintOf({ method, originalUrl, headers }: FastifyRequest, body: Buffer | undefined): string {
  const conditions = ['if-match', 'if-none-match'].map((name) => `${name}: ${String(headers[name] ?? '')}`)
  const asked = JSON.stringify([method, originalUrl, ...conditions])
  return hash('sha256', body === undefined ? asked : Buffer.concat([Buffer.from(asked), body]), 'base64url')
}

async function send(
  { limits }: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  text: string,
): Promise<unknown> {
  const answer: WholeAnswer = { status, body: Buffer.from(text), ...(text !== '' && { type: JSON_TYPE }) }
  await replyBeforeBody(request, reply, answer, limits)
  return reply
}
