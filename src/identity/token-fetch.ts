// Gets a small JSON document of an issuer: by https (plain http on the loopback alone), bounded in size and time, never led to another host.
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

/** bytes; the largest key sets in use are of some 20 KiB */
const LARGEST = 256 << 10
const MOST_REDIRECTS = 3

export interface FetchOptions {
  /** PEM of the authorities the issuer's server may have its certificate from; the runtime's own without it */
  readonly ca?: string | undefined
  /** milliseconds for the whole */
  readonly timeout: number
}

/** Whether a URL may be fetched from at all: https, or the loopback. */
export function isFetchable({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))
}

/** By name or address of this machine, as the URL says it. */
export const isLoopback = (hostname: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)

/** The document, parsed. Rejects with an Error that says what was wrong: no answer, another status, too long, no JSON, led elsewhere. */
export async function fetchJson(url: URL, { ca, timeout }: FetchOptions): Promise<unknown> {
  const signal = AbortSignal.timeout(timeout)
  let place = url
  for (let redirects = 0; ; redirects++) {
    if (!isFetchable(place)) throw new Error(`${place.href} is not https`)
    const answer = await get(place, ca, signal)
    const { statusCode = 0, headers } = answer
    if (statusCode === 200) return parse(place, await bodyOf(answer, place, signal))
    answer.destroy()
    if (statusCode < 300 || statusCode > 399 || headers.location === undefined) {
      throw new Error(`${place.href}: status ${statusCode}`)
    }
    const next = new URL(headers.location, place)
    if (next.origin !== place.origin)
      throw new Error(`${place.href} leads to another host, ${next.origin}: not followed`)
    if (redirects === MOST_REDIRECTS) throw new Error(`${url.href}: too many redirects`)
    place = next
  }
}

function get(url: URL, ca: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'application/json', 'accept-encoding': 'identity' }
    const options = { headers, signal, agent: false as const, maxHeaderSize: 16_384 }
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, ...(ca !== undefined && { ca }) })
        : httpRequest(url, options)
    request.on('response', resolve)
    request.on('error', (error) => reject(inTime(url, signal, error)))
    request.end()
  })
}

async function bodyOf(answer: IncomingMessage, url: URL, signal: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      if ((length += part.length) > LARGEST) throw new Error(`${url.href}: more than ${LARGEST} bytes`)
      parts.push(part)
    }
  } catch (error) {
    throw inTime(url, signal, error as Error)
  }
  return Buffer.concat(parts, length)
}

function inTime(url: URL, signal: AbortSignal, error: Error): Error {
  return new Error(signal.aborted ? `${url.href}: no answer in time` : `${url.href}: ${error.message}`, {
    cause: error,
  })
}

function parse(url: URL, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw new Error(`${url.href}: no JSON`, { cause: error })
  }
}
