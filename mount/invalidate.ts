// The change stream of the gateway, consumed: what was changed elsewhere is no longer believed here, nor by the kernel.
import { isFault } from '../src/vospace/fault.ts'
import { isWithin, nodePath, stepsOf, type NodePath } from '../src/vospace/path.ts'
import { type Inode } from './cache.ts'
import { Doubts } from './doubts.ts'
import { type ChangeFeed } from './lease-calls.ts'
import { malformed } from './refusal.ts'
import { type Log } from './spool.ts'
import { type Tree } from './tree.ts'

export interface InvalidationOptions {
  readonly feed: ChangeFeed
  readonly tree: Tree
  /** Path of the mount's root at the gateway. */
  readonly root: NodePath
  readonly log: Log
}

/** The kernel is to look the name up again; resolves when it has heard. */
export type Expire = (parent: Inode, name: string) => Promise<void>

/** One line of the stream. */
interface Line {
  readonly seq: number
  readonly resync: boolean
  readonly id?: string
  readonly kind?: string
  readonly path?: NodePath
  readonly from?: NodePath
}

/** Changes whose notifications may be under way at a time. */
const WINDOW = 64
/** Milliseconds between attempts, growing. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 30_000
/** A stream that ends sooner than that was none: milliseconds. */
const SHORTEST = 1000
/** Milliseconds that a lock waits for the stream to have told everything. */
const PATIENCE = 500
/** What changes names. */
const NAMES = new Set(['made', 'moved', 'removed'])
/** What changes with a folder for everything below it. */
const DEEP = new Set(['attributes', 'moved', 'removed'])

export class Invalidation {
  readonly #options: InvalidationOptions
  readonly #doubts: Doubts
  readonly #stop = new AbortController()
  #seq: number | undefined
  /** Notifications under way. */
  #sending: Promise<unknown>[] = []
  #waiting: { readonly seq: number; readonly resolve: () => void }[] = []
  #isBroken = false
  #expire: Expire = () => Promise.resolve()

  constructor(options: InvalidationOptions) {
    this.#options = options
    this.#doubts = new Doubts(options.tree)
    options.tree.doubts = this.#doubts
  }

  start(expire: Expire): void {
    this.#expire = expire
    void this.#run()
  }

