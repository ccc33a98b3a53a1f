/** The trash of a namespace that several storages keep: what is deleted waits in the storage it was in. */
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'
import { type Seen, type Trash, type TrashNote } from './backend.ts'
import { JoinedPart } from './joined.ts'
import { type Storage } from './routes.ts'
import { notInTrash } from './trash.ts'

export class RoutedTrash extends JoinedPart implements Trash {
  keeps(path: NodePath): boolean {
    return trashOf(this.routes.of(path)).keeps?.(path) ?? true
  }

  async put(path: NodePath, seen: Seen, note: TrashNote): Promise<void> {
    this.routes.refuseFixed(path)
    const storage = this.routes.of(path)
    await this.gate.through([path], () => trashOf(storage).put(path, this.tag(storage).seen(seen), note))
  }

  async *list(keeper: NodePath): AsyncGenerator<TrashNote> {
    for (const storage of this.#keeping(keeper)) {
      try {
        yield* trashOf(storage).list(keeper)
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
    }
  }

  async restore(keeper: NodePath, id: string, to: NodePath): Promise<Entry> {
    const storage = await this.#holding(keeper, id)
    if (this.routes.isFixed(to)) throw new Fault('DuplicateNode', to)
    const place = this.routes.of(to)
    if (place === storage) {
      return this.gate.through([to], async () =>
        this.tag(storage).entry(await trashOf(storage).restore(keeper, id, to)),
      )
    }
    throw new Fault('OperationNotSupported', `${to} is kept by ${place.name}, and this waits in ${storage.name}`, {
      errno: 'EXDEV',
    })
  }

  async purge(keeper: NodePath, id: string): Promise<void> {
    await trashOf(await this.#holding(keeper, id)).purge(keeper, id)
  }

  async sweep(keeper: NodePath, before: number): Promise<number> {
    let swept = 0
    for (const storage of this.#keeping(keeper)) {
      try {
        swept += await trashOf(storage).sweep(keeper, before)
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
    }
    return swept
  }

  async *keepers(): AsyncGenerator<NodePath> {
    const told = new Set<NodePath>()
    for (const storage of this.routes.storages) {
      for await (const keeper of trashOf(storage).keepers()) {
        if (!told.has(keeper)) yield keeper
        told.add(keeper)
      }
    }
  }

  /** Storages in which something of this keeper may wait. */
  #keeping(keeper: NodePath): Set<Storage> {
    const below = this.routes.lines.filter(({ path }) => isWithin(path, keeper)).map(({ storage }) => storage)
    return new Set([this.routes.of(keeper), ...below])
  }

  async #holding(keeper: NodePath, id: string): Promise<Storage> {
    for (const storage of this.#keeping(keeper)) {
      try {
        for await (const note of trashOf(storage).list(keeper)) if (note.id === id) return storage
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
    }
    throw notInTrash(id)
  }
}

/** The keeper has no node in a storage that nothing of it was ever in. */
const isAbsent = (error: unknown): boolean => isFault(error, 'NodeNotFound', 'ContainerNotFound')

function trashOf({ name, backend }: Storage): Trash {
  if (backend.trash === undefined) throw new Fault('OperationNotSupported', `${name} has no trash`)
  return backend.trash
}
