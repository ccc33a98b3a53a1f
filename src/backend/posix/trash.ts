/**
 * The trash of a POSIX tree: `.karst/trash/ID/` of the allocation, with the node as it was (`node`) and what is written down of it
 * (`note.json`). Putting and restoring are one rename each. Removing for good is the one place where this backend recurses: in slices, by
 * descriptors, so that no link planted by who still has a directory open leads out of it.
 */
import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdir,
  readFileSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf } from '../../libc/errno.ts'
import { openBeneath } from '../../libc/openat.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { child, nodePath, ROOT, type NodePath } from '../../vospace/path.ts'
import { type Seen, type Trash, type TrashNote } from '../backend.ts'
import { refuseReserved, refuseUnseen, RESERVED, reservesIn } from '../contract.ts'
import { checkKeeper, checkTrashId, isTrashId, notInTrash } from '../trash.ts'
import { keeperOf } from '../../vospace/allocation.ts'
import { readInode, versionOf } from './inode.ts'
import { keepers } from './open.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { dropSidecar, renameFresh } from './staging.ts'
import { noted, onNode, type Store } from './store.ts'
import { spot, type Spot } from './tree.ts'

const read = promisify(readdir)

const NODE = 'node'
const NOTE = 'note.json'
/** Before the name of an item that is being removed for good; no id has it. */
const GOING = '~'
/** Removals between two turns of others. */
const SLICE = 100
/** How old an item without a node is before it counts as left by a crash, milliseconds. */
const HALF_MADE_MS = 3_600_000

export class PosixTrash implements Trash {
  readonly #open: () => Store

  constructor(open: () => Store) {
    this.#open = open
  }

  async put(path: NodePath, seen: Seen, note: TrashNote): Promise<void> {
    const store = this.#open()
    checkTrashId(note.id)
    if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    onNode(store, { path }, (at, inode) => {
      refuseUnseen({ id: inode.id, version: versionOf(inode) }, seen, path)
      const keeper = keeperOf(path, store.allocationParents)
      store.kept.add(keeper)
      const folder = store.tree.openReserved(keeper, 'trash')
      try {
        putAway(spot(folder, note.id), at, note)
        if (inode.type === 'container') store.way.left(path)
      } finally {
        closeSync(folder)
      }
    })
  }

  async *list(keeper: NodePath): AsyncGenerator<TrashNote> {
    const folder = this.#open().tree.findReserved(keeper, 'trash')
    if (folder === undefined) return
    try {
      for (const name of await refusingAsync(keeper, () => read(spot(folder, '.').file))) {
        const note = isTrashId(name) ? noteOf(spot(folder, name), keeper) : undefined
        if (note !== undefined) yield note
      }
    } finally {
      closeSync(folder)
    }
  }

  async restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry> {
    const store = this.#open()
    refuseReserved(to, store.allocationParents)
    checkKeeper(keeper, to, store.allocationParents)
    return this.#within(keeper, id, (folder, item) =>
      refusing(to, () => {
        const note = noteOf(item, keeper)
        if (note === undefined) throw notInTrash(id)
        takeOut(store, item, note, to)
        clear(spot(folder, id))
        return store.tree.at(to, (target) => {
          const inode = readInode(target.file, store.keeping)
          if (inode === undefined) throw new Fault('NodeNotFound', to)
          return noted(store, inode, to)
        })
      }),
    )
  }

  async purge(keeper: NodePath, id: string): Promise<void> {
    const gone = this.#within(keeper, id, (folder, item) => {
      if (noteOf(item, keeper) === undefined) throw notInTrash(id)
      renameSync(item.file, spot(folder, GOING + id).file)
      return GOING + id
    })
    await this.#removeItem(keeper, gone)
  }

  async sweep(keeper: NodePath, before: number): Promise<number> {
    const folder = this.#open().tree.findReserved(keeper, 'trash')
    if (folder === undefined) return 0
    let swept = 0
    try {
      for (const name of await refusingAsync(keeper, () => read(spot(folder, '.').file))) {
        const note = isTrashId(name) ? noteOf(spot(folder, name), keeper) : undefined
        if (note !== undefined && note.deleted < before) {
          await this.purge(keeper, name)
          swept++
        } else if (name.startsWith(GOING)) await this.#removeItem(keeper, name)
        else if (note === undefined && isOld(spot(folder, name))) clear(spot(folder, name))
      }
    } finally {
      closeSync(folder)
    }
    return swept
  }

  async *keepers(): AsyncGenerator<NodePath> {
    yield* keepers(this.#open())
  }

  #within<T>(keeper: NodePath, id: string, step: (folder: number, item: Spot) => T): T {
    checkTrashId(id)
    const folder = this.#open().tree.findReserved(keeper, 'trash')
    if (folder === undefined) throw notInTrash(id)
    try {
      return step(folder, spot(folder, id))
    } finally {
      closeSync(folder)
    }
  }

  async #removeItem(keeper: NodePath, name: string): Promise<void> {
    const folder = this.#open().tree.findReserved(keeper, 'trash')
    if (folder === undefined) return
    try {
      await refusingAsync(keeper, () => new Removal(this.#open).remove(folder, Buffer.from(name)))
    } finally {
      this.#open().quotas?.changed(keeper, undefined)
      closeSync(folder)
    }
  }
}

