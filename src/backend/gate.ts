/** Parts of a namespace in which nothing may change for a moment, and the changes that are under way. Known to this process only. */
import { Fault } from '../vospace/fault.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'

interface Change {
  readonly paths: readonly NodePath[]
  readonly cut: AbortController
}

export class Gate {
  readonly #closed = new Set<NodePath>()
  readonly #underWay = new Set<Change>()
  #onEnd: (() => void)[] = []

  /** Runs a change of these places. NodeBusy while one of them is closed. `signal` is aborted when it takes too long to wait for. */
  async through<T>(paths: readonly NodePath[], work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (const closed of this.#closed) {
      const busy = paths.find((path) => isWithin(path, closed) || isWithin(closed, path))
      if (busy !== undefined)
        throw new Fault('NodeBusy', `${closed} moves to another storage at this moment: try again`)
    }
    const change: Change = { paths, cut: new AbortController() }
    this.#underWay.add(change)
    try {
      return await work(change.cut.signal)
    } finally {
      this.#underWay.delete(change)
      for (const look of this.#onEnd.splice(0)) look()
    }
  }

  /**
   * Refuses changes at `path`, below it and of what it is in, and resolves when those under way have ended; what still goes on after
   * `graceMs` is cut. Answers how to open it again.
   */
  async close(path: NodePath, graceMs: number): Promise<() => void> {
    if (this.#closed.has(path)) throw new Fault('NodeBusy', `${path} moves to another storage already`)
    this.#closed.add(path)
    const late = setTimeout(() => this.#touching(path).forEach(({ cut }) => cut.abort()), graceMs)
    try {
      while (this.#touching(path).length > 0) await new Promise<void>((resolve) => this.#onEnd.push(resolve))
    } finally {
      clearTimeout(late)
    }
    return () => void this.#closed.delete(path)
  }

  #touching(path: NodePath): Change[] {
    return [...this.#underWay].filter(({ paths }) => paths.some((one) => isWithin(one, path) || isWithin(path, one)))
  }
}
