/**
 * Sharing as people do it: groups are added to those a node is shared with, or taken from them, and the others stay. A node document replaces
 * them whole (nodes.ts), which is not what somebody means who shares with one group more.
 */
import { type Audit } from '../identity/audit.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Access, type Entry, groupList } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { authorize, readGround, seen, type Chain } from './authorize.ts'
import { chainOf, find } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

/** What is to be changed; group URIs as they are known here. */
export interface SharingChange {
  readonly read: readonly string[]
  readonly write: readonly string[]
  readonly remove: readonly string[]
  readonly isPublic?: boolean
  /** containers: what is made in them is shared as they are */
  readonly inherit?: boolean
}

/** InvalidArgument: one group to be let in and out. */
export function checkChange({ read, write, remove }: SharingChange): void {
  const both = remove.find((uri) => read.includes(uri) || write.includes(uri))
  if (both !== undefined) throw new Fault('InvalidArgument', `${both} is to be let in and taken out at once`)
}

/** The access that a node has afterwards, of what changes at all. Who may write already need not be let read. */
export function changedAccess(
  { access, type }: Pick<Entry, 'access' | 'type'>,
  change: SharingChange,
): Partial<Access> {
  const keep = (uri: string): boolean => !change.remove.includes(uri)
  const groupWrite = groupList([...access.groupWrite, ...change.write].filter(keep))
  const readers = change.read.filter((uri) => !groupWrite.includes(uri))
  const wanted: Partial<Access> = {
    groupRead: groupList([...access.groupRead, ...readers].filter(keep)),
    groupWrite,
    ...(change.isPublic !== undefined && { isPublic: change.isPublic }),
    ...(change.inherit !== undefined && type === 'container' && { inherit: change.inherit }),
  }
  const has: Partial<Record<string, unknown>> = { ...access }
  return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => String(has[key]) !== String(value)))
}

export interface Shared {
  readonly node: SeenEntry
  /** the containers above, root first */
  readonly parents: Chain
  readonly changed: boolean
}

/** The node itself, a link too. NodeNotFound, PermissionDenied, UnreadableLinkTarget, InvalidArgument. */
export async function shareNode(space: Space, caller: Caller, path: NodePath, change: SharingChange): Promise<Shared> {
  checkChange(change)
  const found = await find(space, caller, path, { leaf: 'itself', way: 'follow' })
  const { node, parents } = found
  authorize(caller, 'update', chainOf(found), space.rules)
  const access = changedAccess(node, change)
  const changed = Object.keys(access).length > 0
  let entry = node
  if (changed) {
    entry = await space.backend.set({ path: node.path, id: node.id }, { access })
    space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
    noteSharing(space.audit, caller, node, entry)
  }
  return { node: seen(caller, [...parents, entry], space.rules), parents, changed }
}

/** Containers above that do not let these people pass, root first: as long as there is one, they get nowhere. */
export function closedTo(parents: Chain, people: Caller, rules: Space['rules']): NodePath[] {
  return parents.filter((_, at) => readGround(people, parents, at, rules) === undefined).map(({ path }) => path)
}

/** Tells the audit what of a node's sharing and owner has become another; nothing when nothing has. */
export function noteSharing(
  audit: Audit | undefined,
  caller: Caller,
  before: Pick<Entry, 'access' | 'path'> | undefined,
  { access, path }: Pick<Entry, 'access' | 'path'>,
): void {
  if (audit === undefined) return
  const [granted, withdrawn] = differences(before?.access, access)
  const isGiven = before !== undefined && before.access.owner !== access.owner
  if (granted === '' && withdrawn === '' && !isGiven) return
  audit.note({
    act: 'node.share',
    by: caller.user ?? null,
    on: path,
    result: 'allowed',
    detail: {
      ...(granted !== '' && { granted }),
      ...(withdrawn !== '' && { withdrawn }),
      ...(isGiven && { owner: access.owner, ownerBefore: before.access.owner }),
    },
  })
}

/** `read=URI write=URI public inherit locked`: what is there now and was not before, and the other way round. */
function differences(before: Access | undefined, after: Access): [string, string] {
  const [was, is] = [before === undefined ? [] : termsOf(before), termsOf(after)]
  return [is.filter((one) => !was.includes(one)).join(' '), was.filter((one) => !is.includes(one)).join(' ')]
}

const termsOf = ({ groupRead, groupWrite, isPublic, inherit, locked }: Access): string[] => [
  ...groupRead.map((uri) => `read=${uri}`),
  ...groupWrite.map((uri) => `write=${uri}`),
  ...(isPublic ? ['public'] : []),
  ...(inherit ? ['inherit'] : []),
  ...(locked ? ['locked'] : []),
]
