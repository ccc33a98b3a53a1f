/** Writes what is kept of a node: properties, record, owner, ACL, mode and times, touching only what differs. */
import { chmodSync, chownSync, closeSync, constants, openSync, statSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { statIn } from '../../libc/statx.ts'
import { O_PATH, setTimes } from '../../libc/openat.ts'
import { getXattr, removeXattr, setXattr } from '../../libc/xattr.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Access } from '../../vospace/node.ts'
import { type Changes, type Ids } from '../backend.ts'
import { changed } from '../contract.ts'
import { ACCESS_ACL, buildAcl, DEFAULT_ACL, modeOfAcl, type Acl } from '../../vospace/posix-acl.ts'
import { type Inode, type Keeping, readInode, recordName } from './inode.ts'
import { divided, INLINE_BYTES, propertyPrefix } from './properties.ts'
import { derivedVersion, type NodeRecord, recordBytes } from './record.ts'
import { removeSidecar, writeSidecar } from './sidecar.ts'
import { aclOfGroups, regrouped } from './sharing.ts'

/** What a node shall be. */
export interface Wanted {
  readonly access: Access
  /** base mode */
  readonly mode: number
  readonly gid: number | undefined
  readonly properties: ReadonlyMap<string, string>
  /** undefined: named after the inode */
  readonly id?: string | undefined
  /** data: undefined when derived */
  readonly contentVersion?: string | undefined
  readonly md5?: string | undefined
  readonly mtime?: bigint | undefined
  readonly atime?: bigint | undefined
  /** entries of this ACL that are none of ours are kept */
  readonly acl: Acl
}

/** What a node is, with changes laid over it. */
export function wantedOf(inode: Inode, changes: Changes, { root, ids }: Keeping): Wanted {
  const { type, id, contentVersion, md5, acl } = inode
  const own = inode.gid === ids.gidOfUser(inode.access.owner) && changes.gid === undefined
  const { access, mode, properties, gid } = changed(type, inode, changes)
  const named = changes.access?.groupRead !== undefined || changes.access?.groupWrite !== undefined
  const groups = root && changes.gid !== undefined && !named && type !== 'link' ? regrouped(type, access, acl, inode.gid, changes.gid, ids) : {} // prettier-ignore
  return {
    access: { ...access, ...groups },
    mode,
    properties,
    gid: own && access.owner !== inode.access.owner ? ids.gidOfUser(access.owner) : gid,
    id,
    contentVersion,
    md5,
    acl,
    mtime: changes.mtime,
    atime: changes.atime,
  }
}

/** The number of an owner, also of one that is only a number. Throws InvalidArgument for a name we have no number for. */
export function uidOf(owner: string, ids: Ids): number {
  const uid = ids.uidOf(owner) ?? (/^uid:\d{1,10}$/.test(owner) ? Number(owner.slice(4)) : undefined)
  if (uid === undefined) throw new Fault('InvalidArgument', `no uid for the user ${owner}`)
  return uid
}

/**
 * Makes the node at `file`, read as `inode`, what is wanted. Throws errors of the kernel; what was written before one stays,
 * so the caller throws the node away or writes the old state back. Everything is done on a descriptor of that inode: whoever
 * puts a symlink or another file in its place meanwhile gets nothing changed.
 */
export function writeInode(file: string, inode: Inode, wanted: Wanted, keeping: Keeping): void {
  const pin = pinned(file, inode)
  try {
    writePinned(`/proc/self/fd/${pin}`, file, inode, wanted, keeping)
  } finally {
    closeSync(pin)
  }
}

/** A descriptor (O_PATH) of the inode that was read. Throws NodeBusy when another one stands there now. */
export function pinned(file: string, inode: Inode): number {
  const pin = openSync(file, O_PATH | constants.O_NOFOLLOW)
  try {
    refuseOther(pin, inode)
    return pin
  } catch (error) {
    closeSync(pin)
    throw error
  }
}

/** NodeBusy unless the descriptor is of that inode. */
export function refuseOther(fd: number, { stat }: Inode): void {
  const now = statIn(fd, '')
  if (now?.ino !== stat.ino || now.dev !== stat.dev) throw new Fault('NodeBusy', 'replaced from outside this instant')
}

function writePinned(pin: string, file: string, inode: Inode, wanted: Wanted, keeping: Keeping): void {
  const sharing = keeping.root && inode.type !== 'link' ? aclOfWanted(inode, wanted, keeping) : undefined
  try {
    writeLabels(pin, inode, wanted, sharing, keeping, INLINE_BYTES)
  } catch (error) {
    const code = codeOf(error)
    if (code !== 'ENOSPC' && code !== 'E2BIG' && code !== 'ERANGE') throw error
    // little room beside foreign attributes: all properties to the sidecar (on a full disk that fails too)
    writeLabels(pin, readInode(file, keeping) ?? inode, wanted, sharing, keeping, 0)
  }
  writeOwner(pin, inode, wanted, keeping)
  if (inode.type !== 'link') writeMode(pin, inode, wanted, sharing?.acl, keeping)
  const { atime, mtime } = wanted
  if (atime !== undefined || mtime !== undefined) setTimes(pin, { atime, mtime })
}

/** Copies the attributes that are none of ours from one file to another. */
export function copyForeign(from: string, to: string, names: readonly string[]): void {
  for (const name of names) {
    const value = getXattr(from, name)
    if (value !== undefined) setXattr(to, name, value)
  }
}

function aclOfWanted(inode: Inode, wanted: Wanted, { ids }: Keeping) {
  const gid = wanted.gid ?? inode.gid
  return aclOfGroups(inode.type, wanted.mode, wanted.access, gid, ids, wanted.acl)
}

type Sharing = ReturnType<typeof aclOfGroups>

function writeLabels(file: string, inode: Inode, wanted: Wanted, sharing: Sharing | undefined, keeping: Keeping, room: number): void {
  const { type, self } = inode
  const prefix = propertyPrefix(type, keeping.root)
  const { inline, side } = divided(wanted.properties, prefix, room)
  const record = recordOf(inode, wanted, sharing, keeping, side.size > 0)
  const inSidecar = type === 'link' && !keeping.root
  const hasRecord = Object.keys(record).length > 0
  if (side.size > 0 || (inSidecar && hasRecord)) {
    if (keeping.sidecars === undefined) throw new Error('no sidecar folder')
    writeSidecar(keeping.sidecars, self, { ...(inSidecar && { record }), properties: side })
  }
  if (!inSidecar) writeRecord(file, inode, record, keeping)
  for (const uri of inode.inline.keys()) if (!inline.has(uri)) removeXattr(file, `${prefix}${uri}`)
  for (const [uri, value] of inline) {
    if (inode.inline.get(uri) !== value) setXattr(file, `${prefix}${uri}`, Buffer.from(value))
  }
  if (inode.side !== undefined && side.size === 0 && !(inSidecar && hasRecord) && keeping.sidecars !== undefined) {
    removeSidecar(keeping.sidecars, self)
  }
} // prettier-ignore

function writeRecord(file: string, inode: Inode, record: NodeRecord, keeping: Keeping): void {
  if (JSON.stringify(record) === JSON.stringify(inode.record)) return
  if (Object.keys(record).length === 0) removeXattr(file, recordName(keeping))
  else setXattr(file, recordName(keeping), recordBytes(record))
}

function recordOf(inode: Inode, wanted: Wanted, sharing: Sharing | undefined, keeping: Keeping, side: boolean): NodeRecord {
  const { type, self, stat } = inode
  const { access } = wanted
  const groups = sharing?.unnumbered ?? access
  const mtime = wanted.mtime ?? stat.mtimeNs
  const { contentVersion: cv, md5 } = wanted
  const named = type === 'data' && (md5 !== undefined || (cv !== undefined && cv !== derivedVersion(self, stat.size, mtime)))
  const renamed = wanted.id !== undefined && wanted.id !== self
  return {
    ...((named || renamed || side) && { self }),
    ...(renamed && { id: wanted.id }),
    ...(named && { size: Number(stat.size), mtime: String(mtime) }),
    ...(named && cv !== undefined && { cv }),
    ...(named && md5 !== undefined && { md5 }),
    ...(access.locked && { locked: true }),
    ...(type === 'link' && !access.isPublic && { isPublic: false }),
    ...(groups.groupRead.length > 0 && { groupRead: groups.groupRead }),
    ...(groups.groupWrite.length > 0 && { groupWrite: groups.groupWrite }),
    ...(sharing !== undefined && sharing.also.length > 0 && { also: sharing.also }),
    ...(!keeping.root && unprivilegedPart(type, wanted)),
    ...(side && { side }),
  }
} // prettier-ignore

function unprivilegedPart(type: Inode['type'], { access, gid, mode }: Wanted): NodeRecord {
  const real = realMode(type, mode)
  return {
    owner: access.owner,
    ...(gid !== undefined && { gid }),
    ...(access.inherit && { inherit: true }),
    ...(type !== 'link' && real !== mode && { mode, real }),
  }
}

/** Unprivileged, the gateway itself must get at its files, and lends nobody its own uid. */
function realMode(type: Inode['type'], mode: number): number {
  return (mode & 0o777) | (type === 'container' ? 0o700 : 0o600)
}

function writeOwner(file: string, inode: Inode, wanted: Wanted, { root, ids }: Keeping): void {
  if (!root) return
  const uid = uidOf(wanted.access.owner, ids)
  const gid = wanted.gid ?? inode.gid
  if (uid !== inode.stat.uid || gid !== inode.stat.gid) chownSync(file, uid, gid)
}

function writeMode(file: string, inode: Inode, wanted: Wanted, acl: Acl | undefined, keeping: Keeping): void {
  if (acl === undefined) return ensureMode(file, realMode(inode.type, wanted.mode))
  if (acl.named.length > 0) setXattr(file, ACCESS_ACL, buildAcl(acl))
  else if (inode.hasAcl) removeXattr(file, ACCESS_ACL)
  // chown takes the set-user-ID bits away, so the mode comes last; its group bits are the mask, which stays what it is
  ensureMode(file, modeOfAcl(acl) | (wanted.mode & 0o7000))
  if (inode.type === 'container' && keeping.root) writeDefaultAcl(file, inode, wanted, acl)
}

function ensureMode(file: string, mode: number): void {
  if ((statSync(file).mode & 0o7777) !== mode) chmodSync(file, mode)
}

/** What is made through a bind mount takes its groups and public access from the container, as through the gateway. */
function writeDefaultAcl(file: string, inode: Inode, { access }: Wanted, acl: Acl): void {
  if (!access.inherit) {
    if (inode.hasDefaultAcl) removeXattr(file, DEFAULT_ACL)
    return
  }
  const now = { ...acl, owner: 7, other: access.isPublic ? acl.other & 5 : 0 }
  const same = inode.hasDefaultAcl && JSON.stringify(inode.access) === JSON.stringify(access)
  if (!same) setXattr(file, DEFAULT_ACL, buildAcl(now))
}
