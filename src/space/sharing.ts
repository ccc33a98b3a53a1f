/** What a client's node document asks for: sharing, stored properties, and what only an administrator sets. */
import { type Property } from '../vospace/document.ts'
import { Fault } from '../vospace/fault.ts'
import { type Access, groupList, type NodeType } from '../vospace/node.ts'
import {
  ACCESS_PROPERTIES,
  checkPropertyUri,
  NODE_CLASS,
  OBSOLETE,
  parseBoolean,
  parseGroups,
  PROPERTY,
  READ_ONLY,
} from '../vospace/property.ts'
import { type Space } from './space.ts'

/** What a document says. What it does not say is not there. */
export interface Wishes {
  readonly access: Partial<Access>
  /** null: to be removed */
  readonly properties: ReadonlyMap<string, string | null>
  /** For administrators; null clears the quota, text is read by `quotaBytes`. */
  readonly owner?: string
  readonly quota?: string | null
  /** read-only properties that were given, whoever gave them */
  readonly readOnly: readonly string[]
}

const NOT_THEIRS: ReadonlySet<string> = new Set([OBSOLETE, NODE_CLASS])

/** Bytes of one value: what a Linux xattr holds. */
const MAX_VALUE = 65_536

/**
 * Reads the properties of a document; the last of several with one URI holds. Throws InvalidArgument for a bad URI, group or boolean.
 * `nil` and, for groups and booleans, blank: taken away.
 */
export function wishesOf(given: readonly Property[], type: NodeType): Wishes {
  const last = new Map(given.map(({ uri, value }) => [uri, value]))
  const properties = new Map<string, string | null>()
  for (const [uri, value] of last) {
    checkPropertyUri(uri)
    if (ACCESS_PROPERTIES.has(uri) || READ_ONLY.has(uri) || NOT_THEIRS.has(uri)) continue
    checkValue(uri, value)
    properties.set(uri, value)
  }
  const owner = last.get(PROPERTY.creator)?.trim()
  return {
    access: accessIn(last, type),
    properties,
    ...(owner !== undefined && owner !== '' && { owner }),
    ...(last.has(PROPERTY.quota) && { quota: last.get(PROPERTY.quota)?.trim() || null }),
    readOnly: [...last.keys()].filter((uri) => READ_ONLY.has(uri)),
  }
}

/**
 * What is asked for, with the groups as they are named here. Those that the node has already stay as they are, since clients send back
 * what they have read. InvalidArgument for a group that nobody known here keeps: whoever took its name would be let in.
 */
export function vouched(wishes: Wishes, { groupNames }: Pick<Space, 'groupNames'>, has?: Access): Wishes {
  if (groupNames === undefined) return wishes
  const named = (kind: 'groupRead' | 'groupWrite'): Partial<Access> => {
    const given = wishes.access[kind]
    if (given === undefined) return {}
    const kept = [...(has?.groupRead ?? []), ...(has?.groupWrite ?? [])]
    const uris = given.map((uri) => (kept.includes(uri) ? uri : groupNames.shareable(uri)))
    return { [kind]: groupList(uris) }
  }
  return { ...wishes, access: { ...wishes.access, ...named('groupRead'), ...named('groupWrite') } }
}

function checkValue(uri: string, value: string | null): void {
  if (value === null) return
  if (Buffer.byteLength(value) > MAX_VALUE) {
    throw new Fault('InvalidArgument', `${uri}: a value is at most ${MAX_VALUE} bytes`, { errno: 'E2BIG' })
  }
  if (uri === PROPERTY.immutable && value !== '') parseBoolean(uri, value)
}

/** Bytes of all stored properties of a node, names included: each look at the node reads them all. */
const MAX_PROPERTIES = 262_144

/** QuotaExceeded (ENOSPC, as setxattr(2)) when the changes make them more than a node may have. */
export function checkPropertyRoom(
  kept: ReadonlyMap<string, string>,
  changes: ReadonlyMap<string, string | null>,
): void {
  const before = bytesOf(kept)
  let after = before
  for (const [uri, value] of changes) after += sizeOf(uri, value) - sizeOf(uri, kept.get(uri))
  if (after <= MAX_PROPERTIES || after <= before) return
  throw new Fault('QuotaExceeded', `the properties of a node are at most ${MAX_PROPERTIES} bytes`, { errno: 'ENOSPC' })
}

const bytesOf = (properties: ReadonlyMap<string, string>): number =>
  [...properties].reduce((sum, [uri, value]) => sum + sizeOf(uri, value), 0)

const sizeOf = (uri: string, value: string | null | undefined): number =>
  typeof value === 'string' ? Buffer.byteLength(uri) + Buffer.byteLength(value) : 0

function accessIn(given: ReadonlyMap<string, string | null>, type: NodeType): Partial<Access> {
  const flag = (uri: string): boolean | undefined => {
    const value = given.get(uri)
    if (value === undefined) return undefined
    return value === null || value.trim() === '' ? false : parseBoolean(uri, value)
  }
  const groups = (uri: string): string[] | undefined => {
    const value = given.get(uri)
    return value === undefined ? undefined : parseGroups(uri, value ?? '')
  }
  const isPublic = flag(PROPERTY.isPublic) ?? flag(PROPERTY.publicRead)
  const groupRead = groups(PROPERTY.groupRead)
  const groupWrite = groups(PROPERTY.groupWrite)
  const locked = flag(PROPERTY.isLocked)
  const inherit = flag(PROPERTY.inherit)
  return {
    ...(isPublic !== undefined && { isPublic }),
    ...(groupRead !== undefined && { groupRead }),
    ...(groupWrite !== undefined && { groupWrite }),
    ...(locked !== undefined && { locked }),
    ...(inherit !== undefined && type === 'container' && { inherit }),
  }
}

/** Throws InvalidArgument for what is no count of bytes. */
export function quotaBytes(value: string | null): number | null {
  if (value === null) return null
  const bytes = Number(value)
  if (/^\d+$/.test(value) && Number.isSafeInteger(bytes)) return bytes
  throw new Fault('InvalidArgument', `a quota is a count of bytes, not ${JSON.stringify(value)}`)
}
