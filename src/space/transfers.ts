/** Negotiation of transfers: who may, and where the bytes go (VOSpace 2.1 section on transfers; wire.md 4.1 to 4.3). */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { type JobResult, PROTOCOL, SECURITY, VIEW, type Protocol, type Transfer } from '../vospace/transfer.ts'
import { encodePath, localPath, nodeUri } from '../vospace/uri.ts'
import { authorize, groupGrounds } from './authorize.ts'
import { fileDraft, type FileGrant } from './files.ts'
import { isMountTransfer, mountProtocols, type Mounts } from './mount-terms.ts'
import { type Issue, type Preauth } from './preauth.ts'
import { checkRoom } from './quota.ts'
import { isNull, newPath } from './reserved-names.ts'
import { chainOf, present, resolve, type Place } from './resolve.ts'
import { type Space } from './space.ts'

export interface Endpoints {
  /** absolute URL of `/files`, no slash at the end */
  readonly files: string
  readonly preauth: Preauth
  /** absent: nothing is mounted by negotiation */
  readonly mounts?: Mounts
  /** the job that negotiates, told when the bytes have been moved; undefined: there is none (parameter mode) */
  readonly job?: string
}

export interface Negotiation {
  /** What is answered: the transfer as asked, with the endpoints as its protocols; none when it is refused. */
  readonly details: Transfer
  readonly error?: Fault
  /** URI of the data node, links resolved */
  readonly dataNode?: string
  /** URI of the link that was asked for, when it was one */
  readonly linkNode?: string
}

/**
 * What its job shows (wire.md 4.3): EXECUTING, since the bytes are the client's to move, until a pre-authorised URL of it has moved them;
 * a refusal is ERROR with the bare token, which clients
 * compare, and transferDetails without protocols. `url`: of the transferDetails.
 */
export function negotiatedJob({ details, error, dataNode, linkNode }: Negotiation, url: string) {
  const results: JobResult[] = [{ id: 'transferDetails', href: url }]
  if (dataNode !== undefined) results.push({ id: 'dataNode', href: dataNode })
  if (linkNode !== undefined) results.push({ id: 'linkNode', href: linkNode })
  if (error !== undefined) return { phase: 'ERROR', results, details, error: error.fault } as const
  return { phase: 'EXECUTING', results, details } as const
}

type Direction = FileGrant['kind']

/**
 * Push: the node is made, empty, when it is not there. Pull: it must be readable. A refusal is part of the answer and not thrown: InvalidURI,
 * InvalidArgument, OperationNotSupported, ViewNotSupported, ProtocolNotSupported, PermissionDenied, NodeNotFound, ContainerNotFound,
 * UnreadableLinkTarget, QuotaExceeded. Either may begin with a URL of the storage itself, which stays good until its end: a pull whatever becomes of
 * the permission; what a push has brought is looked at before the node gets it.
 */
export async function negotiate(
  space: Space,
  caller: Caller,
  transfer: Transfer,
  endpoints: Endpoints,
): Promise<Negotiation> {
  try {
    if (isMountTransfer(transfer)) return await agreeMount(caller, transfer, endpoints)
    return await agree(space, caller, transfer, endpoints)
  } catch (error) {
    if (!isFault(error)) throw error
    return { details: { ...transfer, protocols: [] }, error }
  }
}

async function agreeMount(caller: Caller, transfer: Transfer, { files, mounts }: Endpoints): Promise<Negotiation> {
  if (transfer.version !== '2.1') throw new Fault('InvalidArgument', 'biDirectional needs a transfer of version 2.1')
  const { protocols } = await mountProtocols(mounts, caller, transfer, files.slice(0, -'/files'.length))
  return { details: { ...transfer, protocols } }
}

// Everything is checked before a push makes its node: a refused transfer leaves nothing.
async function agree(space: Space, caller: Caller, transfer: Transfer, endpoints: Endpoints): Promise<Negotiation> {
  const direction = directionOf(transfer)
  const target = targetOf(space, transfer)
  const asked = direction === 'write' ? newPath(target) : target
  checkView(transfer, direction)
  const protocols = usable(transfer, direction, endpoints)
  const place = await resolve(space, caller, asked, { leaf: 'target', way: 'follow' })
  if (direction === 'read') checkPull(space, caller, place)
  else await preparePush(space, caller, place, expectedLength(transfer))
  const { path, parents, node, link } = place
  const groups = groupGrounds(caller, node === undefined ? parents : [...parents, node], space.rules)
  const bearer = { caller, groups }
  const direct =
    direction === 'write'
      ? await directPush(space, bearer, transfer, place, endpoints)
      : node === undefined
        ? []
        : await directly(space, transfer, node)
  const through = protocols.flatMap((one) => offer(space, bearer, path, direction, one, endpoints))
  return {
    details: { ...transfer, protocols: [...direct, ...through] },
    dataNode: nodeUri(space.service, path),
    ...(link && { linkNode: nodeUri(space.service, link.path) }),
  }
}

