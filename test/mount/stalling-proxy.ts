// A TCP proxy before a gateway that stops carrying, or cuts, as networks do.
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

export class StallingProxy {
  readonly #server: net.Server
  readonly #sockets = new Set<Socket>()
  readonly #target: () => number
  #isStalled = false
  #isDown = false

  /** `target`: port of the gateway at this moment. */
  constructor(target: () => number) {
    this.#target = target
    this.#server = net.createServer((socket) => this.#carry(socket))
  }

  async start(t: { teardown(cleanUp: () => void): void }): Promise<this> {
    this.#server.listen(0, 'localhost')
    await once(this.#server, 'listening')
    t.teardown(() => {
      this.#server.close()
      this.cut()
    })
    return this
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}/karst`
  }

  #carry(socket: Socket): void {
    if (this.#isDown) {
      socket.destroy()
      return
    }
    const other = net.connect(this.#target(), 'localhost')
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ] as const) {
      this.#sockets.add(one)
      one.on('data', (chunk) => void (this.#isDown || two.write(chunk)))
      one.on('end', () => two.end())
      // a cut connection is what this is for
      one.on('error', () => two.destroy())
      one.on('close', () => this.#sockets.delete(one) && two.destroy())
      if (this.#isStalled) one.pause()
    }
  }

  /** Nothing goes through any more, and nothing is refused: connections are made and stay silent. */
  stall(): void {
    this.#isStalled = true
    for (const socket of this.#sockets) socket.pause()
  }

  /** Nobody answers. */
  down(): void {
    this.#isDown = true
    this.cut()
  }

  /** What was held back goes on its way. */
  heal(): void {
    this.#isStalled = false
    this.#isDown = false
    for (const socket of this.#sockets) socket.resume()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
