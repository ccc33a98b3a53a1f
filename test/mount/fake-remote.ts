/**
 * The gateway as the mount's tree sees it, in memory: a tree of nodes with the refusals of schemas/fs-v1.md, a record of the
 * calls, and faults on order (`failNext`, `loseReplies`, `latency`, `hold`).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Inlet } from '../../mount/inlet.ts'
import {
  type Attributes,
  type Identity,
  type NodeDraft,
  type Page,
  type PutAttributes,
  type Remote,
} from '../../mount/remote.ts'
import { type RemoteRef, type SpaceLeft } from '../../mount/remote.ts'
import { type SeenEntry, type WireExtent } from '../../src/codec/fs-v1.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { byteOrder, checkName, isWithin, nameOf, nodePath, parentOf, stepsOf } from '../../src/vospace/path.ts'
import { type NodePath } from '../../src/vospace/path.ts'
import { data, FakeTree, pathOf, type Node } from './fake-tree.ts'

export type RemoteCall = Exclude<keyof Remote, 'close' | 'abandon' | 'isNear' | 'leases' | 'feed'>

interface Order {
  left: number
  readonly names: readonly RemoteCall[]
  readonly fault: Fault
  /** after the call has been applied */
  readonly late: boolean
}

const IDENTITY: Identity = { resourceId: 'ivo://karst.local/karst', user: 'alice', uid: 1000, gid: 1000 }

export class FakeRemote implements Remote {
  /** Every call so far, in order, with its arguments. */
  readonly calls: { readonly name: RemoteCall; readonly args: readonly unknown[] }[] = []
  /** milliseconds before each call is applied */
  latency = 0
  /** bytes answered by `read` so far */
  bytesRead = 0
  closed = false
  space: SpaceLeft = { blockSize: 4096, blocks: 1e6, blocksFree: 5e5, files: 1e6, filesFree: 5e5, nameMax: 255 }
  readonly identityOfCaller: Identity
  readonly #tree: FakeTree
  #orders: Order[] = []
  readonly #gates = new Map<RemoteCall, Promise<void>>()

  constructor(identity: Identity = IDENTITY) {
    this.identityOfCaller = identity
    this.#tree = new FakeTree(identity)
  }

  // What a test orders.

  /** The next `count` calls (of those names, if any) are refused before anything is done. */
  failNext(count: number, fault: Fault, ...names: RemoteCall[]): void {
    this.#orders.push({ left: count, names, fault, late: false })
  }

  /** The next `count` calls (of those names, if any) are applied whole, and then end as a lost connection does: ServiceBusy, EIO. */
  loseReplies(count: number, ...names: RemoteCall[]): void {
    const fault = new Fault('ServiceBusy', 'the reply was lost', { errno: 'EIO' })
    this.#orders.push({ left: count, names, fault, late: true })
  }

  /** Forgets all faults on order. */
  heal(): void {
    this.#orders = []
  }

