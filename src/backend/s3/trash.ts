/** The trash of a catalog: what was deleted hangs below its keeper, under no name that a node can be asked for by. */
import { setImmediate } from 'node:timers/promises'
import { type NodeRow } from '../../store/catalog.ts'
import { type TrashRow } from '../../store/catalog-trash.ts'
import { keeperOf } from '../../vospace/allocation.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { nameOf, nodePath, ROOT, type NodePath } from '../../vospace/path.ts'
import { type Seen, type Trash, type TrashNote } from '../backend.ts'
import { refuseUnseen } from '../contract.ts'
import { checkKeeper, checkTrashId, notInTrash } from '../trash.ts'
import { idOf } from './entry.ts'
import { type Opened } from './opened.ts'
import { type Tree } from './tree.ts'

/** Nodes that are removed for good in one transaction: some milliseconds. */
const LOT = 200

/** The note with its path below the keeper, which may move. */
type KeptNote = Omit<TrashNote, 'path' | 'id' | 'deleted'> & { readonly below: string }

export class CatalogTrash implements Trash {
  readonly #store: () => Pick<Opened, 'tree' | 'garbage'>

  /** `store` throws before it is started. */
  constructor(store: () => Pick<Opened, 'tree' | 'garbage'>) {
    this.#store = store
  }

  get #tree(): Tree {
    return this.#store().tree
  }

  async put(path: NodePath, seen: Seen, note: TrashNote): Promise<void> {
    checkTrashId(note.id)
    if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    const { catalog } = this.#tree
    catalog.transaction(() => {
      const { row } = this.#tree.need({ path })
      refuseUnseen({ id: idOf(row), version: String(row.version) }, seen, path)
      this.#tree.named.refuseMove({ row, path })
      const keeper = this.#tree.need({ path: keeperOf(path, this.#tree.allocationParents) })
      const { id, deleted, path: stood, ...kept } = note
      const below = stood.slice(keeper.path === ROOT ? 0 : keeper.path.length)
      const text = JSON.stringify({ ...kept, below } satisfies KeptNote)
      if (!catalog.trash.add({ id, node: row.id, deleted, note: text })) throw new Fault('DuplicateNode', id)
      catalog.rename(row, -keeper.row.id, id)
    })
  }

  /** Of an object that others know by its key nothing is kept under another name. */
  keeps(path: NodePath): boolean {
    return !this.#tree.named.covers(path)
  }

  async *list(keeper: NodePath): AsyncGenerator<TrashNote> {
    const { row } = this.#tree.need({ path: keeper })
    for (const item of this.#tree.catalog.trash.keptBy(row.id)) yield noteOf(item, keeper)
  }

  async restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry> {
    checkKeeper(keeper, to, this.#tree.allocationParents)
    const { catalog } = this.#tree
    return catalog.transaction(() => {
      const { row } = this.#item(keeper, id)
      if (to === ROOT) throw new Fault('DuplicateNode', to)
      const parent = this.#tree.parent(to)
      this.#tree.named.refuseCrossing(to)
      if (catalog.child(parent.id, nameOf(to)) !== undefined) throw new Fault('DuplicateNode', to)
      // it counted in the keeper already, but a container within may have a quota of its own
      this.#tree.refuseMove(row, parent.id, 0)
      catalog.trash.remove(id)
      return this.#tree.entry({ row: catalog.rename(row, parent.id, nameOf(to)), path: to })
    })
  }

  async purge(keeper: NodePath, id: string): Promise<void> {
    const { catalog } = this.#tree
    const row = catalog.transaction(() => {
      const item = this.#item(keeper, id)
      catalog.trash.remove(id)
      return item.row
    })
    await this.#removeTree(row)
  }

  async sweep(keeper: NodePath, before: number): Promise<number> {
    const { row } = this.#tree.need({ path: keeper })
    const old = this.#tree.catalog.trash.keptBy(row.id).filter(({ deleted }) => deleted < before)
    for (const { id } of old) await this.purge(keeper, id)
    for (const doomed of this.#tree.catalog.doomed(row.id)) await this.#removeTree(doomed)
    return old.length
  }

  async *keepers(): AsyncGenerator<NodePath> {
    for (const id of this.#tree.catalog.trash.keepers()) {
      const path = this.#tree.pathOf(id)
      if (path !== undefined) yield path
    }
  }

  /** In lots, so that nobody waits for a large tree. */
  async #removeTree(row: NodeRow): Promise<void> {
    const { catalog } = this.#tree
    const isLeft = (): boolean =>
      catalog.transaction(() => {
        const gone = catalog.prune(row, LOT)
        for (const one of gone) this.#store().garbage.drop(one)
        const last = gone.length === 0 ? catalog.byId(row.id) : undefined
        if (last !== undefined) this.#tree.drop(last, last.name)
        return gone.length > 0
      })
    while (isLeft()) await setImmediate()
  }

  #item(keeper: NodePath, id: string): { readonly row: NodeRow } {
    checkTrashId(id)
    const item = this.#tree.catalog.trash.get(id)
    const row = item && this.#tree.catalog.byId(item.node)
    if (row === undefined || row.parent !== -this.#tree.need({ path: keeper }).row.id) throw notInTrash(id)
    return { row }
  }
}

function noteOf({ id, deleted, note }: TrashRow, keeper: NodePath): TrashNote {
  const { below, ...kept } = JSON.parse(note) as KeptNote
  return { id, deleted, ...kept, path: nodePath(keeper === ROOT ? below : `${keeper}${below}`) }
}
