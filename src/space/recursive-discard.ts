/**
 * Recursive delete where there is a trash: the tree is looked through and counted, and moved there whole. Where something in it must stay, what
 * may go around it is moved in the largest pieces there are, each to come back by itself.
 *
 * Counts are those of the pass before the move: nodes that others add in between go along uncounted. Over a kill: the piece that is about to go
 * is written down with its count and the id it will have, so it is found in the trash, or still in its place. Errors are met and counted again.
 */
import { type Caller } from '../vospace/caller.ts'
import { isFault, type FaultName } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { refusalOf, type Chain } from './authorize.ts'
import { checkTree } from './check-tree.ts'
import { type Counts, MAX_ERRORS, refuseStopped, type Running, TooManyErrors } from './recursion.ts'
import { type Space } from './space.ts'
import { discard, isDiscarded, newTrashId } from './trash.ts'

export interface Discarding {
  readonly start: { readonly path: NodePath; readonly id: string }
  readonly gone: number
  /** what is about to go */
  readonly piece?: { readonly path: NodePath; readonly id: string; readonly nodes: number }
}

/** There is no room for the trash: the rest is to be removed node by node. */
export class NoRoom extends Error {
  readonly gone: number

  constructor(gone: number) {
    super('no room for the trash')
    this.gone = gone
  }
}

/** How many had gone when it was interrupted. */
export async function discardedBefore(space: Space, { gone, piece }: Discarding): Promise<number> {
  return piece !== undefined && (await isDiscarded(space, piece.path, piece.id)) ? gone + piece.nodes : gone
}

/** Throws NoRoom. */
export async function discardRecursively(
  space: Space,
  caller: Caller,
  chain: Chain,
  saved: Discarding,
  running: Running,
): Promise<Counts> {
  const work = new Discard(space, caller, saved, running)
  try {
    await work.visit(chain)
  } catch (error) {
    if (!(error instanceof TooManyErrors)) throw error
  }
  return work.counts
}

class Discard {
  readonly #space: Space
  readonly #caller: Caller
  readonly #start: Discarding['start']
  readonly #running: Running
  #gone: number
  #errors = 0
  #fault: FaultName | undefined

  constructor(space: Space, caller: Caller, saved: Discarding, running: Running) {
    this.#space = space
    this.#caller = caller
    this.#start = saved.start
    this.#gone = saved.gone
    this.#running = running
  }

  get counts(): Counts {
    return { successes: this.#gone, errors: this.#errors, ...(this.#fault && { fault: this.#fault }) }
  }

  /** False: it stays, or something of it does. */
  async visit(chain: Chain): Promise<boolean> {
    refuseStopped(this.#running.signal)
    const node = chain.at(-1)
    if (node === undefined) return true
    const refused = await this.#whole(chain)
    if (refused === undefined) return true
    const isOpen = refusalOf(this.#caller, 'list', chain, this.#space.rules) === undefined
    if (node.type === 'container' && isOpen && !(await this.#children(chain, node))) return false
    if (++this.#errors > MAX_ERRORS) throw new TooManyErrors()
    this.#fault ??= refused
    return false
  }

  async #children(chain: Chain, node: Entry): Promise<boolean> {
    const { signal } = this.#running
    let all = true
    // by name: what leaves a listing in its midst does not disturb that order
    for await (const child of this.#space.backend.list(node.path, signal && { signal })) {
      if (!(await this.visit([...chain, child]))) all = false
    }
    return all
  }

  /** Moves it when all of it may go; else the refusal. */
  async #whole(chain: Chain): Promise<FaultName | undefined> {
    try {
      const nodes = await checkTree(this.#space, this.#caller, chain, this.#running.signal)
      await this.#move(chain, nodes)
      return undefined
    } catch (error) {
      if (!isFault(error) || this.#running.signal?.aborted === true) throw error
      const { fault } = error
      return fault === 'NodeNotFound' || fault === 'ContainerNotFound' ? undefined : fault
    }
  }

  async #move(chain: Chain, nodes: number): Promise<void> {
    const path = chain.at(-1)?.path
    if (path === undefined) return
    const piece = { path, id: newTrashId(), nodes }
    this.#running.save({ start: this.#start, gone: this.#gone, piece } satisfies Discarding)
    if (!(await discard(this.#space, this.#caller, chain, nodes, piece.id))) throw new NoRoom(this.#gone)
    this.#gone += nodes
    this.#running.progress?.(this.#gone)
  }
}
