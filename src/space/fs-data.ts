/** The bytes of files for a mount: read, put whole, amend (schemas/fs-v1.md). */
import { type Readable } from 'node:stream'
import { type ByteRange, type Extent, type Ref, SMALL } from '../backend/backend.ts'
import { type Attempt } from '../store/operations.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { authorize, seen } from './authorize.ts'
import { whileBusy } from './busy.ts'
import { checkConditions, fileDraft, lookingAgain } from './files.ts'
import { checkHasBytes, locate, placeOf } from './fs-place.ts'
import { isOurs, isWritten } from './once.ts'
import { checkRoom } from './quota.ts'
import { chainOf, type Found, type Place } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

export interface PutDataOptions {
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  /** 12 bits, for a node that is created */
  readonly mode?: number
  /** nanoseconds */
  readonly mtime?: bigint
  /** 32 hex digits */
  readonly md5?: string
  /** bytes of the body */
  readonly length?: number
  /** false: of an empty file, which a power cut may take again */
  readonly durable?: boolean
  readonly signal?: AbortSignal
  readonly attempt?: Attempt
}

export interface AmendDataOptions {
  /** final length in bytes */
  readonly length: number
  /** bytes of the body, to see whether they fit */
  readonly bytes?: number
  readonly ifContentVersion?: string
  /** nanoseconds */
  readonly mtime?: bigint
  readonly signal?: AbortSignal
  readonly attempt?: Attempt
}

export interface PutResult {
  readonly entry: SeenEntry
  readonly created: boolean
}

/** Leave to write, given before the first byte, looked at again when the last has come. */
export interface PutTicket {
  put(body: AsyncIterable<Uint8Array>): Promise<PutResult>
}
export interface AmendTicket {
  amend(extents: AsyncIterable<Extent>): Promise<SeenEntry>
}

/** NodeNotFound (ENOENT, ESTALE), TypeNotSupported (EISDIR), LinkFound, PermissionDenied (EACCES), RangeNotSatisfiable, PreconditionFailed. */
export async function readData(
  space: Space,
  caller: Caller,
  ref: Ref,
  options: { readonly range?: ByteRange; readonly ifContentVersion?: string; readonly signal?: AbortSignal } = {},
): Promise<{ readonly entry: SeenEntry; readonly body: Readable }> {
  const found = await locate(space, caller, ref)
  checkHasBytes(found.node)
  authorize(caller, 'read', chainOf(found), space.rules)
  const { entry, body } = await space.backend.read({ path: found.path, id: found.node.id }, options)
  return { entry: seen(caller, [...found.parents, entry], space.rules), body }
}

/** Whether the bytes may be read, or written, by who asks now: refuses as readData and amendData do. */
export async function checkData(space: Space, caller: Caller, ref: Ref, verb: 'read' | 'write'): Promise<void> {
  authorize(caller, verb, chainOf(await locate(space, caller, ref)), space.rules)
}

/**
 * Leave to create or replace a file. Checked now, or of a small body when it is here: DuplicateNode (EEXIST), TypeNotSupported (EISDIR), PermissionDenied (EACCES; EPERM: locked),
 * PreconditionFailed (ESTALE), QuotaExceeded. A created node takes its sharing from its container, whatever the mode says.
 */
export async function openPut(
  space: Space,
  caller: Caller,
  ref: Ref,
  options: PutDataOptions = {},
): Promise<PutTicket> {
  // what is durable when it is answered is written down durably before it is seen; meanwhile all else is done
  const after = options.durable === false ? undefined : options.attempt?.durable()
  after?.catch(() => undefined) // thrown where it is awaited
  const done = await writtenBefore(space, caller, ref, options)
  if (done !== undefined) return { put: async (body) => (await drain(body), { entry: done, created: false }) }
  const look = (): Promise<Place> => putPlace(space, caller, ref, options)
  const asked = { space, caller, ref, options: { ...options, after } }
  if (options.length !== undefined && options.length <= SMALL) {
    return { put: (body) => putSmall(asked, look, body) }
  }
  const place = await look()
  checkConditions(place, options)
  await checkRoom(space, (place.node ?? place.parents.at(-1))?.path ?? ref.path, growth(place, options.length))
  return { put: (body) => putLarge(asked, place, look, body) }
}

/** `openPut` and its `put`. */
export async function putData(
  space: Space,
  caller: Caller,
  ref: Ref,
  body: AsyncIterable<Uint8Array>,
  options: PutDataOptions = {},
): Promise<PutResult> {
  return (await openPut(space, caller, ref, options)).put(body)
}

const growth = ({ node }: Place, length: number | undefined): number => (length ?? 0) - (node?.size ?? 0)

async function putPlace(space: Space, caller: Caller, ref: Ref, { ifAbsent }: PutDataOptions): Promise<Place> {
  const place = ref.id === undefined ? await placeOf(space, caller, ref.path) : await locate(space, caller, ref)
  const { parents, node } = place
  if (node === undefined) {
    authorize(caller, 'create', parents, space.rules)
    return place
  }
  if (ifAbsent === true) throw new Fault('DuplicateNode', place.path)
  checkHasBytes(node)
  authorize(caller, 'write', [...parents, node], space.rules)
  return place
}

