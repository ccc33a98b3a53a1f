/** What is written down of the quota of an allocation: in an attribute of its directory, which no user can set through a bind mount. */
import { closeSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { openBeneath } from '../../libc/openat.ts'
import { getXattr, removeXattr, setXattr } from '../../libc/xattr.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { parentOf, ROOT, type NodePath } from '../../vospace/path.ts'
import { allocationOf } from '../contract.ts'
import { relative, spot, type Tree } from './tree.ts'

const NAME = { root: 'trusted.karst.quota', unprivileged: 'user.karst.quota' } as const

export interface QuotaRecord {
  readonly bytes: number
  /** not everything in the allocation counts in its project yet */
  readonly unfinished?: true
}

/** The directory of an allocation, as a path for calls that take one; valid only within the step it is given to. */
export class Allocations {
  readonly #tree: Tree
  readonly #parents: readonly NodePath[]
  readonly #name: string

  constructor(tree: Tree, parents: readonly NodePath[], isRoot: boolean) {
    this.#tree = tree
    this.#parents = parents
    this.#name = isRoot ? NAME.root : NAME.unprivileged
  }

  of(path: NodePath): NodePath | undefined {
    return allocationOf(path, this.#parents)
  }

  /** undefined: there is no such directory. Throws errors of the kernel. */
  at<T>(allocation: NodePath, step: (directory: string) => T): T | undefined {
    let fd: number
    try {
      fd = openBeneath(this.#tree.fd, relative(allocation))
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined
      throw error
    }
    try {
      return step(spot(fd, '.').file)
    } finally {
      closeSync(fd)
    }
  }

  read(directory: string): QuotaRecord | undefined {
    const value = getXattr(directory, this.#name)?.toString()
    if (value === undefined) return undefined
    const [, bytes, unfinished] = /^(\d+)( unfinished)?$/.exec(value) ?? []
    return bytes === undefined
      ? undefined
      : { bytes: Number(bytes), ...(unfinished !== undefined && { unfinished: true }) }
  }

  write(directory: string, record: QuotaRecord | undefined): void {
    if (record === undefined) return removeXattr(directory, this.#name)
    const text = `${record.bytes}${record.unfinished === true ? ' unfinished' : ''}`
    setXattr(directory, this.#name, Buffer.from(text))
  }

  /** Throws OperationNotSupported (EXDEV) unless both places count in the same, of those for which `keyOf` tells something. */
  refuseCrossing(from: NodePath, to: NodePath, keyOf: (allocation: NodePath) => unknown): void {
    const keyAt = (path: NodePath): unknown => {
      const allocation = path === ROOT ? undefined : this.of(parentOf(path))
      return allocation === undefined ? undefined : keyOf(allocation)
    }
    const leaves = this.of(from) === from && this.of(to) !== to && keyOf(from) !== undefined
    if (leaves || keyAt(from) !== keyAt(to)) {
      throw new Fault('OperationNotSupported', `${from} and ${to} count in different quotas`, { errno: 'EXDEV' })
    }
  }
}

/** Whether there is a quota, for as long as an allocation is the very same entry: whatever is written of its directory makes it another. */
export class LimitedEntries {
  readonly #known = new WeakMap<Entry, boolean>()
  readonly #allocations: Allocations
  readonly #look: (directory: string) => boolean

  constructor(allocations: Allocations, look: (directory: string) => boolean) {
    this.#allocations = allocations
    this.#look = look
  }

  has(chain: readonly Entry[]): boolean {
    const last = chain.at(-1)
    const allocation = last && this.#allocations.of(last.path)
    const entry = chain.find(({ path }) => path === allocation)
    if (allocation === undefined || entry === undefined) return false
    const known = this.#known.get(entry)
    if (known !== undefined) return known
    const isLimited = this.#allocations.at(allocation, this.#look) ?? false
    this.#known.set(entry, isLimited)
    return isLimited
  }
}
