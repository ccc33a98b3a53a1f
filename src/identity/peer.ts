// The TLS side: keeps the chain a client sent, for every request of the connection. OpenSSL hands it out only once, and
// after a resumed session not at all.
import { constants } from 'node:crypto'
import { type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import { CertificateFault } from './certificate-fault.ts'
import { Certificate } from './certificate.ts'

export interface Peer {
  /** DER, the leaf first, the others as the client sent them; empty when it sent none. Not verified. */
  readonly chain: readonly Buffer[]
  readonly resumed: boolean
}

// A property of the raw socket: under HTTP/2 a request's socket is a Proxy, which a WeakMap would not know.
const PEER = Symbol('karst.peer')

// More than verifyChain takes is not worth reading; one over, so that it can say so.
const MAX_READ = 13

/**
 * For the listener: asks for a certificate, lets any through the handshake (verifyChain decides), names no authorities
 * (clients would filter by them, and a proxy's issuer is a user), and gives no session tickets, since a resumed session
 * has lost its chain. Without renegotiation nobody changes certificates on an open connection.
 */
export const TLS_OPTIONS = Object.freeze({
  requestCert: true,
  rejectUnauthorized: false,
  minVersion: 'TLSv1.2',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const satisfies TlsOptions)

/** Reads each client's chain, once, before any other listener or request sees the socket. */
export function attachPeerChain(server: Server): void {
  server.prependListener('secureConnection', (socket) => {
    Object.defineProperty(socket, PEER, { value: readPeer(socket) })
  })
}

/**
 * Who is at the other end. Throws a CertificateFault for a client whose chain is lost (RESUMED_SESSION) or unreadable,
 * and an Error for a socket that attachPeerChain never saw: a missing chain must not pass for an anonymous client.
 */
export function peerOf(socket: object): Peer {
  const peer: unknown = Reflect.get(socket, PEER)
  if (peer instanceof CertificateFault) throw peer
  if (!isPeer(peer)) throw new Error('the chain of this connection was never read: attachPeerChain is missing')
  return peer
}

const isPeer = (value: unknown): value is Peer => typeof value === 'object' && value !== null && 'chain' in value

function readPeer(socket: TLSSocket): Peer | CertificateFault {
  try {
    const chain: Buffer[] = []
    let sent = socket.getPeerX509Certificate()
    for (; sent && chain.length < MAX_READ; sent = sent.issuerCertificate) chain.push(sent.raw)
    const peer = { chain, resumed: socket.isSessionReused() }
    refuseLostChain(peer)
    return peer
  } catch (error) {
    // Thrown from here it would end the process; kept, it is the answer to each request of this connection.
    if (error instanceof CertificateFault) return error
    return new CertificateFault('MALFORMED', 'the certificate could not be read', { cause: error })
  }
}

// Tickets are off, so this is for a server that was set up without TLS_OPTIONS.
function refuseLostChain({ chain, resumed }: Peer): void {
  const [leaf, ...others] = chain
  if (!resumed || !leaf || others.length > 0) return
  if (!new Certificate(leaf).proxyInfo) return
  throw new CertificateFault(
    'RESUMED_SESSION',
    'a resumed TLS session does not carry the chain of a proxy: connect anew',
  )
}
