/**
 * Copy: a node, or a container with everything below (VOSpace 2.1, copyNode; wire.md 4.4). The copy grows under a name of its own beside where
 * it is to come, and takes its place in one step when it is whole: so nobody finds half a copy, and one that was cut short goes on.
 */
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { carriedText, textPath } from '../vospace/link.ts'
import { createdMode, DEFAULT_DATA_MODE } from '../vospace/mode.ts'
import { type Access, type Entry } from '../vospace/node.ts'
import { child, isWithin, nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { authorize, type Chain } from './authorize.ts'
import { destinationOf } from './move.ts'
import { checkRoom } from './quota.ts'
import { chainOf, find } from './resolve.ts'
import { newAccess } from './sharing.ts'
import { type Space } from './space.ts'

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
  const published = run.noted?.id === undefined ? undefined : await at(space, run.noted.to)
  if (published !== undefined && published.id === run.noted?.id) return published
  const source = await find(space, caller, from, { leaf: 'itself', way: 'follow' })
  const chain = chainOf(source)
  const size = await survey(space, caller, chain, run.signal)
  const path = run.noted?.to ?? (await destinationOf(space, caller, source, to, 'copy')).path
  const container = await openContainer(space, caller, path)
  const staged = run.noted?.staged ?? child(parentOf(path), `.karst-copy-${run.name}`)
  if (run.noted === undefined) {
    await checkRoom(space, container.path, size.bytes)
    run.note({ to: path, staged })
  }
  const { entry } = await new Copy(space, caller, run, { from: source.path, to: path, staged, total: size.nodes }).make(
    chain,
    container.access,
  )
  return publish(space, caller, run, { to: path, staged, id: entry.id })
}

/** Removes what a copy that does not go on has made. */
export async function removeStaged(space: Space, { staged }: CopyCheckpoint, signal: AbortSignal): Promise<void> {
  const entry = await at(space, staged)
  if (entry !== undefined) await removeTree(space, entry, signal)
}

async function at(space: Space, path: NodePath): Promise<Entry | undefined> {
  const last = (await space.backend.walk(path)).at(-1)
  return last?.path === path ? last : undefined
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

/** One copy that grows. */
class Copy {
  readonly #space: Space
  readonly #caller: Caller
  readonly #run: CopyRun
  readonly #places: Places
  #done = 0

  constructor(space: Space, caller: Caller, run: CopyRun, places: Places) {
    this.#space = space
    this.#caller = caller
    this.#run = run
    this.#places = places
  }

  /** The node that ends the chain, and what is below, in a container with this sharing. */
  async make(chain: Chain, into: Access): Promise<{ entry: Entry }> {
    const { signal, progress } = this.#run
    signal.throwIfAborted()
    authorize(this.#caller, 'read', chain, this.#space.rules)
    const source = chain.at(-1)
    if (source === undefined || this.#caller.user === undefined) throw new Fault('PermissionDenied', 'nobody to own it')
    const access = newAccess(source.type, {}, into, this.#caller.user)
    const entry = (await this.#made(source)) ?? (await this.#makeOne(source, access))
    if (source.type === 'container') {
      for await (const below of childrenOf(this.#space, source.path, signal))
        await this.#below([...chain, below], access)
    }
    progress(++this.#done, Math.max(this.#done, this.#places.total))
    return { entry }
  }

  // What somebody has removed since its container was listed is not there to be copied.
  async #below(chain: Chain, access: Access): Promise<void> {
    try {
      await this.make(chain, access)
    } catch (error) {
      const source = chain.at(-1)?.path
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound') || source === undefined) throw error
      if ((await at(this.#space, source)) !== undefined) throw error
    }
  }

  #path(source: NodePath, root: NodePath): NodePath {
    return `${root}${source.slice(this.#places.from.length)}` as NodePath
  }

  /** What a run that was cut short has made; data nodes are whole or not there. */
  async #made(source: Entry): Promise<Entry | undefined> {
    if (this.#run.noted === undefined) return undefined
    const entry = await at(this.#space, this.#path(source.path, this.#places.staged))
    if (entry === undefined || entry.type !== source.type) return undefined
    return entry.type === 'data' ? this.#mutable(entry) : entry
  }

  async #makeOne(source: Entry, access: Access): Promise<Entry> {
    const { backend } = this.#space
    const path = this.#path(source.path, this.#places.staged)
    if (source.type === 'data') {
      const draft = { access, mode: createdMode('data', dataMode(source.mode), access), signal: this.#run.signal }
      return this.#mutable(await backend.copy(source.path, path, draft))
    }
    const properties = new Map([...source.properties].filter(([uri]) => uri !== PROPERTY.immutable))
    const mode = createdMode(source.type, undefined, access)
    if (source.type === 'container') return backend.make(path, { type: 'container', access, mode, properties })
    const kept = backend.capabilities.linkProperties ? properties : new Map<string, string>()
    return backend.make(path, { type: 'link', access, mode, properties: kept, text: this.#text(source) })
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
  run.note(checkpoint)
  const entry = await space.backend.move(checkpoint.staged, checkpoint.to)
  space.changes.append({ id: entry.id, path: entry.path, kind: 'made' })
  return entry
}

/** How often a container is emptied again because somebody else goes on writing into it. */
const MAX_ROUNDS = 5

async function removeTree(space: Space, node: Entry, signal: AbortSignal): Promise<void> {
  for (let round = 1; ; round++) {
    signal.throwIfAborted()
    if (node.type === 'container') await removeBelow(space, node.path, signal)
    try {
      return await space.backend.remove(node.path, node.type)
    } catch (error) {
      if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return
      if (!isFault(error, 'ContainerNotEmpty') || round === MAX_ROUNDS) throw error
    }
  }
}

// In batches from the start: a listing that goes on while its container changes could leave some out.
async function removeBelow(space: Space, path: NodePath, signal: AbortSignal): Promise<void> {
  for (;;) {
    const batch: Entry[] = []
    for await (const entry of space.backend.list(path, { order: 'any', signal })) {
      batch.push(entry)
      if (batch.length === 256) break
    }
    if (batch.length === 0) return
    for (const entry of batch) await removeTree(space, entry, signal)
  }
}
