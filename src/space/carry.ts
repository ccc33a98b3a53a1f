/**
 * A tree brought from one storage to another, node by node, with all that is kept of each: owner, sharing, mode, times, properties, ACL. What was
 * written is read again and compared by digest. Doing it again brings over what has changed since: so an interrupted run goes on.
 */
import { createHash, type Hash } from 'node:crypto'
import { type Backend, type Changes, type Ref } from '../backend/backend.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { grantedBits } from '../vospace/mode.ts'
import { type Entry } from '../vospace/node.ts'
import { child, isWithin, nameOf, type NodePath } from '../vospace/path.ts'

/** A place in a storage. */
export interface Side {
  readonly backend: Backend
  readonly path: NodePath
}

export interface CarryRun {
  readonly signal: AbortSignal
  /** nodes so far */
  readonly progress?: (done: number) => void
}

/** How often a node is looked at again that changes while it is read. */
const MAX_LOOKS = 5

/**
 * Makes what is at `to` what is at `from`, of which nothing else is left; its parent must be there. Answers the node. NodeNotFound: there is
 * none; TransferFailed: it cannot be read as it was written; NodeBusy: it changes all the time; OperationNotSupported: something of it has no
 * name or kind that a node can have, and would be left behind; refusals of the storages.
 */
export async function carryTree(from: Side, to: Side, run: CarryRun): Promise<Entry> {
  const carried = await new Carrier(from.backend, to.backend, run, to.path).look(from.path, to.path)
  if (carried === undefined) throw new Fault('NodeNotFound', from.path)
  return carried
}

/** A data node, unless something is at `to` already: with these attributes, its properties and its bytes, compared by digest. */
export async function carryData(
  from: Side,
  to: Side,
  draft: Pick<Entry, 'access' | 'mode'>,
  signal: AbortSignal,
): Promise<Entry> {
  const source = await entryIn(from.backend, from.path)
  if (source === undefined) throw new Fault('NodeNotFound', from.path)
  const { properties } = source
  const written = await writeBytes({ from: from.backend, to: to.backend, signal }, source, to.path, {
    draft: { ...draft, properties },
    ifAbsent: true,
  })
  return written
}

class Carrier {
  readonly #from: Backend
  readonly #to: Backend
  readonly #run: CarryRun
  /** stays, whatever has become of what it was made of: its caller knows whether it counts already */
  readonly #top: NodePath
  #done = 0

  constructor(from: Backend, to: Backend, run: CarryRun, top: NodePath) {
    this.#from = from
    this.#to = to
    this.#run = run
    this.#top = top
  }

