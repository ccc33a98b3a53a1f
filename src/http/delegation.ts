/** `/delegations`: IVOA Credential Delegation Protocol 1.0 (auth.md C2), over src/identity/delegation.ts. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Delegations } from '../identity/delegation.ts'
import { answer, endpoint, TEXT, type Handler } from './endpoint.ts'
import { readBody } from './request-body.ts'
import { type HttpContext } from './services.ts'

export const DELEGATIONS = 'ivo://ivoa.net/std/CDP#delegate-1.0'

/** A chain of certificates, in bytes. */
const CHAIN_LIMIT = 1 << 16

export function delegation(app: FastifyInstance, { services, limits, base }: HttpContext): void {
  const { delegations } = services
  if (delegations === undefined) return
  const url = `${base}/delegations`
  const bounds = { limit: CHAIN_LIMIT, timeout: limits.documentTimeout }
  endpoint(app, url, { GET: listing(delegations), POST: beginning(delegations, () => services.publicUrl, bounds) })
  endpoint(app, `${url}/:id`, {
    GET: texts((request) => delegations.nameOf(request.caller, idOf(request))),
    DELETE: async (request, reply) => {
      delegations.remove(request.caller, idOf(request))
      return reply.code(204).send()
    },
  })
  endpoint(app, `${url}/:id/CSR`, { GET: texts((request) => delegations.requestOf(request.caller, idOf(request))) })
  endpoint(app, `${url}/:id/certificate`, {
    GET: texts((request) => delegations.certificatesOf(request.caller, idOf(request))),
    PUT: certifying(delegations, bounds),
  })
}

interface Bounds {
  readonly limit: number
  readonly timeout: number
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id

const texts =
  (textOf: (request: FastifyRequest) => string): Handler =>
  async (request, reply) =>
    text(reply, 200, textOf(request))

const text = (reply: FastifyReply, status: number, body: string): FastifyReply => answer(reply, status, TEXT, body)

const listing = (delegations: Delegations): Handler =>
  texts((request) =>
    delegations
      .list(request.caller)
      .map((id) => `${id}\n`)
      .join(''),
  )

function beginning(delegations: Delegations, publicUrl: () => string, bounds: Bounds): Handler {
  return async (request, reply) => {
    // the form of old has a DN in it: whose it is says the certificate
    await readBody(request.raw, reply.raw, bounds)
    const id = delegations.begin(request.caller)
    reply.header('Location', `${publicUrl()}/delegations/${id}`)
    return text(reply, 201, `${id}\n`)
  }
}

function certifying(delegations: Delegations, bounds: Bounds): Handler {
  return async (request, reply) => {
    // whose it is, before a body is read
    delegations.nameOf(request.caller, idOf(request))
    const body = await readBody(request.raw, reply.raw, bounds)
    delegations.certify(request.caller, idOf(request), body.toString('latin1'))
    return text(reply, 200, '')
  }
}
