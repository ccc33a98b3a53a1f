/** The storages behind a namespace, as those see them who bring nodes from one to another. */
import { randomBytes } from 'node:crypto'
import { keeperOf } from '../vospace/allocation.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { isWithin, ROOT, type NodePath } from '../vospace/path.ts'
import { type Backend, type Held, type Profiles } from './backend.ts'
import { type Gate } from './gate.ts'
import { containersTo, type Routes, type Storage } from './routes.ts'

/** What is under way has so many milliseconds before it is cut. */
const GRACE_MS = 10_000

export interface ProfileOptions {
  readonly allocationParents?: readonly NodePath[]
  /** Keeps over a restart which storage a path has come to. */
  readonly keep?: (path: NodePath, name: string) => void
}

export class StorageProfiles implements Profiles {
  readonly #routes: Routes
  readonly #gate: Gate
  readonly #options: ProfileOptions

  constructor(routes: Routes, gate: Gate, options: ProfileOptions) {
    this.#routes = routes
    this.#gate = gate
    this.#options = options
  }

  get names(): string[] {
    return this.#routes.storages.map(({ name }) => name)
  }

  of(path: NodePath): string {
    return this.#routes.of(path).name
  }

  storage(name: string): Backend | undefined {
    return this.#routes.storages.find((storage) => storage.name === name)?.backend
  }

  hasSeamBelow(path: NodePath): boolean {
    return this.#routes.lines.some((line) => line.path !== path && isWithin(line.path, path))
  }

  async hold(path: NodePath): Promise<Held> {
    const { backend } = this.#routes.of(path)
    const release = await this.#gate.close(path, GRACE_MS)
    return { release, remove: () => takeAway(backend, path, this.#options.allocationParents ?? []) }
  }

  async prepare(path: NodePath, name: string): Promise<void> {
    await makeContainers(this.#routes.named(name), containersTo(path).slice(0, -1))
  }

  assign(path: NodePath, name: string): void {
    this.#routes.named(name)
    this.#options.keep?.(path, name)
    this.#routes.assign(path, name)
  }
}

/** Out of its place in one step where there is a trash, then for good: one that is cut short in between is swept with the trash. */
async function takeAway(backend: Backend, path: NodePath, parents: readonly NodePath[]): Promise<void> {
  const node = (await backend.walk(path)).at(-1)
  if (node?.path !== path) return
  const { trash } = backend
  const id = `gone${randomBytes(8).toString('hex')}`
  try {
    if (trash === undefined) throw new Fault('QuotaExceeded', 'no trash')
    await trash.put(path, { id: node.id }, { id, path, type: node.type, deleted: 0 })
  } catch (error) {
    if (!isFault(error, 'QuotaExceeded')) throw error
    return removeTree(backend, path)
  }
  await trash.purge(keeperOf(path, parents), id)
}

/** A node with everything below it, node by node. */
async function removeTree(backend: Backend, path: NodePath): Promise<void> {
  const node = (await backend.walk(path)).at(-1)
  if (node?.path !== path) return
  if (node.type === 'container') {
    for await (const below of backend.list(path, { order: 'any' })) await removeTree(backend, below.path)
  }
  await backend.remove(path, node.type, { id: node.id })
}

/** Nobody's, for everybody to pass through. Throws TypeNotSupported (ENOTDIR) for what is there and is none. */
export async function makeContainers({ backend }: Storage, paths: readonly NodePath[]): Promise<void> {
  const owner = `uid:${process.getuid?.() ?? 0}`
  const access = { owner, isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  for (const path of paths) {
    if (path === ROOT) continue
    const there = (await backend.walk(path)).at(-1)
    if (there?.path !== path) await backend.make(path, { type: 'container', access, mode: 0o755 })
    else if (there.type !== 'container') {
      throw new Fault('TypeNotSupported', `${path} is a ${there.type} node, and a container is needed there`, {
        errno: 'ENOTDIR',
      })
    }
  }
}