  /** Calls of that name wait, before anything is done, until the function given back is called. */
  hold(name: RemoteCall): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gates.set(name, promise)
    return () => {
      this.#gates.delete(name)
      resolve()
    }
  }

  /** Calls of that name so far. */
  count(name: RemoteCall): number {
    return this.calls.filter((call) => call.name === name).length
  }

  // The tree as somebody else sees and changes it: not recorded, no faults.

  /** Creates or replaces a file, making the containers above it. */
  write(path: string, content: string | Uint8Array): SeenEntry {
    const at = nodePath(path)
    const parent = this.makeContainer(parentOf(at))
    const node =
      parent.children.get(nameOf(at)) ?? this.#tree.attach(this.#tree.node('data', parent, nameOf(at), 0o644))
    this.#tree.setBytes(node, Buffer.from(content as Uint8Array))
    return this.#tree.seen(node)
  }

  makeContainer(path: string): Node {
    let node = this.#tree.root
    for (const step of stepsOf(nodePath(path))) {
      node = node.children.get(step) ?? this.#tree.attach(this.#tree.node('container', node, step, 0o755))
    }
    return node
  }

  /** A copy of a file's bytes, or undefined when there is no such file. */
  bytes(path: string): Buffer | undefined {
    const node = this.#tree.walk(nodePath(path))
    return node?.type === 'data' ? Buffer.from(node.bytes) : undefined
  }

  /** Every path but the root, in byte order. */
  paths(): string[] {
    const below = (node: Node): Node[] => [...node.children.values()].flatMap((next) => [next, ...below(next)])
    return below(this.#tree.root).map(pathOf).sort(byteOrder)
  }

  // Remote.

  identity(): Promise<Identity> {
    return this.#call('identity', [], () => this.identityOfCaller)
  }

  entry(ref: RemoteRef): Promise<SeenEntry> {
    return this.#call('entry', [ref], () => this.#tree.seen(this.#tree.find(ref)))
  }

  async *list(path: NodePath, signal?: AbortSignal): AsyncGenerator<readonly SeenEntry[]> {
    const children = await this.#call('list', [path], () => {
      const container = this.#tree.container(path)
      return [...container.children.values()].sort((a, b) => byteOrder(a.name, b.name))
    })
    for (const node of children) {
      signal?.throwIfAborted()
      if (this.#tree.byId.has(node.id)) yield [this.#tree.seen(node)]
    }
  }

  page(path: NodePath, limit: number, from = ''): Promise<Page> {
    return this.#call('page', [path, limit, from], () => {
      const all = [...this.#tree.container(path).children.values()]
      const rest = all.filter(({ name }) => byteOrder(name, from) >= 0).sort((a, b) => byteOrder(a.name, b.name))
      return { entries: rest.slice(0, limit).map((node) => this.#tree.seen(node)), isLast: rest.length <= limit }
    })
  }

  async put(ref: RemoteRef, body: () => AsyncIterable<Uint8Array>, attributes: PutAttributes): Promise<SeenEntry> {
    const bytes = Buffer.concat(await collect(body()))
    return this.#call('put', [ref, bytes, attributes], () => {
      if (bytes.length !== (attributes.length ?? bytes.length))
        throw new Fault('PreconditionFailed', 'length', { errno: 'EIO' })
      const isNew = ref.id === undefined && this.#tree.walk(ref.path) === undefined
      const node = this.#putTarget(ref, attributes)
      this.#tree.setBytes(node, bytes, attributes.mtime)
      if (attributes.mode !== undefined && !isNew) this.#tree.chmod(node, attributes.mode)
      return this.#tree.seen(node)
    })
  }

  #putTarget(ref: RemoteRef, { ifAbsent, ifContentVersion, mode }: PutAttributes): Node {
    const found = ref.id === undefined ? this.#tree.walk(ref.path) : this.#tree.find(ref)
    if (ifAbsent === true && found !== undefined) throw new Fault('DuplicateNode', ref.path)
    if (ifContentVersion !== undefined && found?.contentVersion !== ifContentVersion) {
      throw new Fault('PreconditionFailed', `${ref.path} has other content`)
    }
    if (found === undefined) {
      const parent = this.#tree.container(parentOf(ref.path))
      checkName(nameOf(ref.path))
      return this.#tree.attach(this.#tree.node('data', parent, nameOf(ref.path), mode))
    }
    return data(found)
  }

  read(
    ref: RemoteRef,
    start: number,
    into: Inlet,
    options: { readonly ifContentVersion?: string; readonly signal?: AbortSignal },
  ): Promise<void> {
    return this.#call(
      'read',
      [ref, { start, end: start + into.length - 1 }, options],
      () => {
        const node = this.#tree.versioned(ref, options.ifContentVersion)
        into.begin()
        into.write(node.bytes.subarray(start, start + into.length))
        this.bytesRead += into.count
      },
      options.signal,
    )
  }

  async amend(
    ref: RemoteRef,
    extents: () => AsyncIterable<WireExtent>,
    options: { readonly length: number; readonly ifContentVersion?: string; readonly mtime?: bigint },
  ): Promise<SeenEntry> {
    const changes = await collect(extents())
    return this.#call('amend', [ref, changes, options], () => {
      const node = this.#tree.versioned(ref, options.ifContentVersion)
      const reach = changes.map((extent) => extent.offset + ('hole' in extent ? extent.hole : extent.bytes.length))
      const bytes = Buffer.alloc(Math.max(node.bytes.length, options.length, ...reach))
      node.bytes.copy(bytes)
      for (const extent of changes) {
        if ('hole' in extent) bytes.fill(0, extent.offset, extent.offset + extent.hole)
        else bytes.set(extent.bytes, extent.offset)
      }
      this.#tree.setBytes(node, Buffer.from(bytes.subarray(0, options.length)), options.mtime)
      return this.#tree.seen(node)
    })
  }

  mkdir(path: NodePath, mode: number): Promise<SeenEntry> {
    return this.#call('mkdir', [path, mode], () => this.#tree.seen(this.#tree.create('container', path, mode)))
  }

  symlink(path: NodePath, text: Buffer): Promise<SeenEntry> {
    return this.#call('symlink', [path, text], () => {
      const node = this.#tree.create('link', path, 0o777)
      node.bytes = Buffer.from(text)
      return this.#tree.seen(node)
    })
  }

  mknod(path: NodePath, draft: NodeDraft): Promise<SeenEntry> {
    return this.#call('mknod', [path, draft], () => {
      throw new Fault('PermissionDenied', 'no trusted mount', { errno: 'EPERM' })
    })
  }

  link(ref: RemoteRef, to: NodePath): Promise<SeenEntry> {
    return this.#call('link', [ref, to], () => {
      throw new Fault('OperationNotSupported', 'no hard links', { errno: 'EPERM' })
    })
  }

  remove(path: NodePath, type: 'container' | 'leaf'): Promise<void> {
    return this.#call('remove', [path, type], () => {
      const node = this.#tree.find({ path })
      const isContainer = node.type === 'container'
      if (type === 'container' && !isContainer) throw new Fault('TypeNotSupported', path, { errno: 'ENOTDIR' })
      if (type === 'leaf' && isContainer) throw new Fault('TypeNotSupported', path, { errno: 'EISDIR' })
      if (node === this.#tree.root) throw new Fault('PermissionDenied', path, { errno: 'EBUSY' })
      if (node.children.size > 0) throw new Fault('ContainerNotEmpty', path)
      this.#tree.detach(node)
    })
  }

  rename(from: NodePath, to: NodePath, flags: 'replace' | 'noreplace' | 'exchange'): Promise<SeenEntry> {
    return this.#call('rename', [from, to, flags], () => {
      const node = this.#tree.find({ path: from })
      const parent = this.#tree.container(parentOf(to))
      const there = parent.children.get(nameOf(to))
      if (from !== to && isWithin(to, from)) throw new Fault('InvalidArgument', 'into itself')
      if (flags === 'noreplace' && there !== undefined) throw new Fault('DuplicateNode', to)
      if (flags === 'exchange') return this.#exchange(node, there, to)
      if (node === there) return this.#tree.seen(node)
      if (there !== undefined) this.#replace(node, there)
      this.#tree.place(node, parent, nameOf(to))
      return this.#tree.seen(node)
    })
  }

  #exchange(node: Node, there: Node | undefined, to: NodePath): SeenEntry {
    if (there === undefined) throw new Fault('NodeNotFound', to)
    const [parent, name, otherParent, otherName] = [node.parent, node.name, there.parent, there.name]
    if (parent === undefined || otherParent === undefined) throw new Fault('InvalidArgument', 'the root stays')
    this.#tree.place(node, otherParent, otherName)
    there.parent = parent
    there.name = name
    parent.children.set(name, there)
    return this.#tree.seen(node)
  }

  #replace(node: Node, there: Node): void {
    const [from, to] = [node.type === 'container', there.type === 'container']
    if (from && !to) throw new Fault('TypeNotSupported', pathOf(there), { errno: 'ENOTDIR' })
    if (!from && to) throw new Fault('TypeNotSupported', pathOf(there), { errno: 'EISDIR' })
    if (there.children.size > 0) throw new Fault('ContainerNotEmpty', pathOf(there))
    this.#tree.detach(there)
  }

  setattr(ref: RemoteRef, attributes: Attributes): Promise<SeenEntry> {
    return this.#call('setattr', [ref, attributes], () => {
      const node = this.#tree.find(ref)
      const { mode, uid, gid, mtime, size } = attributes
      if (size !== undefined) {
        const bytes = Buffer.alloc(size)
        data(node).bytes.copy(bytes)
        this.#tree.setBytes(node, bytes)
      }
      if (mode !== undefined) this.#tree.chmod(node, mode)
      node.uid = uid ?? node.uid
      node.gid = gid ?? node.gid
      node.mtime = mtime ?? node.mtime
      this.#tree.touch(node)
      return this.#tree.seen(node)
    })
  }

  xattrNames(path: NodePath): Promise<string[]> {
    return this.#call('xattrNames', [path], () => [...this.#tree.find({ path }).xattrs.keys()])
  }

  xattr(path: NodePath, name: string): Promise<Buffer> {
    return this.#call('xattr', [path, name], () => Buffer.from(this.#tree.attribute(path, name)))
  }

  setXattr(path: NodePath, name: string, value: Buffer, flags?: 'create' | 'replace'): Promise<void> {
    return this.#call('setXattr', [path, name, value, flags], () => {
      const { xattrs } = this.#tree.find({ path })
      if (flags === 'create' && xattrs.has(name)) throw new Fault('DuplicateNode', name)
      if (flags === 'replace') this.#tree.attribute(path, name)
      xattrs.set(name, Buffer.from(value))
    })
  }

  removeXattr(path: NodePath, name: string): Promise<void> {
    return this.#call('removeXattr', [path, name], () => {
      this.#tree.attribute(path, name)
      this.#tree.find({ path }).xattrs.delete(name)
    })
  }

  statfs(path: NodePath): Promise<SpaceLeft> {
    return this.#call('statfs', [path], () => this.space)
  }

  async close(): Promise<void> {
    this.closed = true
  }

  // Inside.

  async #call<T>(name: RemoteCall, args: readonly unknown[], apply: () => T, signal?: AbortSignal): Promise<T> {
    this.calls.push({ name, args })
    const fails = this.#order(name)
    await this.#gates.get(name)
    if (this.latency > 0) await sleep(this.latency)
    signal?.throwIfAborted()
    if (fails?.late === false) throw fails.fault
    const result = apply()
    if (fails !== undefined) throw fails.fault
    return result
  }

  #order(name: RemoteCall): Order | undefined {
    const order = this.#orders.find(({ left, names }) => left > 0 && (names.length === 0 || names.includes(name)))
    if (order !== undefined) order.left--
    return order
  }
}

/** Copies: their memory is used again. */
async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(structuredClone(item))
  return all
}
