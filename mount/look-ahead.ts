// Who asks for one name of a folder after the other gets a page of its listing instead of an answer to each.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { nameOf } from '../src/vospace/path.ts'
import { type Inode } from './cache.ts'
import { type Remote } from './remote.ts'
import { type Tree } from './tree.ts'

/** Names of a folder that are asked for one by one before a page is; more where pages were of little use. */
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
  readonly entries: Map<string, SeenEntry>
  /** Moment of the mount's own changes, and of the clock, at which it was asked for. */
  readonly tick: number
  readonly at: number
  /** Entries that there were. */
  readonly size: number
}

/** What is known of how a folder is used. */
interface Use {
  misses: number
  /** Misses before a page is asked for. */
  threshold: number
  page: Page | undefined
  coming: Promise<void> | undefined
  /** Larger than a page: the next one begins at the name that is wanted. */
  isLarge: boolean
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

  /** The name as a page has it that is still believed; undefined: the gateway has to be asked. Never throws. */
  async find(folder: Inode, name: string): Promise<Inode | undefined> {
    const use = this.#use(folder)
    const found = this.#found(folder, name, use)
    if (found !== undefined) return found
    if (use.coming === undefined && ++use.misses >= use.threshold) this.#fetch(folder, name, use)
    if (use.coming === undefined) return undefined
    await use.coming
    return this.#found(folder, name, use)
  }

  #use({ nodeid }: Inode): Use {
    const use = this.#uses.get(nodeid) ?? {
      ...{ misses: 0, threshold: FEW, page: undefined, coming: undefined, isLarge: false },
    }
    this.#uses.delete(nodeid)
    this.#uses.set(nodeid, use)
    for (const oldest of this.#uses.keys()) {
      if (this.#uses.size <= FOLDERS) break
      this.#uses.delete(oldest)
    }
    return use
  }

  #found(folder: Inode, name: string, use: Use): Inode | undefined {
    const { page } = use
    if (page === undefined) return undefined
    if (folder.changedAt > page.tick || page.at + this.#tree.ttl <= performance.now()) {
      this.#judge(use, page)
      return undefined
    }
    const entry = page.entries.get(name)
    if (entry === undefined || !this.#isTrue(folder, name, entry, page)) return undefined
    page.entries.delete(name)
    const inode = this.#tree.learn(folder, name, entry, page.tick)
    // as old as the page is, not as its being looked at
    inode.fetched = Math.min(inode.fetched, page.at)
    return this.#tree.freshFor(inode) > 0 ? inode : undefined
  }

  /** Nothing that is known better: of the node, of the name, or of what stands there. */
  #isTrue(folder: Inode, name: string, entry: SeenEntry, { tick }: Page): boolean {
    const { table, doubts } = this.#tree
    if (entry.path !== table.pathIn(folder, name)) return false
    if (doubts?.isSince(`${folder.nodeid}/${name}`, tick) === true || doubts?.isSince(entry.id, tick) === true)
      return false
    const [known, child] = [table.byId(entry.id), table.child(folder, name)]
    return known === child && (known === undefined || known.changedAt <= tick)
  }

  /** A page that was of little use makes the next one rarer. */
  #judge(use: Use, { entries, size }: Page): void {
    const isUseful = (size - entries.size) * 8 >= Math.min(size, PAGE)
    use.threshold = isUseful ? FEW : Math.min(use.threshold * 4, MANY)
    use.page = undefined
    use.misses = 0
  }

  #fetch(folder: Inode, name: string, use: Use): void {
    if (use.page !== undefined) this.#judge(use, use.page)
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
    try {
      const from = use.isLarge ? name : undefined
      const { entries, isLast } = await this.#page(this.#tree.table.path(folder), PAGE, from)
      use.isLarge = !isLast || from !== undefined
      use.page = {
        entries: new Map(entries.map((entry) => [nameOf(entry.path), entry])),
        tick,
        at,
        size: entries.length,
      }
      this.#bound()
    } catch {
      // whoever looks a name up asks for it, and is told what is the matter
      use.threshold = MANY
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
