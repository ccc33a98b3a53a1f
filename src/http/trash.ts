/**
 * `/trash`: what is deleted and may come back, as JSON. `GET ?path=`: `{items: [...]}` of the allocation that the path is in. `POST restore
 * {path, id, to?}` answers `{path}`, `POST empty {path, id?}` answers `{removed}`.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Discarded, emptyTrash, listTrash, restoreTrash } from '../space/trash.ts'
import { nodePath } from '../vospace/path.ts'
import { answer, endpoint, type Handler, takeOver } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { clientGone, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Text gathered before it is handed on, in UTF-16 units. */
const CHUNK = 1 << 16

export function trash(app: FastifyInstance, context: HttpContext): void {
  const { services, limits, base } = context
  const { space } = services
  const fields = async (request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): Promise<Fields> =>
    new Fields(await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout }), allowed)

  const list: Handler = async (request, reply) => {
    const path = nodePath(parametersOf(request.raw).get('path') ?? '/')
    return send(listTrash(space, request.caller, path), reply)
  }
  const restore: Handler = async (request, reply) => {
    const given = await fields(request, reply, ['path', 'id', 'to'])
    const to = given.has('to') ? given.path('to') : undefined
    const { path } = await restoreTrash(space, request.caller, given.path('path'), given.requiredText('id'), to)
    return answer(reply, 200, JSON_TYPE, JSON.stringify({ path }))
  }
  const empty: Handler = async (request, reply) => {
    const given = await fields(request, reply, ['path', 'id'])
    const signal = clientGone(reply.raw)
    const removed = await emptyTrash(space, request.caller, given.path('path'), given.text('id'), signal)
    return answer(reply, 200, JSON_TYPE, JSON.stringify({ removed }))
  }
  endpoint(app, `${base}/trash`, { GET: list })
  endpoint(app, `${base}/trash/restore`, { POST: restore })
  endpoint(app, `${base}/trash/empty`, { POST: empty })
}

/** A refusal comes before the first item, so it is a proper answer; what fails midway is cut. */
async function send(items: AsyncGenerator<Discarded>, reply: FastifyReply): Promise<unknown> {
  const first = await items.next()
  const raw = takeOver(reply, 200, { 'Content-Type': JSON_TYPE })
  try {
    await pipeline(Readable.from(documentOf(first, items), { highWaterMark: 4 }), raw)
  } catch (error) {
    reply.log.warn({ err: error }, 'a listing was cut')
    raw.destroy()
  }
  return reply
}

async function* documentOf(
  first: IteratorResult<Discarded, unknown>,
  rest: AsyncGenerator<Discarded>,
): AsyncGenerator<string> {
  let text = '{"items":['
  if (first.done !== true) {
    text += itemOf(first.value)
    for await (const item of rest) {
      text += `,\n${itemOf(item)}`
      if (text.length < CHUNK) continue
      yield text
      text = ''
    }
  }
  yield `${text}]}\n`
}

function itemOf({ deleted, expires, id, path, type, by, nodes }: Discarded): string {
  const dates = {
    deleted: new Date(deleted).toISOString(),
    ...(expires !== undefined && { expires: new Date(expires).toISOString() }),
  }
  return JSON.stringify({ id, path, type, by, nodes, ...dates })
}
