/** The terms of a mount, whichever way they are negotiated: by JSON at /partitions, or by a biDirectional transfer on a container (VOSpace 2.1). */
import { type IssuedToken, type PartitionTokens } from '../identity/partition-token.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { variableOf } from '../vospace/partition.ts'
import { type Protocol, type Transfer } from '../vospace/transfer.ts'
import { type Granted, type PartitionAsked, type Partitions } from './partitions.ts'

/** What is mounted by negotiation, and the credentials for it. */
export interface Mounts {
  readonly partitions: Partitions
  readonly tokens: PartitionTokens
}

const STANDARD = 'ivo://karst.local/std/karst#'
/** The mount API over HTTPS, and a bind mount of what the node has itself. */
export const MOUNT_PROTOCOL = `${STANDARD}fs-1.0`
export const BIND_PROTOCOL = `${STANDARD}bind-1.0`
/** Parameters of such a transfer: `read` or `write`; names of backends, with commas; what is answered, as JSON. */
const ACCESS = `${STANDARD}access`
const BACKENDS = `${STANDARD}backends`
const TERMS = `${STANDARD}terms`

export interface Terms {
  readonly granted: Granted
  readonly document: Readonly<Record<string, unknown>>
}

/** Refuses as Partitions.negotiate does. `url`: of the service, as clients see it. */
export async function mountTerms(mounts: Mounts, caller: Caller, asked: PartitionAsked, url: string): Promise<Terms> {
  const granted = await mounts.partitions.negotiate(caller, asked)
  const { path, access } = granted
  const groups = mounts.partitions.groupsOf(caller)
  const user = { name: caller.user, uid: caller.uid, gid: caller.gid, groups }
  return { granted, document: documentOf(granted, mounts.tokens.issue(caller, { path, access }), user, url) }
}

/** Times are ISO 8601. */
function documentOf(granted: Granted, issued: IssuedToken, user: object, url: string): Terms['document'] {
  const { bind, until, name, uri, mount } = granted
  const at = (time: number): string => new Date(time).toISOString()
  const variable = variableOf(name)
  return {
    ...granted,
    mode: bind === undefined ? 'fuse' : 'bind',
    endpoint: url,
    credential: { type: 'bearer', token: issued.token, expires: at(issued.expires), renew: at(issued.renew) },
    ...(until !== undefined && { until: at(until) }),
    user,
    environment: {
      KARST_URL: url,
      [`KARST_${variable}_PATH`]: mount,
      [`KARST_${variable}_URI`]: uri,
      ...(granted.kind === 'user' && { HOME: mount }),
      ...(granted.kind === 'scratch' && { SCRATCH: mount }),
    },
  }
}

export const isMountTransfer = ({ direction }: Transfer): boolean => direction.trim().toLowerCase() === 'bidirectional'

/**
 * The protocols of a biDirectional transfer: of those asked for, a bind where the node has the file system, and the mount API. OperationNotSupported
 * where nothing is mounted; InvalidArgument for parameters; ProtocolNotSupported; and as Partitions.negotiate.
 */
export async function mountProtocols(
  mounts: Mounts | undefined,
  caller: Caller,
  transfer: Transfer,
  url: string,
): Promise<{ readonly protocols: readonly Protocol[]; readonly uri: string }> {
  if (mounts === undefined) throw new Fault('OperationNotSupported', 'nothing is mounted by negotiation here')
  const [target, ...more] = transfer.targets
  if (target === undefined || more.length > 0) throw new Fault('InvalidArgument', 'a transfer has one target')
  const wanted = transfer.protocols.map(({ uri }) => uri)
  if (!wanted.includes(MOUNT_PROTOCOL) && !wanted.includes(BIND_PROTOCOL))
    throw new Fault('ProtocolNotSupported', `none of the protocols asked for; here it is ${MOUNT_PROTOCOL}`)
  const access = accessIn(transfer)
  const backends = wanted.includes(BIND_PROTOCOL) ? (parameter(transfer, BACKENDS)?.split(',') ?? []) : []
  const asked = { partition: target, bind: backends, ...(access !== undefined && { access }) }
  const { granted, document } = await mountTerms(mounts, caller, asked, url)
  const params = [{ uri: TERMS, value: JSON.stringify(document) }]
  const { bind, path, uri } = granted
  const protocols: Protocol[] = []
  if (bind !== undefined)
    protocols.push({
      uri: BIND_PROTOCOL,
      endpoint: `bind:${bind.backend}/${encodeURI(bind.path)}`,
      securityMethods: [],
      params,
    })
  if (wanted.includes(MOUNT_PROTOCOL)) {
    const endpoint = `${url}/fs/v1?path=${encodeURIComponent(path)}`
    protocols.push({ uri: MOUNT_PROTOCOL, endpoint, securityMethods: [], params })
  }
  if (protocols.length === 0)
    throw new Fault('ProtocolNotSupported', `${path} is on no file system of the node that asks`)
  return { protocols, uri }
}

const parameter = ({ params = [] }: Transfer, uri: string): string | undefined =>
  params.find((one) => one.uri === uri)?.value.trim()

function accessIn(transfer: Transfer): 'read' | 'write' | undefined {
  const value = parameter(transfer, ACCESS)
  if (value === undefined || value === 'read' || value === 'write') return value
  throw new Fault('InvalidArgument', `${ACCESS} is read or write, not ${JSON.stringify(value.slice(0, 100))}`)
}
