/** Where in a tree the nodes are objects that others know by their keys, and what is refused there. */
import { type ImportRow } from '../../store/catalog-imports.ts'
import { type NodeRow } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { child, isWithin, parentOf, ROOT, stepsOf, type NodePath } from '../../vospace/path.ts'
import { type Named } from './named.ts'
import { type Placed, type Tree } from './tree.ts'

/** The most bytes that a key has, on every server. */
const KEY_BYTES = 1024

export class NamedPlaces {
  readonly #tree: Tree

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /** The import that a path is in, and where that begins; its container is in none. */
  over(path: NodePath): { readonly found: ImportRow; readonly root: NodePath } | undefined {
    const all = this.#tree.catalog.imports.all()
    if (all.length === 0 || path === ROOT) return undefined
    for (const { row, path: root } of this.#tree.along(parentOf(path)).reverse()) {
      const found = all.find(({ node }) => node === row.id)
      if (found !== undefined) return { found, root }
    }
    return undefined
  }

  covers(path: NodePath): boolean {
    return this.over(path) !== undefined
  }

  /** The containers of imports. */
  roots(): NodePath[] {
    return this.#tree.catalog.imports.all().flatMap(({ node }) => this.#tree.pathOf(node) ?? [])
  }

  /** Whether a container of an import stands there or below. */
  isFixed(path: NodePath): boolean {
    return this.roots().some((root) => isWithin(root, path))
  }

  /**
   * The object of a node that is to be made at a path; undefined: it gets one of ours. PermissionDenied (EROFS) in an import for reading;
   * InvalidURI (ENAMETOOLONG) for a key that no server takes.
   */
  at(path: NodePath): Named | undefined {
    const over = this.over(path)
    if (over === undefined) return undefined
    const { id, bucket, prefix, writable } = over.found
    if (!writable) throw readOnly(path)
    const key = prefix + stepsOf(path).slice(stepsOf(over.root).length).join('/')
    if (Buffer.byteLength(key) > KEY_BYTES) throw new Fault('InvalidURI', 'the key would be longer than 1024 bytes', { errno: 'ENAMETOOLONG' })
    return { import: id, bucket, key }
  } // prettier-ignore

  /** The object of a data node; undefined: it has one of ours. */
  of(row: NodeRow): Named | undefined {
    if (row.import === null || row.key === null) return undefined
    const found = this.#tree.catalog.imports.byId(row.import)
    if (found === undefined) throw new Fault('InternalFault', 'a node is of an import that is not there')
    return { import: row.import, bucket: found.bucket, key: row.key }
  }

  /** PermissionDenied (EROFS) for a node whose import is for reading. */
  refuseReadOnly(row: NodeRow): void {
    if (row.import === null) return
    if (this.#tree.catalog.imports.byId(row.import)?.writable !== true) throw readOnly(row.name)
  }

  /** PermissionDenied (EBUSY) for what takes the container of an import along. */
  refuseFixed(path: string, row: NodeRow): void {
    if (row.type !== 'container' || this.#tree.catalog.imports.of(row.id) === undefined) return
    throw new Fault('PermissionDenied', `${path} stays: objects of a bucket are imported there`, { errno: 'EBUSY' })
  }

  /** OperationNotSupported (EXDEV) for another name of what has its name from a key. */
  refuseMove({ row, path }: Placed): void {
    if (this.isFixed(path)) throw new Fault('PermissionDenied', `${path} stays: objects of a bucket are imported there or below`, { errno: 'EBUSY' })
    if (row.import !== null) this.refuseReadOnly(row)
    this.refuseCrossing(path)
  } // prettier-ignore

  /** OperationNotSupported (EXDEV) for what would come into an import by another way than its bytes. */
  refuseCrossing(path: NodePath): void {
    if (!this.covers(path)) return
    throw new Fault('OperationNotSupported', `${path} has its name from an object's key, or would get it: copy the bytes, then delete`, {
      errno: 'EXDEV',
    })
  } // prettier-ignore

  /** Where an object of an import is to be a node. */
  pathOf(root: NodePath, steps: readonly string[]): NodePath {
    return steps.reduce<NodePath>((path, step) => child(path, step), root)
  }
}

const readOnly = (what: string): Fault =>
  new Fault('PermissionDenied', `${what} is an object that others keep, and imported for reading`, { errno: 'EROFS' })
