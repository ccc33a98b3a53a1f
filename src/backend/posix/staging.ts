/**
 * Nodes are made aside, in `.karst/staging` of the same allocation, and become visible whole by one rename. What is checked at that
 * moment is checked in the same synchronous stretch, so that no other call of this process comes between.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fsync, linkSync, lstatSync, openSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { promisify } from 'node:util'
import { codeOf } from '../../libc/errno.ts'
import { RENAME_NOREPLACE, renameat2 } from '../../libc/openat.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type PutOptions } from '../backend.ts'
import { refuseAborted } from '../contract.ts'
import { readInode, type Inode } from './inode.ts'
import { copyForeign, type Wanted, writeInode } from './inode-write.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { removeSidecar } from './sidecar.ts'
import { noted, type Store } from './store.ts'
import { spot, type Spot } from './tree.ts'

const sync = promisify(fsync)

/** A node in the making. */
export interface Staged extends Spot {
  /** data: open for writing */
  readonly fd: number | undefined
}

/** An empty data node aside; the caller ends with `discard`, published or not. */
export function stageFile(store: Store, path: NodePath): Staged {
  const staged = stageSpot(store, path)
  try {
    const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
    return { ...staged, fd: openSync(staged.file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600) }
  } catch (error) {
    closeSync(staged.dir)
    throw error
  }
}

/** A free name aside. */
export function stageSpot(store: Store, path: NodePath): Staged {
  const keeper = store.tree.keeperOf(path)
  store.kept.add(keeper)
  return { ...spot(store.tree.openReserved(keeper, 'staging'), randomBytes(9).toString('base64url')), fd: undefined }
}

/** The sidecar of a node whose last name went. */
export function dropSidecar({ keeping }: Store, { side, self, stat, type }: Inode): void {
  if (side === undefined || keeping.sidecars === undefined) return
  if (type === 'container' || stat.nlink <= 1n) removeSidecar(keeping.sidecars, self)
}

/** Closes it, and removes it when it was not published. What is closed has been synced, or is not wanted: nothing is waited for. */
export function discard(store: Store, staged: Staged, isPublished = false): void {
  try {
    if (staged.fd !== undefined) closeSync(staged.fd)
  } finally {
    try {
      const left = isPublished ? undefined : readInode(staged.file, store.keeping, true)
      if (left !== undefined) {
        dropSidecar(store, left)
        rmSync(staged.file, { force: true, recursive: true })
      }
    } finally {
      closeSync(staged.dir)
    }
  }
}

/** What the staged node shall be, given what stands at its place; throws when it must not go there. */
export type Plan = (target: Inode | undefined) => Wanted

/**
 * Gives the staged data node its attributes, makes it durable unless that is not wanted, and puts it in its place. `path` is asked again at every attempt,
 * because the node to replace may have been renamed meanwhile.
 */
export async function publish(store: Store, staged: Staged, path: () => NodePath, plan: Plan, { signal, durable, after }: Pick<PutOptions, 'signal' | 'durable' | 'after'>): Promise<Entry> {
  for (;;) {
    const prepared = refusing(path(), () => prepare(store, staged, path(), plan))
    if ('busy' in prepared) {
      await prepared.busy
      continue
    }
    if (durable !== false) await refusingAsync(path(), async () => sync(staged.fd ?? -1))
    await after
    refuseAborted(signal)
    const place = path()
    const done = refusing(place, () => store.tree.at(place, (to) => commit(store, staged, to, place, prepared.seen)))
    if (done === undefined) continue
    if (durable === false) closeSync(done.directory)
    else await syncDirectory(done.directory)
    return done.entry
  }
} // prettier-ignore

function prepare(store: Store, staged: Staged, path: NodePath, plan: Plan) {
  return store.tree.at(path, (to) => {
    const target = occupant(store, to, path)
    const busy = target === undefined ? undefined : store.changing.of(target.self)
    if (busy !== undefined) return { busy }
    const wanted = plan(target)
    const fresh = readInode(staged.file, store.keeping)
    if (fresh === undefined) throw new Fault('InternalFault', 'the staged file is gone')
    if (target !== undefined) copyForeign(to.file, staged.file, target.foreign)
    writeInode(staged.file, fresh, wanted, store.keeping)
    return { seen: target }
  })
}

/** What stands at a spot; throws for what is there and no node. */
export function occupant(store: Store, at: Spot, path: NodePath, special = false): Inode | undefined {
  const inode = readInode(at.file, store.keeping, special)
  if (inode === undefined && lstatSync(at.file, { throwIfNoEntry: false }) !== undefined) {
    throw new Fault('TypeNotSupported', `${path} is a socket, FIFO or device`, { errno: 'ENXIO' })
  }
  return inode
}

/** Renames when what stands there is still what was seen; undefined: not so, look again. */
function commit(store: Store, staged: Staged, to: Spot, path: NodePath, seen: Inode | undefined) {
  const now = lstatSync(to.file, { bigint: true, throwIfNoEntry: false })
  if (now?.ino !== seen?.stat.ino || now?.ctimeNs !== seen?.stat.ctimeNs) return undefined
  if (seen !== undefined && store.changing.of(seen.self) !== undefined) return undefined
  const directory = openSync(spot(to.dir, '.').file, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    if (seen === undefined) {
      if (!renameFresh(staged, to)) {
        closeSync(directory)
        return undefined
      }
    } else renameSync(staged.file, to.file)
    const inode = readInode(to.file, store.keeping)
    if (inode === undefined) throw new Fault('NodeNotFound', path)
    if (seen !== undefined) dropSidecar(store, seen)
    return { entry: noted(store, inode, path), directory }
  } catch (error) {
    closeSync(directory)
    throw error
  }
}

/** Into a place that is free; false when it is no longer. */
export function renameFresh(staged: Spot, to: Spot): boolean {
  try {
    renameat2(staged.dir, staged.name, to.dir, to.name, RENAME_NOREPLACE)
    return true
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EEXIST') return false
    if (code !== 'EINVAL' && code !== 'ENOSYS') throw error
  }
  return linkFresh(staged, to)
}

/** For file systems without RENAME_NOREPLACE. A directory has no second name: there only this process is kept out. */
function linkFresh(from: Spot, to: Spot): boolean {
  if (lstatSync(from.file).isDirectory()) {
    if (lstatSync(to.file, { throwIfNoEntry: false }) !== undefined) return false
    renameSync(from.file, to.file)
    return true
  }
  try {
    linkSync(from.file, to.file)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
  unlinkSync(from.file)
  return true
}

async function syncDirectory(fd: number): Promise<void> {
  try {
    await sync(fd)
  } finally {
    closeSync(fd)
  }
}
