/** A list of jobs and what each of them has, seen by its owner only (UWS 1.1; wire.md 3.2, 4.3, 4.5): `/transfers` and its like. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { writeJob, writeJobs, writeParameters, writeResults } from '../codec/job-codec.ts'
import { writeTransfer } from '../codec/transfer-codec.ts'
import { Fault } from '../vospace/fault.ts'
import { type Job, type Phase, PHASES } from '../vospace/transfer.ts'
import { answer, endpoint, type Handler, seeOther, TEXT, XML } from './endpoint.ts'
import { aside } from './origin.ts'
import { clientGone, readBody } from './request-body.ts'
import { type HttpContext, type JobDraft } from './services.ts'
import { Parameters, parametersOf } from './target.ts'

/** Longest WAIT in seconds; -1 means this one. */
const MAX_WAIT = 60
/** How long the reply to PHASE=RUN waits for the end of the job, in milliseconds: clients look at once, and then seconds later. */
const QUICK = 1500

/** One job list: `/{kind}`, jobs made by POST, and everything below. */
export function jobList(app: FastifyInstance, context: HttpContext, kind: string, create: Handler): void {
  const list = new JobList(context, kind)
  const url = `${context.base}/${kind}`
  const job = `${url}/:id`
  const show = (type: string, value: (job: Job) => string): Handler => {
    return async (request, reply) => answer(reply, 200, type, value(list.jobOf(request)))
  }
  endpoint(app, url, { GET: async (request, reply) => list.show(request, reply), POST: create })
  endpoint(app, job, {
    GET: async (request, reply) => answer(reply, 200, XML, writeJob(await list.waited(request, reply))),
    POST: async (request, reply) => list.act(request, reply),
    DELETE: async (request, reply) => list.remove(request, reply),
  })
  endpoint(app, `${job}/phase`, {
    // the bare word: a line feed would be part of it for the Python client (wire.md trap 13)
    GET: async (request, reply) => answer(reply, 200, TEXT, (await list.waited(request, reply)).phase),
    POST: async (request, reply) => list.control(request, reply),
  })
  endpoint(app, `${job}/destruction`, {
    GET: show(TEXT, ({ destruction }) => new Date(destruction).toISOString()),
    POST: async (request, reply) => list.setDestruction(request, reply),
  })
  endpoint(app, `${job}/executionduration`, {
    GET: show(TEXT, ({ executionDuration }) => String(executionDuration)),
    POST: async (request, reply) => list.setExecutionDuration(request, reply),
  })
  endpoint(app, `${job}/error`, { GET: show(TEXT, errorOf) })
  endpoint(app, `${job}/results`, { GET: show(XML, writeResults) })
  endpoint(app, `${job}/results/:name`, {
    GET: async (request, reply) => showResult(list.jobOf(request), request, reply),
  })
  endpoint(app, `${job}/parameters`, { GET: show(XML, writeParameters) })
  endpoint(app, `${job}/owner`, { GET: show(TEXT, ({ owner }) => owner ?? '') })
  endpoint(app, `${job}/quote`, { GET: show(TEXT, () => '') })
}

/** Starts a job and waits a moment for its end, so that clients need not come back for what is done at once. */
export async function runJob({ services: { jobs } }: HttpContext, id: string): Promise<void> {
  aside(() => jobs.run(id))
  await jobs.settled(id, QUICK)
}

/** Makes a job of the caller's and answers 303 to it; with a phase (RUN) it is started (UWS 1.1, section on creating jobs). */
export async function created(
  context: HttpContext,
  { caller }: FastifyRequest,
  draft: Omit<JobDraft, 'admin'>,
  phase: string | undefined,
  reply: FastifyReply,
): Promise<unknown> {
  const job = context.services.jobs.create(caller.user, { ...draft, ...(caller.admin && { admin: true }) })
  if (phase?.toUpperCase() === 'RUN') await runJob(context, job.id)
  return seeOther(reply, `${context.services.publicUrl}/${job.kind}/${job.id}`)
}

/** The PHASE that may come with the creation of a job. InvalidArgument: anything but RUN. */
export function creationPhase(parameters: Parameters): string | undefined {
  const phase = parameters.get('phase')
  if (phase === undefined || phase.toUpperCase() === 'RUN') return phase
  throw new Fault('InvalidArgument', `PHASE of a new job is RUN, not ${phase}`)
}

class JobList {
  readonly #context: HttpContext
  readonly #kind: string

  constructor(context: HttpContext, kind: string) {
    this.#context = context
    this.#kind = kind
  }

