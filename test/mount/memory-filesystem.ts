// A file system in memory for the tests and the benchmark of mount/fuse. No permissions are checked. Over 400 lines: one class with every operation of the interface.
import {
  refuse,
  type Attributes,
  type AttributesReply,
  type CopyEnd,
  type CreateReply,
  type DirectorySink,
  type Entry,
  type FileSystem,
  type NegativeEntry,
  type OpenReply,
  type Refusal,
  type RequestContext,
  type SetAttributes,
  type StatfsReply,
  type Time,
} from '../../mount/fuse/filesystem.ts'
import { WRITE } from '../../mount/fuse/constants.ts'

const CHUNK = 1 << 20
const TYPE = 0o170000
const DIRECTORY = 0o040000
const SYMLINK = 0o120000
const SUID = 0o4000
const SGID = 0o2000
const O_TRUNC = 0o1000
const O_EXCL = 0o200
const RENAME_NOREPLACE = 1
const RENAME_EXCHANGE = 2

export interface Inode {
  readonly nodeid: number
  mode: number
  uid: number
  gid: number
  nlink: number
  lookups: number
  size: number
  atime: Time
  mtime: Time
  ctime: Time
  rdev: number
  text: Buffer
  parent: Inode | undefined
  readonly chunks: (Buffer | undefined)[]
  readonly children: Map<string, Inode>
  readonly names: Map<string, Buffer>
  readonly xattrs: Map<string, Buffer>
}

function now(): Time {
  const t = Date.now()
  return { sec: Math.floor(t / 1000), nsec: (t % 1000) * 1000000 }
}

function isDirectory(inode: Inode): boolean {
  return (inode.mode & TYPE) === DIRECTORY
}

/** Directory keys are the name's bytes as latin1, so that any bytes work. */
function key(name: Buffer): string {
  return name.toString('latin1')
}

export interface MemoryOptions {
  /** Seconds the kernel may rely on names and attributes. */
  readonly ttl?: number
  /** FOPEN bits of every handle. */
  readonly openFlags?: number
}

export class MemoryFileSystem implements FileSystem {
  readonly inodes = new Map<number, Inode>()
  readonly root: Inode
  readonly #ttl: number
  readonly #openFlags: number
  readonly #listings = new Map<number, [string, Inode][]>()
  #nextNode = 1
  #nextHandle = 1
  openHandles = 0

  constructor({ ttl = 1, openFlags = 0 }: MemoryOptions = {}) {
    this.#ttl = ttl
    this.#openFlags = openFlags
    this.root = this.make(DIRECTORY | 0o755, process.getuid?.() ?? 0, process.getgid?.() ?? 0)
    this.root.lookups = Infinity
  }

  make(mode: number, uid: number, gid: number): Inode {
    const t = now()
    const inode: Inode = {
      nodeid: this.#nextNode++,
      mode,
      uid,
      gid,
      nlink: (mode & TYPE) === DIRECTORY ? 2 : 1,
      lookups: 0,
      size: 0,
      atime: t,
      mtime: t,
      ctime: t,
      rdev: 0,
      text: Buffer.alloc(0),
      parent: undefined,
      chunks: [],
      children: new Map(),
      names: new Map(),
      xattrs: new Map(),
    }
    this.inodes.set(inode.nodeid, inode)
    return inode
  }

  attach(parent: Inode, name: Buffer, inode: Inode): void {
    const k = key(name)
    parent.children.set(k, inode)
    parent.names.set(k, Buffer.from(name))
    if (isDirectory(inode)) {
      inode.parent = parent
      parent.nlink += 1
    }
    parent.mtime = parent.ctime = now()
  }

  detach(parent: Inode, name: Buffer): void {
    const k = key(name)
    const inode = parent.children.get(k)
    parent.children.delete(k)
    parent.names.delete(k)
    if (inode !== undefined && isDirectory(inode)) parent.nlink -= 1
    parent.mtime = parent.ctime = now()
  }

  lookup(parent: number, name: Buffer): Entry | NegativeEntry | Refusal {
    const inode = this.inodes.get(parent)?.children.get(key(name))
    return inode === undefined ? refuse('ENOENT') : this.#entry(inode)
  }

