/**
 * The mount door, `/fs/v1` (schemas/fs-v1.md): names made, removed and renamed, with the error numbers that programs look at, in the order
 * in which the kernel finds them. Links on the way are not followed. What is repeated after a crash is said in once.ts.
 */
import { type Ref } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { createdMode, newAccess } from '../vospace/mode.ts'
import { type Access, type Entry, type NodeType } from '../vospace/node.ts'
import { isWithin, nameOf, type NodePath } from '../vospace/path.ts'
import { authorize, authorizeCrossing, seen, seenBelow } from './authorize.ts'
import { locate, placeOf } from './fs-place.ts'
import { isOurs, once, type Once } from './once.ts'
import { chainOf, present, type Found, type Place } from './resolve.ts'
import { namesFor, type SeenEntry, type Space } from './space.ts'

export { setattr, type FsAttributes } from './fs-attributes.ts'
export * from './fs-data.ts'
export { link } from './fs-link.ts'
export { make, type PosixDraft } from './fs-trusted.ts'
export { removeXattr, setXattr, xattr, xattrNames } from './fs-xattr.ts'

export interface FsListing {
  readonly entries: AsyncIterable<SeenEntry>
  /** After the last entry: the name the next call starts from; null: that was all. */
  cursor(): string | null
}

/** Blocks of `blockSize` bytes; with a quota they are the quota's. Counts that are not known are 0. */
export interface SpaceLeft {
  readonly blockSize: number
  readonly blocks: number
  readonly blocksFree: number
  readonly files: number
  readonly filesFree: number
  /** bytes; null: unknown */
  readonly used: number | null
  /** bytes; null: none */
  readonly quota: number | null
  readonly nameMax: number
}

export type RenameFlags = 'replace' | 'noreplace' | 'exchange'

/** lstat: the path must be readable, the node need not be. NodeNotFound (ENOENT, ESTALE), ContainerNotFound (ENOTDIR), LinkFound (ELOOP), PermissionDenied. */
export async function entryOf(space: Space, caller: Caller, ref: Ref): Promise<SeenEntry> {
  return seen(caller, chainOf(await locate(space, caller, ref)), space.rules)
}

/** Children in byte order of their names. Besides entryOf's refusals TypeNotSupported (ENOTDIR), PermissionDenied when not readable. */
export async function listOf(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: { readonly cursor?: string; readonly limit?: number; readonly signal?: AbortSignal } = {},
): Promise<FsListing> {
  const found = await locate(space, caller, { path })
  if (found.node.type !== 'container') {
    throw new Fault('TypeNotSupported', `${path} is no container`, { errno: 'ENOTDIR' })
  }
  const chain = chainOf(found)
  authorize(caller, 'list', chain, space.rules)
  const { cursor: from, limit = Infinity, signal } = options
  let next: string | null = null
  async function* entries(): AsyncGenerator<SeenEntry> {
    const look = seenBelow(caller, chain, space.rules)
    let left = limit
    for await (const entry of namesFor(space, caller).list(path, {
      ...(from !== undefined && { from }),
      ...(signal && { signal }),
    })) {
      if (left-- <= 0) {
        next = nameOf(entry.path)
        return
      }
      yield look(entry)
    }
  }
  return { entries: entries(), cursor: () => next }
}

/** Sharing comes from the container (inherit) or is none, whatever the mode says. DuplicateNode (EEXIST), PermissionDenied, ContainerNotFound. */
export async function mkdir(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: { readonly mode?: number } & Once = {},
): Promise<SeenEntry> {
  const make = (parent: Access, owner: string): Promise<Entry> => {
    const access = newAccess('container', {}, parent, owner)
    const mode = createdMode('container', options.mode, access)
    return space.backend.make(path, { type: 'container', access, mode })
  }
  return makeNew(space, caller, path, options, make, (entry) => entry.type === 'container')
}

/** `text` is kept byte for byte: 1 to 4095 bytes without NUL (ENOENT, ENAMETOOLONG, EINVAL). Refuses as mkdir does. */
export async function symlink(
  space: Space,
  caller: Caller,
  path: NodePath,
  text: Buffer,
  options: Once = {},
): Promise<SeenEntry> {
  if (text.length === 0) throw new Fault('InvalidArgument', 'a link needs a text', { errno: 'ENOENT' })
  if (text.length > 4095) throw new Fault('InvalidArgument', 'link text too long', { errno: 'ENAMETOOLONG' })
  if (text.includes(0)) throw new Fault('InvalidArgument', 'NUL in a link text')
  const make = (parent: Access, owner: string): Promise<Entry> => {
    const access = newAccess('link', {}, parent, owner)
    return space.backend.make(path, { type: 'link', access, mode: createdMode('link', undefined, access), text })
  }
  return makeNew(space, caller, path, options, make, (entry) => entry.text?.equals(text) === true)
}

async function makeNew(
  space: Space,
  caller: Caller,
  path: NodePath,
  { attempt }: Once,
  make: (parent: Access, owner: string) => Promise<Entry>,
  isAlike: (entry: Entry) => boolean,
): Promise<SeenEntry> {
  const work = async (): Promise<SeenEntry> => {
    const { node, parents } = await placeOf(space, caller, path)
    const parent = parents.at(-1)
    if (node !== undefined || parent === undefined) throw new Fault('DuplicateNode', path)
    authorize(caller, 'create', parents, space.rules)
    if (caller.user === undefined) throw new Fault('PermissionDenied', 'anonymous callers never write')
    const entry = await make(parent.access, caller.user)
    space.changes.append({ id: entry.id, path, kind: 'made' })
    return seen(caller, [...parents, entry], space.rules)
  }
  return once(attempt, 'DuplicateNode', work, async () => {
    const found = present(await placeOf(space, caller, path))
    const isDone = isAlike(found.node) && isOurs(attempt, caller, found.node)
    return isDone ? seen(caller, chainOf(found), space.rules) : undefined
  })
}

