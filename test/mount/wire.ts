// A wire between a mount and its gateway, to be cut.
import { once } from 'node:events'
import { connect as connectTo, createServer, type Server, type Socket } from 'node:net'

export class Wire {
  readonly sockets = new Set<Socket>()
  readonly #server: Server
  isCut = false
  /** Bytes that have gone to the gateway, and come from it. */
  sent = 0
  received = 0
  readonly listening: Promise<unknown>

  constructor(t: { teardown(cleanUp: () => void): void }, port: number) {
    this.#server = createServer((socket) => {
      if (this.isCut) {
        socket.destroy()
        return
      }
      const other = connectTo(port, '127.0.0.1')
      for (const [from, to] of [[socket, other], [other, socket]] as const) {
        this.sockets.add(from)
        from.on('error', () => to.destroy()).on('close', () => to.destroy())
        from.on('data', (part) => (from === socket ? (this.sent += part.length) : (this.received += part.length)))
        from.pipe(to)
      }
    }).listen(0, '127.0.0.1') // prettier-ignore
    this.listening = once(this.#server, 'listening')
    t.teardown(() => {
      this.cut()
      this.#server.close()
    })
  }

  get url(): string {
    const address = this.#server.address()
    return `https://localhost:${typeof address === 'object' ? (address?.port ?? 0) : 0}/karst`
  }

  cut(): void {
    this.isCut = true
    for (const socket of this.sockets) socket.destroy()
    this.sockets.clear()
  }

  mend(): void {
    this.isCut = false
  }
}