  forget(nodeid: number, count: number): void {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return
    inode.lookups -= count
    this.#dropIfUnused(inode)
  }

  getattr(nodeid: number): AttributesReply | Refusal {
    const inode = this.inodes.get(nodeid)
    return inode === undefined ? refuse('ESTALE') : { attributes: this.#attributes(inode), attributesTtl: this.#ttl }
  }

  setattr(nodeid: number, changes: SetAttributes): AttributesReply | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    if (changes.size !== undefined) this.#truncate(inode, changes.size)
    if (changes.mode !== undefined) inode.mode = (inode.mode & TYPE) | (changes.mode & 0o7777)
    if (changes.killPrivileges === true) this.#killPrivileges(inode)
    if (changes.uid !== undefined) inode.uid = changes.uid
    if (changes.gid !== undefined) inode.gid = changes.gid
    if (changes.atime !== undefined) inode.atime = changes.atime === 'now' ? now() : changes.atime
    if (changes.mtime !== undefined) inode.mtime = changes.mtime === 'now' ? now() : changes.mtime
    inode.ctime = changes.ctime ?? now()
    return this.getattr(nodeid)
  }

  readlink(nodeid: number): Buffer | Refusal {
    return this.inodes.get(nodeid)?.text ?? refuse('ESTALE')
  }

  symlink(parent: number, name: Buffer, text: Buffer, context: RequestContext): Entry | Refusal {
    const made = this.#create(parent, name, SYMLINK | 0o777, context)
    if (typeof made === 'number') return made
    made.text = text
    made.size = text.length
    return this.#entry(made)
  }

  mknod(
    parent: number,
    name: Buffer,
    mode: number,
    rdev: number,
    _umask: number,
    context: RequestContext,
  ): Entry | Refusal {
    const made = this.#create(parent, name, mode, context)
    if (typeof made === 'number') return made
    made.rdev = rdev
    return this.#entry(made)
  }

  mkdir(parent: number, name: Buffer, mode: number, _umask: number, context: RequestContext): Entry | Refusal {
    const made = this.#create(parent, name, (mode & 0o7777) | DIRECTORY, context)
    return typeof made === 'number' ? made : this.#entry(made)
  }

  unlink(parent: number, name: Buffer): undefined | Refusal {
    return this.#remove(parent, name, false)
  }

  rmdir(parent: number, name: Buffer): undefined | Refusal {
    return this.#remove(parent, name, true)
  }

  rename(parent: number, name: Buffer, newParent: number, newName: Buffer, flags: number): undefined | Refusal {
    const from = this.inodes.get(parent)
    const to = this.inodes.get(newParent)
    const inode = from?.children.get(key(name))
    if (from === undefined || to === undefined || inode === undefined) return refuse('ENOENT')
    const old = to.children.get(key(newName))
    if (flags & RENAME_EXCHANGE) {
      if (old === undefined) return refuse('ENOENT')
      this.detach(from, name)
      this.detach(to, newName)
      this.attach(from, name, old)
      this.attach(to, newName, inode)
      return undefined
    }
    if (old !== undefined && flags & RENAME_NOREPLACE) return refuse('EEXIST')
    if (old === inode) return undefined
    const refused = old === undefined ? undefined : this.#remove(newParent, newName, isDirectory(inode))
    if (refused !== undefined) return refused
    this.detach(from, name)
    this.attach(to, newName, inode)
    return undefined
  }

  link(nodeid: number, newParent: number, newName: Buffer): Entry | Refusal {
    const inode = this.inodes.get(nodeid)
    const parent = this.inodes.get(newParent)
    if (inode === undefined || parent === undefined) return refuse('ESTALE')
    if (parent.children.has(key(newName))) return refuse('EEXIST')
    this.attach(parent, newName, inode)
    inode.nlink += 1
    inode.ctime = now()
    return this.#entry(inode)
  }

