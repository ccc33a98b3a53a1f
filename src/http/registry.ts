/** A registry of one service, so that clients can be pointed at this host alone (wire.md 6.2). */
import { type FastifyInstance } from 'fastify'
import { answer, endpoint, TEXT } from './endpoint.ts'
import { type HttpContext } from './services.ts'

export function registry(app: FastifyInstance, { services }: HttpContext): void {
  endpoint(
    app,
    '/reg/resource-caps',
    {
      GET: async (_request, reply) => {
        const line = `${services.service.resourceId} = ${services.publicUrl}/capabilities\n`
        return answer(reply, 200, TEXT, line)
      },
    },
    { open: true },
  )
}
