/**
 * Recursive delete with counts (wire.md 3.6): of each container first what is no container, in pages that the backend removes in one go, then
 * the containers in depth, then itself, if everything below went; empty containers go in batches.
 *
 * Exact over a kill: a page or batch is written down before the first of it goes, so one that was cut short is settled by looking which of its
 * nodes are still there. Nodes that somebody else takes away between the kill and the restart, of that one batch, count as ours.
 * Errors are not kept: what could not go still stands, and is met and counted again.
 * Memory: a batch, and the names of up to HELD containers a level; checkpoints: a batch.
 */
import { type Choose, type IdentifiedChild, type Removal } from '../backend/backend.ts'
import { type Change } from '../store/changes.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault, type FaultName } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { child, nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { authorize, childDeletion, denied, refusalOf, type Chain } from './authorize.ts'
import { hold, type Held, type Level, levelOf, nodeOf, stick } from './deletion-level.ts'
import {
  BATCH,
  FRESH_MS,
  type Counts,
  MAX_ERRORS,
  refuseStopped,
  type Running,
  startAt,
  stillThere,
  TooManyErrors,
} from './recursion.ts'
import { type Discarding, discardedBefore, discardRecursively, NoRoom } from './recursive-discard.ts'
import { refuseFixed, type Space } from './space.ts'
import { keepsTrash } from './trash.ts'

/** UTF-16 units of all paths of a batch. */
const BATCH_LENGTH = 65_536
/** How often a container is emptied again because somebody else goes on writing into it. */
const MAX_ROUNDS = 5

interface Saved {
  readonly start: { readonly path: NodePath; readonly id: string }
  /** nodes gone before this batch */
  readonly gone: number
  /** the container that a page of it is about to go from */
  readonly within?: NodePath
  /** path, or name there, and id of what is about to go */
  readonly batch: readonly (readonly [string, string])[]
}

/**
 * Deletes the node of a URI with everything below, as far as the caller may, a link as itself. Refuses with nothing done when the node
 * itself cannot go: InvalidURI, NodeNotFound, ContainerNotFound, LinkFound (strict), UnreadableLinkTarget, PermissionDenied.
 */
export async function deleteRecursively(
  space: Space,
  caller: Caller,
  target: string,
  running: Running,
): Promise<Counts> {
  const saved = running.checkpoint as Saved | Discarding | undefined
  if (saved === undefined) {
    const chain = await startAt(space, caller, target, running.signal)
    authorize(caller, 'delete', chain, space.rules)
    const start = startOf(chain)
    refuseFixed(space, start.path)
    return keepsTrash(space)
      ? discardOrDelete(space, caller, chain, { start, gone: 0 }, running)
      : new Deletion(space, caller, running, start, 0).run(chain)
  }
  const isByNode = 'batch' in saved
  const gone = isByNode ? saved.gone + (await settled(space, saved)) : await discardedBefore(space, saved)
  const chain = await stillThere(space, saved.start)
  if (chain === undefined) return { successes: gone, errors: 0 }
  return isByNode
    ? new Deletion(space, caller, running, saved.start, gone).run(chain)
    : discardOrDelete(space, caller, chain, { start: saved.start, gone }, running)
}

/** To the trash; node by node where that has no room. */
async function discardOrDelete(
  space: Space,
  caller: Caller,
  chain: Chain,
  saved: Discarding,
  running: Running,
): Promise<Counts> {
  try {
    return await discardRecursively(space, caller, chain, saved, running)
  } catch (error) {
    if (!(error instanceof NoRoom)) throw error
    return new Deletion(space, caller, running, saved.start, error.gone).run(chain)
  }
}

/** Removes a tree whose every node may go, for good; the first that may not after all is refused. */
export async function deleteTree(space: Space, caller: Caller, chain: Chain, signal?: AbortSignal): Promise<void> {
  const running = { save: () => undefined, signal }
  await new Deletion(space, caller, running, startOf(chain), 0, { strict: true }).run(chain)
}

function startOf(chain: Chain): Saved['start'] {
  const node = chain.at(-1)
  if (node === undefined) throw new Error('a chain has at least the root')
  return { path: node.path, id: node.id }
}

/** How many of a batch that was cut short are gone. */
async function settled(space: Space, { batch, within }: Saved): Promise<number> {
  let gone = 0
  for (const [name, id] of batch) {
    const path = within === undefined ? (name as NodePath) : child(within, name)
    if ((await stillThere(space, { path, id })) !== undefined) continue
    gone++
    // it may have gone without a word
    space.changes.append({ id, path, kind: 'removed' })
  }
  return gone
}

interface Step {
  readonly entry: Entry
  /** of the container it stands in; undefined: where the job started */
  readonly parent: Level | undefined
  /** of the container that it is */
  readonly level?: Level
}

