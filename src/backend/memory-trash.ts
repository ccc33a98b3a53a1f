/** The trash of the memory backend: what was taken out of the tree, by id. */
import { Fault } from '../vospace/fault.ts'
import { ROOT, type NodePath } from '../vospace/path.ts'
import { type Entry } from '../vospace/node.ts'
import { type Seen, type Trash, type TrashNote } from './backend.ts'
import { checkKeeper, checkTrashId, notInTrash } from './trash.ts'
import { keeperOf } from '../vospace/allocation.ts'

/** What the trash needs of the tree. `T` is a node with all below. */
export interface Grove<T> {
  /** Takes it out of its place, when it is as it was seen. */
  readonly cut: (path: NodePath, seen: Seen) => T
  readonly plant: (node: T, to: NodePath) => Entry
  /** The keeper as a node: it may move. */
  readonly nodeAt: (path: NodePath) => T
  readonly pathOf: (node: T) => NodePath
  readonly allocationParents: readonly NodePath[]
}

interface Item<T> {
  readonly note: TrashNote
  readonly keeper: T
  readonly node: T
}

export class MemoryTrash<T> implements Trash {
  readonly #grove: Grove<T>
  readonly #items = new Map<string, Item<T>>()

  constructor(grove: Grove<T>) {
    this.#grove = grove
  }

  /** What waits with this keeper. */
  keptBy(keeper: T): T[] {
    return [...this.#items.values()].filter((item) => item.keeper === keeper).map(({ node }) => node)
  }

  async put(path: NodePath, seen: Seen, note: TrashNote): Promise<void> {
    checkTrashId(note.id)
    if (path === ROOT) throw new Fault('PermissionDenied', 'the root stays', { errno: 'EBUSY' })
    if (this.#items.has(note.id)) throw new Fault('DuplicateNode', note.id)
    const keeper = this.#grove.nodeAt(keeperOf(path, this.#grove.allocationParents))
    this.#items.set(note.id, { note, keeper, node: this.#grove.cut(path, seen) })
  }

  async *list(keeper: NodePath): AsyncGenerator<TrashNote> {
    for (const item of this.#of(keeper)) yield item.note
  }

  async restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry> {
    checkKeeper(keeper, to, this.#grove.allocationParents)
    const entry = this.#grove.plant(this.#need(keeper, id).node, to)
    this.#items.delete(id)
    return entry
  }

  async purge(keeper: NodePath, id: string): Promise<void> {
    this.#need(keeper, id)
    this.#items.delete(id)
  }

  async sweep(keeper: NodePath, before: number): Promise<number> {
    const old = this.#of(keeper).filter(({ note }) => note.deleted < before)
    for (const { note } of old) await this.purge(keeper, note.id)
    return old.length
  }

  async *keepers(): AsyncGenerator<NodePath> {
    yield* new Set([...this.#items.values()].map(({ keeper }) => this.#grove.pathOf(keeper)))
  }

  #of(keeper: NodePath): Item<T>[] {
    // not by its path: another may stand there now
    return [...this.#items.values()].filter((item) => item.keeper === this.#grove.nodeAt(keeper))
  }

  #need(keeper: NodePath, id: string): Item<T> {
    checkTrashId(id)
    const item = this.#items.get(id)
    if (item === undefined || item.keeper !== this.#grove.nodeAt(keeper)) throw notInTrash(id)
    return item
  }
}
