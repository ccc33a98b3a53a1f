/** Where the gateway listens, and whom it believes what it says of others' connections: the part of the configuration about doors. */
import { isIP } from 'node:net'

export interface ListenConfig {
  readonly host: string
  readonly port: number
  readonly http2: boolean
  /** absent: nobody tells whose connection it is */
  readonly proxyProtocol?: { readonly from: readonly string[] }
}

export interface ForwardedConfig {
  readonly from: readonly string[]
  readonly header: string
  readonly chainHeader?: string
}

export interface ListenDocument {
  service: { url: string }
  listen?: { host?: string; port?: number; http2?: boolean; proxyProtocol?: { from: string[] } }
  forwardedCertificates?: { from: string[]; header?: string; chainHeader?: string }
}

/** What a schema cannot say. */
export function listenMistakes({ forwardedCertificates, listen }: ListenDocument): string[] {
  const lists = { forwardedCertificates, 'listen.proxyProtocol': listen?.proxyProtocol }
  return Object.entries(lists).flatMap(([where, { from = [] } = {}]) =>
    from.filter((one) => !isNetwork(one)).map((one) => `${where}.from: ${one} is no address and no network`),
  )
}

/** An IPv4 or IPv6 address, or one with a prefix length: 10.0.0.0/8, fd00::/8. */
function isNetwork(text: string): boolean {
  const [address = '', prefix, rest] = text.split('/')
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1
  return (
    rest === undefined && bits > 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
  )
}

export function listenConfig({ service, listen = {} }: ListenDocument): ListenConfig {
  const { port } = new URL(service.url)
  return { host: '127.0.0.1', port: port === '' ? 443 : Number(port), http2: true, ...listen }
}
