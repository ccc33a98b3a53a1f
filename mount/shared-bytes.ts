// One fetch for all mounts of a driver that read the same content: sessions of many users with one dataset. A mount gets bytes that another has fetched
// only after the gateway has said, to its own credential, that it may read this node and that this is still its content.
import { Fault } from '../src/vospace/fault.ts'
import { type BlockStore } from './block-store.ts'
import { readBytes } from './read-bytes.ts'
import { type Remote, type RemoteRef } from './remote.ts'

/**
 * Milliseconds that an answer of the gateway is believed. With the look of permission-watch.ts at what is open it keeps within the ten seconds
 * in which a withdrawn permission ends.
 */
export const BELIEVED = 4000

/** A range under way. */
interface Flight {
  readonly start: number
  /** exclusive */
  readonly end: number
  readonly bytes: Promise<Buffer>
}

type Asked = Pick<Remote, 'read' | 'entry'>

export class SharedBytes {
  readonly #store: BlockStore
  readonly #flights = new Map<string, Set<Flight>>()
  readonly clock: () => number

  /** `clock`: milliseconds, as performance.now() */
  constructor(store: BlockStore, clock = (): number => performance.now()) {
    this.#store = store
    this.clock = clock
  }

  /** bytes on disk */
  get used(): number {
    return this.#store.used
  }

  /** Nothing that is fetched is kept any more. */
  close(): void {
    this.#store.close()
  }

  /** For one mount, by its credential. `gateway`: what tells gateways apart, as they are reached and trusted. */
  of(gateway: string, remote: Asked): SharedRemote {
    return new SharedRemote(this, gateway, remote)
  }

  /** Whether something of the range is here, or under way. */
  hasSome(key: string, start: number, end: number): boolean {
    return this.#under(key, start, end) !== undefined || bytesIn(this.#store.gaps(key, start, end)) < end - start
  }

  /** The range in order: from the store, from who fetches it, or by `fetch`, which is called for what nobody has. */
  async gather(
    key: string,
    { start, end }: Span,
    fetch: (start: number, end: number) => Promise<Buffer>,
  ): Promise<Buffer> {
    const parts: Promise<Buffer>[] = []
    for (let at = start; at < end;) {
      const flight = this.#under(key, at, end)
      const gap = this.#store.gaps(key, at, end)[0]
      if (flight !== undefined && flight.start <= at) {
        const to = Math.min(flight.end, end)
        parts.push(this.#others(key, flight, { start: at, end: to }, fetch))
        at = to
      } else if (gap === undefined || gap.start > at) {
        const to = Math.min(gap?.start ?? end, flight?.start ?? end)
        parts.push(this.#kept(key, { start: at, end: to }, fetch))
        at = to
      } else {
        const to = Math.min(gap.end, flight?.start ?? end)
        parts.push(this.#fetched(key, { start: at, end: to }, fetch))
        at = to
      }
    }
    const [first, ...rest] = await Promise.all(parts)
    return rest.length === 0 && first !== undefined ? first : Buffer.concat([first ?? Buffer.alloc(0), ...rest])
  }

  /** The first flight that reaches into the range. */
  #under(key: string, start: number, end: number): Flight | undefined {
    const found = [...(this.#flights.get(key) ?? [])].filter((one) => one.start < end && one.end > start)
    return found.reduce<Flight | undefined>((a, b) => (a === undefined || b.start < a.start ? b : a), undefined)
  }

  async #others(key: string, flight: Flight, range: Span, fetch: Fetch): Promise<Buffer> {
    const bytes = await flight.bytes.catch(() => undefined)
    // it was given up, or refused to them
    if (bytes?.length !== flight.end - flight.start) return this.#fetched(key, range, fetch)
    return bytes.subarray(range.start - flight.start, range.end - flight.start)
  }

  async #kept(key: string, range: Span, fetch: Fetch): Promise<Buffer> {
    return (await this.#store.read(key, range.start, range.end)) ?? this.#fetched(key, range, fetch)
  }

  /** Stays under way until it is kept, so that nobody asks in between. */
  async #fetched(key: string, { start, end }: Span, fetch: Fetch): Promise<Buffer> {
    const flight = { start, end, bytes: fetch(start, end) }
    const flights = this.#flights.get(key) ?? new Set()
    this.#flights.set(key, flights.add(flight))
    const landed = (): void => {
      flights.delete(flight)
      if (flights.size === 0 && this.#flights.get(key) === flights) this.#flights.delete(key)
    }
    try {
      const bytes = await flight.bytes
      if (bytes.length === end - start) void this.#store.write(key, start, bytes).finally(landed)
      else landed()
      return bytes
    } catch (error) {
      landed()
      throw error
    }
  }
}

type Fetch = (start: number, end: number) => Promise<Buffer>

/** `end`: exclusive */
interface Span {
  readonly start: number
  readonly end: number
}

const bytesIn = (spans: readonly Span[]): number => spans.reduce((sum, { start, end }) => sum + end - start, 0)

/** What a reader asks in place of the gateway; refuses as that does. */
export class SharedRemote {
  readonly #shared: SharedBytes
  readonly #gateway: string
  readonly #remote: Asked
  /** by node and version: when the gateway said so */
  readonly #confirmed = new Map<string, Promise<number>>()

  /** Use SharedBytes.of. */
  constructor(shared: SharedBytes, gateway: string, remote: Asked) {
    this.#shared = shared
    this.#gateway = gateway
    this.#remote = remote
  }

  /** `seen`: performance.now() when the gateway last said that this content may be read; -Infinity: never. */
  reader(seen: () => number): Pick<Remote, 'read'> {
    return {
      read: async (ref, start, into, options) => {
        const { ifContentVersion: version } = options
        if (ref.id === undefined || version === undefined) return this.#remote.read(ref, start, into, options)
        const key = `${this.#gateway} ${ref.id} ${version}`
        const end = start + into.length
        if (this.#shared.hasSome(key, start, end) && this.#shared.clock() - seen() > BELIEVED)
          await this.#confirm(ref, version)
        options.signal?.throwIfAborted()
        const bytes = await this.#shared.gather(key, { start, end }, (from, to) =>
          readBytes(this.#remote, ref, { start: from, end: to - 1 }, options),
        )
        options.signal?.throwIfAborted()
        into.begin()
        into.write(bytes)
      },
    }
  }

  /** PermissionDenied, PreconditionFailed, and what the gateway refuses with. */
  async #confirm(ref: RemoteRef, version: string): Promise<void> {
    const key = `${ref.id ?? ''} ${version}`
    const before = this.#confirmed.get(key)
    if (before !== undefined && this.#shared.clock() - (await before.catch(() => -Infinity)) <= BELIEVED) return
    const asked = this.#ask(ref, version)
    this.#confirmed.set(key, asked)
    const forget = (): void => void (this.#confirmed.get(key) === asked && this.#confirmed.delete(key))
    try {
      await asked
      setTimeout(forget, BELIEVED).unref()
    } catch (error) {
      forget()
      throw error
    }
  }

  async #ask(ref: RemoteRef, version: string): Promise<number> {
    // what was true when it was asked for is all that is known
    const at = this.#shared.clock()
    const { readable, contentVersion, path } = await this.#remote.entry(ref)
    if (!readable) throw new Fault('PermissionDenied', `${path} is not to be read`)
    if (contentVersion !== version) throw new Fault('PreconditionFailed', `${path} has another content`)
    return at
  }
}
