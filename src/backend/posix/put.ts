/** put and copy: bytes into a staged file, then published with their attributes in one step. */
import { fdatasync, statfsSync, writev, writeSync } from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { Fault } from '../../vospace/fault.ts'
import { type Access, type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type Cancel, type PutOptions, SMALL } from '../backend.ts'
import { changed, received, refuseAborted, refuseReserved, writtenMode, wrongType } from '../contract.ts'
import { aclOfMode } from '../../vospace/posix-acl.ts'
import { copyBytes } from './copy-bytes.ts'
import { EarlySync } from './early-sync.ts'
import { type Inode } from './inode.ts'
import { type Wanted, wantedOf } from './inode-write.ts'
import { openBytes } from './read.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { discard, occupant, publish, stageFile, type Staged } from './staging.ts'
import { locate, missing, needVersion, onQuietNode, type Store } from './store.ts'

/** Bytes gathered before they are written, and how many pieces at most. */
const WRITE_BYTES = 1 << 20
const WRITE_PIECES = 256

const gather = promisify(writev)
const syncBytes = promisify(fdatasync)

/** `whole` is called when all bytes are written and nothing of them is seen yet: it may still refuse. */
export async function put(store: Store, path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions, whole?: () => void): Promise<Entry> {
  refuseReserved(path, store.allocationParents)
  refuseAborted(options.signal)
  const { id, length } = options
  const place = () => (id === undefined ? path : locate(store, { path, id }))
  const plan = (of: Written) => (target: Inode | undefined) => planned(store, place(), target, options, of)
  const refuseBefore = () =>
    refusing(path, () => store.tree.at(place(), (spot) => plan({ md5: undefined })(occupant(store, spot, path))))
  // refused before the first byte what would be refused after the last; a small body is here by then
  const isSmall = length !== undefined && length <= SMALL
  if (!isSmall) refuseBefore()
  const staged = refusing(path, () => stageFile(store, place()))
  let isPublished = false
  try {
    refuseFull(staged, length)
    const written = await refusingAsync(path, () => writeBody(staged, body, options)).catch((error: unknown) => {
      // of two reasons the one that a large body would be given
      if (isSmall) refuseBefore()
      throw error
    })
    whole?.()
    const entry = await publish(store, staged, place, plan(written), options)
    isPublished = true
    return entry
  } finally {
    discard(store, staged, isPublished)
  }
} // prettier-ignore

/** One data node with its properties, cloned where the file system can. */
export async function copyData(store: Store, from: NodePath, to: NodePath, draft: { readonly access: Access; readonly mode: number } & Cancel): Promise<Entry> {
  const source = await onQuietNode(store, { path: from }, (spot, inode, path) => openBytes(store, spot, inode, path))
  const staged = refusing(to, () => stageFile(store, to))
  try {
    const { reflink } = store
    await refusingAsync(to, () => copyBytes(staged.fd ?? -1, source.fd, { reflink, signal: draft.signal }))
    refuseAborted(draft.signal)
    source.refuseChanged()
    const { md5, properties } = source.inode
    const options = { draft: { ...draft, properties }, ifAbsent: true, mtime: undefined }
    const plan = (target: Inode | undefined) => planned(store, to, target, options, { md5 })
    return await publish(store, staged, () => to, plan, draft)
  } finally {
    source.close()
    discard(store, staged)
  }
} // prettier-ignore

interface Written {
  readonly md5: string | undefined
}

type Planning = Pick<PutOptions, 'draft' | 'ifAbsent' | 'ifContentVersion' | 'id' | 'changes'> & {
  readonly mtime?: bigint | undefined
}

/** What a put makes of what stands at its place. Throws when it must not. */
function planned(store: Store, path: NodePath, target: Inode | undefined, options: Planning, { md5 }: Written): Wanted {
  const bytes = { contentVersion: newVersion(), md5 }
  const { draft, changes = {} } = options
  const mtime = options.mtime ?? changes.mtime
  if (target === undefined) {
    if (draft === undefined || options.id !== undefined) throw missing({ path, ...(options.id !== undefined && { id: options.id }) })
    if (options.ifContentVersion !== undefined) throw new Fault('PreconditionFailed', `${path} is not there`)
    return { ...fresh(store, draft, changes), ...bytes, mtime, atime: changes.atime }
  }
  if (options.ifAbsent === true) throw new Fault('DuplicateNode', path)
  if (target.type !== 'data') throw wrongType(path, 'data', target.type)
  needVersion(target, options.ifContentVersion, path)
  return { ...wantedOf({ ...target, mode: writtenMode(target.mode) }, changes, store.keeping), ...bytes, mtime }
} // prettier-ignore

