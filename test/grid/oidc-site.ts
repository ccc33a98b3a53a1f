/** A site with an OpenID Connect provider of its own (npm's oidc-provider, over TLS by a private authority) and a gateway that trusts it. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer, request, type Server } from 'node:https'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { startGateway, type Gateway } from '../../src/app.ts'
import { readConfig, type ConfigDocument } from '../../src/config.ts'
import {
  type Authority,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
} from '../../src/identity/mint.ts'
import { writeCredential } from '../../src/identity/pem.ts'

/** What of oidc-provider is used; it comes without types. */
interface Provider {
  callback(): (request: IncomingMessage, response: ServerResponse) => void
}
type ProviderClass = new (issuer: string, configuration: object) => Provider

const NAME: string = 'oidc-provider'
const { default: OidcProvider } = (await import(NAME)) as { default: ProviderClass }

export const AUDIENCE = 'https://karst.example.org/'

/** A key that the provider signs with, private part and all. */
export async function providerKey(kid: string, alg = 'RS256'): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' }
}

/** The provider. Clients `alice`, `bob` and `eve` may ask for tokens in their own name. */
export class OidcServer {
  readonly #server: Server
  #provider: Provider | undefined

  constructor(server: Server) {
    this.#server = server
    server.on('request', (asked: IncomingMessage, response: ServerResponse) => {
      if (this.#provider === undefined) asked.socket.destroy()
      else this.#provider.callback()(asked, response)
    })
  }

  static async start(authority: Authority): Promise<OidcServer> {
    const host = await issueServerCertificate(authority, ['localhost'])
    const server = createServer({ key: host.key, cert: host.certificate })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new OidcServer(server)
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`
  }

  /** Signs with the first of the keys, and publishes all of them. Without any it answers nothing. */
  rotate(...keys: JWK[]): void {
    const [first] = keys
    if (first === undefined) {
      this.#provider = undefined
      return
    }
    const client = (name: string): object => ({
      client_id: name,
      client_secret: `${name}-secret`,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: first.alg,
    })
    const getResourceServerInfo = (_: unknown, audience: string): object => ({
      audience,
      scope: 'storage',
      accessTokenFormat: 'jwt',
      accessTokenTTL: 600,
      jwt: { sign: { alg: first.alg, kid: first.kid } },
    })
    this.#provider = new OidcProvider(this.url, {
      jwks: { keys },
      clients: ['alice', 'bob', 'eve'].map(client),
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: { enabled: true, getResourceServerInfo },
      },
      ttl: { ClientCredentials: 600 },
    })
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

export interface Asking {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
  /** PEM file of a client certificate */
  readonly certificate?: string
}

export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), 'karst-oidc-'))
  readonly ca = join(this.folder, 'ca.pem')
  readonly log = join(this.folder, 'gateway.log')
  readonly #oidc: OidcServer
  readonly #authority: Authority
  #gateway: Gateway | undefined
  url = ''

  constructor(oidc: OidcServer, authority: Authority) {
    this.#oidc = oidc
    this.#authority = authority
  }

  static async start(): Promise<Site> {
    const authority = await mintDevelopmentCa('site')
    const site = new Site(await OidcServer.start(authority), authority)
    writeFileSync(site.ca, authority.certificate)
    return site
  }

  get oidc(): OidcServer {
    return this.#oidc
  }

  /** A gateway that believes the provider; alice and bob are its clients of that name, and alice has a certificate too. */
  async serve(more: Partial<ConfigDocument> = {}): Promise<void> {
    const port = await freePort()
    this.url = `https://localhost:${port}/karst`
    await writeCredential(join(this.folder, 'host.pem'), await issueServerCertificate(this.#authority, ['localhost']))
    const tree = join(this.folder, 'tree')
    mkdirSync(tree, { recursive: true })
    const user = (name: string): NonNullable<ConfigDocument['users']>[number] => ({
      name,
      x509: [`/O=site/CN=${name}`],
      oidc: [`${this.oidc.url} ${name}`],
    })
    const document: ConfigDocument = {
      service: { resourceId: 'ivo://karst.local/karst', url: this.url },
      tls: { certificate: 'host.pem', key: 'host.pem' },
      trust: ['ca.pem'],
      tokens: [{ issuer: this.oidc.url, audience: AUDIENCE, ca: 'ca.pem' }],
      state: 'state',
      backends: { disk: { type: 'posix', root: 'tree', mode: 'unprivileged' } },
      namespace: [{ path: '/', backend: 'disk' }],
      allocations: ['/home'],
      users: [user('alice'), user('bob')],
      ...more,
    }
    this.#gateway = await startGateway(readConfig(document, this.folder), { logFile: this.log })
    const access = { isPublic: true }
    await this.#gateway.provision([
      { path: '/home' as never, owner: undefined, access },
      { path: '/home/alice' as never, owner: 'alice', access: {} },
      { path: '/home/bob' as never, owner: 'bob', access: {} },
    ])
  }

  async certificate(name: string): Promise<string> {
    const file = join(this.folder, `${name}.pem`)
    await writeCredential(
      file,
      await issueUserCertificate(
        this.#authority,
        [
          ['O', 'site'],
          ['CN', name],
        ],
        1,
        'ec',
      ),
    )
    return file
  }

  /** As SIGHUP does. */
  async reload(): Promise<void> {
    await this.#gateway?.reload()
  }

  /** A token that the provider gives a client for a resource (RFC 8707). */
  async token(name: string, resource = AUDIENCE): Promise<string> {
    const basic = Buffer.from(`${name}:${name}-secret`).toString('base64')
    const reply = await this.ask(`${this.oidc.url}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: `grant_type=client_credentials&scope=storage&resource=${encodeURIComponent(resource)}`,
    })
    const { access_token: token } = JSON.parse(reply.text) as { access_token?: string }
    if (token === undefined) throw new Error(reply.text)
    return token
  }

  /** One request on a connection of its own; `target` below the service, or a URL. */
  ask(target: string, { method = 'GET', headers = {}, body, certificate }: Asking = {}): Promise<Reply> {
    const url = target.startsWith('https://') ? target : this.url + target
    const pem = certificate === undefined ? {} : { cert: readFileSync(certificate), key: readFileSync(certificate) }
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: false as const, ca: readFileSync(this.ca), ...pem }
      const sent = request(url, options, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        response.on('error', reject)
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }

  async as(token: string, target: string, asking: Asking = {}): Promise<Reply> {
    return this.ask(target, { ...asking, headers: { ...asking.headers, authorization: `Bearer ${token}` } })
  }

  async stop(): Promise<void> {
    await this.#gateway?.close()
    this.oidc.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
