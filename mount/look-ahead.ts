// Who asks for one name of a folder after the other gets a page of its listing instead of an answer to each.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { nameOf, type NodePath } from '../src/vospace/path.ts'
import { type Inode } from './cache.ts'
import { type Remote } from './remote.ts'
import { type Tree } from './tree.ts'

/** Names of a folder that are asked for one by one before a page is: one where its neighbour's page was of use, more where pages were of little. */
const FEW = 4
const MANY = 1024
/** Entries of a page, and of all pages together. */
const PAGE = 1000
const ALL = 4 * PAGE
/** Milliseconds that a name waits for a page that is on its way. */
const PATIENCE = 30
/** Folders whose use is remembered. */
const FOLDERS = 256

interface Page {
  /** Those that nobody has looked at yet. */
  readonly entries: Map<string, SeenEntry>
  /** What stands there, with what this mount has changed since. */
  readonly names: Set<string>
  /** Where the folder was; the names from one to another, in the order of their bytes, all where one is absent. */
  readonly path: NodePath
  readonly first: string | undefined
  readonly last: string | undefined
  /** Moment of the mount's own changes, and of the clock, at which it was asked for. */
  readonly tick: number
  readonly at: number
  /** Entries that there were. */
  readonly size: number
  /** Names that were looked up in it. */
  answers: number
}

/** What is known of how a folder is used. */
interface Use {
  misses: number
  /** Misses before a page is asked for. */
  threshold: number
  page: Page | undefined
  coming: Promise<void> | undefined
  /** Names that this mount made (true) or took away while a page is on its way. */
  changed: Map<string, boolean> | undefined
  /** Larger than a page: the next one begins at the name that is wanted. */
  isLarge: boolean
  /** Whether the page before `page` was of use. */
  wasUseful: boolean
  /** Of the folder in it of which a page was asked for last. */
  below: Use | undefined
}

export class LookAhead {
  readonly #tree: Tree
  readonly #page: NonNullable<Remote['page']>
  /** By node id; least recently used first. */
  readonly #uses = new Map<number, Use>()

  constructor(tree: Tree, page: NonNullable<Remote['page']>) {
    this.#tree = tree
    this.#page = page
  }

  /**
   * What a page that is still believed, and was asked for after `since` (performance.now()), has under the name; undefined: the gateway has to
   * be asked. Never throws.
   */
  async find(folder: Inode, name: string, since = -Infinity): Promise<Inode | 'absent' | undefined> {
    const use = this.#use(folder)
    const found = this.#found(folder, name, use, since)
    if (found !== undefined) return found
    if (use.coming === undefined && ++use.misses >= use.threshold) this.#fetch(folder, name, use)
    if (use.coming === undefined) return undefined
    await use.coming
    return this.#found(folder, name, use, since)
  }

  /** Milliseconds for which a page says that the name is absent; undefined: none does. */
  absentFor(folder: Inode, name: string): number | undefined {
    const page = this.#uses.get(folder.nodeid)?.page
    if (page === undefined || !this.#isAbsent(folder, name, page)) return undefined
    return Math.max(0, page.at + this.#tree.ttl - performance.now())
  }

  /** This mount has made the name, or taken it away: pages asked for before know it no better. */
  changed(folder: Inode, name: string, isThere: boolean): void {
    const use = this.#uses.get(folder.nodeid)
    if (use === undefined) return
    use.changed?.set(name, isThere)
    if (use.page !== undefined) put(use.page, name, isThere)
  }

  /** This mount has changed what stands at the name. */
  forget(folder: Inode, name: string): void {
    this.#uses.get(folder.nodeid)?.page?.entries.delete(name)
  }

  /** A folder that this mount has just made: there is nothing in it. */
  made(folder: Inode): void {
    const [{ tick, table }, at] = [this.#tree, performance.now()]
    const page = { path: table.path(folder), first: undefined, last: undefined, tick, at, size: 0, answers: 0 }
    this.#use(folder).page = { ...page, entries: new Map(), names: new Set() }
  }

  #use({ nodeid, parent }: Inode): Use {
    const use = this.#uses.get(nodeid) ?? newUse(parent && this.#uses.get(parent.nodeid)?.below)
    this.#uses.delete(nodeid)
    this.#uses.set(nodeid, use)
    for (const [oldest, forgotten] of this.#uses) {
      if (this.#uses.size <= FOLDERS) break
      this.#uses.delete(oldest)
      // the folder above may remember it still
      forgotten.page = undefined
    }
    return use
  }

  #found(folder: Inode, name: string, use: Use, since: number): Inode | 'absent' | undefined {
    const { page } = use
    if (page === undefined) return undefined
    if (page.path !== this.#tree.table.path(folder) || page.at + this.#tree.ttl <= performance.now()) {
      this.#judge(use, page)
      return undefined
    }
    if (page.at <= since) return undefined
    const found = this.#isAbsent(folder, name, page) ? 'absent' : this.#present(folder, name, page)
    if (found !== undefined) page.answers++
    return found
  }

  #present(folder: Inode, name: string, page: Page): Inode | undefined {
    const entry = page.entries.get(name)
    if (entry === undefined || !this.#isTrue(folder, name, entry, page)) return undefined
    page.entries.delete(name)
    const inode = this.#tree.learn(folder, name, entry, page.tick)
    // as old as the page is, not as its being looked at, whatever this mount has done to other names since
    if (inode.entry === entry) inode.fetched = page.at
    return this.#tree.freshFor(inode) > 0 ? inode : undefined
  }

  /** The page would have the name if it was there, and nobody has been heard of who made it since. */
  #isAbsent(folder: Inode, name: string, { names, first, last, tick }: Page): boolean {
    if (names.has(name)) return false
    if (first !== undefined && compare(name, first) < 0) return false
    if (last !== undefined && compare(name, last) > 0) return false
    return this.#tree.doubts?.isSince(`${folder.nodeid}/${name}`, tick) !== true
  }

  /** Nothing that is known better: of the node, of the name, or of what stands there. */
  #isTrue(folder: Inode, name: string, entry: SeenEntry, { tick }: Page): boolean {
    const { table, doubts } = this.#tree
    if (entry.path !== table.pathIn(folder, name)) return false
    if (doubts?.isSince(`${folder.nodeid}/${name}`, tick) === true || doubts?.isSince(entry.id, tick) === true)
      return false
    // of its other names one may be gone
    if (entry.nlink > 1 && entry.type !== 'container' && folder.changedAt > tick) return false
    const [known, child] = [table.byId(entry.id), table.child(folder, name)]
    return known === child && (known === undefined || known.changedAt <= tick)
  }

