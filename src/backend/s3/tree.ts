/** The rules of the storage interface over the rows of a catalog: every call is one transaction, and none of them waits. */
import { randomBytes } from 'node:crypto'
import { propertiesOf, ROOT_ID, type Bytes, type Catalog, type NodeRow } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../../vospace/node.ts'
import { child, nameOf, parentOf, ROOT, stepsOf, type NodePath } from '../../vospace/path.ts'
import {
  type Changes,
  type ContainerDraft,
  type Ids,
  type LinkDraft,
  type PutOptions,
  type Ref,
  type Seen,
  type Usage,
} from '../backend.ts'
import { refuseReserved, refuseUnseen, writtenMode, wrongType } from '../contract.ts'
import { type ObjectHead } from './bucket.ts'
import { NamedPlaces } from './named-places.ts'
import { entryOf, freshColumns, idOf, nextColumns, rowIdOf } from './entry.ts'

export interface TreeOptions {
  readonly catalog: Catalog
  readonly ids: Ids
  readonly allocationParents: readonly NodePath[]
  /** bytes that the store may hold; undefined: nobody knows an end */
  readonly capacity?: number
  /** Told of a node that has its object no more, within the transaction that took it. */
  readonly drop: (row: NodeRow) => void
}

/** A row and where it stands. */
export interface Placed {
  readonly row: NodeRow
  readonly path: NodePath
}

/** What is told of a store whose end nobody knows. */
const BOUNDLESS = 2 ** 50

export class Tree {
  readonly catalog: Catalog
  readonly named: NamedPlaces
  readonly ids: Ids
  readonly allocationParents: readonly NodePath[]
  readonly #capacity: number | undefined
  readonly #drop: (row: NodeRow) => void

  constructor({ catalog, ids, allocationParents, capacity, drop }: TreeOptions) {
    this.catalog = catalog
    this.named = new NamedPlaces(this)
    this.ids = ids
    this.allocationParents = allocationParents
    this.#capacity = capacity
    this.#drop = drop
  }

  walk(path: NodePath): Entry[] {
    refuseReserved(path, this.allocationParents)
    return this.along(path).map((placed) => this.entry(placed))
  }

  entry({ row, path }: Placed): Entry {
    return entryOf(row, path, this.ids)
  }

