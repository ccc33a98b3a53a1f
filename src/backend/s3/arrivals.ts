/**
 * Objects that clients put themselves. Each has a key of its own, which no node ever has: its URL can be used again until its end. So what has
 * come is copied by the server to a fresh key, gets its node there, and the key that it came to is emptied, as often as something comes.
 */
import { randomBytes } from 'node:crypto'
import { type ArrivalRow, type ArrivalRows } from '../../store/catalog-arrivals.ts'
import { type Catalog } from '../../store/catalog.ts'
import { Fault, isFault, type FaultName } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { nodePath, type NodePath } from '../../vospace/path.ts'
import { type Arrival, type ArrivalEnd, type Arrivals, type Awaited, type Judge } from '../backend.ts'
import { type ComposeSettings } from './amend.ts'
import { type Bucket } from './bucket.ts'
import { copyObject } from './copy.ts'
import { type PushUrls } from './push-urls.ts'
import { type Opened } from './opened.ts'
import { EMPTY_MD5 } from './upload.ts'

export interface ArrivalsOptions {
  readonly bucket: Bucket
  /** of the keys that are ours */
  readonly prefix: string
  readonly urls: PushUrls
  readonly settings: ComposeSettings
  /** seconds that a put which was begun in time may take */
  readonly lateSeconds: number
}

/** What every server takes in one request. */
const MOST_BYTES = 5 * 2 ** 30
/** Awaited at a time, so that who negotiates without end fills no disk. */
const MOST = 10_000
/** Nodes that get their bytes at once. */
const AT_ONCE = 4
/** Between looks while nothing is awaited: at URLs that have been used once already more may come. */
const IDLE_MS = 60_000
/** What may be another a moment later. */
const PASSING: readonly FaultName[] = ['ServiceBusy', 'NodeBusy', 'InternalFault', 'TransferFailed']

/** No key of a node's object has a dot after the prefix. */
const arrivalPrefix = (prefix: string): string => `${prefix}arrival.`
export const arrivalKey = (prefix: string): string => `${arrivalPrefix(prefix)}${randomBytes(18).toString('base64url')}`

export class S3Arrivals implements Arrivals {
  readonly #open: () => Opened
  readonly #options: ArrivalsOptions
  /** one after the other for each node, so that the last to come is the last to be taken */
  readonly #turns = new Map<string, Promise<void>>()
  /** when all was looked at last */
  #swept = 0

  constructor(open: () => Opened, options: ArrivalsOptions) {
    this.#open = open
    this.#options = options
  }

