/**
 * The properties and sharing of a node document, laid upon a node and everything below (wire.md 3.7): a container before its children, by
 * the rules of setNode; what the caller may not write counts as one error and is not looked into.
 *
 * Counts over a kill: the checkpoint is the last node that was done, in order of names, with the counts up to there. The nodes after it
 * that had been done already, at most a batch, are done and counted again, which changes nothing of them: those that the change itself has
 * closed to the caller count as done when they are as the document says.
 * Memory: a listing a level; checkpoints: one path.
 */
import { type Caller } from '../vospace/caller.ts'
import { type NodeDocument } from '../vospace/document.ts'
import { Fault, isFault, type FaultName } from '../vospace/fault.ts'
import { groupList, type Entry, type NodeType } from '../vospace/node.ts'
import { stepsOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { authorize, refusalOf, type Chain } from './authorize.ts'
import { changesFor, checkReadOnly } from './nodes.ts'
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
import { changedAccess, checkChange, type SharingChange } from './share.ts'
import { vouched, wishesOf, type Wishes } from './sharing.ts'
import { type Space } from './space.ts'

interface Saved {
  readonly start: { readonly path: NodePath; readonly id: string }
  readonly successes: number
  readonly errors: number
  readonly fault?: FaultName
  /** names below the start, down to the last node that was done; undefined: none was */
  readonly at?: readonly string[]
}

/**
 * Refuses with nothing done: PermissionDenied (owner and quota are not for whole trees), InvalidArgument (a property that cannot be), and as
 * for a single node when the start is not there: InvalidURI, NodeNotFound, UnreadableLinkTarget.
 */
export async function setRecursively(
  space: Space,
  caller: Caller,
  document: NodeDocument,
  running: Running,
): Promise<Counts> {
  const wishes = wishesByType(space, caller, document)
  return setFrom(space, caller, document.uri, ({ type }) => wishes[type], running)
}

/**
 * As setRecursively, with what is shared changed and not replaced: of each node the groups that it has besides stay. To be done twice
 * changes nothing, so an interruption does not matter here either.
 */
export async function shareRecursively(
  space: Space,
  caller: Caller,
  target: string,
  change: SharingChange,
  running: Running,
): Promise<Counts> {
  checkChange(change)
  const wishes = (node: Entry): Wishes => ({ access: changedAccess(node, change), properties: NONE, readOnly: [] })
  return setFrom(space, caller, target, wishes, running)
}

const NONE: ReadonlyMap<string, string> = new Map()

type WishesOf = (node: Entry) => Wishes

async function setFrom(
  space: Space,
  caller: Caller,
  target: string,
  wishes: WishesOf,
  running: Running,
): Promise<Counts> {
  const saved = running.checkpoint as Saved | undefined
  const chain =
    saved === undefined ? await startAt(space, caller, target, running.signal) : await stillThere(space, saved.start)
  const node = chain?.at(-1)
  if (chain === undefined || node === undefined) throw new Fault('NodeNotFound', target)
  const start = { path: node.path, id: node.id }
  return new Setting(space, caller, wishes, running, saved ?? { start, successes: 0, errors: 0 }).run(chain)
}

type WishesByType = Readonly<Record<NodeType, Wishes>>

function wishesByType(space: Space, caller: Caller, { properties }: NodeDocument): WishesByType {
  const [data, container, link] = (['data', 'container', 'link'] as const).map((type) =>
    vouched(wishesOf(properties, type), space),
  )
  if (data === undefined || container === undefined || link === undefined) throw new Error('three in, three out')
  const given = properties.find(({ uri }) => uri === PROPERTY.creator || uri === PROPERTY.quota)
  if (given !== undefined) throw new Fault('PermissionDenied', `${given.uri} is not set for a whole tree`)
  checkReadOnly(space, caller, data)
  return { data, container, link }
}

class Setting {
  readonly #space: Space
  readonly #caller: Caller
  readonly #wishes: WishesOf
  readonly #running: Running
  readonly #start: Saved['start']
  #successes: number
  #errors: number
  #fault: FaultName | undefined
  /** nodes since the last checkpoint */
  #since = 0
  /** nodes that may have been done before the interruption */
  #repeated: number
  readonly #from: readonly string[] | undefined

  constructor(space: Space, caller: Caller, wishes: WishesOf, running: Running, saved: Saved) {
    this.#space = space
    this.#caller = caller
    this.#wishes = wishes
    this.#running = running
    this.#start = saved.start
    this.#successes = saved.successes
    this.#errors = saved.errors
    this.#fault = saved.fault
    this.#from = saved.at
    this.#repeated = running.checkpoint === undefined ? 0 : BATCH
  }

  async run(chain: Chain): Promise<Counts> {
    if (this.#from === undefined) this.#save(undefined)
    try {
      if (this.#from === undefined) await this.#visit(chain)
      else await this.#below(chain, this.#from)
    } catch (error) {
      if (!(error instanceof TooManyErrors)) throw error
    }
    return this.#counts
  }

  get #counts(): Counts {
    const fault = this.#fault
    return { successes: this.#successes, errors: this.#errors, ...(fault && { fault }) }
  }

  async #visit(chain: Chain): Promise<void> {
    const node = last(chain)
    refuseStopped(this.#running.signal)
    const now = await this.#set(chain)
    const wasClosed = now !== undefined && (await this.#isClosed(now))
    if (wasClosed) this.#failed('PermissionDenied')
    if (++this.#since >= BATCH) this.#save(node.path)
    if (this.#repeated > 0) this.#repeated--
    if (now !== undefined && !wasClosed) await this.#below(now, undefined)
  }

  /** Children, from the one that `from` leads to, which was done itself. */
  async #below(chain: Chain, from: readonly string[] | undefined): Promise<void> {
    const node = last(chain)
    if (node.type !== 'container') return
    const { rules } = this.#space
    const [first, ...rest] = from ?? []
    if (refusalOf(this.#caller, 'list', chain, rules) !== undefined) {
      // closed since: whether it was then has been counted, unless the work was in the midst of it
      if (first !== undefined) this.#failed('PermissionDenied')
      return
    }
    const prefix = node.path === '/' ? '/' : `${node.path}/`
    let above: Chain | undefined = chain
    let seen = performance.now()
    for await (const child of this.#list(node.path, first)) {
      if (performance.now() - seen > FRESH_MS) {
        above = await stillThere(this.#space, node)
        seen = performance.now()
      }
      if (above === undefined) return // taken elsewhere
      if (first !== undefined && child.path === prefix + first) await this.#below([...above, child], rest)
      else await this.#visit([...above, child])
    }
  }

  async *#list(path: NodePath, from: string | undefined): AsyncGenerator<Entry> {
    const { signal } = this.#running
    try {
      yield* this.#space.backend.list(path, { ...(from !== undefined && { from }), ...(signal && { signal }) })
    } catch (error) {
      // somebody else took it away, or put something in its place
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw error
    }
  }

  /** The chain with the node as it is now; undefined: it is gone, or was not to be changed. */
  async #set(chain: Chain): Promise<Chain | undefined> {
    const { backend, changes: log, rules } = this.#space
    const node = last(chain)
    try {
      const wishes = this.#wishes(node)
      const isDone = isAsAsked(node, wishes)
      if (this.#repeated === 0 || !isDone) authorize(this.#caller, 'update', chain, rules)
      const changes = isDone ? undefined : changesFor(this.#space, this.#caller, node, wishes)
      let now = node
      if (changes !== undefined) {
        now = await backend.set({ path: node.path, id: node.id }, changes)
        log.append({ id: now.id, path: now.path, kind: 'attributes' })
      }
      this.#successes++
      this.#running.progress?.(this.#successes)
      return [...chain.slice(0, -1), now]
    } catch (error) {
      if (!isFault(error)) throw error
      const { fault } = error
      if (fault !== 'NodeNotFound' && fault !== 'ContainerNotFound') this.#failed(fault)
      return undefined
    }
  }

  /** Whether there are children that the change has closed to the caller. */
  async #isClosed(chain: Chain): Promise<boolean> {
    const node = last(chain)
    if (node.type !== 'container' || refusalOf(this.#caller, 'list', chain, this.#space.rules) === undefined)
      return false
    for await (const _child of this.#list(node.path, undefined)) return true
    return false
  }

  #failed(fault: FaultName): void {
    this.#fault ??= fault
    if (++this.#errors > MAX_ERRORS) throw new TooManyErrors()
  }

  #save(at: NodePath | undefined): void {
    this.#since = 0
    const names = at === undefined ? {} : { at: stepsOf(at).slice(stepsOf(this.#start.path).length) }
    this.#running.save({ start: this.#start, ...this.#counts, ...names } satisfies Saved)
  }
}

/** Nothing would change. What the storage cannot keep of a link does not count. */
function isAsAsked({ access, properties }: Entry, wishes: Wishes): boolean {
  const kept: Partial<Record<string, unknown>> = { ...access }
  const hasAccess = Object.entries(wishes.access).every(([key, value]) =>
    Array.isArray(value) ? groupList(value).join(' ') === [kept[key]].flat().join(' ') : kept[key] === value,
  )
  return hasAccess && [...wishes.properties].every(([uri, value]) => (properties.get(uri) ?? null) === value)
}

function last(chain: Chain): Entry {
  const node = chain.at(-1)
  if (node === undefined) throw new Error('a chain has at least the root')
  return node
}
