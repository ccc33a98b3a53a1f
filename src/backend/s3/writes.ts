/** What every write of bytes goes by: an object first, and then its node in one commit. */
import { randomBytes } from 'node:crypto'
import { type NodeRow } from '../../store/catalog.ts'
import { isFault } from '../../vospace/fault.ts'
import { type Bucket, type Over } from './bucket.ts'
import { type Garbage } from './garbage.ts'
import { type Named, type NamedObjects } from './named.ts'
import { type Stored, type Tree } from './tree.ts'
import { type NoteUpload } from './upload.ts'

export interface WritesOptions {
  readonly tree: Tree
  readonly garbage: Garbage
  readonly named: NamedObjects
  /** of the keys that are ours */
  readonly prefix: string
}

type Written = Omit<Stored, 'key'>

export class Writes {
  readonly #options: WritesOptions
  #stopped = false

  constructor(options: WritesOptions) {
    this.#options = options
  }

  /** What is under way from now on is found by the next start. */
  stop(): void {
    this.#stopped = true
  }

  /** An object of ours is written down before it is there; a failure leaves garbage that is known as such. */
  async own<T>(write: (key: string, note: NoteUpload) => Promise<Written>, commit: (object: Stored) => T): Promise<T> {
    const { tree, garbage, prefix } = this.#options
    const { intents } = tree.catalog
    const key = newKey(prefix)
    intents.begin(key)
    try {
      const written = await write(key, (id) => intents.upload(key, id))
      const object = { ...written, key: written.etag === null ? null : key }
      return tree.catalog.transaction(() => {
        if (object.key === null) intents.settle(key)
        const done = commit(object)
        // others have written the node meanwhile, and no node has this object
        if (done === false) garbage.discard(key, 0)
        return done
      })
    } catch (error) {
      if (!this.#stopped) garbage.fail(key)
      throw error
    }
  }

  /** An object that others know is written over the version that is known, and nothing of it is ever taken back. `known` as in Over. */
  async named<T>(
    { named, known }: { readonly named: Named; readonly known: () => string | null },
    write: (bucket: Bucket, over: Over, note: NoteUpload) => Promise<Written>,
    commit: (object: Stored) => T,
  ): Promise<T> {
    const { tree, named: objects } = this.#options
    try {
      const written = await objects.writing(named, known, write)
      return tree.catalog.transaction(() => commit({ ...written, key: named.key, import: named.import }))
    } catch (error) {
      const row = this.#stopped ? undefined : tree.catalog.imports.withKey(named.import, named.key)
      if (isFault(error, 'PreconditionFailed') && row !== undefined) await this.isRefreshed(row)
      throw error
    }
  }

  /** Whether the object of a node, one that others know, is another than the catalog says; then that is put right. */
  async isRefreshed(row: NodeRow): Promise<boolean> {
    if (row.import === null) return false
    const { tree, named } = this.#options
    const there = await named.look(row)
    if (there === undefined || there.etag === row.etag) return false
    return tree.catalog.transaction(() => {
      const now = tree.catalog.byId(row.id)
      if (now?.etag === row.etag && now.key === row.key) tree.refresh(now, there, named.bucketOf(row).md5In(there.etag))
      return true
    })
  }
}

/** Says nothing of what it holds. */
export function newKey(prefix: string): string {
  return `${prefix}${randomBytes(18).toString('base64url')}`
}
