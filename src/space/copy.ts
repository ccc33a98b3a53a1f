/**
 * Copy: a node, or a container with everything below (VOSpace 2.1, copyNode; wire.md 4.4). The copy grows under a name of its own beside where
 * it is to come, and takes its place in one step when it is whole: so nobody finds half a copy, and one that was cut short goes on.
 */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { carriedText, textPath } from '../vospace/link.ts'
import { createdMode, DEFAULT_DATA_MODE, newAccess } from '../vospace/mode.ts'
import { type Access, type Entry } from '../vospace/node.ts'
import { child, isWithin, nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { type Backend } from '../backend/backend.ts'
import { authorize, type Chain } from './authorize.ts'
import { carryData, isCrossing } from './carry.ts'
import { refuseImported } from './import.ts'
import { destinationOf } from './move.ts'
import { checkRoom } from './quota.ts'
import { chainOf, entryAt, find } from './resolve.ts'
import { capabilitiesOf, type Space } from './space.ts'

/** What a copy knows of itself while it goes on. */
export interface CopyCheckpoint {
  readonly to: NodePath
  /** where it grows */
  readonly staged: NodePath
  /** of the copy, when it is whole */
  readonly id?: string
}

/** How a copy is tied to its job. */
export interface CopyRun {
  /** letters and digits that no other copy has */
  readonly name: string
  readonly signal: AbortSignal
  /** what `note` was told last by a run that was cut short */
  readonly noted: CopyCheckpoint | undefined
  readonly note: (checkpoint: CopyCheckpoint) => void
  readonly progress: (done: number, total: number) => void
}

const STAGED = /^\.karst-copy-[0-9a-z]+$/

/**
 * Every node below must be readable to the caller: all are looked at before the first one is made. The copy is the caller's, its sharing comes
 * from the container it comes into (inherit) or is none; properties are copied, locks are not. A link inside leads to the copy of what it led
 * to, when that is copied as well. Refuses as moveNode does; besides QuotaExceeded. Answers the new node.
 */
export async function copyNode(
  space: Space,
  caller: Caller,
  from: NodePath,
  to: NodePath,
  run: CopyRun,
): Promise<Entry> {
  const published = run.noted?.id === undefined ? undefined : await entryAt(space, run.noted.to)
  if (published !== undefined && published.id === run.noted?.id) return published
  const source = await find(space, caller, from, { leaf: 'itself', way: 'follow' })
  const chain = chainOf(source)
  const size = await survey(space, caller, chain, run.signal)
  const path = run.noted?.to ?? (await destinationOf(space, caller, source, to, 'copy')).path
  // it would grow there under another name than its own
  if (space.backend.imports?.covers(path) === true) refuseImported(space, path)
  const container = await openContainer(space, caller, path)
  const staged = run.noted?.staged ?? child(parentOf(path), `.karst-copy-${run.name}`)
  if (run.noted === undefined) {
    await checkRoom(space, container.path, size.bytes)
    run.note({ to: path, staged })
  }
  const places = { from: source.path, to: path, staged, total: size.nodes }
  const entry = await new Copy(space, caller, run, places).make(source.path, container.access)
  if (entry === undefined) throw new Fault('NodeNotFound', source.path)
  return publish(space, caller, run, { to: path, staged, id: entry.id })
}

/** Removes what a copy that does not go on has made for `owner`: what somebody has put in its place is not touched. */
export async function removeStaged(
  space: Space,
  owner: string | undefined,
  { staged }: CopyCheckpoint,
  signal: AbortSignal,
): Promise<void> {
  const entry = await entryAt(space, staged)
  if (entry !== undefined && entry.access.owner === owner) await removeTree(space, entry, signal)
}

/** The container that `path` is to come into; looked at anew at each step, since others may have closed it. */
async function openContainer(space: Space, caller: Caller, path: NodePath): Promise<Entry> {
  const chain = await space.backend.walk(parentOf(path))
  const container = chain.at(-1)
  if (container?.path !== parentOf(path) || container.type !== 'container') {
    throw new Fault('ContainerNotFound', parentOf(path))
  }
  authorize(caller, 'create', chain, space.rules)
  return container
}

/** Counts the nodes and bytes of a tree, each of which must be readable. */
async function survey(
  space: Space,
  caller: Caller,
  chain: Chain,
  signal: AbortSignal,
): Promise<{ nodes: number; bytes: number }> {
  signal.throwIfAborted()
  authorize(caller, 'read', chain, space.rules)
  const node = chain.at(-1)
  if (node?.type !== 'container') return { nodes: 1, bytes: node?.type === 'data' ? node.size : 0 }
  let nodes = 1
  let bytes = 0
  for await (const entry of childrenOf(space, node.path, signal)) {
    const below = await survey(space, caller, [...chain, entry], signal)
    nodes += below.nodes
    bytes += below.bytes
  }
  return { nodes, bytes }
}

async function* childrenOf({ backend }: Space, path: NodePath, signal: AbortSignal): AsyncGenerator<Entry> {
  for await (const entry of backend.list(path, { order: 'any', signal })) {
    if (!STAGED.test(nameOf(entry.path))) yield entry
  }
}

interface Places {
  readonly from: NodePath
  readonly to: NodePath
  readonly staged: NodePath
  readonly total: number
}

/** How often a node is looked at again that was another one when it had been copied. */
const MAX_LOOKS = 5

/**
 * One copy that grows. It takes its time, and others may put something else where it reads and where it writes: so each node is looked at
 * where it stands, right before it is copied and after, and so is what it comes into.
 */
class Copy {
  readonly #space: Space
  readonly #caller: Caller
  readonly #run: CopyRun
  readonly #places: Places
  readonly #owner: string
  #done = 0

  constructor(space: Space, caller: Caller, run: CopyRun, places: Places) {
    if (caller.user === undefined) throw new Fault('PermissionDenied', 'anonymous callers never write')
    this.#space = space
    this.#caller = caller
    this.#owner = caller.user
    this.#run = run
    this.#places = places
  }

  /** The node and what is below, in a container with this sharing. Undefined: there is no such node any more. */
  async make(path: NodePath, into: Access): Promise<Entry | undefined> {
    for (let look = 1; ; look++) {
      this.#run.signal.throwIfAborted()
      const chain = await this.#space.backend.walk(path)
      const source = chain.at(-1)
      if (source?.path !== path) return undefined
      authorize(this.#caller, 'read', chain, this.#space.rules)
      const access = newAccess(source.type, {}, into, this.#owner)
      const entry = await this.#unlessGone(
        source,
        async () => (await this.#made(source)) ?? this.#makeOne(source, access),
      )
      if (entry === undefined) continue
      if (source.type === 'container') await this.#children(source, access)
      else if ((await entryAt(this.#space, path))?.id !== source.id) {
        if (look === MAX_LOOKS) throw new Fault('NodeBusy', `${path} changes all the time`)
        await this.#space.backend.remove(entry.path, entry.type)
        continue
      }
      this.#run.progress(++this.#done, Math.max(this.#done, this.#places.total))
      return entry
    }
  }

  async #children(source: Entry, access: Access): Promise<void> {
    for await (const { path } of childrenOf(this.#space, source.path, this.#run.signal)) await this.make(path, access)
  }

  // What somebody has removed meanwhile is not there to be copied; then the place to come into is.
  async #unlessGone(source: Entry, work: () => Promise<Entry>): Promise<Entry | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw error
      if ((await entryAt(this.#space, source.path))?.id === source.id) throw error
      return undefined
    }
  }

  #path(source: NodePath, root: NodePath): NodePath {
    return `${root}${source.slice(this.#places.from.length)}` as NodePath
  }

  /** What a run that was cut short has made; data nodes are whole or not there. */
  async #made(source: Entry): Promise<Entry | undefined> {
    if (this.#run.noted === undefined) return undefined
    const entry = await entryAt(this.#space, this.#path(source.path, this.#places.staged))
    if (entry === undefined || entry.type !== source.type) return undefined
    return entry.type === 'data' ? this.#mutable(entry) : entry
  }

  async #makeOne(source: Entry, access: Access): Promise<Entry> {
    const { backend } = this.#space
    const path = this.#path(source.path, this.#places.staged)
    if (path !== this.#places.staged) await this.#checkOwn(parentOf(path))
    if (source.type === 'data') {
      const draft = { access, mode: createdMode('data', dataMode(source.mode), access), signal: this.#run.signal }
      return this.#mutable(await copyBytes(backend, source.path, path, draft))
    }
    const properties = new Map([...source.properties].filter(([uri]) => uri !== PROPERTY.immutable))
    const mode = createdMode(source.type, undefined, access)
    if (source.type === 'container') return backend.make(path, { type: 'container', access, mode, properties })
    const kept = capabilitiesOf(this.#space, path).linkProperties ? properties : new Map<string, string>()
    return backend.make(path, { type: 'link', access, mode, properties: kept, text: this.#text(source) })
  }

  async #checkOwn(container: NodePath): Promise<void> {
    const entry = await entryAt(this.#space, container)
    if (entry?.access.owner !== this.#owner) throw new Fault('ContainerNotFound', `${container} is not of the copy`)
  }

  // Immutable is a lock, and a copy has none.
  async #mutable(entry: Entry): Promise<Entry> {
    if (!entry.properties.has(PROPERTY.immutable)) return entry
    const properties = new Map([[PROPERTY.immutable, null]])
    return this.#space.backend.set({ path: entry.path, id: entry.id }, { properties })
  }

  #text({ text = Buffer.alloc(0), path }: Entry): Buffer {
    const target = textPath(text, path)
    if (target !== undefined && isWithin(target, this.#places.from)) return text
    return carriedText(text, path, this.#path(path, this.#places.to), this.#space.service)
  }
}

/** By the storage itself; from one storage to another the bytes go through here. */
async function copyBytes(
  backend: Backend,
  from: NodePath,
  to: NodePath,
  draft: { readonly access: Access; readonly mode: number; readonly signal: AbortSignal },
): Promise<Entry> {
  try {
    return await backend.copy(from, to, draft)
  } catch (error) {
    if (!isCrossing(error)) throw error
    const { signal, ...attributes } = draft
    return carryData({ backend, path: from }, { backend, path: to }, attributes, signal)
  }
}

// Who owns it keeps the bits of who owned it, execution among them; what others have is said by the access.
const dataMode = (mode: number): number =>
  (mode & 0o700) | (DEFAULT_DATA_MODE & 0o070) | ((mode & 0o100) === 0 ? 0 : 0o010)

async function publish(
  space: Space,
  caller: Caller,
  run: CopyRun,
  checkpoint: CopyCheckpoint & { readonly id: string },
): Promise<Entry> {
  await openContainer(space, caller, checkpoint.to)
  if ((await entryAt(space, checkpoint.staged))?.id !== checkpoint.id) {
    throw new Fault('NodeNotFound', `${checkpoint.staged}, a copy on its way, was taken away`)
  }
  run.note(checkpoint)
  const entry = await space.backend.move(checkpoint.staged, checkpoint.to)
  space.changes.append({ id: entry.id, path: entry.path, kind: 'made' })
  return entry
}

/** Nodes held at a time for each level of the tree. */
const BATCH = 256
/** How often a container is emptied again because somebody else goes on writing into it. */
const MAX_ROUNDS = 5

async function removeTree(space: Space, node: Entry, signal: AbortSignal): Promise<void> {
  for (let round = 1; ; round++) {
    signal.throwIfAborted()
    if (node.type === 'container') await removeBelow(space, node, signal)
    try {
      return await space.backend.remove(node.path, node.type)
    } catch (error) {
      if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return
      if (!isFault(error, 'ContainerNotEmpty') || round === MAX_ROUNDS) throw error
    }
  }
}

// In batches from the start: a listing that goes on while its container changes could leave some out.
async function removeBelow(space: Space, { path, access: { owner } }: Entry, signal: AbortSignal): Promise<void> {
  for (;;) {
    const batch: Entry[] = []
    for await (const entry of space.backend.list(path, { order: 'any', signal })) {
      if (entry.access.owner !== owner) throw new Fault('PermissionDenied', `${entry.path} is not of the copy`)
      batch.push(entry)
      if (batch.length === BATCH) break
    }
    for (const entry of batch) await removeTree(space, entry, signal)
    if (batch.length < BATCH) return
  }
}
