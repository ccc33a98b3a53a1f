/** `/synctrans`: a transfer negotiated at once, by document or by parameters (VOSpace 2.1 section on transfers; wire.md 3.3). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { readTransfer, writeTransfer } from '../codec/transfer-codec.ts'
import { type Negotiation, negotiate, negotiatedJob } from '../space/transfers.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { TRANSFERS, type Transfer } from '../vospace/transfer.ts'
import { answer, endpoint, type Handler, seeOther, XML } from './endpoint.ts'
import { contentTypeOf, readBody } from './request-body.ts'
import { type HttpContext, type HttpServices } from './services.ts'
import { Parameters, parametersOf } from './target.ts'

export function synctrans(app: FastifyInstance, context: HttpContext): void {
  const { services, limits, base } = context
  const get: Handler = async (request, reply) =>
    byParameters(services, parametersOf(request.raw), 'query', request, reply)
  const post: Handler = async (request, reply) => {
    const query = parametersOf(request.raw)
    if (query.has('target')) return byParameters(services, query, 'query', request, reply)
    const body = await readBody(request.raw, reply.raw, { limit: limits.transfer, timeout: limits.documentTimeout })
    if (isForm(request, body)) {
      return byParameters(services, new Parameters(body.toString('utf8')), 'form', request, reply)
    }
    return seeOther(reply, await byDocument(services, request.caller, readTransfer(body)))
  }
  endpoint(app, `${base}/synctrans`, { GET: get, POST: post })
}

/** Documents come with any content type or none; only a form says what it is, or cannot be XML. */
function isForm(request: FastifyRequest, body: Buffer): boolean {
  const type = contentTypeOf(request.raw)?.toLowerCase() ?? ''
  return type.startsWith('application/x-www-form-urlencoded') || /^\s*target=/i.test(body.toString('latin1', 0, 100))
}

/** A job is made in every case, refusals included: the client learns of them from the job (wire.md trap 14). The URL of its transferDetails. */
async function byDocument(services: HttpServices, caller: Caller, transfer: Transfer): Promise<string> {
  const { jobs, publicUrl } = services
  const started = Date.now()
  const id = jobs.newId()
  const negotiation = await negotiated(services, caller, transfer, id)
  const url = `${publicUrl}/${TRANSFERS}/${id}/results/transferDetails`
  const ended = negotiation.error && { ended: Date.now() }
  const draft = { kind: TRANSFERS, transfer }
  jobs.create(caller.user, draft, { id, started, ...ended, ...negotiatedJob(negotiation, url) })
  return url
}

async function negotiated(
  services: HttpServices,
  caller: Caller,
  transfer: Transfer,
  job?: string,
): Promise<Negotiation> {
  const { space, preauth, publicUrl, mounting } = services
  return negotiate(space, caller, transfer, {
    files: `${publicUrl}/files`,
    preauth,
    ...(mounting && { mounts: mounting }),
    ...(job !== undefined && { job }),
  })
}

/**
 * Parameter mode: refusals are answered directly. In a query string the reply is the document, or with REQUEST=redirect (pull) a redirect to
 * the best endpoint, as the standard says; a form gets the redirect always, as the Java client expects (strict: as in a query string).
 */
async function byParameters(
  services: HttpServices,
  parameters: Parameters,
  source: 'query' | 'form',
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const transfer = transferOf(parameters)
  const wish = parameters.get('request')
  if (wish !== undefined && wish.toLowerCase() !== 'redirect') {
    throw new Fault('InvalidArgument', `REQUEST is redirect, not ${wish}`)
  }
  if (wish !== undefined && transfer.direction.toLowerCase() !== 'pullfromvospace') {
    throw new Fault('InvalidArgument', 'REQUEST=redirect goes with pullFromVoSpace only')
  }
  const { details, error } = await negotiated(services, request.caller, transfer)
  if (error !== undefined) throw unsupportedMethod(error, reply)
  if (wish === undefined && (source === 'query' || services.strict))
    return answer(reply, 200, XML, writeTransfer(details))
  const endpointUrl = details.protocols[0]?.endpoint
  if (endpointUrl === undefined) throw new Fault('ProtocolNotSupported', 'no endpoint for that protocol')
  return seeOther(reply, endpointUrl)
}

/** A direction that is not served is 405 here (wire.md 3.3). */
function unsupportedMethod(error: Fault, reply: FastifyReply): Fault {
  if (error.fault !== 'OperationNotSupported') return error
  reply.header('Allow', 'GET, POST')
  return new Fault('MethodNotAllowed', `OperationNotSupported: ${error.detail}`, { cause: error })
}

function transferOf(parameters: Parameters): Transfer {
  const protocols = parameters.all('protocol')
  const [protocol] = protocols
  if (protocol === undefined || protocols.length > 1) throw new Fault('InvalidArgument', 'exactly one PROTOCOL')
  const view = parameters.get('view')
  return {
    version: '2.1',
    targets: [parameters.require('target')],
    direction: parameters.require('direction'),
    protocols: [{ uri: protocol, securityMethods: parameters.all('securitymethod') }],
    ...(view !== undefined && view !== '' && { view: { uri: view } }),
  }
}
