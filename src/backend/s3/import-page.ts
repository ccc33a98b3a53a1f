/** One page of listed objects brought into the tree; within a transaction. */
import { accessColumns, accessOf, Growth, type FreshRow, type NodeRow } from '../../store/catalog.ts'
import { type ImportRow } from '../../store/catalog-imports.ts'
import { isFault } from '../../vospace/fault.ts'
import { createdMode } from '../../vospace/mode.ts'
import { type NodeType } from '../../vospace/node.ts'
import { isName, MAX_PATH, type NodePath } from '../../vospace/path.ts'
import { type ImportCounts, type ImportPage, type LeftOutReason } from '../backend.ts'
import { refuseReserved } from '../contract.ts'
import { type Bucket, type ListedObject } from './bucket.ts'
import { idOf } from './entry.ts'
import { newVersion, type Tree } from './tree.ts'

/** A container that nodes come into, with what they get from it. */
interface Place {
  readonly id: number
  readonly inherited: Record<'container' | 'data', Inherited>
}
type Inherited = Pick<FreshRow, 'owner' | 'flags' | 'shares' | 'mode' | 'gid' | 'properties'>

interface PageOf {
  readonly begun: ImportRow
  readonly container: NodeRow
  readonly path: NodePath
  readonly bucket: Bucket
}

type Change = ImportPage['changes'][number]

export class ImportedPage {
  readonly #tree: Tree
  readonly #of: PageOf
  readonly #grown = new Growth()
  /** by the path below the container; a reason: nothing can stand there */
  readonly #places = new Map<string, Place | LeftOutReason>()
  readonly #changes: Change[] = []
  readonly #counts = { objects: 0, added: 0, changed: 0, removed: 0, leftOut: 0 }

  constructor(tree: Tree, of: PageOf) {
    this.#tree = tree
    this.#of = of
    this.#places.set('', placeOf(of.container))
  }

