/** The documents of the mount API `/fs/v1` (schemas/fs-v1.md): entries as JSON, extents as a byte stream. Shared by both ends. */
import { Fault } from '../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../vospace/node.ts'
import { nodePath, type NodePath } from '../vospace/path.ts'

/** An entry as one caller sees it. */
export interface SeenEntry extends Entry {
  readonly readable: boolean
  readonly writable: boolean
}

/** The JSON of an entry: what travels. Times are decimal nanoseconds; `text64` stands for `text` when it is not UTF-8. */
export interface EntryJson {
  id: string
  path: string
  type: NodeType
  size: number
  mode: number
  uid: number
  gid: number
  owner: string
  nlink: number
  mtime: string
  ctime: string
  contentVersion: string
  version: string
  access: { isPublic: boolean; groupRead: string[]; groupWrite: string[]; inherit: boolean; locked: boolean }
  readable: boolean
  writable: boolean
  md5?: string
  text?: string
  text64?: string
  atime?: string
  hasAcl?: true
  special?: { format: number; device: number }
}

export function entryToJson(entry: SeenEntry): EntryJson {
  const { owner, isPublic, groupRead, groupWrite, inherit, locked } = entry.access
  return {
    id: entry.id,
    path: entry.path,
    type: entry.type,
    size: entry.size,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    owner,
    nlink: entry.nlink,
    mtime: String(entry.mtime),
    ctime: String(entry.ctime),
    contentVersion: entry.contentVersion,
    version: entry.version,
    access: { isPublic, groupRead: [...groupRead], groupWrite: [...groupWrite], inherit, locked },
    readable: entry.readable,
    writable: entry.writable,
    ...(entry.md5 !== undefined && { md5: entry.md5 }),
    ...(entry.text !== undefined && textToJson(entry.text)),
    ...(entry.atime !== undefined && { atime: String(entry.atime) }),
    ...(entry.hasAcl !== undefined && { hasAcl: entry.hasAcl }),
    ...(entry.special !== undefined && { special: entry.special }),
  }
}

/** JSON.stringify(entryToJson(entry)), put together by hand: listings, and what a mount writes down, are made of little else. */
export function entryText(entry: SeenEntry): string {
  const { access, md5, text, atime, hasAcl, special } = entry
  const { isPublic, groupRead, groupWrite, inherit, locked } = access
  const rest =
    (md5 === undefined ? '' : `,"md5":${quoted(md5)}`) +
    (text === undefined ? '' : `,${JSON.stringify(textToJson(text)).slice(1, -1)}`) +
    (atime === undefined ? '' : `,"atime":"${atime}"`) +
    (hasAcl === undefined ? '' : `,"hasAcl":${hasAcl}`) +
    (special === undefined ? '' : `,"special":${JSON.stringify(special)}`)
  return (
    `{"id":${quoted(entry.id)},"path":${quoted(entry.path)},"type":"${entry.type}","size":${entry.size},"mode":${entry.mode},` +
    `"uid":${entry.uid},"gid":${entry.gid},"owner":${quoted(access.owner)},"nlink":${entry.nlink},` +
    `"mtime":"${entry.mtime}","ctime":"${entry.ctime}",` +
    `"contentVersion":${quoted(entry.contentVersion)},"version":${quoted(entry.version)},` +
    `"access":{"isPublic":${isPublic},"groupRead":${list(groupRead)},"groupWrite":${list(groupWrite)},"inherit":${inherit},"locked":${locked}},` +
    `"readable":${entry.readable},"writable":${entry.writable}${rest}}`
  )
}

const list = (texts: readonly string[]): string => (texts.length === 0 ? '[]' : JSON.stringify(texts))