  stop(): void {
    this.#stop.abort()
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when everything that was changed up to there is doubted: told by the stream, or all there is when it does not come. */
  async upTo(seq: number): Promise<void> {
    if (this.#seq !== undefined && this.#seq >= seq) return
    const told = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), this.#isBroken ? 0 : PATIENCE)
      this.#waiting.push({
        seq,
        resolve: () => {
          clearTimeout(timer)
          resolve(true)
        },
      })
    })
    if (!told) await this.#doubtAll()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted;) {
      const began = performance.now()
      const why = await this.#follow(signal)
      if (signal.aborted) return
      const isShort = performance.now() - began < SHORTEST
      failures = why === undefined && !isShort ? 0 : failures + 1
      if (why !== undefined && !this.#isBroken) this.#options.log(`no news of changes made elsewhere: ${why}`)
      this.#isBroken = failures > 1
      if (failures > 0) await pause(failures, signal)
    }
  }

  /** One stream, to its end; answers why it broke. */
  async #follow(signal: AbortSignal): Promise<string | undefined> {
    const { feed, root } = this.#options
    // a connection that breaks takes the whole body with it, one that is given up must be closed
    const stream = new AbortController()
    const either = AbortSignal.any([signal, stream.signal])
    try {
      for await (const value of await feed.changes(root, this.#seq, either)) {
        await this.#take(lineOf(value))
        if (signal.aborted) break
      }
      return undefined
    } catch (error) {
      return isFault(error) ? error.detail : String(error)
    } finally {
      stream.abort()
      await this.#sent()
    }
  }

  async #take(line: Line): Promise<void> {
    const { seq, resync, id } = line
    // a gateway of another store begins anew
    if (this.#seq !== undefined && seq < this.#seq && !resync) throw malformed(`change ${seq} after ${this.#seq}`)
    if (resync || this.#seq === undefined) await this.#doubtAll()
    if (id !== undefined) this.#changed(line, id)
    else await this.#sent()
    if (this.#sending.length >= WINDOW) await this.#sent()
    // a change is told of, and then that all up to it has been told
    if (id === undefined) this.#reached(seq)
  }

  #reached(seq: number): void {
    this.#seq = seq
    const [done, left] = [this.#waiting.filter((one) => one.seq <= seq), this.#waiting.filter((one) => one.seq > seq)]
    this.#waiting = left
    for (const { resolve } of done) resolve()
  }

  async #sent(): Promise<void> {
    await Promise.all(this.#sending.splice(0))
  }

  #changed({ kind, path, from }: Line, id: string): void {
    const inode = this.#options.tree.table.byId(id)
    this.#doubts.note(id)
    if (inode !== undefined) {
      this.#doubt(inode)
      if (inode.entry.type === 'container' && DEEP.has(kind ?? '')) this.#doubtBelow(inode)
      if (inode.isOpen && kind === 'bytes') this.#renew(inode)
    }
    for (const place of [path, from]) if (place !== undefined) this.#doubtName(place, kind ?? '', id)
  }

  #doubt(inode: Inode): void {
    inode.fetched = -Infinity
    inode.xattrs = undefined
    this.#sending.push(this.#options.tree.invalidateAttributes(inode))
  }

  /** Who may read it, or where it stands, is another matter for all that is in it too. */
  #doubtBelow(folder: Inode): void {
    const open = [...(folder.children?.values() ?? [])]
    for (let inode = open.pop(); inode !== undefined; inode = open.pop()) {
      this.#doubt(inode)
      if (inode.children !== undefined) open.push(...inode.children.values())
    }
  }

  /** What is mapped or read without asking is to be the new bytes at once. */
  #renew(inode: Inode): void {
    // whoever uses the file next asks again, and is told
    this.#options.tree.refresh(inode).catch(() => undefined)
  }

  #doubtName(path: NodePath, kind: string, id: string): void {
    const { root, tree } = this.#options
    if (!isWithin(path, root) || path === root) {
      if (isWithin(root, path) && DEEP.has(kind)) this.#sending.push(this.#doubtAll())
      return
    }
    const steps = stepsOf(path).slice(stepsOf(root).length)
    const name = steps.pop() ?? ''
    const parent = steps.reduce<Inode | undefined>((at, step) => at && tree.table.child(at, step), tree.table.root)
    if (parent === undefined) return
    const child = tree.table.child(parent, name)
    // what stands there is the same
    if (!NAMES.has(kind) && (child === undefined || child.entry.id === id)) return
    this.#doubts.note(keyOf(parent, name))
    if (child !== undefined) this.#doubt(child)
    this.#doubts.note(parent.entry.id)
    this.#doubt(parent)
    this.#sending.push(this.#expire(parent, name))
  }

  /** There is a gap in what is known: nothing is believed any more. */
  async #doubtAll(): Promise<void> {
    const { tree } = this.#options
    this.#doubts.noteAll()
    const all = [...tree.table.inodes()]
    for (const inode of all) {
      inode.fetched = -Infinity
      inode.xattrs = undefined
    }
    const names = all.flatMap(({ parent, name, others }) =>
      parent === undefined ? [] : [[parent, name] as const, ...others.map((one) => [one.parent, one.name] as const)],
    )
    for (let at = 0; at < all.length; at += WINDOW) {
      const some = all.slice(at, at + WINDOW)
      await Promise.all(some.map((inode) => tree.invalidateAttributes(inode)))
    }
    for (const [parent, name] of [...names, ...this.#doubts.takeAbsent()]) await this.#expire(parent, name)
  }
}

/** A name in a folder, for `Doubts`. */
export const keyOf = (parent: Inode, name: string): string => `${parent.nodeid}/${name}`

/** Throws InternalFault for what is no line of the stream. */
function lineOf(value: unknown): Line {
  if (typeof value !== 'object' || value === null) throw malformed('a line of changes')
  const { seq, resync, id, kind, path, from } = value as Record<string, unknown>
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0) throw malformed('a change without its number')
  if (id === undefined) return { seq, resync: resync === true }
  if (typeof id !== 'string' || typeof kind !== 'string') throw malformed('a change of nothing')
  return { seq, resync: false, id, kind, ...placeIn('path', path), ...placeIn('from', from) }
}

function placeIn(name: 'path' | 'from', value: unknown): { path?: NodePath; from?: NodePath } {
  if (value === undefined) return {}
  if (typeof value !== 'string') throw malformed('a path of a change')
  return { [name]: nodePath(value) }
}

async function pause(failures: number, signal: AbortSignal): Promise<void> {
  const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures - 1, 20))
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, longest * (0.5 + Math.random() / 2))
    timer.unref()
    signal.addEventListener('abort', done)
  })
}
