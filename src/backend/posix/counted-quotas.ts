/**
 * Quotas where the file system has none for a tree: the gateway counts. An allocation is walked once, then what passes through here is added, and
 * what nobody can tell (a tree that was removed, writes past the gateway) is found by another walk: now and then, and before anything is refused
 * that a removal may have made room for. Bytes are those of files, holes too.
 */
import { closeSync, constants, lstatSync, openSync, readdir } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf } from '../../libc/errno.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { RESERVED } from '../contract.ts'
import { type Logger } from './open.ts'
import { type Allocations, LimitedEntries } from './quota-record.ts'
import { type Quotas, type Room } from './quota.ts'

const read = promisify(readdir)

/** Names between two turns of others. */
const SLICE = 200
/** After something went that nobody can tell the size of, milliseconds. */
const SOON = 1000
/** Between two walks of an allocation, in the time that the last one took: so that no more than a tenth of it all is walking. */
const REST = 10
/** After which what was written past the gateway is looked for, milliseconds. */
const STALE = 3_600_000

interface Count {
  /** undefined: not walked yet */
  used: number | undefined
  files: number
  /** under way */
  held: number
  /** something has changed that the last walk may have missed */
  isDoubtful: boolean
  walking: Promise<void> | undefined
  /** milliseconds since 1970, and how long it took */
  walked: number
  took: number
  timer: NodeJS.Timeout | undefined
}

export interface CountedQuotasOptions {
  readonly allocations: Allocations
  /** those there are */
  readonly all: () => readonly NodePath[]
  readonly logger: Logger | undefined
}

export class CountedQuotas implements Quotas {
  readonly by = 'gateway'
  readonly #options: CountedQuotasOptions
  readonly #limited: LimitedEntries
  /** by device and inode of the allocation, which a rename leaves as they are */
  readonly #counts = new Map<string, Count>()
  #stopped = false
  #turn: Promise<void> = Promise.resolve()

  constructor(options: CountedQuotasOptions) {
    this.#options = options
    const { allocations } = options
    this.#limited = new LimitedEntries(allocations, (directory) => allocations.read(directory) !== undefined)
  }

  start(): void {
    this.#stopped = false
    for (const allocation of this.#options.all()) {
      if (this.#record(allocation) !== undefined) this.#beside(this.counted(allocation))
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const { timer } of this.#counts.values()) clearTimeout(timer)
    await this.#turn
    this.#counts.clear()
  }

  room(path: NodePath): Room | undefined {
    const found = this.#record(path)
    if (found === undefined) return undefined
    const { used, files, held } = found.count
    return {
      quota: found.bytes,
      used: used === undefined ? null : used + held,
      files: used === undefined ? null : files,
      filesFree: null,
    }
  }

  async set(allocation: NodePath, bytes: number | undefined): Promise<void> {
    const { allocations } = this.#options
    allocations.at(allocation, (directory) => allocations.write(directory, bytes === undefined ? undefined : { bytes }))
    if (bytes !== undefined) await this.counted(allocation)
  }

  isLimited(chain: readonly Entry[]): boolean {
    return this.#limited.has(chain)
  }

  refuseCrossing(from: NodePath, to: NodePath): void {
    const { allocations } = this.#options
    allocations.refuseCrossing(from, to, (allocation) =>
      allocations.at(allocation, (directory) => (allocations.read(directory) === undefined ? undefined : allocation)),
    )
  }

  async counted(path: NodePath): Promise<void> {
    const found = this.#record(path)
    if (found === undefined) return
    if (found.count.used === undefined) await this.#walk(found)
    else if (Date.now() - found.count.walked > STALE) this.#beside(this.#walk(found))
  }

  async recount(path: NodePath): Promise<boolean> {
    const found = this.#record(path)
    if (found === undefined) return false
    const { isDoubtful, walked, took } = found.count
    const isRested = Date.now() - walked > Math.max(STALE / 60, took * REST)
    if (!isDoubtful && !isRested) return false
    await this.#walk(found)
    return true
  }

  hold(path: NodePath, bytes: number): void {
    const found = this.#record(path)
    if (found !== undefined) found.count.held = Math.max(0, found.count.held + bytes)
  }

  changed(path: NodePath, bytes: number | undefined): void {
    const found = this.#record(path)
    if (found === undefined) return
    const { count } = found
    if (bytes !== undefined && count.used !== undefined) count.used = Math.max(0, count.used + bytes)
    // a walk that is under way has seen it or not
    if (bytes !== undefined && count.walking === undefined) return
    count.isDoubtful = true
    this.#later(found)
  }

  #beside(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.logger?.warn({ err: error }, 'an allocation could not be counted'))
  }

  #later(found: Found): void {
    const { count } = found
    if (count.timer !== undefined || this.#stopped) return
    count.timer = setTimeout(
      () => {
        count.timer = undefined
        const now = this.#record(found.allocation)
        if (now?.count === count && count.isDoubtful) this.#beside(this.#walk(now))
      },
      SOON + count.took * REST,
    )
    count.timer.unref()
  }

  #record(path: NodePath): Found | undefined {
    const { allocations } = this.#options
    const allocation = allocations.of(path)
    if (allocation === undefined) return undefined
    return allocations.at(allocation, (directory) => {
      const bytes = allocations.read(directory)?.bytes
      if (bytes === undefined) return undefined
      const { dev, ino } = lstatSync(directory, { bigint: true })
      return { allocation, bytes, count: this.#count(`${dev}:${ino}`) }
    })
  }

  #count(self: string): Count {
    const known = this.#counts.get(self)
    if (known !== undefined) return known
    const fresh: Count = {
      used: undefined, files: 0, held: 0, isDoubtful: false, walking: undefined, walked: 0, took: 0, timer: undefined,
    } // prettier-ignore
    this.#counts.set(self, fresh)
    return fresh
  }

