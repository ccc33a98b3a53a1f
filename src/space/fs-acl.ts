/**
 * POSIX ACLs for a mount, as system.posix_acl_access and _default. To a trusted mount they are what the store keeps. To any other they are
 * another view of sharing: an entry for a group is groupRead (r, and x on containers) or groupWrite (rw), the default ACL is `inherit`,
 * and what sharing cannot say is refused.
 */
import { type Ids } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { groupList, type Access, type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Acl, type AclKind, buildAcl, masked, parseAcl, unmasked } from '../vospace/posix-acl.ts'
import { authorize } from './authorize.ts'
import { locate } from './fs-place.ts'
import { chainOf } from './resolve.ts'
import { noteSharing } from './share.ts'
import { posixOf, type Space } from './space.ts'

type Groups = Pick<Access, 'groupRead' | 'groupWrite'>

/** undefined: there is none. OperationNotSupported for a link. Permission as for every attribute. */
export async function aclOf(space: Space, caller: Caller, path: NodePath, kind: AclKind): Promise<Buffer | undefined> {
  const found = await locate(space, caller, { path })
  const { node } = found
  if (caller.trusted === true) return posixOf(space.backend).acl({ path, id: node.id }, kind)
  refuseLink(node)
  authorize(caller, 'read', chainOf(found), space.rules)
  if (kind === 'default' && !node.access.inherit) return undefined
  const acl = aclOfSharing(node, kind, space.ids)
  return acl.named.length === 0 && kind === 'access' ? undefined : buildAcl(acl)
}

/**
 * null takes it away. InvalidArgument (EINVAL) for what is no ACL, or names a group that is none of ours; OperationNotSupported for users, permissions that
 * sharing has not, and a default ACL of other groups than the container's own. Permission as for chmod.
 */
export async function setAcl(
  space: Space,
  caller: Caller,
  path: NodePath,
  kind: AclKind,
  value: Buffer | null,
): Promise<void> {
  const found = await locate(space, caller, { path })
  const { node } = found
  authorize(caller, 'attributes', chainOf(found), space.rules)
  const ref = { path: node.path, id: node.id }
  let entry: Entry
  if (caller.trusted === true) entry = await posixOf(space.backend).setAcl(ref, kind, value)
  else {
    refuseLink(node)
    const acl = value === null ? undefined : parsed(value)
    const changes = kind === 'access' ? accessChanges(node, acl, space.ids) : inheritChanges(node, acl, space.ids)
    entry = await space.backend.set(ref, changes)
    noteSharing(space.audit, caller, node, entry)
  }
  space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
}

function refuseLink({ type, path }: Entry): void {
  if (type === 'link') throw new Fault('OperationNotSupported', `${path} is a link and has no ACL`)
}

/** The owning group is the owner's own, and gets nothing that is not granted by name. */
function aclOfSharing({ type, mode, access }: Entry, kind: AclKind, ids: Ids): Acl {
  const x = type === 'container' ? 1 : 0
  const named = [...new Set([...access.groupRead, ...access.groupWrite])].flatMap((uri) => {
    const id = ids.gidOf(uri)
    const perm = (access.groupWrite.includes(uri) ? 6 : 4) | x
    return id === undefined ? [] : [{ kind: 'group' as const, id, perm }]
  })
  const owner = kind === 'default' ? 7 : (mode >> 6) & 7
  const other = kind === 'default' && !access.isPublic ? 0 : mode & 7
  return masked({ owner, group: 0, other, mask: undefined, named })
}

function parsed(value: Buffer): Acl {
  const acl = parseAcl(value)
  if (acl === undefined) throw new Fault('InvalidArgument', 'not a POSIX ACL')
  return unmasked(acl)
}

function accessChanges(node: Entry, acl: Acl | undefined, ids: Ids) {
  const none = { groupRead: [], groupWrite: [] }
  if (acl === undefined) return { access: none }
  const { owner, group, other } = acl
  const mode = (node.mode & 0o7000) | (owner << 6) | (group << 3) | other
  return { mode, access: { ...groupsOf(node, acl, ids), isPublic: (other & 4) !== 0 } }
}

function inheritChanges(node: Entry, acl: Acl | undefined, ids: Ids) {
  if (node.type !== 'container') throw new Fault('PermissionDenied', 'only a container has a default ACL')
  if (acl === undefined) return { access: { inherit: false } }
  const asked = groupsOf(node, acl, ids)
  const { groupRead, groupWrite } = node.access
  const readers = groupList(groupRead.filter((uri) => !groupWrite.includes(uri)))
  const own = JSON.stringify({ groupRead: readers, groupWrite: groupList(groupWrite) })
  if (JSON.stringify(asked) !== own) {
    throw new Fault('OperationNotSupported', 'what is made in a container is shared with its own groups, or none')
  }
  return { access: { inherit: true } }
}

function groupsOf({ type }: Entry, { named }: Acl, ids: Ids): Groups {
  const x = type === 'container' ? 1 : 0
  const groupRead: string[] = []
  const groupWrite: string[] = []
  for (const { kind, id, perm } of named) {
    if (kind === 'user') throw new Fault('OperationNotSupported', 'sharing is with groups, not with users')
    const uri = ids.groupOf(id)
    if (uri === undefined) throw new Fault('InvalidArgument', `no group has the number ${id}`)
    // x on a file adds nothing: programs are run by who may read them
    const given = perm & (6 | x)
    if (given === (4 | x)) groupRead.push(uri)
    else if (given === (6 | x)) groupWrite.push(uri)
    else if (given !== 0) throw new Fault('OperationNotSupported', 'a group reads, or reads and writes')
  }
  return { groupRead: groupList(groupRead), groupWrite: groupList(groupWrite) }
}
