/**
 * Which storage keeps which part of the namespace: a table of path prefixes, of which the longest counts. A node stands in its storage under
 * the path that it has in the namespace. Where a storage begins within the part of another there is a *seam*: a container that is always there.
 */
import { Fault } from '../vospace/fault.ts'
import { byteOrder, isWithin, nameOf, parentOf, ROOT, stepsOf, type NodePath } from '../vospace/path.ts'
import { type Backend } from './backend.ts'

/** A storage under the name of its profile. */
export interface Storage {
  readonly name: string
  readonly backend: Backend
}

/** A part of a path that one storage keeps: what is `from` or below, and on the path to `until`. */
export interface Leg {
  readonly storage: Storage
  readonly from: NodePath
  readonly until: NodePath
}

export class Routes {
  /** The longest prefix first. */
  #lines: { readonly path: NodePath; readonly storage: Storage }[] = []
  readonly #storages: ReadonlyMap<string, Storage>

  /** Throws an Error for a table without the root, or with a line twice or of no storage: the configuration is checked before. */
  constructor(backends: ReadonlyMap<string, Backend>, lines: readonly { path: NodePath; backend: string }[]) {
    this.#storages = new Map([...backends].map(([name, backend]) => [name, { name, backend }]))
    for (const { path, backend } of lines) {
      if (this.#lines.some((line) => line.path === path)) throw new Error(`${path} is there twice`)
      this.assign(path, backend)
    }
    if (!this.#lines.some(({ path }) => path === ROOT)) throw new Error('nothing keeps the root')
  }

  /** From now on `path` and what is below it are kept by another storage. */
  assign(path: NodePath, name: string): void {
    const storage = this.named(name)
    this.#lines = [...this.#lines.filter((line) => line.path !== path), { path, storage }]
    this.#lines.sort((a, b) => b.path.length - a.path.length)
  }

  named(name: string): Storage {
    const storage = this.#storages.get(name)
    if (storage === undefined) throw new Error(`there is no backend named ${name}`)
    return storage
  }

  /** Every storage, whether a line names it or not. */
  get storages(): Storage[] {
    return [...this.#storages.values()]
  }

  get lines(): readonly { readonly path: NodePath; readonly storage: Storage }[] {
    return this.#lines
  }

  of(path: NodePath): Storage {
    const line = this.#lines.find((one) => isWithin(path, one.path))
    if (line === undefined) throw new Error('nothing keeps the root')
    return line.storage
  }

  /** The storages along a path, root first. */
  legs(path: NodePath): Leg[] {
    const along = this.#lines.filter((line) => isWithin(path, line.path)).reverse()
    return along.map(({ path: from, storage }, i) => {
      const next = along[i + 1]
      return { storage, from, until: next === undefined ? path : parentOf(next.path) }
    })
  }

  /** Where storages begin right in a container, by name. */
  seamsIn(container: NodePath): NodePath[] {
    return this.#lines
      .map(({ path }) => path)
      .filter((path) => path !== ROOT && parentOf(path) === container)
      .sort((a, b) => byteOrder(nameOf(a), nameOf(b)))
  }

  /** Whether a storage begins here or below: what keeps such a container in its place. */
  isFixed(path: NodePath): boolean {
    return this.#lines.some((line) => isWithin(line.path, path))
  }

  /** PermissionDenied (EBUSY) for a container that stays. */
  refuseFixed(path: NodePath): void {
    if (!this.isFixed(path)) return
    const detail = path === ROOT ? 'the root stays' : `${path} stays: a storage profile begins there or below`
    throw new Fault('PermissionDenied', detail, { errno: 'EBUSY' })
  }

  /** Both paths are of one storage, which is answered; else OperationNotSupported (EXDEV). */
  common(from: NodePath, to: NodePath): Storage {
    const storage = this.of(from)
    const other = this.of(to)
    if (storage === other) return storage
    const detail = `${from} is kept by ${storage.name}, ${to} by ${other.name}`
    throw new Fault('OperationNotSupported', detail, { errno: 'EXDEV' })
  }
}

/** The containers from below the root to a path, itself the last. */
export function containersTo(path: NodePath): NodePath[] {
  const steps = stepsOf(path)
  return steps.map((_, i) => `/${steps.slice(0, i + 1).join('/')}` as NodePath)
}
