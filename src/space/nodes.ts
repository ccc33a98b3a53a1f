/** The VOSpace door to nodes: get, list, create and set (VOSpace 2.1 sections on nodes; wire.md 3.1). */
import { type Changes, type ContainerDraft, type LinkDraft } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { type NodeClass, type NodeDocument } from '../vospace/document.ts'
import { Fault, isFault, type FaultName } from '../vospace/fault.ts'
import { linkTarget, linkText } from '../vospace/link.ts'
import { createdMode, newAccess } from '../vospace/mode.ts'
import { type Access, type Entry, type NodeType } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { NODE_CLASS } from '../vospace/property.ts'
import { localPath, parseVosUri } from '../vospace/uri.ts'
import { authorize, seen, type Chain } from './authorize.ts'
import { checkMakeable, newPath } from './reserved-names.ts'
import { chainOf, find, resolve, type Place, type ResolveOptions } from './resolve.ts'
import { noteSharing } from './share.ts'
import { checkPropertyRoom, quotaBytes, vouched, wishesOf, type Wishes } from './sharing.ts'
import { capabilitiesOf, type SeenEntry, type Space } from './space.ts'

export { deleteNode } from './delete-node.ts'
export { listNode, type NodeListing, type NodeListOptions } from './list-node.ts'

/**
 * The node itself, a link too, never what it leads to. Its container must be readable, the node need not be.
 * NodeNotFound, PermissionDenied, UnreadableLinkTarget.
 */
export async function getNode(space: Space, caller: Caller, path: NodePath): Promise<SeenEntry> {
  const found = await find(space, caller, path, { leaf: 'itself', way: 'follow' })
  return seen(caller, chainOf(found), space.rules)
}

/**
 * PUT of a node. Refusals, in this order: InvalidURI (the document is of another node), InvalidArgument, ContainerNotFound, LinkFound (strict),
 * DuplicateNode, PermissionDenied. For `.auto` a name is made up. Read-only properties are ignored (strict: PermissionDenied). Children in the document are ignored.
 */
export async function createNode(
  space: Space,
  caller: Caller,
  path: NodePath,
  document: NodeDocument,
): Promise<SeenEntry> {
  checkSubject(space, path, document, 'InvalidURI')
  const type = TYPES[document.class]
  const asked = wishesOf(document.properties, type)
  checkMakeable(path)
  const place = await resolve(space, caller, newPath(path), changing(space))
  if (place.node !== undefined) throw new Fault('DuplicateNode', place.path)
  authorize(caller, 'create', place.parents, space.rules)
  const wishes = vouched(asked, space)
  checkReadOnly(space, caller, wishes)
  const quota = quotaWish(space, caller, wishes, { type, path: place.path })
  const entry = await make(space, place, type, document, draftOf(space, caller, place, document.class, wishes))
  if (quota !== undefined && quota !== null) await giveQuota(space, entry, quota)
  if (quota !== undefined) noteQuota(space, caller, entry, quota)
  if (hasSharing(wishes.access) || entry.access.owner !== caller.user)
    noteSharing(space.audit, caller, undefined, entry)
  space.changes.append({ id: entry.id, path: entry.path, kind: 'made' })
  return seen(caller, [...place.parents, entry], space.rules)
}

/**
 * POST of a node: what the document has replaces, `nil` removes, what it does not have stays. Groups are replaced whole. The lock of the
 * node itself does not matter. Owner and quota are an administrator's; from others they are ignored, as is all that is read-only.
 * InvalidArgument for a change of type or of a link's target.
 */
export async function setNode(
  space: Space,
  caller: Caller,
  path: NodePath,
  document: NodeDocument,
): Promise<SeenEntry> {
  checkSubject(space, path, document, 'InvalidArgument')
  const found = await find(space, caller, path, { leaf: 'itself', way: 'follow' })
  const { node } = found
  const asked = wishesOf(document.properties, node.type)
  authorizeSet(space, caller, chainOf(found), asked)
  const wishes = vouched(asked, space, node.access)
  checkSameKind(space, node, document)
  checkReadOnly(space, caller, wishes)
  const quota = quotaWish(space, caller, wishes, node)
  const changes = changesFor(space, caller, node, wishes)
  let entry = node
  if (changes !== undefined) entry = await space.backend.set({ path: node.path, id: node.id }, changes)
  noteSharing(space.audit, caller, node, entry)
  if (quota !== undefined) {
    await space.backend.setQuota(node.path, quota)
    noteQuota(space, caller, node, quota)
  }
  if (changes !== undefined || quota !== undefined) {
    space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
  }
  return seen(caller, [...found.parents, entry], space.rules)
}

const TYPES: Record<NodeClass, NodeType> = {
  Node: 'data',
  DataNode: 'data',
  UnstructuredDataNode: 'data',
  StructuredDataNode: 'data',
  ContainerNode: 'container',
  LinkNode: 'link',
}

/** How PUT and DELETE look for their node (VOSpace 2.1: LinkFound when a link stands on the way). */
export function changing(space: Space): ResolveOptions {
  return { leaf: 'itself', way: space.rules.strict ? 'refuse' : 'follow' }
}

// wire.md section 2: URL and document say the same node, whatever separator and encoding.
function checkSubject(space: Space, path: NodePath, document: NodeDocument, fault: FaultName): void {
  let subject: NodePath
  try {
    subject = localPath(space.service, document.uri)
  } catch (error) {
    if (!isFault(error)) throw error
    throw new Fault(fault, error.detail, { cause: error })
  }
  if (subject !== path) throw new Fault(fault, `the document is of ${subject}, the request of ${path}`)
}

