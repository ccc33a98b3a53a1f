/**
 * What one user, or one address of people nobody knows, may ask of the gateway at a time: connections, requests, the size of an upload. And the end of
 * what is under way for an account that was suspended meanwhile. A request costs one look into a map; the rest is done by the clock.
 */
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { type Server, type Socket } from 'node:net'
import { Fault } from '../vospace/fault.ts'
import { streamOf } from './http2-exchange.ts'
import { limitUpload } from './request-body.ts'

/** null: as many as they like. */
export interface VisitorLimits {
  /** on which they have asked for something, and that are open */
  readonly connections: number | null
  /** at a time */
  readonly requests: number | null
  /** on the average; ten seconds' worth may come at once */
  readonly perSecond: number | null
  /** bytes of one */
  readonly uploadBytes: number | null
}

export interface Limits {
  /** each user; the holders of their pre-authorised URLs have as much again together */
  readonly user: VisitorLimits
  /** anonymous callers of each address (IPv6: of each /64) */
  readonly anonymous: VisitorLimits
  /** of any callers; null: as many as there are */
  readonly connectionsPerAddress: number | null
}

/**
 * Generous: a mount reads with dozens of requests at a time, and containers of many users may come from one address. Who is known
 * has no rate, since a walk through a mounted tree asks as fast as it is answered.
 */
export const DEFAULT_LIMITS: Limits = {
  user: { connections: 2048, requests: 1024, perSecond: null, uploadBytes: null },
  // of an address connectionsPerAddress counts them all
  anonymous: { connections: null, requests: 512, perSecond: 1000, uploadBytes: null },
  connectionsPerAddress: 4096,
}

/** What a site may say of them. */
export interface LimitsGiven {
  readonly user?: Partial<VisitorLimits>
  readonly anonymous?: Partial<VisitorLimits>
  readonly connectionsPerAddress?: number | null
}

export interface TrafficLog {
  info(fields: object, text: string): void
}

export interface TrafficOptions {
  readonly limits?: LimitsGiven
  /** What is otherwise for one user. */
  readonly ofUser?: (name: string) => Partial<VisitorLimits> | undefined
  /** False: suspended, or gone. */
  readonly isActive?: (name: string) => boolean
  readonly log?: TrafficLog
}

/** How soon what was changed of a user's limits counts, and at the latest what is under way for a suspended one is cut; milliseconds. */
const LOOK_MS = 2000

const BURST_SECONDS = 10

