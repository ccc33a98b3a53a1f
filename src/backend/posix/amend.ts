/**
 * amend: extents are spooled aside first, so that nothing is touched before the last of them is there. Then either the whole file is
 * a clone with the extents in it, published as a put is (file systems with reflinks), or they are written in place under a redo
 * journal (journal.ts).
 */
import { closeSync, constants, fstatSync, fsync, ftruncate, openSync, read as readAt } from 'node:fs'
import { promisify } from 'node:util'
import { codeOf } from '../../libc/errno.ts'
import { punchHole, reflink, reserve, setTimes } from '../../libc/openat.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type AmendOptions, type Extent, type Ref } from '../backend.ts'
import { received, refuseAborted, writtenMode, wrongType } from '../contract.ts'
import { refuseOther, type Wanted, wantedOf, writeInode } from './inode-write.ts'
import { type Inode, readInode } from './inode.ts'
import { insertInterval, type Interval } from './interval.ts'
import { openJournal, withdraw, type Redo } from './journal.ts'
import { newVersion, writeAll } from './put.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { discard, publish, stageFile, type Staged } from './staging.ts'
import { locate, missing, needType, needVersion, noted, onNode, onQuietNode, type Store } from './store.ts'
import { type Spot } from './tree.ts'

const sync = promisify(fsync)
const truncate = promisify(ftruncate)
const readSome = promisify(readAt)
const CHUNK = 1 << 20
/** Ranges of one amend, which are held in memory. */
const MAX_INTERVALS = 500_000

export async function amend(store: Store, ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
  refuseAborted(options.signal)
  const clones = onNode(store, ref, (_spot, inode, path) => {
    needType(inode, 'data', path)
    needVersion(inode, options.ifContentVersion, path)
    // another name of the file must show the same bytes: then in place
    return store.reflink && inode.stat.nlink === 1
  })
  const spool = refusing(ref.path, () => stageFile(store, locate(store, ref)))
  try {
    const intervals = await refusingAsync(ref.path, () => spooled(spool, extents, options))
    refuseAborted(options.signal)
    return await (clones ? byClone : inPlace)(store, ref, spool, intervals, options)
  } finally {
    discard(store, spool)
  }
} // prettier-ignore

