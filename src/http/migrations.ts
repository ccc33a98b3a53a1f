/**
 * Bringing a container to another storage profile, JSON, for administrators. `POST /migrations {path, profile}`: 202 with a job; `GET
 * /migrations/ID?wait=` tells how far it is, `DELETE` aborts it: then everything is as it was.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { MIGRATIONS } from '../space/migrate.ts'
import { Fault } from '../vospace/fault.ts'
import { type Job } from '../vospace/transfer.ts'
import { nodeUri } from '../vospace/uri.ts'
import { answer, endpoint, type Handler } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { aside } from './origin.ts'
import { clientGone, contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Longest that a job is waited for, seconds. */
const MAX_WAIT = 60

export function migrations(app: FastifyInstance, context: HttpContext): void {
  const { jobs } = context.services
  endpoint(app, `${context.base}/migrations`, { POST: async (request, reply) => begin(context, request, reply) })
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
  endpoint(app, `${context.base}/migrations/:id`, { GET: show, DELETE: abort })
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
  const given = new Fields(body, ['path', 'profile'])
  const parameters = { target: nodeUri(space.service, given.path('path')), profile: given.requiredText('profile') }
  const { id } = jobs.create(caller.user, { kind: MIGRATIONS, parameters, admin: true })
  aside(() => jobs.run(id))
  reply.header('Location', `${publicUrl}/migrations/${id}`)
  return json(reply, 202, { job: id })
}

function jobOf({ services }: HttpContext, { params, caller }: FastifyRequest): Job {
  const { id } = params as { id: string }
  const job = services.jobs.get(id)
  if (job?.kind === MIGRATIONS && caller.admin) return job
  throw new Fault('NodeNotFound', `there is no migration with the id ${id}`)
}

const rowOf = ({ id, phase, progress, error }: Job): object => ({
  id,
  phase,
  done: progress?.done ?? 0,
  ...(error !== undefined && { error }),
})

const json = (reply: FastifyReply, status: number, document: object): FastifyReply =>
  answer(reply, status, JSON_TYPE, JSON.stringify(document))
