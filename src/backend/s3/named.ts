/**
 * Objects that others know by their keys: written in place, each only over the version that is known, and deleted only as that version. What a
 * killed gateway has written of them stays, whole; the next import finds it.
 */
import { type Catalog, type NodeRow } from '../../store/catalog.ts'
import { type Intent, type NamedObject } from '../../store/catalog-intents.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Bucket, type ObjectHead, type Over } from './bucket.ts'
import { type NoteUpload } from './upload.ts'

/** Where such an object is, and which import it is of. */
export interface Named {
  readonly import: number
  readonly bucket: string
  readonly key: string
}

export class NamedObjects {
  readonly #bucket: Bucket
  readonly #catalog: Catalog
  /** the last thing that is done to an object, by its name */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(bucket: Bucket, catalog: Catalog) {
    this.#bucket = bucket
    this.#catalog = catalog
  }

  bucket(name: string): Bucket {
    return this.#bucket.named(name)
  }

  /** The bucket that has the object of a node. */
  bucketOf({ import: id }: NodeRow): Bucket {
    if (id === null) return this.#bucket
    const found = this.#catalog.imports.byId(id)
    if (found === undefined) throw new Fault('InternalFault', 'a node is of an import that is not there')
    return this.#bucket.named(found.bucket)
  }

  /** One write: `known` as in Over. What is left of an upload is taken back by whoever began it, or found by the next gateway. */
  async writing<T>(named: Named, known: () => string | null, write: (bucket: Bucket, over: Over, note: NoteUpload) => Promise<T>): Promise<T> {
    const { intents } = this.#catalog
    const { bucket, key } = named
    let noted: string | undefined
    const over: Over = {
      known,
      alone: (work) =>
        this.#alone(named, async () => {
          const doomed = intents.discarded({ bucket, key })
          if (doomed !== undefined) await this.#finish(doomed)
          return work()
        }),
    }
    try {
      return await write(this.bucket(bucket), over, (upload) => {
        noted = intents.beginNamed({ bucket, key, etag: null }, upload)
      })
    } finally {
      if (noted !== undefined) intents.end(noted)
    }
  } // prettier-ignore

  /** Within the transaction that takes the node. */
  discard({ import: id, key, etag }: Pick<NodeRow, 'import' | 'key' | 'etag'>): void {
    const found = id === null ? undefined : this.#catalog.imports.byId(id)
    if (found === undefined || key === null) return
    this.#catalog.intents.discardNamed({ bucket: found.bucket, key, etag })
  }

  /** What was written down of an object is done: the parts of an upload go, or the version that was discarded. */
  async finish(intent: Intent): Promise<void> {
    const { named } = intent
    if (named === undefined) return
    await this.#alone(named, async () => {
      const now = this.#catalog.intents.get(intent.key)
      if (now?.state === 'garbage') await this.#finish(now)
    })
  }

  async #finish({ key: label, named, upload }: Intent): Promise<void> {
    if (named === undefined) return
    const bucket = this.bucket(named.bucket)
    if (upload !== undefined) await bucket.abortUpload(named.key, upload)
    else {
      // what others have written since is theirs
      const there = await bucket.head(named.key)
      if (there !== undefined && there.etag === named.etag) await bucket.remove(named.key, there.etag)
    }
    this.#catalog.intents.end(label)
  }

  /** What the server has now of a node's object; undefined: none. */
  async look(row: NodeRow): Promise<ObjectHead | undefined> {
    return row.key === null ? undefined : this.bucketOf(row).head(row.key)
  }

  async #alone<T>({ bucket, key }: Pick<NamedObject, 'bucket' | 'key'>, work: () => Promise<T>): Promise<T> {
    const name = `${bucket}/${key}`
    const before = this.#turns.get(name)
    const mine = before === undefined ? work() : before.then(work, work)
    this.#turns.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#turns.get(name) === mine) this.#turns.delete(name)
    }
  }
}