  get #rows(): ArrivalRows {
    return this.#open().tree.catalog.arrivals
  }

  async expect({ path, job, length, md5 }: Omit<Awaited, 'token'>, issue: (seconds: number) => string): Promise<URL> {
    const { urls, bucket, prefix, lateSeconds } = this.#options
    const no = (why: string): Fault => new Fault('OperationNotSupported', why)
    if (this.#open().tree.named.covers(path)) throw no('others know the objects of an import')
    if ((length ?? 0) > MOST_BYTES) throw no('more than one request can bring')
    if (md5 !== undefined && !bucket.tellsMd5) throw no('nobody could say what MD5 has come')
    if (this.#rows.count() >= MOST) throw no('too many are awaited already')
    const key = arrivalKey(prefix)
    const url = await urls.url({ bucket: bucket.name, key })
    const announced = { length: length ?? null, md5: md5?.toLowerCase() ?? null }
    const seconds = urls.seconds + lateSeconds
    const whose = { token: issue(seconds), job: job ?? null }
    this.#rows.add({ key, path, ...whose, ...announced, until: Date.now() + seconds * 1000 })
    return url
  } // prettier-ignore

  isAwaited(path: NodePath): boolean {
    return this.#rows.at(path).length > 0
  }

  async settle(judge: Judge, of?: { readonly job: string } | { readonly path: NodePath }): Promise<void> {
    if (of === undefined) return this.#sweep(judge)
    const path = 'path' in of ? of.path : this.#rows.pathOf(of.job)
    if (path === undefined) return
    await this.#inTurn(path, async () => {
      const come = new Map<string, number>()
      for (const { key } of this.#rows.at(path)) await this.#look(key, come)
      await this.#settlePath(path, come, judge)
    })
  }

  async #sweep(judge: Judge): Promise<void> {
    const { bucket, prefix } = this.#options
    if (this.#rows.open() === 0 && Date.now() < this.#swept + IDLE_MS) return
    this.#swept = Date.now()
    const come = new Map<string, number>()
    await this.#look(arrivalPrefix(prefix), come)
    const open = this.#rows.all().filter(({ key, state }) => (state === 'awaited' ? come.has(key) : state !== 'over'))
    const paths = new Set(open.map(({ path }) => path)).values()
    const failed: unknown[] = []
    const work = async (): Promise<void> => {
      for (const path of paths) {
        await this.#inTurn(path, () => this.#settlePath(path, come, judge)).catch((error: unknown) => failed.push(error))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    await cleanArrivals(this.#open().tree.catalog, bucket, come.keys())
    if (failed.length > 0) throw failed[0]
  } // prettier-ignore

  /** Adds the keys that begin so and are there, and when each came: listed, for that is told finer than of one alone. */
  async #look(prefix: string, come: Map<string, number>): Promise<void> {
    for await (const page of this.#options.bucket.list(prefix)) for (const one of page) come.set(one.key, one.modified)
  }

  async #settlePath(path: string, come: ReadonlyMap<string, number>, judge: Judge): Promise<void> {
    const rows = this.#rows.at(path).filter(({ key, state }) => state !== 'awaited' || come.has(key))
    rows.sort((a, b) => (come.get(a.key) ?? 0) - (come.get(b.key) ?? 0))
    for (const row of rows) await this.#settleOne(row, judge)
  }

  async #settleOne(row: ArrivalRow, judge: Judge): Promise<void> {
    const { key } = row
    const take = (): Promise<ArrivalEnd | undefined> => this.#take(row, judge)
    const taken = (): Promise<ArrivalEnd | undefined> => judge.around?.(nodePath(row.path), take) ?? take()
    const end = row.state === 'awaited' ? await taken() : endOf(row)
    if (end === undefined) return
    judge.ended(awaitedOf(row), end)
    this.#rows.end(key)
    await this.#options.bucket.remove(key)
  }

  /** undefined: not now. */
  async #take(row: ArrivalRow, judge: Judge): Promise<ArrivalEnd | undefined> {
    const { bucket, settings } = this.#options
    const { tree, writes } = this.#open()
    const head = await bucket.head(row.key)
    if (head === undefined || row.until <= Date.now()) return undefined
    const { size, etag, type } = head
    const md5 = size === 0 ? EMPTY_MD5 : bucket.md5In(etag)
    const arrival: Arrival = { ...awaitedOf(row), size, ...(type !== undefined && { type }) }
    try {
      let options = await judge.permit(arrival)
      refuseOther(row, size, md5)
      const end = await writes.own(
        async (key, note) => {
          const source = { key: row.key, etag, size, md5: md5 ?? null }
          const copied = size === 0 ? { size, etag: null } : await copyObject(bucket, source, key, settings, { note, signal: undefined }) // prettier-ignore
          // it may have taken a while
          options = await judge.permit(arrival)
          return { ...copied, ...(md5 !== undefined && { md5 }) }
        },
        (object): { entry: Entry; isNew: boolean } | false => {
          if (!tree.catalog.arrivals.take(row.key)) return false
          const path = nodePath(row.path)
          const isNew = tree.putTarget(path, options) === undefined
          return { entry: tree.commit(path, object, options), isNew }
        },
      )
      return end === false ? undefined : end
    } catch (error) {
      if (!isFault(error)) throw error
      // another object has come to the same key, or another process has taken this one
      if (error.fault === 'TransferFailed') return undefined
      if (PASSING.includes(error.fault)) throw error
      this.#rows.refuse(row.key, error.fault)
      return { fault: error.fault }
    }
  }

  async #inTurn(path: string, work: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(path) ?? Promise.resolve()
    const mine = before.then(work, work)
    this.#turns.set(path, mine)
    try {
      await mine
    } finally {
      if (this.#turns.get(path) === mine) this.#turns.delete(path)
    }
  }
}

/** Empties the keys, of those listed or of all that are known, that nothing is awaited at any more. What comes later is an orphan. */
export async function cleanArrivals(catalog: Catalog, bucket: Bucket, listed?: Iterable<string>): Promise<void> {
  const { arrivals } = catalog
  const now = Date.now()
  for (const key of listed ?? arrivals.all().map((row) => row.key)) {
    const row = arrivals.get(key)
    if (row?.state !== 'awaited' || row.until <= now) await bucket.remove(key)
  }
  arrivals.forget(now)
}

function endOf({ state, fault }: ArrivalRow): ArrivalEnd {
  return state === 'taken' ? { taken: true } : { fault: fault as FaultName }
}

function awaitedOf({ path, token, job, length, md5 }: ArrivalRow): Awaited {
  return {
    path: nodePath(path),
    token,
    ...(job !== null && { job }),
    ...(length !== null && { length }),
    ...(md5 !== null && { md5 }),
  }
}

function refuseOther(row: ArrivalRow, size: number, md5: string | undefined): void {
  if (row.length !== null && row.length !== size) throw new Fault('PreconditionFailed', `${size} bytes have come where ${row.length} were announced`)
  if (row.md5 !== null && row.md5 !== md5) throw new Fault('PreconditionFailed', 'the bytes have another MD5')
} // prettier-ignore
