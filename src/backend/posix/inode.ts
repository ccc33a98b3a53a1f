/** One node as the file system has it: reads everything kept of it, in as few calls as it takes. */
import { readlinkSync } from 'node:fs'
import { listXattrAt } from '../../libc/directory.ts'
import { codeOf, ERRNO } from '../../libc/errno.ts'
import { LibcError } from '../../libc/ffi.ts'
import { AT_FDCWD, type Stat, statIn } from '../../libc/statx.ts'
import { getXattr, getXattrOpen } from '../../libc/xattr.ts'
import { shownMode } from '../../vospace/mode.ts'
import { groupList, type Access, type Entry, type NodeType, type Special } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type Ids } from '../backend.ts'
import { ACCESS_ACL, aclOfMode, DEFAULT_ACL, parseAcl, unmasked, type Acl } from '../../vospace/posix-acl.ts'
import { propertyOf, propertyPrefix, textOf } from './properties.ts'
import { derivedVersion, parseRecord, selfOf, type NodeRecord } from './record.ts'
import { groupsOfAcl } from './sharing.ts'
import { readSidecar, type Sidecar } from './sidecar.ts'

/** What reading and writing an inode depends on. */
export interface Keeping {
  /** root: the kernel keeps owner and groups. Else they are kept in attributes that say so. */
  readonly root: boolean
  readonly ids: Ids
  /** unprivileged: who owns a node that nobody labelled */
  readonly unlabelledOwner: string | undefined
  /** path of the sidecar folder; undefined while there is none */
  sidecars: string | undefined
}

export interface Inode {
  readonly type: NodeType
  readonly stat: Stat
  readonly self: string
  readonly id: string
  readonly contentVersion: string
  readonly md5: string | undefined
  /** base mode */
  readonly mode: number
  readonly gid: number
  readonly access: Access
  readonly properties: ReadonlyMap<string, string>
  readonly text: Buffer | undefined
  /** no node of VOSpace: only trusted mounts see it, as a data node */
  readonly special: Special | undefined
  /** with the mask applied */
  readonly acl: Acl
  readonly hasAcl: boolean
  readonly hasDefaultAcl: boolean
  readonly record: NodeRecord
  /** properties that stand in attributes */
  readonly inline: ReadonlyMap<string, string>
  readonly side: Sidecar | undefined
  /** names of attributes that are none of ours: kept as they are */
  readonly foreign: readonly string[]
}

export const RECORD = { root: 'trusted.karst.node', unprivileged: 'user.karst.node' } as const

export function recordName(keeping: Keeping): string {
  return keeping.root ? RECORD.root : RECORD.unprivileged
}

/** Where a node is looked at: a name in an open directory, or with AT_FDCWD a path; `file` is always a path to it. */
interface Place {
  readonly dir: number
  readonly name: string
  readonly file: string
}

/** What stands at a path (of the file system; not followed). undefined: nothing, or no node (a socket, FIFO or device) unless `special` is asked for. */
export function readInode(file: string, keeping: Keeping, special = false): Inode | undefined {
  return readInodeAt({ dir: AT_FDCWD, name: file, file }, keeping, special)
}

