/** The change stream (schemas/fs-v1.md, "Changes"): what was changed through any gateway, as far as the caller may know of it. */
import { type Changes } from '../store/changes.ts'
import { type Caller } from '../vospace/caller.ts'
import { type NodePath, isWithin, parentOf } from '../vospace/path.ts'
import { isBeyond } from '../vospace/partition.ts'
import { refusalOf } from './authorize.ts'
import { type Space } from './space.ts'

export { ChangeOrigin } from '../store/change-origin.ts'

/** What is kept of changes: store/changes.ts has it. */
export interface ChangeSource {
  last(): number
  since(seq: number, limit?: number): Changes
  watch(hear: () => void): () => void
}

type Change = Changes['changes'][number]

/** `path` is absent where the containers above are gone by now. A line of `seq` alone says that all up to there has been told. */
export type ChangeLine =
  | { readonly seq: number }
  | { readonly seq: number; readonly resync: true }
  | {
      readonly seq: number
      readonly id: string
      readonly kind: Change['kind']
      readonly path?: NodePath
      readonly from?: NodePath
    }

export interface FollowOptions {
  /** After which change; absent: from now on. */
  readonly since?: number
  /** What concerns this node and what is below it. */
  readonly path: NodePath
  /** Whose own changes are left out. */
  readonly mount?: string
  readonly signal: AbortSignal
  /** Milliseconds after which it ends, for the caller to ask again and be authenticated again. */
  readonly life: number
  /** Milliseconds of silence. */
  readonly heartbeat: number
}

const BATCH = 500
/** How soon the changes of other gateways are noticed, milliseconds. */
const LOOK_MS = 100
/** The first of many changes is told at once, those after it that often, milliseconds. */
const PACE_MS = 20
/** How far the sequence has come while a mount hears only its own changes, which it is not told of: that often, milliseconds. */
const POSITION_MS = 100
/** After a gap, which may last as long as the store's disk is full. */
const GAP_MS = 1000

export class ChangeStreams {
  readonly #source: ChangeSource
  readonly #listeners = new Set<() => void>()
  #looked = -1
  #timer: NodeJS.Timeout | undefined
  #unwatch: (() => void) | undefined
  #waking = false
  #woken = -Infinity
  /** how far somebody waits to be told */
  #asked = -1
  #stopped = false

  constructor(source: ChangeSource) {
    this.#source = source
  }

