/**
 * Where nodes are in the file system. Every path is resolved by openat2 below the root, to a descriptor of the parent and a name:
 * no symlink is followed on the way, whoever planted it and whenever.
 */
import { chmodSync, chownSync, closeSync, constants, fstatSync, mkdirSync, openSync, rmdirSync } from 'node:fs'
import { openBeneath, O_PATH } from '../../libc/openat.ts'
import { removeXattr } from '../../libc/xattr.ts'
import { nameOf, parentOf, ROOT, type NodePath } from '../../vospace/path.ts'
import { allocationOf, RESERVED } from '../contract.ts'
import { DEFAULT_ACL } from './acl.ts'
import { codeOf, parentRefusal, refusal } from './refusal.ts'

/** A node by the descriptor of its parent and its name; valid only within the call that was given it. */
export interface Spot {
  readonly dir: number
  readonly name: string
  /** the same as a path for calls that take one: `/proc/self/fd/N/name` */
  readonly file: string
}

/** Folders below `.karst` */
export type Folder = 'staging' | 'journal' | 'sidecar'
export const FOLDERS: readonly Folder[] = ['staging', 'journal', 'sidecar']

export function spot(dir: number, name: string): Spot {
  return { dir, name, file: `/proc/self/fd/${dir}/${name}` }
}

export class Tree {
  readonly #root: string
  readonly #parents: readonly NodePath[]
  #fd = -1

  constructor(root: string, allocationParents: readonly NodePath[]) {
    this.#root = root
    this.#parents = allocationParents
  }

  /** Throws errors of the kernel, among them ENOSYS for one without openat2. */
  open(): void {
    this.#fd = openSync(this.#root, O_PATH | constants.O_DIRECTORY)
    closeSync(openBeneath(this.#fd, '.'))
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  get fd(): number {
    return this.#fd
  }

  /** Runs a step where the node is, or would be. Refusals of the way there are ContainerNotFound. */
  at<T>(path: NodePath, step: (spot: Spot) => T): T {
    if (path === ROOT) return step(spot(this.#fd, '.'))
    return this.within(parentOf(path), (dir) => step(spot(dir, nameOf(path))))
  }

  /** Runs a step in a container. */
  within<T>(container: NodePath, step: (dir: number) => T): T {
    if (container === ROOT) return step(this.#fd)
    const dir = this.openParent(container)
    try {
      return step(dir)
    } finally {
      closeSync(dir)
    }
  }

  /** A descriptor (O_PATH) of a container on the way to a node; the caller closes it. */
  openParent(container: NodePath): number {
    try {
      return openBeneath(this.#fd, relative(container))
    } catch (error) {
      throw parentRefusal(error, container)
    }
  }

  /** The container whose `.karst` serves a node: its allocation, else the root. An allocation itself is the root's affair. */
  keeperOf(path: NodePath): NodePath {
    return allocationOf(parentOf(path), this.#parents) ?? ROOT
  }

  /** A descriptor (O_PATH) of a folder of ours, made when it is not there; the caller closes it. */
  openReserved(keeper: NodePath, folder: Folder): number {
    const found = this.findReserved(keeper, folder)
    if (found !== undefined) {
      if (isPrivate(found)) return found
      closeSync(found)
    }
    return this.within(keeper, (dir) => {
      const top = openPrivate(dir, RESERVED)
      try {
        return openPrivate(top, folder)
      } finally {
        closeSync(top)
      }
    })
  }

  /** A folder of ours where there is one. */
  findReserved(keeper: NodePath, folder: Folder): number | undefined {
    try {
      return openBeneath(this.#fd, `${relative(keeper)}/${RESERVED}/${folder}`)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
      throw refusal(error, RESERVED)
    }
  }

  /** Removes `.karst` of a container when nothing is in it. */
  dropReserved(keeper: NodePath): void {
    this.within(keeper, (dir) => {
      for (const name of [...FOLDERS.map((folder) => `${RESERVED}/${folder}`), RESERVED]) {
        removeEmpty(spot(dir, name).file)
      }
    })
  }
}

/** As openat2 takes it: relative to the root. */
export function relative(path: NodePath): string {
  return path === ROOT ? '.' : path.slice(1)
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    // in use, or not there
    if (!['ENOTEMPTY', 'ENOENT', 'EEXIST', 'ENOTDIR', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error
  }
}

function isPrivate(fd: number): boolean {
  const { uid, mode } = fstatSync(fd)
  return uid === process.geteuid?.() && (mode & 0o7777) === 0o700
}

/** Opens a directory that only we can write, made when missing: one that another user made before us is taken away from them. */
function openPrivate(dir: number, name: string): number {
  try {
    mkdirSync(spot(dir, name).file, 0o700)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
  const fd = openBeneath(dir, name)
  try {
    const { file } = spot(fd, '.')
    removeXattr(file, DEFAULT_ACL)
    if (!isPrivate(fd)) {
      chownSync(file, process.geteuid?.() ?? 0, process.getegid?.() ?? 0)
      chmodSync(file, 0o700)
    }
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
