/** Objects that a bucket has already become nodes under their own keys, a page of the server at a time, each in one transaction. */
import { setImmediate } from 'node:timers/promises'
import { type ImportRow } from '../../store/catalog-imports.ts'
import { type NodeRow } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { byteOrder, isWithin, type NodePath } from '../../vospace/path.ts'
import { type Cancel, type ImportCounts, type ImportPage, type Imports, type ImportSource, type ImportState, type LeftOut } from '../backend.ts' // prettier-ignore
import { refuseAborted } from '../contract.ts'
import { type Bucket, type ListedObject, type ListedPage } from './bucket.ts'
import { idOf } from './entry.ts'
import { ImportedPage } from './import-page.ts'
import { type Opened } from './opened.ts'
import { type Tree } from './tree.ts'

/** Where our own objects are. */
export interface OwnKeys {
  readonly bucket: string
  readonly prefix: string
}

/** How far a run has come, as it is kept beside the nodes. */
interface Mark {
  /** of the next page */
  readonly next?: string
  /** the last key there was, in the order of bytes */
  readonly last: string
  readonly counts: ImportCounts
  readonly isListed?: boolean
}

const NONE: ImportCounts = { objects: 0, added: 0, changed: 0, removed: 0, leftOut: 0 }
/** Objects that are looked up at once. */
const AT_ONCE = 8
/** Nodes that go in one transaction. */
const LOT = 500

export class S3Imports implements Imports {
  readonly #store: () => Pick<Opened, 'tree' | 'named'>
  readonly #own: OwnKeys

  /** `store` throws before it is started. */
  constructor(store: () => Pick<Opened, 'tree' | 'named'>, own: OwnKeys) {
    this.#store = store
    this.#own = own
  }

