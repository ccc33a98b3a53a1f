/** The TLS listener: client certificates asked for, chains kept, slow and broken clients cut off. */
import { createServer, type Server } from 'node:https'
import { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type Socket } from 'node:net'
import { attachPeerChain, TLS_OPTIONS } from '../identity/peer.ts'
import { ALPN_PROTOCOLS, serveHttp2 } from './http2.ts'
import { takeProxyProtocol, type ProxyProtocolOptions } from './proxy-protocol.ts'
import { expectContinue, takeContentType } from './request-body.ts'
import { type HttpLimits } from './services.ts'

/** PEM; the certificate with its chain. */
export interface TlsIdentity {
  readonly key: string | Buffer
  readonly cert: string | Buffer
}

/** How much of a body is buffered in each direction: chunks of this size reach the backend and the socket. */
const BUFFER = 1 << 20

export interface Listener {
  readonly server: Server
  /** Nothing new on connections that there are; what is under way goes on. */
  readonly drain: () => void
}

export interface ListenerOptions {
  readonly limits: HttpLimits
  /** false: HTTP/1.1 alone */
  readonly http2: boolean
  readonly proxyProtocol?: ProxyProtocolOptions
}

/** A server that hands requests to `handler`, body untouched. It does not listen yet. */
export function createListener(
  tls: TlsIdentity,
  { limits, http2, proxyProtocol }: ListenerOptions,
  handler: RequestListener,
): Listener {
  const server = createServer({
    ...tls,
    ...TLS_OPTIONS,
    ...(http2 && { ALPNProtocols: ALPN_PROTOCOLS }),
    handshakeTimeout: limits.headersTimeout,
    maxHeaderSize: limits.headers,
    headersTimeout: limits.headersTimeout,
    // an upload may take hours: `idleTimeout` is what bounds it
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(5_000, limits.headersTimeout),
    keepAliveTimeout: limits.keepAliveTimeout,
    highWaterMark: BUFFER,
    noDelay: true,
  })
  const accept = (request: IncomingMessage, response: ServerResponse): void => {
    takeContentType(request)
    handler(request, response)
  }
  const acceptWaiting = (request: IncomingMessage, response: ServerResponse): void => {
    expectContinue(request, response)
    accept(request, response)
  }
  const noted = (listener: RequestListener): RequestListener => {
    return (request, response) => {
      current.set(request.socket, { request, response })
      listener(request, response)
    }
  }
  server.on('request', noted(accept))
  server.on('checkContinue', noted(acceptWaiting))
  server.setTimeout(limits.idleTimeout, (socket) => onIdle(socket, limits))
  const sessions = http2 ? serveHttp2(server, limits, { request: accept, checkContinue: acceptWaiting }) : undefined
  const endWaiting = proxyProtocol && takeProxyProtocol(server, proxyProtocol, limits.headersTimeout)
  // last, so that it comes first
  attachPeerChain(server)
  const drain = (): void => {
    sessions?.close()
    endWaiting?.()
  }
  return { server, drain }
}

const current = new WeakMap<Socket, { request: IncomingMessage; response: ServerResponse }>()

/** A silent client is cut off, unless it is we who keep it waiting. */
function onIdle(socket: Socket, limits: HttpLimits): void {
  const { request, response } = current.get(socket) ?? {}
  const isOurTurn = request?.complete === true && response?.writableFinished === false && response.writableLength === 0
  if (isOurTurn) socket.setTimeout(limits.idleTimeout)
  else socket.destroy()
}

/** Takes a renewed certificate for connections to come. */
export function reloadTls(server: Server, tls: TlsIdentity): void {
  server.setSecureContext({ ...TLS_OPTIONS, ...tls })
}

const refused = new WeakSet<Socket>()

/** How long a refused client is read on, so that the reset of its connection does not overtake the answer; milliseconds. */
const LINGER = 500

/** Answers what is no HTTP, or both Content-Length and Transfer-Encoding (RFC 9112, 6.1), and closes. */
export function refuseMalformed(error: Error & { code?: string }, socket: Socket, serverHeader: string): void {
  if (refused.has(socket)) return
  if (!socket.writable || socket.destroyed) {
    socket.destroy()
    return
  }
  refused.add(socket)
  const [status, text] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'InvalidArgument: the headers are too large\n']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'InvalidArgument: the request did not come in time\n']
        : ['400 Bad Request', 'InvalidArgument: not an HTTP request\n']
  const head = [
    `HTTP/1.1 ${status}`,
    `Server: ${serverHeader}`,
    'Content-Type: text/plain',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`)
  const timer = setTimeout(() => socket.destroy(), LINGER)
  socket.once('close', () => clearTimeout(timer)).resume()
}
