/** Objects that no node has any more: deleted once nobody reads them, and again until the server has done it. */
import { type Catalog } from '../../store/catalog.ts'
import { type Intent } from '../../store/catalog-intents.ts'
import { type Bucket } from './bucket.ts'

export interface GarbageLog {
  warn(fields: object, text: string): void
}

export interface GarbageOptions {
  readonly catalog: Catalog
  readonly bucket: Bucket
  /** seconds that an object stays after its node went: for who reads it through another gateway */
  readonly graceSeconds: number
  readonly isOurs: (key: string) => boolean
  readonly log?: GarbageLog | undefined
}

const EVERY_MS = 30_000
/** Objects deleted at once, and looked up at once. */
const AT_ONCE = 8
const LOT = 500
/** What a gateway left that died with a request on its way may appear late: it is deleted again so long after. */
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

  /** Within the transaction that takes the node of an object from it. Objects under keys of others stay. */
  discard(key: string, graceSeconds: number = this.#options.graceSeconds): void {
    if (!this.#options.isOurs(key)) return
    this.#options.catalog.intents.discard(key, Date.now() + graceSeconds * 1000)
    if (graceSeconds === 0) setImmediate(() => this.#kick())
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
    const work = async (): Promise<void> => {
      for (const intent of queue) await this.#remove(intent)
    }
    const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work))
    const failed = ended.find((one) => one.status === 'rejected')
    if (failed !== undefined)
      log?.warn({ err: failed.reason as unknown }, 'objects could not be deleted; tried again later')
  }

  async #remove({ key, since, upload, foreign }: Intent): Promise<void> {
    const { catalog, bucket } = this.#options
    if (upload !== undefined) await bucket.abortUpload(key, upload)
    // who died may not have come to write down which upload it was
    else if (foreign) for await (const found of bucket.uploads(key)) await bucket.abortUpload(found.key, found.upload)
    await bucket.remove(key)
    if (!foreign || since < Date.now() - LATE_MS) catalog.intents.forget(key)
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
