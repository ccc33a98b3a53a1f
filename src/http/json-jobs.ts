/** Jobs that are begun and shown as JSON, apart from the lists of UWS: `POST` answers 202 with a job, `GET ID?wait=` shows how far it is, `DELETE` aborts it. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Fault } from '../vospace/fault.ts'
import { type Job } from '../vospace/transfer.ts'
import { answer, endpoint, type Handler } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { aside } from './origin.ts'
import { clientGone, contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Longest that a job is waited for, seconds. */
const MAX_WAIT = 60

export interface JsonJobs {
  /** below the base of the service */
  readonly place: string
  /** of the jobs */
  readonly kind: string
  /** fields of the document that begins one */
  readonly fields: readonly string[]
  /** Of an administrator alone. */
  readonly admin: boolean
  /** What the job is to know. Throws Fault. */
  readonly parameters: (given: Fields) => Readonly<Record<string, string>>
  /** What is shown of one beside its id, phase, count and error. */
  readonly more?: (job: Job) => object
}

export function jsonJobs(app: FastifyInstance, context: HttpContext, jobs: JsonJobs): void {
  const { services, base } = context
  const show: Handler = async (request, reply) => {
    const job = jobOf(context, request, jobs)
    const seconds = Math.min(parametersOf(request.raw).count('wait') ?? 0, MAX_WAIT)
    if (seconds > 0) await services.jobs.wait(job.id, seconds * 1000, job.phase, clientGone(reply.raw))
    return json(reply, 200, rowOf(jobOf(context, request, jobs), jobs))
  }
  const abort: Handler = async (request, reply) => {
    services.jobs.abort(jobOf(context, request, jobs).id)
    return json(reply, 200, rowOf(jobOf(context, request, jobs), jobs))
  }
  const begin: Handler = async (request, reply) => {
    const { caller } = request
    if (jobs.admin && !caller.admin) throw new Fault('PermissionDenied', 'only an administrator may')
    const parameters = jobs.parameters(await jsonFields(context, request, reply, jobs.fields))
    const { id } = services.jobs.create(caller.user, { kind: jobs.kind, parameters, admin: jobs.admin })
    aside(() => services.jobs.run(id))
    reply.header('Location', `${services.publicUrl}${jobs.place}/${id}`)
    return json(reply, 202, { job: id })
  }
  endpoint(app, `${base}${jobs.place}`, { POST: begin })
  endpoint(app, `${base}${jobs.place}/:id`, { GET: show, DELETE: abort })
}

/** The fields of a JSON document. InvalidArgument: it is said to be something else; a page of somebody else's can make a browser send no document of this type. */
export async function jsonFields(
  { limits }: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
): Promise<Fields> {
  const type = contentTypeOf(request.raw)?.split(';')[0]?.trim().toLowerCase()
  if (type !== JSON_TYPE) throw new Fault('InvalidArgument', `the content type is ${JSON_TYPE}`)
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  return new Fields(body, allowed)
}

/** NodeNotFound: none of that kind is the caller's. */
export function jobOf(
  { services }: HttpContext,
  { params, caller }: FastifyRequest,
  { kind, admin }: Pick<JsonJobs, 'kind' | 'admin'>,
): Job {
  const { id } = params as { id: string }
  const job = services.jobs.get(id)
  const isTheirs = admin ? caller.admin : caller.user !== undefined && job?.owner === caller.user
  if (job?.kind === kind && isTheirs) return job
  throw new Fault('NodeNotFound', `there is no job with the id ${id}`)
}

function rowOf(job: Job, { more }: JsonJobs): object {
  const { id, phase, progress, error } = job
  return { id, phase, done: progress?.done ?? 0, ...more?.(job), ...(error !== undefined && { error }) }
}

export const json = (reply: FastifyReply, status: number, document: object): FastifyReply =>
  answer(reply, status, JSON_TYPE, JSON.stringify(document))
