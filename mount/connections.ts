/** The TLS connections to one gateway: a bounded pool, with a client certificate or a token that is read again when its file changes. */
import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import { Pool } from 'undici'
import { Fault } from '../src/vospace/fault.ts'
import { RangePool } from './range-pool.ts'

/** What pino and every logger like it has. */
export interface Logger {
  warn(fields: object, message: string): void
}

export interface ConnectionsOptions {
  /** scheme, host and port */
  readonly origin: string
  /** PEM file: certificate, key, chain */
  readonly certificate?: string | undefined
  /** file of a bearer token and nothing else; one of the two, or both, and then the token counts */
  readonly tokenFile?: string | undefined
  /** says in every request that the mount is a trusted one */
  readonly trusted?: boolean
  /** PEM file of the authorities that the gateway's certificate may come from; the runtime's own without it */
  readonly ca?: string
  /** seconds to wait for a connection, and between two parts of an answer */
  readonly patience: number
  readonly logger: Logger
}

/** At most so many requests at once; the rest wait for their turn. Bytes and names apart: `ls` does not wait for a large copy. */
const BULK_CONNECTIONS = 12
const RANGE_CONNECTIONS = 8
const PROMPT_CONNECTIONS = 6
/** Locks and changes are waited for; more than are ever asked for at a time. */
const WAITING_CONNECTIONS = 24
/** Uploads of files that are still being written; no more are begun at a time. */
export const GROWING_CONNECTIONS = 4
/** milliseconds between two looks at the credential's file */
const LOOK_INTERVAL = 1000
/** milliseconds; a handshake with client certificates costs far more than an idle connection */
const KEEP_ALIVE = 60_000

/** milliseconds to a gateway and back, below which more connections than one are of no use to a reader */
const NEAR = 5

/** bytes; what a gateway takes */
const LONGEST_TOKEN = 16 << 10
/** RFC 6750, section 2.1 */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/

