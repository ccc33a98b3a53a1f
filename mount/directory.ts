// An open folder: the gateway's listing as it streams in, with positions that stay while it is open.
import { setImmediate as turn } from 'node:timers/promises'
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { nameOf } from '../src/vospace/path.ts'
import { type Inode } from './cache.ts'
import { type ListedAhead } from './folders-ahead.ts'
import { isHiddenName } from './hidden-names.ts'
import { type Tree } from './tree.ts'

/** Entries read ahead of the program, and kept behind it. */
const AHEAD = 4096
const DOTS = ['.', '..'] as const

/** One thing to show. `inode` is absent where what the listing says of it is older than a change made here. */
export interface Listed {
  readonly name: string
  readonly inode: Inode | undefined
  readonly entry: SeenEntry
}

/** Takes one entry; false when it is full. `offset` is the position after the entry. */
export type Take = (listed: Listed, offset: number) => boolean

/** How far an open folder was read. */
export interface ReadTo {
  readonly offset: number
  readonly name: string
}

export class Directory {
  readonly #tree: Tree
  readonly inode: Inode
  #listing: Listing

  /** `from`: where a driver before this one had got to, the position and the name that came last. */
  constructor(tree: Tree, inode: Inode, from?: ReadTo) {
    this.#tree = tree
    this.inode = inode
    this.#listing = new Listing(tree, inode, from)
  }

  /**
   * Gives entries from `offset` on, at least one of the gateway's before it returns unless there are no more. Position 0 begins anew, so
   * that rewinddir(3) shows what is there now.
   */
  async read(offset: number, take: Take): Promise<void> {
    if (offset === 0 && !this.#listing.started) await this.#begin()
    else if (offset === 0 || offset - DOTS.length < this.#listing.first) this.#restart()
    let at = offset
    for (; at < DOTS.length; at++) if (!take(this.#dots(at), at + 1)) return
    for (let taken = false; ; at++) {
      const index = at - DOTS.length
      const entry = this.#listing.peek(index) ?? (await this.#more(index, taken))
      if (entry === undefined) return
      if (isHiddenName(nameOf(entry.path))) continue
      if (!this.#give(entry, at + 1, take)) return
      taken = true
    }
  }

  /** What has come is shown before the rest is waited for, unless that is on its way through this process. */
  async #more(index: number, taken: boolean): Promise<SeenEntry | undefined> {
    if (!taken) return this.#listing.get(index)
    if (this.#listing.isOver) return undefined
    await turn()
    return this.#listing.peek(index)
  }

  #give(entry: SeenEntry, offset: number, take: Take): boolean {
    const name = nameOf(entry.path)
    const inode = this.#inodeOf(name, entry)
    const fits = take({ name, inode, entry }, offset)
    if (!fits && inode !== undefined) this.#tree.table.dropUnused(inode)
    return fits
  }

  #dots(index: number): Listed {
    const inode = index === 0 ? this.inode : (this.inode.parent ?? this.inode)
    return { name: DOTS[index] ?? '.', inode, entry: inode.entry }
  }

  #inodeOf(name: string, entry: SeenEntry): Inode | undefined {
    const { tick, asOf } = this.#listing
    const { table } = this.#tree
    const known = table.byId(entry.id)
    const old = this.inode.changedAt > tick || (known !== undefined && known.changedAt > tick)
    if (old) return undefined
    // heard of since the listing was asked for
    if (known !== undefined && known.fetched > asOf && table.child(this.inode, name) === known) return known
    const inode = this.#tree.learn(this.inode, name, entry, tick)
    if (asOf < Infinity) inode.fetched = Math.min(inode.fetched, asOf)
    return inode
  }

  /** With what was fetched before somebody asked for it, where there is such. */
  async #begin(): Promise<void> {
    const ahead = await this.#tree.foldersAhead?.take(this.inode)
    if (ahead !== undefined) this.#listing = new Listing(this.#tree, this.inode, undefined, ahead)
  }

  #restart(): void {
    this.#listing.stop()
    this.#listing = new Listing(this.#tree, this.inode)
  }

  close(): void {
    this.#listing.stop()
  }
}

/** A window that moves over a listing of any length. */
class Listing {
  readonly tick: number
  /** performance.now() of which it is, where it was asked for ahead; Infinity: as it comes */
  readonly asOf: number = Infinity
  readonly #tree: Tree
  readonly #inode: Inode
  readonly #abort = new AbortController()
  #entries: SeenEntry[] = []
  /** Index of the first entry that is still here. */
  first = 0
  #wanted = 0
  /** Names up to this one were given before; listings are in byte order. */
  readonly #after: Buffer | undefined
  started = false
  #ended = false
  #failure: Error | undefined
  #arrived: PromiseWithResolvers<void> | undefined
  #wantMore: PromiseWithResolvers<void> | undefined

  constructor(tree: Tree, inode: Inode, from?: ReadTo, ahead?: ListedAhead) {
    this.#tree = tree
    this.#inode = inode
    this.tick = ahead?.tick ?? tree.tick
    if (ahead !== undefined) {
      this.asOf = ahead.at
      this.#entries = [...ahead.entries]
      this.started = this.#ended = true
    }
    if (from !== undefined && from.offset > DOTS.length) {
      this.first = from.offset - DOTS.length
      this.#wanted = this.first
      this.#after = Buffer.from(from.name)
    }
  }

  /** Nothing comes any more. */
  get isOver(): boolean {
    return this.#ended
  }

  /** As `get`, of what has come. */
  peek(index: number): SeenEntry | undefined {
    const entry = this.#entries[index - this.first]
    if (entry !== undefined) this.#want(index)
    return entry
  }

  /** `undefined` after the last. Throws what the gateway refuses. */
  async get(index: number): Promise<SeenEntry | undefined> {
    if (!this.started) {
      this.started = true
      void this.#pump()
    }
    this.#want(index)
    while (index >= this.first + this.#entries.length) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#ended) return undefined
      this.#arrived ??= Promise.withResolvers()
      await this.#arrived.promise
      this.#want(index)
    }
    return this.#entries[index - this.first]
  }

  #want(index: number): void {
    this.#wanted = Math.max(this.#wanted, index)
    // by halves, so that dropping costs each entry one move
    if (index - this.first > 2 * AHEAD) {
      const passed = Math.min(index - this.first - AHEAD, this.#entries.length)
      this.#entries.splice(0, passed)
      this.first += passed
    }
    this.#wantMore?.resolve()
    this.#wantMore = undefined
  }

  /** Never rejects: a failure is thrown where the listing is read. */
  async #pump(): Promise<void> {
    try {
      await this.#tree.newFiles.settleIn(this.#inode)
      const path = this.#tree.table.path(this.#inode)
      for await (const entries of this.#tree.remote.list(path, this.#abort.signal)) {
        this.#entries.push(...(this.#after === undefined ? entries : entries.filter((entry) => this.#isNew(entry))))
        this.#wake()
        while (this.first + this.#entries.length > this.#wanted + AHEAD) {
          if (this.#abort.signal.aborted) return
          this.#wantMore = Promise.withResolvers()
          await this.#wantMore.promise
        }
      }
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error('listing', { cause: error })
    }
    this.#ended = true
    this.#wake()
  }

  #isNew({ path }: SeenEntry): boolean {
    return this.#after === undefined || Buffer.compare(Buffer.from(nameOf(path)), this.#after) > 0
  }

  #wake(): void {
    this.#arrived?.resolve()
    this.#arrived = undefined
  }

  stop(): void {
    this.#abort.abort()
    this.#wantMore?.resolve()
  }
}
