/**
 * The bytes of one open file at one content version, by ranged reads. Who reads on gets a growing window of parallel requests ahead;
 * who jumps about gets what was asked for and no more.
 */
import { Fault } from '../src/vospace/fault.ts'
import { type Inlet } from './inlet.ts'
import { type ReadBudget, SLAB, slabsOf } from './read-budget.ts'
import { type Remote, type RemoteRef } from './remote.ts'

export interface ReaderOptions {
  readonly remote: Pick<Remote, 'read' | 'isNear'>
  /** the node; a function where its path may change meanwhile */
  readonly ref: RemoteRef | (() => RemoteRef)
  /** the version that every byte must be of; empty: any */
  readonly contentVersion: string
  /** bytes of that version */
  readonly size: number
  readonly budget: ReadBudget
}

/** One request's bytes, which can be read as they come. */
interface Chunk {
  readonly start: number
  /** exclusive */
  readonly end: number
  readonly inlet: Inlet
  readonly abort: AbortController
  /** stays until it has been passed; others go with their last waiter */
  readonly isKept: boolean
  isWhole: boolean
  waiters: number
}

/** Reads that go on from one another; a single one, until another follows. */
interface Run {
  readonly from: number
  /** end of the furthest read */
  next: number
  reads: number
  /** bytes asked for in all */
  asked: number
  /** where the answer ends that comes for it, if that goes on */
  until: number
}

const KIB = 1024
const MIB = 1024 * KIB
/** What the first read fetches at least; files up to it are one request. */
const FIRST = 128 * KIB
const FIRST_WINDOW = MIB
const LAST_WINDOW = 32 * MIB
const SMALLEST_PIECE = 512 * KIB
const LARGEST_PIECE = 8 * MIB
/** Of a remote that is near: what is under way stays in the processor's caches, and a piece is not a request of its own. */
const NEAR_WINDOW = 4 * MIB
const NEAR_PIECE = MIB
/** Of one answer: a gateway that stops waits for its end, and who asks anew is looked at anew. */
const LONGEST_ANSWER = 128 * MIB
/** Reads that go on may come out of order, as far as the kernel's own read-ahead spreads them. */
const SLACK = 128 * KIB
/** Places in one file that are read on from at a time; a run is over after so many reads elsewhere. */
const RUNS = 4

