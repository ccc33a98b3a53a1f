/**
 * `/partitions`: what the caller may mount, and on which terms, as JSON (schemas/partitions.md). `GET`: a list; `POST {partition, access?, profile?,
 * session?, member?, bind?}` negotiates one; `DELETE ?session=&member=`: a container of the session has ended.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Mounts, mountTerms } from '../space/mount-terms.ts'
import { type PartitionAsked } from '../space/partitions.ts'
import { Fault } from '../vospace/fault.ts'
import { answer, answerHead, endpoint } from './endpoint.ts'
import { Fields } from './json-body.ts'
import { JSON_TYPE } from './operation.ts'
import { contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'

/** What a gateway with partitions needs. */
export interface PartitionServices extends Mounts {
  /** Ended scratches are removed now. */
  readonly sweep: () => Promise<void>
}

const FIELDS = ['partition', 'access', 'profile', 'session', 'member', 'bind'] as const

export function partitions(app: FastifyInstance, context: HttpContext): void {
  const { mounting, audit } = context.services
  if (mounting === undefined) return
  const publicUrl = (): string => context.services.publicUrl
  const json = (reply: FastifyReply, document: unknown): FastifyReply =>
    answer(reply, 200, JSON_TYPE, JSON.stringify(document))
  endpoint(app, `${context.base}/partitions`, {
    GET: async ({ caller }, reply) => json(reply, await mounting.partitions.list(caller)),
    POST: async (request, reply) => {
      const given = await fieldsOf(context, request, reply)
      const { granted, document } = await mountTerms(mounting, request.caller, askedIn(given), publicUrl())
      const by = request.caller.user ?? null
      audit?.note({
        act: 'partition.grant',
        by,
        on: granted.path,
        result: 'allowed',
        detail: { access: granted.access },
      })
      return json(reply, document)
    },
    DELETE: async (request, reply) => {
      const parameters = parametersOf(request.raw)
      const member = parameters.get('member')
      const session = parameters.require('session')
      mounting.partitions.leave(request.caller, { session, ...(member !== undefined && { member }) })
      void mounting.sweep()
      return answerHead(reply, 204, {})
    },
  })
}

function askedIn(given: Fields): PartitionAsked {
  const [access, profile, session, member, bind] = [
    given.oneOf('access', ['read', 'write']),
    given.text('profile'),
    given.text('session'),
    given.text('member'),
    given.texts('bind'),
  ]
  return {
    partition: given.requiredText('partition'),
    ...(access !== undefined && { access }),
    ...(profile !== undefined && { profile }),
    ...(session !== undefined && { session }),
    ...(member !== undefined && { member }),
    ...(bind !== undefined && { bind }),
  }
}

/** As /share: a page of somebody else's can make a browser send no document of this type. */
async function fieldsOf({ limits }: HttpContext, request: FastifyRequest, reply: FastifyReply): Promise<Fields> {
  const type = contentTypeOf(request.raw)?.split(';')[0]?.trim().toLowerCase()
  if (type !== JSON_TYPE) throw new Fault('InvalidArgument', `the content type of what is asked for is ${JSON_TYPE}`)
  const body = await readBody(request.raw, reply.raw, { limit: limits.json, timeout: limits.documentTimeout })
  return new Fields(body, FIELDS)
}
