/** Calls over HTTP/2 as a client makes them that keeps a connection for each identity. */
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import { type SecureClientSessionOptions } from 'node:http2'
import { type Reply } from './gateway.ts'

export interface Http2Call {
  readonly path: string
  readonly method: string
  readonly headers: Record<string, string | string[]>
  readonly body: string | Buffer | undefined
}

export class Http2Agent {
  readonly #port: () => number
  readonly #sessions = new Map<unknown, ClientHttp2Session>()

  constructor(port: () => number) {
    this.#port = port
  }

  /** On the connection of this identity, or a new one where that has ended. */
  async call(identity: unknown, tls: SecureClientSessionOptions, { path, method, headers, body }: Http2Call) {
    const session = this.#sessionOf(identity, tls)
    return new Promise<Reply>((resolve, reject) => {
      const told = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const own = Object.fromEntries(Object.entries(headers).filter(([name]) => !ONLY_HTTP1.has(name.toLowerCase())))
      const sent = {
        ':path': path,
        ':method': method,
        ...(named(headers, 'content-length') || named(headers, 'transfer-encoding') ? {} : told),
        ...own,
      }
      // a stream that is destroyed by its session says nothing by itself
      session.once('error', reject)
      const stream = session.request(sent, { endStream: body === undefined })
      collectStream(stream).then(resolve, reject)
      stream.once('close', () => session.off('error', reject))
      if (body !== undefined) stream.end(body)
    })
  }

  #sessionOf(identity: unknown, tls: SecureClientSessionOptions): ClientHttp2Session {
    const kept = this.#sessions.get(identity)
    if (kept !== undefined && !kept.closed && !kept.destroyed) return kept
    const session = connect(`https://127.0.0.1:${this.#port()}`, { ...tls, maxSessionMemory: 200 })
    session.setMaxListeners(0)
    session.on('error', () => undefined) // whoever waits for an answer hears it
    this.#sessions.set(identity, session)
    return session
  }

  destroy(): void {
    for (const session of this.#sessions.values()) session.destroy()
  }
}

/** What HTTP/2 has no use for. */
const ONLY_HTTP1 = new Set(['connection', 'transfer-encoding', 'host', 'keep-alive'])

const named = (headers: Http2Call['headers'], name: string): boolean =>
  Object.keys(headers).some((one) => one.toLowerCase() === name)

/** The whole answer; rejects when the stream ends before it, with what an HTTP/1.1 client would say. */
export async function collectStream(stream: ClientHttp2Stream): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let headers: IncomingHttpHeaders | undefined
    const parts: Buffer[] = []
    const broken = (error?: Error): void =>
      reject(Object.assign(new Error(`broken off: ${String(error)}`, { cause: error }), { code: 'ECONNRESET' }))
    stream.once('response', (given) => (headers = given))
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.once('error', broken)
    stream.once('close', () => broken())
    stream.once('end', () => {
      if (headers === undefined || stream.rstCode !== 0) return broken()
      const body = Buffer.concat(parts)
      const given = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')))
      const length = given['content-length']
      if (length !== undefined && parts.length > 0 && Number(length) !== body.length) return broken()
      resolve({ status: Number(headers[':status'] ?? 0), headers: given, body, text: body.toString('utf8') })
      // what is left of a body that was refused: Node waits for ever to get rid of it
      if (!stream.writableFinished) stream.close()
    })
  })
}
