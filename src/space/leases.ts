/**
 * Locks of mounts on nodes (schemas/fs-v1.md, "Locks"): who may take them, and the wait for them. A lock for reading needs read permission,
 * one for writing write permission; giving one back needs none. With the credential of a partition nothing is done to sessions that another
 * credential of its user has opened.
 */
import { type Ref } from '../backend/backend.ts'
import { type Lock, type LockPlace, type StoredLeases } from '../store/leases.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type LockedRange, type LockKind, type Range } from '../vospace/lock.ts'
import { authorize, seen } from './authorize.ts'
import { locate } from './fs-place.ts'
import { chainOf } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

/** What is asked for. */
export interface LockAsked extends LockedRange {
  readonly session: string
  readonly owner: string
  readonly kind: LockKind
}

/** Waits up to so many milliseconds; asking again under the same ticket keeps the place among those who wait. */
export interface LockWait {
  readonly ticket: string
  readonly milliseconds: number
}

/** What stands against a lock; `own`: it is of the session that asked. */
export interface LockHolder extends LockedRange {
  readonly own: boolean
  readonly owner: string
}

/**
 * Granted: the node as it is under the lock, and the number of the last change made before: who has heard of that in the change stream
 * knows everything that was changed before the lock.
 */
export type LockAnswer =
  | { readonly granted: true; readonly entry: SeenEntry; readonly seq: number }
  | { readonly granted: false; readonly waiting: boolean; readonly holder: LockHolder }

/** Milliseconds: what a session lives without being renewed, and what a mount may ask for. */
export const TTL = { usual: 10_000, least: 1000, most: 60_000 } as const

/** How soon what another gateway gave back is noticed. */
const LOOK_MS = 50

/** Milliseconds: how often the gateway notes that it runs, and without a note for how long it did not. */
const BEAT = 250
const STALL = 1000

interface Waiter {
  readonly node: string
  readonly wake: () => void
}

export class Leases {
  readonly #stored: StoredLeases
  readonly #changes: { last(): number }
  readonly #beats = setInterval(() => this.#ran(), BEAT).unref()
  #beat = performance.now()
  #stalled = 0
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #turn = -1
  #stopped = false

  constructor(store: StoredLeases, changes: { last(): number }) {
    this.#stored = store
    this.#changes = changes
  }

  /** After a stall (a machine that slept, a disk that hung) requests may be read before any timer is: so whoever asks looks first. */
  get #store(): StoredLeases {
    this.#ran()
    if (this.#stalled > 0) this.#stored.stalled(this.#stalled)
    this.#stalled = 0
    return this.#stored
  }

  /** Nobody could renew while this process did not run. */
  #ran(): void {
    const now = performance.now()
    const away = Math.ceil(now - this.#beat)
    this.#beat = now
    if (away > STALL) this.#stalled += away
  }

  /** A session to hang locks on. PermissionDenied for anonymous callers, QuotaExceeded (ENOLCK). */
  open(caller: Caller, ttl: number = TTL.usual): { readonly session: string; readonly ttl: number } {
    const milliseconds = Math.min(Math.max(ttl, TTL.least), TTL.most)
    return { session: this.#store.open(userOf(caller), milliseconds, caller.scope?.path), ttl: milliseconds }
  }

  /** Answers how many locks it has. NodeNotFound (ENOLCK): it is over. */
  renew(caller: Caller, session: string): number {
    return this.#store.renew(this.#whose(caller, session), session)
  }

  /** Nothing happens where it is over, or not for the caller to end. */
  end(caller: Caller, session: string): void {
    this.#store.end(userOf(caller), session, caller.scope?.path)
    this.#wake()
  }

  /** NodeNotFound (ENOLCK): the session is over, whatever the mount has written since is not under a lock. */
  check(caller: Caller, session: string): void {
    this.#store.check(this.#whose(caller, session), session)
  }

  /**
   * Takes a lock, at once or waiting. Besides locate's refusals PermissionDenied, TypeNotSupported, NodeNotFound (ENOLCK: the session is over),
   * QuotaExceeded (ENOLCK), NodeBusy (EDEADLK).
   */
  async take(
    space: Space,
    caller: Caller,
    ref: Ref,
    asked: LockAsked,
    options: { readonly wait?: LockWait; readonly signal?: AbortSignal } = {},
  ): Promise<LockAnswer> {
    const user = this.#whose(caller, asked.session)
    const node = await this.#lockable(space, caller, ref, asked)
    options.signal?.throwIfAborted()
    const lock = { ...asked, node }
    const outcome = await this.#locked(user, lock, options)
    if (outcome.state === 'deadlock') {
      throw new Fault('NodeBusy', 'whoever holds it waits for a lock of this owner', { errno: 'EDEADLK' })
    }
    if (outcome.state !== 'granted') {
      return { granted: false, waiting: outcome.state === 'waiting', holder: holderOf(outcome.by, asked) }
    }
    // who lost a write lock for one that only reads may have let others in
    this.#wake(node)
    return this.#granted(space, caller, ref, lock)
  }

  async #granted(space: Space, caller: Caller, ref: Ref, lock: Lock): Promise<LockAnswer> {
    const seq = this.#changes.last()
    try {
      const found = await locate(space, caller, ref)
      return { granted: true, entry: seen(caller, chainOf(found), space.rules), seq }
    } catch (error) {
      this.unlock(caller, lock, lock)
      throw error
    }
  }

