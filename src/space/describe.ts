/** A node as a document: stored properties and the computed ones (wire.md 1.3, 1.6 and 5). */
import { type Usage } from '../backend/backend.ts'
import { type NodeClass, type NodeDocument, type Property } from '../vospace/document.ts'
import { isFault } from '../vospace/fault.ts'
import { linkTarget } from '../vospace/link.ts'
import { type NodeType } from '../vospace/node.ts'
import { dateText, PROPERTY } from '../vospace/property.ts'
import { nodeUri } from '../vospace/uri.ts'
import { type SeenEntry, type Space } from './space.ts'

export type Detail = 'min' | 'max' | 'properties' | 'raw' | 'none'

const CLASSES: Record<NodeType, NodeClass> = { container: 'ContainerNode', data: 'DataNode', link: 'LinkNode' }

/**
 * `min` has URI and type only (and a link's target, which the schema demands); `max` tells besides the rest what the caller may do.
 * The others are alike (wire.md 1.6). `usage`, where known, gives a container its quota and the space left.
 */
export function describe(space: Space, seen: SeenEntry, detail: Detail, usage?: Usage): NodeDocument {
  const properties = detail === 'min' ? [] : propertiesOf(seen, detail, usage)
  const isData = seen.type === 'data'
  return {
    uri: nodeUri(space.service, seen.path),
    class: CLASSES[seen.type],
    properties,
    ...(isData && detail !== 'min' && { busy: false, accepts: [], provides: [] }),
    ...(seen.text !== undefined && { target: linkTarget(seen.text, seen.path, space.service) }),
  }
}

/** Quota and usage of a container, where the storage has quotas and this one is within one; for `describe`. */
export async function allocationUsage(space: Space, seen: SeenEntry): Promise<Usage | undefined> {
  if (seen.type !== 'container' || !space.backend.capabilities.quota) return undefined
  try {
    return await space.backend.usage(seen.path)
  } catch (error) {
    if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return undefined // gone since: its description needs no quota
    throw error
  }
}

// Sorted by URI, as the Java services write them.
function propertiesOf(seen: SeenEntry, detail: Detail, usage: Usage | undefined): Property[] {
  const computed = [...computedOf(seen), ...quotaOf(usage), ...(detail === 'max' ? rightsOf(seen) : [])]
  const names = new Set(computed.map(({ uri }) => uri))
  const stored = [...seen.properties].filter(([uri]) => !names.has(uri)).map(([uri, value]) => ({ uri, value }))
  return [...stored, ...computed].sort((a, b) => (a.uri < b.uri ? -1 : 1))
}

function computedOf({ access, ...seen }: SeenEntry): Property[] {
  return [
    readOnly(PROPERTY.creator, access.owner),
    readOnly(PROPERTY.date, dateText(seen.ctime)),
    readOnly(PROPERTY.length, String(seen.type === 'link' ? 0 : seen.size)),
    ...(seen.type === 'data' ? [readOnly(PROPERTY.contentDate, dateText(seen.mtime))] : []),
    ...(seen.md5 !== undefined ? [readOnly(PROPERTY.md5, seen.md5)] : []),
    { uri: PROPERTY.isPublic, value: String(access.isPublic) },
    ...(access.groupRead.length > 0 ? [{ uri: PROPERTY.groupRead, value: access.groupRead.join(' ') }] : []),
    ...(access.groupWrite.length > 0 ? [{ uri: PROPERTY.groupWrite, value: access.groupWrite.join(' ') }] : []),
    ...(access.locked ? [{ uri: PROPERTY.isLocked, value: 'true' }] : []),
    ...(seen.type === 'container' ? [{ uri: PROPERTY.inherit, value: String(access.inherit) }] : []),
  ]
}

function quotaOf(usage: Usage | undefined): Property[] {
  if (usage?.quota === undefined || usage.quota === null) return []
  return [
    readOnly(PROPERTY.quota, String(usage.quota)),
    readOnly(PROPERTY.availableSpace, String(Math.max(0, Math.min(usage.quota - (usage.used ?? 0), usage.free)))),
  ]
}

// "true" or not there at all: what clients look for.
function rightsOf({ readable, writable }: SeenEntry): Property[] {
  return [
    ...(readable ? [readOnly(PROPERTY.readable, 'true')] : []),
    ...(writable ? [readOnly(PROPERTY.writable, 'true')] : []),
  ]
}

const readOnly = (uri: string, value: string): Property => ({ uri, value, readOnly: true })
