// The driver's state directory: one driver at a time owns it, and finds there what a dead one left.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { detachStale } from './fuse/unmount.ts'
import { isAlive, processMark, readIfThere, socketOf } from './driver-place.ts'
import { leaveHiddenNames } from './hidden-names.ts'
import { dropOthers } from './resume.ts'
import { recoverSpools, type Log } from './spool.ts'

/** Another driver owns the directory. */
export class StateInUse extends Error {
  override readonly name = 'StateInUse'
}

/** The state directory, owned by this process until `release`. */
export class StateDirectory {
  readonly path: string
  readonly #lock: string
  readonly #mounts: string

  private constructor(directory: string, lock: string) {
    this.path = directory
    this.#lock = lock
    this.#mounts = path.join(directory, 'mounts')
  }

  /**
   * Throws StateInUse. What a dead driver left is put in order: its mounts detached, its spool files kept under `recovered/`.
   * Not so those mounts that this process goes on with: `resumed`, asked as the owner, has their directories by their ids.
   */
  static async own(
    directory: string,
    log: Log,
    resumed: () => ReadonlyMap<string, string> = () => new Map(),
  ): Promise<StateDirectory> {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
    const lock = path.join(directory, 'driver.lock')
    takeLock(lock)
    const state = new StateDirectory(directory, lock)
    try {
      const found = resumed()
      const goingOn = new Set(found.values())
      for (const dir of state.#recorded()) {
        if (goingOn.has(dir)) continue
        if (await detachStale(dir)) log(`${dir}: its driver had ended; detached`)
      }
      const ids = new Set(found.keys())
      recoverSpools(directory, log, ids)
      dropOthers(directory, ids)
      if (ids.size === 0) leaveHiddenNames(directory)
      state.record([...goingOn])
    } catch (error) {
      state.release()
      throw error
    }
    return state
  }

  get socket(): string {
    return socketOf(this.path)
  }

  /** Which directories are mounted, for whoever finds this after a crash. */
  record(dirs: readonly string[]): void {
    fs.writeFileSync(`${this.#mounts}.new`, JSON.stringify(dirs), { mode: 0o600 })
    fs.renameSync(`${this.#mounts}.new`, this.#mounts)
  }

  #recorded(): string[] {
    if (!fs.existsSync(this.#mounts)) return []
    return JSON.parse(fs.readFileSync(this.#mounts, 'utf8')) as string[]
  }

  release(): void {
    fs.rmSync(this.#lock, { force: true })
  }
}

function takeLock(lock: string): void {
  const mine = `${lock}.${process.pid}`
  fs.writeFileSync(mine, processMark(process.pid) ?? '', { mode: 0o600 })
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        // a link is there at once with what is in it
        fs.linkSync(mine, lock)
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const owner = readIfThere(lock)
      if (owner !== undefined && (attempt > 2 || isAlive(owner))) {
        throw new StateInUse(`another driver owns ${path.dirname(lock)} (process ${owner.split(' ')[0]})`)
      }
      fs.rmSync(lock, { force: true })
    }
  } finally {
    fs.rmSync(mine, { force: true })
  }
}

export { isSupervised, recordSupervisor, socketOf } from './driver-place.ts'
