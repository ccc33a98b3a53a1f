// Certificates that a TLS-terminating front tells of in a header (RFC 9440 and what nginx and haproxy write). Off unless fronts
// are listed; what comes out is a chain like any other and goes through the verifier.
import { type IncomingHttpHeaders } from 'node:http'
import { type BlockList } from 'node:net'
import { malformed } from './certificate-fault.ts'
import { tlvAt } from './der.ts'
import { isListed, networksOf } from './networks.ts'
import { pemBlocks } from './pem.ts'

export interface ForwardedOptions {
  /** Addresses and networks (10.0.0.0/8, fd00::/8) of the fronts. */
  readonly from: readonly string[]
  readonly header: string
  /** Absent: Client-Cert-Chain when `header` is Client-Cert, else none. */
  readonly chainHeader?: string
}

// One more than verifyChain takes, so that it can say so.
const MAX_READ = 13
// What fronts write when there is no certificate: nothing at all, or Apache's word for it.
const NONE = new Set(['', '(null)'])
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

const networks = new WeakMap<ForwardedOptions, BlockList>()

/**
 * The chain (DER, the leaf first) that a listed front says its client has shown; empty when it says none: the caller is then
 * anonymous, whatever certificate the front itself has. Undefined for a connection that comes from no front: what its headers
 * say is nothing. CertificateFault MALFORMED for a header of a front that cannot be read.
 */
export function forwardedChain(
  headers: IncomingHttpHeaders,
  remoteAddress: string | undefined,
  options: ForwardedOptions | undefined,
): Buffer[] | undefined {
  if (!options || !isFront(remoteAddress, options)) return undefined
  const [header = '', chainHeader] = headerNames(options)
  const leaf = read(headers[header])
  if (NONE.has(leaf)) return []
  const further = chainHeader === undefined ? '' : read(headers[chainHeader])
  return [...certificatesOf(leaf, false), ...(NONE.has(further) ? [] : certificatesOf(further, true))].slice(
    0,
    MAX_READ,
  )
}

/** Takes the headers out of a request, so that nothing behind this can come to believe them. */
export function stripForwarded(headers: IncomingHttpHeaders, options: ForwardedOptions | undefined): void {
  const own = options ? headerNames(options) : []
  for (const name of ['client-cert', 'client-cert-chain', ...own])
    if (name in headers) Reflect.deleteProperty(headers, name)
}

function headerNames({ header, chainHeader }: ForwardedOptions): string[] {
  const name = header.toLowerCase()
  const chain = chainHeader?.toLowerCase() ?? (name === 'client-cert' ? 'client-cert-chain' : undefined)
  return chain === undefined ? [name] : [name, chain]
}

// Node joins a header that comes twice with a comma, which no form of a certificate has: read as malformed.
const read = (value: string | string[] | undefined): string =>
  (typeof value === 'string' ? value : (value ?? []).join(',')).trim()

function isFront(remoteAddress: string | undefined, options: ForwardedOptions): boolean {
  let list = networks.get(options)
  if (list === undefined) networks.set(options, (list = networksOf(options.from)))
  return isListed(remoteAddress, list)
}

// PEM, escaped as in a URL or not; RFC 9440 byte sequences, of which a chain is a list; base64 of DER, certificates one behind
// the other.
function certificatesOf(text: string, isChain: boolean): Buffer[] {
  const unescaped = text.includes('%') ? unescape(text) : text
  if (unescaped.includes('-----')) return fromPem(unescaped)
  if (text.startsWith(':')) return fromByteSequences(text, isChain)
  const bytes = fromBase64(unescaped)
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length && found.length < MAX_READ;) {
    const { raw } = tlvAt(bytes, at)
    found.push(raw)
    at += raw.length
  }
  return found
}

function unescape(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return malformed('the header of the front is not escaped as a URL is')
  }
}

function fromPem(text: string): Buffer[] {
  if (text.replace(PEM_BLOCK, '').trim() !== '') malformed('the header of the front is not PEM')
  return pemBlocks(text).map((block) => fromBase64(block.text.replace(/-----[A-Z ]+-----/g, '')))
}

// RFC 8941 3.3.5 and 3.1; parameters have no meaning here.
function fromByteSequences(text: string, isChain: boolean): Buffer[] {
  const items = isChain ? text.split(',') : [text]
  return items.map((item) => fromBase64(/^:([^:]*):$/.exec(item.trim())?.[1] ?? malformed('not a byte sequence')))
}

function fromBase64(text: string): Buffer {
  const compact = text.replace(/\s+/g, '')
  if (compact === '' || !BASE64.test(compact)) malformed('the header of the front is not base64')
  return Buffer.from(compact, 'base64')
}
