// fcntl and flock locks: kept by the gateway for all mounts, and here so that a close that has nothing to give back costs nothing.
import { randomUUID } from 'node:crypto'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type LockedRange, type LockKind, overlaps, type Range, withRange } from '../src/vospace/lock.ts'
import { type Inode } from './cache.ts'
import { type Content } from './content.ts'
import { type FileLock, type LockRequest } from './fuse/lock.ts'
import { type KeptLocks } from './kept-locks.ts'
import { type LeaseAnswer, type LeaseCalls, type LeaseLock } from './lease-calls.ts'
import { LeaseSession } from './lease-session.ts'
import { localHolder } from './local-locks.ts'
import { type Log } from './spool.ts'
import { type Tree } from './tree.ts'

export interface LocksOptions {
  readonly calls: LeaseCalls
  readonly tree: Tree
  /** Resolves when what the gateway changed up to that number is no longer believed here. */
  readonly caughtUp: (seq: number) => Promise<void>
  readonly log: Log
  /** Where the driver after this one finds them. */
  readonly kept?: KeptLocks | undefined
}

/** What one owner has locked of one file. */
interface Holding {
  readonly kind: LockKind
  readonly owner: string
  held: readonly LockedRange[]
  /** Handles through which it was locked. */
  readonly handles: Set<number>
  /** What an interrupted call may have changed is being put back. */
  settling: Promise<void> | undefined
}

/** Calls that wait at the gateway at a time; others ask again and again. */
const LONG_WAITS = 16
/** Milliseconds. */
const ASK_AGAIN = 200

export class Locks {
  readonly #options: LocksOptions
  readonly #session: LeaseSession
  readonly #files = new Map<Inode, Map<string, Holding>>()
  /** Bytes that may not be sent any more, and why. */
  readonly #dead = new Map<Inode, { readonly content: Content; readonly why: string }>()
  #waits = 0

