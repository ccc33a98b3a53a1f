/**
 * HTTP/2 beside HTTP/1.1 on the one TLS port, as ALPN settles it (RFC 9113, 3.2): its streams go to the same handler. Sessions that are idle
 * or abusive are ended, streams that are silent are cut.
 */
import { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2'
import { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type Server } from 'node:https'
import { type TLSSocket } from 'node:tls'
import { Http2Request, Http2Response } from './http2-exchange.ts'
import { type HttpLimits } from './services.ts'

/** What a client offers in the handshake and we take, the first one first. */
export const ALPN_PROTOCOLS = ['h2', 'http/1.1']

/** Requests of one connection at a time; RFC 9113, 6.5.2 advises against fewer than 100. */
const CONCURRENT_STREAMS = 128

/** Bytes of an upload that may be on their way: a stream's, and a connection's. Of the default (64 KiB) a link of 40 ms carries 1.6 MB/s. */
const STREAM_WINDOW = 2 << 20
const CONNECTION_WINDOW = 16 << 20

/** MB that Node lets a session hold, two of each stream; with its default of 10 it refuses streams when a few large answers are under way. */
const SESSION_MEMORY = 256

/** Streams of a session that may end without an answer within ten seconds: what opens and resets them faster is an attack (CVE-2023-44487). */
const RESETS = 500
const RESETS_WITHIN = 10_000

/** What a request target is made of (RFC 3986); HTTP/1.1 knows no other either. */
const VISIBLE = /^[\x21-\x7e]+$/

export interface Http2Handlers {
  readonly request: RequestListener
  /** the client waits for `100 Continue` */
  readonly checkContinue: RequestListener
}

export interface Http2Sessions {
  /** No new streams (GOAWAY); those under way go on, and then their connections end. */
  close(): void
}

/** Takes the connections whose client has chosen HTTP/2 away from a server. To be called before anybody else listens to its `secureConnection`. */
export function serveHttp2(server: Server, limits: HttpLimits, handlers: Http2Handlers): Http2Sessions {
  const http2 = createHttp2(limits)
  const accept = (listener: RequestListener) => {
    return (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      const refusal = refusalOf(request, limits)
      if (refusal !== undefined) {
        response.writeHead(refusal.status, { 'content-type': 'text/plain' }).end(`InvalidArgument: ${refusal.text}\n`)
        return
      }
      // the session is gone before the stream, and whoever writes the log asks after that
      Object.defineProperty(request.stream, 'remoteAddress', { value: request.socket.remoteAddress })
      cutWhenSilent(request, response, limits)
      // Node makes them to stand in for those of HTTP/1.1; what is wanting is in http2-exchange.ts
      listener(request as unknown as IncomingMessage, response as unknown as ServerResponse)
    }
  }
  http2.on('request', accept(handlers.request))
  http2.on('checkContinue', accept(handlers.checkContinue))
  const http1 = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[]
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') http2.emit('connection', socket)
    else for (const listener of http1) listener.call(server, socket)
  })
  return watch(http2, server, limits)
}

/** What the parser of HTTP/1.1 refuses, and that of HTTP/2 lets through. */
function refusalOf({ url, rawHeaders }: Http2ServerRequest, limits: HttpLimits) {
  if (!VISIBLE.test(url)) return { status: 400, text: 'not an HTTP request' }
  // of a client that never confirms our settings Node takes more than they say
  const size = rawHeaders.reduce((sum, text) => sum + text.length, 0)
  return size > limits.headers ? { status: 431, text: 'the headers are too large' } : undefined
}

// It never listens: connections are given to it.
function createHttp2(limits: HttpLimits): Http2Server {
  const server = createServer({
    settings: {
      maxConcurrentStreams: CONCURRENT_STREAMS,
      initialWindowSize: STREAM_WINDOW,
      maxHeaderListSize: limits.headers,
    },
    Http2ServerRequest: Http2Request,
    Http2ServerResponse: Http2Response,
    maxSessionMemory: SESSION_MEMORY,
    // of invalid frames and refused streams Node bears more than any client needs
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    unknownProtocolTimeout: limits.headersTimeout,
  })
  server.on('session', (session) => session.setLocalWindowSize(CONNECTION_WINDOW))
  return server
}

/** What is known of a session besides what Node knows. */
interface Use {
  streams: number
  /** whether there was any request */
  served: boolean
  /** milliseconds, when the last stream ended */
  idleSince: number
  resets: number
  /** milliseconds, when resets were counted from 0 */
  countedSince: number
}

/** Ends sessions without a request after the time that HTTP/1.1 has for it, and those that reset streams all the time. */
function watch(http2: Http2Server, server: Server, limits: HttpLimits): Http2Sessions {
  const sessions = new Map<ServerHttp2Session, Use>()
  let closing = false
  http2.on('session', (session) => {
    const now = performance.now()
    const use: Use = { streams: 0, served: false, idleSince: now, resets: 0, countedSince: now }
    sessions.set(session, use)
    session.once('close', () => sessions.delete(session))
    session.on('stream', (stream) => count(session, stream, use))
    if (closing) session.close()
  })
  const sweep = setInterval(
    () => {
      const now = performance.now()
      for (const [session, use] of sessions) if (isIdle(use, now, limits)) session.destroy()
    },
    Math.min(5_000, limits.headersTimeout, limits.keepAliveTimeout),
  )
  sweep.unref()
  server.once('close', () => clearInterval(sweep))
  return {
    close() {
      closing = true
      for (const session of sessions.keys()) session.close()
    },
  }
}

function isIdle({ streams, served, idleSince }: Use, now: number, limits: HttpLimits): boolean {
  return streams === 0 && now - idleSince > (served ? limits.keepAliveTimeout : limits.headersTimeout)
}

function count(session: ServerHttp2Session, stream: ServerHttp2Stream, use: Use): void {
  use.streams++
  use.served = true
  stream.once('close', () => {
    const now = performance.now()
    use.streams--
    use.idleSince = now
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR) return
    if (now - use.countedSince > RESETS_WITHIN) {
      use.countedSince = now
      use.resets = 0
    }
    if (++use.resets <= RESETS || session.destroyed) return
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    session.destroy()
  })
}

/** A client that neither sends nor takes a byte of this stream is cut off, unless it is we who keep it waiting. */
function cutWhenSilent(request: Http2ServerRequest, response: Http2ServerResponse, limits: HttpLimits): void {
  const { stream } = response
  const onSilence = (): void => {
    const isOurTurn = request.complete && !stream.writableFinished && stream.writableLength === 0
    if (isOurTurn) stream.setTimeout(limits.idleTimeout, onSilence)
    else stream.close(constants.NGHTTP2_CANCEL)
  }
  stream.setTimeout(limits.idleTimeout, onSilence)
}
