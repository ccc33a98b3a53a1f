/** What goes by on the way from a gateway to the sessions of a test: they ask at its port in place of the gateway's. */
import { connect, createServer, type AddressInfo, type Server } from 'node:net'

export class Meter {
  readonly #server: Server
  /** from the gateway */
  bytes = 0

  /** `port`: of the gateway, on this machine */
  constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, 'localhost')
      far.on('data', (part) => (this.bytes += part.length))
      near.pipe(far).pipe(near)
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const)
        one.on('error', () => other.destroy())
    })
  }

  /** Answers its port. */
  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, 'localhost', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  stop(): void {
    this.#server.close()
  }
}