/** A string as JSON has it: what needs no escapes, as most, is only copied. */
export function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}
/** no quotation mark, backslash or control character; no surrogate, which may be a lone one */
const PLAIN = /^[ !#-[\]-\ud7ff\ue000-\uffff]*$/

/** Throws InvalidData for what is no entry. Properties do not travel with an entry. */
export function entryFromJson(value: unknown): SeenEntry {
  const json = value as EntryJson
  if (!isEntryJson(json)) throw new Fault('InvalidData', `not an entry: ${JSON.stringify(value)?.slice(0, 200)}`)
  const text = textFromJson(json)
  return {
    id: json.id,
    path: nodePath(json.path),
    type: json.type,
    size: json.size,
    mode: json.mode,
    uid: json.uid,
    gid: json.gid,
    nlink: json.nlink,
    mtime: BigInt(json.mtime),
    ctime: BigInt(json.ctime),
    contentVersion: json.contentVersion,
    version: json.version,
    access: accessOf(json),
    properties: NO_PROPERTIES,
    readable: json.readable,
    writable: json.writable,
    ...(json.md5 !== undefined && { md5: json.md5 }),
    ...(text !== undefined && { text }),
    ...(json.atime !== undefined && { atime: BigInt(json.atime) }),
    ...(json.hasAcl === true && { hasAcl: true as const }),
    ...(json.special !== undefined && { special: json.special }),
  }
}

const NO_PROPERTIES: ReadonlyMap<string, string> = new Map()

function accessOf({ owner, access: { isPublic, groupRead, groupWrite, inherit, locked } }: EntryJson): Access {
  return { owner, isPublic, groupRead, groupWrite, inherit, locked }
}

function isEntryJson(json: Partial<EntryJson> | null | undefined): json is EntryJson {
  return (
    json !== null &&
    json !== undefined &&
    typeof json.id === 'string' &&
    typeof json.path === 'string' &&
    (json.type === 'container' || json.type === 'data' || json.type === 'link') &&
    typeof json.owner === 'string' &&
    typeof json.contentVersion === 'string' &&
    typeof json.version === 'string' &&
    isAccess(json.access) &&
    isSpecial(json) &&
    isCount(json.size) &&
    isCount(json.mode) &&
    isCount(json.uid) &&
    isCount(json.gid) &&
    isCount(json.nlink) &&
    isTime(json.mtime) &&
    isTime(json.ctime) &&
    (json.atime === undefined || isTime(json.atime))
  )
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value)
const isTime = (value: unknown): boolean => typeof value === 'string' && /^-?\d{1,19}$/.test(value)

function isSpecial({ special }: Partial<EntryJson>): boolean {
  return special === undefined || [special.format, special.device].every((n) => Number.isSafeInteger(n) && n >= 0)
}

function isAccess(access: Partial<Access> | undefined): boolean {
  return access !== undefined && Array.isArray(access.groupRead) && Array.isArray(access.groupWrite)
}

/** `{text}` when it is UTF-8, else `{text64}`. */
export function textToJson(text: Buffer): { text: string } | { text64: string } {
  const utf8 = text.toString('utf8')
  return Buffer.from(utf8, 'utf8').equals(text) ? { text: utf8 } : { text64: text.toString('base64') }
}

export function textFromJson(json: { text?: string; text64?: string }): Buffer | undefined {
  if (typeof json.text === 'string') return Buffer.from(json.text, 'utf8')
  return typeof json.text64 === 'string' ? Buffer.from(json.text64, 'base64') : undefined
}

/** What a refusal carries. */
export interface FaultJson {
  fault: string
  errno: string
  detail: string
}

/** One extent on the wire: the body of PATCH data. */
export type WireExtent =
  { readonly offset: number; readonly bytes: Uint8Array } | { readonly offset: number; readonly hole: number }

export const EXTENTS_TYPE = 'application/vnd.karst.extents'

const HEAD = 17
const KIND = { end: 0, bytes: 1, hole: 2 } as const
/** Bytes of one piece handed on by `readExtents`. */
const PIECE = 1 << 20

/**
 * Records of kind (1 byte: 1 bytes, 2 hole, 0 end), offset and length (8 bytes each, big-endian), then for kind 1 the bytes.
 * The end record carries the number of records before it in `length`, so that a body cut short is never taken as whole.
 */
export async function* writeExtents(
  extents: AsyncIterable<WireExtent> | Iterable<WireExtent>,
): AsyncGenerator<Uint8Array> {
  let count = 0
  for await (const extent of extents) {
    count++
    if ('bytes' in extent) {
      yield head(KIND.bytes, extent.offset, extent.bytes.length)
      yield extent.bytes
    } else {
      yield head(KIND.hole, extent.offset, extent.hole)
    }
  }
  yield head(KIND.end, 0, count)
}

function head(kind: number, offset: number, length: number): Buffer {
  const record = Buffer.alloc(HEAD)
  record.writeUInt8(kind, 0)
  record.writeBigUInt64BE(BigInt(offset), 1)
  record.writeBigUInt64BE(BigInt(length), 9)
  return record
}

/** Reads what `writeExtents` wrote, in pieces of at most 1 MiB. Throws InvalidData for anything else, a missing end included. */
export async function* readExtents(body: AsyncIterable<Uint8Array>): AsyncGenerator<WireExtent> {
  const source = new ByteSource(body)
  for (let count = 0; ; count++) {
    const record = await source.exactly(HEAD)
    const kind = record.readUInt8(0)
    const offset = safe(record.readBigUInt64BE(1))
    const length = safe(record.readBigUInt64BE(9))
    if (kind === KIND.end) {
      if (length !== count || !(await source.atEnd())) throw new Fault('InvalidData', 'extents: bad end record')
      return
    }
    if (kind === KIND.hole) {
      yield { offset, hole: length }
    } else if (kind === KIND.bytes) {
      for (let done = 0; done < length;) {
        const bytes = await source.some(Math.min(PIECE, length - done))
        yield { offset: offset + done, bytes }
        done += bytes.length
      }
    } else {
      throw new Fault('InvalidData', `extents: unknown record kind ${kind}`)
    }
  }
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER) / 2n) throw new Fault('InvalidData', 'extents: number too large')
  return Number(value)
}

