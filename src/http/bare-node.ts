/**
 * A node without its children, what clients ask most (`?limit=0`; wire.md trap 12). Where nothing has to be waited for it is answered before the
 * router and in one go; whatever is out of the ordinary, refusals above all, goes the long way from its beginning.
 */
import { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { isBusy } from '../space/busy.ts'
import { describe, type Detail } from '../space/describe.ts'
import { nodeNow, type NodeNow } from '../space/list-node.ts'
import { capabilitiesOf, type Space } from '../space/space.ts'
import { type Caller } from '../vospace/caller.ts'
import { type NodeDocument } from '../vospace/document.ts'
import { type Entry } from '../vospace/node.ts'
import { authenticate, AUTHENTICATED_HEADER, type Notes } from './authenticate.ts'
import { detailOf, nodeFormat, type NodeFormat } from './node-format.ts'
import { requestLine } from './request-log.ts'
import { type HttpContext } from './services.ts'
import { type Parameters, parametersOf, pathOf, routed } from './target.ts'

/** `next` gets every request that is not answered here; `nextId` names those that are. */
export function bareNodes(context: HttpContext, nextId: () => string, next: RequestListener): RequestListener {
  const { services, base } = context
  const route = `${base}/nodes`
  // what a front forwards is taken out of the headers but once
  if (services.forwardedCertificates !== undefined) return next
  return (request, response) => {
    const found = request.method === 'GET' && routed(request, base) === route ? answerTo(context, request) : undefined
    if (found === undefined || !isAdmitted(context, found, request, response)) next(request, response)
    else send(context, found, nextId(), request, response)
  }
}

interface Answer {
  readonly caller: Caller
  readonly type: string
  readonly text: WrittenText
  readonly notes: readonly Note[]
}

type Note = readonly [fields: object, text: string]

/** undefined: there is more to it. */
function answerTo({ services }: HttpContext, request: IncomingMessage): Answer | undefined {
  try {
    const parameters = parametersOf(request)
    const detail = bareDetail(parameters)
    if (detail === undefined) return undefined
    const path = pathOf(request)
    if (services.pushes?.isAwaited(path) === true) return undefined
    const notes: Note[] = []
    const caller = callerNow(services, request, notes)
    if (caller === undefined) return undefined
    const format = nodeFormat(parameters, request.headers.accept)
    const text = textNow(services.space, caller, path, detail, format)
    return text && { caller, type: format.type, text, notes }
  } catch {
    // the long way meets the same, and says it properly
    return undefined
  }
}

/** Whether the caller may ask for one thing more now. */
function isAdmitted(
  { services: { traffic } }: HttpContext,
  { caller }: Answer,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  try {
    traffic?.enter(caller.user, request, response)
    return true
  } catch {
    // the long way asks again, and refuses
    return false
  }
}

function send(
  { services: { logger, version } }: HttpContext,
  { caller: { user }, type, text, notes }: Answer,
  reqId: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const started = performance.now()
  for (const [fields, note] of notes) logger.info({ reqId, ...fields }, note)
  response.on('close', () => logger.info({ reqId, ...requestLine(request, response, user, started) }, 'request'))
  const headers = ['Server', `karst/${version}`, 'Content-Type', type, 'Content-Length', text.bytes]
  if (user !== undefined) headers.push(AUTHENTICATED_HEADER, user)
  // as a list they are written as they stand, in one write with the text
  response.writeHead(200, headers).end(text.text, text.encoding)
}

/** Of parameters that ask for a bare node whose text is the same for all; undefined: they ask for something else. */
const details = new WeakMap<Parameters, Detail | 'other'>()

function bareDetail(parameters: Parameters): Detail | undefined {
  let detail = details.get(parameters)
  if (detail === undefined) {
    const isBare =
      parameters.count('limit') === 0 &&
      !['view', 'uri', 'sort', 'order', 'snapshot'].some((name) => parameters.has(name))
    detail = isBare ? detailOf(parameters) : 'other'
    details.set(parameters, detail)
  }
  return detail === 'other' || detail === 'max' ? undefined : detail
}

/** undefined: others have to be asked. */
function callerNow({ callers }: HttpContext['services'], request: IncomingMessage, told: Note[]): Caller | undefined {
  const notes: Notes = { info: (fields, text) => told.push([fields, text]) }
  const caller = authenticate(request, callers, { notes, onlyKnown: true })
  if (!(caller instanceof Promise)) return caller
  // whoever asks again gets the same answer
  caller.catch(() => undefined)
  return undefined
}

function textNow(
  space: Space,
  caller: Caller,
  path: Entry['path'],
  detail: Detail,
  format: NodeFormat,
): WrittenText | undefined {
  const found = nodeNow(space, caller, path)
  if (found === undefined || (found.entry.type === 'container' && isLimited(space, found.chain))) return undefined
  return writtenText(space, found.entry, detail, format, () => describe(space, found.seen(), detail))
}

/** What is left of a quota changes without the node. */
function isLimited(space: Space, chain: NodeNow['chain']): boolean {
  const path = chain.at(-1)?.path
  if (path === undefined || !capabilitiesOf(space, path).quota) return false
  return space.backend.isLimited?.(chain) ?? true
}

export interface WrittenText {
  readonly text: string
  readonly bytes: number
  /** of what is all ASCII latin1, which takes no counting */
  readonly encoding: 'latin1' | 'utf8'
}

/** What was written of nodes that have not changed since: the storage answers the very same entry then. */
const written = new WeakMap<Entry, Map<string, WrittenText>>()

/**
 * The document of a node without its children, made by `fresh` once for as long as the entry stays the very same object. Of details `max` it is
 * each caller's own: not to be asked for here.
 */
export function writtenText(
  space: Space,
  entry: Entry,
  detail: Detail,
  format: NodeFormat,
  fresh: () => NodeDocument,
): WrittenText {
  if (isBusy(space, entry.path)) return whole(format.node(fresh()))
  const texts = written.get(entry) ?? new Map<string, WrittenText>()
  const key = `${format.type} ${detail}`
  const text = texts.get(key) ?? whole(format.node(fresh()))
  if (texts.size === 0) written.set(entry, texts)
  texts.set(key, text)
  return text
}

/** Through bytes: what was put together of pieces would be put together anew each time it is sent. */
function whole(pieces: string): WrittenText {
  const bytes = Buffer.from(pieces)
  return { text: bytes.toString(), bytes: bytes.length, encoding: bytes.length === pieces.length ? 'latin1' : 'utf8' }
}