// Clients write it in any case (wire.md 4.1).
function directionOf({ direction }: Transfer): Direction {
  switch (direction.trim().toLowerCase()) {
    case 'pushtovospace':
      return 'write'
    case 'pullfromvospace':
      return 'read'
    default:
      throw new Fault('OperationNotSupported', `direction ${direction}`)
  }
}

function targetOf(space: Space, { targets }: Transfer): NodePath {
  const [target, ...more] = targets
  if (target === undefined || more.length > 0) throw new Fault('InvalidArgument', 'a transfer has one target')
  return localPath(space.service, target)
}

const VIEWS: Record<Direction, readonly string[]> = {
  write: [VIEW.any, VIEW.binary, VIEW.default, VIEW.data],
  read: [VIEW.binary, VIEW.default, VIEW.data],
}

function checkView({ view }: Transfer, direction: Direction): void {
  if (view !== undefined && !VIEWS[direction].includes(view.uri)) throw new Fault('ViewNotSupported', view.uri)
}

/** A protocol that can be offered, with the security method it is offered with; undefined: none, so a pre-authorised URL. */
interface Usable {
  readonly uri: string
  readonly method: string | undefined
}

const METHODS: readonly string[] = [SECURITY.certificate, SECURITY.token, SECURITY.legacyToken]

// What is not supported is left out, and only nothing left is a refusal (VOSpace 2.1 section on transfers).
function usable({ protocols }: Transfer, direction: Direction, { files }: Endpoints): Usable[] {
  const scheme = files.startsWith('https:') ? 'https' : 'http'
  const uri = PROTOCOL[`${scheme}${direction === 'read' ? 'get' : 'put'}`]
  const found = protocols.filter((protocol) => protocol.uri === uri).flatMap(withMethod)
  if (found.length === 0) throw new Fault('ProtocolNotSupported', `none of the protocols asked for; here it is ${uri}`)
  return found
}

// Of several methods in one protocol the first one that is supported.
function withMethod({ uri, securityMethods }: Protocol): Usable[] {
  if (securityMethods.length === 0) return [{ uri, method: undefined }]
  const known = securityMethods.find((one) => one === SECURITY.anonymous || METHODS.includes(one))
  if (known === undefined) return []
  return [{ uri, method: known === SECURITY.anonymous ? undefined : known }]
}

/** Whom a URL stands for, and the groups that let them in. */
interface Bearer {
  readonly caller: Caller
  readonly groups: readonly string[]
}

// wire.md 4.2: without a method a pre-authorised URL, and to pull the plain one as well, which serves public nodes.
function offer(
  space: Space,
  bearer: Bearer,
  path: NodePath,
  kind: Direction,
  { uri, method }: Usable,
  { files, preauth, job }: Endpoints,
): Protocol[] {
  const plain = `${files}${encodePath(path)}`
  if (method !== undefined) return [{ uri, endpoint: plain, securityMethods: [method] }]
  const token = preauth.issue(issueOf(space, bearer, path, kind, job))
  const signed = { uri, endpoint: `${files}/preauth:${token}${encodePath(path)}`, securityMethods: [] }
  return kind === 'write' ? [signed] : [signed, { uri, endpoint: plain, securityMethods: [] }]
}

function issueOf(
  { service }: Space,
  { caller, groups }: Bearer,
  path: NodePath,
  kind: Direction,
  job: string | undefined,
): Issue {
  const who = caller.user !== undefined ? { user: caller.user, uid: caller.uid } : { user: undefined }
  return { service, path, kind, groups, ...who, ...(job !== undefined && { job }) }
}

