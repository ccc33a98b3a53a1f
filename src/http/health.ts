/** What an orchestrator asks, at the root of the host: is the process alive, may it get traffic. */
import { type FastifyInstance } from 'fastify'
import { answer, endpoint, TEXT } from './endpoint.ts'
import { type HttpContext } from './services.ts'

export function healthChecks(app: FastifyInstance, { services }: HttpContext): void {
  endpoint(app, '/livez', { GET: async (_request, reply) => answer(reply, 200, TEXT, 'ok\n') }, { open: true })
  endpoint(
    app,
    '/readyz',
    {
      GET: async (_request, reply) => {
        const { available, notes } = await services.health.check()
        return answer(reply, available ? 200 : 503, TEXT, available ? 'ok\n' : `${notes.join('\n')}\n`)
      },
    },
    { open: true },
  )
}
