/** Which chain stands behind a request: the one its connection was opened with, or the one that a listed front tells of in a header. */
import { type IncomingMessage } from 'node:http'
import { forwardedChain, type ForwardedOptions, stripForwarded } from '../identity/forwarded.ts'
import { peerOf } from '../identity/peer.ts'

/** DER, the leaf first. */
export interface ShownChain {
  readonly chain: readonly Buffer[]
  /** By a front, whose one connection carries many people's requests. */
  readonly forwarded: boolean
}

const told = new WeakMap<IncomingMessage, () => Buffer[] | undefined>()

/** To be called first for each request: keeps what a listed front tells, and takes the headers out whoever sent them. */
export function takeForwarded(request: IncomingMessage, options: ForwardedOptions | undefined): void {
  const { headers, socket } = request
  if (options !== undefined) {
    const sent = { ...headers }
    const { remoteAddress } = socket
    told.set(request, () => forwardedChain(sent, remoteAddress, options))
  }
  stripForwarded(headers, options)
}

/**
 * The chain to be verified; empty for a caller who showed none. The certificate of a front itself is nobody's. CertificateFault for what
 * cannot be read, as peerOf and forwardedChain.
 */
export function shownChain(request: IncomingMessage): ShownChain {
  const chain = told.get(request)?.()
  return chain === undefined ? { chain: peerOf(request.socket).chain, forwarded: false } : { chain, forwarded: true }
}
