/**
 * The way from the root to a node. What was read of each step is kept, with a descriptor of each container, and taken again when one statx(2)
 * says that the name still stands for that inode and that nothing of it has changed since, by whatever hand.
 */
import { closeSync, lstatSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { openBeneath } from '../../libc/openat.ts'
import { ctimeOf, inodeOf, isSameInode, isSameMount, isUnchanged, statOf, type Words } from '../../libc/statx.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { isWithin, ROOT, stepsOf, type NodePath } from '../../vospace/path.ts'
import { entryOf, isSettled, readInode, type Inode, type Keeping } from './inode.ts'
import { spot, type Tree } from './tree.ts'
import { type Whereabouts } from './whereabouts.ts'

interface Step {
  readonly words: Words
  /** of Ids: names that were unknown then may be known now */
  readonly named: number | undefined
  /** undefined: too fresh to be kept, or not all of it stands in the inode */
  readonly entry: Entry | undefined
  /** of a container, O_PATH; none through another mount, which could not be unmounted then */
  fd: number | undefined
}

interface Seen {
  readonly entry: Entry
  readonly kept: Step
}

/** How often a step is taken again when it is replaced while it is read. */
const TRIES = 100

/** Steps of a generation, of which there are two; each may hold a descriptor. */
const MOST = 512

/** UTF-16 units of paths that are kept cut into steps. */
const LONGEST_ROUTE = 500

/** A step of a path: its name in the container above, empty of the root, and where it leads. */
interface Stretch {
  readonly name: string
  readonly here: NodePath
  readonly isLast: boolean
}

export class Way {
  readonly #tree: Tree
  readonly #keeping: Keeping
  readonly #whereabouts: Whereabouts
  readonly #routes = new Map<NodePath, readonly Stretch[]>()
  #young = new Map<NodePath, Step>()
  #old = new Map<NodePath, Step>()

  constructor(tree: Tree, keeping: Keeping, whereabouts: Whereabouts) {
    this.#tree = tree
    this.#keeping = keeping
    this.#whereabouts = whereabouts
  }

  /** What exists along the path, root first; sockets, FIFOs and devices only when `special` is asked for. Throws errors of the kernel. */
  walk(path: NodePath, special = false): Entry[] {
    const entries: Entry[] = []
    const passing: number[] = []
    const route = this.#route(path)
    const named = this.#keeping.ids.version
    let dir = this.#tree.fd
    try {
      for (const { name, here, isLast } of route) {
        const step = this.#step(dir, name, here, named)
        if (step === undefined) return entries
        const { entry, kept } = step
        if (entry.special !== undefined && !special) return entries
        // reading moves it and leaves ctime as it was: never what was kept
        entries.push(special && isLast ? { ...entry, atime: accessTime(dir, name) ?? entry.mtime } : entry)
        this.#whereabouts.seen(entry.id, here)
        if (isLast || entry.type !== 'container') return entries
        const fd = here === ROOT ? dir : (kept.fd ?? this.#open(dir, name, kept, passing))
        if (fd === undefined) return entries
        dir = fd
      }
      return entries
    } finally {
      for (const fd of passing) closeSync(fd)
    }
  }

  #route(path: NodePath): readonly Stretch[] {
    const known = this.#routes.get(path)
    if (known !== undefined) return known
    if (this.#routes.size >= MOST) this.#routes.clear()
    const route = routeOf(path)
    if (path.length <= LONGEST_ROUTE) this.#routes.set(path, route)
    return route
  }

  /** A container went from there, with all below it: a descriptor would keep it on the disk although it is removed. */
  left(container: NodePath): void {
    for (const steps of [this.#young, this.#old]) {
      for (const path of steps.keys()) if (isWithin(path, container)) drop(steps, path)
    }
  }

  /** Closes every descriptor. */
  close(): void {
    this.left(ROOT)
  }

  #step(dir: number, name: string, here: NodePath, named: number | undefined): Seen | undefined {
    const known = this.#known(here)
    for (let tries = 0; tries < TRIES; tries++) {
      const words = statOf(dir, name)
      if (words === undefined) {
        if (known !== undefined) drop(this.#young, here)
        return undefined
      }
      if (known?.entry !== undefined && known.named === named && isUnchanged(known.words, words)) {
        return { entry: known.entry, kept: known }
      }
      const time = Date.now()
      const inode = readInode(spot(dir, name === '' ? '.' : name).file, this.#keeping, true)
      if (inode === undefined) return undefined
      // another one has come to stand there in between: its entry must not lead to the old one's children
      if (inode.stat.ino !== inodeOf(words)) continue
      const entry = entryOf(inode, here, this.#keeping)
      const mayKeep = named !== undefined && isKeepable(inode, words, time)
      return { entry, kept: this.#keep(here, known, { words, named, entry: mayKeep ? entry : undefined }) }
    }
    throw new Fault('NodeBusy', `${here} is replaced again and again`)
  }

  #keep(here: NodePath, before: Step | undefined, now: Omit<Step, 'fd'>): Step {
    let fd = before?.fd
    if (before !== undefined && fd !== undefined && !isSameInode(before.words, now.words)) {
      closeSync(fd)
      fd = undefined
    }
    const step = { ...now, words: new Int32Array(now.words), fd }
    this.#young.set(here, step)
    return step
  }

  /** The step as it was last, made one of the young ones. */
  #known(here: NodePath): Step | undefined {
    const young = this.#young.get(here)
    if (young !== undefined) return young
    if (this.#young.size >= MOST) this.#age()
    const old = this.#old.get(here)
    if (old === undefined) return undefined
    this.#old.delete(here)
    this.#young.set(here, old)
    return old
  }

  #age(): void {
    for (const { fd } of this.#old.values()) if (fd !== undefined) closeSync(fd)
    this.#old = this.#young
    this.#young = new Map()
  }

  /** Opens a container to walk on; undefined when it is none any more. Kept with its step, or else closed after the walk. */
  #open(dir: number, name: string, step: Step, passing: number[]): number | undefined {
    const fd = opened(dir, name)
    if (fd === undefined) return undefined
    const root = this.#young.get(ROOT)
    const now = statOf(fd, '')
    const mayKeep = root !== undefined && isSameMount(root.words, step.words)
    if (mayKeep && now !== undefined && isSameInode(step.words, now)) step.fd = fd
    else passing.push(fd)
    return fd
  }
}

// All that was read, from `time` on, stands in the inode, is of the state that these words tell of, and shows in ctime when it changes.
function isKeepable({ stat, type, side, record }: Inode, words: Words, time: number): boolean {
  const isWhole = type !== 'link' && side === undefined && record.side !== true
  return isWhole && isSettled(stat.ctimeNs, time) && stat.ctimeNs === ctimeOf(words)
}

function drop(steps: Map<NodePath, Step>, path: NodePath): void {
  const fd = steps.get(path)?.fd
  steps.delete(path)
  if (fd !== undefined) closeSync(fd)
}

function accessTime(dir: number, name: string): bigint | undefined {
  const { file } = spot(dir, name === '' ? '.' : name)
  return lstatSync(file, { bigint: true, throwIfNoEntry: false })?.atimeNs
}

function routeOf(path: NodePath): Stretch[] {
  const names = stepsOf(path)
  const route = [{ name: '', here: ROOT, isLast: names.length === 0 }]
  let above = ''
  for (const [at, name] of names.entries()) {
    above = `${above}/${name}`
    route.push({ name, here: above as NodePath, isLast: at === names.length - 1 })
  }
  return route
}

function opened(dir: number, name: string): number | undefined {
  try {
    return openBeneath(dir, name)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}
