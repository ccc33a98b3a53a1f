/** `/transfers`: the jobs of transfers, each seen by its owner only (UWS 1.1; wire.md 3.2, 4.3, 4.5). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { writeJob, writeJobs, writeParameters, writeResults } from '../codec/job-codec.ts'
import { writeTransfer } from '../codec/transfer-codec.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Job, type Phase, PHASES } from '../vospace/transfer.ts'
import { answer, endpoint, type Handler, seeOther, TEXT, XML } from './endpoint.ts'
import { clientGone, readBody } from './request-body.ts'
import { type HttpContext, type HttpServices } from './services.ts'
import { Parameters, parametersOf } from './target.ts'

/** Longest WAIT in seconds; -1 means this one. */
const MAX_WAIT = 60

const ACTIVE: readonly Phase[] = ['PENDING', 'QUEUED', 'EXECUTING']

export function transfers(app: FastifyInstance, context: HttpContext): void {
  const { services, base } = context
  const list = `${base}/transfers`
  const job = `${list}/:id`
  /** GET of something that a job has. */
  const of = (show: (job: Job, reply: FastifyReply, request: FastifyRequest) => unknown): { GET: Handler } => ({
    GET: async (request, reply) => show(jobOf(services, request), reply, request),
  })
  const text = (value: (job: Job) => string) => of((found, reply) => answer(reply, 200, TEXT, value(found)))

  endpoint(app, list, { GET: async (request, reply) => listJobs(services, request, reply), POST: refuseCreation })
  endpoint(app, job, {
    GET: async (request, reply) => answer(reply, 200, XML, writeJob(await waited(services, request, reply))),
  })
  endpoint(app, `${job}/phase`, {
    // the bare word: a line feed would be part of it for the Python client (wire.md trap 13)
    GET: async (request, reply) => answer(reply, 200, TEXT, (await waited(services, request, reply)).phase),
    POST: async (request, reply) => control(context, request, reply),
  })
  endpoint(app, `${job}/error`, text(errorOf))
  endpoint(
    app,
    `${job}/results`,
    of((found, reply) => answer(reply, 200, XML, writeResults(found))),
  )
  endpoint(app, `${job}/results/:name`, of(showResult))
  endpoint(
    app,
    `${job}/parameters`,
    of((_found, reply) => answer(reply, 200, XML, writeParameters())),
  )
  endpoint(
    app,
    `${job}/owner`,
    text(({ owner }) => owner ?? ''),
  )
  endpoint(
    app,
    `${job}/quote`,
    text(() => ''),
  )
  endpoint(
    app,
    `${job}/executionduration`,
    text(({ executionDuration }) => String(executionDuration)),
  )
  endpoint(
    app,
    `${job}/destruction`,
    text(({ destruction }) => new Date(destruction).toISOString()),
  )
}

const refuseCreation: Handler = async () => {
  throw new Fault('OperationNotSupported', 'asynchronous transfers are not served yet; synctrans is')
}

async function listJobs(
  { jobs, publicUrl }: HttpServices,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { user } = request.caller
  if (user === undefined) throw new Fault('PermissionDenied', 'jobs are listed for their owner')
  const parameters = parametersOf(request.raw)
  const phases = parameters.all('phase').map(phaseOf)
  const last = parameters.count('last')
  const after = afterOf(parameters)
  const own = jobs
    .list(user)
    .filter(({ phase, created }) => (phases.length === 0 || phases.includes(phase)) && created > after)
  return answer(reply, 200, XML, writeJobs(own.slice(0, last), `${publicUrl}/transfers`))
}

function afterOf(parameters: Parameters): number {
  const text = parameters.get('after')
  if (text === undefined) return -Infinity
  const time = Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`)
  if (Number.isNaN(time)) throw new Fault('InvalidArgument', `AFTER is a date, not ${text}`)
  return time
}

function phaseOf(text: string): Phase {
  const phase = PHASES.find((one) => one === text.toUpperCase())
  if (phase === undefined) throw new Fault('InvalidArgument', `not a phase: ${text}`)
  return phase
}

function jobOf(services: HttpServices, request: FastifyRequest): Job {
  const { id } = request.params as { id: string }
  return visible(services.jobs.get(id), id, request.caller)
}

/** A job made anonymously is open to all; any other to its owner. */
function visible(job: Job | undefined, id: string, caller: Caller): Job {
  if (job === undefined) throw new Fault('NodeNotFound', `there is no job ${id}`)
  if (job.owner !== undefined && job.owner !== caller.user)
    throw new Fault('PermissionDenied', `job ${id} is not yours`)
  return job
}

/** The job, after WAIT seconds or as soon as its phase is another (UWS 1.1, 2.2.1.1): `PHASE` says which one the client knows. */
async function waited(services: HttpServices, request: FastifyRequest, reply: FastifyReply): Promise<Job> {
  const parameters = parametersOf(request.raw)
  let job = jobOf(services, request)
  const seconds = waitOf(parameters)
  if (seconds === 0) return job
  const known = parameters.get('phase')
  const phase = known === undefined ? job.phase : phaseOf(known)
  const signal = clientGone(reply.raw)
  const deadline = Date.now() + seconds * 1000
  for (
    let pause = 100;
    job.phase === phase && ACTIVE.includes(phase) && !signal.aborted;
    pause = Math.min(pause * 2, 2000)
  ) {
    const left = deadline - Date.now()
    if (left <= 0) break
    await sleep(Math.min(pause, left), signal)
    job = visible(services.jobs.get(job.id), job.id, request.caller)
  }
  return job
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
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

function showResult(job: Job, reply: FastifyReply, request: FastifyRequest): unknown {
  const { name } = request.params as { name: string }
  // served here and not at a URL of its own: clients take the job's URL out of this one
  if (name === 'transferDetails' && job.details !== undefined)
    return answer(reply, 200, XML, writeTransfer(job.details))
  const result = job.results.find(({ id }) => id === name)
  if (result === undefined) throw new Fault('NodeNotFound', `job ${job.id} has no result ${name}`)
  return seeOther(reply, result.href)
}

/** PHASE=ABORT ends an active job; PHASE=RUN is for pending ones, which these never are. */
async function control(
  { services, limits }: HttpContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const job = jobOf(services, request)
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  const form = new Parameters(body.toString('utf8'))
  const phase = (form.get('phase') ?? parametersOf(request.raw).require('phase')).toUpperCase()
  if (phase !== 'ABORT') throw new Fault('InvalidArgument', `PHASE=${phase} does nothing to a job that is ${job.phase}`)
  if (ACTIVE.includes(job.phase)) services.jobs.update(job.id, { phase: 'ABORTED', ended: Date.now() })
  return seeOther(reply, `${services.publicUrl}/transfers/${job.id}`)
}
