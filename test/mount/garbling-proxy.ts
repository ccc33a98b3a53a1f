// Something between mount and gateway that answers rubbish: it asks the gateway as alice, whatever becomes of the answer.
import { once } from 'node:events'
import { request, createServer, type Server } from 'node:https'
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo } from 'node:net'
import { collect, tlsOf, type Reply } from '../http/gateway.ts'
import { host } from '../http/people.ts'

/** What is made of an answer: its request has had its effect. */
export const GARBLES = {
  /** a page, as a captive portal has it */
  page: (_, response) =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please log in</html>'),
  nothing: (_, response) => void response.writeHead(200).end(),
  /** a part of it, as though it were all */
  less: ({ status, headers, body }, response) => {
    const half = body.subarray(0, body.length >> 1)
    response.writeHead(status, { ...headers, 'content-length': half.length }).end(half)
  },
  /** more than there is */
  more: ({ status, headers, body }, response) => {
    const all = Buffer.concat([body, Buffer.from('{"more": "than there is"}')])
    response.writeHead(status, { ...headers, 'content-length': all.length }).end(all)
  },
  /** cut off in its midst */
  cut: ({ status, headers, body }, response) => {
    response.writeHead(status, { ...headers, 'content-length': body.length + 1 })
    response.write(body.subarray(0, body.length >> 1), () => response.destroy())
  },
  /** bytes that are said to stand elsewhere */
  elsewhere: ({ status, headers, body }, response) => {
    response.writeHead(status, { ...headers, 'content-range': 'bytes 7-9/10', 'content-length': body.length }).end(body)
  },
  /** not what was asked for, and well-formed */
  other: (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"names": [1, null], "path": "/", "id": 5}')
  },
  noise: ({ status }, response) => void response.writeHead(status).end(Buffer.alloc(3000, 0xf7)),
  broken: (_, response) => void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'),
  silence: () => undefined,
} satisfies Record<string, (reply: Reply, response: ServerResponse) => void>

export type Garble = keyof typeof GARBLES

export class GarblingProxy {
  readonly #server: Server
  readonly #target: () => number
  /** What to make of the next answer; undefined: nothing. */
  garble: (method: string, target: string) => Garble | undefined = () => undefined

  constructor(target: () => number) {
    this.#target = target
    const tls = { key: host.key, cert: host.certificate, requestCert: true, rejectUnauthorized: false }
    this.#server = createServer(tls, (asked, response) => {
      this.#carry(asked, response).catch(() => response.destroy())
    })
  }

  async start(t: { teardown(cleanUp: () => void): void }): Promise<this> {
    this.#server.listen(0, 'localhost')
    await once(this.#server, 'listening')
    t.teardown(() => {
      this.#server.close()
      this.#server.closeAllConnections()
    })
    return this
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}/karst`
  }

  async #carry(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = asked
    const where = {
      ...tlsOf('alice'),
      host: '127.0.0.1',
      port: this.#target(),
      method,
      path: url,
      headers,
      agent: false,
    }
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      asked.pipe(request(where, resolve).on('error', reject))
    })
    // news have no end
    if (url.includes('/fs/v1/changes')) {
      answer.pipe(response.writeHead(answer.statusCode ?? 0, answer.headers))
      answer.on('error', () => response.destroy())
      response.on('close', () => answer.destroy())
      return
    }
    const reply = await collect(answer)
    const { 'transfer-encoding': _, connection: __, ...kept } = reply.headers
    const whole = { ...reply, headers: kept }
    const garble = this.garble(method, url)
    if (garble === undefined) response.writeHead(whole.status, whole.headers).end(whole.body)
    else GARBLES[garble](whole, response)
  }
}
