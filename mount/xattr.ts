// Extended attributes: user.* and POSIX ACLs are the gateway's, everything else is answered here, since the kernel asks for it all the time.
import { Fault } from '../src/vospace/fault.ts'
import { aclKindOf, type AclKind } from '../src/vospace/posix-acl.ts'
import { type Inode } from './cache.ts'
import { type Tree } from './tree.ts'

const CREATE = 1
const REPLACE = 2

/** Throws ENODATA where there is none. */
export async function getXattr(tree: Tree, inode: Inode, name: string): Promise<Buffer> {
  const refusal = foreign(name)
  if (refusal !== undefined) throw refusal
  const kind = aclKindOf(name)
  if (kind !== undefined) return getAcl(tree, inode, kind, name)
  const known = inode.xattrs
  const missing = known !== undefined && known.until > performance.now() && !known.names.includes(name)
  if (missing || inode.unlinked) throw noData(name)
  return tree.remote.xattr(tree.table.path(inode), name)
}

/** Names; remembered as long as attributes are. */
export async function listXattr(tree: Tree, inode: Inode): Promise<readonly string[]> {
  if (inode.unlinked) return []
  const now = performance.now()
  if (inode.xattrs === undefined || inode.xattrs.until <= now) {
    const names = await tree.remote.xattrNames(tree.table.path(inode))
    inode.xattrs = { names, until: now + tree.ttl }
  }
  return inode.xattrs.names
}

/** flags of setxattr(2). Throws EEXIST, ENODATA, EOPNOTSUPP for other namespaces. */
export async function setXattr(tree: Tree, inode: Inode, name: string, value: Buffer, flags: number): Promise<void> {
  checkNamespace(name)
  const only = (flags & CREATE) !== 0 ? 'create' : (flags & REPLACE) !== 0 ? 'replace' : undefined
  await tree.remote.setXattr(tree.table.path(inode), name, value, only)
  changed(inode)
}

/** Throws ENODATA, EOPNOTSUPP for other namespaces. */
export async function removeXattr(tree: Tree, inode: Inode, name: string): Promise<void> {
  checkNamespace(name)
  await tree.remote.removeXattr(tree.table.path(inode), name)
  changed(inode)
}

function changed(inode: Inode): void {
  inode.xattrs = undefined
  inode.fetched = -Infinity
}

/** Programs ask for it all the time: where the entry says that there is none, nobody else is asked. */
async function getAcl(tree: Tree, inode: Inode, kind: AclKind, name: string): Promise<Buffer> {
  const { entry } = await tree.current(inode)
  if (entry.type === 'link') throw new Fault('OperationNotSupported', name)
  const { groupRead, groupWrite, inherit } = entry.access
  const isShared = kind === 'default' ? inherit : groupRead.length + groupWrite.length > 0
  const isThere = tree.options.trusted === true ? entry.hasAcl === true : isShared
  if (!isThere || inode.unlinked) throw noData(name)
  return tree.remote.xattr(tree.table.path(inode), name)
}

function checkNamespace(name: string): void {
  if (foreign(name) !== undefined) throw new Fault('OperationNotSupported', name)
}

/** What to say of a name that is not the gateway's. */
function foreign(name: string): Fault | undefined {
  if (name.startsWith('user.') || aclKindOf(name) !== undefined) return undefined
  return name.startsWith('system.') ? new Fault('OperationNotSupported', name) : noData(name)
}

function noData(name: string): Fault {
  return new Fault('NodeNotFound', name, { errno: 'ENODATA' })
}
