/**
 * `/cred/generate?daysValid=`: a short-lived certificate with its key, for programs that want one (auth.md C3). For oneself by token; for
 * others by administrators: `/cred/generate/userid/NAME`, `/cred/generate/dn/DN`. Over src/identity/credential-service.ts.
 */
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type CredentialService } from '../identity/credential-service.ts'
import { type Credential, credentialText } from '../identity/pem.ts'
import { Fault } from '../vospace/fault.ts'
import { answer, endpoint, type Handler } from './endpoint.ts'
import { type HttpContext } from './services.ts'
import { loggedTarget, parametersOf, targetOf } from './target.ts'

export const CREDENTIALS = 'ivo://ivoa.net/std/CDP#proxy-1.0'

const PEM_FILE = 'application/x-pem-file'

export function credentials(app: FastifyInstance, { services, base }: HttpContext): void {
  const { credentials: issuing } = services
  if (issuing === undefined) return
  const generate: Handler = async (request, reply) => {
    const made = await generateFor(issuing, request)
    // the name that clients give it; a private key is for no cache
    reply.header('Content-Disposition', 'inline; filename="cadcproxy.pem"').header('Cache-Control', 'no-store')
    return answer(reply, 200, PEM_FILE, credentialText(made))
  }
  endpoint(app, `${base}/cred`, { GET: generate })
}

async function generateFor(issuing: CredentialService, request: FastifyRequest): Promise<Credential> {
  const { caller } = request
  const days = daysIn(request)
  const [, kind, who] = /^\/generate(?:\/(userid|dn)\/(.+?))?\/?$/.exec(targetOf(request.raw).rest) ?? []
  if (kind === 'userid') return await issuing.forUser(caller, decoded(who), days)
  if (kind === 'dn') return await issuing.forDn(caller, decoded(who), days)
  if (/^\/generate\/?$/.test(targetOf(request.raw).rest)) return await issuing.own(caller, days)
  throw new Fault('NodeNotFound', `there is nothing at ${loggedTarget(request.originalUrl)}`)
}

/** A decimal number; undefined when it is not said. */
function daysIn(request: FastifyRequest): number | undefined {
  const text = parametersOf(request.raw).get('daysValid')
  if (text === undefined) return undefined
  if (!/^\d{1,6}(\.\d{1,9})?$/.test(text)) throw new Fault('InvalidArgument', 'daysValid is a number of days')
  return Number(text)
}

function decoded(text = ''): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    throw new Fault('InvalidURI', 'the percent encoding is broken', { cause: error })
  }
}