function putAway(item: Spot, at: Spot, note: TrashNote): void {
  try {
    mkdirSync(item.file, 0o700)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw new Fault('DuplicateNode', note.id, { cause: error })
    throw error
  }
  try {
    const fd = openSync(`${item.file}/${NOTE}`, 'wx', 0o600)
    try {
      writeFileSync(fd, JSON.stringify(note))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(at.file, `${item.file}/${NODE}`)
  } catch (error) {
    clear(item)
    throw error
  }
}

function takeOut(store: Store, item: Spot, { path }: TrashNote, to: NodePath): void {
  const dir = openBeneath(item.dir, item.name)
  try {
    const node = spot(dir, NODE)
    checkHidden(store, node, path, to)
    store.tree.at(to, (target) => {
      if (!renameFresh(node, target)) throw new Fault('DuplicateNode', to)
    })
  } finally {
    closeSync(dir)
  }
}

/** undefined: there is no node in it. A damaged note must not make its node unreachable. */
function noteOf(item: Spot, keeper: NodePath): TrashNote | undefined {
  const stat = lstatSync(`${item.file}/${NODE}`, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  const type = stat.isDirectory() ? 'container' : stat.isSymbolicLink() ? 'link' : 'data'
  try {
    const note = JSON.parse(readFileSync(`${item.file}/${NOTE}`, 'utf8')) as TrashNote
    if (Number.isFinite(note.deleted)) return { ...note, id: item.name, path: nodePath(note.path), type }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && !(error instanceof SyntaxError) && !(error instanceof Fault)) throw error
  }
  return { id: item.name, path: child(keeper, item.name), type, deleted: Math.floor(stat.ctimeMs) }
}

/** `.karst` of a former allocation would be seen at another place, and a user's own would be hidden at an allocation's. */
function checkHidden(store: Store, node: Spot, from: NodePath, to: NodePath): void {
  const parents = store.allocationParents
  if (reservesIn(from, parents) === reservesIn(to, parents)) return
  if (lstatSync(`${node.file}/${RESERVED}`, { throwIfNoEntry: false }) === undefined) return
  throw new Fault('PermissionDenied', `it holds ${RESERVED}, which is reserved there`)
}

/** Removes an item that has no node. */
function clear(item: Spot): void {
  for (const step of [() => unlinkSync(`${item.file}/${NOTE}`), () => rmdirSync(item.file)]) {
    try {
      step()
    } catch (error) {
      // not there, or somebody is at it: sweep comes again
      if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(codeOf(error) ?? '')) throw error
    }
  }
}

function isOld({ file }: Spot): boolean {
  const stat = lstatSync(file, { throwIfNoEntry: false })
  return stat !== undefined && stat.mtimeMs < Date.now() - HALF_MADE_MS
}

/** Removes trees, in slices. Names are bytes: what is no UTF-8 goes too. */
class Removal {
  readonly #open: () => Store
  #store: Store
  #count = 0

  constructor(open: () => Store) {
    this.#open = open
    this.#store = open()
  }

  async remove(dir: number, name: Buffer): Promise<void> {
    if (++this.#count % SLICE === 0) {
      await pause()
      this.#store = this.#open() // refuses when the gateway has stopped: the rest goes after the next start
    }
    const file = Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), name])
    const stat = lstatSync(file, { throwIfNoEntry: false })
    if (stat === undefined) return
    const inode = readInode(file.toString(), this.#store.keeping)
    if (stat.isDirectory()) await this.#empty(file)
    try {
      if (stat.isDirectory()) rmdirSync(file)
      else unlinkSync(file)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return // another gateway is at it too
      throw error
    }
    if (inode !== undefined) dropSidecar(this.#store, inode)
  }

  async #empty(file: Buffer): Promise<void> {
    const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      for (const name of await read(`/proc/self/fd/${fd}/.`, { encoding: 'buffer' })) await this.remove(fd, name)
    } finally {
      closeSync(fd)
    }
  }
}
