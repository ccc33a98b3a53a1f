/**
 * Objects of a bucket as nodes, JSON, for administrators. `POST /imports {path, source, writable}`, or `{path, forget: true}`: 202 with a job; `GET
 * /imports/ID?wait=` tells what it has met, `GET /imports/ID/left-out?after=` which objects are no nodes, `DELETE` aborts it: what it has brought stays.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { importOf, IMPORTS, sourceOf } from '../space/import.ts'
import { Fault } from '../vospace/fault.ts'
import { type Job } from '../vospace/transfer.ts'
import { localPath, nodeUri } from '../vospace/uri.ts'
import { answer, endpoint, type Handler } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { aside } from './origin.ts'
import { clientGone, contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Longest that a job is waited for, seconds. */
const MAX_WAIT = 60
/** Objects of one answer. */
const MAX_PAGE = 1000

export function imports(app: FastifyInstance, context: HttpContext): void {
  const { jobs, space } = context.services
  const rowOf = (job: Job): object => shown(context, job)
  endpoint(app, `${context.base}/imports`, { POST: async (request, reply) => begin(context, request, reply) })
  const show: Handler = async (request, reply) => {
    const job = jobOf(context, request)
    const seconds = Math.min(parametersOf(request.raw).count('wait') ?? 0, MAX_WAIT)
    if (seconds > 0) await jobs.wait(job.id, seconds * 1000, job.phase, clientGone(reply.raw))
    return json(reply, 200, rowOf(jobOf(context, request)))
  }
  const abort: Handler = async (request, reply) => {
    jobs.abort(jobOf(context, request).id)
    return json(reply, 200, rowOf(jobOf(context, request)))
  }
  const leftOut: Handler = async (request, reply) => {
    const job = jobOf(context, request)
    const container = localPath(space.service, job.parameters?.['target'] ?? '')
    if (importOf(space, job.id, container) === undefined) throw new Fault('NodeNotFound', 'another import has begun since')
    const after = parametersOf(request.raw).get('after') ?? ''
    const objects = space.backend.imports?.leftOut(container, after, MAX_PAGE) ?? []
    return json(reply, 200, { objects })
  } // prettier-ignore
  endpoint(app, `${context.base}/imports/:id`, { GET: show, DELETE: abort })
  endpoint(app, `${context.base}/imports/:id/left-out`, { GET: leftOut })
}

async function begin(
  { services, limits }: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { jobs, publicUrl, space } = services
  const { caller } = request
  if (!caller.admin) throw new Fault('PermissionDenied', 'only an administrator may')
  // as /users: a page of somebody else's can make a browser send no document of this type
  const type = contentTypeOf(request.raw)?.split(';')[0]?.trim().toLowerCase()
  if (type !== JSON_TYPE) throw new Fault('InvalidArgument', `the content type is ${JSON_TYPE}`)
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  const given = new Fields(body, ['path', 'source', 'writable', 'forget'])
  const target = nodeUri(space.service, given.path('path'))
  const parameters = { target, ...what(given) }
  const { id } = jobs.create(caller.user, { kind: IMPORTS, parameters, admin: true })
  aside(() => jobs.run(id))
  reply.header('Location', `${publicUrl}/imports/${id}`)
  return json(reply, 202, { job: id })
}

function what(given: Fields): Record<string, string> {
  if (given.flag('forget') === true) {
    if (given.has('source') || given.has('writable'))
      throw new Fault('InvalidArgument', 'forget goes with a path alone')
    return { forget: 'true' }
  }
  const source = given.requiredText('source')
  sourceOf(source)
  return { source, writable: String(given.flag('writable') ?? false) }
}

function jobOf({ services }: HttpContext, { params, caller }: FastifyRequest): Job {
  const { id } = params as { id: string }
  const job = services.jobs.get(id)
  if (job?.kind === IMPORTS && caller.admin) return job
  throw new Fault('NodeNotFound', `there is no import with the id ${id}`)
}

function shown({ services: { space } }: HttpContext, { id, phase, parameters, progress, error }: Job): object {
  const counts = importOf(space, id, localPath(space.service, parameters?.['target'] ?? ''))?.counts
  return { id, phase, done: progress?.done ?? 0, ...(counts && { counts }), ...(error !== undefined && { error }) }
}

const json = (reply: FastifyReply, status: number, document: object): FastifyReply =>
  answer(reply, status, JSON_TYPE, JSON.stringify(document))