/** Writes each extent at its own offset of a sparse file; answers which ranges count, cut at the final length. */
async function spooled(spool: Staged, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Interval[]> {
  let intervals: Interval[] = []
  for await (const extent of received(extents, options.signal)) {
    const start = extent.offset
    const length = 'bytes' in extent ? extent.bytes.length : extent.hole
    const end = Math.min(start + length, options.length)
    if (!Number.isSafeInteger(start) || start < 0 || length < 0) throw new Fault('InvalidArgument', 'no such offset')
    if (end <= start) continue
    if ('bytes' in extent) await writeAll(spool.fd ?? -1, [extent.bytes.subarray(0, end - start)], start)
    intervals = insertInterval(intervals, { start, end, hole: !('bytes' in extent) })
    if (intervals.length > MAX_INTERVALS) throw new Fault('RequestEntityTooLarge', 'too many extents')
  }
  return intervals
}

async function byClone(store: Store, ref: Ref, spool: Staged, intervals: Interval[], options: AmendOptions): Promise<Entry> {
  for (;;) {
    const place = () => locate(store, ref)
    const staged = refusing(ref.path, () => stageFile(store, place()))
    try {
      const cloned = await onQuietNode(store, ref, (spot, inode, path) => {
        needVersion(inode, options.ifContentVersion, path)
        cloneInto(staged, spot, inode)
        return inode
      })
      await refusingAsync(ref.path, () => apply(staged.fd ?? -1, spool.fd ?? -1, { intervals, length: options.length }))
      const plan = (target: Inode | undefined): Wanted => {
        if (target === undefined) throw missing(ref)
        if (target.type !== 'data') throw wrongType(ref.path, 'data', target.type)
        needVersion(target, options.ifContentVersion, ref.path)
        // somebody was faster: the clone is of bytes that are gone
        if (target.contentVersion !== cloned.contentVersion || target.self !== cloned.self) throw new Overtaken()
        return amended(store, target, options)
      }
      return await publish(store, staged, place, plan, options)
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error
    } finally {
      discard(store, staged)
    }
  }
} // prettier-ignore

class Overtaken extends Error {}

function cloneInto(staged: Staged, from: Spot, inode: Inode): void {
  const fd = openSync(from.file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    refuseOther(fd, inode)
    reflink(staged.fd ?? -1, fd)
  } finally {
    closeSync(fd)
  }
}

function amended(store: Store, inode: Inode, options: AmendOptions): Wanted {
  const wanted = wantedOf({ ...inode, mode: writtenMode(inode.mode) }, {}, store.keeping)
  return { ...wanted, contentVersion: newVersion(), md5: undefined, mtime: options.mtime }
}

async function inPlace(store: Store, ref: Ref, spool: Staged, intervals: Interval[], options: AmendOptions): Promise<Entry> {
  for (;;) {
    const { self } = onNode(store, ref, (_spot, inode) => inode)
    const entry = await store.changing.run(self, async () => {
      const opened = onNode(store, ref, (spot, inode, path) => {
        needType(inode, 'data', path)
        needVersion(inode, options.ifContentVersion, path)
        if (inode.self !== self) return undefined // replaced while we waited: begin again with the new one
        return { fd: openSync(spot.file, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK), inode, path }
      })
      if (opened === undefined) return undefined
      try {
        refuseOther(opened.fd, opened.inode)
        return await refusingAsync(ref.path, () => journalled(store, opened, spool, intervals, options))
      } finally {
        closeSync(opened.fd)
      }
    })
    if (entry !== undefined) return entry
  }
} // prettier-ignore

interface Opened {
  readonly fd: number
  readonly inode: Inode
  readonly path: NodePath
}

async function journalled(store: Store, opened: Opened, spool: Staged, intervals: Interval[], options: AmendOptions): Promise<Entry> {
  const { fd, inode, path } = opened
  const { length, mtime } = options
  const redo: Redo = { intervals, length, version: newVersion(), ...(mtime !== undefined && { mtime: String(mtime) }) }
  // a length that the file system does not take (EFBIG) is refused by our own file, before anything is promised
  if (length > fstatSync(spool.fd ?? -1).size) await truncate(spool.fd ?? -1, length)
  const journal = await openJournal(store, path, inode, spool, redo, (file) => reserveRoom(file, fd, inode, intervals))
  try {
    store.changing.cutReaders(inode.self)
    await redoInto(store, fd, spool.fd ?? -1, redo, journal.target.file)
  } finally {
    // also when the storage failed: done again at the next start it would go over what was written since
    withdraw(journal)
  }
  return onNode(store, { path, id: inode.id }, (_spot, now, place) => noted(store, now, place))
} // prettier-ignore

/** From here on the disk cannot be full, so that what the journal promises can be kept. */
function reserveRoom(file: string, fd: number, { stat }: Inode, intervals: readonly Interval[]): void {
  const sparse = stat.blocks * 512 < stat.size
  const needed = intervals.filter(({ end, hole }) => !hole && (sparse || end > stat.size))
  if (needed.length === 0) return
  try {
    for (const { start, end } of needed) reserve(fd, start, end - start)
  } catch (error) {
    if (codeOf(error) !== 'EOPNOTSUPP') throw error
  } finally {
    // reserving counts as a change for the kernel; no byte is another
    setTimes(file, { mtime: stat.mtimeNs })
  }
}

/** Writes the bytes, the attributes after them, and makes both durable. As often as one likes: a crash repeats it. */
export async function redoInto(store: Store, fd: number, spool: number, redo: Redo, file: string): Promise<void> {
  await apply(fd, spool, redo)
  const inode = readInode(file, store.keeping)
  if (inode === undefined) throw new Fault('InternalFault', 'the file to amend is gone')
  const wanted = wantedOf({ ...inode, mode: writtenMode(inode.mode) }, {}, store.keeping)
  const mtime = redo.mtime === undefined ? undefined : BigInt(redo.mtime)
  writeInode(file, inode, { ...wanted, contentVersion: redo.version, md5: undefined, mtime }, store.keeping)
  await sync(fd)
}

async function apply(fd: number, spool: number, { intervals, length }: Pick<Redo, 'intervals' | 'length'>): Promise<void> {
  const { size } = fstatSync(fd)
  for (const { start, end, hole } of intervals) {
    if (hole) await zero(fd, start, Math.min(end, size))
    else await copyRange(fd, spool, start, end)
  }
  await truncate(fd, length)
} // prettier-ignore

async function copyRange(fd: number, spool: number, start: number, end: number): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK, end - start))
  for (let at = start; at < end;) {
    const { bytesRead } = await readSome(spool, buffer, 0, Math.min(buffer.length, end - at), at)
    if (bytesRead === 0) throw new Fault('InternalFault', 'the spooled extents are cut')
    await writeAll(fd, [buffer.subarray(0, bytesRead)], at)
    at += bytesRead
  }
}

async function zero(fd: number, start: number, end: number): Promise<void> {
  if (end <= start) return
  try {
    punchHole(fd, start, end - start)
  } catch (error) {
    if (codeOf(error) !== 'EOPNOTSUPP') throw error
    const zeros = Buffer.alloc(Math.min(CHUNK, end - start))
    for (let at = start; at < end; at += zeros.length) await writeAll(fd, [zeros.subarray(0, end - at)], at)
  }
}
