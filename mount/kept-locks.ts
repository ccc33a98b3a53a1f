// The locks of a mount as the driver after this one finds them: rewritten whole with every lock, before the program hears of it.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type LockedRange, type LockKind } from '../src/vospace/lock.ts'

export interface SavedLocks {
  readonly session?: { readonly id: string; readonly ttl: number; readonly untilDate: number }
  readonly holdings: readonly {
    readonly nodeid: number
    readonly kind: LockKind
    readonly owner: string
    readonly held: readonly LockedRange[]
    readonly handles: readonly number[]
  }[]
  /** Files whose lock was lost while they were open, and what is said of it. */
  readonly dead: readonly (readonly [number, string])[]
}

export class KeptLocks {
  readonly #file: string

  /** In a folder of the mount's own. */
  constructor(folder: string) {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#file = path.join(folder, 'locks.json')
  }

  write(saved: SavedLocks): void {
    fs.writeFileSync(`${this.#file}.new`, JSON.stringify(saved), { mode: 0o600 })
    fs.renameSync(`${this.#file}.new`, this.#file)
  }

  /** undefined: the mount never locked anything. Throws where that cannot be said. */
  read(): SavedLocks | undefined {
    try {
      return JSON.parse(fs.readFileSync(this.#file, 'utf8')) as SavedLocks
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
}