  /** What stands against a lock, as F_GETLK asks; nothing is taken. Refuses as `take` does. */
  async test(space: Space, caller: Caller, ref: Ref, asked: LockAsked): Promise<LockHolder | undefined> {
    userOf(caller)
    const node = await this.#lockable(space, caller, ref, { ...asked, type: 'read' })
    const by = this.#store.test({ ...asked, node })
    return by && holderOf(by, asked)
  }

  /** NodeNotFound (ENOLCK): the session is over. The node need not be there any more. */
  unlock(caller: Caller, place: LockPlace, range: Range): void {
    this.#store.unlock(this.#whose(caller, place.session), place, range)
    this.#wake(place.node)
  }

  /** Gives up waiting under a ticket. */
  forget(caller: Caller, session: string, ticket: string): void {
    this.#store.forget(this.#whose(caller, session), session, ticket)
    this.#wake()
  }

  /** Those who wait are told to ask again, elsewhere. */
  stop(): void {
    this.#stopped = true
    this.#wake()
    clearInterval(this.#timer)
    clearInterval(this.#beats)
  }

  #whose(caller: Caller, session: string): string {
    const user = userOf(caller)
    if (caller.scope !== undefined) this.#store.checkScope(session, caller.scope.path)
    return user
  }

  async #lockable(space: Space, caller: Caller, ref: Ref, { type }: LockAsked): Promise<string> {
    const found = await locate(space, caller, ref)
    if (found.node.type === 'link') throw new Fault('LinkFound', `${found.node.path} is a link`)
    authorize(caller, type, chainOf(found), space.rules)
    return found.node.id
  }

  async #locked(
    user: string,
    lock: Lock,
    { wait, signal }: { readonly wait?: LockWait; readonly signal?: AbortSignal },
  ): Promise<ReturnType<StoredLeases['lock']>> {
    const until = performance.now() + (wait?.milliseconds ?? 0)
    for (;;) {
      const outcome = this.#store.lock(user, lock, wait?.ticket)
      const left = until - performance.now()
      if (outcome.state !== 'waiting' || left <= 0 || this.#stopped) return outcome
      await this.#woken(lock.node, left, signal)
      if (signal?.aborted !== true) continue
      if (wait !== undefined) this.#store.forget(user, lock.session, wait.ticket)
      this.#wake(lock.node)
      throw new Fault('ServiceBusy', 'the client went away')
    }
  }

  /** Resolves when there may be something new for those who wait for that node. */
  #woken(node: string, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        this.#waiters.delete(waiter)
        if (this.#waiters.size === 0) this.#rest()
        resolve()
      }
      const timer = setTimeout(done, milliseconds)
      const waiter = { node, wake: done }
      signal?.addEventListener('abort', done)
      this.#waiters.add(waiter)
      this.#look()
    })
  }

  #look(): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#turn = this.#store.turn()
    this.#timer = setInterval(() => {
      const turn = this.#store.turn()
      if (turn === this.#turn) return
      this.#turn = turn
      this.#wake()
    }, LOOK_MS)
    this.#timer.unref()
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #wake(node?: string): void {
    for (const waiter of [...this.#waiters]) if (node === undefined || waiter.node === node) waiter.wake()
  }
}

function userOf(caller: Caller): string {
  if (caller.user === undefined) throw new Fault('PermissionDenied', 'anonymous callers lock nothing')
  return caller.user
}

function holderOf({ start, end, type, pid, owner, session }: Lock, asked: LockAsked): LockHolder {
  const own = session === asked.session
  return { start, end, type, pid: own ? pid : 0, own, owner: own ? owner : '' }
}