  /** One at a time; who asks for one that is under way waits for it. */
  #walk(found: Found): Promise<void> {
    const { count } = found
    count.walking ??= this.#inTurn(() => this.#walkNow(found)).finally(() => (count.walking = undefined))
    return count.walking
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => undefined)
    return mine
  }

  async #walkNow({ allocation, count }: Found): Promise<void> {
    const { allocations, logger } = this.#options
    if (this.#stopped) return
    const top = allocations.at(allocation, (directory) => openSync(directory, constants.O_RDONLY))
    if (top === undefined) return
    try {
      const began = Date.now()
      count.isDoubtful = false
      const before = count.used
      const walk = new Walk(() => this.#stopped)
      await walk.directory(top, true)
      if (this.#stopped) return
      // what came meanwhile has been seen or not: it counts, and is doubtful
      const meanwhile = before === undefined || count.used === undefined ? 0 : Math.max(0, count.used - before)
      count.used = walk.bytes + meanwhile
      count.files = walk.nodes
      count.walked = Date.now()
      count.took = count.walked - began
      logger?.info({ allocation, used: count.used, nodes: walk.nodes, milliseconds: count.took }, 'allocation counted')
    } finally {
      closeSync(top)
    }
  }
}

interface Found {
  readonly allocation: NodePath
  readonly bytes: number
  readonly count: Count
}

/** What is in the making counts on its own. */
const NOT_COUNTED = new Set(['staging', 'journal'])

/** Adds up a tree, in slices; a file with several names once. */
class Walk {
  bytes = 0
  nodes = 0
  readonly #isStopped: () => boolean
  readonly #linked = new Set<bigint>()
  #names = 0

  constructor(isStopped: () => boolean) {
    this.#isStopped = isStopped
  }

  async directory(fd: number, isTop: boolean, isOurs = false): Promise<void> {
    this.nodes++
    for (const name of await read(`/proc/self/fd/${fd}/.`, { encoding: 'buffer' })) {
      if (++this.#names % SLICE === 0) await pause()
      if (this.#isStopped()) return
      if (isOurs && NOT_COUNTED.has(name.toString())) continue
      const file = Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name])
      const below = this.#name(file)
      if (below === undefined) continue
      try {
        await this.directory(below, false, isTop && name.toString() === RESERVED)
      } finally {
        closeSync(below)
      }
    }
  }

  /** Counts what is no directory, and opens what is one. */
  #name(file: Buffer): number | undefined {
    const stat = lstatSync(file, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) return undefined
    if (stat.isDirectory()) return opened(file)
    if (stat.nlink > 1n) {
      if (this.#linked.has(stat.ino)) return undefined
      this.#linked.add(stat.ino)
    }
    this.nodes++
    if (stat.isFile()) this.bytes += Number(stat.size)
    return undefined
  }
}

function opened(file: Buffer): number | undefined {
  try {
    return openSync(file, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  } catch (error) {
    // gone, or something else by now
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}