  /** `known`: the node that it has already. */
  take(object: ListedObject, known: NodeRow | undefined): void {
    this.#counts.objects++
    const steps = object.key.slice(this.#of.begun.prefix.length).split('/')
    const isMarker = steps.at(-1) === '' && steps.length > 0
    if (known?.type === 'data') return this.#refresh(object, known)
    const why = this.#refusal(object, isMarker ? steps.slice(0, -1) : steps)
    if (why !== undefined) return this.#leaveOut(object.key, why)
    if (isMarker) return this.#mark(object, steps.slice(0, -1).join('/'), known)
    const name = steps.pop() ?? ''
    const place = this.#placeAt(steps)
    if (typeof place === 'string') return this.#leaveOut(object.key, place)
    this.#add(object, steps, place, name)
  }

  /** Its object is gone; unless it is another now. */
  lose(row: NodeRow): void {
    const { catalog } = this.#tree
    const now = catalog.byId(row.id)
    if (now?.key !== row.key || now?.etag !== row.etag) return
    if (now.type === 'container') {
      // what stood for it is gone; it goes itself when nothing is in it
      catalog.setBytes(now, { ...now, key: null, etag: null, modified: null })
      return
    }
    this.#note(now, 'removed')
    catalog.remove(now)
    this.#counts.removed++
  }

  end(): { readonly counts: ImportCounts; readonly changes: readonly Change[] } {
    this.#tree.catalog.count(this.#grown)
    return { counts: this.#counts, changes: this.#changes }
  }

  #refusal({ legible }: ListedObject, steps: readonly string[]): LeftOutReason | undefined {
    if (!legible) return 'name'
    const path = [this.#of.path === '/' ? '' : this.#of.path, ...steps].join('/')
    if (Buffer.byteLength(path) > MAX_PATH || steps.some((step) => Buffer.byteLength(step) > 255)) return 'long'
    if (!steps.every(isName)) return 'name'
    try {
      refuseReserved(path as NodePath, this.#tree.allocationParents)
      return undefined
    } catch (error) {
      if (isFault(error, 'PermissionDenied')) return 'reserved'
      throw error
    }
  }

  #add(object: ListedObject, steps: readonly string[], place: Place, name: string): void {
    const { catalog } = this.#tree
    const mtime = String(BigInt(object.modified) * 1_000_000n)
    const row = { ...place.inherited.data, type: 'data' as const, mtime, ctime: String(catalog.now()) }
    const id = catalog.plant(place.id, name, { ...row, ...this.#bytes(object) }, this.#grown)
    if (id === undefined) {
      const there = catalog.child(place.id, name)
      return this.#leaveOut(object.key, there?.import === this.#of.begun.id ? 'prefix' : 'taken')
    }
    this.#counts.added++
    this.#changes.push({ id: idOf({ id }), path: this.#tree.named.pathOf(this.#of.path, [...steps, name]), kind: 'made' })
  } // prettier-ignore

  #bytes(object: ListedObject) {
    const { key, size, etag, modified } = object
    const { bucket, begun } = this.#of
    const md5 = bucket.md5In(etag) ?? null
    return { key, size, etag, modified, md5, content: versionOf(object), import: begun.id }
  }

  #refresh(object: ListedObject, known: NodeRow): void {
    const { catalog } = this.#tree
    const { size, etag, modified } = object
    const isSame = known.size === size && known.etag === etag && (etag !== '' || known.modified === modified)
    if (isSame && known.modified === modified) return
    // a time that a user has set is theirs
    const isListed = known.modified !== null && known.mtime === String(BigInt(known.modified) * 1_000_000n)
    const mtime = !isSame || isListed ? BigInt(modified) * 1_000_000n : BigInt(known.mtime)
    const next = catalog.setAttributes(known, known, mtime)
    if (isSame) return void catalog.setBytes(next, { ...next, modified })
    catalog.setBytes(next, this.#bytes(object))
    this.#counts.changed++
    this.#note(known, 'bytes')
  }

  /** An object that stands for a container: that is there then, and stays while the object does. */
  #mark(object: ListedObject, below: string, known: NodeRow | undefined): void {
    const { catalog } = this.#tree
    const { key, etag, modified } = object
    const place = this.#placeAt(below === '' ? [] : below.split('/'))
    this.#leaveOut(key, typeof place === 'string' ? place : 'marker')
    if (typeof place === 'string' || known !== undefined) return
    const row = catalog.byId(place.id)
    if (row?.import !== this.#of.begun.id || row.key !== null) return
    catalog.setBytes(row, { ...row, key, etag, modified })
  }

  /** The container of that path below, made when it is missing. */
  #placeAt(steps: readonly string[]): Place | LeftOutReason {
    const below = steps.join('/')
    const found = this.#places.get(below)
    if (found !== undefined) return found
    const above = this.#placeAt(steps.slice(0, -1))
    const place = typeof above === 'string' ? above : this.#container(above, steps)
    this.#places.set(below, place)
    return place
  }

  #container(above: Place, steps: readonly string[]): Place | LeftOutReason {
    const { catalog } = this.#tree
    const name = steps.at(-1) ?? ''
    const there = catalog.child(above.id, name)
    if (there?.type === 'container') return placeOf(there)
    // an object whose key is a part of others': nobody has said anything of its node yet, so what is below comes first
    if (there !== undefined && (there.import !== this.#of.begun.id || there.version > 1)) return 'below'
    if (there !== undefined) {
      this.#note(there, 'removed')
      catalog.remove(there)
      this.#counts.removed++
      this.#leaveOut(there.key ?? '', 'prefix')
    }
    const now = String(catalog.now())
    const fresh = { ...above.inherited.container, type: 'container' as const, mtime: now, ctime: now }
    const id = catalog.plant(above.id, name, { ...fresh, import: this.#of.begun.id }, this.#grown)
    const row = id === undefined ? undefined : catalog.byId(id)
    if (row === undefined) return 'taken'
    this.#note(row, 'made', steps)
    return placeOf(row)
  }

  #leaveOut(key: string, reason: LeftOutReason): void {
    this.#tree.catalog.imports.leaveOut(this.#of.begun.id, { key, reason })
    this.#counts.leftOut++
  }

  #note(row: NodeRow, kind: Change['kind'], steps?: readonly string[]): void {
    const path = steps === undefined ? this.#tree.pathOf(row.id) : this.#tree.named.pathOf(this.#of.path, steps)
    if (path !== undefined) this.#changes.push({ id: idOf(row), path, kind })
  }
}

/** Other bytes have another ETag; where it is none that a header takes, any name will do. */
const versionOf = ({ etag, size }: ListedObject): string =>
  /^"[\w-]{16,100}"$/.test(etag) ? `${etag.slice(1, -1)}-${size}` : newVersion()

/** Owner and sharing are those of the container; locks are not. */
function placeOf(row: NodeRow): Place {
  const access = { ...accessOf(row), locked: false }
  const inherited = (type: NodeType): Inherited => ({
    ...accessColumns({ ...access, inherit: type === 'container' && access.inherit }),
    mode: createdMode(type, undefined, access),
    gid: row.gid,
    properties: null,
  })
  return { id: row.id, inherited: { container: inherited('container'), data: inherited('data') } }
}
