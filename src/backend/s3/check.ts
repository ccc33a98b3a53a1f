/** Whether catalog and bucket agree, object by object; and what of it can be put right. */
import { existsSync } from 'node:fs'
import { type NodeRow } from '../../store/catalog.ts'
import { type ImportRow } from '../../store/catalog-imports.ts'
import { type Bucket, type ListedObject, type ObjectHead } from './bucket.ts'
import { lastOf } from './import.ts'
import { cleanArrivals } from './arrivals.ts'
import { claim, claimKey } from './claim.ts'
import { Fault } from '../../vospace/fault.ts'
import { openStore, type S3Options } from './opened.ts'
import { type Tree } from './tree.ts'

export interface Finding {
  /**
   * `orphan`: an object that no node has; `upload`: parts of one; `dangling`: a node whose object is gone, and with it its bytes;
   * `different`: a node whose object has other bytes than were written. Of what is imported, where nothing is ever repaired here: `gone` and
   * `stale`, when others have deleted or written an object since the last import.
   */
  readonly kind: 'orphan' | 'upload' | 'dangling' | 'different' | 'gone' | 'stale'
  /** of the object, or of the node where there is one */
  readonly what: string
  readonly repaired: boolean
}

export interface CheckOptions {
  /** Orphans and uploads are deleted, and dangling nodes removed; what is different stays. */
  readonly repair: boolean
  readonly found: (finding: Finding) => void
}

export interface CheckCounts {
  readonly objects: number
  /** known to go, or being written */
  readonly waiting: number
}

/** Rows that are looked at in one go. */
const LOT = 1000

/** Beside a running gateway too: what is being written is written down before it is there. Rejects when one of the two cannot be read, or is not of the other. */
export async function checkStore(options: S3Options, { repair, found }: CheckOptions): Promise<CheckCounts> {
  const { bucket, prefix } = options
  await bucket.probe()
  if (!existsSync(options.catalog)) throw new Fault('InternalFault', `there is no catalog ${options.catalog}`)
  const { tree, garbage, named } = openStore(options)
  try {
    await claim(options, tree.catalog)
    if (repair) await garbage.sweep()
    if (repair) await cleanArrivals(tree.catalog, bucket)
    const check = new Check(tree, bucket, repair, found)
    let objects = 0
    let last = ''
    for await (const listed of bucket.list(prefix)) {
      const page = listed.filter(({ key }) => isOurs(key, prefix))
      objects += page.length
      for (const object of page) await check.object(object)
      const end = page.at(-1)?.key
      if (end === undefined) continue
      await check.rows(last, end, new Set(page.map(({ key }) => key)))
      last = end
    }
    await check.rows(last, prefixEnd(prefix), new Set())
    for await (const { key, upload } of bucket.uploads(prefix)) if (isOurs(key, prefix)) await check.upload(key, upload)
    for (const one of tree.catalog.imports.all()) objects += await check.imported(one, named.bucket(one.bucket))
    return { objects, waiting: tree.catalog.intents.count() + tree.catalog.arrivals.count() }
  } finally {
    tree.catalog.close()
  }
}

class Check {
  readonly #tree: Tree
  readonly #bucket: Bucket
  readonly #repair: boolean
  readonly #found: (finding: Finding) => void

  constructor(tree: Tree, bucket: Bucket, repair: boolean, found: (finding: Finding) => void) {
    this.#tree = tree
    this.#bucket = bucket
    this.#repair = repair
    this.#found = found
  }

