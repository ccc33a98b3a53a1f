/** Where the nodes that were seen lately stand, by id: a renamed node is found again by those who hold its id. In memory, bounded. */
import { isWithin, type NodePath } from '../../vospace/path.ts'

export class Whereabouts {
  readonly #paths = new Map<string, NodePath>()
  readonly #limit: number

  constructor(limit = 20_000) {
    this.#limit = limit
  }

  seen(id: string, path: NodePath): void {
    this.#paths.delete(id)
    this.#paths.set(id, path)
    if (this.#paths.size <= this.#limit) return
    for (const oldest of this.#paths.keys()) {
      this.#paths.delete(oldest)
      break
    }
  }

  /** Where it was last; the caller looks whether it still is. */
  of(id: string): NodePath | undefined {
    return this.#paths.get(id)
  }

  /** After a rename of a node and all below it; with `exchange` the other way too. */
  moved(from: NodePath, to: NodePath, exchange: boolean): void {
    for (const [id, path] of this.#paths) {
      if (isWithin(path, from)) this.#paths.set(id, (to + path.slice(from.length)) as NodePath)
      else if (isWithin(path, to) && exchange) this.#paths.set(id, (from + path.slice(to.length)) as NodePath)
    }
  }
}
