/**
 * Trusted mounts: the whole tree for every user of a machine. Their kernel decides who may do what, as for a local file system, and the gateway
 * does what root does. So nobody is taken for one who does not say so by the header, show an administrator's own certificate, and stand in
 * `mounts.trusted` of the configuration.
 */
import { type FastifyRequest } from 'fastify'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type HttpServices } from './services.ts'

/** `1` in every request of a trusted mount. */
export const TRUSTED_HEADER = 'karst-trusted'

type Sites = Pick<HttpServices, 'trustedMounts' | 'space'>

/** Makes the caller of a request a trusted one; answers the refusal. Without the header nothing is changed. */
export function admitTrusted(request: FastifyRequest, services: Sites): Fault | undefined {
  const said = request.headers[TRUSTED_HEADER]
  if (said === undefined) return undefined
  const refusal = said === '1' ? trustedRefusal(request.caller, services) : `${TRUSTED_HEADER} is 1`
  if (refusal !== undefined) return refused(refusal)
  request.caller = { ...request.caller, trusted: true }
  return undefined
}

/** Who asked as a trusted caller, as they are now. Throws PermissionDenied when they are none any more. */
export function stillTrusted(caller: Caller, services: Sites): Caller {
  // what was shown counted when the request began
  const refusal = trustedRefusal({ ...caller, method: 'certificate' }, services)
  if (refusal !== undefined) throw refused(refusal)
  return { ...caller, trusted: true }
}

function refused(reason: string): Fault {
  return new Fault('PermissionDenied', `no trusted mount: ${reason}`, { errno: 'EPERM' })
}

function trustedRefusal(caller: Caller, services: Sites): string | undefined {
  const { user, admin, method, limited = false } = caller
  if (user === undefined || !admin) return 'it takes an administrator'
  if (method !== 'certificate' || limited) return 'it takes a certificate, and no limited proxy'
  if (services.trustedMounts?.includes(user) !== true) return `${user} is not in mounts.trusted of the configuration`
  if (services.space.backend.posix === undefined) return 'the storage is no POSIX tree in mode root'
  return undefined
}
