/** An HTTPS server that asks for client certificates, records every request and answers as the test says. Its authority and users too. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type PeerCertificate, type TLSSocket } from 'node:tls'
import { writeFile } from 'node:fs/promises'
import { connect, type Client, type ConnectOptions } from '../../mount/client.ts'
import { type EntryJson } from '../../src/codec/fs-v1.ts'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
} from '../../src/identity/mint.ts'
import { type Authority } from '../../src/identity/mint.ts'
import { writeCredential, type Credential } from '../../src/identity/pem.ts'

export interface Recorded {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** common name of the client's certificate */
  readonly user: string
}

export type Handler = (request: Recorded, response: ServerResponse, raw: IncomingMessage) => void | Promise<void>

/** Certificates of one test file: making RSA keys takes time. */
export class Pki {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'karst-client-'))
  readonly ca = path.join(this.folder, 'ca.pem')
  readonly #authority: Authority
  readonly server: Credential

  private constructor(authority: Authority, server: Credential) {
    this.#authority = authority
    this.server = server
  }

  static async make(): Promise<Pki> {
    const authority = await mintDevelopmentCa('test')
    const pki = new Pki(authority, await issueServerCertificate(authority, ['localhost', '127.0.0.1']))
    await writeFile(pki.ca, authority.certificate)
    return pki
  }

  /** The file of a new proxy of a user, or `file` written anew. */
  async proxy(user: string, file = path.join(this.folder, `${user}.pem`)): Promise<string> {
    const credential = await issueUserCertificate(this.#authority, [['CN', user]], 1, 'ec')
    await writeCredential(file, await createProxy(credential, { hours: 1, newKey: 'ec' }))
    return file
  }

  remove(): void {
    rmSync(this.folder, { recursive: true })
  }
}

export class GatewayDouble {
  readonly requests: Recorded[] = []
  readonly sockets = new Set<Socket>()
  /** connections so far */
  connections = 0
  handler: Handler = (_, response) => void response.writeHead(500).end()
  /** Answers before the body is read, when it gives true. */
  early: (raw: IncomingMessage, response: ServerResponse) => boolean = () => false
  readonly #pki: Pki
  #server: Server
  #port = 0

  constructor(pki: Pki) {
    this.#pki = pki
    this.#server = this.#make()
  }

  get url(): string {
    return `https://localhost:${this.#port}/karst`
  }

  async start(): Promise<this> {
    this.#server = this.#make()
    this.#server.listen(this.#port)
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** Cuts every connection, as a crash does. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.sockets) socket.destroy()
    await closed
  }

  /** A client that has said hello; the hello is not among `requests`. */
  async client(options: Partial<ConnectOptions> = {}): Promise<Client> {
    const certificate = options.certificate ?? (await this.#pki.proxy('alice'))
    const { handler } = this
    this.handler = (_, response) => json(response, 200, HELLO)
    const logger = { warn: () => undefined }
    const client = await connect({ url: this.url, certificate, ca: this.#pki.ca, timeLimit: 4, logger, ...options })
    this.requests.length = 0
    this.handler = handler
    return client
  }

  #make(): Server {
    const { certificate, key } = this.#pki.server
    // Who a proxy stands for is the gateway's to verify; here the first certificate's name is enough.
    const tls = { cert: certificate, key, requestCert: true, rejectUnauthorized: false }
    const server = createServer(tls, (request, response) => void this.#serve(request, response))
    return server.on('secureConnection', (socket: Socket) => {
      this.connections++
      this.sockets.add(socket.on('close', () => this.sockets.delete(socket)))
    })
  }

  async #serve(raw: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (this.early(raw, response)) return
      const parts: Buffer[] = []
      for await (const part of raw as AsyncIterable<Buffer>) parts.push(part)
      // empty without a certificate
      const { subject } = (raw.socket as TLSSocket).getPeerCertificate() as Partial<PeerCertificate>
      const user = [subject?.CN].flat()[0] ?? ''
      const { method = '', url = '', headers } = raw
      const recorded = { method, url, headers, body: Buffer.concat(parts), user }
      this.requests.push(recorded)
      await this.handler(recorded, response, raw)
    } catch {
      response.destroy() // the client went away in the midst, as some tests want
    }
  }
}

export const HELLO = { version: 1, resourceId: 'ivo://karst.local/karst', user: 'alice', uid: 1000, gid: 1000 }

export function json(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
}

export function entryJson(nodePath: string, more: Partial<EntryJson> = {}): EntryJson {
  return {
    ...{ id: 'n1', path: nodePath, type: 'data', size: 3, mode: 0o640, uid: 1000, gid: 1000, owner: 'alice', nlink: 1 },
    ...{ mtime: '1700000000123456789', ctime: '1700000000123456789', contentVersion: 'c1', version: 'v1' },
    access: { isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false },
    ...{ readable: true, writable: true },
    ...more,
  }
}