  constructor(options: LocksOptions) {
    this.#options = options
    const heard = { lost: () => this.#lost(), changed: () => this.#keep() }
    this.#session = new LeaseSession(options.calls, heard, options.log)
  }

  /** Locks held, for status. */
  get count(): number {
    let count = 0
    for (const { held } of this.#holdings()) count += held.length
    return count
  }

  *#holdings(): Generator<Holding> {
    for (const holdings of this.#files.values()) yield* holdings.values()
  }

  /** Throws EIO once the file's lock was lost: what is written now could spoil what others wrote under theirs. */
  check(inode: Inode): void {
    const dead = this.#dead.get(inode)
    if (dead === undefined) return
    if (dead.content === inode.content) throw new Fault('NodeLocked', `${inode.name}: ${dead.why}`, { errno: 'EIO' })
    this.#dead.delete(inode) // it was closed, and is open anew
  }

  #kill(inode: Inode, why: string): void {
    const { content } = inode
    if (content !== undefined && this.#dead.get(inode)?.content !== content) this.#dead.set(inode, { content, why })
  }

  /** Goes on with the locks of the driver before this one; its files are open here by now. */
  restore(): void {
    const saved = this.#options.kept?.read()
    if (saved === undefined) return
    const { table } = this.#options.tree
    for (const [nodeid, why] of saved.dead) this.#kill(table.get(nodeid), why)
    for (const { nodeid, handles, ...holding } of saved.holdings) {
      const inode = table.get(nodeid)
      const holdings = this.#files.get(inode) ?? new Map<string, Holding>()
      const restored = { ...holding, handles: new Set(handles), settling: undefined }
      this.#files.set(inode, holdings.set(`${holding.kind} ${holding.owner}`, restored))
    }
    if (saved.session !== undefined) this.#session.resume(saved.session, this.#files.size > 0)
  }

  #keep(): void {
    const { kept } = this.#options
    if (kept === undefined) return
    const holdings = [...this.#files].flatMap(([{ nodeid }, ofFile]) =>
      [...ofFile.values()].map(({ kind, owner, held, handles }) => ({
        nodeid,
        kind,
        owner,
        held,
        handles: [...handles],
      })),
    )
    const { saved } = this.#session
    const dead = [...this.#dead].flatMap(([inode, { content, why }]) =>
      inode.content === content ? [[inode.nodeid, why] as const] : [],
    )
    kept.write({ ...(saved && { session: saved }), holdings, dead })
  }

  /** Before bytes are sent: throws EIO where the file was locked and may not be any more. */
  async mayBeSent(inode: Inode): Promise<void> {
    this.check(inode)
    if (!this.#files.has(inode)) return
    try {
      await this.#session.confirm()
    } finally {
      this.check(inode)
    }
  }

  /** The session whose locks the file is under. */
  leaseOf(inode: Inode): string | undefined {
    return this.#files.has(inode) && !inode.unlinked ? this.#session.saved?.id : undefined
  }

  /** F_GETLK. */
  async getlk(inode: Inode, request: LockRequest): Promise<FileLock> {
    const free: FileLock = { ...request, type: 'unlock', pid: 0 }
    if (request.type === 'unlock') return free
    const asked = { ...request, type: request.type }
    const local = localHolder(this.#ofOthers(inode, asked), asked)
    if (local !== undefined || inode.unlinked) return local ?? free
    const { calls, tree } = this.#options
    return (await this.#session.with((session) => calls.test(tree.table.ref(inode), lockOf(session, asked)))) ?? free
  }

  /** SETLK, and SETLKW with `wait`. Throws EAGAIN, EDEADLK, EINTR, ENOLCK, EACCES, EIO. */
  async setlk(inode: Inode, fh: number, request: LockRequest, wait: boolean, context: Waiting): Promise<void> {
    const { type } = request
    await this.#find(inode, request)?.settling
    if (type === 'unlock') return this.#unlock(inode, request)
    this.check(inode)
    // others shall see under the next lock what was written under this one
    if (inode.content?.waits === true) await inode.content.flush()
    if (inode.unlinked) return this.#lockLocally(inode, fh, { ...request, type }, wait, context.signal)
    await this.#lockAtGateway(inode, fh, { ...request, type }, wait, context.signal)
  }

  async #lockAtGateway(inode: Inode, fh: number, asked: Asked, wait: boolean, signal?: AbortSignal): Promise<void> {
    const { tree, caughtUp } = this.#options
    const before = inode.entry
    const tick = tree.tick
    const holding = this.#of(inode, asked)
    const answer = await this.#session
      .with((session) => this.#answered(inode, holding, lockOf(session, asked), wait, signal))
      .finally(() => this.#tidy(inode, holding))
    if (!answer.granted) throw new Fault('NodeBusy', 'locked by another', { errno: 'EAGAIN' })
    this.#took(inode, holding, fh, asked)
    tree.adopt(inode, answer.entry, tick)
    const { size, ctime } = inode.entry
    // the notifications go in order: after this one the kernel has none of the old pages
    if (size !== before.size || ctime !== before.ctime) await tree.invalidateAttributes(inode)
    await caughtUp(answer.seq)
  }

  #took(inode: Inode, holding: Holding, fh: number, asked: Asked): void {
    holding.held = withRange(holding.held, asked, asked)
    holding.handles.add(fh)
    const holdings = this.#files.get(inode) ?? new Map<string, Holding>()
    this.#files.set(inode, holdings.set(keyOf(asked), holding))
    this.#session.needed = true
    this.#keep()
  }

  /** An interrupted call leaves everything as it was. */
  async #answered(
    inode: Inode,
    holding: Holding,
    lock: LeaseLock,
    wait: boolean,
    signal?: AbortSignal,
  ): Promise<LeaseAnswer> {
    const { calls, tree } = this.#options
    const ticket = randomUUID()
    try {
      signal?.throwIfAborted()
      return await (wait ? this.#waited(inode, lock, ticket, signal) : calls.lock(tree.table.ref(inode), lock))
    } catch (error) {
      const isInterrupted = signal?.aborted === true
      if (isInterrupted || isFault(error, 'ServiceBusy', 'InternalFault')) this.#settle(inode, holding, lock, ticket)
      if (!isInterrupted) throw error
      throw new Fault('ServiceBusy', 'interrupted', { errno: 'EINTR', cause: error })
    }
  }

  /** Waits in turn, under one ticket. */
  async #waited(inode: Inode, lock: LeaseLock, ticket: string, signal?: AbortSignal): Promise<LeaseAnswer> {
    const { calls, tree } = this.#options
    for (;;) {
      const isLong = this.#waits < LONG_WAITS
      if (isLong) this.#waits++
      const asked = calls.lock(tree.table.ref(inode), lock, { ticket, isLong, signal })
      const answer = await asked.finally(() => (this.#waits -= isLong ? 1 : 0))
      if (answer.granted) return answer
      if (!isLong) await pause(ASK_AGAIN, signal)
      signal?.throwIfAborted()
    }
  }

  /** Nobody knows whether the gateway granted what was given up: what was held before is held again, and nothing else. */
  #settle(inode: Inode, holding: Holding, lock: LeaseLock, ticket: string): void {
    const { calls, tree } = this.#options
    const { id } = inode.entry
    const { held } = holding
    const work = async (): Promise<void> => {
      await calls.forget(lock.session, ticket)
      for (const gap of gapsIn(held, lock)) await calls.unlock(id, { ...lock, ...gap })
      for (const range of held) {
        if (overlaps(range, lock)) await calls.lock(tree.table.ref(inode), { ...lock, ...range })
      }
    }
    const settling = this.#session.owe(work).finally(() => {
      if (holding.settling === settling) holding.settling = undefined
      this.#tidy(inode, holding)
    })
    holding.settling = settling
  }

  /** What was written under a lock is sent before it is given up; what cannot be sent then is never sent. */
  async #unlock(inode: Inode, request: LockRequest): Promise<void> {
    const holding = this.#find(inode, request)
    if (holding?.held.some((range) => overlaps(range, request)) !== true) return
    const failure = await this.#sent(inode)
    await this.#giveBack(inode, holding, request)
    if (failure !== undefined) throw failure
  }

  async #sent(inode: Inode): Promise<Error | undefined> {
    const { content } = inode
    try {
      await content?.flush()
      return undefined
    } catch (error) {
      this.#kill(inode, `what was written could not be sent before its lock was given up: ${String(error)}`)
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  async #giveBack(inode: Inode, holding: Holding, range: Range): Promise<void> {
    const { kind, owner } = holding
    const { start, end } = range
    holding.held = withRange(holding.held, range, undefined)
    this.#tidy(inode, holding)
    this.#keep()
    if (inode.unlinked) return
    const { id } = inode.entry
    await this.#session.release((session) => this.#options.calls.unlock(id, { session, kind, owner, start, end }))
  }

  /** Whether a FLUSH of that owner gives anything back. */
  has(inode: Inode, owner: string): boolean {
    return this.#files.get(inode)?.has(`posix ${owner}`) === true
  }

  /** FLUSH: a process closes a descriptor of the file, and all its fcntl locks on it are gone. */
  async closed(inode: Inode, owner: string): Promise<void> {
    const holding = this.#files.get(inode)?.get(`posix ${owner}`)
    if (holding !== undefined) await this.#giveUp(inode, holding)
  }

  /** RELEASE: the handle is gone, with its flock lock and what was locked for the handle itself (F_OFD_SETLK). */
  async released(inode: Inode, fh: number, owner: string | undefined): Promise<void> {
    const holdings = [...(this.#files.get(inode)?.values() ?? [])]
    for (const holding of holdings) {
      const isOf = holding.kind === 'flock' ? holding.owner === owner : holding.handles.has(fh)
      if (isOf) await this.#giveUp(inode, holding)
    }
  }

  async #giveUp(inode: Inode, holding: Holding): Promise<void> {
    await holding.settling
    const failure = await this.#sent(inode)
    if (failure !== undefined) this.#options.log(`${inode.name}: unlocked with bytes unsent: ${String(failure)}`)
    await this.#giveBack(inode, holding, { start: 0, end: Number.MAX_SAFE_INTEGER })
  }

  /** The gateway gave our locks to others, or could: nothing that was written under them may be sent. */
  #lost(): void {
    for (const [inode, holdings] of this.#files) {
      for (const holding of holdings.values()) holding.held = []
      if (inode.unlinked || inode.content === undefined) continue
      this.#kill(inode, 'its lock was lost: the gateway did not hear of this mount for too long')
      this.#options.log(`${inode.name}: its lock was lost; it can be neither written nor locked until it is closed`)
    }
    this.#files.clear()
    this.#keep()
  }

  /** The mount has ended: everything is given back at once. */
  end(): Promise<void> {
    this.#files.clear()
    return this.#session.end()
  }

  /** A removed file is this mount's alone. */
  async #lockLocally(inode: Inode, fh: number, asked: Asked, wait: boolean, signal?: AbortSignal): Promise<void> {
    while (localHolder(this.#ofOthers(inode, asked), asked) !== undefined) {
      if (!wait) throw new Fault('NodeBusy', 'locked by another', { errno: 'EAGAIN' })
      if (signal?.aborted === true) throw new Fault('ServiceBusy', 'interrupted', { errno: 'EINTR' })
      await pause(ASK_AGAIN, signal)
    }
    this.#took(inode, this.#of(inode, asked), fh, asked)
  }

  *#ofOthers(inode: Inode, { owner, flock }: LockRequest): Generator<LockedRange> {
    for (const holding of this.#files.get(inode)?.values() ?? []) {
      if (holding.kind === kindOf(flock) && holding.owner !== owner) yield* holding.held
    }
  }