class Deletion {
  readonly #space: Space
  readonly #caller: Caller
  readonly #running: Running
  readonly #start: Saved['start']
  readonly #strict: boolean
  #gone: number
  #errors = 0
  #fault: FaultName | undefined
  #batch: Step[] = []
  #batchLength = 0

  constructor(
    space: Space,
    caller: Caller,
    running: Running,
    start: Saved['start'],
    gone: number,
    options: { readonly strict?: boolean } = {},
  ) {
    this.#strict = options.strict === true
    this.#space = space
    this.#caller = caller
    this.#running = running
    this.#start = start
    this.#gone = gone
  }

  async run(chain: Chain): Promise<Counts> {
    const node = chain.at(-1)
    if (node === undefined) throw new Error('a chain has at least the root')
    try {
      if (node.type === 'container') await this.#empty(levelOf(chain, undefined))
      else await this.#plan({ entry: node, parent: undefined })
      while (this.#batch.length > 0) await this.#flush()
    } catch (error) {
      if (!(error instanceof TooManyErrors)) throw error
    }
    return { successes: this.#gone, errors: this.#errors, ...(this.#fault && { fault: this.#fault }) }
  }

  /** Removes what is in a container, as far as it goes, and plans the container. */
  async #empty(level: Level): Promise<void> {
    const entry = nodeOf(level.chain)
    const held: Held = { names: new Set(), more: false }
    await this.#removeLeaves(level, held)
    for (const name of held.names) {
      const chain = await this.#containerIn(level, name)
      if (chain !== undefined) await this.#empty({ ...levelOf(chain, level), seen: performance.now() })
    }
    for await (const below of held.more ? this.#below(level) : []) {
      if (below.type !== 'container' || held.names.has(nameOf(below.path))) continue
      await this.#empty(levelOf([...level.chain, below], level))
    }
    await this.#plan({ entry, parent: level.parent, level })
  }

  /** Removes what is no container, page by page, and holds the containers. Nothing when they may not list it, or when it is gone. */
  async #removeLeaves(level: Level, held: Held): Promise<void> {
    if (!this.#isOpen(level)) return
    const { path, id } = nodeOf(level.chain)
    const { signal } = this.#running
    const choose: Choose = (page) => this.#choose(level, page, held)
    try {
      await this.#freshly(level)
      for await (const removals of this.#space.backend.removeChildren({ path, id }, choose, signal && { signal })) {
        this.#removed(level, removals)
        if (this.#errors > MAX_ERRORS) throw new TooManyErrors()
        await this.#freshly(level)
      }
    } catch (error) {
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw error
    }
  }

  /** What of a page goes, written down; to be called before anything of it has gone. */
  #choose(level: Level, page: readonly IdentifiedChild[], held: Held): readonly IdentifiedChild[] {
    refuseStopped(this.#running.signal)
    const refusalOfChild = childDeletion(this.#caller, level.chain, this.#space.rules)
    const { path } = nodeOf(level.chain)
    const chosen: IdentifiedChild[] = []
    for (const one of page) {
      const refusal = one.type === 'container' ? undefined : refusalOfChild(one)
      if (one.type === 'container') hold(held, one.name)
      else if (refusal === undefined) chosen.push(one)
      else if (this.#strict) throw denied(this.#caller, 'delete', child(path, one.name), refusal)
      else if (!this.#stays(level, 'PermissionDenied')) break
    }
    const batch = chosen.map(({ name, id }) => [name, id] as const)
    if (batch.length > 0)
      this.#running.save({ start: this.#start, gone: this.#gone, within: path, batch } satisfies Saved)
    return chosen
  }

  #removed(level: Level, removals: readonly Removal[]): void {
    const { path } = nodeOf(level.chain)
    const gone = removals.filter(({ fault }) => fault === undefined)
    this.#gone += gone.length
    this.#space.changes.appendAll(
      gone.map(({ child: { id, name } }) => ({ id, path: child(path, name), kind: 'removed' })),
    )
    for (const { fault } of removals) {
      // as gone as we want it, by another hand
      if (fault === undefined || fault.fault === 'NodeNotFound') continue
      if (this.#strict) throw fault
      this.#stays(level, fault.fault)
    }
    this.#running.progress?.(this.#gone)
  }

  /** Counts what stays of a level; false: it is one too many. */
  #stays(level: Level | undefined, fault: FaultName): boolean {
    stick(level)
    this.#fault ??= fault
    return ++this.#errors <= MAX_ERRORS
  }

  /** The entries to a container of a level; undefined: it has gone, or become something else. */
  async #containerIn(level: Level, name: string): Promise<Chain | undefined> {
    const above = nodeOf(level.chain)
    const path = child(above.path, name)
    const chain = await this.#space.backend.walk(path)
    const node = chain.at(-1)
    const isIt = node?.path === path && node.type === 'container' && chain.at(-2)?.id === above.id
    return isIt ? chain : undefined
  }

  /** What is in it; nothing when they may not list it (it goes when it is empty), or when it is gone. */
  async *#below(level: Level): AsyncGenerator<Entry> {
    if (!this.#isOpen(level)) return
    const { signal } = this.#running
    try {
      yield* this.#space.backend.list(nodeOf(level.chain).path, { order: 'any', ...(signal && { signal }) })
    } catch (error) {
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw error
    }
  }

  #isOpen(level: Level): boolean {
    return refusalOf(this.#caller, 'list', level.chain, this.#space.rules) === undefined
  }

  async #plan(step: Step): Promise<void> {
    this.#batch.push(step)
    this.#batchLength += step.entry.path.length
    if (this.#batch.length >= BATCH || this.#batchLength >= BATCH_LENGTH) await this.#flush()
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = []
    this.#batchLength = 0
    refuseStopped(this.#running.signal)
    const going = batch.map(({ entry }) => [entry.path, entry.id] as const)
    this.#running.save({ start: this.#start, gone: this.#gone, batch: going } satisfies Saved)
    const refilled: Level[] = []
    const gone: Change[] = []
    try {
      for (const step of batch) {
        refuseStopped(this.#running.signal)
        if (step.level?.stuck === true) stick(step.parent)
        else if (!(await this.#goes(step, gone)) && step.level !== undefined) refilled.push(step.level)
      }
    } finally {
      this.#space.changes.appendAll(gone)
    }
    this.#running.progress?.(this.#gone)
    // a container before the one that it stands in, each to its end
    for (const level of refilled) {
      await this.#empty({ ...level, seen: 0, round: level.round + 1 })
      if (this.#batch.length > 0) await this.#flush()
    }
  }

  /** False: a container that is not empty after all. */
  async #goes(step: Step, gone: Change[]): Promise<boolean> {
    try {
      await this.#remove(step, gone)
      return true
    } catch (error) {
      if (!isFault(error)) throw error
      const { fault } = error
      if (fault === 'NodeNotFound' || fault === 'ContainerNotFound') return true // as gone as we want it, by another hand
      const { level } = step
      const mayRefill = level !== undefined && level.round < MAX_ROUNDS && this.#isOpen(level)
      if (fault === 'ContainerNotEmpty' && mayRefill) {
        await this.#emptyTrash(step.entry)
        return false
      }
      if (this.#strict) throw error
      const isOneTooMany = !this.#stays(step.parent, fault === 'ContainerNotEmpty' ? 'PermissionDenied' : fault)
      if (isOneTooMany) throw new TooManyErrors()
      return true
    }
  }

  /** An allocation takes its trash with it. */
  async #emptyTrash({ path }: Entry): Promise<void> {
    const { backend, rules } = this.#space
    if (!rules.allocationParents.includes(parentOf(path))) return
    for await (const note of backend.trash?.list(path) ?? []) await backend.trash?.purge(path, note.id)
  }

  async #remove({ entry, parent }: Step, gone: Change[]): Promise<void> {
    const { backend, rules } = this.#space
    const above = parent === undefined ? await this.#aboveStart() : await this.#freshly(parent)
    let node = entry
    for (let attempt = 1; ; attempt++) {
      authorize(this.#caller, 'delete', [...above, node], rules)
      try {
        // a container changes with each node that leaves it
        const version = node.type === 'container' ? {} : { version: node.version }
        await backend.remove(node.path, node.type, { id: node.id, ...version })
        break
      } catch (error) {
        if (!isFault(error, 'PreconditionFailed') || attempt === MAX_ROUNDS) throw error
        node = await this.#again(node)
      }
    }
    this.#gone++
    gone.push({ id: node.id, path: node.path, kind: 'removed' })
  }

  async #aboveStart(): Promise<Chain> {
    const chain = await stillThere(this.#space, this.#start)
    if (chain === undefined) throw new Fault('NodeNotFound', this.#start.path)
    return chain.slice(0, -1)
  }

  /** The node as it is now. */
  async #again({ path, id }: Entry): Promise<Entry> {
    const node = (await stillThere(this.#space, { path, id }))?.at(-1)
    if (node === undefined) throw new Fault('NodeNotFound', path)
    return node
  }

  /** The containers down to a level, not older than FRESH_MS. NodeNotFound when the level has gone elsewhere. */
  async #freshly(level: Level): Promise<Chain> {
    if (performance.now() - level.seen <= FRESH_MS) return level.chain
    const chain = await stillThere(this.#space, nodeOf(level.chain))
    if (chain === undefined) throw new Fault('NodeNotFound', nodeOf(level.chain).path)
    level.chain = chain
    level.seen = performance.now()
    return chain
  }
}
