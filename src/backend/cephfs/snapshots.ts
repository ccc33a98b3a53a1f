/** Snapshots of allocations: directories in the `.snap` of each, which only CephFS has. */
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { isWithin, nodePath, ROOT, stepsOf, type NodePath } from '../../vospace/path.ts'
import { type Backend, type PosixCalls, type Snapshot, type Snapshots, type Trash } from '../backend.ts'
import { allocationOf, RESERVED } from '../contract.ts'
import { type PosixBackend } from '../posix/posix.ts'
import { refusal, refusing } from '../posix/refusal.ts'
import { checkTrashId } from '../trash.ts'
import { checkSnapshotName, type Past, PastTree } from '../snapshots.ts'
import { type CephDirectories, type CephDirectory } from './attributes.ts'
import { SNAPSHOTS } from './names.ts'

export interface CephSnapshotsOptions {
  /** the tree of today */
  readonly now: Backend
  readonly tree: PosixBackend
  readonly directories: CephDirectories
  readonly allocationParents: readonly NodePath[]
}

export class CephSnapshots implements Snapshots {
  readonly #options: CephSnapshotsOptions

  constructor(options: CephSnapshotsOptions) {
    this.#options = options
  }

  async list(allocation: NodePath): Promise<readonly Snapshot[]> {
    this.#check(allocation)
    return this.#at(allocation, (directory) => directory.snapshots)
  }

  async make(allocation: NodePath, name: string): Promise<Snapshot> {
    this.#check(allocation, name)
    return this.#at(allocation, (directory) => {
      directory.makeSnapshot(name)
      const made = directory.snapshots.find((one) => one.name === name)
      if (made === undefined) throw new Fault('InternalFault', `the snapshot ${name} is not there`)
      return made
    })
  }

  async remove(allocation: NodePath, name: string): Promise<void> {
    this.#check(allocation, name)
    this.#at(allocation, (directory) => {
      this.#need(allocation, name, directory.snapshots)
      directory.removeSnapshot(name)
    })
  }

  async at(allocation: NodePath, name: string): Promise<Backend> {
    this.#check(allocation, name)
    this.#at(allocation, (directory) => this.#need(allocation, name, directory.snapshots))
    const { now, tree } = this.#options
    return new PastTree(now, past(tree, allocation, name), allocation)
  }

  #at<T>(allocation: NodePath, step: (directory: CephDirectory) => T): T {
    return refusing(allocation, () => this.#options.directories.at(allocation, step))
  }

  #need(allocation: NodePath, name: string, there: readonly Snapshot[]): void {
    if (there.some((one) => one.name === name)) return
    throw new Fault('NodeNotFound', `${allocation} has no snapshot ${name}`)
  }

  #check(allocation: NodePath, name?: string): void {
    if (name !== undefined) checkSnapshotName(name)
    if (allocationOf(allocation, this.#options.allocationParents) === allocation) return
    throw new Fault('OperationNotSupported', 'snapshots are of allocations')
  }
}

/** The folder of a snapshot, under the paths that its nodes had. What the gateway keeps for itself is not in it. */
function past(tree: PosixBackend, allocation: NodePath, name: string): Past {
  const top = nodePath(`${allocation}/${SNAPSHOTS}/${name}`)
  const inside = (path: NodePath): NodePath => {
    const rest = path.slice(allocation.length)
    if (stepsOf(path)[stepsOf(allocation).length] === RESERVED) throw new Fault('NodeNotFound', path)
    return `${top}${rest}` as NodePath
  }
  const back = (entry: Entry): Entry => ({ ...entry, path: `${allocation}${entry.path.slice(top.length)}` as NodePath })
  return {
    walk: async (path) => (await tree.walk(inside(path))).filter((entry) => isWithin(entry.path, top)).map(back),
    async *list(container, options) {
      for await (const entry of tree.list(inside(container), options)) {
        if (container !== allocation || entry.path !== `${top}/${RESERVED}`) yield back(entry)
      }
    },
    read: async (ref, options) => {
      const { entry, body } = await tree.read({ ...ref, path: inside(ref.path) }, options)
      return { entry: back(entry), body }
    },
    ...(tree.posix && { posix: { acl: aclOf(tree.posix, inside) } }),
  }
}

/** A trash that removes for good with their snapshots the allocations that have some: CephFS removes no directory that has. */
export function withoutThoseOfDeleted(trash: Trash, directories: CephDirectories): Trash {
  const drop = (keeper: NodePath, id: string): void => {
    const node = nodePath(`${keeper === ROOT ? '' : keeper}/${RESERVED}/trash/${id}/node`)
    try {
      directories.at(node, (directory) => {
        for (const { name } of directory.snapshots) directory.removeSnapshot(name)
      })
    } catch (error) {
      // no container, or gone
      if (!isFault(refusal(error, node), 'NodeNotFound', 'TypeNotSupported')) throw refusal(error, node)
    }
  }
  return {
    put: async (path, seen, note) => trash.put(path, seen, note),
    list: (keeper) => trash.list(keeper),
    restore: async (keeper, id, to) => trash.restore(keeper, id, to),
    keepers: () => trash.keepers(),
    purge: async (keeper, id) => {
      checkTrashId(id)
      drop(keeper, id)
      await trash.purge(keeper, id)
    },
    sweep: async (keeper, before) => {
      for await (const { id, deleted } of trash.list(keeper)) if (deleted < before) drop(keeper, id)
      return trash.sweep(keeper, before)
    },
  }
}

const aclOf =
  (posix: PosixCalls, inside: (path: NodePath) => NodePath): PosixCalls['acl'] =>
  async (ref, kind) =>
    posix.acl({ ...ref, path: inside(ref.path) }, kind)
