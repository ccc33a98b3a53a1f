// Who reads the folders of a folder one after the other (ls -R, find, du) has the next ones listed while they look at one.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { type Inode } from './cache.ts'
import { type Page, type Remote } from './remote.ts'
import { type Tree } from './tree.ts'

/** Folders that are listed before somebody reads them, and the most entries of one. */
const AHEAD = 2
const MOST = 1000
/** Folders above whose use is remembered. */
const WALKS = 8
/** Names that are passed over to find where in its folder a walk begins. */
const FAR = 4096
/** Times in a row that what was listed ahead was of no use, after which it is let be for as long as the walk is remembered. */
const PATIENCE = 3

/** All entries of a folder. */
export interface ListedAhead {
  readonly entries: readonly SeenEntry[]
  /** Moment of the mount's own changes, and of the clock, at which they were asked for. */
  readonly tick: number
  readonly at: number
}

/** One folder's folders, read in their order. */
interface Walk {
  /** Goes on behind `next`. */
  readonly rest: Iterator<Inode>
  next: Inode | undefined
  readonly coming: Map<Inode, Promise<ListedAhead | undefined>>
  misses: number
}

export class FoldersAhead {
  readonly #tree: Tree
  readonly #page: NonNullable<Remote['page']>
  /** By the folder above; least recently used first. */
  readonly #walks = new Map<Inode, Walk>()

  constructor(tree: Tree, page: NonNullable<Remote['page']>) {
    this.#tree = tree
    this.#page = page
  }

  /**
   * Somebody begins to read a folder: what is in it, where that was asked for already and is still believed. It is as old as it was asked for.
   * Never throws.
   */
  async take(folder: Inode): Promise<ListedAhead | undefined> {
    const { parent } = folder
    if (parent === undefined || this.#tree.ttl === 0) return undefined
    const walk = this.#walks.get(parent)
    this.#walks.delete(parent)
    const coming = walk?.coming.get(folder)
    if (walk === undefined || (coming === undefined && walk.next !== folder)) {
      this.#begin(parent, folder, walk)
      return undefined
    }
    this.#walks.set(parent, walk)
    if (coming === undefined) walk.next = nextFolder(walk.rest)
    else passTo(walk, folder)
    this.#goOn(walk)
    if (coming === undefined) return undefined
    const listed = await coming
    const isUseful = listed !== undefined && this.#isTrue(folder, listed)
    walk.misses = isUseful ? 0 : walk.misses + 1
    return isUseful ? listed : undefined
  }

  #begin(parent: Inode, folder: Inode, before: Walk | undefined): void {
    const misses = before === undefined ? 0 : before.misses + (before.coming.size > 0 ? 1 : 0)
    const rest = (parent.children ?? new Map<string, Inode>()).values()
    let passed = 0
    for (let one = rest.next(); one.value !== folder; one = rest.next()) {
      if (one.done === true || ++passed > FAR) return
    }
    this.#walks.set(parent, { rest, next: nextFolder(rest), coming: new Map(), misses })
    for (const oldest of this.#walks.keys()) {
      if (this.#walks.size <= WALKS) break
      this.#walks.delete(oldest)
    }
  }

  #goOn(walk: Walk): void {
    while (walk.coming.size < AHEAD && walk.next !== undefined && walk.misses < PATIENCE) {
      walk.coming.set(walk.next, this.#listed(walk.next))
      walk.next = nextFolder(walk.rest)
    }
  }

  async #listed(folder: Inode): Promise<ListedAhead | undefined> {
    const [tick, at] = [this.#tree.tick, performance.now()]
    try {
      const { entries, isLast }: Page = await this.#page(this.#tree.table.path(folder), MOST)
      return isLast ? { entries, tick, at } : undefined
    } catch {
      // whoever reads the folder asks for it, and is told what is the matter
      return undefined
    }
  }

  /** Neither this mount nor, as far as is known, anybody else has changed a name in it since. */
  #isTrue(folder: Inode, { tick, at }: ListedAhead): boolean {
    const { ttl, doubts, newFiles } = this.#tree
    // those it has here alone are made at the gateway before it is listed
    if (newFiles.has(folder)) return false
    return folder.changedAt <= tick && at + ttl > performance.now() && doubts?.isSince(folder.entry.id, tick) !== true
  }
}

/** Those before it were passed over, so nobody will ask for them. */
function passTo({ coming }: Walk, folder: Inode): void {
  for (const one of coming.keys()) {
    coming.delete(one)
    if (one === folder) return
  }
}

function nextFolder(rest: Iterator<Inode>): Inode | undefined {
  for (let one = rest.next(); one.done !== true; one = rest.next()) {
    const { type, readable } = one.value.entry
    if (type === 'container' && readable) return one.value
  }
  return undefined
}