  #find(inode: Inode, request: LockRequest): Holding | undefined {
    return this.#files.get(inode)?.get(keyOf(request))
  }

  #of(inode: Inode, request: LockRequest): Holding {
    const found = this.#find(inode, request)
    if (found !== undefined) return found
    const { owner, flock } = request
    return { kind: kindOf(flock), owner, held: [], handles: new Set(), settling: undefined }
  }

  #tidy(inode: Inode, holding: Holding): void {
    if (holding.held.length > 0 || holding.settling !== undefined) return
    const holdings = this.#files.get(inode)
    const key = `${holding.kind} ${holding.owner}`
    if (holdings?.get(key) === holding) holdings.delete(key)
    if (holdings?.size === 0) this.#files.delete(inode)
    this.#session.needed = this.#files.size > 0
  }
}

type Asked = LockRequest & { readonly type: 'read' | 'write' }

/** Of the call that waits. */
export interface Waiting {
  readonly signal?: AbortSignal | undefined
}

const kindOf = (flock: boolean): LockKind => (flock ? 'flock' : 'posix')
const keyOf = ({ flock, owner }: LockRequest): string => `${kindOf(flock)} ${owner}`

function lockOf(session: string, { flock, owner, type, start, end, pid }: Asked): LeaseLock {
  return { session, kind: kindOf(flock), owner, type, start, end, pid }
}

/** What of a range is not held. */
function gapsIn(held: readonly LockedRange[], range: Range): Range[] {
  const marked = held.reduce<LockedRange[]>(
    (left, one) => withRange(left, one, undefined),
    [{ start: range.start, end: range.end, type: 'read', pid: 0 }],
  )
  return marked.map(({ start, end }) => ({ start, end }))
}

async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal?.addEventListener('abort', done)
  })
}
