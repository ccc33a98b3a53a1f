/**
 * Ids of several storages side by side: each is unique in its own one only, so all but those of the storage that keeps the root begin with the
 * name of their profile. A tree that was served alone keeps its ids when others come to stand beside it.
 */
import { type Entry } from '../vospace/node.ts'
import { type Ref, type Seen } from './backend.ts'
import { type Storage } from './routes.ts'

export class Tag {
  readonly #prefix: string

  constructor({ name }: Storage, root: Storage) {
    this.#prefix = name === root.name ? '' : `${name}.`
  }

  put<T extends { readonly id: string }>(value: T): T {
    return this.#prefix === '' ? value : { ...value, id: `${this.#prefix}${value.id}` }
  }

  entry(entry: Entry): Entry {
    return this.put(entry)
  }

  /** As the storage has it; an id of another storage becomes one that no node has. */
  off(id: string): string {
    return id.startsWith(this.#prefix) ? id.slice(this.#prefix.length) : `~${id}`
  }

  ref(ref: Ref): Ref {
    return ref.id === undefined ? ref : { ...ref, id: this.off(ref.id) }
  }

  seen(seen: Seen): Seen {
    return { ...seen, id: this.off(seen.id) }
  }
}
