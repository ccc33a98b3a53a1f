/** Makes durable, off the event loop and for many at a time, what a connection without fsyncs has committed to its write-ahead log. */
import { close, fdatasync, open } from 'node:fs'
import { promisify } from 'node:util'
import { Fault } from '../vospace/fault.ts'

const opened = promisify(open)
const synced = promisify(fdatasync)
const closed = promisify(close)

/** Milliseconds within which what nobody waits for is on its way to the disk. */
const SOON_MS = 10

export class WalSync {
  readonly #file: string
  #fd: Promise<number | undefined> | undefined
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** of a sync that nobody waited for */
  #failure: Error | undefined

  /** `file` is the database; one in memory has nothing to sync. */
  constructor(file: string) {
    this.#file = file
  }

  /** Resolves when all that was committed before the call survives a power cut. InternalFault (EIO) where the disk refuses. */
  now(): Promise<void> {
    this.#rest()
    const before = this.#running
    if (before === undefined) return this.#begin()
    // it may have passed by what was committed since it began: all who come now share the one after it
    this.#next ??= before
      .catch(() => undefined) // whoever waits for it has the error
      .then(() => {
        this.#next = undefined
        return this.#begin()
      })
    return this.#next
  }

  /** The same within 10 ms, for what is not waited for. */
  soon(): void {
    this.#timer ??= setTimeout(() => {
      this.now().catch((error: unknown) => (this.#failure = error as Error))
    }, SOON_MS).unref()
  }

  /** Ends when what is under way has ended. Syncs nothing: SQLite does, as it closes. */
  async close(): Promise<void> {
    this.#rest()
    await (this.#next ?? this.#running)?.catch(() => undefined) // whoever waits for it has the error
    const fd = await this.#fd?.catch(() => undefined) // as above
    this.#fd = Promise.resolve(undefined)
    if (fd !== undefined) await closed(fd)
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #begin(): Promise<void> {
    const running = this.#sync().finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #sync(): Promise<void> {
    try {
      if (this.#failure !== undefined) throw this.#failure
      const fd = await (this.#fd ??= this.#open())
      if (fd !== undefined) await synced(fd)
    } catch (error) {
      this.#failure = undefined
      const detail = `the store ${this.#file} cannot be made durable: ${String(error)}`
      throw new Fault('InternalFault', detail, { cause: error, errno: 'EIO' })
    }
  }

  /** The log stays the same file for as long as a connection is open; its descriptors hold no locks of SQLite's. */
  async #open(): Promise<number | undefined> {
    try {
      return this.#file === ':memory:' ? undefined : await opened(`${this.#file}-wal`, 'r')
    } catch (error) {
      this.#fd = undefined
      throw error
    }
  }
}
