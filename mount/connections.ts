/** The TLS connections to one gateway: a bounded pool with a client certificate that is read again when its file changes. */
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import { Pool } from 'undici'
import { Fault } from '../src/vospace/fault.ts'

/** What pino and every logger like it has. */
export interface Logger {
  warn(fields: object, message: string): void
}

export interface ConnectionsOptions {
  /** scheme, host and port */
  readonly origin: string
  /** PEM file: certificate, key, chain */
  readonly certificate: string
  /** PEM file of the authorities that the gateway's certificate may come from; the runtime's own without it */
  readonly ca?: string
  /** seconds to wait for a connection, and between two parts of an answer */
  readonly patience: number
  readonly logger: Logger
}

/** At most so many requests at once; the rest wait for their turn. Bytes and names apart: `ls` does not wait for a large copy. */
const BULK_CONNECTIONS = 12
const PROMPT_CONNECTIONS = 6
/** milliseconds between two looks at the certificate's file */
const LOOK_INTERVAL = 1000
/** milliseconds; a handshake with client certificates costs far more than an idle connection */
const KEEP_ALIVE = 60_000

interface Pools {
  readonly bulk: Pool
  readonly prompt: Pool
}

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #drained = new Set<Promise<void>>()
  #pools: Pools | undefined
  #stamp = ''
  #looked = -Infinity
  #looking: Promise<boolean> | undefined
  #closed = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** The pool of the certificate as it is now. NotAuthenticated when there has never been a usable one. */
  async pool(isBulk: boolean): Promise<Pool> {
    const isTime = this.#pools === undefined || performance.now() - this.#looked >= LOOK_INTERVAL
    if (isTime && !this.#closed) await this.look()
    if (this.#pools === undefined) throw new Fault('ServiceBusy', 'the client is closed', { errno: 'EIO' })
    return isBulk ? this.#pools.bulk : this.#pools.prompt
  }

  /** Looks at the files now; true when new connections will use another certificate than before. */
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

  async #reload(): Promise<boolean> {
    try {
      const stamp = await this.#stampNow()
      if (stamp === this.#stamp) return false
      const context = await this.#context()
      if (this.#closed) return false
      this.#drain()
      this.#pools = {
        bulk: this.#newPool(context, BULK_CONNECTIONS),
        prompt: this.#newPool(context, PROMPT_CONNECTIONS),
      }
      this.#stamp = stamp
      return true
    } catch (error) {
      const { certificate, logger } = this.#options
      if (this.#pools === undefined) {
        throw new Fault('NotAuthenticated', `certificate ${certificate}: ${String(error)}`, { cause: error })
      }
      // A renewal may be half written: the old one serves until the next look.
      logger.warn({ err: error, certificate }, 'certificate not usable, keeping the one before')
      return false
    }
  }

  async #stampNow(): Promise<string> {
    const { certificate, ca } = this.#options
    const files = ca === undefined ? [certificate] : [certificate, ca]
    const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })))
    return stats.map(({ mtimeNs, size, ino }) => `${String(mtimeNs)}.${String(size)}.${String(ino)}`).join(' ')
  }

  async #context(): Promise<SecureContext> {
    const { certificate, ca } = this.#options
    const pem = await readFile(certificate)
    return createSecureContext({ cert: pem, key: pem, ...(ca !== undefined && { ca: await readFile(ca) }) })
  }

  #newPool(secureContext: SecureContext, connections: number): Pool {
    const { origin, patience } = this.#options
    return new Pool(origin, {
      connections,
      keepAliveTimeout: KEEP_ALIVE,
      // Sessions are not resumed: the gateway reads the certificate chain once a connection.
      maxCachedSessions: 0,
      connect: { secureContext, timeout: Math.min(10_000, patience * 1000), maxCachedSessions: 0 },
    })
  }

  /** The requests under way end on the old connections, which then close. */
  #drain(): void {
    for (const pool of Object.values(this.#pools ?? {}) as Pool[]) {
      const closing = pool
        .close()
        .catch((error: unknown) => this.#options.logger.warn({ err: error }, 'closing old connections'))
        .finally(() => this.#drained.delete(closing))
      this.#drained.add(closing)
    }
    this.#pools = undefined
  }
}
