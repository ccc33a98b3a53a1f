// What was said to have changed, so that an answer that was on its way then is not believed; and the names that are believed to be absent.
import { type Inode } from './cache.ts'

/** Where the sequence of the mount's own moments comes from. */
export interface Moments {
  /** Begins a new moment and answers it. */
  advance(): number
}

/** Kept of each; what is older is in doubt altogether. */
const KEEP = 4096

export class Doubts {
  readonly #moments: Moments
  readonly #noted = new Map<string, number>()
  readonly #absent = new Map<string, readonly [Inode, string]>()
  /** All that was asked before this moment is in doubt. */
  #before = -1

  constructor(moments: Moments) {
    this.#moments = moments
  }

  /** An id, or a name in a folder. */
  note(key: string): void {
    this.#noted.delete(key)
    this.#noted.set(key, this.#moments.advance())
    if (this.#noted.size > KEEP) this.#dropOldest()
  }

  noteAll(): void {
    this.#noted.clear()
    this.#before = this.#moments.advance()
  }

  #dropOldest(): void {
    for (const [key, moment] of this.#noted) {
      this.#noted.delete(key)
      this.#before = moment
      return
    }
  }

  /** Whether what was asked at `tick` may have been overtaken by a change. */
  isSince(key: string, tick: number): boolean {
    return Math.max(this.#noted.get(key) ?? -1, this.#before) > tick
  }

  /** Answers the name that there is no more room for: nothing will be heard of it, so it is not to be believed any longer. */
  absent(parent: Inode, name: string): readonly [Inode, string] | undefined {
    const key = `${parent.nodeid}/${name}`
    this.#absent.delete(key)
    this.#absent.set(key, [parent, name])
    if (this.#absent.size <= KEEP) return undefined
    for (const [oldest, place] of this.#absent) {
      this.#absent.delete(oldest)
      return place
    }
    return undefined
  }

  takeAbsent(): (readonly [Inode, string])[] {
    const all = [...this.#absent.values()]
    this.#absent.clear()
    return all
  }
}
