/** What the service knows of protocols, views and properties (VOSpace 2.1 section on service metadata; wire.md 3.8). */
import { type FastifyInstance } from 'fastify'
import { writeProperties, writeProtocols, writeViews } from '../codec/lists.ts'
import { KNOWN_PROPERTIES, READ_ONLY } from '../vospace/property.ts'
import { PROTOCOL, VIEW } from '../vospace/transfer.ts'
import { answer, endpoint, XML } from './endpoint.ts'
import { type HttpContext } from './services.ts'

export function lists(app: FastifyInstance, { base }: HttpContext): void {
  const documents = {
    // the service fetches nothing and sends nothing by itself yet
    protocols: writeProtocols({ accepts: [], provides: [PROTOCOL.httpsget, PROTOCOL.httpsput] }),
    views: writeViews({ accepts: [VIEW.any, VIEW.binary], provides: [VIEW.default, VIEW.binary] }),
    properties: writeProperties({
      accepts: KNOWN_PROPERTIES.filter((uri) => !READ_ONLY.has(uri)),
      provides: KNOWN_PROPERTIES,
      contains: [],
    }),
  }
  for (const [name, xml] of Object.entries(documents)) {
    endpoint(app, `${base}/${name}`, { GET: async (_request, reply) => answer(reply, 200, XML, xml) })
  }
}
