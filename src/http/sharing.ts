/**
 * Sharing as people do it, JSON. `GET /access?path=&as=`: who may what with a node, and why (space/access.ts has the fields). `POST /share {path,
 * read?, write?, remove?, public?, inherit?, recursive?}`: lets groups in and takes them out, the others stay; groups are names here, or whole
 * URIs. Answers the sharing as it is then, and the containers on the way that are closed to whom it was shared with; for a whole tree 202 with
 * a job: `GET /share/ID?wait=`, `DELETE` aborts it.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type GroupRules } from '../identity/groups.ts'
import { explain, memberOf, type People, sharingOf } from '../space/access.ts'
import { authorize, type Chain } from '../space/authorize.ts'
import { ASYNC_SETPROPS } from '../space/recursive-jobs.ts'
import { getNode } from '../space/nodes.ts'
import { checkChange, closedTo, shareNode, type SharingChange } from '../space/share.ts'
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { nodePath, type NodePath } from '../vospace/path.ts'
import { isGroupUri } from '../vospace/property.ts'
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
/** Groups of one call. */
const MOST = 100

export function sharing(app: FastifyInstance, context: HttpContext): void {
  const { people, groups } = context.services
  if (people === undefined || groups === undefined) return
  const parts: Parts = { context, people, groups }
  endpoint(app, `${context.base}/access`, { GET: async (request, reply) => access(parts, request, reply) })
  endpoint(app, `${context.base}/share`, { POST: async (request, reply) => share(parts, request, reply) })
  const job: Handler = async (request, reply) => showJob(context, request, reply)
  const abort: Handler = async (request, reply) => {
    context.services.jobs.abort(jobOf(context, request).id)
    return json(reply, 200, jobRow(jobOf(context, request)))
  }
  endpoint(app, `${context.base}/share/:id`, { GET: job, DELETE: abort })
}

interface Parts {
  readonly context: HttpContext
  readonly people: People
  readonly groups: GroupRules
}

async function access({ context, people, groups }: Parts, request: FastifyRequest, reply: FastifyReply) {
  const { caller } = request
  const parameters = parametersOf(request.raw)
  const as = parameters.get('as')
  const told = await explain(context.services.space, caller, nodePath(parameters.require('path')), {
    people,
    ...(as !== undefined && as !== '' && { as }),
    mayTell: (group) =>
      caller.user !== undefined && (as === undefined || as === caller.user || sees(groups, caller, group)),
  })
  return json(reply, 200, told)
}

/** Whether the caller may know who is in a group. */
function sees(groups: GroupRules, caller: Caller, group: string): boolean {
  try {
    return groups.show(caller, group).roll !== undefined
  } catch (error) {
    // another service keeps it
    if (isFault(error)) return false
    throw error
  }
}

async function share(parts: Parts, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { context, groups } = parts
  const { space } = context.services
  const given = await fieldsOf(context, request, reply)
  const path = given.path('path')
  const change = changeIn(given, groups)
  if (given.flag('recursive') === true) return shareTree(parts, request, reply, path, change)
  const { node, parents, changed } = await shareNode(space, request.caller, path, change)
  return json(reply, 200, {
    path: node.path,
    type: node.type,
    ...sharingOf(node),
    ...(node.type === 'container' && { inherit: node.access.inherit }),
    changed,
    closed: closures(parts, [...parents, node], change),
  })
}

/** For each that was let in, the containers above that let them not pass. */
function closures({ context, people }: Parts, chain: Chain, { read, write, isPublic }: SharingChange): object[] {
  const { rules } = context.services.space
  const whom: [string | null, Caller][] = [...new Set([...read, ...write])].map((uri) => [
    uri,
    memberOf(uri, chain, people),
  ])
  if (isPublic === true) whom.push([null, ANONYMOUS])
  return whom
    .map(([group, who]) => ({ group, paths: closedTo(chain.slice(0, -1), who, rules) }))
    .filter(({ paths }) => paths.length > 0)
}

