/** Several storages as one: each keeps the parts of the namespace that the routes give it. What crosses from one to another is refused (EXDEV). */
import { type Readable } from 'node:stream'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Access, type Entry, type NodeType } from '../vospace/node.ts'
import { child, isWithin, nameOf, ROOT, type NodePath } from '../vospace/path.ts'
// prettier-ignore
import {
  type AmendOptions, type Arrivals, type Backend, type Cancel, type Capabilities, type Changes, type Child, type Choose, type ContainerDraft, type Extent,
  type Imports, type LinkDraft, type ListOptions, type PosixCalls, type PutOptions, type ReadOptions, type Ref, type Removal, type Seen, type Snapshots, type Trash, type Usage,
} from './backend.ts'
import { Gate } from './gate.ts'
import { type Joined } from './joined.ts'
import { makeContainers, StorageProfiles, type ProfileOptions } from './profiles.ts'
import { RoutedNames } from './routed-names.ts'
import { RoutedArrivals } from './routed-arrivals.ts'
import { RoutedImports } from './routed-imports.ts'
import { RoutedSnapshots } from './routed-snapshots.ts'
import { routedPosix } from './routed-posix.ts'
import { RoutedTrash } from './routed-trash.ts'
import { containersTo, type Routes, type Storage } from './routes.ts'
import { Tag } from './tagged-ids.ts'

export class RoutedBackend implements Backend, Joined {
  readonly trash?: Trash
  readonly imports?: Imports
  readonly arrivals?: Arrivals
  readonly posix?: PosixCalls
  readonly snapshots?: Snapshots
  readonly routes: Routes
  readonly gate = new Gate()
  readonly profiles: StorageProfiles
  readonly #tags: ReadonlyMap<string, Tag>
  readonly #names: RoutedNames

  constructor(routes: Routes, options: ProfileOptions = {}) {
    this.routes = routes
    this.profiles = new StorageProfiles(routes, this.gate, options)
    const root = routes.of(ROOT)
    this.#tags = new Map(routes.storages.map((storage) => [storage.name, new Tag(storage, root)]))
    this.#names = new RoutedNames(this, ({ backend }) => backend)
    if (routes.storages.every(({ backend }) => backend.trash !== undefined)) {
      this.trash = new RoutedTrash(this)
    }
    if (routes.storages.some(({ backend }) => backend.imports !== undefined)) {
      this.imports = new RoutedImports(this)
    }
    if (routes.storages.some(({ backend }) => backend.arrivals !== undefined)) {
      this.arrivals = new RoutedArrivals(this)
    }
    if (routes.storages.some(({ backend }) => backend.snapshots !== undefined)) {
      this.snapshots = new RoutedSnapshots(this)
    }
    if (routes.storages.every(({ backend }) => backend.posix !== undefined)) {
      this.posix = routedPosix(this)
    }
  }

  /** What all of them can. */
  get capabilities(): Capabilities {
    const [first, ...more] = this.routes.storages.map(({ backend }) => backend.capabilities)
    if (first === undefined) throw new Error('no storage at all')
    const all = [first, ...more]
    const can = (name: keyof Capabilities): boolean => all.every((one) => one[name])
    return {
      atomicMove: can('atomicMove'),
      exchange: can('exchange'),
      linkProperties: can('linkProperties'),
      hardLinks: can('hardLinks'),
      quota: can('quota'),
      directUrl: can('directUrl'),
      reflink: can('reflink'),
      snapshots: can('snapshots'),
    }
  }

  capabilitiesAt(path: NodePath): Capabilities {
    const { backend } = this.routes.of(path)
    return backend.capabilitiesAt?.(path) ?? backend.capabilities
  }

  /** Starts them all, and makes what containers lead to where each begins. What is refused names the storage. */
  async start(): Promise<void> {
    const started: Storage[] = []
    try {
      for (const storage of this.routes.storages) {
        await named(storage, () => storage.backend.start())
        started.push(storage)
      }
      for (const { path, storage } of this.routes.lines) await this.prepare(path, storage)
    } catch (error) {
      for (const { backend } of started.reverse()) await backend.stop()
      throw error
    }
  }

  /** Makes the containers that lead to a seam, on both sides of it. */
  async prepare(path: NodePath, storage: Storage): Promise<void> {
    if (path === ROOT) return
    const outside = this.routes.legs(path).filter(({ from }) => from !== path)
    for (const { storage: outer, from, until } of outside) {
      const along = containersTo(until).filter((one) => isWithin(one, from))
      await named(outer, () => makeContainers(outer, along))
    }
    await named(storage, () => makeContainers(storage, containersTo(path)))
  }

  async stop(): Promise<void> {
    for (const { backend } of this.routes.storages) await backend.stop()
  }

  async probe(): Promise<void> {
    for (const storage of this.routes.storages) await named(storage, () => storage.backend.probe())
  }

  walk(path: NodePath, options?: Cancel): Promise<Entry[]> {
    return this.#names.walk(path, options)
  }

  /** Where one storage that tells at once keeps all of the path. */
  walkNow(path: NodePath): Entry[] | undefined {
    const { backend, name } = this.routes.of(path)
    return this.routes.of(ROOT).name === name && this.routes.legs(path).length === 1
      ? backend.walkNow?.(path)
      : undefined
  }

