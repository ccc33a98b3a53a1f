/**
 * `/async-delete` and `/async-setprops`: jobs for a node and everything below (wire.md 3.6, 3.7). What they are asked for is judged when they
 * run: clients expect a job even for a target that cannot be.
 */
import { type FastifyInstance } from 'fastify'
import { readNode } from '../codec/node-reader.ts'
import { ASYNC_DELETE, ASYNC_SETPROPS } from '../space/recursive-jobs.ts'
import { type Handler } from './endpoint.ts'
import { created, creationPhase, jobList } from './jobs.ts'
import { readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { Parameters, parametersOf } from './target.ts'

export function recursive(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context
  const deletion: Handler = async (request, reply) => {
    const body = await readBody(request.raw, reply.raw, { limit: limits.transfer, timeout: limits.documentTimeout })
    const form = new Parameters(body.toString('utf8'))
    const query = parametersOf(request.raw)
    const phase = creationPhase(form) ?? creationPhase(query)
    const parameters = { target: form.get('target') ?? query.require('target') }
    return created(context, request, { kind: ASYNC_DELETE, parameters }, phase, reply)
  }
  const setprops: Handler = async (request, reply) => {
    const phase = creationPhase(parametersOf(request.raw))
    const body = await readBody(request.raw, reply.raw, { limit: limits.transfer, timeout: limits.documentTimeout })
    return created(context, request, { kind: ASYNC_SETPROPS, node: readNode(body) }, phase, reply)
  }
  jobList(app, context, ASYNC_DELETE, deletion)
  jobList(app, context, ASYNC_SETPROPS, setprops)
}
