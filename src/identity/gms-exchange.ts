// One question to a group service of another site: which groups is who shows this credential in? Bounded in size and time, and led nowhere else.
import { type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import { readXml, type XmlElement } from '../codec/xml-reader.ts'
import { GMS_SEARCH, isGroupName } from '../vospace/group.ts'

/** What is shown to the service: the caller's own token, or a proxy that the caller has delegated (PEM). */
export type GmsCredential =
  | { readonly token: string }
  | { readonly certificate: string; readonly key: string; readonly chain?: readonly string[] }

export interface GmsPlace {
  /** https, of the search itself or (when it ends in `/capabilities`) of what names it */
  readonly url: string
  /** PEM of the authorities that its server may have its certificate from; the runtime's own without it */
  readonly ca?: string | undefined
  /** milliseconds for the whole */
  readonly timeout: number
}

/** Undefined names: the service does not take the credential for anybody it knows. */
export interface GmsAnswer {
  readonly names: readonly string[] | undefined
  /** milliseconds that it lasts, as the service says; undefined: it says nothing */
  readonly lasting?: number
}

/** bytes of an answer */
const LARGEST = 1 << 20
/** Milliseconds after which the capabilities are looked at again. */
const SEARCH_AGE = 600_000
const CONNECTIONS = 32
/**
 * What says something of the caller, and nothing of the service, which others can ask all the same. They are in none of its groups: unknown there (the
 * older services of this kind say 404), or with a token that is longer than its server takes (400, 413, 431, and nginx's 494).
 */
const REFUSING: readonly number[] = [400, 401, 403, 404, 413, 431, 494]

export class GmsExchange {
  readonly #place: GmsPlace
  readonly #now: () => number
  /** for tokens; what goes out with a proxy has a connection of its own, so that nobody's is used for another */
  readonly #agent: Agent
  #search: { readonly url: URL; readonly until: number } | undefined

  constructor(place: GmsPlace, now: () => number = Date.now) {
    this.#place = place
    this.#now = now
    this.#agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, timeout: 60_000 })
  }

  /**
   * All groups of the one whose credential it is (GMS 1.0, section on search; names that are none are left out). Rejects with an Error that
   * says what was wrong, and never holds anything of the credential: no answer in time, another status, a redirection, too long, no text.
   */
  async ask(credential: GmsCredential): Promise<GmsAnswer> {
    const signal = AbortSignal.timeout(this.#place.timeout)
    try {
      return await this.#ask(await this.#searchUrl(signal), credential, signal)
    } catch (error) {
      this.#search = undefined
      const why = signal.aborted ? 'no answer in time' : (error as Error).message
      throw new Error(`${this.#place.url}: ${why}`, { cause: error })
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  async #ask(url: URL, credential: GmsCredential, signal: AbortSignal): Promise<GmsAnswer> {
    const accept = { accept: 'text/plain', 'accept-encoding': 'identity' }
    const shown: RequestOptions =
      'token' in credential
        ? { agent: this.#agent, headers: { ...accept, authorization: `Bearer ${credential.token}` } }
        : { agent: false, headers: accept, cert: chainOf(credential), key: credential.key }
    const answer = await this.#get(url, shown, signal)
    if (answer === undefined) return { names: undefined }
    const { statusCode = 0 } = answer
    if (REFUSING.includes(statusCode)) {
      answer.destroy()
      return { names: undefined }
    }
    const text = (await this.#body(answer, /^text\/plain\b/i)).toString('latin1')
    if (/[\0-\x08\x0e-\x1f]/.test(text)) throw new Error('the answer is no text')
    const names = text.split(/[\r\n]+/).map((line) => line.trim())
    return { names: [...new Set(names)].filter(isGroupName), ...lastingOf(answer, this.#now()) }
  }

  async #searchUrl(signal: AbortSignal): Promise<URL> {
    const named = new URL(this.#place.url)
    if (!named.pathname.endsWith('/capabilities')) return named
    if (this.#search !== undefined && this.#now() < this.#search.until) return this.#search.url
    // nothing is shown to it: anybody may read capabilities
    const answer = await this.#get(named, { agent: false, headers: { 'accept-encoding': 'identity' } }, signal)
    if (answer === undefined) throw new Error('no answer')
    const url = searchIn(readXml(await this.#body(answer, /^(text|application)\/xml\b/i)), named)
    this.#search = { url, until: this.#now() + SEARCH_AGE }
    return url
  }

  // Undefined: the certificate that was shown is refused, which is no failure of the service, and no reason to leave it alone.
  #get(url: URL, shown: RequestOptions, signal: AbortSignal): Promise<IncomingMessage | undefined> {
    const { ca } = this.#place
    const tls = { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) } as const
    return new Promise((resolve, reject) => {
      const request = httpsRequest(url, { ...shown, ...tls, signal, maxHeaderSize: 16_384 })
      request.on('response', resolve)
      if (shown.cert === undefined) request.on('error', reject)
      else onRefusal(request, () => resolve(undefined), reject)
      request.end()
    })
  }

  // A redirection is an answer like any other that is not wanted: nobody is led elsewhere with somebody's credential.
  async #body(answer: IncomingMessage, type: RegExp): Promise<Buffer> {
    try {
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`)
      const given = answer.headers['content-type'] ?? ''
      if (!type.test(given)) throw new Error(`an answer of type ${JSON.stringify(given.slice(0, 50))}`)
      const parts: Buffer[] = []
      let length = 0
      for await (const part of answer as AsyncIterable<Buffer>) {
        if ((length += part.length) > LARGEST) throw new Error(`more than ${LARGEST} bytes`)
        parts.push(part)
      }
      return Buffer.concat(parts, length)
    } finally {
      if (!answer.complete) answer.destroy()
    }
  }
}

/** In TLS 1.3 a server looks at the certificate after the client has what it needs: the refusal is an alert, or a connection that ends. */
function onRefusal(request: ClientRequest, refused: () => void, failed: (error: Error) => void): void {
  let isSecure = false
  request.on('socket', (socket) => socket.once('secureConnect', () => (isSecure = true)))
  request.on('error', (error: NodeJS.ErrnoException) => {
    const { code = '' } = error
    const isRefused = /^ERR_SSL_.*ALERT/.test(code) || (isSecure && (code === 'ECONNRESET' || code === 'EPIPE'))
    if (isRefused) refused()
    else failed(error)
  })
}

const chainOf = ({ certificate, chain = [] }: Exclude<GmsCredential, { token: string }>): string =>
  [certificate, ...chain].join('\n')

/** Where the search is. Its host must be the one that the site has named: credentials go there. */
function searchIn(capabilities: XmlElement, named: URL): URL {
  const search = capabilities.children.find(
    ({ attributes }) => attributes.get('standardID')?.toLowerCase() === GMS_SEARCH.toLowerCase(),
  )
  const places = (search?.children ?? [])
    .flatMap((face) => face.children.filter(({ name }) => name === 'accessURL'))
    .map(({ text }) => URL.parse(text.trim()))
  const url = places.find((place) => place?.origin === named.origin)
  if (url === undefined || url === null) throw new Error(`it names no ${GMS_SEARCH} at ${named.origin}`)
  return url
}

/** By the service's own clock, so that clocks need not agree. An `Expires` that is no date is past (RFC 9111, 5.3). */
function lastingOf({ headers }: IncomingMessage, now: number): { readonly lasting?: number } {
  if (headers.expires === undefined) return {}
  const expires = Date.parse(headers.expires)
  const from = Date.parse(headers.date ?? '')
  const lasting = expires - (Number.isNaN(from) ? now : from)
  return { lasting: Number.isNaN(lasting) ? 0 : Math.max(lasting, 0) }
}
