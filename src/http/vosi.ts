/** What VOSI asks of every service: what it can do and whether it is up (VOSI 1.1; wire.md 6.1). */
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Capability, writeAvailability, writeCapabilities } from '../codec/vosi.ts'
import { GMS_SEARCH } from '../vospace/group.ts'
import { POSIX_GROUPS, POSIX_USERS } from '../identity/posix-mapping.ts'
import { SECURITY } from '../vospace/transfer.ts'
import { challenges } from './challenge.ts'
import { CREDENTIALS } from './credentials.ts'
import { DELEGATIONS } from './delegation.ts'
import { answer, endpoint, XML } from './endpoint.ts'
import { type HttpContext, type HttpServices } from './services.ts'
import { parametersOf } from './target.ts'

/** The mount API, schemas/fs-v1.md. */
export const FS_V1 = 'ivo://karst.local/std/karst#fs-1.0'
/** The trash, trash.ts. */
const TRASH = 'ivo://karst.local/std/karst#trash-1.0'

/** Groups, groups.ts. */
const GROUPS = 'ivo://karst.local/std/karst#groups-1.0'

type Endpoint = readonly [standardId: string, path: string, use: 'full' | 'base']

/** VOSI itself: anonymous only, since clients read these before they know how to authenticate. */
const OPEN: readonly Endpoint[] = [
  ['ivo://ivoa.net/std/VOSI#capabilities', '/capabilities', 'full'],
  ['ivo://ivoa.net/std/VOSI#availability', '/availability', 'full'],
]

const SERVED: readonly Endpoint[] = [
  ['ivo://ivoa.net/std/VOSpace/v2.0#nodes', '/nodes', 'base'],
  ['ivo://ivoa.net/std/VOSpace/v2.0#transfers', '/transfers', 'full'],
  ['ivo://ivoa.net/std/VOSpace#sync-2.1', '/synctrans', 'full'],
  ['ivo://ivoa.net/std/VOSpace/v2.0#sync', '/synctrans', 'full'],
  ['ivo://ivoa.net/std/VOSpace#files-proto', '/files', 'base'],
  ['ivo://ivoa.net/std/VOSpace/v2.0#views', '/views', 'full'],
  ['ivo://ivoa.net/std/VOSpace/v2.0#protocols', '/protocols', 'full'],
  ['ivo://ivoa.net/std/VOSpace/v2.0#properties', '/properties', 'full'],
  [FS_V1, '/fs/v1', 'base'],
]

/** Nothing in them is for anonymous callers (wire.md 6.1). */
const NAMED: readonly Endpoint[] = [
  ['ivo://ivoa.net/std/VOSpace#recursive-delete-proto', '/async-delete', 'full'],
  ['ivo://ivoa.net/std/VOSpace#recursive-nodeprops-proto', '/async-setprops', 'full'],
  [TRASH, '/trash', 'base'],
]

const KEPT_GROUPS: readonly Endpoint[] = [
  [GROUPS, '/groups', 'base'],
  [GMS_SEARCH, '/gms/search', 'full'],
]

/** What may be mounted, partitions.ts. */
const PARTITIONS: Endpoint = ['ivo://karst.local/std/karst#partitions-1.0', '/partitions', 'base']

const NUMBERS: readonly Endpoint[] = [
  [POSIX_USERS, '/posix/uid', 'full'],
  [POSIX_GROUPS, '/posix/gid', 'full'],
]

const DELEGATION: Endpoint = [DELEGATIONS, '/delegations', 'base']
const CREDENTIAL: Endpoint = [CREDENTIALS, '/cred/generate', 'base']

export function vosi(app: FastifyInstance, { services, base }: HttpContext): void {
  const capabilities = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    if (request.caller.user === undefined) reply.header('WWW-Authenticate', challenges(services))
    return answer(reply, 200, XML, capabilitiesOf(services))
  }
  endpoint(app, `${base}/capabilities`, { GET: capabilities, HEAD: capabilities })
  endpoint(
    app,
    `${base}/availability`,
    {
      GET: async (request, reply) => {
        const { available, upSince, notes } = await services.health.check()
        if (parametersOf(request.raw).get('detail') === 'min') return reply.code(available ? 200 : 503).send()
        return answer(reply, 200, XML, writeAvailability({ available, upSince, notes, clientIp: request.ip }))
      },
    },
    { open: true },
  )
}

/** How who is somebody says so here. */
export const signedOn = ({ signOn }: HttpServices): string[] => [
  SECURITY.certificate,
  ...(signOn?.tokens === true ? [SECURITY.token] : []),
]

function capabilitiesOf(services: HttpServices): string {
  const { publicUrl, delegations, credentials, groups, mapping, mounting } = services
  const methods = signedOn(services)
  const capability =
    (securityMethods: Capability['securityMethods']) =>
    ([standardId, path, use]: Endpoint): Capability => ({ standardId, url: publicUrl + path, use, securityMethods })
  return writeCapabilities([
    ...OPEN.map(capability([])),
    ...SERVED.map(capability([null, ...methods])),
    ...NAMED.map(capability(methods)),
    ...(groups === undefined ? [] : KEPT_GROUPS).map(capability(methods)),
    ...(mapping === undefined ? [] : NUMBERS).map(capability(methods)),
    ...(mounting === undefined ? [] : [PARTITIONS]).map(capability(methods)),
    // a credential is delegated by who shows it
    ...(delegations === undefined ? [] : [DELEGATION]).map(capability([SECURITY.certificate])),
    // certificates are for administrators who ask for others
    ...(credentials === undefined ? [] : [CREDENTIAL]).map(capability(methods)),
  ])
}
