// A strict DER reader (X.690 section 10): one encoding for one value, no trailing bytes, no indefinite lengths.
// Verification depends on it: what is read here is byte for byte what the signature covers.
import { malformed } from './certificate-fault.ts'

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

export interface Tlv {
  readonly tag: number
  /** The content octets. */
  readonly value: Buffer
  /** Tag, length and content: what a signature or a name comparison is made over. */
  readonly raw: Buffer
}

function lengthOctets(bytes: Buffer, at: number): { length: number; header: number } {
  const first = bytes[at + 1] ?? malformed('truncated')
  if (first < 0x80) return { length: first, header: 2 }
  const count = first & 0x7f
  if (count === 0 || count > 4 || at + 2 + count > bytes.length) malformed('length')
  const length = bytes.readUIntBE(at + 2, count)
  if (length < 0x80 || bytes[at + 2] === 0) malformed('length is not minimal')
  return { length, header: 2 + count }
}

/** Where the value that starts at `at` has its content, and where it ends; no copy, for lists of a hundred thousand. */
export function spanAt(bytes: Buffer, at: number): { tag: number; start: number; end: number } {
  const tag = bytes[at] ?? malformed('truncated')
  if ((tag & 0x1f) === 0x1f) malformed('multi-byte tag')
  const { length, header } = lengthOctets(bytes, at)
  const start = at + header
  const end = start + length
  if (end > bytes.length) malformed('truncated')
  return { tag, start, end }
}

/** The value that starts at `at`, whatever comes behind it. */
export function tlvAt(bytes: Buffer, at: number): Tlv {
  const { tag, start, end } = spanAt(bytes, at)
  return { tag, value: bytes.subarray(start, end), raw: bytes.subarray(at, end) }
}

/** Reads one value that fills `bytes` wholly, of the given tag when one is given. */
export function readDer(bytes: Buffer, tag?: number): Tlv {
  const tlv = tlvAt(bytes, 0)
  if (tlv.raw.length !== bytes.length) malformed('trailing bytes')
  if (tag !== undefined) expectTag(tlv, tag)
  return tlv
}

/** The value, when it is there and has that tag. */
export function expectTag(tlv: Tlv | undefined, tag: number): Tlv {
  if (tlv?.tag !== tag) malformed(`tag ${tlv?.tag ?? 'missing'} where ${tag} is due`)
  return tlv
}

/** The values inside a constructed value. */
export function children(tlv: Tlv): Tlv[] {
  const found: Tlv[] = []
  for (let at = 0; at < tlv.value.length;) {
    const child = tlvAt(tlv.value, at)
    found.push(child)
    at += child.raw.length
  }
  return found
}

/** The values inside a SEQUENCE. */
export function sequence(tlv: Tlv | undefined): Tlv[] {
  return children(expectTag(tlv, TAG.sequence))
}

/** An OBJECT IDENTIFIER in dotted form; arcs may be of any size. */
export function readOid(tlv: Tlv | undefined): string {
  const { value } = expectTag(tlv, TAG.oid)
  const last = value.at(-1)
  if (last === undefined || last >= 0x80 || value.length > 64) malformed('object identifier')
  const arcs: bigint[] = []
  let arc = 0n
  let fresh = true
  for (const byte of value) {
    if (fresh && byte === 0x80) malformed('object identifier')
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    fresh = byte < 0x80
    if (!fresh) continue
    if (arcs.length === 0) {
      const root = arc < 40n ? 0n : arc < 80n ? 1n : 2n
      arcs.push(root, arc - 40n * root)
    } else arcs.push(arc)
    arc = 0n
  }
  return arcs.join('.')
}

/** An INTEGER as its minimal two's complement octets (serial numbers are compared, not counted). */
export function readInteger(tlv: Tlv | undefined): Buffer {
  const { value } = expectTag(tlv, TAG.integer)
  const [first, second] = value
  if (first === undefined) malformed('integer')
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
    malformed('integer')
  return value
}

/** A small INTEGER that is not negative, to 2^31 - 1 (path lengths, versions). */
export function readCount(tlv: Tlv | undefined): number {
  const value = readInteger(tlv)
  if (value.length > 4 || (value[0] ?? 0) >= 0x80) malformed('integer out of range')
  return value.readUIntBE(0, value.length)
}

export function readBoolean(tlv: Tlv | undefined): boolean {
  const { value } = expectTag(tlv, TAG.boolean)
  if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff)) malformed('boolean')
  return value[0] === 0xff
}

/** A BIT STRING: its octets and how many bits of the last one are unused (those must be zero). */
export function readBits(tlv: Tlv | undefined): { octets: Buffer; unused: number } {
  const { value } = expectTag(tlv, TAG.bitString)
  const unused = value[0] ?? malformed('bit string')
  const octets = value.subarray(1)
  const last = octets.at(-1) ?? 0
  if (unused > 7 || (unused > 0 && octets.length === 0) || (last & ((1 << unused) - 1)) !== 0) malformed('bit string')
  return { octets, unused }
}

/** A BIT STRING that holds whole octets (a signature, a key). */
export function readBitOctets(tlv: Tlv | undefined): Buffer {
  const { octets, unused } = readBits(tlv)
  if (unused !== 0) malformed('bit string')
  return octets
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** A UTCTime or GeneralizedTime, with seconds and in UTC as RFC 5280 4.1.2.5 demands. */
export function readTime(tlv: Tlv | undefined): Date {
  const pattern = tlv?.tag === TAG.utcTime ? UTC_TIME : tlv?.tag === TAG.generalizedTime ? GENERALIZED_TIME : undefined
  const text = tlv?.value.toString('latin1') ?? ''
  const match = pattern?.exec(text)
  if (!match) malformed('time')
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number)
  const full = tlv?.tag === TAG.utcTime ? year + (year < 50 ? 2000 : 1900) : year
  const date = new Date(0)
  date.setUTCFullYear(full, month - 1, day)
  date.setUTCHours(hour, minute, second)
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(0, 14)
  if (digits !== String(full).padStart(4, '0') + text.slice(-11, -1)) malformed('time')
  return date
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeUtf8(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes)
  } catch {
    // A replacement character would let two different names become one.
    return malformed('name is not UTF-8')
  }
}

function decodeWide(bytes: Buffer, width: 2 | 4): string {
  if (bytes.length % width !== 0) malformed('name')
  let text = ''
  for (let at = 0; at < bytes.length; at += width) {
    const point = bytes.readUIntBE(at, width)
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) malformed('name')
    text += String.fromCodePoint(point)
  }
  return text
}

/** A DirectoryString, whatever its type: UTF8, Printable, IA5, Teletex (read as Latin-1), BMP, Universal, Numeric. */
export function readText(tlv: Tlv | undefined): string {
  switch (tlv?.tag) {
    case TAG.utf8:
      return decodeUtf8(tlv.value)
    case 0x12:
    case TAG.printable:
    case 0x14:
    case TAG.ia5:
    case 0x1a:
      return tlv.value.toString('latin1')
    case 0x1e:
      return decodeWide(tlv.value, 2)
    case 0x1c:
      return decodeWide(tlv.value, 4)
    default:
      return malformed('name')
  }
}