function fresh({ keeping }: Store, draft: NonNullable<PutOptions['draft']>, changes: NonNullable<PutOptions['changes']>): Wanted {
  const { properties = new Map<string, string>() } = draft
  const { ids } = keeping
  const own = ids.gidOfUser(draft.access.owner)
  const first = changed('data', { ...draft, gid: draft.gid ?? own, properties })
  const next = changed('data', first, changes)
  const follows = first.gid === own && changes.gid === undefined
  return { ...next, gid: follows ? ids.gidOfUser(next.access.owner) : next.gid, acl: aclOfMode(next.mode) }
} // prettier-ignore

/** A name for bytes that nothing had before. */
export function newVersion(): string {
  return randomBytes(12).toString('base64url')
}

/** QuotaExceeded when the file system has not that many bytes left. Of a small file the write itself says so, with nothing carried in vain. */
export function refuseFull(staged: Staged, length: number | undefined): void {
  if (length === undefined || length <= SMALL) return
  const { bavail, bsize } = statfsSync(`/proc/self/fd/${staged.dir}/.`)
  if (length > bavail * bsize) throw new Fault('QuotaExceeded', 'the disk is full', { errno: 'ENOSPC' })
}

/** Writes while the next pieces come in; never more than two gathered lots in memory. Checks length and MD5. */
export async function writeBody(
  staged: Staged,
  body: AsyncIterable<Uint8Array>,
  options: PutOptions,
): Promise<Written> {
  const hash = createHash('md5')
  const { length: announced } = options
  let pieces: Uint8Array[] = []
  let gathered = 0
  let length = 0
  let writing: Promise<void> = Promise.resolve()
  const early = new EarlySync(() => syncBytes(staged.fd ?? -1))
  const flush = async () => {
    const lot = pieces
    const at = length - gathered
    pieces = []
    gathered = 0
    await writing
    early.reached(at)
    writing = writeAll(staged.fd ?? -1, lot, at)
    writing.catch(() => undefined) // thrown where it is awaited next
  }
  try {
    for await (const piece of received(body, options.signal)) {
      length += piece.length
      if (announced !== undefined && length > announced) throw new Fault('PreconditionFailed', 'longer than announced')
      hash.update(piece)
      pieces.push(piece)
      gathered += piece.length
      if (gathered >= WRITE_BYTES || pieces.length >= WRITE_PIECES) await flush()
    }
    // a small one at once: it ends in the page cache, and a thread would take longer to wake
    if (length === gathered && length <= SMALL) writeNow(staged.fd ?? -1, pieces)
    else if (gathered > 0) await flush()
  } finally {
    // also when the body failed: the descriptor must not be closed under a write
    await writing.finally(() => early.end())
  }
  if (announced !== undefined && length < announced) throw new Fault('PreconditionFailed', 'shorter than announced')
  const md5 = hash.digest('hex')
  if (options.md5 !== undefined && options.md5.toLowerCase() !== md5) {
    throw new Fault('PreconditionFailed', 'the bytes have another MD5')
  }
  return { md5 }
}

function writeNow(fd: number, pieces: readonly Uint8Array[]): void {
  let at = 0
  for (const piece of pieces) {
    for (let done = 0; done < piece.length;) done += writeSync(fd, piece, done, piece.length - done, at + done)
    at += piece.length
  }
}

/** All of the pieces, also when the kernel takes only some at a time. */
export async function writeAll(fd: number, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let left = [...pieces]
  for (let at = position; left.length > 0;) {
    const { bytesWritten } = await gather(fd, left, at)
    at += bytesWritten
    let skip = bytesWritten
    while (left.length > 0 && skip >= (left[0]?.length ?? 0)) skip -= left.shift()?.length ?? 0
    if (skip > 0) left = [left[0]?.subarray(skip) ?? new Uint8Array(), ...left.slice(1)]
  }
}
