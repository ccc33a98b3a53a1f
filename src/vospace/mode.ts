/**
 * Access and mode, two views of one thing, as pure functions.
 *
 * The *base mode* is what is kept: owner bits, execute bits and the bits of the owning group (`group::` of an ACL).
 * Other-read is isPublic. A granted group is r (rw when it may write), and x on containers. What stat shows (`shownMode`) has
 * the union of owning group and granted groups in its group bits, as the kernel shows the mask of a POSIX ACL:
 * so the mask never removes a granted group.
 */
import { type Access, type NodeType } from './node.ts'

export const DEFAULT_CONTAINER_MODE = 0o750
export const DEFAULT_DATA_MODE = 0o640
export const LINK_MODE = 0o777

const GROUP = 0o070
const OTHER = 0o007

/** Permission bits (0 to 7) that the granted groups have between them. */
export function grantedBits(type: NodeType, access: Access): number {
  const x = type === 'container' ? 1 : 0
  if (access.groupWrite.length > 0) return 6 | x
  return access.groupRead.length > 0 ? 4 | x : 0
}

/** What stat shows of a base mode. A link is always 0777. */
export function shownMode(type: NodeType, baseMode: number, access: Access): number {
  if (type === 'link') return LINK_MODE
  return agreeing(type, baseMode, access) | (grantedBits(type, access) << 3)
}

/** The base mode with its other bits made to agree with isPublic: kept when they agree already, else r (x on containers) or none. */
export function agreeing(type: NodeType, baseMode: number, access: Access): number {
  const mode = baseMode & 0o7777
  if (((mode & 4) !== 0) === access.isPublic) return mode
  if (!access.isPublic) return mode & ~OTHER
  const x = type === 'container' || (mode & 0o100) !== 0 ? 1 : 0
  return (mode & ~OTHER) | 4 | x
}

/**
 * An explicit chmod: other-read becomes isPublic, and the group bits taken away are taken from the granted groups too
 * (no r: no group; no w: writers become readers), so that 0600 means what the user meant.
 * Bits added grant no group anything, as in a POSIX ACL.
 */
export function chmodded(requested: number, access: Access): { mode: number; access: Access } {
  const readers = (requested & 0o040) !== 0
  const writers = readers && (requested & 0o020) !== 0
  const groupWrite = writers ? access.groupWrite : []
  const groupRead = !readers
    ? []
    : writers
      ? access.groupRead
      : [...new Set([...access.groupRead, ...access.groupWrite])].sort()
  return {
    mode: requested & 0o7777,
    access: { ...access, isPublic: (requested & 4) !== 0, groupRead, groupWrite },
  }
}

/**
 * The base mode of a new node whose access is settled: what the program asked for, except that public access is the
 * parent's to give. For nodes made over HTTP `requested` is undefined and the defaults hold.
 */
export function createdMode(type: NodeType, requested: number | undefined, access: Access): number {
  if (type === 'link') return LINK_MODE
  const mode = requested ?? (type === 'container' ? DEFAULT_CONTAINER_MODE : DEFAULT_DATA_MODE)
  if (!access.isPublic) return mode & 0o7777 & ~OTHER
  const x = type === 'container' ? 1 : (mode & 0o100) !== 0 ? 1 : 0
  return (mode & (0o7000 | 0o700 | GROUP)) | 4 | x
}

/**
 * Access of a new node. Where the parent's `inherit` is set, what the client does not say (no groups being as good as nothing said) comes
 * from the parent; else it is private. Its maker owns it.
 */
export function newAccess(type: NodeType, wishes: Partial<Access>, parent: Access, owner: string): Access {
  const from = parent.inherit ? parent : PRIVATE
  const given = (groups: readonly string[] | undefined): readonly string[] | undefined =>
    groups !== undefined && groups.length > 0 ? groups : undefined
  return {
    owner,
    isPublic: wishes.isPublic ?? from.isPublic,
    groupRead: given(wishes.groupRead) ?? from.groupRead,
    groupWrite: given(wishes.groupWrite) ?? from.groupWrite,
    inherit: type === 'container' && (wishes.inherit ?? from.inherit),
    locked: wishes.locked ?? false,
  }
}

const PRIVATE = { isPublic: false, groupRead: [], groupWrite: [], inherit: false }
