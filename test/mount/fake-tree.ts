/** The nodes of the gateway in memory (fake-remote.ts), with the refusals that finding, making and moving them can meet. */
import { type Identity, type RemoteRef } from '../../mount/remote.ts'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { chmodded, createdMode, shownMode } from '../../src/vospace/mode.ts'
import { type Access, type NodeType } from '../../src/vospace/node.ts'
import { nameOf, parentOf, ROOT, stepsOf, type NodePath } from '../../src/vospace/path.ts'

export interface Node {
  readonly id: string
  readonly type: NodeType
  parent: Node | undefined
  name: string
  readonly children: Map<string, Node>
  bytes: Buffer
  mode: number
  access: Access
  uid: number
  gid: number
  mtime: bigint
  ctime: bigint
  contentVersion: string
  version: string
  readonly xattrs: Map<string, Buffer>
}

export class FakeTree {
  readonly root: Node
  readonly byId = new Map<string, Node>()
  readonly #identity: Identity
  #count = 0
  #now = BigInt(Date.now()) * 1_000_000n

  constructor(identity: Identity) {
    this.#identity = identity
    this.root = this.node('container', undefined, '', 0o755)
    this.byId.set(this.root.id, this.root)
  }

  walk(path: NodePath): Node | undefined {
    let node: Node | undefined = this.root
    for (const step of stepsOf(path)) {
      if (node === undefined) return undefined
      if (node.type !== 'container') throw new Fault('ContainerNotFound', path, { errno: 'ENOTDIR' })
      node = node.children.get(step)
    }
    return node
  }

  find(ref: RemoteRef): Node {
    if (ref.id !== undefined) {
      const node = this.byId.get(ref.id)
      if (node === undefined) throw new Fault('NodeNotFound', ref.path, { errno: 'ESTALE' })
      return node
    }
    const node = this.walk(ref.path)
    if (node === undefined) throw new Fault('NodeNotFound', ref.path)
    return node
  }

  versioned(ref: RemoteRef, contentVersion: string | undefined): Node {
    const node = data(this.find(ref))
    if (contentVersion !== undefined && node.contentVersion !== contentVersion) {
      throw new Fault('PreconditionFailed', `${ref.path} has other content`)
    }
    return node
  }

  container(path: NodePath): Node {
    const node = this.walk(path)
    if (node === undefined) throw new Fault('ContainerNotFound', path)
    if (node.type !== 'container') throw new Fault('ContainerNotFound', path, { errno: 'ENOTDIR' })
    return node
  }

  attribute(path: NodePath, name: string): Buffer {
    const value = this.find({ path }).xattrs.get(name)
    if (value === undefined) throw new Fault('NodeNotFound', name, { errno: 'ENODATA' })
    return value
  }

  create(type: NodeType, path: NodePath, mode: number): Node {
    if (path === ROOT || this.walk(path) !== undefined) throw new Fault('DuplicateNode', path)
    return this.attach(this.node(type, this.container(parentOf(path)), nameOf(path), mode))
  }

  node(type: NodeType, parent: Node | undefined, name: string, mode: number | undefined): Node {
    const owner = this.#identity.user ?? 'anonymous'
    const own = { owner, isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
    const access: Access = parent === undefined ? own : { ...parent.access, owner }
    const { uid, gid } = this.#identity
    const now = this.#tick()
    return {
      ...{ id: `n${++this.#count}`, type, parent, name, children: new Map<string, Node>(), bytes: Buffer.alloc(0) },
      ...{ mode: createdMode(type, mode, access), access, uid, gid, mtime: now, ctime: now },
      ...{ contentVersion: type === 'data' ? `c${this.#count}` : '', version: `v${this.#count}`, xattrs: new Map() },
    }
  }

  attach(node: Node): Node {
    this.byId.set(node.id, node)
    node.parent?.children.set(node.name, node)
    if (node.parent !== undefined) node.parent.mtime = this.touch(node.parent)
    return node
  }

  detach(node: Node): void {
    this.byId.delete(node.id)
    node.parent?.children.delete(node.name)
    if (node.parent !== undefined) node.parent.mtime = this.touch(node.parent)
  }

  place(node: Node, parent: Node, name: string): void {
    node.parent?.children.delete(node.name)
    node.parent = parent
    node.name = name
    parent.children.set(name, node)
    this.touch(node)
  }

  setBytes(node: Node, bytes: Buffer, mtime?: bigint): void {
    node.bytes = bytes
    node.contentVersion = `c${++this.#count}`
    node.mtime = mtime ?? this.touch(node)
    this.touch(node)
  }

  chmod(node: Node, mode: number): void {
    const changed = chmodded(mode, node.access)
    node.mode = changed.mode
    node.access = changed.access
  }

  /** A new version; answers its time. */
  touch(node: Node): bigint {
    node.version = `v${++this.#count}`
    return (node.ctime = this.#tick())
  }

  #tick(): bigint {
    return (this.#now += 1_000_000n)
  }

  seen(node: Node): SeenEntry {
    const { id, type, bytes, access, uid, gid, mtime, ctime, contentVersion, version } = node
    return {
      ...{ id, path: pathOf(node), type, size: bytes.length, mode: shownMode(type, node.mode, access), uid, gid },
      ...{ nlink: type === 'container' ? 2 : 1, mtime, ctime, contentVersion, version, access },
      ...{ properties: new Map<string, string>(), readable: true, writable: true },
      ...(type === 'link' && { text: Buffer.from(bytes) }),
    }
  }
}

export function pathOf(node: Node): NodePath {
  if (node.parent === undefined) return ROOT
  const above = pathOf(node.parent)
  return (above === '/' ? `/${node.name}` : `${above}/${node.name}`) as NodePath
}

/** Throws what a call for bytes gets when the node holds none. */
export function data(node: Node): Node {
  if (node.type === 'data') return node
  const errno = node.type === 'container' ? 'EISDIR' : 'ELOOP'
  throw new Fault('TypeNotSupported', pathOf(node), { errno })
}
