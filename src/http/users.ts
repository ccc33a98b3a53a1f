/**
 * `/users`, as JSON: accounts, for administrators, and for everybody their own. `GET` `{users: [...]}`; `POST {name, uid?, admin?, x509?, oidc?, home?,
 * quota?, reuseName?}`. `/users/NAME` (`me`: who asks): `GET`, `PATCH {admin?, suspended?}`, `DELETE ?to=`. `/users/NAME/identities`: `POST {kind,
 * value}`, `DELETE ?kind=&value=`. `/users/NAME/limits`: `PUT {connections?, requests?, perSecond?, uploadBytes?}`, whole. `/users/NAME/hand-over`: `POST {to,
 * path?}`. The last and DELETE answer 202 with a job: `GET /users/NAME/jobs/ID?wait=`, `DELETE` aborts it.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Account, type Accounts } from '../identity/accounts.ts'
import { type Identity } from '../identity/proof.ts'
import { ACCOUNTS, type AccountWork } from '../space/account-jobs.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { ROOT } from '../vospace/path.ts'
import { type Job } from '../vospace/transfer.ts'
import { answer, endpoint } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { aside } from './origin.ts'
import { clientGone, contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Longest that a job is waited for, seconds. */
const MAX_WAIT = 60

const KINDS = ['x509', 'oidc', 'uid'] as const

/** What a call is about: `name` as it stands in the URL, `me` resolved. */
interface Call {
  readonly context: HttpContext
  readonly accounts: Accounts
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly caller: Caller
  readonly name: string
}

type Act = (call: Call) => Promise<unknown>

export function users(app: FastifyInstance, context: HttpContext): void {
  const { accounts } = context.services
  if (accounts === undefined) return
  const at = (path: string, acts: Partial<Record<'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', Act>>): void => {
    const handlers = Object.entries(acts).map(([method, act]) => [
      method,
      async (request: FastifyRequest, reply: FastifyReply) => {
        const { caller } = request
        return act({ context, accounts, request, reply, caller, name: nameOf(request) })
      },
    ])
    endpoint(app, `${context.base}/users${path}`, Object.fromEntries(handlers) as Parameters<typeof endpoint>[2])
  }
  at('', { GET: list, POST: create })
  at('/:name', { GET: show, PATCH: change, DELETE: remove })
  at('/:name/identities', { POST: link, DELETE: unlink })
  at('/:name/limits', { PUT: limit })
  at('/:name/hand-over', { POST: handOver })
  at('/:name/jobs/:id', { GET: showJob, DELETE: abortJob })
}

function nameOf({ params, caller }: FastifyRequest): string {
  const { name = '' } = params as { name?: string }
  return name === 'me' ? (caller.user ?? name) : name
}

async function list({ accounts, caller, reply }: Call): Promise<unknown> {
  return json(reply, 200, { users: accounts.list(caller).map((account) => row(account)) })
}

async function create(call: Call): Promise<unknown> {
  const { accounts, caller, reply, context } = call
  const allowed = ['name', 'uid', 'admin', 'x509', 'oidc', 'home', 'quota', 'reuseName']
  const given = await fieldsOf(call, allowed)
  const [uid, quota] = [given.userId('uid'), given.count('quota')]
  const [admin, home, reuseName] = (['admin', 'home', 'reuseName'] as const).map((name) => given.flag(name))
  const identities = (['x509', 'oidc'] as const).flatMap((kind): Identity[] =>
    given.has(kind) ? [{ kind, value: given.requiredText(kind) }] : [],
  )
  const account = await accounts.create(caller, {
    name: given.requiredText('name'),
    identities,
    ...(uid !== undefined && { uid }),
    ...(quota !== undefined && { quota }),
    ...(admin !== undefined && { admin }),
    ...(home !== undefined && { home }),
    ...(reuseName !== undefined && { reuseName }),
  })
  reply.header('Location', `${context.services.publicUrl}/users/${encodeURIComponent(account.name)}`)
  return json(reply, 201, row(account))
}

async function show({ accounts, caller, reply, name }: Call): Promise<unknown> {
  const account = accounts.show(caller, name)
  return json(reply, 200, { ...row(account), usage: (await accounts.homeUsage(account)) ?? null })
}

async function change(call: Call): Promise<unknown> {
  const { accounts, caller, reply, name } = call
  const given = await fieldsOf(call, ['admin', 'suspended'])
  const [admin, suspended] = [given.flag('admin'), given.flag('suspended')]
  // whoever is to be no administrator and suspended is first the one, then the other
  if (admin !== undefined) await accounts.setAdmin(caller, name, admin)
  if (suspended === true) await accounts.suspend(caller, name)
  if (suspended === false) await accounts.resume(caller, name)
  return json(reply, 200, row(accounts.show(caller, name)))
}

async function remove(call: Call): Promise<unknown> {
  const { accounts, caller, request, name } = call
  const to = parametersOf(request.raw).get('to')
  await accounts.checkRemoval(caller, name, to)
  return begun(call, { act: 'delete', user: name, ...(to !== undefined && { to }) })
}

