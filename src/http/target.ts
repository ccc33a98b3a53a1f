/**
 * The target of a request, taken from the raw request line: which endpoint, and what follows it, still encoded.
 * The router never sees what clients wrote: it would decode, fold or refuse what is ours to judge.
 */
import { type IncomingMessage } from 'node:http'
import { parseParameters } from '../codec/form.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { decodePath } from '../vospace/uri.ts'

/** The endpoints that are followed by names of any characters: a node path, a group, a distinguished name. */
const WITH_PATH: readonly string[] = ['nodes', 'files', 'groups', 'cred']

/** Longest request target, in characters: a path of 4096 bytes percent-encoded, and another as parameter. */
const MAX_TARGET = 40_000

export interface Target {
  /** what the router gets: a plain path, no query */
  readonly route: string
  /** under /fs/v1, where refusals are JSON */
  readonly isMount: boolean
  /** the node path after the endpoint, raw: empty or `/a%20b` */
  readonly rest: string
  /** raw, without `?` */
  readonly query: string
}

/** Where a request keeps its target: a property is a fraction of what a WeakMap costs the garbage collector. */
const TARGET = Symbol('karst.target')

/** Targets are asked for again and again, by programs that watch a node; this many are remembered, with what was made of them. */
const MOST_RECENT = 2000
const LONGEST_RECENT = 500
const recent = new Map<string, Taken>()

/** A target and what it was taken apart into, as soon as somebody asks. */
interface Taken {
  readonly base: string
  readonly target: Target
  /** fit for a log */
  readonly logged: string
  path?: NodePath
  parameters?: Parameters
}

const UNKNOWN: Target = { route: '/unknown', isMount: false, rest: '', query: '' }

/** Takes a request target apart; `base` is the path of the service (`/karst`), without a slash at the end. */
export function splitTarget(url: string, base: string): Target {
  // the absolute form (RFC 9112 3.2.2): the host is ours, whatever it says
  const local = url.replace(/^https?:\/\/[^/?#]*/i, '')
  const [beforeFragment = ''] = local.split('#', 1)
  const mark = beforeFragment.indexOf('?')
  const path = mark < 0 ? beforeFragment : beforeFragment.slice(0, mark)
  const query = mark < 0 ? '' : beforeFragment.slice(mark + 1)
  const endpoint = path.startsWith(`${base}/`) ? /^[a-z]+/.exec(path.slice(base.length + 1))?.[0] : undefined
  if (endpoint !== undefined && WITH_PATH.includes(endpoint)) {
    const route = `${base}/${endpoint}`
    const rest = path.slice(route.length)
    if (rest === '' || rest.startsWith('/')) return { route, isMount: false, rest, query }
  }
  const plain = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  // every other endpoint has a plain name; anything else is nowhere
  if (!/^(\/[A-Za-z0-9._-]+)+$/.test(plain)) return { ...UNKNOWN, query }
  const isMount = plain === `${base}/fs/v1` || plain.startsWith(`${base}/fs/v1/`)
  return { route: plain, isMount, rest: '', query }
}

/** What stands in for the request target before routing; `targetOf` has the whole. */
export function routed(request: IncomingMessage, base: string): string {
  const url = request.url ?? ''
  let taken = recent.get(url)
  if (taken?.base !== base) {
    taken = { base, target: url.length > MAX_TARGET ? UNKNOWN : splitTarget(url, base), logged: loggedTarget(url) }
    if (recent.size >= MOST_RECENT) recent.clear()
    // no secrets: those have been taken out of what is logged
    if (url.length <= LONGEST_RECENT && taken.logged === url) recent.set(url, taken)
  }
  const carrier: Carrier = request
  carrier[TARGET] = taken
  return taken.target.route
}

interface Carrier extends IncomingMessage {
  [TARGET]?: Taken
}

const takenOf = (request: Carrier): Taken | undefined => request[TARGET]

export function targetOf(request: IncomingMessage): Target {
  return takenOf(request)?.target ?? UNKNOWN
}

/** The node path of the request, decoded once. Throws InvalidURI. */
export function pathOf(request: IncomingMessage): NodePath {
  const taken = takenOf(request)
  if (taken === undefined) return decodePath(UNKNOWN.rest)
  return (taken.path ??= decodePath(taken.target.rest))
}

/** The query parameters, names in lower case; of a repeated one the first value counts. Throws InvalidArgument. */
export class Parameters {
  readonly #values: Map<string, string[]>

  constructor(text: string) {
    this.#values = parseParameters(text)
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase())?.[0]
  }

  all(name: string): readonly string[] {
    return this.#values.get(name.toLowerCase()) ?? []
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase())
  }

  /** Throws InvalidArgument for a parameter that is not there. */
  require(name: string): string {
    const value = this.get(name)
    if (value === undefined) throw new Fault('InvalidArgument', `parameter ${name} is missing`)
    return value
  }

  /** A decimal integer of at least 0; undefined when absent. Throws InvalidArgument. */
  count(name: string): number | undefined {
    const value = this.get(name)
    if (value === undefined) return undefined
    const number = Number(value)
    if (!/^\d{1,15}$/.test(value))
      throw new Fault('InvalidArgument', `${name} is an integer of at least 0, not ${value}`)
    return number
  }
}

/** Of the query of a request. */
export function parametersOf(request: IncomingMessage): Parameters {
  const taken = takenOf(request)
  if (taken === undefined) return new Parameters(UNKNOWN.query)
  return (taken.parameters ??= new Parameters(taken.target.query))
}

/** The target of a request as it may stand in a log. */
export function loggedOf(request: IncomingMessage): string {
  return takenOf(request)?.logged ?? loggedTarget(request.url ?? '')
}

/** A request target fit for a log: tokens of pre-authorised URLs taken out, and bearer tokens, which are not taken from there (RFC 6750, 2.3). */
export function loggedTarget(url: string): string {
  return url
    .replace(/preauth(:|%3a)[^/?#]*/gi, 'preauth:[token]')
    .replace(/([?&][^=&#]*token[^=&#]*=)[^&#]*/gi, '$1[token]')
    .slice(0, 2000)
}