export function checkReadOnly(space: Space, caller: Caller, wishes: Wishes): void {
  if (!space.rules.strict || wishes.readOnly.length === 0 || caller.admin) return
  throw new Fault('PermissionDenied', `read-only: ${wishes.readOnly.join(', ')}`)
}

// undefined: nothing to do. A quota can stand on a container only, and where the storage has quotas.
function quotaWish(
  space: Space,
  caller: Caller,
  wishes: Wishes,
  { type, path }: Pick<Entry, 'type' | 'path'>,
): number | null | undefined {
  if (!caller.admin || wishes.quota === undefined || type !== 'container') return undefined
  const quota = quotaBytes(wishes.quota)
  if (!capabilitiesOf(space, path).quota) throw new Fault('OperationNotSupported', 'this storage has no quotas')
  return quota
}

function noteQuota({ audit }: Space, { user }: Caller, { path }: Entry, bytes: number | null): void {
  audit?.note({ act: 'node.quota', by: user ?? null, on: path, result: 'allowed', detail: { bytes } })
}

// What a new node has from its container was granted there.
const hasSharing = ({ isPublic, groupRead = [], groupWrite = [] }: Partial<Access>): boolean =>
  isPublic === true || groupRead.length + groupWrite.length > 0

async function giveQuota(space: Space, entry: Entry, bytes: number): Promise<void> {
  try {
    await space.backend.setQuota(entry.path, bytes)
  } catch (error) {
    await space.backend.remove(entry.path, 'container')
    throw error
  }
}

interface NewNode {
  readonly access: Access
  readonly mode: number
  readonly properties: ReadonlyMap<string, string>
}

function draftOf(space: Space, caller: Caller, place: Place, of: NodeClass, wishes: Wishes): NewNode {
  const type = TYPES[of]
  const parent = place.parents.at(-1)
  if (caller.user === undefined || parent === undefined) throw new Fault('PermissionDenied', place.path)
  const owner = ownerWish(space, caller, wishes) ?? caller.user
  const access = newAccess(type, wishes.access, parent.access, owner)
  const properties = new Map([...wishes.properties].flatMap(([uri, value]) => (value === null ? [] : [[uri, value]])))
  checkPropertyRoom(new Map(), properties)
  if (of === 'StructuredDataNode' || of === 'UnstructuredDataNode') properties.set(NODE_CLASS, of)
  return { access, mode: createdMode(type, undefined, access), properties }
}

function ownerWish(space: Space, caller: Caller, { owner }: Wishes): string | undefined {
  if (!caller.admin || owner === undefined) return undefined
  if (space.ids.uidOf(owner) === undefined) throw new Fault('InvalidArgument', `no such user: ${owner}`)
  return owner
}

async function make(
  space: Space,
  place: Place,
  type: NodeType,
  document: NodeDocument,
  draft: NewNode,
): Promise<Entry> {
  if (type === 'data') return space.backend.put(place.path, NOTHING, { draft, ifAbsent: true })
  if (type === 'container') return space.backend.make(place.path, { ...draft, type } satisfies ContainerDraft)
  const text = textOf(space, place.path, document.target)
  // What the storage cannot keep is left out rather than the link refused: clients send properties with every node.
  const properties = capabilitiesOf(space, place.path).linkProperties ? draft.properties : new Map<string, string>()
  return space.backend.make(place.path, { ...draft, type, text, properties } satisfies LinkDraft)
}

const NOTHING: AsyncIterable<Uint8Array> = {
  async *[Symbol.asyncIterator]() {},
}

function textOf(space: Space, path: NodePath, target: string | undefined): Buffer {
  if (target === undefined) throw new Fault('InvalidArgument', 'a link needs a target')
  const isOurs = /^vos:/i.test(target.trim()) && parseVosUri(target.trim()).authority === space.service.authority
  if (!isOurs && !space.rules.externalLinks) {
    throw new Fault('InvalidArgument', `a link here leads to nodes of this service only, not to ${target}`)
  }
  return linkText(target, path, space.service)
}

// An administrator may set owner and quota of what belongs to others, and only those.
function authorizeSet(space: Space, caller: Caller, chain: Chain, { access, properties, ...wishes }: Wishes): void {
  const isAdministration = wishes.owner !== undefined || wishes.quota !== undefined
  const isContent = properties.size > 0 || Object.keys(access).length > 0
  const verb = caller.admin && isAdministration && !isContent ? 'administer' : 'update'
  authorize(caller, verb, chain, space.rules)
}

// wire.md 1.4: clients say DataNode for any data node, and a document without a type could be of any.
function checkSameKind(space: Space, node: Entry, document: NodeDocument): void {
  if (document.class !== 'Node' && TYPES[document.class] !== node.type) {
    throw new Fault('InvalidArgument', `${node.path} is a ${node.type} node and stays one`)
  }
  if (node.type !== 'link' || document.target === undefined || node.text === undefined) return
  const isSame =
    document.target === linkTarget(node.text, node.path, space.service) ||
    linkText(document.target, node.path, space.service).equals(node.text)
  if (!isSame) throw new Fault('InvalidArgument', `the target of ${node.path} cannot be changed`)
}

export function changesFor(space: Space, caller: Caller, node: Entry, wishes: Wishes): Changes | undefined {
  const owner = ownerWish(space, caller, wishes)
  const access = { ...wishes.access, ...(owner !== undefined && owner !== node.access.owner && { owner }) }
  const kept = node.type !== 'link' || capabilitiesOf(space, node.path).linkProperties
  const properties = new Map(
    [...wishes.properties].filter(([uri, value]) => (node.properties.get(uri) ?? null) !== value),
  )
  const hasProperties = kept && properties.size > 0
  checkPropertyRoom(node.properties, properties)
  if (Object.keys(access).length === 0 && !hasProperties) return undefined
  return { access, ...(hasProperties && { properties }) }
}
