/** `/fs/v1/changes`: what was changed through any gateway, as it happens (schemas/fs-v1.md, "Changes"). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pathParameter } from '../codec/fs-v1.ts'
import { type ChangeLine, type ChangeStreams } from '../space/change-stream.ts'
import { confine } from '../space/authorize.ts'
import { Fault } from '../vospace/fault.ts'
import { endpoint, takeOver } from './endpoint.ts'
import { clientGone } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

const NDJSON = 'application/x-ndjson'

/** Streams of one user through this gateway; a mount has one. */
const MOST_STREAMS = 512

export function fsV1Stream(app: FastifyInstance, context: HttpContext): void {
  const { changes } = context.services
  if (changes === undefined) return
  const open = new Map<string, number>()
  endpoint(app, `${context.base}/fs/v1/changes`, {
    GET: async (request, reply) => {
      const user = request.caller.user ?? ''
      const count = open.get(user) ?? 0
      if (count >= MOST_STREAMS)
        throw new Fault('ServiceBusy', `${MOST_STREAMS} streams are all that one user may have`)
      open.set(user, count + 1)
      try {
        return await follow(context, changes, request, reply)
      } finally {
        const left = (open.get(user) ?? 1) - 1
        if (left > 0) open.set(user, left)
        else open.delete(user)
      }
    },
  })
}

async function follow(
  { services, limits }: HttpContext,
  changes: ChangeStreams,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const parameters = parametersOf(request.raw)
  const since = parameters.count('since')
  const mount = parameters.get('mount')
  const gone = clientGone(reply.raw)
  const path = pathParameter(parameters.get('path') ?? '/')
  // of what lies beside a partition its credential learns nothing
  confine(request.caller, path)
  const batches = changes.follow(services.space, request.caller, {
    path,
    ...(since !== undefined && { since }),
    ...(mount !== undefined && { mount }),
    signal: gone,
    life: limits.streamLife,
    heartbeat: limits.heartbeat,
  })
  const raw = takeOver(reply, 200, { 'Content-Type': NDJSON })
  try {
    // a reader that is slower than the changes keeps them waiting in the store
    await pipeline(Readable.from(texts(batches), { highWaterMark: 1 }), raw)
  } catch (error) {
    if (!gone.aborted) request.log.info({ reason: String(error) }, 'a stream of changes was cut')
    raw.destroy()
  }
  return reply
}

async function* texts(batches: AsyncIterable<readonly ChangeLine[]>): AsyncGenerator<string> {
  for await (const lines of batches) yield lines.map((line) => `${JSON.stringify(line)}\n`).join('')
}