  get #tree(): Tree {
    return this.#store().tree
  }

  async *bring(source: ImportSource, run: string, { signal }: Cancel = {}): AsyncGenerator<ImportPage> {
    const bucket = this.#store().named.bucket(source.bucket)
    await bucket.probe(signal)
    const begun = this.#begin(source, run)
    let mark = markOf(begun)
    if (mark.isListed !== true) {
      for await (const page of ahead(bucket.pages(begun.prefix, mark.next, signal))) {
        refuseAborted(signal)
        const gone = await this.#gone(begun, bucket, mark.last, page)
        const done = this.#page({ begun, run, mark, source }, bucket, page, gone)
        mark = done.mark
        yield { counts: mark.counts, changes: done.changes }
        await setImmediate()
      }
    }
    for (;;) {
      refuseAborted(signal)
      const changes = this.#sweep(begun, run)
      if (changes.length === 0) return
      yield { counts: mark.counts, changes }
    }
  }

  state(container: NodePath): ImportState | undefined {
    const found = this.#at(container)
    if (found === undefined) return undefined
    const { bucket, prefix, writable, run = '' } = found
    return { container, bucket, prefix, writable, run, counts: markOf(found).counts }
  }

  leftOut(container: NodePath, after: string, limit: number): LeftOut[] {
    const found = this.#at(container)
    return found === undefined ? [] : (this.#tree.catalog.imports.leftOut(found.id, after, limit) as LeftOut[])
  }

  async *forget(container: NodePath, { signal }: Cancel = {}): AsyncGenerator<ImportPage['changes']> {
    const found = this.#at(container)
    if (found === undefined) throw new Fault('NodeNotFound', `nothing is imported at ${container}`)
    const { imports } = this.#tree.catalog
    for (;;) {
      refuseAborted(signal)
      const gone = this.#tree.catalog.transaction(() => {
        const some = imports.some(found.id, LOT)
        if (some.length === 0) imports.end(found.id)
        return some.flatMap((row) => this.#take(row))
      })
      if (gone.length === 0) return
      yield gone
      await setImmediate()
    }
  }

  touches(path: NodePath): boolean {
    const { named } = this.#tree
    return named.isFixed(path) || named.roots().some((root) => isWithin(path, root))
  }

  covers(path: NodePath): boolean {
    return this.#tree.named.covers(path)
  }

  #at(container: NodePath): ImportRow | undefined {
    const { row } = this.#tree.need({ path: container }, 'container')
    return this.#tree.catalog.imports.of(row.id)
  }

  /** The import as it stands; one that has been interrupted is gone on with. */
  #begin(source: ImportSource, run: string): ImportRow {
    const { container, bucket, writable } = source
    const prefix = folderOf(source.prefix)
    const { catalog, named } = this.#tree
    return catalog.transaction(() => {
      const { row } = this.#tree.need({ path: container }, 'container')
      const there = catalog.imports.of(row.id)
      if (there !== undefined && (there.bucket !== bucket || there.prefix !== prefix)) {
        throw new Fault('DuplicateNode', `${container} has the objects of s3://${there.bucket}/${there.prefix}: forget these first`)
      }
      if (bucket === this.#own.bucket && prefix.startsWith(this.#own.prefix)) {
        throw new Fault('InvalidArgument', `s3://${bucket}/${prefix} has the bytes of nodes, and is no data set`)
      }
      const other = named.roots().find((root) => root !== container && (isWithin(root, container) || isWithin(container, root)))
      if (other !== undefined) throw new Fault('InvalidArgument', `objects are imported at ${other}: one import is not within another`)
      if (there?.run === run) return there
      const id = catalog.imports.begin({ node: row.id, bucket, prefix, writable, run })
      return need(catalog.imports.byId(id))
    })
  } // prettier-ignore

  #page(
    { begun, run, mark, source }: { begun: ImportRow; run: string; mark: Mark; source: ImportSource },
    bucket: Bucket,
    { objects, next }: ListedPage,
    gone: readonly NodeRow[],
  ): { mark: Mark; changes: ImportPage['changes'] } {
    const { catalog } = this.#tree
    return catalog.step(() => {
      const { row } = this.#still(begun, run, source.container)
      const page = new ImportedPage(this.#tree, { begun, container: row, path: source.container, bucket })
      const known = this.#known(begun, mark.last, objects, next)
      for (const object of objects) if (!this.#isOurs(begun, object)) page.take(object, known.get(object.key))
      for (const one of gone) page.lose(one)
      const { counts, changes } = page.end()
      const done: Mark = {
        counts: sum(mark.counts, counts),
        last: lastOf(mark.last, objects),
        ...(next === undefined ? { isListed: true } : { next }),
      }
      catalog.imports.keep(begun.id, JSON.stringify(done))
      return { mark: done, changes }
    })
  }

  /** The container as it is now. NodeBusy: another run has begun, or the import was forgotten. */
  #still({ id, node }: ImportRow, run: string, path: NodePath): { readonly row: NodeRow } {
    const { row } = this.#tree.need({ path }, 'container')
    if (row.id === node && this.#tree.catalog.imports.byId(id)?.run === run) return { row }
    throw new Fault('NodeBusy', `another import of ${path} has begun meanwhile`)
  }

  /** Nodes that the objects of a page may have, by key; the last page has what is after all of them as well. */
  #known(begun: ImportRow, last: string, objects: readonly ListedObject[], next: string | undefined): Map<string, NodeRow> {
    const { imports } = this.#tree.catalog
    const until = next === undefined ? undefined : lastOf(last, objects)
    const known = new Map(imports.between(begun.id, last, until).map((row) => [row.key ?? '', row]))
    for (const { key } of objects) {
      if (known.has(key) || after(key, last)) continue
      const row = imports.withKey(begun.id, key)
      if (row !== undefined) known.set(key, row)
    }
    return known
  } // prettier-ignore

  /** Nodes whose objects were not listed where they would be, and are gone: each is looked up, since it may have come meanwhile. */
  async #gone(begun: ImportRow, bucket: Bucket, last: string, { objects, next }: ListedPage): Promise<NodeRow[]> {
    const listed = new Set(objects.map(({ key }) => key))
    const missing = [...this.#known(begun, last, objects, next).values()].filter(({ key }) => !listed.has(key ?? ''))
    const gone: NodeRow[] = []
    const queue = missing.values()
    const look = async (): Promise<void> => {
      for (const row of queue) if (row.key !== null && (await bucket.head(row.key)) === undefined) gone.push(row)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, look))
    return gone
  } // prettier-ignore

  /** Containers that have nothing in them any more. */
  #sweep(begun: ImportRow, run: string): ImportPage['changes'] {
    const { catalog } = this.#tree
    return catalog.transaction(() => {
      if (catalog.imports.byId(begun.id)?.run !== run) throw new Fault('NodeBusy', 'another import has begun meanwhile')
      return catalog.imports.hollow(begun.id, LOT).flatMap((row) => this.#take(row))
    })
  }

  /** The node goes, and its object stays. */
  #take(row: NodeRow): { id: string; path: NodePath; kind: 'removed' }[] {
    const path = this.#tree.pathOf(row.id)
    this.#tree.catalog.remove(row)
    return path === undefined ? [] : [{ id: idOf(row), path, kind: 'removed' }]
  }

  #isOurs({ bucket }: ImportRow, { key }: ListedObject): boolean {
    return bucket === this.#own.bucket && key.startsWith(this.#own.prefix)
  }
}

/** The next page is asked for while one is worked at. */
async function* ahead<T>(pages: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  let next = pages.next()
  try {
    for (;;) {
      const page = await next
      if (page.done === true) return
      next = pages.next()
      // its refusal is met when it is its turn
      next.catch(() => undefined)
      yield page.value
    }
  } finally {
    await next.catch(() => undefined)
    await pages.return()
  }
}

const folderOf = (prefix: string): string => (prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`)

const markOf = ({ mark }: ImportRow): Mark =>
  mark === undefined ? { last: '', counts: NONE } : (JSON.parse(mark) as Mark)

/** SQLite compares as the servers do: by the bytes of UTF-8. */
const after = (a: string, b: string): boolean => byteOrder(a, b) > 0

/** The last key there is, in that order. */
export const lastOf = (last: string, objects: readonly ListedObject[]): string =>
  objects.reduce((most, { key }) => (after(key, most) ? key : most), last)

const sum = (a: ImportCounts, b: ImportCounts): ImportCounts => ({
  objects: a.objects + b.objects,
  added: a.added + b.added,
  changed: a.changed + b.changed,
  removed: a.removed + b.removed,
  leftOut: a.leftOut + b.leftOut,
})

function need(row: ImportRow | undefined): ImportRow {
  if (row === undefined) throw new Error('an import is gone within a transaction')
  return row
}