/** What is asked, and what has to be durable before anything of it is seen. */
interface Asked {
  readonly space: Space
  readonly caller: Caller
  readonly ref: Ref
  readonly options: PutDataOptions & { readonly after: Promise<void> | undefined }
}

async function putLarge(
  asked: Asked,
  place: Place,
  look: () => Promise<Place>,
  body: AsyncIterable<Uint8Array>,
): Promise<PutResult> {
  let last = place
  const watched = lookingAgain(body, async () => (last = await look()))
  return put(asked, place, watched, () => last)
}

/** Room is for the storage to refuse: nothing has come in vain. */
async function putSmall(asked: Asked, look: () => Promise<Place>, body: AsyncIterable<Uint8Array>): Promise<PutResult> {
  const parts = await taken(body, asked.options.length)
  const place = await look()
  checkConditions(place, asked.options)
  return put(asked, place, bodyOf(parts), () => place)
}

/** All of a body. PreconditionFailed when it is longer than announced, TransferFailed when it breaks off. */
async function taken(body: AsyncIterable<Uint8Array>, length = 0): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for await (const part of body) {
      if ((size += part.length) > length) throw new Fault('PreconditionFailed', 'longer than announced')
      parts.push(part)
    }
  } catch (error) {
    throw isFault(error) ? error : new Fault('TransferFailed', 'the body broke off', { cause: error })
  }
  return parts
}

async function* bodyOf(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts
}

async function put(
  { space, caller, ref, options: given }: Asked,
  place: Place,
  body: AsyncIterable<Uint8Array>,
  last: () => Place,
): Promise<PutResult> {
  const { mode, attempt: _attempt, ...options } = given
  const draft = fileDraft(caller, place, mode)
  const tied = ref.id !== undefined && { id: ref.id }
  const entry = await whileBusy(space, place.path, () =>
    space.backend.put(place.path, body, { ...options, draft, ...tied }),
  )
  const created = last().node === undefined
  space.changes.append({ id: entry.id, path: entry.path, kind: created ? 'made' : 'bytes' })
  return { entry: seen(caller, [...last().parents, entry], space.rules), created }
}

// A repetition of a put that is tied to what was there before finds its own work in the way.
async function writtenBefore(
  space: Space,
  caller: Caller,
  ref: Ref,
  options: PutDataOptions | AmendDataOptions,
): Promise<SeenEntry | undefined> {
  const { attempt, ifContentVersion } = options
  const ifAbsent = 'ifAbsent' in options && options.ifAbsent === true
  if (attempt?.repeated !== true || (!ifAbsent && ifContentVersion === undefined)) return undefined
  const place = ref.id === undefined ? await placeOf(space, caller, ref.path) : await locate(space, caller, ref)
  const { node } = place
  if (node?.type !== 'data' || !isWritten(attempt, node, options)) return undefined
  if (ifAbsent ? !isOurs(attempt, caller, node) : node.contentVersion === ifContentVersion) return undefined
  authorize(caller, 'write', [...place.parents, node], space.rules)
  return seen(caller, [...place.parents, node], space.rules)
}

// Read to its end, or the client would see its connection cut instead of an answer.
async function drain(body: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of body);
}

/** Leave to change a file in place. Refuses as openPut does; NodeNotFound when there is none. */
export async function openAmend(
  space: Space,
  caller: Caller,
  ref: Ref,
  options: AmendDataOptions,
): Promise<AmendTicket> {
  if (!Number.isSafeInteger(options.length) || options.length < 0) {
    throw new Fault('InvalidArgument', `not a length: ${options.length}`)
  }
  const intent = options.attempt?.durable()
  intent?.catch(() => undefined) // as in openPut
  const done = await writtenBefore(space, caller, ref, options)
  if (done !== undefined) return { amend: async (extents) => (await drain(extents), done) }
  const look = (): Promise<Found> => amendPlace(space, caller, ref)
  const found = await look()
  checkConditions(found, options)
  await checkRoom(space, found.path, Math.min(options.bytes ?? 0, growth(found, options.length)))
  const looked = async (): Promise<Found> => (await intent, look())
  return { amend: (extents) => amend(space, caller, found, looked, options, extents) }
}

/** `openAmend` and its `amend`. */
export async function amendData(
  space: Space,
  caller: Caller,
  ref: Ref,
  extents: AsyncIterable<Extent>,
  options: AmendDataOptions,
): Promise<SeenEntry> {
  return (await openAmend(space, caller, ref, options)).amend(extents)
}

async function amendPlace(space: Space, caller: Caller, ref: Ref): Promise<Found> {
  const found = await locate(space, caller, ref)
  checkHasBytes(found.node)
  authorize(caller, 'write', chainOf(found), space.rules)
  return found
}

async function amend(
  space: Space,
  caller: Caller,
  found: Found,
  look: () => Promise<Found>,
  given: AmendDataOptions,
  extents: AsyncIterable<Extent>,
): Promise<SeenEntry> {
  const { attempt: _attempt, bytes: _bytes, ...options } = given
  const watched = lookingAgain(extents, look)
  const entry: Entry = await whileBusy(space, found.path, () =>
    space.backend.amend({ path: found.path, id: found.node.id }, watched, options),
  )
  space.changes.append({ id: entry.id, path: entry.path, kind: 'bytes' })
  return seen(caller, [...found.parents, entry], space.rules)
}
