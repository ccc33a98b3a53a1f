/** The names of a namespace that several storages keep: walks and listings across their seams, and what changes names. */
import { Fault } from '../vospace/fault.ts'
import { type Entry, type NodeType } from '../vospace/node.ts'
import { byteOrder, isWithin, nameOf, type NodePath } from '../vospace/path.ts'
import { type Backend, type Cancel, type ListOptions, type Ref, type Seen } from './backend.ts'
import { JoinedPart, type Joined } from './joined.ts'
import { type Storage } from './routes.ts'

/** The calls that work on names, of a backend or of its trusted form. */
export type NameCalls = Pick<Backend, 'walk' | 'list' | 'move' | 'link'> & {
  remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void>
}

export class RoutedNames extends JoinedPart implements NameCalls {
  readonly #calls: (storage: Storage) => NameCalls

  constructor(joined: Joined, calls: (storage: Storage) => NameCalls) {
    super(joined)
    this.#calls = calls
  }

  async walk(path: NodePath, options: Cancel = {}): Promise<Entry[]> {
    const chain: Entry[] = []
    for (const { storage, from, until } of this.routes.legs(path)) {
      const walked = await this.#calls(storage).walk(until, options)
      const tag = this.tag(storage)
      chain.push(...walked.filter((entry) => isWithin(entry.path, from)).map((entry) => tag.entry(entry)))
      const last = chain.at(-1)
      if (last?.path !== until || last.type !== 'container') break
    }
    return chain
  }

  async *list(container: NodePath, options: ListOptions = {}): AsyncGenerator<Entry> {
    const storage = this.routes.of(container)
    const tag = this.tag(storage)
    const { order, from = '' } = options
    const isOrdered = order !== 'any'
    const seams = this.routes.seamsIn(container)
    const ahead = seams.filter((path) => !isOrdered || byteOrder(nameOf(path), from) >= 0)
    for await (const entry of this.#calls(storage).list(container, options)) {
      for (let next = ahead[0]; isOrdered && next !== undefined && isBefore(next, entry.path); next = ahead[0]) {
        yield* this.#seam(ahead.shift() ?? next, options)
      }
      // what stands under the name of a seam is hidden, as by a mount
      if (!seams.includes(entry.path)) yield tag.entry(entry)
    }
    for (const path of ahead) yield* this.#seam(path, options)
  }

  async *#seam(path: NodePath, { signal }: Cancel): AsyncGenerator<Entry> {
    const storage = this.routes.of(path)
    const entry = (await this.#calls(storage).walk(path, signal && { signal })).at(-1)
    if (entry?.path === path) yield this.tag(storage).entry(entry)
  }

  async move(
    from: NodePath,
    to: NodePath,
    options: { readonly replace?: boolean; readonly exchange?: boolean } = {},
  ): Promise<Entry> {
    if (this.routes.isFixed(to) && options.replace !== true && options.exchange !== true)
      throw new Fault('DuplicateNode', to)
    for (const path of [from, to]) this.routes.refuseFixed(path)
    const storage = this.routes.common(from, to)
    return this.tag(storage).entry(await this.#calls(storage).move(from, to, options))
  }

  async link(ref: Ref, to: NodePath): Promise<Entry> {
    const storage = this.routes.common(ref.path, to)
    const tag = this.tag(storage)
    return tag.entry(await this.#calls(storage).link(tag.ref(ref), to))
  }

  async remove(path: NodePath, type: NodeType | 'leaf', seen?: Seen): Promise<void> {
    const storage = this.routes.of(path)
    const untagged = seen && this.tag(storage).seen(seen)
    this.routes.refuseFixed(path)
    await this.#calls(storage).remove(path, type, untagged)
  }
}

const isBefore = (a: NodePath, b: NodePath): boolean => byteOrder(nameOf(a), nameOf(b)) < 0