/**
 * One node; a container must be empty (ENOTEMPTY). NodeNotFound, PermissionDenied (EACCES; EPERM: locked; EBUSY: the root),
 * TypeNotSupported (ENOTDIR, EISDIR).
 */
export async function remove(
  space: Space,
  caller: Caller,
  path: NodePath,
  type: NodeType | 'leaf',
  { attempt }: Once = {},
): Promise<void> {
  checkNotRoot(path)
  const place = await placeOf(space, caller, path)
  const isGone = attempt?.noted !== undefined && attempt.noted !== place.node?.id
  if (isGone) return
  const { node, parents } = present(place)
  authorize(caller, 'delete', [...parents, node], space.rules)
  attempt?.note(node.id)
  await namesFor(space, caller).remove(path, type)
  space.changes.append({ id: node.id, path, kind: 'removed' })
}

/**
 * rename(2), or renameat2(2) with a flag: write permission on both containers; neither they nor the node nor what it replaces is locked.
 * NodeNotFound, DuplicateNode (noreplace), InvalidArgument (EINVAL: into itself), ContainerNotEmpty, TypeNotSupported (ENOTDIR, EISDIR),
 * PermissionDenied (EACCES; EPERM: locked; EBUSY: the root), OperationNotSupported (exchange, EXDEV).
 */
export async function rename(
  space: Space,
  caller: Caller,
  from: NodePath,
  to: NodePath,
  flags: RenameFlags = 'replace',
  { attempt }: Once = {},
): Promise<SeenEntry> {
  checkNotRoot(from)
  checkNotRoot(to)
  const source = await placeOf(space, caller, from)
  const dest = await placeOf(space, caller, to)
  if (attempt?.noted !== undefined && attempt.noted === dest.node?.id) {
    return seen(caller, chainOf(present(dest)), space.rules)
  }
  const moving = present(source)
  if (flags === 'noreplace' && dest.node !== undefined) throw new Fault('DuplicateNode', to)
  if (flags === 'exchange') present(dest)
  if (moving.node.id === dest.node?.id) return seen(caller, chainOf(moving), space.rules)
  checkNotWithin(from, to, flags)
  authorizeRename(space, caller, moving, dest, flags === 'exchange')
  attempt?.note(moving.node.id)
  const how = { replace: flags === 'replace', exchange: flags === 'exchange' }
  const entry = await namesFor(space, caller).move(from, to, how)
  noteRename(space, { from, to, flags }, entry, dest.node)
  return seen(caller, [...dest.parents, entry], space.rules)
}

function checkNotRoot(path: NodePath): void {
  if (path === '/') throw new Fault('PermissionDenied', 'the root stays where it is', { errno: 'EBUSY' })
}

function checkNotWithin(from: NodePath, to: NodePath, flags: RenameFlags): void {
  if (isWithin(to, from) || (flags === 'exchange' && isWithin(from, to))) {
    throw new Fault('InvalidArgument', `${from} cannot be moved into itself`)
  }
  if (isWithin(from, to)) throw new Fault('ContainerNotEmpty', to)
}

function authorizeRename(
  space: Space,
  caller: Caller,
  moving: Found,
  { parents, node }: Place,
  isExchange: boolean,
): void {
  authorize(caller, 'delete', chainOf(moving), space.rules)
  if (node === undefined) authorize(caller, 'create', parents, space.rules)
  else authorize(caller, 'delete', [...parents, node], space.rules)
  authorizeCrossing(caller, chainOf(moving), parents, space.rules)
  if (isExchange && node !== undefined) authorizeCrossing(caller, [...parents, node], moving.parents, space.rules)
}

function noteRename(
  { changes }: Space,
  { from, to, flags }: { from: NodePath; to: NodePath; flags: RenameFlags },
  entry: Entry,
  replaced: Entry | undefined,
): void {
  if (replaced !== undefined && flags === 'exchange')
    changes.append({ id: replaced.id, path: from, kind: 'moved', from: to })
  else if (replaced !== undefined) changes.append({ id: replaced.id, path: to, kind: 'removed' })
  changes.append({ id: entry.id, path: to, kind: 'moved', from })
}

const BLOCK = 4096

/** Room in the allocation of `path`. Refuses as entryOf does. */
export async function statfs(space: Space, caller: Caller, path: NodePath): Promise<SpaceLeft> {
  await locate(space, caller, { path })
  const { used, quota, total, free, files, filesFree } = await space.backend.usage(path)
  const isWithinQuota = quota !== null
  const left = isWithinQuota ? Math.max(0, Math.min(quota - (used ?? 0), free)) : free
  return {
    blockSize: BLOCK,
    blocks: Math.floor((isWithinQuota ? quota : total) / BLOCK),
    blocksFree: Math.floor(left / BLOCK),
    // as statvfs(3) counts: in use and free together
    files: files === null || filesFree === null ? 0 : files + filesFree,
    filesFree: filesFree ?? 0,
    used,
    quota,
    nameMax: 255,
  }
}
