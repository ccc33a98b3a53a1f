/** Objects that no node has any more: deleted once nobody reads them, and again until the server has done it. */
import { type Catalog, type NodeRow } from '../../store/catalog.ts'
import { type Intent } from '../../store/catalog-intents.ts'
import { type Bucket } from './bucket.ts'
import { type NamedObjects } from './named.ts'

export interface GarbageLog {
  warn(fields: object, text: string): void
}

export interface GarbageOptions {
  readonly catalog: Catalog
  readonly bucket: Bucket
  /** seconds that an object stays after its node went: for who reads it through another gateway */
  readonly graceSeconds: number
  readonly named: NamedObjects
  readonly log?: GarbageLog | undefined
}

const EVERY_MS = 30_000
/** Objects deleted at once, and looked up at once. */
const AT_ONCE = 8
const LOT = 500
/** A request that nobody waits for any more (a gateway has died, or has given up) may be carried out late: its object is deleted again so long after. */
const LATE_MS = 60_000

export class Garbage {
  readonly #options: GarbageOptions
  readonly #readers = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  #again = false

  constructor(options: GarbageOptions) {
    this.#options = options
  }

  start(): void {
    this.#options.catalog.intents.bury(Date.now())
    this.#timer = setInterval(() => {
      this.#keep()
      this.#kick()
    }, EVERY_MS)
    this.#timer.unref()
    this.#kick()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#sweeping
  }

  /** Within the transaction that takes the node of an object from it. One that others know goes at once: its key is to be free. */
  drop(row: Pick<NodeRow, 'import' | 'key' | 'etag'>): void {
    if (row.key === null) return
    if (row.import === null) return this.discard(row.key)
    this.#options.named.discard(row)
    setImmediate(() => this.#kick())
  }

  /** An object of ours that has no node any more, or has got none. */
  discard(key: string, graceSeconds: number = this.#options.graceSeconds): void {
    this.#options.catalog.intents.discard(key, Date.now() + graceSeconds * 1000)
    if (graceSeconds === 0) setImmediate(() => this.#kick())
  }

  /** An object whose write has failed here: the server may still be at it. */
  fail(key: string): void {
    this.#options.catalog.intents.fail(key, Date.now())
    setImmediate(() => this.#kick())
  }

  /** Keeps an object for a reader of this process; answers how to end that. */
  hold(key: string): () => void {
    this.#readers.set(key, (this.#readers.get(key) ?? 0) + 1)
    return () => {
      const left = (this.#readers.get(key) ?? 1) - 1
      if (left > 0) return void this.#readers.set(key, left)
      this.#readers.delete(key)
      this.#kick()
    }
  }

  /** Deletes what is due, and resolves when that is done. What fails is told to the log and stays due. */
  async sweep(): Promise<void> {
    const { catalog, log } = this.#options
    catalog.intents.bury(Date.now())
    const due = catalog.intents.due(Date.now(), LOT).filter(({ key }) => !this.#readers.has(key))
    const queue = due.values()
    const failed: unknown[] = []
    const work = async (): Promise<void> => {
      for (const intent of queue) {
        try {
          await this.#remove(intent)
        } catch (error) {
          failed.push(error)
          catalog.intents.postpone(intent.key, Date.now() + EVERY_MS)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    if (failed.length === 0) return
    log?.warn({ err: failed[0], failed: failed.length }, 'objects could not be deleted; tried again later')
  }

  async #remove(intent: Intent): Promise<void> {
    const { key, state, upload, foreign, named } = intent
    const { catalog, bucket } = this.#options
    if (named !== undefined) return this.#options.named.finish(intent)
    if (upload !== undefined) await bucket.abortUpload(key, upload)
    // who died may not have come to write down which upload it was
    else if (foreign) for await (const found of bucket.uploads(key)) await bucket.abortUpload(found.key, found.upload)
    await bucket.remove(key)
    if (foreign && state === 'garbage') catalog.intents.later(key, Date.now() + LATE_MS)
    else catalog.intents.forget(key)
  }

  // not within a sweep, which takes as long as the server does
  #keep(): void {
    const { catalog, log } = this.#options
    try {
      catalog.intents.keep(Date.now())
    } catch (error) {
      log?.warn({ err: error }, 'the catalog could not be told what is being written; tried again later')
    }
  }

  #kick(): void {
    if (this.#timer === undefined) return
    this.#again = true
    this.#sweeping ??= this.#run().finally(() => (this.#sweeping = undefined))
  }

  async #run(): Promise<void> {
    while (this.#again && this.#timer !== undefined) {
      this.#again = false
      try {
        await this.sweep()
      } catch (error) {
        this.#options.log?.warn({ err: error }, 'the catalog could not be swept; tried again later')
      }
    }
  }
}
