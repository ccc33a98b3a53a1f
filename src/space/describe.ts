/** A node as a document: stored properties and the computed ones (wire.md 1.3, 1.6 and 5). */
import { type Usage } from '../backend/backend.ts'
import { NODE_CLASSES, type NodeClass, type NodeDocument, type Property } from '../vospace/document.ts'
import { isFault } from '../vospace/fault.ts'
import { linkTarget } from '../vospace/link.ts'
import { type NodeType } from '../vospace/node.ts'
import { dateText, NODE_CLASS, PROPERTY } from '../vospace/property.ts'
import { nodeUri } from '../vospace/uri.ts'
import { isBusy } from './busy.ts'
import { capabilitiesOf, type SeenEntry, type Space } from './space.ts'

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
    class: classOf(seen),
    properties,
    ...(isData && detail !== 'min' && { busy: isBusy(space, seen.path), accepts: [], provides: [] }),
    ...(seen.text !== undefined && { target: linkTarget(seen.text, seen.path, space.service) }),
  }
}

function classOf({ type, properties }: SeenEntry): NodeClass {
  const made = type === 'data' && properties.size > 0 ? properties.get(NODE_CLASS) : undefined
  return NODE_CLASSES.find((name) => name === made) ?? CLASSES[type]
}

/** Quota and usage of a container, where the storage has quotas and this one is within one; for `describe`. */
export async function allocationUsage(space: Space, seen: SeenEntry): Promise<Usage | undefined> {
  if (seen.type !== 'container' || !capabilitiesOf(space, seen.path).quota) return undefined
  try {
    return await space.backend.usage(seen.path)
  } catch (error) {
    if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return undefined // gone since: its description needs no quota
    throw error
  }
}

// Sorted by URI, as the Java services write them. The computed ones come sorted, since a listing does this for every child.
function propertiesOf(seen: SeenEntry, detail: Detail, usage: Usage | undefined): Property[] {
  const properties = computedOf(seen, detail === 'max', usage)
  if (seen.properties.size === 0) return properties
  const names = new Set(properties.map(({ uri }) => uri)).add(NODE_CLASS)
  for (const [uri, value] of seen.properties) if (!names.has(uri)) properties.push({ uri, value })
  return properties.sort((a, b) => (a.uri < b.uri ? -1 : 1))
}

function computedOf(seen: SeenEntry, withRights: boolean, usage: Usage | undefined): Property[] {
  const { access, type } = seen
  const found: Property[] = []
  const set = (uri: string, value: string): number => found.push({ uri, value })
  const show = (uri: string, value: string): number => found.push({ uri, value, readOnly: true })
  if (type === 'container') set(PROPERTY.inherit, String(access.inherit))
  if (access.locked) set(PROPERTY.isLocked, 'true')
  // "true" or not there at all: what clients look for
  if (withRights && seen.readable) show(PROPERTY.readable, 'true')
  if (withRights && seen.writable) show(PROPERTY.writable, 'true')
  if (seen.md5 !== undefined) show(PROPERTY.md5, seen.md5)
  const left = availableSpace(usage)
  if (left !== undefined) show(PROPERTY.availableSpace, String(left))
  if (type === 'data') show(PROPERTY.contentDate, dateText(seen.mtime))
  show(PROPERTY.creator, access.owner)
  show(PROPERTY.date, dateText(seen.ctime))
  if (access.groupRead.length > 0) set(PROPERTY.groupRead, access.groupRead.join(' '))
  if (access.groupWrite.length > 0) set(PROPERTY.groupWrite, access.groupWrite.join(' '))
  set(PROPERTY.isPublic, String(access.isPublic))
  show(PROPERTY.length, String(type === 'link' ? 0 : seen.size))
  if (typeof usage?.quota === 'number') show(PROPERTY.quota, String(usage.quota))
  return found
}

function availableSpace(usage: Usage | undefined): number | undefined {
  if (usage === undefined || usage.quota === null) return undefined
  return Math.max(0, Math.min(usage.quota - (usage.used ?? 0), usage.free))
}
