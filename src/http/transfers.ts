/** `/transfers`: asynchronous transfers, moves and copies, as jobs (VOSpace 2.1 section on transfers; wire.md 3.2 and 4). */
import { type FastifyInstance } from 'fastify'
import { readTransfer } from '../codec/transfer-codec.ts'
import { TRANSFERS } from '../vospace/transfer.ts'
import { type Handler } from './endpoint.ts'
import { created, creationPhase, jobList } from './jobs.ts'
import { readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

export function transfers(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context
  // What the document asks for is judged when the job runs; here it must be a transfer at all.
  const create: Handler = async (request, reply) => {
    const phase = creationPhase(parametersOf(request.raw))
    const body = await readBody(request.raw, reply.raw, { limit: limits.transfer, timeout: limits.documentTimeout })
    return created(context, request, { kind: TRANSFERS, transfer: readTransfer(body) }, phase, reply)
  }
  jobList(app, context, TRANSFERS, create)
}
