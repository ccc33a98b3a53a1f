/**
 * Bringing a container to another storage profile, JSON, for administrators. `POST /migrations {path, profile, force?}`: 202 with a job; `GET
 * /migrations/ID?wait=` tells how far it is, `DELETE` aborts it: then everything is as it was.
 */
import { type FastifyInstance } from 'fastify'
import { MIGRATIONS } from '../space/migrate.ts'
import { nodeUri } from '../vospace/uri.ts'
import { jsonJobs } from './json-jobs.ts'
import { type HttpContext } from './services.ts'

export function migrations(app: FastifyInstance, context: HttpContext): void {
  const { service } = context.services.space
  jsonJobs(app, context, {
    place: '/migrations',
    kind: MIGRATIONS,
    fields: ['path', 'profile', 'force'],
    admin: true,
    parameters: (given) => ({
      target: nodeUri(service, given.path('path')),
      profile: given.requiredText('profile'),
      ...(given.flag('force') === true && { force: 'true' }),
    }),
  })
}