async function shareTree(
  parts: Parts,
  request: FastifyRequest,
  reply: FastifyReply,
  path: NodePath,
  change: SharingChange,
): Promise<unknown> {
  const { space, jobs, publicUrl } = parts.context.services
  const { caller } = request
  // what can be known is said now, and not by a job
  const { path: at } = await getNode(space, caller, path)
  const chain = await space.backend.walk(at)
  authorize(caller, 'update', chain, space.rules)
  const parameters = { target: nodeUri(space.service, at), share: JSON.stringify(change) }
  const { id } = jobs.create(caller.user, { kind: ASYNC_SETPROPS, parameters, ...(caller.admin && { admin: true }) })
  aside(() => jobs.run(id))
  reply.header('Location', `${publicUrl}/share/${id}`)
  return json(reply, 202, { job: id, path: at, closed: closures(parts, chain, change) })
}

async function showJob(context: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { jobs } = context.services
  const seconds = Math.min(parametersOf(request.raw).count('wait') ?? 0, MAX_WAIT)
  const job = jobOf(context, request)
  if (seconds > 0) await jobs.wait(job.id, seconds * 1000, job.phase, clientGone(reply.raw))
  return json(reply, 200, jobRow(jobOf(context, request)))
}

function jobOf({ services }: HttpContext, { params, caller }: FastifyRequest): Job {
  const { id } = params as { id: string }
  const job = services.jobs.get(id)
  const isTheirs = job?.kind === ASYNC_SETPROPS && job.owner !== undefined && job.owner === caller.user
  if (isTheirs && job.parameters?.['share'] !== undefined) return job
  throw new Fault('NodeNotFound', `there is no sharing of theirs with the id ${id}`)
}

function jobRow({ id, phase, progress, results, error }: Job): object {
  const count = (name: string): number | undefined => {
    const found = /^final:(\d+)$/.exec(results.find((one) => one.id === name)?.href ?? '')?.[1]
    return found === undefined ? undefined : Number(found)
  }
  return {
    id,
    phase,
    done: count('successcount') ?? progress?.done ?? 0,
    refused: count('errorcount') ?? 0,
    ...(error !== undefined && { error }),
  }
}

/** Names of ours and whole URIs. Who is let in must be there; who is taken out need not be any more. */
function changeIn(given: Fields, groups: GroupRules): SharingChange {
  const known = (name: string): string[] => namesIn(given, name).map((one) => groups.shareable(groups.uriOf(one)))
  const remove = namesIn(given, 'remove').flatMap((one) => leaving(one, groups))
  const [isPublic, inherit] = [given.flag('public'), given.flag('inherit')]
  const change: SharingChange = {
    read: known('read'),
    write: known('write'),
    remove,
    ...(isPublic !== undefined && { isPublic }),
    ...(inherit !== undefined && { inherit }),
  }
  checkChange(change)
  return change
}

/** As it is known here, and as it stands: a node may have been shared under a name that means nothing any more. */
function leaving(name: string, groups: GroupRules): string[] {
  if (!isGroupUri(name)) return [groups.uriOf(name)]
  try {
    return [...new Set([groups.uriOf(name), name])]
  } catch (error) {
    if (isFault(error, 'InvalidArgument')) return [name]
    throw error
  }
}

function namesIn(given: Fields, name: string): readonly string[] {
  const names = given.texts(name) ?? []
  if (names.length <= MOST) return names
  throw new Fault('InvalidArgument', `${name}: ${MOST} groups at a time`)
}

/** As /users: a page of somebody else's can make a browser send no document of this type. */
async function fieldsOf({ limits }: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<Fields> {
  const type = contentTypeOf(request.raw)?.split(';')[0]?.trim().toLowerCase()
  if (type !== JSON_TYPE) throw new Fault('InvalidArgument', `the content type of what changes sharing is ${JSON_TYPE}`)
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  return new Fields(body, ['path', 'read', 'write', 'remove', 'public', 'inherit', 'recursive'])
}

const json = (reply: FastifyReply, status: number, document: object): FastifyReply =>
  answer(reply, status, JSON_TYPE, JSON.stringify(document))