  open(nodeid: number, flags: number, killPrivileges: boolean): OpenReply | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    if (flags & O_TRUNC) this.#truncate(inode, 0)
    if (killPrivileges) this.#killPrivileges(inode)
    return this.#handle()
  }

  read(nodeid: number, _fh: number, offset: number, size: number): Uint8Array | Uint8Array[] | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    const end = Math.min(offset + size, inode.size)
    const parts: Uint8Array[] = []
    for (let at = offset; at < end;) {
      const start = at % CHUNK
      const length = Math.min(CHUNK - start, end - at)
      parts.push((inode.chunks[Math.floor(at / CHUNK)] ?? HOLE).subarray(start, start + length))
      at += length
    }
    return parts
  }

  write(nodeid: number, _fh: number, offset: number, data: Buffer, flags: number): number {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    this.put(inode, offset, data)
    if (flags & WRITE.KILL_SUIDGID) this.#killPrivileges(inode)
    return data.length
  }

  put(inode: Inode, offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length;) {
      const at = offset + done
      const start = at % CHUNK
      const part = data.subarray(done, done + CHUNK - start)
      const chunk = (inode.chunks[Math.floor(at / CHUNK)] ??= Buffer.alloc(CHUNK))
      chunk.set(part, start)
      done += part.length
    }
    inode.size = Math.max(inode.size, offset + data.length)
    inode.mtime = inode.ctime = now()
  }

  flush(): undefined {
    return undefined
  }

  fsync(): undefined {
    return undefined
  }

  release(): undefined {
    this.openHandles -= 1
  }

  opendir(nodeid: number): OpenReply | Refusal {
    return this.inodes.has(nodeid) ? this.#handle() : refuse('ESTALE')
  }

  readdir(nodeid: number, fh: number, offset: number, sink: DirectorySink): undefined | Refusal {
    return this.#list(nodeid, fh, offset, (inode, name, next) => sink.add(name, next, inode.nodeid, inode.mode))
  }

  readdirplus(nodeid: number, fh: number, offset: number, sink: DirectorySink): undefined | Refusal {
    return this.#list(nodeid, fh, offset, (inode, name, next) => {
      const taken = sink.addPlus(name, next, this.#uncounted(inode))
      if (taken && next > 2) inode.lookups += 1
      return taken
    })
  }

  releasedir(_nodeid: number, fh: number): undefined {
    this.openHandles -= 1
    this.#listings.delete(fh)
  }

  statfs(): StatfsReply {
    const blocks = 1 << 26
    return {
      blocks,
      bfree: blocks,
      bavail: blocks,
      files: 1 << 20,
      ffree: 1 << 20,
      bsize: 4096,
      frsize: 4096,
      namelen: 255,
    }
  }

  getxattr(nodeid: number, name: Buffer): Buffer | Refusal {
    return this.inodes.get(nodeid)?.xattrs.get(key(name)) ?? refuse('ENODATA')
  }

  listxattr(nodeid: number): Buffer[] | Refusal {
    const inode = this.inodes.get(nodeid)
    return inode === undefined ? refuse('ESTALE') : [...inode.xattrs.keys()].map((name) => Buffer.from(name, 'latin1'))
  }

  setxattr(nodeid: number, name: Buffer, value: Buffer, flags: number): undefined | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    const exists = inode.xattrs.has(key(name))
    if (flags === 1 && exists) return refuse('EEXIST')
    if (flags === 2 && !exists) return refuse('ENODATA')
    inode.xattrs.set(key(name), value)
    return undefined
  }

  removexattr(nodeid: number, name: Buffer): undefined | Refusal {
    return this.inodes.get(nodeid)?.xattrs.delete(key(name)) === true ? undefined : refuse('ENODATA')
  }

  create(
    parent: number,
    name: Buffer,
    mode: number,
    flags: number,
    _umask: number,
    context: RequestContext,
  ): CreateReply | Refusal {
    const existing = flags & O_EXCL ? undefined : this.inodes.get(parent)?.children.get(key(name))
    const made = existing ?? this.#create(parent, name, mode, context)
    if (typeof made === 'number') return made
    if (flags & O_TRUNC) this.#truncate(made, 0)
    const { fh, openFlags } = this.#handle()
    return { entry: this.#entry(made), fh, openFlags }
  }

  fallocate(nodeid: number, _fh: number, offset: number, length: number, mode: number): undefined | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    if (mode !== 0) return refuse('EOPNOTSUPP')
    inode.size = Math.max(inode.size, offset + length)
    return undefined
  }

  copyFileRange(from: CopyEnd, to: CopyEnd, length: number): number {
    const parts = this.read(from.nodeid, from.fh, from.offset, length)
    const target = this.inodes.get(to.nodeid)
    if (typeof parts === 'number') return parts
    if (target === undefined) return refuse('ESTALE')
    const bytes = Buffer.concat(Array.isArray(parts) ? parts : [parts])
    this.put(target, to.offset, bytes)
    return bytes.length
  }

  #handle(): OpenReply {
    this.openHandles += 1
    return { fh: this.#nextHandle++, openFlags: this.#openFlags }
  }

  #create(parent: number, name: Buffer, mode: number, context: RequestContext): Inode | Refusal {
    const directory = this.inodes.get(parent)
    if (directory === undefined || directory.nlink === 0) return refuse('ENOENT')
    if (name.length > 255) return refuse('ENAMETOOLONG')
    if (directory.children.has(key(name))) return refuse('EEXIST')
    const inode = this.make(mode, context.uid, context.gid)
    this.attach(directory, name, inode)
    return inode
  }

  #remove(parent: number, name: Buffer, directory: boolean): undefined | Refusal {
    const from = this.inodes.get(parent)
    const inode = from?.children.get(key(name))
    if (from === undefined || inode === undefined) return refuse('ENOENT')
    if (isDirectory(inode) !== directory) return refuse(directory ? 'ENOTDIR' : 'EISDIR')
    if (inode.children.size > 0) return refuse('ENOTEMPTY')
    this.detach(from, name)
    inode.nlink = directory ? 0 : inode.nlink - 1
    inode.ctime = now()
    this.#dropIfUnused(inode)
    return undefined
  }

  #dropIfUnused(inode: Inode): void {
    if (inode.nlink <= 0 && inode.lookups <= 0) this.inodes.delete(inode.nodeid)
  }

  #truncate(inode: Inode, size: number): void {
    if (size < inode.size) {
      inode.chunks.length = Math.min(inode.chunks.length, Math.ceil(size / CHUNK))
      if (size % CHUNK !== 0) inode.chunks[Math.floor(size / CHUNK)]?.fill(0, size % CHUNK)
    }
    inode.size = size
    inode.mtime = inode.ctime = now()
  }

  #killPrivileges(inode: Inode): void {
    inode.mode &= ~SUID
    if (inode.mode & 0o010) inode.mode &= ~SGID
  }

  #list(
    nodeid: number,
    fh: number,
    offset: number,
    add: (inode: Inode, name: Buffer, next: number) => boolean,
  ): undefined | Refusal {
    const inode = this.inodes.get(nodeid)
    if (inode === undefined) return refuse('ESTALE')
    let listing = this.#listings.get(fh)
    if (listing === undefined || offset === 0) {
      listing = [['.', inode], ['..', inode.parent ?? inode], ...inode.children]
      this.#listings.set(fh, listing)
    }
    for (let i = offset; i < listing.length; i++) {
      const [name, child] = listing[i] ?? ['', inode]
      if (!add(child, inode.names.get(name) ?? Buffer.from(name, 'latin1'), i + 1)) return undefined
    }
    return undefined
  }

  #entry(inode: Inode): Entry {
    inode.lookups += 1
    return this.#uncounted(inode)
  }

  #uncounted(inode: Inode): Entry {
    return {
      nodeid: inode.nodeid,
      generation: 0,
      entryTtl: this.#ttl,
      attributesTtl: this.#ttl,
      attributes: this.#attributes(inode),
    }
  }

  #attributes(inode: Inode): Attributes {
    const { nodeid, size, atime, mtime, ctime, mode, nlink, uid, gid, rdev } = inode
    const blocks = Math.ceil(size / 512)
    return { ino: nodeid, size, blocks, atime, mtime, ctime, mode, nlink, uid, gid, rdev, blksize: 4096 }
  }
}

const HOLE = Buffer.alloc(CHUNK)