async function link(call: Call): Promise<unknown> {
  const { accounts, caller, reply, name } = call
  const given = await fieldsOf(call, ['kind', 'value'])
  const kind = given.oneOf('kind', KINDS)
  if (kind === undefined) throw new Fault('InvalidArgument', 'kind is missing')
  return json(reply, 200, row(await accounts.link(caller, name, { kind, value: given.requiredText('value') })))
}

async function unlink({ accounts, caller, request, reply, name }: Call): Promise<unknown> {
  const parameters = parametersOf(request.raw)
  const asked = parameters.require('kind')
  const kind = KINDS.find((one) => one === asked)
  if (kind === undefined) throw new Fault('InvalidArgument', `kind is one of ${KINDS.join(', ')}`)
  return json(reply, 200, row(await accounts.unlink(caller, name, { kind, value: parameters.require('value') })))
}

/** What is not said is the site's; null: no limit. */
async function limit(call: Call): Promise<unknown> {
  const { accounts, caller, reply, name } = call
  const names = ['connections', 'requests', 'perSecond', 'uploadBytes'] as const
  const given = await fieldsOf(call, names)
  const limits = names.flatMap((one) => {
    if (!given.has(one)) return []
    return [[one, given.isNull(one) ? null : (given.count(one) ?? null)] as const]
  })
  const zero = limits.find(([one, most]) => most === 0 && one !== 'uploadBytes')
  if (zero !== undefined) throw new Fault('InvalidArgument', `${zero[0]} is 1 or more: suspend who is to get nowhere`)
  const wanted = limits.length === 0 ? undefined : Object.fromEntries(limits)
  return json(reply, 200, row(await accounts.setLimits(caller, name, wanted)))
}

async function handOver(call: Call): Promise<unknown> {
  const { accounts, caller, name } = call
  const given = await fieldsOf(call, ['to', 'path'])
  const to = given.requiredText('to')
  const path = given.has('path') ? given.path('path') : undefined
  await accounts.checkHandOver(caller, name, to, path ?? ROOT)
  return begun(call, { act: 'hand-over', user: name, to, ...(path !== undefined && { path }) })
}

function begun({ context, caller, reply, name }: Call, work: AccountWork): FastifyReply {
  const { jobs, publicUrl } = context.services
  const { id } = jobs.create(caller.user, { kind: ACCOUNTS, admin: true, parameters: { ...work } })
  aside(() => jobs.run(id))
  reply.header('Location', `${publicUrl}/users/${encodeURIComponent(name)}/jobs/${id}`)
  return json(reply, 202, { job: id })
}

async function showJob(call: Call): Promise<unknown> {
  const { context, request, reply } = call
  const { jobs } = context.services
  const seconds = Math.min(parametersOf(request.raw).count('wait') ?? 0, MAX_WAIT)
  const job = jobOf(call)
  if (seconds > 0) await jobs.wait(job.id, seconds * 1000, job.phase, clientGone(reply.raw))
  return json(reply, 200, jobRow(jobOf(call)))
}

async function abortJob(call: Call): Promise<unknown> {
  call.context.services.jobs.abort(jobOf(call).id)
  return json(call.reply, 200, jobRow(jobOf(call)))
}

/** Whichever administrator has asked for it. */
function jobOf({ context, caller, request, name }: Call): Job {
  const { id } = request.params as { id: string }
  if (!caller.admin) throw new Fault('PermissionDenied', 'only an administrator may see this')
  const job = context.services.jobs.get(id)
  if (job?.kind === ACCOUNTS && job.parameters?.['user'] === name) return job
  throw new Fault('NodeNotFound', `there is no job ${id} about ${name}`)
}

function jobRow({ id, phase, progress, results, error, parameters }: Job): object {
  const counted = /^final:(\d+)$/.exec(results.find((one) => one.id === 'handed')?.href ?? '')?.[1]
  const handed = counted === undefined ? (progress?.done ?? 0) : Number(counted)
  return { id, phase, ...parameters, handed, ...(error !== undefined && { error }) }
}

function row({ name, uid, gid, admin, suspendedSince, home, limits, identities, groups }: Account): object {
  const suspended = suspendedSince === undefined ? null : new Date(suspendedSince).toISOString()
  return { name, uid, gid, admin, suspended, home: home ?? null, limits: limits ?? null, groups, identities }
}

/**
 * A browser sends what a page of somebody else's makes it send, with the certificate of its user; but no document of this type before it has
 * asked whether it may (CORS), and nobody says yes.
 */
async function fieldsOf({ context, request, reply }: Call, allowed: readonly string[]): Promise<Fields> {
  const type = contentTypeOf(request.raw)?.split(';')[0]?.trim().toLowerCase()
  if (type !== JSON_TYPE)
    throw new Fault('InvalidArgument', `the content type of what changes accounts is ${JSON_TYPE}`)
  const { json: limit, documentTimeout: timeout } = context.limits
  return new Fields(await readBody(request.raw, reply.raw, { limit, timeout }), allowed)
}

const json = (reply: FastifyReply, status: number, document: object): FastifyReply =>
  answer(reply, status, JSON_TYPE, JSON.stringify(document))