  async object({ key, size, etag }: ListedObject): Promise<void> {
    const { catalog } = this.#tree
    // it was listed before this, and a commit takes it from the one to the other: in none of them it never was
    const { row, isKnown } = catalog.transaction(() => ({
      row: catalog.withKey(key),
      isKnown: catalog.intents.has(key) || catalog.arrivals.has(key, Date.now()),
    }))
    if (row !== undefined && !isTheSame(row, { size, etag })) this.#tell('different', this.#nameOf(row), false)
    // what was listed as garbage may have gone since
    if (row !== undefined || isKnown || (await this.#bucket.head(key)) === undefined) return
    if (this.#repair) await this.#bucket.remove(key)
    this.#tell('orphan', key, this.#repair)
  } // prettier-ignore

  /** An import: what it has nodes of, as the server has it now. Answers how many objects there are. */
  async imported({ id, prefix }: ImportRow, bucket: Bucket): Promise<number> {
    let objects = 0
    let last = ''
    for await (const { objects: page, next } of bucket.pages(prefix, undefined)) {
      objects += page.length
      const listed = new Map(page.map((one) => [one.key, one]))
      const end = lastOf(last, page)
      const rows = this.#tree.catalog.imports.between(id, last, next === undefined ? undefined : end)
      for (const row of rows) if (row.type === 'data') await this.#compare(row, bucket, listed.get(row.key ?? ''))
      last = end
    }
    return objects
  }

  async #compare(row: NodeRow, bucket: Bucket, listed: ObjectHead | undefined): Promise<void> {
    const isSame = (there: ObjectHead): boolean => isTheSame(row, there)
    if (listed !== undefined && isSame(listed)) return
    const there = await bucket.head(row.key ?? '')
    // a gateway may have written it since the page was listed
    const now = this.#tree.catalog.byId(row.id)
    if (now?.etag !== row.etag || (there !== undefined && isSame(there))) return
    this.#tell(there === undefined ? 'gone' : 'stale', this.#nameOf(row), false)
  }

  async upload(key: string, upload: string): Promise<void> {
    if (this.#tree.catalog.intents.has(key)) return
    if (this.#repair) await this.#bucket.abortUpload(key, upload)
    this.#tell('upload', key, this.#repair)
  }

  /** Nodes with keys after `from`, up to `until`, whose objects are not among those listed. */
  async rows(from: string, until: string, listed: ReadonlySet<string>): Promise<void> {
    const { catalog } = this.#tree
    for (let after = from; ; ) {
      const lot = catalog.keyed(after, until, LOT)
      for (const row of lot) if (!listed.has(row.key ?? '')) await this.#missing(row)
      const last = lot.at(-1)?.key
      if (lot.length < LOT || last === undefined || last === null) return
      after = last
    }
  } // prettier-ignore

  async #missing(row: NodeRow): Promise<void> {
    // it may have been written since the page was listed
    if (row.key === null || (await this.#bucket.head(row.key)) !== undefined) return
    const { catalog } = this.#tree
    const name = this.#nameOf(row)
    const isStill = catalog.transaction(() => {
      const now = catalog.byId(row.id)
      if (now?.key !== row.key) return false
      if (this.#repair) this.#tree.drop(now, name)
      return true
    })
    if (isStill) this.#tell('dangling', name, this.#repair)
  }

  #nameOf(row: NodeRow): string {
    return this.#tree.pathOf(row.id) ?? `${row.name} (in the trash)`
  }

  #tell(kind: Finding['kind'], what: string, repaired: boolean): void {
    this.#found({ kind, what, repaired })
  }
}

/** Rows of copies that were made on Ceph before its answers were put right have the ETag without its quotes. */
const isTheSame = (row: NodeRow, there: Pick<ObjectHead, 'size' | 'etag'>): boolean =>
  row.size === there.size && row.etag?.replaceAll('"', '') === there.etag.replaceAll('"', '')

/** Our keys have no slash after the prefix: what is deeper belongs to another profile, whose prefix begins with this one. */
const isOurs = (key: string, prefix: string): boolean =>
  key !== claimKey(prefix) && !key.slice(prefix.length).includes('/')

/** The first key that is after all that begin so: a prefix ends with a slash. */
const prefixEnd = (prefix: string): string => `${prefix.slice(0, -1)}0`