  /** Undefined: there is no such node, or none any more. */
  async look(path: NodePath, at: NodePath): Promise<Entry | undefined> {
    for (let look = 1; ; look++) {
      const source = await entryIn(this.#from, path)
      if (source === undefined) {
        if (at !== this.#top) await removeWhole(this.#to, at)
        return undefined
      }
      try {
        const carried = await this.#carry(source, at)
        this.#run.progress?.(++this.#done)
        return carried
      } catch (error) {
        if (!isFault(error) || this.#run.signal.aborted) throw error
        const now = await entryIn(this.#from, path)
        if (now?.id === source.id && now.version === source.version) throw error
        if (look === MAX_LOOKS) throw new Fault('NodeBusy', `${path} changes all the time`, { cause: error })
      }
    }
  }

  async #carry(source: Entry, at: NodePath): Promise<Entry> {
    this.#run.signal.throwIfAborted()
    const found = await entryIn(this.#to, at)
    if (found !== undefined && found.type !== source.type) await removeWhole(this.#to, at)
    const there = found?.type === source.type ? found : undefined
    if (source.type === 'data') return this.#settle(source, await this.#data(source, there, at))
    if (source.type === 'link') return this.#settle(source, await this.#link(source, there, at))
    const { access, properties } = source
    const made = there ?? (await this.#to.make(at, { type: 'container', access, mode: baseMode(source), properties }))
    await this.#children(source.path, at)
    if (there !== undefined) await this.#sweep(source.path, at)
    return this.#settle(source, made)
  }

  async #children(path: NodePath, at: NodePath): Promise<void> {
    for await (const below of this.#from.list(path, { order: 'any', whole: true, signal: this.#run.signal })) {
      await this.look(below.path, child(at, nameOf(below.path)))
    }
  }

  // What a run before has brought over, and is not there any more.
  async #sweep(path: NodePath, at: NodePath): Promise<void> {
    const gone: NodePath[] = []
    for await (const below of this.#to.list(at, { order: 'any' })) {
      if ((await entryIn(this.#from, child(path, nameOf(below.path)))) === undefined) gone.push(below.path)
    }
    for (const one of gone) await removeWhole(this.#to, one)
  }

  async #data(source: Entry, there: Entry | undefined, at: NodePath): Promise<Entry> {
    if (there !== undefined && (await this.#isSame(source, there))) return there
    const { access, gid, properties } = source
    const draft = { access, mode: baseMode(source), gid, properties }
    return writeBytes({ from: this.#from, to: this.#to, signal: this.#run.signal }, source, at, { draft })
  }

  async #isSame(source: Entry, there: Entry): Promise<boolean> {
    if (source.size !== there.size || source.mtime !== there.mtime) return false
    const [a, b] = [source.md5 ?? (await digestOf(this.#from, source)), there.md5 ?? (await digestOf(this.#to, there))]
    return a === b
  }

  async #link(source: Entry, there: Entry | undefined, at: NodePath): Promise<Entry> {
    const text = source.text ?? Buffer.alloc(0)
    if (there?.text?.equals(text) === true) return there
    if (there !== undefined) await this.#to.remove(at, 'link')
    const { access, mode } = source
    const properties = this.#to.capabilities.linkProperties ? source.properties : new Map<string, string>()
    return this.#to.make(at, { type: 'link', access, mode, text, properties })
  }

  /** Whatever of its attributes is not as it was; times last, since all else would change them. */
  async #settle(source: Entry, made: Entry): Promise<Entry> {
    const ref = { path: made.path, id: made.id }
    const changes = changesTo(source, made)
    const entry = changes === undefined ? made : await this.#to.set(ref, changes)
    await this.#acl(source, entry)
    const isTimed = source.type === 'link' || (await entryIn(this.#to, made.path))?.mtime === source.mtime
    return isTimed ? entry : this.#to.set(ref, { mtime: source.mtime })
  }

  // Entries for single users, and what is made in a container: a mode and groups do not say it all.
  async #acl(source: Entry, made: Entry): Promise<void> {
    const [from, to] = [this.#from.posix, this.#to.posix]
    if (from === undefined || to === undefined || source.type === 'link') return
    for (const kind of source.type === 'container' ? (['access', 'default'] as const) : (['access'] as const)) {
      const [wanted, has] = [await from.acl(source, kind), await to.acl(made, kind)]
      if (wanted === undefined ? has !== undefined : has?.equals(wanted) !== true) {
        await to.setAcl(made, kind, wanted ?? null)
      }
    }
  }
}

/** What must change for `made` to be as `source` is. */
function changesTo(source: Entry, made: Entry): Changes | undefined {
  const properties = new Map<string, string | null>()
  for (const [uri, value] of source.properties) if (made.properties.get(uri) !== value) properties.set(uri, value)
  for (const uri of made.properties.keys()) if (!source.properties.has(uri)) properties.set(uri, null)
  const hasAccess = JSON.stringify(source.access) === JSON.stringify(made.access)
  const changes: Changes = {
    ...(!hasAccess && { access: source.access }),
    ...(source.type !== 'link' && source.mode !== made.mode && { mode: baseMode(source) }),
    ...(source.gid !== made.gid && source.type !== 'link' && { gid: source.gid }),
    ...(source.type !== 'link' && properties.size > 0 && { properties }),
  }
  return Object.keys(changes).length === 0 ? undefined : changes
}

/** The mode without what the granted groups have anyway: better too little for the owning group than too much. */
const baseMode = ({ type, mode, access }: Entry): number => mode & ~(grantedBits(type, access) << 3)

interface Way {
  readonly from: Backend
  readonly to: Backend
  readonly signal: AbortSignal
}

/** Writes the bytes of `source`, and reads them again: what reads otherwise is removed. */
async function writeBytes(
  { from, to, signal }: Way,
  source: Entry,
  at: NodePath,
  options: Pick<Parameters<Backend['put']>[2], 'draft' | 'ifAbsent'>,
): Promise<Entry> {
  const { entry, body } = await from.read({ path: source.path, id: source.id }, { signal })
  const hash = createHash('md5')
  const { size, mtime, md5 } = entry
  let written: Entry
  try {
    written = await to.put(at, hashed(body, hash, md5), { ...options, length: size, mtime, signal })
  } finally {
    // refused at once, it was not read at all
    body.destroy()
  }
  const digest = hash.digest('hex')
  if ((await digestOf(to, written)) === digest) return written
  await to.remove(at, 'data', { id: written.id })
  throw new Fault('TransferFailed', `${at} does not read as it was written`)
}

/** The same pieces; throws before the last one counts when they are not what the storage knows them to be. */
async function* hashed(
  body: AsyncIterable<Uint8Array>,
  hash: Hash,
  md5: string | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    hash.update(piece)
    yield piece
  }
  if (md5 !== undefined && hash.copy().digest('hex') !== md5) {
    throw new Fault('TransferFailed', 'the bytes are not those of their digest: the storage has damaged them')
  }
}

async function digestOf(backend: Backend, { path, id }: Ref): Promise<string> {
  const { body } = await backend.read(id === undefined ? { path } : { path, id })
  const hash = createHash('md5')
  for await (const piece of body as AsyncIterable<Uint8Array>) hash.update(piece)
  return hash.digest('hex')
}

/** Refused because two paths are kept by two storages. */
export const isCrossing = (error: unknown): boolean =>
  isFault(error, 'OperationNotSupported') && error.errno === 'EXDEV'

/** The node at a path of a storage, itself. */
export async function entryIn(backend: Backend, path: NodePath): Promise<Entry | undefined> {
  const last = (await backend.walk(path)).at(-1)
  return last?.path === path ? last : undefined
}

/** Removes whatever is there, with all below it. */
export async function removeWhole(backend: Backend, path: NodePath): Promise<void> {
  const node = await entryIn(backend, path)
  if (node === undefined) return
  if (node.type === 'container') {
    const below: NodePath[] = []
    for await (const entry of backend.list(path, { order: 'any' })) below.push(entry.path)
    for (const one of below) await removeWhole(backend, one)
  }
  await backend.remove(path, node.type)
}

/** NodeBusy where something waits in a trash that is kept in a tree: it would go with what the tree was, since a trash is of one storage. */
export async function refuseTrash({ trash }: Backend, path: NodePath): Promise<void> {
  for await (const keeper of trash?.keepers() ?? []) {
    if (!isWithin(keeper, path)) continue
    for await (const note of trash?.list(keeper) ?? []) throw waiting(note.path)
  }
}

export const waiting = (path: NodePath): Fault =>
  new Fault('NodeBusy', `${path} waits in the trash: restore it, or empty the trash, and try again`)