/** The same of a name in an open directory, where there is less of a way to walk. */
export function readInodeAt(place: Place, keeping: Keeping, special = false): Inode | undefined {
  const stat = statIn(place.dir, place.name)
  const type = stat === undefined ? undefined : (typeOf(stat) ?? (special ? 'data' : undefined))
  if (stat === undefined || type === undefined) return undefined
  try {
    return readKept(place, type, stat, keeping)
  } catch (error) {
    // another process took it away, or put something else there, since the line above
    if (['ENOENT', 'EINVAL', 'ENOTDIR'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}

function readKept(place: Place, type: NodeType, stat: Stat, keeping: Keeping): Inode {
  const found = type === 'container' ? keptAttributes(place, stat, keeping) : attributes(place, type, keeping)
  const self = selfOf(stat)
  const side = sidecarOf(self, type, found.record, keeping)
  const record = side === undefined ? found.record : { ...found.record, ...side.record }
  const properties = side === undefined ? found.inline : new Map([...found.inline, ...side.properties])
  const raw = found.acl ?? aclOfMode(stat.mode)
  const acl = unmasked(raw)
  const mode = baseMode(stat.mode & 0o7777, type, acl, record, keeping)
  const gid = keeping.root ? stat.gid : undefined
  const access = accessOf(type, mode, stat, acl, { ...found, record }, keeping)
  return {
    ...contentOf(self, type, stat, record),
    ...found,
    type, stat, self, record, side, properties, acl, mode, access,
    hasAcl: found.acl !== undefined,
    gid: gid ?? record.gid ?? keeping.ids.gidOfUser(access.owner) ?? stat.gid,
    text: type === 'link' ? readlinkSync(place.file, { encoding: 'buffer' }) : undefined,
    special: type === 'data' && !isFile(stat) ? specialOf(stat) : undefined,
  } // prettier-ignore
}

/** Changes with anything of the node. */
export function versionOf({ stat }: Inode): string {
  return `${stat.ctimeNs.toString(36)}.${stat.ino.toString(36)}`
}

/** The inode as every layer sees it; `special`: as trusted mounts do. */
export function entryOf(inode: Inode, path: NodePath, keeping: Keeping, special = false): Entry {
  const { type, stat, id, contentVersion, access, properties, md5, text } = inode
  const real = stat.mode & 0o7777
  return {
    id, path, type, contentVersion, access, properties,
    size: type === 'container' ? 0 : stat.size,
    mode: shownMode(type, keeping.root ? real : inode.mode, access),
    uid: keeping.root ? stat.uid : (keeping.ids.uidOf(access.owner) ?? stat.uid),
    gid: inode.gid,
    nlink: stat.nlink,
    mtime: stat.mtimeNs,
    ctime: stat.ctimeNs,
    version: versionOf(inode),
    ...(md5 !== undefined && { md5 }),
    ...(text !== undefined && { text }),
    ...((inode.hasAcl || inode.hasDefaultAcl) && { hasAcl: true as const }),
    ...(inode.special !== undefined && { special: inode.special }),
    ...(special && { atime: stat.atimeNs }),
  } // prettier-ignore
}

function specialOf({ mode, device }: Stat): Special {
  return { format: mode & S_IFMT, device }
}

const S_IFMT = 0o170000
const S_IFREG = 0o100000
const TYPES: Readonly<Record<number, NodeType>> = { [S_IFREG]: 'data', 0o040000: 'container', 0o120000: 'link' }

const isFile = ({ mode }: Pick<Stat, 'mode'>): boolean => (mode & S_IFMT) === S_IFREG

function typeOf({ mode }: Pick<Stat, 'mode'>): NodeType | undefined {
  return TYPES[mode & S_IFMT]
}

interface Found {
  readonly record: NodeRecord
  readonly acl: Acl | undefined
  readonly hasDefaultAcl: boolean
  readonly inline: ReadonlyMap<string, string>
  readonly foreign: readonly string[]
}

/** Attributes of containers as they were read, by device and inode: each path is walked from the root, so the upper ones are read always. */
const known = new WeakMap<Keeping, Map<string, { readonly ctime: bigint; readonly found: Found }>>()
const MOST_KNOWN = 4096
/** A change within one tick of the clock leaves ctime as it was: what was read so soon after a change is not trusted (nanoseconds). */
const SETTLED = 2_000_000_000n

/** Whether whatever changes from `time` (milliseconds) on will have another ctime. */
export function isSettled(ctime: bigint, time: number): boolean {
  return BigInt(time) * 1_000_000n - ctime > SETTLED
}

/** As `attributes`: read again only when ctime, which changes with every attribute and is nobody's to set, is another. */
function keptAttributes(place: Place, stat: Stat, keeping: Keeping): Found {
  const inodes = known.get(keeping) ?? new Map<string, { ctime: bigint; found: Found }>()
  known.set(keeping, inodes)
  const key = `${stat.dev}:${stat.ino}`
  const before = inodes.get(key)
  if (before?.ctime === stat.ctimeNs) return before.found
  const time = Date.now()
  const found = attributes(place, 'container', keeping)
  if (inodes.size >= MOST_KNOWN) inodes.clear()
  if (isSettled(stat.ctimeNs, time)) inodes.set(key, { ctime: stat.ctimeNs, found })
  else inodes.delete(key)
  return found
}

function attributes({ dir, name: at, file }: Place, type: NodeType, keeping: Keeping): Found {
  const names = listXattrAt(dir, at)
  if (names === undefined) throw new LibcError('listxattr', ERRNO.ENOENT)
  if (names.length === 0) return NOTHING
  const prefix = propertyPrefix(type, keeping.root)
  const inline = new Map<string, string>()
  const foreign: string[] = []
  let record: NodeRecord = {}
  let acl: Acl | undefined
  let hasDefaultAcl = false
  for (const name of names) {
    if (name === recordName(keeping)) record = parseRecord(getXattr(file, name))
    else if (name === ACCESS_ACL) acl = keeping.root ? parseAcl(getXattr(file, name) ?? NONE) : undefined
    else if (name === DEFAULT_ACL) hasDefaultAcl = keeping.root
    else {
      const uri = propertyOf(name, prefix)
      const value = uri === undefined ? undefined : getXattr(file, name)
      const text = value === undefined ? undefined : textOf(value)
      if (uri !== undefined && text !== undefined) inline.set(uri, text)
      else if (isForeign(name)) foreign.push(name)
    }
  }
  return { record, acl, hasDefaultAcl, inline, foreign }
}
const NONE = Buffer.alloc(0)
/** Of the many that somebody else has put there: one for all of them, so nobody may change it. */
const NOTHING: Found = { record: {}, acl: undefined, hasDefaultAcl: false, inline: new Map(), foreign: [] }

/** Other programs' notes on the file. What is in trusted.* or security.* is of the inode (XFS shows its ACL there), not of the node. */
function isForeign(name: string): boolean {
  return name.startsWith('user.') && !name.startsWith('user.karst.')
}

function sidecarOf(self: string, type: NodeType, record: NodeRecord, keeping: Keeping): Sidecar | undefined {
  if (keeping.sidecars === undefined) return undefined
  const possible = (record.side === true && record.self === self) || (type === 'link' && !keeping.root)
  return possible ? readSidecar(keeping.sidecars, self) : undefined
}

/** The content version of an open data node. */
export function openContentVersion(fd: number, keeping: Keeping): string {
  const stat = statIn(fd, '')
  if (stat === undefined) throw new LibcError('statx', ERRNO.ENOENT)
  const record = parseRecord(getXattrOpen(fd, recordName(keeping)))
  return contentOf(selfOf(stat), 'data', stat, record).contentVersion
}

function contentOf(self: string, type: NodeType, stat: Stat, record: NodeRecord) {
  const mine = record.self === self
  const id = mine && record.id !== undefined ? record.id : self
  if (type !== 'data') return { id, contentVersion: '', md5: undefined }
  // a write from outside changes size or mtime: then the bytes are not those that were named
  const tied = mine && record.size === stat.size && record.mtime === String(stat.mtimeNs)
  const named = tied ? record.cv : undefined
  return {
    id,
    contentVersion: named ?? derivedVersion(self, stat.size, stat.mtimeNs),
    md5: tied ? record.md5 : undefined,
  }
}

function baseMode(real: number, type: NodeType, acl: Acl, record: NodeRecord, keeping: Keeping): number {
  if (type === 'link') return 0o777
  if (keeping.root) return (real & ~0o070) | (acl.group << 3)
  // chmod from outside: the recorded mode holds only while the real one is what we made it
  return record.mode !== undefined && record.real === real ? record.mode : real
}

function accessOf(
  type: NodeType,
  mode: number,
  stat: Stat,
  acl: Acl,
  found: Pick<Found, 'record' | 'hasDefaultAcl'>,
  { root, ids, unlabelledOwner }: Keeping,
): Access {
  const { record, hasDefaultAcl } = found
  const { uid, gid } = stat
  const granted = root && type !== 'link' ? groupsOfAcl(type, acl, gid, ids) : { groupRead: [], groupWrite: [] }
  const also = (record.also ?? []).filter((uri) => granted.groupWrite.includes(uri))
  return {
    owner: root ? ids.ownerOf(uid) : (record.owner ?? unlabelledOwner ?? ids.ownerOf(uid)),
    // a link says nothing that its container has not said: a foreign one is as readable as that
    isPublic: type === 'link' ? (record.isPublic ?? true) : (mode & 4) !== 0,
    groupRead: groupList([...granted.groupRead, ...(record.groupRead ?? []), ...also]),
    groupWrite: groupList([...granted.groupWrite, ...(record.groupWrite ?? [])]),
    inherit: type === 'container' && (root ? hasDefaultAcl : record.inherit === true),
    locked: record.locked === true,
  }
}
