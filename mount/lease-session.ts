// The session that a mount's locks hang on: renewed as long as there are any, and what is known of it when the gateway cannot be reached.
import { isFault } from '../src/vospace/fault.ts'
import { type LeaseCalls } from './lease-calls.ts'
import { type Log } from './spool.ts'

/** Milliseconds without a lock after which the session is given back. */
const IDLE = 60_000
/** Milliseconds before what could not be given back is tried again. */
const AGAIN = 1000

/** The gateway does not know the session any more. */
export const isOver = (error: unknown): boolean => isFault(error, 'NodeNotFound') && error.errno === 'ENOLCK'

interface Open {
  readonly id: string
  /** milliseconds */
  readonly ttl: number
  /** Until then it lives whatever happens: by a clock that nobody sets, and by one that goes on while the machine sleeps. */
  until: number
  untilDate: number
}

export interface SessionHeard {
  /** It is over, with all locks. */
  readonly lost: () => void
  /** There is another. */
  readonly changed: () => void
}

/** What the driver after this one needs to go on with it. */
export type SavedSession = Pick<Open, 'id' | 'ttl' | 'untilDate'>

export class LeaseSession {
  readonly #calls: LeaseCalls
  readonly #heard: SessionHeard
  readonly #log: Log
  #open: Promise<Open> | undefined
  #known: Open | undefined
  #renewing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #idleSince = performance.now()
  #needed = false
  #ended = false
  /** What the gateway is still to be told, in order. */
  #owed: Promise<void> = Promise.resolve()

  constructor(calls: LeaseCalls, heard: SessionHeard, log: Log) {
    this.#calls = calls
    this.#heard = heard
    this.#log = log
  }

  /** undefined: there is none. */
  get saved(): SavedSession | undefined {
    const open = this.#known
    return open && { id: open.id, ttl: open.ttl, untilDate: open.untilDate }
  }

  /** Goes on with the session of the driver before this one, if it still is one. */
  resume({ id, ttl, untilDate }: SavedSession, needed: boolean): void {
    const until = performance.now() + Math.min(untilDate - Date.now(), ttl)
    const open = { id, ttl, until, untilDate }
    this.#needed = needed
    this.#open = Promise.resolve(open)
    this.#started(open)
    this.#beat(open)
  }

  /** Whether there are locks to be kept. */
  set needed(needed: boolean) {
    if (this.#needed && !needed) this.#idleSince = performance.now()
    this.#needed = needed
  }

  /** Does a call in the session, a new one where there is none. One that is over has lost its locks, and the call is made once more. */
  async with<T>(call: (session: string) => Promise<T>): Promise<T> {
    await this.#owed
    for (let attempt = 1; ; attempt++) {
      const open = await this.#current()
      try {
        return await call(open.id)
      } catch (error) {
        if (!isOver(error)) throw error
        const hadLocks = this.#needed
        this.#over(open)
        if (hadLocks || attempt === 2) throw error
      }
    }
  }

  /** Gives something back. Where the gateway cannot be reached it is told later, or the session ends by itself. */
  async release(call: (session: string) => Promise<void>): Promise<void> {
    const opening = this.#open
    if (opening === undefined) return
    const { id } = await opening
    await this.#owed
    try {
      await call(id)
    } catch (error) {
      // what the gateway knows nothing of any more is given back
      if (isFault(error, 'ServiceBusy', 'InternalFault')) await this.owe(() => call(id))
    }
  }

  /** The gateway is to be told, before anything else is asked of it; tries again until the session has ended. Never rejects. */
  owe(work: () => Promise<void>): Promise<void> {
    const before = this.#owed
    const owed = (async () => {
      await before
      while (!this.#ended) {
        const open = await this.#open?.catch(() => undefined)
        if (open === undefined || isPast(open, open.ttl)) return
        try {
          return await work()
        } catch (error) {
          // nothing of it is left; or the gateway was asked something it cannot do, now or ever
          if (!isFault(error, 'ServiceBusy', 'InternalFault')) return
          this.#log(`locks: the gateway was not told: ${String(error)}`)
          await new Promise((resolve) => setTimeout(resolve, AGAIN).unref())
        }
      }
    })()
    this.#owed = owed
    return owed
  }

  /** Throws EIO unless the session surely lives: asks the gateway where too much time has passed. */
  async confirm(): Promise<void> {
    const open = await this.#open
    if (open !== undefined && isPast(open)) await this.#renew(open)
  }

  async end(): Promise<void> {
    this.#ended = true
    clearInterval(this.#timer)
    const open = await this.#open?.catch(() => undefined)
    this.#open = undefined
    if (open === undefined) return
    try {
      await this.#calls.end(open.id)
    } catch (error) {
      this.#log(`locks: the gateway was not told of the end: ${String(error)}`)
    }
  }

  async #current(): Promise<Open> {
    const opening = this.#open
    if (opening !== undefined) {
      const open = await opening
      if (!isPast(open)) return open
      if (this.#needed) await this.#renew(open)
      else this.#over(open)
    }
    return (this.#open ??= this.#begin())
  }

  async #begin(): Promise<Open> {
    const asked = now()
    try {
      const { session: id, ttl } = await this.#calls.open()
      const open = { id, ttl, until: asked.steady + ttl, untilDate: asked.date + ttl }
      this.#started(open)
      this.#heard.changed()
      return open
    } catch (error) {
      this.#open = undefined
      throw error
    }
  }

  #started(open: Open): void {
    this.#known = open
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#beat(open), open.ttl / 3)
    this.#timer.unref()
    this.#idleSince = performance.now()
  }

  #beat(open: Open): void {
    if (!this.#needed && performance.now() - this.#idleSince > IDLE) {
      this.#over(open)
      // it would end by itself soon
      this.#calls.end(open.id).catch((error: unknown) => this.#log(`locks: ${String(error)}`))
      return
    }
    // whoever needs to know asks again, and is told
    this.#renew(open).catch(() => undefined)
  }

  #renew(open: Open): Promise<void> {
    this.#renewing ??= this.#renewed(open).finally(() => (this.#renewing = undefined))
    return this.#renewing
  }

  async #renewed(open: Open): Promise<void> {
    const asked = now()
    try {
      await this.#calls.renew(open.id)
      open.until = asked.steady + open.ttl
      open.untilDate = asked.date + open.ttl
    } catch (error) {
      if (isOver(error)) this.#over(open)
      throw error
    }
  }

  #over(open: Open): void {
    if (this.#open === undefined) return
    this.#open = undefined
    this.#known = undefined
    clearInterval(this.#timer)
    if (this.#needed) {
      this.#log(`locks: session ${open.id} is over`)
      this.#heard.lost()
    }
    this.#needed = false
  }
}

const now = (): { steady: number; date: number } => ({ steady: performance.now(), date: Date.now() })

/** So many milliseconds after it may have ended. */
function isPast({ until, untilDate }: Open, by = 0): boolean {
  return performance.now() > until + by || Date.now() > untilDate + by
}
