/** Names that change hands: rename, remove, and second names of a node. Each in one synchronous stretch. */
import { linkSync, lstatSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { RENAME_EXCHANGE, renameat2 } from '../../libc/openat.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry, type NodeType } from '../../vospace/node.ts'
import { isWithin, ROOT, type NodePath } from '../../vospace/path.ts'
import { type Ref, type Seen } from '../backend.ts'
import { allocationOf, refuseReserved, refuseUnseen, RESERVED, reservesIn, wrongType } from '../contract.ts'
import { entryOf, type Inode, readInode, versionOf } from './inode.ts'
import { dropSidecar, occupant, renameFresh } from './staging.ts'
import { missing, noted, onNode, type Store } from './store.ts'
import { type Spot } from './tree.ts'

export interface MoveOptions {
  readonly replace?: boolean
  readonly exchange?: boolean
  readonly canExchange: boolean
  /** sockets, FIFOs and devices too */
  readonly special?: boolean
}

/** Backend.move. */
export function move(store: Store, from: NodePath, to: NodePath, options: MoveOptions): Entry {
  const { exchange = false, special = false } = options
  if (exchange && !options.canExchange) {
    throw new Fault('OperationNotSupported', 'the file system does not exchange names')
  }
  const step = (source: Spot, inode: Inode): Entry => {
    refuseReserved(to, store.allocationParents)
    return store.tree.at(to, (target) => {
      if (from === ROOT || to === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
      const there = occupant(store, target, to, special)
      if (there === undefined && exchange) throw new Fault('NodeNotFound', to)
      if (there !== undefined && !exchange) {
        if (options.replace !== true) throw new Fault('DuplicateNode', to)
        // two names of one file: rename(2) does nothing
        if (there.self === inode.self) return entryOf(inode, from, store.keeping, special)
      }
      if (isWithin(to, from) && to !== from) throw new Fault('InvalidArgument', `${from} into itself`)
      refuseHiding(store, source, from, to)
      store.quotas?.refuseCrossing(from, to)
      if (exchange) store.quotas?.refuseCrossing(to, from)
      for (const path of there === undefined ? [from] : [from, to]) {
        if (isAllocation(store, path)) store.tree.dropReserved(path)
      }
      rename(source, target, options)
      if (there !== undefined && !exchange) gone(store, there, to)
      // a leaf is noted below; going through all that was seen lately is for trees only
      if (inode.type === 'container' || exchange) {
        store.whereabouts.moved(from, to, exchange)
        for (const path of [from, to]) store.way.left(path)
      }
      const moved = readInode(target.file, store.keeping, special)
      if (moved === undefined) throw new Fault('NodeNotFound', to)
      return noted(store, moved, to, special)
    })
  }
  return onNode(store, { path: from }, step, special)
}

/** Backend.remove. */
export function remove(
  store: Store,
  path: NodePath,
  type: NodeType | 'leaf',
  { seen, special = false }: { readonly seen?: Seen | undefined; readonly special?: boolean },
): void {
  const step = (at: Spot, inode: Inode): void => {
    refuseUnseen({ id: inode.id, version: versionOf(inode) }, seen, path)
    if (inode.type !== type && (type !== 'leaf' || inode.type === 'container')) throw wrongType(path, type, inode.type)
    if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    if (inode.type !== 'container') unlinkSync(at.file)
    else {
      if (isAllocation(store, path)) store.tree.dropReserved(path)
      rmdirSync(at.file)
      store.way.left(path)
    }
    gone(store, inode, path)
  }
  onNode(store, { path }, step, special)
}

/** After the last name of a node went, or one of several. */
function gone(store: Store, inode: Inode, path: NodePath): void {
  dropSidecar(store, inode)
  const { type, stat } = inode
  if (type === 'data' && stat.nlink <= 1n) store.quotas?.changed(path, -Number(stat.size))
}

/** Backend.link. */
export function link(store: Store, ref: Ref, to: NodePath, special = false): Entry {
  refuseReserved(to, store.allocationParents)
  const step = (from: Spot, inode: Inode): Entry => {
    if (inode.type === 'container') {
      throw new Fault('TypeNotSupported', `${ref.path} is a container`, { errno: 'EPERM' })
    }
    return store.tree.at(to, (target) => {
      linkSync(from.file, target.file)
      const made = readInode(target.file, store.keeping, special)
      if (made?.self !== inode.self) throw missing(ref)
      return noted(store, made, to, special)
    })
  }
  return onNode(store, ref, step, special)
}

function isAllocation(store: Store, path: NodePath): boolean {
  return allocationOf(path, store.allocationParents) === path
}

/** A `.karst` of a user's own must not come to stand where it is ours, and out of sight. */
function refuseHiding({ allocationParents }: Store, source: Spot, from: NodePath, to: NodePath): void {
  // that of an allocation is ours already
  if (!reservesIn(to, allocationParents) || reservesIn(from, allocationParents)) return
  if (lstatSync(`${source.file}/${RESERVED}`, { throwIfNoEntry: false }) === undefined) return
  throw new Fault('PermissionDenied', `it holds ${RESERVED}, which is reserved there`)
}

function rename(from: Spot, to: Spot, { replace, exchange }: MoveOptions): void {
  if (exchange === true) renameat2(from.dir, from.name, to.dir, to.name, RENAME_EXCHANGE)
  else if (replace === true) replacing(from, to)
  else if (!renameFresh(from, to)) throw new Fault('DuplicateNode', to.name)
}

function replacing(from: Spot, to: Spot): void {
  try {
    renameSync(from.file, to.file)
  } catch (error) {
    // rename(2) may say either for a directory with something in it
    if (codeOf(error) === 'EEXIST') throw new Fault('ContainerNotEmpty', to.name, { cause: error })
    throw error
  }
}