interface Pools {
  /** what is read of files */
  readonly ranges: RangePool
  readonly bulk: Pool
  readonly prompt: Pool
  readonly waiting: Pool
  readonly growing: Pool
}

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #drained = new Set<Promise<void>>()
  #pools: Pools | undefined
  #stamp = ''
  #tokenStamp = ''
  #token: string | undefined
  #looked = -Infinity
  #looking: Promise<boolean> | undefined
  #closed = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Whether one connection carries all that there is processor for; not before something has been read. */
  get isNear(): boolean {
    return this.#pools !== undefined && this.#pools.ranges.distance < NEAR
  }

  /** What every request has with it, of the token as it was at the last look. */
  get authorization(): { readonly authorization?: string; readonly 'karst-trusted'?: string } {
    return {
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      ...(this.#options.trusted === true && { 'karst-trusted': '1' }),
    }
  }

  /** The pool of the credential as it is now. NotAuthenticated when there has never been a usable one. */
  async pool<K extends keyof Pools>(which: K): Promise<Pools[K]> {
    const isTime = this.#pools === undefined || performance.now() - this.#looked >= LOOK_INTERVAL
    if (isTime && !this.#closed) await this.look()
    if (this.#pools === undefined) throw new Fault('ServiceBusy', 'the client is closed', { errno: 'EIO' })
    return this.#pools[which]
  }

  /** Looks at the files now; true when requests from now on will show another credential than before. */
  look(): Promise<boolean> {
    this.#looking ??= this.#reload().finally(() => {
      this.#looked = performance.now()
      this.#looking = undefined
    })
    return this.#looking
  }

  /** Ends when the requests under way have ended. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#looking?.catch(() => false) // whoever started that look has its error
    this.#drain()
    await Promise.all(this.#drained)
  }

  /** Cuts everything: what is under way fails, and nothing comes after it. */
  destroy(): void {
    this.#closed = true
    for (const pool of Object.values(this.#pools ?? {}) as (Pool | RangePool)[]) {
      // who waited for an answer has the error
      pool.destroy().catch(() => undefined)
    }
    this.#pools = undefined
  }

  async #reload(): Promise<boolean> {
    const { certificate, tokenFile } = this.#options
    const isToken = await this.#usable('token', tokenFile, this.#token !== undefined, () => this.#readToken())
    const isOther = await this.#usable('certificate', certificate ?? this.#options.ca, this.#pools !== undefined, () =>
      this.#connect(),
    )
    return isToken || isOther
  }

  /** What `read` says; where it fails, what there was before serves on, if there was something. */
  async #usable(
    what: string,
    file: string | undefined,
    isKept: boolean,
    read: () => Promise<boolean>,
  ): Promise<boolean> {
    try {
      return await read()
    } catch (error) {
      if (!isKept) throw new Fault('NotAuthenticated', unusable(what, file, error), { cause: error })
      // A renewal may be half written: the old one serves until the next look.
      this.#options.logger.warn({ err: error, file }, `${what} not usable, keeping the one before`)
      return false
    }
  }

  async #readToken(): Promise<boolean> {
    const { tokenFile } = this.#options
    if (tokenFile === undefined) return false
    const stamp = await stampOf([tokenFile])
    if (stamp === this.#tokenStamp) return false
    const token = (await readFile(tokenFile, 'utf8')).trim()
    if (token.length > LONGEST_TOKEN || !TOKEN.test(token)) throw new Error('not a bearer token')
    this.#tokenStamp = stamp
    this.#token = token
    return true
  }

  async #connect(): Promise<boolean> {
    const { certificate, ca } = this.#options
    const stamp = await stampOf([certificate, ca])
    if (this.#pools !== undefined && stamp === this.#stamp) return false
    const context = await this.#context()
    if (this.#closed) return false
    this.#drain()
    this.#pools = {
      ranges: this.#newRanges(context),
      bulk: this.#newPool(context, BULK_CONNECTIONS),
      prompt: this.#newPool(context, PROMPT_CONNECTIONS),
      waiting: this.#newPool(context, WAITING_CONNECTIONS),
      growing: this.#newPool(context, GROWING_CONNECTIONS),
    }
    this.#stamp = stamp
    return true
  }

  async #context(): Promise<SecureContext> {
    const { certificate, ca } = this.#options
    const pem = certificate === undefined ? undefined : await readFile(certificate)
    return createSecureContext({
      ...(pem !== undefined && { cert: pem, key: pem }),
      ...(ca !== undefined && { ca: await readFile(ca) }),
    })
  }

  #newPool(secureContext: SecureContext, connections: number): Pool {
    return new Pool(this.#options.origin, {
      connections,
      keepAliveTimeout: KEEP_ALIVE,
      // Sessions are not resumed: the gateway reads the certificate chain once a connection.
      maxCachedSessions: 0,
      connect: { secureContext, timeout: this.#connectTimeout, maxCachedSessions: 0 },
    })
  }

  #newRanges(secureContext: SecureContext): RangePool {
    const { hostname, port, host } = new URL(this.#options.origin)
    // of an IPv6 address a URL has brackets, and a name in the handshake is no address (RFC 6066, section 3)
    const name = hostname.replace(/^\[|\]$/g, '')
    const tls = {
      ...{ host: name, port: Number(port === '' ? 443 : port), secureContext },
      ...(isIP(name) === 0 && { servername: name }),
    }
    const connectTimeout = this.#connectTimeout
    return new RangePool({ host, tls, connectTimeout, keepAlive: KEEP_ALIVE }, RANGE_CONNECTIONS)
  }

  /** Milliseconds. */
  get #connectTimeout(): number {
    return Math.min(10_000, this.#options.patience * 1000)
  }

  /** The requests under way end on the old connections, which then close. */
  #drain(): void {
    for (const pool of Object.values(this.#pools ?? {}) as (Pool | RangePool)[]) {
      const closing = pool
        .close()
        .catch((error: unknown) => this.#options.logger.warn({ err: error }, 'closing old connections'))
        .finally(() => this.#drained.delete(closing))
      this.#drained.add(closing)
    }
    this.#pools = undefined
  }
}

/** What is the matter with a credential or the CA that came with it. */
function unusable(what: string, file = '', error: unknown): string {
  const { code = '', path, message } = error as NodeJS.ErrnoException
  if (path !== undefined) return `${path} cannot be read (${code}): name another file`
  const wanted = code.startsWith('ERR_OSSL') ? 'a certificate and its key are expected there, in PEM' : message
  return `${what} ${file}: ${wanted}`
}

/** Tells whether files have been written anew; those that are not named do not count. */
async function stampOf(files: readonly (string | undefined)[]): Promise<string> {
  const named = files.filter((file) => file !== undefined)
  const stats = await Promise.all(named.map((file) => stat(file, { bigint: true })))
  return stats.map(({ mtimeNs, size, ino }) => `${String(mtimeNs)}.${String(size)}.${String(ino)}`).join(' ')
}
