// Extended attributes: user.* and POSIX ACLs are the gateway's, everything else is answered here, since the kernel asks for it all the time.
import { Fault } from '../src/vospace/fault.ts'
import { aclKindOf, type AclKind } from '../src/vospace/posix-acl.ts'
import { type Inode } from './cache.ts'
import { type Tree } from './tree.ts'

const CREATE = 1
const REPLACE = 2

/**
 * What can be said of a name without asking the gateway: that there is no such attribute (ENODATA), or that none of the kind can be
 * (EOPNOTSUPP). `ls -l` asks for two of every file, so this costs no Fault and no promise.
 */
export function absenceOf(tree: Tree, inode: Inode, name: string): Absence | undefined {
  const kind = aclKindOf(name)
  if (kind !== undefined) return tree.isCurrent(inode) ? aclAbsence(tree, inode, kind) : undefined
  if (!name.startsWith('user.')) return foreign(name)
  const known = inode.xattrs
  const isMissing = known !== undefined && known.until > performance.now() && !known.names.includes(name)
  return isMissing || inode.unlinked ? 'ENODATA' : undefined
}
type Absence = 'ENODATA' | 'EOPNOTSUPP'

/** Throws ENODATA where there is none, EOPNOTSUPP where none can be. */
export async function getXattr(tree: Tree, inode: Inode, name: string): Promise<Buffer> {
  if (aclKindOf(name) !== undefined) await tree.current(inode)
  const absence = absenceOf(tree, inode, name)
  if (absence !== undefined) throw refusal(name, absence)
  await inode.content?.establish()
  return tree.remote.xattr(tree.table.path(inode), name)
}

/** Names; remembered as long as attributes are. */
export async function listXattr(tree: Tree, inode: Inode): Promise<readonly string[]> {
  if (inode.unlinked) return []
  const now = performance.now()
  if (inode.xattrs === undefined || inode.xattrs.until <= now) {
    await inode.content?.establish()
    const names = await tree.remote.xattrNames(tree.table.path(inode))
    inode.xattrs = { names, until: now + tree.ttl }
  }
  return inode.xattrs.names
}

/** flags of setxattr(2). Throws EEXIST, ENODATA, EOPNOTSUPP for other namespaces. */
export async function setXattr(tree: Tree, inode: Inode, name: string, value: Buffer, flags: number): Promise<void> {
  checkNamespace(name)
  const only = (flags & CREATE) !== 0 ? 'create' : (flags & REPLACE) !== 0 ? 'replace' : undefined
  await inode.content?.establish()
  await tree.remote.setXattr(tree.table.path(inode), name, value, only)
  changed(inode)
}

/** Throws ENODATA, EOPNOTSUPP for other namespaces. */
export async function removeXattr(tree: Tree, inode: Inode, name: string): Promise<void> {
  checkNamespace(name)
  await inode.content?.establish()
  await tree.remote.removeXattr(tree.table.path(inode), name)
  changed(inode)
}

function changed(inode: Inode): void {
  inode.xattrs = undefined
  inode.fetched = -Infinity
}

/** Told by the entry: most nodes have none. */
function aclAbsence({ options }: Tree, { entry, unlinked }: Inode, kind: AclKind): Absence | undefined {
  if (entry.type === 'link') return 'EOPNOTSUPP'
  const { groupRead, groupWrite, inherit } = entry.access
  const isShared = kind === 'default' ? inherit : groupRead.length + groupWrite.length > 0
  const isThere = options.trusted === true ? entry.hasAcl === true : isShared
  return isThere && !unlinked ? undefined : 'ENODATA'
}

function checkNamespace(name: string): void {
  if (!name.startsWith('user.') && aclKindOf(name) === undefined) throw refusal(name, 'EOPNOTSUPP')
}

/**
 * Of names that are not the gateway's. Of labels (security.selinux, ...) it is said that the file system has none: then `ls` asks for one
 * file, not for each. The kernel asks for capabilities too, and getcap(8) takes only ENODATA for none.
 */
function foreign(name: string): Absence {
  const isNamespace = name.startsWith('security.') || name.startsWith('system.')
  return isNamespace && name !== 'security.capability' ? 'EOPNOTSUPP' : 'ENODATA'
}

function refusal(name: string, absence: Absence): Fault {
  return new Fault(absence === 'ENODATA' ? 'NodeNotFound' : 'OperationNotSupported', name, { errno: absence })
}
