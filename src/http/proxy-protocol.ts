/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a load balancer that passes TCP through tells whose connection it is,
 * before the first byte of TLS. Believed of listed peers only, and they must say it: what looks like TLS from there is cut off.
 */
import { isIP, type Socket } from 'node:net'
import { type Server } from 'node:https'
import { type TLSSocket } from 'node:tls'
import { isListed, networksOf } from '../identity/networks.ts'

export interface ProxyProtocolOptions {
  /** Addresses and networks of the load balancers. */
  readonly from: readonly string[]
}

/** What a header says. */
export interface ProxyHeader {
  /** in bytes */
  readonly length: number
  /** of the client; undefined: the balancer speaks for itself, or does not know */
  readonly address: string | undefined
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const V1 = Buffer.from('PROXY ', 'latin1')
/** The longest line of version 1 with its CRLF. */
const V1_MOST = 107
const V2_HEAD = 16
/** Bytes of addresses and notes (TLV) in version 2: what balancers of clouds send is a few hundred. */
const V2_MOST = 4096

/** What bytes begin with: a header, 'more' when they may become one, or 'none'. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | 'more' | 'none' {
  if (begins(bytes, SIGNATURE)) return bytes.length < V2_HEAD ? 'more' : readV2(bytes)
  if (begins(bytes, V1)) return readV1(bytes)
  return 'none'
}

const begins = (bytes: Buffer, word: Buffer): boolean => {
  const length = Math.min(bytes.length, word.length)
  return bytes.subarray(0, length).equals(word.subarray(0, length))
}

function readV1(bytes: Buffer): ProxyHeader | 'more' | 'none' {
  const end = bytes.subarray(0, V1_MOST).indexOf('\r\n')
  if (end < 0) return bytes.length < V1_MOST ? 'more' : 'none'
  const line = bytes.toString('latin1', 0, end)
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return { length: end + 2, address: undefined }
  const [, family, address = '', to = '', ...ports] =
    /^PROXY TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5})$/.exec(line) ?? []
  const isWhole = isIP(address) === Number(family) && isIP(to) === Number(family)
  if (!isWhole || ports.some((port) => Number(port) > 65535)) return 'none'
  return { length: end + 2, address }
}

/** Bytes of the two addresses and ports, by family. */
const V2_ADDRESSES: Readonly<Record<number, number>> = { 1: 12, 2: 36 }

function readV2(bytes: Buffer): ProxyHeader | 'more' | 'none' {
  const command = bytes.readUInt8(12)
  const length = bytes.readUInt16BE(14)
  if ((command !== 0x20 && command !== 0x21) || length > V2_MOST) return 'none'
  if (bytes.length < V2_HEAD + length) return 'more'
  const header = { length: V2_HEAD + length, address: undefined }
  const [family, transport] = [bytes.readUInt8(13) >> 4, bytes.readUInt8(13) & 15]
  // a check of its own health, or a family that says nothing of addresses (unspecified, Unix sockets)
  if (command === 0x20 || family === 0 || family === 3) return header
  const needed = V2_ADDRESSES[family]
  if (needed === undefined || transport !== 1 || length < needed) return 'none'
  const source = bytes.subarray(V2_HEAD, V2_HEAD + (family === 1 ? 4 : 16))
  return { ...header, address: family === 1 ? [...source].join('.') : ipv6Of(source) }
}

// In the form that Node gives to addresses of sockets: the longest run of zeros cut out, lower case.
function ipv6Of(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(':')
  return new URL(`http://[${groups}]/`).hostname.slice(1, -1)
}

/**
 * Keeps connections of listed peers back until they have told, and then has the server see the address they told, as do all requests. To be called before
 * anybody else listens to its `secureConnection`. Answers what ends those that are still being waited for.
 */
export function takeProxyProtocol(server: Server, { from }: ProxyProtocolOptions, timeout: number): () => void {
  const listed = networksOf(from)
  const waiting = new Set<Socket>()
  const told = new Map<string, string>()
  const emit = server.emit.bind(server)
  const admit = (socket: Socket, address: string | undefined): void => {
    if (address !== undefined) {
      const key = endsOf(socket)
      told.set(key, address)
      socket.once('close', () => told.delete(key))
      setAddress(socket, address)
    }
    emit('connection', socket)
  }
  server.emit = (event: string, ...args: unknown[]): boolean => {
    const [socket] = args as [Socket]
    if (event !== 'connection' || !isListed(socket.remoteAddress, listed)) return emit(event, ...args)
    waiting.add(socket)
    readFrom(socket, timeout, (address) => admit(socket, address))
    socket.once('close', () => waiting.delete(socket))
    return true
  }
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const address = told.get(endsOf(socket))
    if (address !== undefined) setAddress(socket, address)
  })
  return () => {
    for (const socket of waiting) socket.destroy()
  }
}

// The socket of TLS and the one below it are two objects with the same ends, which no other open connection has.
const endsOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  [remoteAddress, remotePort, localAddress, localPort].join(' ')

const setAddress = (socket: Socket, address: string): void =>
  void Object.defineProperty(socket, 'remoteAddress', { value: address })

/** Calls back with what the header says; a connection that begins with none is destroyed. */
function readFrom(socket: Socket, timeout: number, done: (address: string | undefined) => void): void {
  let bytes = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(), timeout)
  const ignore = (): void => undefined // its end says enough
  const cut = (): void => void socket.destroy()
  const stop = (): void => {
    clearTimeout(timer)
    socket.off('readable', read).off('end', cut).off('close', stop)
  }
  const read = (): void => {
    for (let part = socket.read() as Buffer | null; part !== null; part = socket.read() as Buffer | null)
      bytes = Buffer.concat([bytes, part])
    const header = readProxyHeader(bytes)
    if (header === 'more') return
    stop()
    if (header === 'none') return void socket.destroy()
    const rest = bytes.subarray(header.length)
    if (rest.length > 0) socket.unshift(rest)
    socket.off('error', ignore)
    done(header.address)
  }
  socket.on('error', ignore).on('end', cut).on('close', stop).on('readable', read)
}
