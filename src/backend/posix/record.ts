/** The record: what we keep of a node beside what the file system keeps, as JSON in one extended attribute. Pure. */
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
  return checkedRecord(parsed(bytes))
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