  /** A page that was of little use makes the next one rarer. */
  #judge(use: Use, page: Page): void {
    use.wasUseful = isUseful(page)
    // whoever goes on through the folder will want the next one
    if (use.wasUseful) use.threshold = page.answers < FEW ? FEW : 1
    else use.threshold = Math.min(Math.max(use.threshold, FEW) * 4, MANY)
    use.page = undefined
    use.misses = 0
  }

  #fetch(folder: Inode, name: string, use: Use): void {
    if (use.page !== undefined) this.#judge(use, use.page)
    if (folder.parent !== undefined) this.#use(folder.parent).below = use
    const fetched = this.#fetched(folder, name, use)
    const soon = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE).unref())
    const coming = Promise.race([fetched, soon])
    use.coming = coming
    // names that come later do not wait for one that is slow, but ask for no other either
    void coming.then(() => (use.coming &&= Promise.resolve()))
    void fetched.then(() => (use.coming = undefined))
  }

  async #fetched(folder: Inode, name: string, use: Use): Promise<void> {
    const [tick, at] = [this.#tree.tick, performance.now()]
    use.misses = 0
    use.changed = new Map()
    try {
      const first = use.isLarge ? name : undefined
      const path = this.#tree.table.path(folder)
      const { entries, isLast } = await this.#page(path, PAGE, first)
      use.isLarge = !isLast || first !== undefined
      const named = new Map(entries.map((entry) => [nameOf(entry.path), entry]))
      const last = isLast ? undefined : nameOf(entries.at(-1)?.path ?? path)
      const size = entries.length
      use.page = { entries: named, names: new Set(named.keys()), path, first, last, tick, at, size, answers: 0 }
      for (const [changed, isThere] of use.changed) put(use.page, changed, isThere)
      this.#bound()
    } catch {
      // whoever looks a name up asks for it, and is told what is the matter
      use.threshold = MANY
    } finally {
      use.changed = undefined
    }
  }

  /** The pages used last, as many as there is room for. */
  #bound(): void {
    let room = ALL
    for (const use of [...this.#uses.values()].reverse()) {
      room -= use.page?.size ?? 0
      if (room < 0) use.page = undefined
    }
  }
}

/** Who has gone through the folder beside it will go through this one. */
function newUse(beside: Use | undefined): Use {
  const isWalk = beside !== undefined && (beside.page === undefined ? beside.wasUseful : isUseful(beside.page))
  const nothing = { page: undefined, coming: undefined, changed: undefined, below: undefined }
  return { ...nothing, misses: 0, threshold: isWalk ? 1 : FEW, isLarge: false, wasUseful: false }
}

const isUseful = ({ answers, size }: Page): boolean => answers * 8 >= Math.min(size, PAGE)

/** In the order of UTF-8, as pages are. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

function put({ entries, names }: Page, name: string, isThere: boolean): void {
  entries.delete(name)
  if (isThere) names.add(name)
  else names.delete(name)
}
