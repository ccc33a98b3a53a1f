/** Where the nodes that were seen lately stand, by id: a renamed node is found again by those who hold its id. In memory, bounded. */
import { isWithin, type NodePath } from '../../vospace/path.ts'

export class Whereabouts {
  readonly #limit: number
  // two generations: what is seen again and again is only looked up
  #young = new Map<string, NodePath>()
  #old = new Map<string, NodePath>()

  /** Between half of `limit` and `limit` are remembered. */
  constructor(limit = 40_000) {
    this.#limit = limit
  }

  seen(id: string, path: NodePath): void {
    if (this.#young.get(id) === path) return
    if (this.#young.size >= this.#limit / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(id, path)
  }

  /** Where it was last; the caller looks whether it still is. */
  of(id: string): NodePath | undefined {
    return this.#young.get(id) ?? this.#old.get(id)
  }

  /** After a rename of a node and all below it; with `exchange` the other way too. */
  moved(from: NodePath, to: NodePath, exchange: boolean): void {
    for (const paths of [this.#young, this.#old]) {
      for (const [id, path] of paths) {
        if (isWithin(path, from)) paths.set(id, (to + path.slice(from.length)) as NodePath)
        else if (isWithin(path, to) && exchange) paths.set(id, (from + path.slice(to.length)) as NodePath)
      }
    }
  }
}
