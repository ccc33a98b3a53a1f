// One question to the POSIX mapper of a site: bounded in time and size, led nowhere else, read line by line. Nothing it says is believed here.
import { type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type MappedKind, type Mapping, type RefusedMapping } from '../store/mapped-numbers.ts'

export interface MapperPlace {
  /** https, of the user mapping and of the group mapping */
  readonly uid: string
  readonly gid: string
  /** PEM of the authorities that its server may have its certificate from; the runtime's own without it */
  readonly ca?: string
  /** PEM of the certificate, chain and key that the gateway shows; read at every question, so that it may be renewed */
  readonly credential?: () => Promise<string>
  /** milliseconds for the whole of an answer */
  readonly timeout: number
  /** bytes of an answer */
  readonly largest?: number
}

export interface MapperLines {
  readonly mappings: readonly Mapping[]
  /** lines that say nothing that could be kept */
  readonly refused: readonly RefusedMapping[]
}

/** A map of half a million. */
const LARGEST = 64 << 20
const LONGEST_LINE = 1024
const LINES_AT_A_TIME = 1000

/** The users' own groups, as they stand in such services: a user's number says that already. */
const DEFAULT_GROUP = /^ivo:\/\/default-group-should-be-ignored\.opencadc\.org\//i

/** What asked for the one thing: its names and values. None: the whole map. */
export type MapperQuery = readonly (readonly [parameter: 'user' | 'uid' | 'group' | 'gid', value: string])[]

/**
 * The lines of an answer, some at a time; nothing for 404. Rejects with an Error that says what was wrong: no answer in time, another status, a
 * redirection, too long, broken off, no table.
 */
export async function* askMapper(
  place: MapperPlace,
  kind: MappedKind,
  query: MapperQuery,
): AsyncGenerator<MapperLines> {
  const url = new URL(kind === 'user' ? place.uid : place.gid)
  for (const [parameter, value] of query) url.searchParams.append(parameter, value)
  const signal = AbortSignal.timeout(place.timeout)
  const named = `${url.origin}${url.pathname}`
  let answer: IncomingMessage | undefined
  try {
    answer = await get(url, place, signal)
    if (answer.statusCode === 404 && query.length > 0) return
    check(answer)
    let lines: string[] = []
    for await (const line of linesOf(answer, place.largest ?? LARGEST)) {
      if (lines.push(line) < LINES_AT_A_TIME) continue
      yield read(kind, lines)
      lines = []
    }
    yield read(kind, lines)
  } catch (error) {
    throw new Error(`${named}: ${signal.aborted ? 'no answer in time' : (error as Error).message}`, { cause: error })
  } finally {
    if (answer?.complete !== true) answer?.destroy()
  }
}

async function get(url: URL, { ca, credential }: MapperPlace, signal: AbortSignal): Promise<IncomingMessage> {
  const pem = await credential?.()
  const headers = { accept: 'text/tab-separated-values', 'accept-encoding': 'identity' }
  const shown = { ...(ca !== undefined && { ca }), ...(pem !== undefined && { cert: pem, key: pem }) }
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url, {
      headers,
      signal,
      agent: false,
      maxHeaderSize: 16_384,
      minVersion: 'TLSv1.2',
      ...shown,
    })
    request.on('response', resolve)
    request.on('error', reject)
    request.end()
  })
}

// A redirection is an answer like any other that is not wanted.
function check({ statusCode = 0, headers }: IncomingMessage): void {
  if (statusCode === 401 || statusCode === 403)
    throw new Error(`status ${statusCode}: it does not let this gateway ask; see posixMapper.certificate`)
  if (statusCode !== 200) throw new Error(`status ${statusCode}`)
  const type = headers['content-type'] ?? ''
  if (!/^text\/tab-separated-values\b/i.test(type))
    throw new Error(`an answer of type ${JSON.stringify(type.slice(0, 50))}`)
}

async function* linesOf(answer: IncomingMessage, largest: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let length = 0
  let rest = ''
  for await (const part of answer as AsyncIterable<Buffer>) {
    if ((length += part.length) > largest) throw new Error(`more than ${largest} bytes`)
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LONGEST_LINE) throw new Error('a line that does not end')
    yield* lines
  }
  yield rest + decoder.decode()
}

function read(kind: MappedKind, lines: readonly string[]): MapperLines {
  const mappings: Mapping[] = []
  const refused: RefusedMapping[] = []
  for (const line of lines) {
    const text = line.replace(/\r$/, '')
    if (text === '' || DEFAULT_GROUP.test(text)) continue
    const [name = '', first = '', ...more] = text.split('\t')
    const mapping = { kind, name, number: /^-?\d{1,15}$/.test(first) ? Number(first) : NaN }
    const why = kind === 'user' ? whyNoUser(first, more) : more.length > 0 ? 'no line of a group' : undefined
    if (why === undefined) mappings.push(mapping)
    else refused.push({ ...mapping, name: name.slice(0, 100), why })
  }
  return { mappings, refused }
}

// A user's own group has the user's number, here as there.
function whyNoUser(uid: string, more: readonly string[]): string | undefined {
  const [gid, ...rest] = more
  if (gid === undefined || rest.length > 0) return 'no line of a user'
  return gid === uid ? undefined : 'its group has another number'
}