  /** Batches of lines as they come; what the reader does not take stays in the store. */
  async *follow(space: Space, caller: Caller, options: FollowOptions): AsyncGenerator<readonly ChangeLine[]> {
    const { signal, heartbeat } = options
    const until = performance.now() + options.life
    let seq = options.since ?? this.#source.last()
    const told = { seq, at: performance.now() }
    const tell = (lines: readonly ChangeLine[]): readonly ChangeLine[] => {
      told.seq = seq
      told.at = performance.now()
      return lines
    }
    if (options.since === undefined) yield [{ seq }]
    while (!signal.aborted && !this.#stopped) {
      const { changes, resync } = this.#source.since(seq, BATCH)
      const left = until - performance.now()
      if (resync) {
        seq = this.#source.last()
        yield tell([{ seq, resync: true }])
        await this.#news(seq, Math.min(left, GAP_MS), signal)
        continue
      }
      seq = changes.at(-1)?.seq ?? seq
      const lines = await linesOf(space, caller, changes, options)
      const owed = seq === told.seq ? heartbeat : Math.min(heartbeat, POSITION_MS)
      const silence = told.at + owed - performance.now()
      if (lines.length > 0 || silence <= 0 || (seq > told.seq && this.#asked > told.seq))
        yield tell([...lines, { seq }])
      else if (left <= 0 && changes.length === 0) return
      else if (changes.length < BATCH) await this.#news(seq, Math.min(left, silence), signal)
    }
  }

  /** Somebody waits until their stream has come so far. */
  hasten(seq: number): void {
    this.#asked = Math.max(this.#asked, seq)
    if (!this.#stopped) this.#wake()
  }

  /** All streams end; their readers ask elsewhere. */
  stop(): void {
    this.#stopped = true
    this.#wake()
    this.#rest()
  }

  /** Until there may be some, or all that time is over. */
  #news(seq: number, milliseconds: number, signal: AbortSignal): Promise<void> {
    if (this.#stopped || signal.aborted || milliseconds <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', settle)
        this.#listeners.delete(settle)
        if (this.#listeners.size === 0) this.#rest()
        resolve()
      }
      const timer = setTimeout(settle, milliseconds)
      signal.addEventListener('abort', settle)
      this.#listeners.add(settle)
      this.#look(seq)
    })
  }

  // One look for all streams, as long as there are any.
  #look(seq: number): void {
    if (this.#timer !== undefined) {
      if (this.#looked !== seq) this.#soon() // changed since this stream looked
      return
    }
    this.#looked = seq
    this.#unwatch = this.#source.watch(() => this.#soon())
    this.#timer = setInterval(() => this.#glance(), LOOK_MS)
    this.#timer.unref()
  }

  #glance(): void {
    const last = this.#source.last()
    if (last === this.#looked) return
    this.#looked = last
    this.#wake()
  }

  // After what is being done now is done: a change of a thousand nodes is one awakening.
  #soon(): void {
    if (this.#waking) return
    this.#waking = true
    const wake = (): void => {
      this.#waking = false
      if (!this.#stopped) this.#glance()
    }
    const rest = this.#woken + PACE_MS - performance.now()
    if (rest <= 0) setImmediate(wake)
    else setTimeout(wake, rest).unref()
  }

  #wake(): void {
    this.#woken = performance.now()
    for (const hear of [...this.#listeners]) hear()
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#unwatch?.()
    this.#unwatch = undefined
  }
}

/** hidden: a container above is not readable to the caller. gone: some of them are not there any more. */
type Sight = 'seen' | 'gone' | 'hidden'

async function linesOf(
  space: Space,
  caller: Caller,
  changes: readonly Change[],
  { path: root, mount }: FollowOptions,
): Promise<ChangeLine[]> {
  const known = new Map<NodePath, Sight>()
  const lines: ChangeLine[] = []
  for (const change of changes) {
    if (mount !== undefined && change.mount === mount) continue
    if (!concerns(change.path, root) && (change.from === undefined || !concerns(change.from, root))) continue
    const to = await sightOf(space, caller, change.path, known)
    const from = change.from === undefined ? 'hidden' : await sightOf(space, caller, change.from, known)
    const line = lineOf(change, to, from)
    if (line !== undefined) lines.push(line)
  }
  return lines
}

/** Below the root of a mount, or above it. */
const concerns = (path: NodePath, root: NodePath): boolean => isWithin(path, root) || isWithin(root, path)

function lineOf({ seq, id, kind, path, from }: Change, to: Sight, ofFrom: Sight): ChangeLine | undefined {
  const origin = from !== undefined && ofFrom === 'seen' ? { from } : {}
  if (to === 'seen') return { seq, id, kind, path, ...origin }
  // it went where they cannot look
  if ('from' in origin) return { seq, id, kind: 'removed', path: origin.from }
  return to === 'gone' ? { seq, id, kind } : undefined
}

async function sightOf(space: Space, caller: Caller, path: NodePath, known: Map<NodePath, Sight>): Promise<Sight> {
  if (path === '/') return 'seen'
  // its parent may be above a partition, and be passed through
  if (caller.scope !== undefined && isBeyond(path, caller.scope)) return 'hidden'
  const parent = parentOf(path)
  const before = known.get(parent)
  if (before !== undefined) return before
  const entries = await space.backend.walk(parent)
  const containers = entries.filter(({ type }) => type === 'container')
  const isClosed = refusalOf(caller, 'reach', containers, space.rules) !== undefined
  const sight = isClosed ? 'hidden' : containers.at(-1)?.path === parent ? 'seen' : 'gone'
  known.set(parent, sight)
  return sight
}
