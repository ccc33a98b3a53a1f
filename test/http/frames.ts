/** Frames of HTTP/2 (RFC 9113, 4.1) byte by byte, for what no client library would send. */
import { connect, type TLSSocket } from 'node:tls'
import { type Gateway, tlsOf } from './gateway.ts'
import { type Name } from './people.ts'

export const TYPE = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4 } as const

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A block of literal fields, nothing indexed, nothing compressed (RFC 7541, 6.2.2). */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  const length: number[] = []
  if (bytes.length < 127) length.push(bytes.length)
  else {
    length.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

export const request = (path: string, more: readonly (readonly [string, string])[] = [], method = 'GET'): Buffer =>
  block([[':method', method], [':scheme', 'https'], [':path', path], [':authority', 'localhost'], ...more]) // prettier-ignore

export const headers = (stream: number, fields: Buffer, flags: number = FLAG.endStream): Buffer =>
  frame(TYPE.headers, flags | FLAG.endHeaders, stream, fields)

/** A connection after its preface and settings. What comes is split into frames. */
export class Wire {
  readonly socket: TLSSocket
  readonly frames: {
    readonly type: number
    readonly flags: number
    readonly stream: number
    readonly payload: Buffer
  }[] = []
  readonly closed: Promise<void>
  #rest: Buffer = Buffer.alloc(0)

  constructor(socket: TLSSocket) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => undefined) // it is meant to be cut
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
  }

  static async open(gateway: Gateway, as?: Name, settings: Buffer = Buffer.alloc(0)): Promise<Wire> {
    const socket = await new Promise<TLSSocket>((resolve, reject) => {
      const options = { ...tlsOf(as), host: '127.0.0.1', port: gateway.port, ALPNProtocols: ['h2'] }
      const socket = connect(options, () => resolve(socket))
      socket.once('error', reject)
    })
    const wire = new Wire(socket)
    wire.send(Buffer.from(PREFACE), frame(TYPE.settings, 0, 0, settings))
    return wire
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames))
  }

  /** Resolves with the first frame of this type on this stream, or undefined when the connection ends before it. */
  async next(type: number, stream: number): Promise<Buffer | undefined> {
    for (;;) {
      const found = this.frames.find((one) => one.type === type && one.stream === stream)
      if (found !== undefined) return found.payload
      if (this.socket.destroyed) return undefined
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  /** With which error code a stream was reset, or the connection ended; undefined: it just closed. */
  async codeOf(stream: number): Promise<number | undefined> {
    const reset = this.next(TYPE.reset, stream).then((payload) => payload?.readUInt32BE(0))
    const goaway = this.next(TYPE.goaway, 0).then((payload) => payload?.readUInt32BE(4))
    return Promise.race([reset, goaway])
  }

  #take(bytes: Buffer): void {
    let rest = Buffer.concat([this.#rest, bytes])
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3)
      const [type, flags, stream] = [rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5) & 0x7fffffff]
      this.frames.push({ type, flags, stream, payload: rest.subarray(9, end) })
      rest = rest.subarray(end)
    }
    this.#rest = rest
  }
}