  get #jobs() {
    return this.#context.services.jobs
  }
  get #url(): string {
    return `${this.#context.services.publicUrl}/${this.#kind}`
  }

  /** A job made anonymously is open to all; any other to its owner. NodeNotFound, PermissionDenied. */
  jobOf({ params, caller }: FastifyRequest): Job {
    const { id } = params as { id: string }
    const job = this.#jobs.get(id)
    if (job?.kind !== this.#kind) throw new Fault('NodeNotFound', `there is no job ${id}`)
    if (job.owner !== undefined && job.owner !== caller.user)
      throw new Fault('PermissionDenied', `job ${id} is not yours`)
    return job
  }

  async show(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { user } = request.caller
    if (user === undefined) throw new Fault('PermissionDenied', 'jobs are listed for their owner')
    const parameters = parametersOf(request.raw)
    const last = parameters.count('last')
    const after = parameters.get('after')
    const jobs = this.#jobs.list(user, this.#kind, {
      phases: parameters.all('phase').map(phaseOf),
      ...(last !== undefined && { last }),
      ...(after !== undefined && { after: timeOf('AFTER', after) }),
    })
    return answer(reply, 200, XML, writeJobs(jobs, this.#url))
  }

  /** The job, after WAIT seconds or as soon as its phase is another (UWS 1.1, 2.2.1.1): `PHASE` says which one the client knows. */
  async waited(request: FastifyRequest, reply: FastifyReply): Promise<Job> {
    const parameters = parametersOf(request.raw)
    const asked = this.jobOf(request)
    const { pushes } = this.#context.services
    if (asked.phase === 'EXECUTING') await pushes?.ofJob(asked.id)
    const job = this.jobOf(request)
    const seconds = waitOf(parameters)
    const known = parameters.get('phase')
    const phase = known === undefined ? job.phase : phaseOf(known)
    if (seconds === 0) return job
    await this.#jobs.wait(job.id, seconds * 1000, phase, clientGone(reply.raw))
    return this.jobOf(request)
  }

  /** PHASE=RUN starts a pending job, PHASE=ABORT ends an active one. */
  async control(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const job = this.jobOf(request)
    const phase = (await this.#given(request, reply, 'phase')).toUpperCase()
    if (phase === 'ABORT') this.#jobs.abort(job.id)
    else if (phase === 'RUN') await runJob(this.#context, job.id)
    else throw new Fault('InvalidArgument', `PHASE is RUN or ABORT, not ${phase}`)
    return this.#toJob(reply, job)
  }

  async setDestruction(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const job = this.jobOf(request)
    this.#jobs.setDestruction(job.id, timeOf('DESTRUCTION', await this.#given(request, reply, 'destruction')))
    return this.#jobs.get(job.id) === undefined ? seeOther(reply, this.#url) : this.#toJob(reply, job)
  }

  async setExecutionDuration(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const job = this.jobOf(request)
    const text = await this.#given(request, reply, 'executionduration')
    if (!/^\d{1,9}$/.test(text)) {
      throw new Fault('InvalidArgument', `EXECUTIONDURATION is a number of seconds, not ${text}`)
    }
    this.#jobs.setExecutionDuration(job.id, Number(text))
    return this.#toJob(reply, job)
  }

  /** ACTION=DELETE, for clients that have no DELETE. */
  async act(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const action = await this.#given(request, reply, 'action')
    if (action.toUpperCase() !== 'DELETE') throw new Fault('InvalidArgument', `ACTION is DELETE, not ${action}`)
    return this.remove(request, reply)
  }

  async remove(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    this.#jobs.remove(this.jobOf(request).id)
    return seeOther(reply, this.#url)
  }

  #toJob(reply: FastifyReply, { id }: Job): FastifyReply {
    return seeOther(reply, `${this.#url}/${id}`)
  }

  /** A parameter of the form, or of the query. InvalidArgument when it is in neither. */
  async #given(request: FastifyRequest, reply: FastifyReply, name: string): Promise<string> {
    const { limits } = this.#context
    const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
    return new Parameters(body.toString('utf8')).get(name) ?? parametersOf(request.raw).require(name)
  }
}

/** Dates are UTC when they say no zone (UWS 1.1). */
function timeOf(name: string, text: string): number {
  const time = Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`)
  if (Number.isNaN(time)) throw new Fault('InvalidArgument', `${name} is a date, not ${text}`)
  return time
}

function phaseOf(text: string): Phase {
  const phase = PHASES.find((one) => one === text.toUpperCase())
  if (phase === undefined) throw new Fault('InvalidArgument', `not a phase: ${text}`)
  return phase
}

function waitOf(parameters: Parameters): number {
  const text = parameters.get('wait')
  if (text === undefined) return 0
  if (!/^(-1|\d{1,9})$/.test(text)) throw new Fault('InvalidArgument', `WAIT is a number of seconds, not ${text}`)
  return text === '-1' ? MAX_WAIT : Math.min(Number(text), MAX_WAIT)
}

function errorOf({ id, error }: Job): string {
  if (error === undefined) throw new Fault('NodeNotFound', `job ${id} has no error`)
  return error
}

function showResult(job: Job, request: FastifyRequest, reply: FastifyReply): unknown {
  const { name } = request.params as { name: string }
  // served here and not at a URL of its own: clients take the job's URL out of this one
  if (name === 'transferDetails' && job.details !== undefined)
    return answer(reply, 200, XML, writeTransfer(job.details))
  const result = job.results.find(({ id }) => id === name)
  if (result === undefined) throw new Fault('NodeNotFound', `job ${job.id} has no result ${name}`)
  return seeOther(reply, result.href)
}
