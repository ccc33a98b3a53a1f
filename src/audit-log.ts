/**
 * The audit as a file of JSON lines, for its owner only: time, who, by what credential and from where, what was done to what, how it ended.
 * It never stops the gateway and never makes it wait: what cannot be written is counted, told to the log, and in the file when that can be
 * written again. Refusals that repeat are one line at first and one with their count a minute later, so that nobody fills a disk by asking.
 */
import { closeSync, fchmodSync, fstatSync, openSync, writeSync } from 'node:fs'
import { type Audit, type AuditEvent } from './identity/audit.ts'

/** Of the request that an event comes from. Absent: done by the gateway itself, or by a job. */
export interface Origin {
  /** id, as in the log */
  readonly request: string
  readonly address?: string
  readonly user?: string
  readonly method?: string
  readonly dn?: string
  /** issuer and subject of a token */
  readonly subject?: string
}

export interface AuditLogOptions {
  readonly origin?: () => Origin | undefined
  readonly log: { error(fields: object, text: string): void; info(fields: object, text: string): void }
  /** milliseconds */
  readonly now?: () => number
}

/** Milliseconds in which refusals that are alike are one line. */
const WINDOW = 60_000
/** Different refusals of one user, or of one address of people nobody knows, that have lines of their own in a window. */
const MOST_OF_ONE = 100
/** Of all of them. */
const MOST = 5000
/** Characters of one value. */
const LONGEST = 2000

/** Refusals that are alike, since the first of them was written. */
interface Repeated {
  readonly line: object
  count: number
}

export class AuditLog implements Audit {
  readonly #file: string
  readonly #options: AuditLogOptions
  #fd: number
  #lost = 0
  #isTorn = false
  #isClosed = false
  #refused = new Map<string, Repeated>()
  #ofOne = new Map<string, number>()
  readonly #timer: NodeJS.Timeout

  /** Throws when the file cannot be opened. */
  constructor(file: string, options: AuditLogOptions) {
    this.#file = file
    this.#options = options
    this.#fd = opened(file)
    this.#timer = setInterval(() => this.settle(), WINDOW)
    this.#timer.unref()
  }

  /** Events that are in no file, since it could last be written. */
  get lost(): number {
    return this.#lost
  }

  note(event: AuditEvent): void {
    const line = this.#lineOf(event)
    if (event.result !== 'refused' || !this.#isRepeated(event, line)) this.#write(line)
  }

  /** The file was renamed: a new one is begun. When that cannot be opened the old one goes on, and it throws. */
  reopen(): void {
    const fd = opened(this.#file)
    this.settle()
    closeSync(this.#fd)
    this.#fd = fd
  }

  /** Writes how often was repeated what was refused; the clock does it once a minute. */
  settle(): void {
    const refused = this.#refused
    this.#refused = new Map()
    this.#ofOne = new Map()
    for (const { line, count } of refused.values()) if (count > 0) this.#write({ ...line, repeated: count })
  }

  close(): void {
    clearInterval(this.#timer)
    this.settle()
    this.#isClosed = true
    closeSync(this.#fd)
  }

  #lineOf({ act, by, on, result, detail }: AuditEvent): object {
    const origin = this.#options.origin?.()
    // work that goes on after its request is not of that request any more
    const isTheirs = origin !== undefined && (by === null || origin.user === by)
    const { user: _user, ...from } = isTheirs ? origin : {}
    const time = new Date(this.#time()).toISOString()
    return { time, act, result, by, on: cut(on), ...cutAll(from), ...(detail && { detail: cutAll(detail) }) }
  }

  #time(): number {
    return this.#options.now?.() ?? Date.now()
  }

  /** Counts it when it is like one that has its line already, or one of too many. */
  #isRepeated(event: AuditEvent, line: object): boolean {
    const { act, by, on, detail } = event
    const who = by ?? `anonymous ${this.#options.origin?.()?.address ?? ''}`
    const key = JSON.stringify([who, act, on, detail?.['fault']])
    const known = this.#refused.get(key)
    if (known !== undefined) {
      known.count++
      return true
    }
    const own = this.#ofOne.get(who) ?? 0
    const isOneTooMany = own >= MOST_OF_ONE || this.#refused.size >= MOST
    if (!isOneTooMany) {
      this.#ofOne.set(who, own + 1)
      this.#refused.set(key, { line, count: 0 })
      return false
    }
    if (own >= MOST_OF_ONE) this.#countRest(`of ${who}`, line)
    // of many people: nothing of the first of them stands for the others
    else this.#countRest('*', { time: new Date(this.#time()).toISOString(), result: 'refused', by: null })
    return true
  }

  #countRest(who: string, line: object): void {
    const rest = this.#refused.get(who)
    if (rest === undefined) this.#refused.set(who, { line: { ...line, on: '*', act: 'request' }, count: 1 })
    else rest.count++
  }

  #write(line: object): void {
    const text = `${this.#isTorn ? '\n' : ''}${JSON.stringify(line)}\n`
    try {
      if (this.#isClosed) throw new Error('the gateway has stopped')
      const bytes = Buffer.from(text)
      const count = writeSync(this.#fd, bytes)
      this.#isTorn = count < bytes.length
      if (this.#isTorn) throw new Error('the disk is full')
      if (this.#lost > 0) this.#caughtUp()
    } catch (error) {
      if (this.#lost++ === 0) this.#options.log.error({ err: error }, 'audit events are being lost')
    }
  }

  #caughtUp(): void {
    const lost = this.#lost
    this.#lost = 0
    this.#options.log.info({ lost }, 'the audit can be written again')
    this.note({ act: 'audit.lost', by: null, on: 'audit', result: 'allowed', detail: { events: lost } })
  }
}

function opened(file: string): number {
  const fd = openSync(file, 'a', 0o600)
  // one that was there may have been open to others; a device is not ours to close
  if (fstatSync(fd).isFile()) fchmodSync(fd, 0o600)
  return fd
}

const cut = <T>(value: T): T | string =>
  typeof value === 'string' && value.length > LONGEST ? `${value.slice(0, LONGEST)}...` : value

const cutAll = (fields: object): object =>
  Object.fromEntries(Object.entries(fields).map(([key, value]: [string, unknown]) => [key, cut(value)]))
