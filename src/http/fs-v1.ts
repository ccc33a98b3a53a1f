/** `/fs/v1`, the mount API (schemas/fs-v1.md): what is read. What changes something is in fs-v1-changes.ts. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type OutgoingHttpHeaders } from 'node:http'
import { entryText, entryToJson, pathParameter } from '../codec/fs-v1.ts'
import { checkData, entryOf, type FsListing, listOf, readData, statfs, xattr, xattrNames } from '../space/filesystem.ts'
import { type NodePath } from '../vospace/path.ts'
import { sendFile } from './download.ts'
import { answer, endpoint, takeOver } from './endpoint.ts'
import { asFault, faultJson } from './fault-reply.ts'
import { bytesHeaders } from './file-headers.ts'
import { dataChanges, nodeChanges, xattrChanges } from './fs-v1-changes.ts'
import { fsV1Leases } from './fs-v1-leases.ts'
import { fsV1Stream } from './fs-v1-stream.ts'
import { InFlight } from './in-flight.ts'
import { JSON_TYPE } from './operation.ts'
import { Pace } from './pace.ts'
import { clientGone } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { type Parameters, parametersOf } from './target.ts'
import { admitTrusted } from './trusted-mount.ts'

export const NDJSON = 'application/x-ndjson'
export const BYTES = 'application/octet-stream'

/** Text gathered before it is handed on, in UTF-16 units. */
const CHUNK = 1 << 16

export function fsV1(app: FastifyInstance, context: HttpContext): void {
  const { space, service } = context.services
  const root = `${context.base}/fs/v1`
  const inFlight = new InFlight(app, context.services)
  const json = (reply: FastifyReply, document: unknown): FastifyReply =>
    answer(reply, 200, JSON_TYPE, JSON.stringify(document))

  app.addHook('preHandler', (request, _reply, done) => done(admitTrusted(request, context.services)))
  endpoint(app, root, {
    GET: async ({ caller }, reply) => {
      const { user, uid, gid, trusted = false } = caller
      // the first thing a mount asks
      if (trusted) context.services.audit?.note({ act: 'mount.trusted', by: user ?? null, on: '/', result: 'allowed' })
      return json(reply, { version: 1, resourceId: service.resourceId, user: user ?? null, uid, gid, trusted })
    },
  })
  endpoint(app, `${root}/entry`, {
    GET: async (request, reply) =>
      json(reply, entryToJson(await entryOf(space, request.caller, refOf(parametersOf(request.raw))))),
  })
  endpoint(app, `${root}/list`, { GET: async (request, reply) => list(context, inFlight, request, reply) })
  endpoint(app, `${root}/data`, {
    GET: async (request, reply) => data(context, inFlight, request, reply),
    ...dataChanges(context, inFlight),
  })
  endpoint(app, `${root}/statfs`, {
    GET: async (request, reply) => {
      const path = pathParameter(parametersOf(request.raw).get('path'))
      return json(reply, await statfs(space, request.caller, path))
    },
  })
  endpoint(app, `${root}/xattr`, {
    GET: async (request, reply) => {
      const parameters = parametersOf(request.raw)
      const path = pathParameter(parameters.get('path'))
      const name = parameters.get('name')
      if (name === undefined) return json(reply, { names: await xattrNames(space, request.caller, path) })
      return answer(reply, 200, BYTES, await xattr(space, request.caller, path, name))
    },
    ...xattrChanges(context),
  })
  for (const [call, handler] of Object.entries(nodeChanges(context)))
    endpoint(app, `${root}/${call}`, { POST: handler })
  fsV1Leases(app, context)
  fsV1Stream(app, context)
}

/** The node a call is for: `path`, and `id` where it is open. */
export function refOf(parameters: Parameters): { readonly path: NodePath; readonly id?: string } {
  const id = parameters.get('id')
  return { path: pathParameter(parameters.get('path')), ...(id !== undefined && id !== '' && { id }) }
}

async function data(
  { services }: HttpContext,
  inFlight: InFlight,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { space } = services
  const { caller } = request
  const ref = refOf(parametersOf(request.raw))
  inFlight.watch(request, reply, (now) => checkData(space, now, ref, 'read'))
  return sendFile(
    {
      async look() {
        const entry = await entryOf(space, caller, ref)
        const headers: OutgoingHttpHeaders = { 'Content-Type': BYTES, ...bytesHeaders(entry) }
        return { entry, headers }
      },
      open: (options) => readData(space, caller, ref, options),
    },
    request,
    reply,
  )
}

async function list(
  { services }: HttpContext,
  inFlight: InFlight,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const parameters = parametersOf(request.raw)
  const cursor = parameters.get('cursor')
  const limit = parameters.count('limit')
  const path = pathParameter(parameters.get('path'))
  inFlight.watch(request, reply, (now) => listOf(services.space, now, path))
  const listing = await listOf(services.space, request.caller, path, {
    ...(cursor !== undefined && { cursor }),
    ...(limit !== undefined && { limit }),
    signal: clientGone(reply.raw),
  })
  const chunks = lines(listing, request)
  const first = await chunks.next()
  // most are short, and go out in one write with their headers
  if (first.done === true) return answer(reply, 200, NDJSON, first.value)
  const raw = takeOver(reply, 200, { 'Content-Type': NDJSON })
  const pace = new Pace(raw)
  try {
    let part = first as IteratorResult<string, string>
    for (; part.done !== true; part = await chunks.next()) await pace.write(part.value)
    await pace.write(part.value)
    raw.end()
  } catch (error) {
    // the last line is missing, so the client knows that it does not have the whole
    request.log.info({ reason: String(error) }, 'a listing was cut')
    raw.destroy()
  } finally {
    await chunks.return('')
  }
  return reply
}

/** A line an entry, gathered into chunks, of which the last is returned; the last line is the cursor, or the refusal that ended it. */
async function* lines(listing: FsListing, request: FastifyRequest): AsyncGenerator<string, string, undefined> {
  let chunk = ''
  try {
    for await (const entry of listing.entries) {
      chunk += `${entryText(entry)}\n`
      if (chunk.length < CHUNK) continue
      yield chunk
      chunk = ''
    }
    chunk += `${JSON.stringify({ cursor: listing.cursor() })}\n`
  } catch (error) {
    chunk += `${JSON.stringify(faultJson(asFault(error, request)))}\n`
  }
  return chunk
}
