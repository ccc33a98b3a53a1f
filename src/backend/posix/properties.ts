/** Properties as extended attributes: which names they have, and what goes to the sidecar instead. Pure. */
import { isUtf8 } from 'node:buffer'
import { type NodeType } from '../../vospace/node.ts'
import { ACCESS_PROPERTIES, READ_ONLY } from '../../vospace/property.ts'

/** Ours, never shown as properties. */
const RESERVED_PREFIX = 'karst.'
/** XATTR_NAME_MAX */
const NAME_BYTES = 255
/** ext4 without large inodes has one 4 KiB block for ACL, record and all: half of it is for properties. */
export const INLINE_BYTES = 2048

/**
 * How property attributes of this type are called. The kernel keeps user.* from symlinks, so root has them in trusted.*;
 * undefined: no attributes at all.
 */
export function propertyPrefix(type: NodeType, root: boolean): string | undefined {
  if (type !== 'link') return 'user.'
  return root ? 'trusted.karst.property.' : undefined
}

/** The property that an attribute holds; undefined when it is none (ours, or another's binary). */
export function propertyOf(name: string, prefix: string | undefined): string | undefined {
  if (prefix === undefined || !name.startsWith(prefix)) return undefined
  const uri = name.slice(prefix.length)
  // what the service says itself (digest, owner, sharing) nobody says for it by an attribute
  const isOurs = uri.startsWith(RESERVED_PREFIX) || READ_ONLY.has(uri) || ACCESS_PROPERTIES.has(uri)
  return uri === '' || isOurs || /[\0-\x1f\x7f]/.test(uri) ? undefined : uri
}

/** The text of a value; undefined for a binary one, which is left alone. */
export function textOf(value: Buffer): string | undefined {
  return isUtf8(value) && !value.includes(0) ? value.toString('utf8') : undefined
}

/** What stands in attributes and what in the sidecar: smallest first into the room there is. */
export function divided(
  properties: ReadonlyMap<string, string>,
  prefix: string | undefined,
  room: number,
): { inline: Map<string, string>; side: Map<string, string> } {
  const inline = new Map<string, string>()
  const side = new Map<string, string>()
  const sized = [...properties].map(([uri, value]) => ({ uri, value, bytes: sizeOf(uri, value) }))
  let left = room
  for (const { uri, value, bytes } of sized.sort((a, b) => a.bytes - b.bytes)) {
    if (fits(uri, value, prefix) && bytes <= left) {
      left -= bytes
      inline.set(uri, value)
    } else side.set(uri, value)
  }
  return { inline, side }
}

function fits(uri: string, value: string, prefix: string | undefined): boolean {
  if (prefix === undefined || propertyOf(prefix + uri, prefix) === undefined) return false
  return uri.isWellFormed() && Buffer.byteLength(prefix + uri) <= NAME_BYTES && !value.includes('\0')
}

/** With what an attribute costs beside its bytes in ext4. */
function sizeOf(uri: string, value: string): number {
  return Buffer.byteLength(uri) + Buffer.byteLength(value) + 24
}