/** The URL of the storage itself, where the site has it so and the client takes URLs that ask for no credential. */
async function directly({ backend }: Space, { protocols }: Transfer, { path, type }: Entry): Promise<Protocol[]> {
  const can = backend.capabilitiesAt?.(path) ?? backend.capabilities
  if (!can.directUrl || type !== 'data') return []
  try {
    return offerDirect(protocols, 'get', await backend.directUrl(path))
  } catch (error) {
    // it has no bytes, or has gone this moment: the gateway's own endpoints say so
    if (isFault(error, 'OperationNotSupported', 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) return []
    throw error
  }
}

/** The same to put to; what comes there becomes the bytes of the node if its user may then (space/pushes.ts). */
async function directPush(
  space: Space,
  bearer: Bearer,
  transfer: Transfer,
  place: Place,
  { preauth, job }: Endpoints,
): Promise<Protocol[]> {
  const { arrivals } = space.backend
  const { path } = place
  // nobody shall be awaited who cannot come
  if (arrivals === undefined || isNull(place) || openly(transfer.protocols, ['httpsput', 'httpput']).length === 0) return []
  const [length, md5] = [expectedLength(transfer), expectedMd5(transfer)]
  const announced = { ...(length !== undefined && { length }), ...(md5 !== undefined && { md5 }) }
  const issue = (seconds: number): string => preauth.issue({ ...issueOf(space, bearer, path, 'write', job), seconds })
  try {
    return offerDirect(transfer.protocols, 'put', await arrivals.expect({ path, ...(job !== undefined && { job }), ...announced }, issue))
  } catch (error) {
    if (isFault(error, 'OperationNotSupported')) return []
    throw error
  }
} // prettier-ignore

function offerDirect(protocols: readonly Protocol[], verb: 'get' | 'put', url: URL): Protocol[] {
  const scheme = url.protocol === 'https:' ? 'https' : 'http'
  const [asked, ...more] = openly(protocols, [`${scheme}${verb}`])
  if (asked === undefined) return []
  const named = [asked, ...more].some(({ securityMethods }) => securityMethods.includes(SECURITY.anonymous))
  return [{ uri: asked.uri, endpoint: url.href, securityMethods: named ? [SECURITY.anonymous] : [] }]
}

/** Of these protocols those that a client takes without a credential. */
function openly(protocols: readonly Protocol[], names: readonly (keyof typeof PROTOCOL)[]): Protocol[] {
  const uris: readonly string[] = names.map((name) => PROTOCOL[name])
  const isOpen = ({ securityMethods }: Protocol): boolean =>
    securityMethods.length === 0 || securityMethods.includes(SECURITY.anonymous)
  return protocols.filter((one) => uris.includes(one.uri) && isOpen(one))
}

function checkPull(space: Space, caller: Caller, place: Place): void {
  if (isNull(place)) return
  const found = present(place)
  checkIsData(place)
  authorize(caller, 'read', chainOf(found), space.rules)
}

async function preparePush(space: Space, caller: Caller, place: Place, length: number | undefined): Promise<void> {
  checkIsData(place)
  const { path, parents, node } = place
  const parent = parents.at(-1)
  if (node === undefined) authorize(caller, 'create', parents, space.rules)
  else authorize(caller, 'write', [...parents, node], space.rules)
  if (isNull(place)) return
  await checkRoom(space, node?.path ?? parent?.path ?? path, (length ?? 0) - (node?.size ?? 0))
  if (node === undefined) await makeEmpty(space, caller, place)
}

function checkIsData({ path, node }: Place): void {
  if (node?.type === 'container') throw new Fault('InvalidArgument', `${path} is a container and has no bytes`)
}

async function makeEmpty(space: Space, caller: Caller, place: Place): Promise<void> {
  try {
    const draft = fileDraft(caller, place, undefined)
    const { id, path } = await space.backend.put(place.path, NOTHING, { draft, ifAbsent: true })
    space.changes.append({ id, path, kind: 'made' })
  } catch (error) {
    // Somebody else negotiated the same push at this moment: who may create here may write there, and the upload is checked again.
    if (!isFault(error, 'DuplicateNode')) throw error
  }
}

const NOTHING: AsyncIterable<Uint8Array> = {
  async *[Symbol.asyncIterator]() {},
}

// one that is none says nothing
function expectedMd5({ params = [] }: Transfer): string | undefined {
  const value = params.find(({ uri }) => uri === PROPERTY.md5)?.value.trim().toLowerCase()
  return value !== undefined && /^[0-9a-f]{32}$/.test(value) ? value : undefined
} // prettier-ignore

// A size that is no number says nothing; the upload itself is checked.
function expectedLength({ params = [] }: Transfer): number | undefined {
  const value = params.find(({ uri }) => uri === PROPERTY.length)?.value.trim()
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined
}