/** Bytes of a body, by count. */
class ByteSource {
  readonly #parts: AsyncIterator<Uint8Array>
  #held: Buffer = Buffer.alloc(0)

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#parts = body[Symbol.asyncIterator]()
  }

  /** 1 to `most` bytes. */
  async some(most: number): Promise<Buffer> {
    while (this.#held.length === 0) if (!(await this.#more())) throw new Fault('InvalidData', 'extents: body cut short')
    const taken = this.#held.subarray(0, most)
    this.#held = this.#held.subarray(taken.length)
    return taken
  }

  async exactly(count: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let have = 0; have < count;) {
      const part = await this.some(count - have)
      parts.push(part)
      have += part.length
    }
    return Buffer.concat(parts)
  }

  async atEnd(): Promise<boolean> {
    while (this.#held.length === 0) if (!(await this.#more())) return true
    return false
  }

  async #more(): Promise<boolean> {
    const next = await this.#parts.next()
    if (next.done === true) return false
    this.#held = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength)
    return true
  }
}

/** `path` of a request. */
export function pathParameter(value: string | undefined): NodePath {
  if (value === undefined) throw new Fault('InvalidArgument', 'path is missing')
  return nodePath(value)
}

/** Octal with a leading 0 (`0644`), or decimal; 12 bits. Throws InvalidArgument. */
export function modeParameter(value: string): number {
  const mode = /^0[0-7]{0,5}$/.test(value) ? parseInt(value, 8) : /^[1-9]\d{0,4}$/.test(value) ? Number(value) : NaN
  if (!(mode >= 0 && mode <= 0o7777)) throw new Fault('InvalidArgument', `not a mode: ${value}`)
  return mode
}

/** Decimal nanoseconds since 1970, within 64 bits. Throws InvalidArgument. */
export function timeParameter(value: string): bigint {
  if (!/^-?\d{1,19}$/.test(value)) throw new Fault('InvalidArgument', `not a time in nanoseconds: ${value}`)
  return BigInt(value)
}
