/** The bytes of data nodes at `/files`: links are followed within the space (wire.md 3.4). */
import { Readable } from 'node:stream'
import { type ByteRange, type DataDraft, type PutOptions } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { createdMode, newAccess } from '../vospace/mode.ts'
import { type Entry } from '../vospace/node.ts'
import { nameOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { authorize, seen } from './authorize.ts'
import { whileBusy } from './busy.ts'
import { checkRoom } from './quota.ts'
import { discard, hasNullName, isNull, isNullEntry, nullEntry } from './reserved-names.ts'
import { chainOf, find, present, resolve, type Found, type Place, type ResolveOptions } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

/**
 * What a pre-authorised URL says: it stands for the credentials of `user`, for one verb on the node at its very path. The caller of what is done
 * with it is that user as they are now: what they may is asked at every use.
 */
export interface FileGrant {
  readonly kind: 'read' | 'write'
  readonly user: string | undefined
  /** of the user it was given to: somebody else may have the name by now */
  readonly uid?: number
  /** the job that has negotiated it */
  readonly job?: string
  /** of other services, which let the user in when it was given out, short enough ago to count still */
  readonly groups?: readonly string[]
}

export interface FileHead {
  readonly entry: SeenEntry
  /** leaf name as requested */
  readonly name: string
}

export interface FileBody extends FileHead {
  readonly body: Readable
}

export interface FileReadOptions {
  readonly grant?: FileGrant
  readonly range?: ByteRange
  readonly ifContentVersion?: string
  readonly signal?: AbortSignal
}

export interface FileWriteOptions {
  /** 32 hex digits */
  readonly md5?: string
  /** bytes of the body */
  readonly length?: number
  /** kept as the property core#type */
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  readonly signal?: AbortSignal
}

/** Leave to write, looked at when it is given and again when the last byte has come. */
export interface WriteTicket {
  /** The node as it stands; undefined: it will be created. */
  readonly existing: SeenEntry | undefined
  put(
    body: AsyncIterable<Uint8Array>,
    options?: FileWriteOptions,
  ): Promise<{ readonly entry: SeenEntry; readonly created: boolean }>
}

interface Granted {
  readonly grant?: FileGrant
}

/**
 * What HEAD answers from. The path must be readable, the node need not be, but for a pre-authorised URL, which must be good still. InvalidArgument: a container, or a link out of the space;
 * NodeNotFound, UnreadableLinkTarget, PermissionDenied.
 */
export async function headFile(space: Space, caller: Caller, path: NodePath, options: Granted = {}): Promise<FileHead> {
  const { grant } = options
  const found = await findFile(space, caller, path, grant)
  // a URL may have come into other hands than its user's: it tells nothing when it is good for nothing
  if (grant !== undefined) authorize(caller, grant.kind === 'read' ? 'read' : 'upload', chainOf(found), space.rules)
  return { entry: seen(caller, chainOf(found), space.rules), name: nameOf(path) }
}

/** Refuses as headFile does; besides PermissionDenied when the node is not readable, RangeNotSatisfiable, PreconditionFailed. */
export async function readFile(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: FileReadOptions = {},
): Promise<FileBody> {
  const { grant, ...reading } = options
  if (grant !== undefined && grant.kind !== 'read') throw wrongGrant(grant)
  const found = await findFile(space, caller, path, grant)
  authorize(caller, 'read', chainOf(found), space.rules)
  if (isNullEntry(found.node))
    return { entry: seen(caller, chainOf(found), space.rules), name: nameOf(path), body: Readable.from([]) }
  const { entry, body } = await space.backend.read({ path: found.path, id: found.node.id }, reading)
  return { entry: seen(caller, [...found.parents, entry], space.rules), name: nameOf(path), body }
}

/** Whether the bytes may be read by who asks now: refuses as readFile does. */
export async function checkReadable(
  space: Space,
  caller: Caller,
  path: NodePath,
  { grant }: Granted = {},
): Promise<void> {
  authorize(caller, 'read', chainOf(await findFile(space, caller, path, grant)), space.rules)
}

/**
 * Everything that can be known before the first byte is checked before it: permission (on the node or its container; to create, on the
 * container), locks, type, room for `length` bytes. Then `put` takes the bytes; an existing node keeps its properties and sharing.
 * PermissionDenied, ContainerNotFound, InvalidArgument (EISDIR: a container), QuotaExceeded, UnreadableLinkTarget.
 */
export async function openWrite(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: Granted & { readonly length?: number } = {},
): Promise<WriteTicket> {
  const { grant } = options
  if (grant !== undefined && grant.kind !== 'write') throw wrongGrant(grant)
  const look = (): Promise<Place> => writable(space, caller, path, grant)
  const place = await look()
  await checkRoomFor(space, place, options.length)
  return {
    existing: place.node && seen(caller, [...place.parents, place.node], space.rules),
    put: (body, given = {}) => put(space, caller, place, look, body, given),
  }
}

/** As openWrite looks, of bytes that are there already: how the node is put that they become. */
export async function uploadTerms(
  space: Space,
  caller: Caller,
  path: NodePath,
  { grant, length, contentType }: { readonly grant: FileGrant; readonly length: number; readonly contentType?: string },
): Promise<PutOptions> {
  const place = await writable(space, caller, path, grant)
  await checkRoomFor(space, place, length)
  const changes = contentType !== undefined && { changes: { properties: new Map([[PROPERTY.type, contentType]]) } }
  return { draft: fileDraft(caller, place, undefined), ...changes }
}

const wrongGrant = (grant: FileGrant): Fault => new Fault('PermissionDenied', `the URL is good to ${grant.kind} only`)

// A grant is for the node at that very path: were links followed, who may write there could lead the holder of a grant anywhere.
function lookup(grant: FileGrant | undefined): ResolveOptions {
  if (grant === undefined) return { leaf: 'target', way: 'follow' }
  return { leaf: 'itself', way: 'refuse' }
}

async function findFile(space: Space, caller: Caller, path: NodePath, grant: FileGrant | undefined): Promise<Found> {
  const found = hasNullName(path)
    ? await findNull(space, caller, path, grant)
    : await find(space, caller, path, lookup(grant))
  checkIsData(found.node)
  return found
}

async function findNull(space: Space, caller: Caller, path: NodePath, grant: FileGrant | undefined): Promise<Found> {
  const place = await resolve(space, caller, path, lookup(grant))
  return isNull(place) ? { ...place, node: nullEntry(place) } : present(place)
}

function checkIsData(node: Entry): void {
  if (node.type === 'link') throw new Fault('LinkFound', `${node.path} is a link now`)
  if (node.type === 'container') {
    throw new Fault('InvalidArgument', `${node.path} is a container and has no bytes`, { errno: 'EISDIR' })
  }
}

async function writable(space: Space, writer: Caller, path: NodePath, grant: FileGrant | undefined): Promise<Place> {
  const place = await resolve(space, writer, path, lookup(grant))
  const { parents, node } = place
  const chain = node === undefined ? parents : [...parents, node]
  authorize(writer, node === undefined ? 'create' : 'upload', chain, space.rules)
  if (writer.user === undefined) throw new Fault('PermissionDenied', 'anonymous callers never write')
  if (node !== undefined) checkIsData(node)
  return place
}

async function checkRoomFor(space: Space, place: Place, length: number | undefined): Promise<void> {
  const standing = place.node ?? place.parents.at(-1)
  if (length === undefined || standing === undefined || isNull(place)) return
  await checkRoom(space, standing.path, length - (place.node?.size ?? 0))
}

async function put(
  space: Space,
  writer: Caller,
  place: Place,
  look: () => Promise<Place>,
  body: AsyncIterable<Uint8Array>,
  given: FileWriteOptions,
) {
  const { contentType, contentEncoding, ...options } = given
  if (isNull(place)) {
    const entry = { ...nullEntry(place), md5: await discard(body, given) }
    return { entry: seen(writer, [...place.parents, entry], space.rules), created: false }
  }
  checkConditions(place, given)
  await checkRoomFor(space, place, given.length)
  const properties = new Map<string, string>()
  if (contentType !== undefined) properties.set(PROPERTY.type, contentType)
  if (contentEncoding !== undefined) properties.set(PROPERTY.encoding, contentEncoding)
  let last = place
  const watched = lookingAgain(body, async () => {
    last = await look()
    if (last.path === place.path) return
    throw new Fault('PreconditionFailed', `${place.path} was moved during the upload`)
  })
  const draft = fileDraft(writer, place, undefined)
  const changes = properties.size > 0 && { changes: { properties } }
  const entry = await whileBusy(space, place.path, () =>
    space.backend.put(place.path, watched, { ...options, draft, ...changes }),
  )
  const created = last.node === undefined
  space.changes.append({ id: entry.id, path: entry.path, kind: created ? 'made' : 'bytes' })
  return { entry: seen(writer, [...last.parents, entry], space.rules), created }
}

/** DuplicateNode and PreconditionFailed, where they are plain before the body comes; the storage checks again. */
export function checkConditions(
  { path, node }: Place,
  options: { readonly ifAbsent?: boolean; readonly ifContentVersion?: string },
): void {
  if (options.ifAbsent === true && node !== undefined) throw new Fault('DuplicateNode', path)
  if (options.ifContentVersion !== undefined && node?.contentVersion !== options.ifContentVersion) {
    throw new Fault('PreconditionFailed', `${path} has other content than expected`)
  }
}

/**
 * An upload takes its time, and what stood at the path may have been replaced, locked or taken away from the writer meanwhile: so
 * before the storage takes the last of the body as the end, permission is looked at once more.
 */
export async function* lookingAgain<T>(body: AsyncIterable<T>, look: () => Promise<unknown>): AsyncGenerator<T> {
  yield* body
  await look()
}

/** Attributes of a data node in case it does not exist yet: sharing from its container (inherit) or none. */
export function fileDraft(writer: Caller, { parents }: Place, mode: number | undefined): DataDraft {
  const parent = parents.at(-1)
  if (writer.user === undefined || parent === undefined) throw new Fault('PermissionDenied', 'nobody to own the node')
  const access = newAccess('data', {}, parent.access, writer.user)
  return { access, mode: createdMode('data', mode, access) }
}
