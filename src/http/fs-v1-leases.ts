/** `/fs/v1/lease`: locks of mounts on nodes (schemas/fs-v1.md, "Locks"). Repeating any of these calls is harmless, so they need no Operation-Id. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { entryToJson } from '../codec/fs-v1.ts'
import { type LockAnswer, type LockAsked, type LockHolder, type Leases, TTL } from '../space/leases.ts'
import { Fault } from '../vospace/fault.ts'
import { LOCK_KINDS, TO_THE_END } from '../vospace/lock.ts'
import { answer, answerHead, endpoint, type Handler } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { clientGone, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Milliseconds that a call waits for a lock at most; the mount asks again. */
const LONGEST_WAIT = 25_000
/** Characters of an owner or a ticket. */
const LONGEST_NAME = 64
const LAST_PID = 0x7fffffff

export function fsV1Leases(app: FastifyInstance, context: HttpContext): void {
  const { leases } = context.services
  if (leases === undefined) return
  const root = `${context.base}/fs/v1/lease`
  const handler = (allowed: readonly string[], act: Act): Handler => handlerOf(context, allowed, act)

  endpoint(app, root, {
    POST: handler(LOCK_FIELDS, (fields, request, reply) => lock(context, leases, fields, request, reply)),
    DELETE: async (request, reply) => {
      const parameters = parametersOf(request.raw)
      const session = parameters.require('session')
      const ticket = parameters.get('ticket')
      if (ticket === undefined) leases.end(request.caller, session)
      else leases.forget(request.caller, session, ticket)
      return answerHead(reply, 204, {})
    },
  })
  endpoint(app, `${root}/session`, {
    POST: handler(['ttl'], async (fields, { caller }) => {
      const { session, ttl } = leases.open(caller, (fields.count('ttl', 3600) ?? TTL.usual / 1000) * 1000)
      return { session, ttl: ttl / 1000 }
    }),
  })
  endpoint(app, `${root}/renew`, {
    POST: handler(['session'], async (fields, { caller }) => ({
      locks: leases.renew(caller, fields.requiredText('session')),
    })),
  })
}

const LOCK_FIELDS = [
  ...['session', 'path', 'id', 'kind', 'type', 'owner', 'start', 'end', 'pid'],
  ...['test', 'ticket', 'wait'],
] as const

/** What a call answers, as JSON. */
type Act = (fields: Fields, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

function handlerOf({ limits }: HttpContext, allowed: readonly string[], act: Act): Handler {
  return async (request, reply) => {
    const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
    const document = await act(new Fields(body, allowed), request, reply)
    return answer(reply, 200, JSON_TYPE, JSON.stringify(document))
  }
}

async function lock(
  { services: { space, changes } }: HttpContext,
  leases: Leases,
  fields: Fields,
  { caller }: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const type = fields.oneOf('type', ['read', 'write', 'unlock'])
  if (type === undefined) throw new Fault('InvalidArgument', 'type is missing')
  const place = placeIn(fields)
  if (type === 'unlock') {
    leases.unlock(caller, { ...place, node: fields.requiredText('id') }, place)
    return { granted: true }
  }
  const asked = { ...place, type }
  const id = fields.text('id')
  const ref = { path: fields.path('path'), ...(id !== undefined && { id }) }
  if (fields.flag('test') === true) {
    const holder = await leases.test(space, caller, ref, asked)
    return holder === undefined ? { granted: true } : { granted: false, waiting: false, holder: holderToJson(holder) }
  }
  const ticket = name(fields, 'ticket')
  const milliseconds = fields.count('wait', LONGEST_WAIT) ?? 0
  const options = {
    ...(ticket !== undefined && { wait: { ticket, milliseconds } }),
    signal: clientGone(reply.raw),
  }
  const taken = await leases.take(space, caller, ref, asked, options)
  if (taken.granted) changes?.hasten(taken.seq)
  return answerToJson(taken)
}

function placeIn(fields: Fields): Omit<LockAsked, 'type'> {
  const kind = fields.oneOf('kind', LOCK_KINDS)
  const owner = name(fields, 'owner')
  if (kind === undefined || owner === undefined) throw new Fault('InvalidArgument', 'kind and owner are needed')
  const start = fields.count('start') ?? 0
  const end = fields.count('end') ?? TO_THE_END
  if (end < start) throw new Fault('InvalidArgument', 'end is before start')
  const session = fields.requiredText('session')
  return { session, kind, owner, start, end, pid: fields.count('pid', LAST_PID) ?? 0 }
}

function name(fields: Fields, field: string): string | undefined {
  const value = fields.text(field)
  if (value === undefined || (value !== '' && value.length <= LONGEST_NAME)) return value
  throw new Fault('InvalidArgument', `${field} has 1 to ${LONGEST_NAME} characters`)
}

function answerToJson(answer: LockAnswer): unknown {
  if (answer.granted) return { granted: true, seq: answer.seq, entry: entryToJson(answer.entry) }
  return { granted: false, waiting: answer.waiting, holder: holderToJson(answer.holder) }
}

/** Without `end`: to the end of the file. */
function holderToJson({ start, end, type, pid, own }: LockHolder): unknown {
  return { start, ...(end !== TO_THE_END && { end }), type, pid, own }
}
