/**
 * What one user owns becomes another's, in the whole space or below one node: an administrative act that no sharing and no lock
 * stands in the way of.
 *
 * Counts over a kill: before a batch is changed it is written down with the count up to there, and what of it is the heir's already when the
 * work goes on had been changed then. The rest is found by looking again: what was handed over is passed by.
 */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { BATCH, refuseStopped, type Running } from './recursion.ts'
import { type Space } from './space.ts'

export interface HandOver {
  readonly from: string
  readonly to: string
  /** this node and everything below it */
  readonly path: NodePath
}

interface Noted {
  readonly path: NodePath
  readonly id: string
}

interface Saved {
  readonly done: number
  readonly batch: readonly Noted[]
}

/** Nodes may be moved to where the work has been already: so it looks again, until nothing is left, at most so often. */
const MAX_PASSES = 10

/**
 * Answers how many nodes were handed over. PermissionDenied as soon as the caller is no administrator any more; NodeNotFound: nothing at the path;
 * NodeBusy: the tree changes faster than it is gone through. What the storage refuses ends the work, which may be asked for again.
 */
export async function handOver(space: Space, caller: Caller, what: HandOver, running: Running): Promise<number> {
  const saved = running.checkpoint as Saved | undefined
  const work = new HandingOver(space, caller, what, running, saved?.done ?? 0)
  if (saved !== undefined) await work.finish(saved.batch)
  for (let pass = 0; pass < MAX_PASSES; pass++) if ((await work.pass()) === 0) return work.done
  throw new Fault('NodeBusy', `${what.path} changes all the time: ask again`)
}

/** The first node that a user owns at or below a path; undefined: there is none. */
export async function firstOwned(
  space: Space,
  owner: string,
  path: NodePath,
  signal?: AbortSignal,
): Promise<NodePath | undefined> {
  for await (const node of everything(space, path, signal)) if (node.access.owner === owner) return node.path
  return undefined
}

class HandingOver {
  readonly #space: Space
  readonly #caller: Caller
  readonly #what: HandOver
  readonly #running: Running
  done: number

  constructor(space: Space, caller: Caller, what: HandOver, running: Running, done: number) {
    this.#space = space
    this.#caller = caller
    this.#what = what
    this.#running = running
    this.done = done
  }

  /** Once through everything; answers how many nodes it has found. */
  async pass(): Promise<number> {
    const { from, path } = this.#what
    let found = 0
    let batch: Noted[] = []
    for await (const node of everything(this.#space, path, this.#running.signal)) {
      if (node.access.owner !== from) continue
      found++
      batch.push({ path: node.path, id: node.id })
      if (batch.length < BATCH) continue
      await this.#change(batch)
      batch = []
    }
    await this.#change(batch)
    return found
  }

  /** A batch that may have been changed in part. */
  async finish(batch: readonly Noted[]): Promise<void> {
    const left: Noted[] = []
    for (const noted of batch) {
      const node = await nodeOf(this.#space, noted)
      if (node?.access.owner === this.#what.to) this.done++
      else left.push(noted)
    }
    await this.#change(left)
  }

  async #change(batch: readonly Noted[]): Promise<void> {
    if (batch.length === 0) return
    if (!this.#caller.admin) throw new Fault('PermissionDenied', 'only an administrator may hand over what is others’')
    this.#running.save({ done: this.done, batch } satisfies Saved)
    for (const noted of batch) {
      refuseStopped(this.#running.signal)
      if (await this.#give(noted)) this.done++
    }
    this.#running.save({ done: this.done, batch: [] } satisfies Saved)
    this.#running.progress?.(this.done)
  }

  /** False: it is gone, or was theirs no more. */
  async #give(noted: Noted): Promise<boolean> {
    const { backend, changes } = this.#space
    try {
      const node = await nodeOf(this.#space, noted)
      if (node?.access.owner !== this.#what.from) return false
      const { mode } = node
      const now = await backend.set(noted, { access: { owner: this.#what.to }, mode })
      changes.append({ id: now.id, path: now.path, kind: 'attributes' })
      return true
    } catch (error) {
      if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return false
      throw error
    }
  }
}

async function nodeOf({ backend }: Space, { path, id }: Noted): Promise<Entry | undefined> {
  const node = (await backend.walk(path)).at(-1)
  return node?.path === path && node.id === id ? node : undefined
}

/** A node and all below it, containers before what is in them. NodeNotFound. */
async function* everything(space: Space, path: NodePath, signal?: AbortSignal): AsyncGenerator<Entry> {
  const node = (await space.backend.walk(path)).at(-1)
  if (node?.path !== path) throw new Fault('NodeNotFound', path)
  yield* from(space, node, signal)
}

async function* from(space: Space, node: Entry, signal: AbortSignal | undefined): AsyncGenerator<Entry> {
  refuseStopped(signal)
  yield node
  if (node.type !== 'container') return
  try {
    for await (const child of space.backend.list(node.path, signal && { signal })) yield* from(space, child, signal)
  } catch (error) {
    // taken away meanwhile
    if (!isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw error
  }
}
