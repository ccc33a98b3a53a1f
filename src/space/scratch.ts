/** Scratch of sessions: one container that all containers of a session share, and that goes when the last of them has left or is not heard of any more. */
import { type JobLog } from '../jobs/kind.ts'
import { type StoredScratch, type StoredScratches } from '../store/scratches.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { nodePath, type NodePath } from '../vospace/path.ts'
import { makeHome } from './home.ts'
import { entryAt } from './resolve.ts'
import { type Space } from './space.ts'

/** How often a container is emptied again because somebody else goes on writing into it. */
const MAX_ROUNDS = 5

export interface ScratchOptions {
  /** bytes; absent: no quota */
  readonly quota?: number
  /** that a scratch lives after its last member was heard of */
  readonly seconds: number
}

/** One container of a session. */
export interface Member {
  readonly user: string
  readonly session: string
  readonly member: string
}

export class Scratches {
  readonly #space: Space
  readonly #rows: StoredScratches
  readonly #options: ScratchOptions

  constructor(space: Space, rows: StoredScratches, options: ScratchOptions) {
    this.#space = space
    this.#rows = rows
    this.#options = options
  }

  /**
   * The scratch at `path` is theirs until it is asked for again; answers until when, in milliseconds since 1970. It is written down before it is
   * made, so that none is forgotten. ServiceBusy: it is being removed. DuplicateNode: something else stands there.
   */
  async join(path: NodePath, { user, session, member }: Member, now: number = Date.now()): Promise<number> {
    const expires = now + this.#options.seconds * 1000
    const before = await entryAt(this.#space, path)
    const isTheirs = before === undefined || (before.type === 'container' && before.access.owner === user)
    if (!isTheirs) throw new Fault('DuplicateNode', `${path} is no scratch of ${user}'s`)
    if (!this.#rows.join({ path, user, session, expires }, member))
      throw new Fault('ServiceBusy', `the scratch of session ${session} is being removed; ask again in a while`)
    await makeHome(this.#space, path, user, this.#options.quota)
    return expires
  }

  /** With the last member the scratch goes; nothing happens where there is none. Removing it goes on after the answer. */
  leave(path: NodePath, member: string): void {
    this.#rows.leave(path, member)
  }

  of(user: string): readonly StoredScratch[] {
    return this.#rows.of(user)
  }

  /** Removes those that have ended; answers how many. What fails is tried again by the next one. */
  async sweep(log: JobLog, now: number = Date.now()): Promise<number> {
    let removed = 0
    for (const path of this.#rows.ended(now)) {
      try {
        await removeTree(this.#space, nodePath(path))
        this.#rows.remove(path)
        removed++
      } catch (error) {
        log.warn({ err: error, path }, 'a scratch could not be removed, and is tried again')
      }
    }
    return removed
  }
}

/** With the rights of the service: locks that a session has left in its scratch do not keep it. */
async function removeTree(space: Space, path: NodePath): Promise<void> {
  const { backend } = space
  const root = await entryAt(space, path)
  if (root === undefined) return
  for (let round = 1; root.type === 'container'; round++) {
    for await (const { path: below, type } of backend.list(path, { order: 'any' })) {
      if (type === 'container') await removeTree(space, below)
      else await gone(backend.remove(below, type))
    }
    try {
      await gone(backend.remove(path, 'container', { id: root.id }))
      break
    } catch (error) {
      if (!isFault(error, 'ContainerNotEmpty') || round === MAX_ROUNDS) throw error
    }
  }
  space.changes.append({ id: root.id, path, kind: 'removed' })
}

async function gone(removal: Promise<unknown>): Promise<void> {
  try {
    await removal
  } catch (error) {
    // somebody else was faster
    if (!isFault(error, 'NodeNotFound', 'ContainerNotFound')) throw error
  }
}

/** Sweeps at once and every so often. Answers how to end it, and how to sweep now. */
export function sweepScratches(
  scratches: Scratches,
  log: JobLog,
  everyMs = 30_000,
): { readonly stop: () => void; readonly now: () => Promise<void> } {
  let under: Promise<void> = Promise.resolve()
  const now = (): Promise<void> =>
    (under = under.then(async () => {
      try {
        const removed = await scratches.sweep(log)
        if (removed > 0) log.info({ removed }, 'scratches of sessions that have ended were removed')
      } catch (error) {
        log.warn({ err: error }, 'scratches could not be looked through')
      }
    }))
  const timer = setInterval(() => void now(), everyMs)
  timer.unref()
  void now()
  return { stop: () => clearInterval(timer), now }
}
