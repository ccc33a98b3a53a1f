/** The groups kept here, as other services ask for them (IVOA GMS 1.0): of the caller alone, and of nobody else. */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { writeCapabilities } from '../codec/vosi.ts'
import { GMS_SEARCH } from '../vospace/group.ts'
import { answer, endpoint, TEXT, XML } from './endpoint.ts'
import { type HttpContext } from './services.ts'
import { parametersOf } from './target.ts'
import { signedOn } from './vosi.ts'

/** Seconds that who asked may keep an answer: as long as that, a member who was let out is in there. */
const LASTING = 60

/** `GET /gms/search?group=...`: one name a line, CRLF after each; empty for who is in none. 401 for anonymous callers. */
export function gms(app: FastifyInstance, { services, base }: HttpContext): void {
  const { groups } = services
  if (groups === undefined) return
  const search = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const names = groups.search(request.caller, parametersOf(request.raw).all('group'))
    reply.header('Expires', new Date(Date.now() + LASTING * 1000).toUTCString())
    reply.header('Cache-Control', `private, max-age=${LASTING}`)
    return answer(reply, 200, TEXT, names.map((name) => `${name}\r\n`).join(''))
  }
  // the service that asks may be one that we ask: two that waited for each other would both wait in vain
  endpoint(app, `${base}/gms/search`, { GET: search, HEAD: search }, { localGroups: true })
  const capabilities = async (_request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { publicUrl } = services
    const open = { securityMethods: [] }
    const document = writeCapabilities([
      { ...open, standardId: 'ivo://ivoa.net/std/VOSI#capabilities', url: `${publicUrl}/gms/capabilities` },
      { ...open, standardId: 'ivo://ivoa.net/std/VOSI#availability', url: `${publicUrl}/availability` },
      { standardId: GMS_SEARCH, url: `${publicUrl}/gms/search`, securityMethods: signedOn(services) },
    ])
    return answer(reply, 200, XML, document)
  }
  endpoint(app, `${base}/gms/capabilities`, { GET: capabilities, HEAD: capabilities }, { open: true })
}
