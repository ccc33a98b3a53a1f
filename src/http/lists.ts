/** What the service knows of protocols, views and properties (VOSpace 2.1 section on service metadata; wire.md 3.8). */
import { type FastifyInstance } from 'fastify'
import { writeProperties, writeProtocols, writeViews } from '../codec/lists.ts'
import { KNOWN_PROPERTIES, PROPERTY, READ_ONLY } from '../vospace/property.ts'
import { PROTOCOL, VIEW } from '../vospace/transfer.ts'
import { answer, endpoint, XML } from './endpoint.ts'
import { type HttpContext } from './services.ts'

/** What each node or file has; of the others nobody knows without looking at all of them. */
const EVERYWHERE: readonly string[] = [
  PROPERTY.contentDate,
  PROPERTY.creator,
  PROPERTY.date,
  PROPERTY.inherit,
  PROPERTY.isPublic,
  PROPERTY.length,
  PROPERTY.md5,
]

export function lists(app: FastifyInstance, { base }: HttpContext): void {
  const documents = {
    // the service fetches nothing and sends nothing by itself
    protocols: writeProtocols({ accepts: [], provides: [PROTOCOL.httpsget, PROTOCOL.httpsput] }),
    views: writeViews({
      accepts: [VIEW.any, VIEW.binary, VIEW.default, VIEW.data],
      provides: [VIEW.default, VIEW.binary, VIEW.data],
    }),
    properties: writeProperties({
      accepts: KNOWN_PROPERTIES.filter((uri) => !READ_ONLY.has(uri)),
      provides: KNOWN_PROPERTIES,
      contains: EVERYWHERE,
    }),
  }
  for (const [name, xml] of Object.entries(documents)) {
    endpoint(app, `${base}/${name}`, { GET: async (_request, reply) => answer(reply, 200, XML, xml) })
  }
}