export class Reader {
  readonly #options: ReaderOptions
  /** by start; they never overlap */
  #chunks: Chunk[] = []
  /** least recently used first */
  #runs: Run[] = []
  #closed = false

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /**
   * The bytes from `offset` on, `size` or as many as the file has, as views of what was fetched, good until this turn of the event loop is
   * over; at once when they are there.
   * Rejects with what the remote says (PreconditionFailed: the content has changed, open the file anew), InternalFault for fewer bytes
   * than the file has. No failure is remembered. An abort rejects with the signal's reason; others that wait are not disturbed.
   */
  read(offset: number, size: number, signal?: AbortSignal): Buffer[] | Promise<Buffer[]> {
    if (this.#closed) throw new Fault('InternalFault', 'read after close', { errno: 'EBADF' })
    signal?.throwIfAborted()
    const end = Math.min(offset + size, this.#options.size)
    if (offset >= end) return []
    this.#options.budget.use(this)
    this.#follow(offset, end)
    const chunks = this.#overlapping(offset, end)
    if (!chunks.every((chunk) => chunk.inlet.has(wanted(chunk, end)))) return this.#wait(chunks, offset, end, signal)
    this.#evict()
    return slices(chunks, offset, end)
  }

  /** Lets go of what nobody waits for. */
  shed(): void {
    for (const chunk of [...this.#chunks]) if (chunk.waiters === 0) this.#drop(chunk)
  }

  /** Gives up what is under way: whoever waits gets an AbortError. */
  close(): void {
    this.#closed = true
    for (const chunk of [...this.#chunks]) this.#drop(chunk)
    this.#options.budget.forget(this)
  }

  /** Takes the read for one of a run or a stray one, and sees to it that its bytes are there or under way. */
  #follow(offset: number, end: number): void {
    const { size } = this.#options
    if (size <= FIRST) return this.#demand(0, size, 0, true)
    const run = this.#runs.find(({ next }) => Math.abs(offset - next) <= SLACK)
    if (run === undefined) return this.#jump(offset, end)
    this.#runs = [...this.#runs.filter((other) => other !== run), run]
    run.next = Math.max(run.next, end)
    run.reads++
    run.asked += end - offset
    this.#ahead(run, offset)
    this.#demand(offset, end, 0, true)
  }

  #jump(offset: number, end: number): void {
    if (this.#covered(offset) >= end) return
    const isFirst = this.#runs.length === 0
    this.#runs = [...this.#runs, { from: offset, next: end, reads: 1, asked: end - offset, until: 0 }].slice(-RUNS)
    this.#demand(offset, end, isFirst ? FIRST : 0, isFirst)
  }

  /** Fetches up to the window's end in pieces, as far as the budget goes. */
  #ahead(run: Run, offset: number): void {
    const { size, budget, remote } = this.#options
    const isNear = remote.isNear?.() === true
    const window = Math.min(windowOf(run), budget.share(), isNear ? NEAR_WINDOW : Infinity)
    const third = Math.floor(window / 3 / SLAB) * SLAB
    const piece = Math.min(Math.max(third, SMALLEST_PIECE), isNear ? NEAR_PIECE : LARGEST_PIECE)
    const limit = Math.min(run.next + window, size)
    for (let at = this.#covered(offset); at < limit; at = this.#covered(at)) {
      const end = Math.min(at + piece, size, this.#nextStart(at), at < run.until ? run.until : Infinity)
      if (end > limit || !budget.take(slabsOf(end - at), this)) return
      this.#fetch(at, end, true, isNear ? this.#goesOn(run, at, end) : 0)
    }
  }

  /** Bytes that may come after these with the same answer: each piece says so anew, should that end before. */
  #goesOn(run: Run, at: number, end: number): number {
    const most = Math.min(this.#nextStart(end - 1), this.#options.size)
    const worth = run.next + Math.min(worthAsking(run), LONGEST_ANSWER)
    if (at >= run.until) run.until = Math.min(Math.max(worth, end), most)
    return Math.min(run.until, most) - end
  }

  /** Fetches what of the range is neither there nor under way, budget or not; `least` bytes where that starts the range. */
  #demand(offset: number, end: number, least: number, isKept: boolean): void {
    const { size, budget } = this.#options
    const goal = Math.min(Math.max(end, offset + least), size)
    for (let at = this.#covered(offset); at < end; at = this.#covered(at)) {
      const to = Math.min(goal, this.#nextStart(at))
      budget.force(slabsOf(to - at))
      this.#fetch(at, to, isKept)
    }
  }

  #fetch(start: number, end: number, isKept: boolean, more = 0): void {
    const inlet = this.#options.budget.inlet(end - start)
    const chunk: Chunk = { start, end, inlet, abort: new AbortController(), isKept, isWhole: false, waiters: 0 }
    const after = this.#chunks.findIndex((other) => other.start > start)
    this.#chunks.splice(after < 0 ? this.#chunks.length : after, 0, chunk)
    void this.#arrive(chunk, more)
  }

  /** Who waits for the bytes hears from the inlet how that ended. */
  async #arrive(chunk: Chunk, more: number): Promise<void> {
    const { remote, ref, contentVersion } = this.#options
    const { start, inlet, abort } = chunk
    const at = typeof ref === 'function' ? ref() : ref
    try {
      const version = contentVersion === '' ? {} : { ifContentVersion: contentVersion }
      await remote.read(at, start, inlet, { ...version, signal: abort.signal, ...(more > 0 && { more }) })
      if (inlet.count < inlet.length) {
        throw new Fault('InternalFault', `${at.path}: ${inlet.count} bytes at ${start} instead of ${inlet.length}`)
      }
    } catch (error) {
      this.#drop(chunk)
      inlet.fail(error as Error)
    }
    chunk.isWhole = true
    if (!this.#chunks.includes(chunk)) this.#options.budget.recycle(inlet)
  }

  async #wait(chunks: Chunk[], offset: number, end: number, signal: AbortSignal | undefined): Promise<Buffer[]> {
    for (const chunk of chunks) chunk.waiters++
    try {
      await interruptible(Promise.all(chunks.map((chunk) => chunk.inlet.reach(wanted(chunk, end)))), signal)
      return slices(chunks, offset, end)
    } finally {
      for (const chunk of chunks) if (--chunk.waiters === 0 && !chunk.isKept) this.#drop(chunk)
      this.#evict()
    }
  }

  /** Drops what every run has passed, may not come back to, and is not on the way to. */
  #evict(): void {
    if (this.#options.size <= FIRST) return
    const near = ({ start, end }: Chunk): boolean =>
      this.#runs.some((run) => end > run.next - 2 * SLACK && start <= run.next + Math.max(windowOf(run), SLACK))
    for (const chunk of [...this.#chunks]) if (chunk.waiters === 0 && !near(chunk)) this.#drop(chunk)
  }

  #drop(chunk: Chunk): void {
    const index = this.#chunks.indexOf(chunk)
    if (index < 0) return
    this.#chunks.splice(index, 1)
    const { budget } = this.#options
    budget.give(slabsOf(chunk.inlet.length))
    // what is under way writes into it until it has ended
    if (chunk.isWhole) budget.recycle(chunk.inlet)
    else chunk.abort.abort()
  }

  #overlapping(offset: number, end: number): Chunk[] {
    return this.#chunks.filter((chunk) => chunk.start < end && chunk.end > offset)
  }

  /** The first byte from `offset` on that is neither there nor under way. */
  #covered(offset: number): number {
    let at = offset
    for (const { start, end } of this.#chunks) if (start <= at && end > at) at = end
    return at
  }

  #nextStart(offset: number): number {
    return this.#chunks.find(({ start }) => start > offset)?.start ?? Infinity
  }
}

/** Bytes to ask for after a run: as many as it has read, so that no more than half is fetched in vain; none while it skips. */
function worthAsking({ from, next, reads, asked }: Run): number {
  if (reads < 2 || asked < FIRST / 2 || asked < (next - from) / 2) return 0
  return Math.max(FIRST_WINDOW, 2 ** Math.floor(Math.log2(asked)))
}

/** Those of them to have under way. */
function windowOf(run: Run): number {
  return Math.min(worthAsking(run), LAST_WINDOW)
}

/** Bytes of the chunk, from its first on, that a read up to `end` needs. */
function wanted(chunk: Chunk, end: number): number {
  return Math.min(chunk.end, end) - chunk.start
}

/** Chunks in order of their starts that cover the range, each byte once. */
function slices(chunks: Chunk[], offset: number, end: number): Buffer[] {
  const parts: Buffer[] = []
  let at = offset
  for (const chunk of chunks) {
    if (chunk.start > at || chunk.end <= at || at >= end) continue
    parts.push(...chunk.inlet.slices(at - chunk.start, wanted(chunk, end)))
    at = Math.min(end, chunk.end)
  }
  if (at < end) throw new Error(`reader: nothing at ${at}`)
  return parts
}

/** The promise's outcome, or at once the reason of an abort. */
function interruptible<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const interrupt = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', interrupt, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', interrupt))
  })
}
