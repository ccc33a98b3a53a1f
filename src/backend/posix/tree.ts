/**
 * Where nodes are in the file system. Every path is resolved by openat2 below the root, to a descriptor of the parent and a name:
 * no symlink is followed on the way, whoever planted it and whenever.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmdirSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { openBeneath, O_PATH } from '../../libc/openat.ts'
import { removeXattr } from '../../libc/xattr.ts'
import { Fault } from '../../vospace/fault.ts'
import { nameOf, parentOf, ROOT, type NodePath } from '../../vospace/path.ts'
import { allocationOf, RESERVED } from '../contract.ts'
import { DEFAULT_ACL } from '../../vospace/posix-acl.ts'
import { parentRefusal, refusal } from './refusal.ts'

/** A node by the descriptor of its parent and its name; valid only within the call that was given it. */
export interface Spot {
  readonly dir: number
  readonly name: string
  /** the same as a path for calls that take one: `/proc/self/fd/N/name` */
  readonly file: string
}

/** Folders below `.karst` */
export type Folder = 'staging' | 'journal' | 'sidecar' | 'trash'
export const FOLDERS: readonly Folder[] = ['staging', 'journal', 'sidecar', 'trash']

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
    if (found !== undefined) return found
    return this.within(keeper, (dir) => {
      const top = openPrivate(dir, RESERVED)
      try {
        return openPrivate(top, folder)
      } finally {
        closeSync(top)
      }
    })
  }

  /** A folder of ours where there is one; one that others could write to is none. */
  findReserved(keeper: NodePath, folder: Folder): number | undefined {
    const top = findPrivate(this.#fd, keeper === ROOT ? RESERVED : `${relative(keeper)}/${RESERVED}`)
    if (top === undefined) return undefined
    try {
      return findPrivate(top, folder)
    } finally {
      closeSync(top)
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

function findPrivate(dir: number, path: string): number | undefined {
  let fd: number
  try {
    fd = openBeneath(dir, path)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw refusal(error, RESERVED)
  }
  if (isPrivate(fd)) return fd
  closeSync(fd)
  return undefined
}

const isOurs = (fd: number): boolean => fstatSync(fd).uid === process.geteuid?.()
const isPrivate = (fd: number): boolean => {
  const { uid, mode } = fstatSync(fd)
  return (mode & 0o7777) === 0o700 && uid === process.geteuid?.()
}

/**
 * Opens a directory that only we can write, made when missing. One that another user made before us is moved aside, with all that was
 * planted in it: it must never be taken for our journal.
 */
function openPrivate(dir: number, name: string): number {
  for (let attempt = 1; ; attempt++) {
    const fd = madeOrThere(dir, name)
    try {
      if (isOurs(fd)) {
        const { file } = spot(fd, '.')
        // set-group-ID and a default ACL come from the directory above
        removeXattr(file, DEFAULT_ACL)
        if (!isPrivate(fd)) chmodSync(file, 0o700)
        return fd
      }
      if (attempt === MAX_PLANTED) throw new Fault('NodeBusy', `${name} is made by others again and again`)
      renameSync(spot(dir, name).file, spot(dir, `${name}-${randomBytes(6).toString('hex')}`).file)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(fd)
  }
}

const MAX_PLANTED = 5

function madeOrThere(dir: number, name: string): number {
  try {
    mkdirSync(spot(dir, name).file, 0o700)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
  return openBeneath(dir, name)
}
