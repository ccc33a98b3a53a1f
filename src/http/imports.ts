/**
 * Objects of a bucket as nodes, JSON, for administrators. `POST /imports {path, source, writable}`, or `{path, forget: true}`: 202 with a job; `GET
 * /imports/ID?wait=` tells what it has met, `GET /imports/ID/left-out?after=` which objects are no nodes, `DELETE` aborts it: what it has brought stays.
 */
import { type FastifyInstance } from 'fastify'
import { importOf, IMPORTS, sourceOf } from '../space/import.ts'
import { Fault } from '../vospace/fault.ts'
import { type Job } from '../vospace/transfer.ts'
import { localPath, nodeUri } from '../vospace/uri.ts'
import { endpoint, type Handler } from './endpoint.ts'
import { type Fields } from './json-body.ts'
import { json, jobOf, jsonJobs } from './json-jobs.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** Objects of one answer. */
const MAX_PAGE = 1000
const OF = { kind: IMPORTS, admin: true }

export function imports(app: FastifyInstance, context: HttpContext): void {
  const { space } = context.services
  const containerOf = ({ parameters }: Job) => localPath(space.service, parameters?.['target'] ?? '')
  jsonJobs(app, context, {
    ...OF,
    place: '/imports',
    fields: ['path', 'source', 'writable', 'forget'],
    parameters: (given) => ({ target: nodeUri(space.service, given.path('path')), ...what(given) }),
    more: (job) => {
      const counts = importOf(space, job.id, containerOf(job))?.counts
      return counts === undefined ? {} : { counts }
    },
  })
  const leftOut: Handler = async (request, reply) => {
    const job = jobOf(context, request, OF)
    const container = containerOf(job)
    if (importOf(space, job.id, container) === undefined) throw new Fault('NodeNotFound', 'another import has begun since')
    const after = parametersOf(request.raw).get('after') ?? ''
    const objects = space.backend.imports?.leftOut(container, after, MAX_PAGE) ?? []
    return json(reply, 200, { objects })
  } // prettier-ignore
  endpoint(app, `${context.base}/imports/:id/left-out`, { GET: leftOut })
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
