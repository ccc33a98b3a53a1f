/**
 * `/snapshots`: allocations as they were, as JSON, for their owners. `GET ?path=` lists those of the allocation that a path is in: `{snapshots:
 * [{name, created}]}`. `POST {path, name}` makes one, `DELETE ?path=&name=` removes it. `POST restore {path, name, to?}`: 202 with a job, which
 * `GET restore/ID?wait=` shows and `DELETE` aborts. What is in one is read with `snapshot=NAME` at /nodes and /files.
 */
import { type FastifyInstance } from 'fastify'
import { createSnapshot, listSnapshots, pastSpace, removeSnapshot, RESTORES } from '../space/snapshots.ts'
import { type Space } from '../space/space.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { nodePath, type NodePath } from '../vospace/path.ts'
import { nodeUri } from '../vospace/uri.ts'
import { endpoint } from './endpoint.ts'
import { json, jsonFields, jsonJobs } from './json-jobs.ts'
import { type HttpContext } from './services.ts'
import { type Parameters, parametersOf } from './target.ts'

export function snapshots(app: FastifyInstance, context: HttpContext): void {
  const { services, base } = context
  const { space } = services
  const shown = ({ name, created }: { readonly name: string; readonly created: number }): object => ({
    name,
    created: new Date(created).toISOString(),
  })
  endpoint(app, `${base}/snapshots`, {
    GET: async ({ caller, raw }, reply) => {
      const path = nodePath(parametersOf(raw).get('path') ?? '/')
      return json(reply, 200, { snapshots: (await listSnapshots(space, caller, path)).map(shown) })
    },
    POST: async (request, reply) => {
      const given = await jsonFields(context, request, reply, ['path', 'name'])
      const made = await createSnapshot(space, request.caller, given.path('path'), given.requiredText('name'))
      return json(reply, 201, shown(made))
    },
    DELETE: async ({ caller, raw }, reply) => {
      const parameters = parametersOf(raw)
      const path = nodePath(parameters.get('path') ?? '/')
      await removeSnapshot(space, caller, path, parameters.get('name') ?? '')
      return reply.code(204).send()
    },
  })
  jsonJobs(app, context, {
    place: '/snapshots/restore',
    kind: RESTORES,
    fields: ['path', 'name', 'to'],
    admin: false,
    parameters: (given) => ({
      target: nodeUri(space.service, given.path('path')),
      snapshot: given.requiredText('name'),
      ...(given.has('to') && { to: nodeUri(space.service, given.path('to')) }),
    }),
  })
}

/** PermissionDenied (EROFS) for a change of what was: without this it would be one of what is now. */
export function refusePast(parameters: Parameters): void {
  if (parameters.has('snapshot')) throw new Fault('PermissionDenied', 'what is in a snapshot does not change', { errno: 'EROFS' }) // prettier-ignore
}

/** The space as it was, where `snapshot` says so. */
export async function spaceOf(space: Space, caller: Caller, path: NodePath, parameters: Parameters): Promise<Space> {
  const name = parameters.get('snapshot')
  return name === undefined ? space : pastSpace(space, caller, path, name)
}