  list(container: NodePath, options?: ListOptions): AsyncIterable<Entry> {
    return this.#names.list(container, options)
  }

  async make(path: NodePath, draft: ContainerDraft | LinkDraft): Promise<Entry> {
    return this.#change(path, ({ backend }) => backend.make(path, draft))
  }

  async put(path: NodePath, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Entry> {
    return this.#change(path, ({ backend }, tag, cut) => {
      const { id } = options
      const untagged = id === undefined ? options : { ...options, id: tag.off(id) }
      return backend.put(path, body, { ...untagged, signal: either(cut, options.signal) })
    })
  }

  async read(ref: Ref, options?: ReadOptions): Promise<{ entry: Entry; body: Readable }> {
    const storage = this.routes.of(ref.path)
    const tag = this.tag(storage)
    const { entry, body } = await storage.backend.read(tag.ref(ref), options)
    return { entry: tag.entry(entry), body }
  }

  async amend(ref: Ref, extents: AsyncIterable<Extent>, options: AmendOptions): Promise<Entry> {
    return this.#change(ref.path, ({ backend }, tag, cut) =>
      backend.amend(tag.ref(ref), extents, { ...options, signal: either(cut, options.signal) }),
    )
  }

  async set(ref: Ref, changes: Changes): Promise<Entry> {
    return this.#change(ref.path, ({ backend }, tag) => backend.set(tag.ref(ref), changes))
  }

  async move(
    from: NodePath,
    to: NodePath,
    options?: { readonly replace?: boolean; readonly exchange?: boolean },
  ): Promise<Entry> {
    return this.gate.through([from, to], () => this.#names.move(from, to, options))
  }

  async copy(
    from: NodePath,
    to: NodePath,
    draft: { readonly access: Access; readonly mode: number } & Cancel,
  ): Promise<Entry> {
    const { backend } = this.routes.common(from, to)
    return this.#change(to, (_storage, _tag, cut) =>
      backend.copy(from, to, { ...draft, signal: either(cut, draft.signal) }),
    )
  }

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    return this.gate.through([path], () => this.#names.remove(path, type, seen))
  }

  isFixed(path: NodePath): boolean {
    return this.routes.isFixed(path) || this.routes.of(path).backend.isFixed?.(path) === true
  }

  async *survey(container: NodePath, options?: Cancel): AsyncGenerator<readonly Child[]> {
    const seams = this.routes.seamsIn(container)
    for await (const page of this.routes.of(container).backend.survey(container, options)) {
      yield page.filter(({ name }) => !seams.includes(child(container, name)))
    }
    const begins = seams.map((path) => ({ name: nameOf(path), type: 'container', locked: false, immutable: false }) as const) // prettier-ignore
    if (begins.length > 0) yield begins
  }

  async *removeChildren(container: Ref, choose: Choose, options?: Cancel): AsyncGenerator<readonly Removal[]> {
    const { path } = container
    const storage = this.routes.of(path)
    const tag = this.tag(storage)
    const seams = this.routes.seamsIn(path)
    const chosen: Choose = (page) => {
      const shown = new Map(page.filter(({ name }) => !seams.includes(child(path, name))).map((one) => [tag.put(one), one])) // prettier-ignore
      return choose([...shown.keys()]).flatMap((one) => shown.get(one) ?? [])
    }
    const pages = storage.backend.removeChildren(tag.ref(container), chosen, options)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await this.gate.through([path], () => pages.next())
        if (next.done === true) return
        yield next.value.map((removal: Removal) => ({ ...removal, child: tag.put(removal.child) }))
      }
    } finally {
      await pages.return?.()
    }
  }

  async link(ref: Ref, to: NodePath): Promise<Entry> {
    return this.gate.through([ref.path, to], () => this.#names.link(ref, to))
  }

  usage(path: NodePath): Promise<Usage> {
    return this.routes.of(path).backend.usage(path)
  }

  isLimited(chain: readonly Entry[]): boolean {
    const last = chain.at(-1)
    return last === undefined || (this.routes.of(last.path).backend.isLimited?.(chain) ?? true)
  }

  async setQuota(container: NodePath, bytes: number | null): Promise<void> {
    return this.gate.through([container], () => this.routes.of(container).backend.setQuota(container, bytes))
  }

  directUrl(path: NodePath): Promise<URL> {
    return this.routes.of(path).backend.directUrl(path)
  }

  tag({ name }: Storage): Tag {
    const tag = this.#tags.get(name)
    if (tag === undefined) throw new Error(`there is no backend named ${name}`)
    return tag
  }

  async #change(
    path: NodePath,
    work: (storage: Storage, tag: Tag, cut: AbortSignal) => Promise<Entry>,
  ): Promise<Entry> {
    return this.gate.through([path], async (cut) => {
      const storage = this.routes.of(path)
      const tag = this.tag(storage)
      return tag.entry(await work(storage, tag, cut))
    })
  }
}

const either = (cut: AbortSignal, signal: AbortSignal | undefined): AbortSignal =>
  signal === undefined ? cut : AbortSignal.any([cut, signal])

/** Runs a step; what is refused says of which storage. */
async function named<T>({ name }: Storage, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    const why = `storage profile ${name}: ${isFault(error) ? error.detail : (error as Error).message}`
    if (!isFault(error)) throw new Error(why, { cause: error })
    throw new Fault(error.fault, why, { errno: error.errno, cause: error })
  }
}