  make(path: NodePath, draft: ContainerDraft | LinkDraft): Entry {
    return this.catalog.transaction(() => {
      const now = this.catalog.now()
      const mtime = 'mtime' in draft ? (draft.mtime ?? now) : now
      const columns = freshColumns(draft.type, plain(draft), undefined, this.ids)
      const text = draft.type === 'link' ? draft.text : null
      this.named.at(path)
      const row = { ...columns, type: draft.type, mtime: String(mtime), ctime: String(now), text }
      return this.entry({ row: this.catalog.add(this.#free(path).id, nameOf(path), row), path })
    })
  }

  /** What a put would replace; throws what it would refuse. */
  putTarget(path: NodePath, options: PutOptions): Placed | undefined {
    const { id } = options
    const found = id === undefined ? this.#at(path) : this.need({ path, id })
    if (found !== undefined && options.ifAbsent === true) throw new Fault('DuplicateNode', path)
    if (found === undefined && options.draft === undefined) throw new Fault('NodeNotFound', path)
    if (found !== undefined && found.row.type !== 'data') throw wrongType(path, 'data', found.row.type)
    if (found === undefined && options.ifContentVersion !== undefined) throw new Fault('PreconditionFailed', path)
    if (found !== undefined) checkContent(found.row, options.ifContentVersion)
    if (found !== undefined) this.named.refuseReadOnly(found.row)
    return found
  }

  /** The end of a put: the object gets its node, and what the node had before becomes garbage. */
  commit(path: NodePath, object: Stored, options: PutOptions): Entry {
    return this.catalog.transaction(() => {
      const target = this.putTarget(path, options)
      this.refuseRoom(target?.path ?? path, object.size - (target?.row.size ?? 0))
      const mtime = options.mtime ?? options.changes?.mtime ?? this.catalog.now()
      const { changes } = options
      if (target === undefined) {
        const { draft } = options
        if (draft === undefined) throw new Fault('NodeNotFound', path)
        const columns = freshColumns('data', plain(draft), changes, this.ids)
        const row = { ...columns, type: 'data' as const, mtime: String(mtime), ctime: String(this.catalog.now()), ...this.#bytes(object) }
        return this.entry({ row: this.catalog.add(this.#free(path).id, nameOf(path), row), path })
      }
      return this.entry({ row: this.#replace(target.row, object, changes ?? {}, mtime), path: target.path })
    })
  } // prettier-ignore

  /** The end of an amend of the bytes that were there then. False: they are others now. */
  commitAmend(id: number, before: NodeRow, object: Stored, mtime: bigint | undefined): Entry | false {
    return this.catalog.transaction(() => {
      const placed = this.#placed(id)
      if (placed === undefined) throw new Fault('NodeNotFound', 'the node is gone', { errno: 'ESTALE' })
      if (placed.row.content !== before.content) return false
      this.refuseRoom(placed.path, object.size - placed.row.size)
      const row = this.#replace(placed.row, object, {}, mtime ?? this.catalog.now())
      return this.entry({ row, path: placed.path })
    })
  }

  set(ref: Ref, changes: Changes): Entry {
    return this.catalog.transaction(() => {
      const { row, path } = this.need(ref)
      const mtime = changes.mtime ?? BigInt(row.mtime)
      return this.entry({ row: this.catalog.setAttributes(row, nextColumns(row, changes, this.ids), mtime), path })
    })
  }

  /** `to` as a copy of what `from` is now, with that object. */
  commitCopy(from: NodeRow, to: NodePath, draft: { readonly access: Access; readonly mode: number }, object: Stored): Entry {
    return this.catalog.transaction(() => {
      const parent = this.#free(to)
      this.named.refuseCrossing(to)
      this.refuseRoom(to, object.size)
      const { access, mode } = draft
      const columns = freshColumns(from.type, plain({ access, mode, properties: propertiesOf(from) }), undefined, this.ids)
      const now = String(this.catalog.now())
      const bytes = from.type === 'data' ? this.#bytes(object) : {}
      const row = { ...columns, type: from.type, mtime: now, ctime: now, text: from.text, ...bytes }
      return this.entry({ row: this.catalog.add(parent.id, nameOf(to), row), path: to })
    })
  } // prettier-ignore

  remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): void {
    this.catalog.transaction(() => {
      const { row } = this.need({ path })
      refuseUnseen({ id: idOf(row), version: String(row.version) }, seen, path)
      if (row.type !== type && (type !== 'leaf' || row.type === 'container')) throw wrongType(path, type, row.type)
      if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
      this.drop(row, path)
    })
  }

  /** Takes away a node, and its object with it. Within a transaction. */
  drop(row: NodeRow, path: string): void {
    if (row.type === 'container' && this.catalog.hasChildren(row.id)) throw new Fault('ContainerNotEmpty', path)
    this.named.refuseFixed(path, row)
    this.named.refuseReadOnly(row)
    this.catalog.remove(row)
    this.#drop(row)
  }

  usage(path: NodePath): Usage {
    refuseReserved(path, this.allocationParents)
    const chain = this.along(path)
    const limited = chain.filter(({ row }) => row.quota !== null).at(-1) ?? chain[0]
    if (limited === undefined) throw new Fault('NodeNotFound', path)
    const { quota, size, nodes } = limited.row
    const total = quota ?? this.#capacity ?? BOUNDLESS
    const free = Math.max(0, Math.min(total, this.room(path)))
    return { used: size, quota, total, free, files: nodes, filesFree: null }
  }

  setQuota(container: NodePath, bytes: number | null): void {
    this.catalog.transaction(() => this.catalog.setQuota(this.need({ path: container }, 'container').row.id, bytes))
  }

  /** Bytes that still fit at a path. */
  room(path: NodePath): number {
    return Math.min(...this.along(path).map(({ row }) => this.#limitOf(row) - row.size))
  }

  /** QuotaExceeded when that many bytes more do not fit at a path. */
  refuseRoom(path: NodePath, growth: number): void {
    const room = growth > 0 ? this.room(path) : 0
    if (growth > 0 && growth > room) throw noRoom(growth, room)
  }

  /** QuotaExceeded when a tree does not fit below a container that it was not below before. */
  refuseMove(moved: NodeRow, to: number, freed: number): void {
    const before = new Set(this.catalog.chain(Math.abs(moved.parent ?? ROOT_ID)).map(({ id }) => id))
    for (const row of this.catalog.chain(to)) {
      const room = this.#limitOf(row) - row.size
      if (!before.has(row.id) && moved.size - freed > room) throw noRoom(moved.size - freed, room)
    }
  }

  /** The rows that exist along a path, root first. */
  along(path: NodePath): Placed[] {
    const root = this.catalog.byId(ROOT_ID)
    if (root === undefined) throw new Fault('InternalFault', 'the catalog has no root')
    const found: Placed[] = [{ row: root, path: ROOT }]
    let at = { row: root, path: ROOT }
    for (const name of stepsOf(path)) {
      const row = at.row.type === 'container' ? this.catalog.child(at.row.id, name) : undefined
      if (row === undefined) break
      at = { row, path: child(at.path, name) }
      found.push(at)
    }
    return found
  }

  /** NodeNotFound, ContainerNotFound, TypeNotSupported. */
  need(ref: Ref, type?: NodeType): Placed {
    const { path, id } = ref
    refuseReserved(path, this.allocationParents)
    const found = id === undefined ? this.#at(path) : this.#placed(rowIdOf(id))
    if (found === undefined) throw new Fault('NodeNotFound', path, id === undefined ? {} : { errno: 'ESTALE' })
    if (type !== undefined && found.row.type !== type) throw wrongType(path, type, found.row.type)
    return found
  }

  /** The container that something at a path would stand in. */
  parent(path: NodePath): NodeRow {
    refuseReserved(path, this.allocationParents)
    const above = parentOf(path)
    const last = this.along(above).at(-1)
    if (last?.row.type !== 'container') throw new Fault('ContainerNotFound', above, { errno: 'ENOTDIR' })
    if (last.path !== above) throw new Fault('ContainerNotFound', above)
    return last.row
  }

  /** What stands at a path that may be free; ContainerNotFound where nothing can. */
  #at(path: NodePath): Placed | undefined {
    refuseReserved(path, this.allocationParents)
    const row = path === ROOT ? this.catalog.byId(ROOT_ID) : this.catalog.child(this.parent(path).id, nameOf(path))
    return row && { row, path }
  }

  /** DuplicateNode, ContainerNotFound: nothing can be made at that path. */
  refuseTaken(path: NodePath): void {
    this.#free(path)
  }

  /** The container for a new node; DuplicateNode when there is one already. */
  #free(path: NodePath): NodeRow {
    const parent = this.parent(path)
    if (path === ROOT || this.catalog.child(parent.id, nameOf(path)) !== undefined) throw new Fault('DuplicateNode', path)
    return parent
  } // prettier-ignore

  /** Where a node stands now; undefined: nowhere, or in the trash. */
  pathOf(id: number): NodePath | undefined {
    return this.#placed(id)?.path
  }

  #placed(id: number | undefined): Placed | undefined {
    const [root, ...below] = id === undefined ? [] : this.catalog.chain(id)
    if (root?.id !== ROOT_ID || below.some(({ parent }) => (parent ?? 0) < 0)) return undefined
    const path = below.reduce((at, { name }) => child(at, name), ROOT)
    return { row: below.at(-1) ?? root, path }
  }

  #replace(row: NodeRow, object: Stored, changes: Changes, mtime: bigint): NodeRow {
    const columns = nextColumns(row, changes, this.ids, writtenMode(row.mode))
    const next = this.catalog.setAttributes(row, columns, mtime)
    if (row.key !== object.key || row.import !== (object.import ?? null)) this.#drop(row)
    return this.catalog.setBytes(next, this.#bytes(object))
  }

  #bytes({ key, size, md5, etag, import: of = null }: Stored): Bytes {
    if (key !== null && of === null) this.catalog.intents.settle(key)
    return { key, size, md5: md5 ?? null, etag, content: newVersion(), import: of, modified: null }
  }

  /** A node whose object others have written past the gateway. */
  refresh(row: NodeRow, { size, etag, modified }: ObjectHead, md5: string | undefined): NodeRow {
    const { key, import: of } = row
    const known = this.catalog.setAttributes(row, row, BigInt(modified) * 1_000_000n)
    return this.catalog.setBytes(known, { key, import: of, size, etag, md5: md5 ?? null, content: newVersion(), modified })
  } // prettier-ignore

  #limitOf({ id, quota }: NodeRow): number {
    return Math.min(quota ?? Infinity, id === ROOT_ID ? (this.#capacity ?? Infinity) : Infinity)
  }
}

/** An object as a node has it; `key` null: no bytes, and so no object. */
export interface Stored {
  readonly key: string | null
  readonly size: number
  readonly md5?: string | undefined
  /** what the server calls this version of it */
  readonly etag: string | null
  /** the import that `key` is of; absent: it is one of ours */
  readonly import?: number | null
}

/** A name for bytes that nothing had before. */
export function newVersion(): string {
  return randomBytes(12).toString('base64url')
}

/** PreconditionFailed for other bytes than are asked for. */
export function checkContent(row: NodeRow, wanted: string | undefined): void {
  if (wanted !== undefined && wanted !== row.content) throw new Fault('PreconditionFailed', 'another version')
}

function noRoom(growth: number, room: number): Fault {
  return new Fault('QuotaExceeded', `${growth} bytes more do not fit, there is room for ${Math.max(0, room)}`)
}

interface Drafted {
  readonly access: Access
  readonly mode: number
  readonly gid?: number
  readonly properties?: ReadonlyMap<string, string>
}

const plain = ({ access, mode, gid, properties = new Map() }: Drafted) => ({ access, mode, gid, properties })
