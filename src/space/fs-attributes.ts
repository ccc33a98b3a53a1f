/** chmod, chown, utimens and truncate for a mount. */
import { type Changes, type Extent, type Ref } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { chmodded } from '../vospace/mode.ts'
import { type Entry } from '../vospace/node.ts'
import { authorize, seen, type Chain } from './authorize.ts'
import { checkHasBytes, locate } from './fs-place.ts'
import { chainOf } from './resolve.ts'
import { noteSharing } from './share.ts'
import { posixOf, type SeenEntry, type Space } from './space.ts'

export interface FsAttributes {
  /** 12 bits */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** nanoseconds */
  readonly mtime?: bigint
  readonly atime?: bigint
  /** bytes */
  readonly size?: number
}

/**
 * Every permission first, then the length, then the rest in one step. Changing the mode changes sharing as mode.ts says. Only an administrator
 * gives a file another owner, or a group other than the owner's own: sharing with a group is a property, not an owning group.
 * PermissionDenied (EPERM; EACCES for the length), OperationNotSupported (mode of a link), TypeNotSupported (EISDIR), InvalidArgument.
 */
export async function setattr(
  space: Space,
  caller: Caller,
  ref: Ref,
  attributes: FsAttributes,
  options: { readonly signal?: AbortSignal } = {},
): Promise<SeenEntry> {
  const found = await locate(space, caller, ref)
  const { node, parents } = found
  authorizeAttributes(space, caller, chainOf(found), attributes)
  const changes = caller.trusted === true ? {} : changesFor(space, node, attributes)
  const target = { path: node.path, id: node.id }
  let entry = node
  if (attributes.size !== undefined && attributes.size !== node.size) {
    entry = await space.backend.amend(target, NO_EXTENTS, { ...options, length: attributes.size })
    space.changes.append({ id: entry.id, path: entry.path, kind: 'bytes' })
  }
  if (Object.keys(changes).length > 0) {
    entry = await space.backend.set(target, changes)
    if (changes.access !== undefined) noteSharing(space.audit, caller, node, entry)
    space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
  }
  if (caller.trusted === true) entry = await setAsRoot(space, caller, entry, attributes)
  return seen(caller, [...parents, entry], space.rules)
}

/** For a trusted mount: exactly what was asked. */
async function setAsRoot(
  space: Space,
  caller: Caller,
  node: Entry,
  { size: _size, ...changes }: FsAttributes,
): Promise<Entry> {
  if (Object.keys(changes).length === 0) return node
  const entry = await posixOf(space.backend).set({ path: node.path, id: node.id }, changes)
  noteSharing(space.audit, caller, node, entry)
  space.changes.append({ id: entry.id, path: entry.path, kind: 'attributes' })
  return entry
}

const NO_EXTENTS: AsyncIterable<Extent> = {
  async *[Symbol.asyncIterator]() {},
}

function authorizeAttributes(space: Space, caller: Caller, chain: Chain, asked: FsAttributes): void {
  const node = chain.at(-1)
  if (node === undefined) return
  const givesAway = asked.uid !== undefined && asked.uid !== node.uid
  const givesGroup = asked.gid !== undefined && asked.gid !== node.gid && asked.gid !== caller.gid
  if (givesAway || givesGroup) authorize(caller, 'administer', chain, space.rules)
  if (caller.trusted !== true) checkSetId(caller, node, asked.mode)
  const { size, uid: _uid, gid, ...rest } = asked
  const takesGroup = gid !== undefined && gid !== node.gid && !givesGroup
  if (takesGroup || Object.values(rest).some((value) => value !== undefined)) {
    authorize(caller, 'attributes', chain, space.rules)
  }
  if (size === undefined) return
  checkHasBytes(node)
  if (!Number.isSafeInteger(size) || size < 0) throw new Fault('InvalidArgument', `not a length: ${size}`)
  authorize(caller, 'write', chain, space.rules)
}

// As chmod(2), for which writing is no permission: who may write to a file must not make it run as its owner.
function checkSetId(caller: Caller, node: Entry, mode: number | undefined): void {
  const added = (mode ?? 0) & ~node.mode & 0o6000
  if (added === 0 || node.type !== 'data' || node.access.owner === caller.user) return
  throw new Fault('PermissionDenied', `only its owner sets the set-ID bits of ${node.path}`, { errno: 'EPERM' })
}

function changesFor(space: Space, node: Entry, asked: FsAttributes): Changes {
  const { mode, uid, gid, mtime, atime } = asked
  if (mode !== undefined && node.type === 'link') throw new Fault('OperationNotSupported', 'a link has no mode')
  const chmod = mode === undefined ? undefined : chmodded(mode, node.access)
  const owner = uid === undefined || uid === node.uid ? undefined : space.ids.ownerOf(uid)
  const access = {
    ...(chmod && {
      isPublic: chmod.access.isPublic,
      groupRead: chmod.access.groupRead,
      groupWrite: chmod.access.groupWrite,
    }),
    ...(owner !== undefined && { owner }),
  }
  return {
    ...(Object.keys(access).length > 0 && { access }),
    ...(chmod && { mode: chmod.mode }),
    ...(gid !== undefined && gid !== node.gid && { gid }),
    ...(mtime !== undefined && { mtime }),
    ...(atime !== undefined && { atime }),
  }
}
