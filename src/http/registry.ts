/** A registry of this service and of the groups it keeps, so that clients can be pointed at this host alone (wire.md 6.2). */
import { type FastifyInstance } from 'fastify'
import { answer, endpoint, TEXT } from './endpoint.ts'
import { type HttpContext } from './services.ts'

export function registry(app: FastifyInstance, { services }: HttpContext): void {
  endpoint(
    app,
    '/reg/resource-caps',
    {
      GET: async (_request, reply) => {
        const { service, publicUrl, groups, mapping } = services
        const own = `${service.resourceId} = ${publicUrl}/capabilities\n`
        const kept = groups === undefined ? '' : `${groups.services.own} = ${publicUrl}/gms/capabilities\n`
        const mapper = service.resourceId.replace(/^(ivo:\/\/[^/]+)\/.*$/, '$1/posix-mapper')
        const numbers = mapping === undefined ? '' : `${mapper} = ${publicUrl}/posix/capabilities\n`
        return answer(reply, 200, TEXT, own + kept + numbers)
      },
    },
    { open: true },
  )
}
