/** Answers of the store remembered while nobody, of whatever process, has written to it: what is withdrawn is withdrawn at once. */
import { type Database } from './database.ts'

/** As many answers as are remembered; then all are looked up again. */
const MOST = 10_000

export class Unchanged<T> {
  readonly #database: Database
  readonly #answers = new Map<string, T>()
  #version = -1

  constructor(database: Database) {
    this.#database = database
  }

  /** What `look` answers for the key: from memory when the store is as it was at the last look. `look` must ask that store alone. */
  of(key: string, look: () => T): T {
    const { version } = this.#database
    if (version !== this.#version || this.#answers.size >= MOST) this.#answers.clear()
    this.#version = version
    const known = this.#answers.get(key)
    if (known !== undefined || this.#answers.has(key)) return known as T
    const answer = look()
    // inside a transaction it may be of rows that are rolled back
    if (!this.#database.isChanging) this.#answers.set(key, answer)
    return answer
  }
}
