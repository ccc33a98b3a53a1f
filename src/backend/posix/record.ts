/**
 * The record: what we keep of a node beside what the file system keeps, in one extended attribute: as JSON, or where it is of an ordinary file,
 * as most are, packed so that it has room in an inode of 256 bytes. What has not, ext4 keeps in a block of 4 KiB for each file. Pure.
 */
import { type Stat } from '../../libc/statx.ts'

/** Every part is optional, so that a node without a record is an ordinary thing. */
export interface NodeRecord {
  /** The inode this was written for; on another one (a copy, a restored backup) id, bytes' names and sidecar do not hold. */
  readonly self?: string
  /** when not derived from the inode: kept over replaced bytes */
  readonly id?: string
  /** contentVersion and md5 hold while size and mtime (nanoseconds) are these */
  readonly cv?: string
  readonly md5?: string
  readonly size?: number
  readonly mtime?: string
  readonly locked?: boolean
  /** links: isPublic. Unprivileged containers: inherit */
  readonly isPublic?: boolean
  readonly inherit?: boolean
  /** groups without a number; unprivileged: all */
  readonly groupRead?: readonly string[]
  readonly groupWrite?: readonly string[]
  /** groups that an ACL entry says may write, and that are listed as readers too */
  readonly also?: readonly string[]
  /** unprivileged: who owns it, and the base mode where the real one had to differ (it was `real` then) */
  readonly owner?: string
  readonly gid?: number
  readonly mode?: number
  readonly real?: number
  /** there is a sidecar */
  readonly side?: boolean
}

const SHAPE: Record<keyof NodeRecord, (value: unknown) => boolean> = {
  self: isToken,
  id: isToken,
  cv: isToken,
  md5: (value) => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value),
  size: Number.isSafeInteger,
  mtime: (value) => typeof value === 'string' && /^-?\d{1,20}$/.test(value),
  locked: isBoolean,
  isPublic: isBoolean,
  inherit: isBoolean,
  groupRead: isStrings,
  groupWrite: isStrings,
  also: isStrings,
  owner: (value) => typeof value === 'string',
  gid: isMode,
  mode: isMode,
  real: isMode,
  side: isBoolean,
}

/** Anything can stand in an attribute (unprivileged, anyone with the file writes it): what is not of the shape is left out. */
export function parseRecord(bytes: Buffer | undefined): NodeRecord {
  if (bytes === undefined) return {}
  return unpacked(bytes) ?? checkedRecord(parsed(bytes))
}

/** Names of the bytes of a node, and of what they hold. */
type Names = Pick<NodeRecord, 'size' | 'mtime' | 'cv' | 'md5'>

/**
 * The record of the inode `self` whose bytes have these names. Names of other bytes go, and where the record came with a copy from another inode,
 * what holds of that alone.
 */
export function renamed(record: NodeRecord, self: string, names: Names): NodeRecord {
  const gone = ['self', 'id', 'size', 'mtime', 'cv', 'md5', ...(record.self === self ? [] : ['side'])]
  const others = Object.entries(record).filter(([name]) => !gone.includes(name))
  const id = record.self === self ? record.id : undefined
  return { self, ...(id !== undefined && { id }), ...names, ...Object.fromEntries(others) }
}

/** As it is written down. */
export function recordBytes(record: NodeRecord): Buffer {
  return packed(record) ?? Buffer.from(JSON.stringify(record))
}

/** First byte of a packed record; JSON begins with a brace. */
const PACKED = 1
/** After it: number and birth of the inode, size (6 bytes), mtime, contentVersion (12), md5 (16). Of ext4's inode 60 bytes are left. */
const PACKED_BYTES = 59
const [INO, BIRTH, SIZE, MTIME, VERSION, MD5] = [1, 9, 17, 23, 31, 43]
const MOST_BYTES = 2 ** 48
/** 12 bytes as newVersion (put.ts) names them: 16 characters, each of whose bits counts. */
const NEW_VERSION = /^[A-Za-z0-9_-]{16}$/
const SELF = /^(0|[1-9a-z][0-9a-z]{0,12})-(0|[1-9a-z][0-9a-z]{0,12})$/

/** undefined: more, or other, than there is room for. */
function packed(record: NodeRecord): Buffer | undefined {
  const { self, size, mtime, cv, md5, ...more } = record
  if (self === undefined || size === undefined || mtime === undefined || cv === undefined || md5 === undefined)
    return undefined
  if (!SHAPE.md5(md5) || !SHAPE.mtime(mtime)) return undefined
  if (Object.keys(more).length > 0 || size < 0 || size >= MOST_BYTES || !NEW_VERSION.test(cv)) return undefined
  const [, ino = '', birth = ''] = SELF.exec(self) ?? []
  const numbers = [parse36(ino), parse36(birth), BigInt(mtime)] as const
  if (ino === '' || numbers.some((number) => BigInt.asIntN(64, number) !== number)) return undefined
  const bytes = Buffer.alloc(PACKED_BYTES, PACKED)
  bytes.writeBigInt64BE(numbers[0], INO)
  bytes.writeBigInt64BE(numbers[1], BIRTH)
  bytes.writeUIntBE(size, SIZE, 6)
  bytes.writeBigInt64BE(numbers[2], MTIME)
  bytes.write(cv, VERSION, 'base64url')
  bytes.write(md5, MD5, 'hex')
  return bytes
}

function unpacked(bytes: Buffer): NodeRecord | undefined {
  if (bytes[0] !== PACKED || bytes.length !== PACKED_BYTES) return undefined
  return {
    self: selfOf({ ino: bytes.readBigInt64BE(INO), birthtimeNs: bytes.readBigInt64BE(BIRTH) }),
    size: bytes.readUIntBE(SIZE, 6),
    mtime: String(bytes.readBigInt64BE(MTIME)),
    cv: bytes.toString('base64url', VERSION, MD5),
    md5: bytes.toString('hex', MD5),
  }
}

function parse36(text: string): bigint {
  let number = 0n
  for (const digit of text) number = number * 36n + BigInt(parseInt(digit, 36))
  return number
}

/** Only the parts of the right shape. */
export function checkedRecord(value: unknown): NodeRecord {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(
    Object.entries(value).filter(([key, part]) => Object.hasOwn(SHAPE, key) && SHAPE[key as keyof NodeRecord](part)),
  )
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined // not written by us
  }
}

/** Name of an inode, not used again after it: number and birth time. */
export function selfOf(stat: Pick<Stat, 'ino' | 'birthtimeNs'>): string {
  return `${stat.ino.toString(36)}-${stat.birthtimeNs.toString(36)}`
}

/** The content version of bytes that nobody gave one. */
export function derivedVersion(self: string, size: bigint | number, mtime: bigint): string {
  return `${self}.${size.toString(36)}.${mtime.toString(36)}`
}

function isToken(value: unknown): boolean {
  return typeof value === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(value)
}
function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean'
}
function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
function isMode(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