export class Traffic {
  readonly #options: TrafficOptions
  readonly #limits: Limits
  readonly #users = new Map<string, Visitor>()
  readonly #grants = new Map<string, Visitor>()
  readonly #addresses = new Map<string, Visitor>()
  readonly #connections = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: TrafficOptions = {}) {
    this.#options = options
    const { user, anonymous, ...rest } = options.limits ?? {}
    const of = DEFAULT_LIMITS
    this.#limits = { ...of, ...rest, user: { ...of.user, ...user }, anonymous: { ...of.anonymous, ...anonymous } }
  }

  /** Watches a server's connections until it is closed. */
  attach(server: Server): void {
    server.on('connection', (socket: Socket) => this.#connected(socket))
    server.prependListener('secureConnection', keepVisitors)
    this.#timer = setInterval(() => this.look(), LOOK_MS)
    this.#timer.unref()
    server.once('close', () => clearInterval(this.#timer))
  }

  /** A request of a user, or of somebody unknown. ServiceBusy: too many of theirs at once, or too fast. */
  enter(user: string | undefined, request: IncomingMessage, response: ServerResponse): void {
    const visitor = user === undefined ? this.#address(request) : this.#known(this.#users, user)
    visitor.enter(request, response)
  }

  /** A request by a pre-authorised URL of a user's, who need not be the one who sends it. ServiceBusy. */
  enterGranted(user: string | undefined, request: IncomingMessage, response: ServerResponse): void {
    const visitor = user === undefined ? this.#address(request) : this.#known(this.#grants, user)
    visitor.enter(request, response)
  }

  /** What the clock does: see LOOK_MS. */
  look(): void {
    for (const visitors of [this.#users, this.#grants]) {
      for (const [name, visitor] of visitors) {
        if (visitor.isIdle) visitors.delete(name)
        else if (this.#options.isActive?.(name) === false) this.#cut(name, visitor)
        else visitor.limits = this.#limitsOf(name)
      }
    }
    for (const [address, visitor] of this.#addresses) if (visitor.isIdle) this.#addresses.delete(address)
  }

  #cut(user: string, visitor: Visitor): void {
    const requests = visitor.cut()
    if (requests > 0) this.#options.log?.info({ user, requests }, 'requests of a suspended account were cut')
  }

  #known(visitors: Map<string, Visitor>, name: string): Visitor {
    let visitor = visitors.get(name)
    if (visitor === undefined) {
      visitor = new Visitor(name, this.#limitsOf(name))
      visitors.set(name, visitor)
    }
    return visitor
  }

  #address({ socket }: IncomingMessage): Visitor {
    const address = networkOf(socket.remoteAddress)
    let visitor = this.#addresses.get(address)
    if (visitor === undefined) {
      visitor = new Visitor(`anonymous callers from ${address}`, this.#limits.anonymous)
      this.#addresses.set(address, visitor)
    }
    return visitor
  }

  #limitsOf(name: string): VisitorLimits {
    const own = this.#options.ofUser?.(name)
    return own === undefined ? this.#limits.user : { ...this.#limits.user, ...own }
  }

  // Before TLS, so there is nothing to say it with.
  #connected(socket: Socket): void {
    const { connectionsPerAddress: most } = this.#limits
    const address = networkOf(socket.remoteAddress)
    const count = (this.#connections.get(address) ?? 0) + 1
    if (most !== null && count > most) {
      socket.destroy()
      return
    }
    this.#connections.set(address, count)
    socket.once('close', () => {
      const left = (this.#connections.get(address) ?? 1) - 1
      if (left > 0) this.#connections.set(address, left)
      else this.#connections.delete(address)
    })
  }
}

// At the socket itself: under HTTP/2 a request's socket is a Proxy, which a WeakMap would not know.
const VISITORS = Symbol('karst.visitors')

/** Notes whose requests come on a connection, until it is closed. */
function keepVisitors(socket: Socket): void {
  const visitors = new Set<Visitor>()
  Object.defineProperty(socket, VISITORS, { value: visitors })
  socket.once('close', () => {
    for (const visitor of visitors) visitor.disconnected()
  })
}

/** Whoever is counted together. */
class Visitor {
  limits: VisitorLimits
  readonly #name: string
  readonly #open = new Set<ServerResponse>()
  readonly #leave: (this: ServerResponse) => void
  #connections = 0
  #tokens = Infinity
  /** milliseconds, when tokens were counted last */
  #counted = 0

  constructor(name: string, limits: VisitorLimits) {
    this.#name = name
    this.limits = limits
    const open = this.#open
    this.#leave = function () {
      open.delete(this)
    }
  }

  /** Nothing would be lost by forgetting them. */
  get isIdle(): boolean {
    return this.#open.size === 0 && this.#connections === 0 && performance.now() - this.#counted > BURST_SECONDS * 1000
  }

  enter(request: IncomingMessage, response: ServerResponse): void {
    const { connections, requests, perSecond, uploadBytes } = this.limits
    if (connections !== null) this.#connect(request, response, connections)
    if (requests !== null && this.#open.size >= requests) {
      throw new Fault('ServiceBusy', `${this.#name}: ${requests} requests at a time are all there may be`)
    }
    if (perSecond !== null) this.#take(perSecond)
    if (uploadBytes !== null) limitUpload(request, uploadBytes)
    this.#open.add(response)
    response.once('close', this.#leave)
  }

  /** The first request on a connection; one that is refused ends with its answer, so that it is not kept in vain. */
  #connect(request: IncomingMessage, response: ServerResponse, most: number): void {
    const visitors: unknown = Reflect.get(request.socket, VISITORS)
    if (!(visitors instanceof Set) || visitors.has(this)) return
    if (this.#connections >= most) {
      endConnection(request, response)
      throw new Fault('ServiceBusy', `${this.#name}: ${most} connections at a time are all there may be`)
    }
    visitors.add(this)
    this.#connections++
  }

  disconnected(): void {
    this.#connections--
  }

  /** A token bucket: filled by the clock, a token a request. */
  #take(perSecond: number): void {
    const now = performance.now()
    const gained = ((now - this.#counted) / 1000) * perSecond
    this.#counted = now
    this.#tokens = Math.min(this.#tokens + gained, Math.max(perSecond * BURST_SECONDS, 1))
    if (this.#tokens < 1)
      throw new Fault('ServiceBusy', `${this.#name}: ${perSecond} requests a second are all there may be`)
    this.#tokens--
  }

  cut(): number {
    const count = this.#open.size
    for (const response of this.#open) response.destroy()
    return count
  }
}

function endConnection(request: IncomingMessage, response: ServerResponse): void {
  // a stream that is closed has none any more
  const session = streamOf(request)?.session
  if (session === undefined) response.setHeader('Connection', 'close')
  else response.once('close', () => session.close())
}

/** IPv4 whole, of IPv6 the half that says which network. */
function networkOf(address: string | undefined): string {
  if (address === undefined) return ''
  if (address.startsWith('::ffff:')) return address.slice(7)
  if (!address.includes(':')) return address
  const [head = ''] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  return `${[...groups, '0', '0', '0', '0'].slice(0, 4).join(':')}::/64`
}
