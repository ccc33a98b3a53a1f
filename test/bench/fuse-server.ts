// Serves one tree in memory by our FUSE layer or by fuse-native: `node fuse-server.ts ours|fuse-native DIR`.
// Says "ready" on its output. The same inodes, the same answers (no xattrs, flush answered), a second of caching.
import { createRequire } from 'node:module'
import { ERRNO } from '../../src/libc/errno.ts'
import { mountFuse } from '../../mount/fuse/mount.ts'
import { openTransport } from '../../mount/fuse/open-transport.ts'
import { Session } from '../../mount/fuse/session.ts'
import { type RequestContext } from '../../mount/fuse/filesystem.ts'
import { MemoryFileSystem, type Inode } from '../mount/memory-filesystem.ts'
import { FILE_SIZE, FILES, FOLDERS } from './fuse-tree.ts'

const CHUNK = 1 << 20

function plantedTree(): MemoryFileSystem {
  const memory = new MemoryFileSystem({ ttl: 1 })
  const { root } = memory
  const folder = (name: string) => {
    const made = memory.make(0o040755, 0, 0)
    memory.attach(root, Buffer.from(name), made)
    return made
  }
  const large = memory.make(0o100644, 0, 0)
  memory.attach(root, Buffer.from('large'), large)
  for (let at = 0; at < FILE_SIZE; at += CHUNK) memory.put(large, at, Buffer.alloc(CHUNK, at / CHUNK + 1))
  folder('new')
  const tree = folder('tree')
  for (let i = 0; i < FOLDERS; i++) {
    const sub = memory.make(0o040755, 0, 0)
    memory.attach(tree, Buffer.from(`folder-${i}`), sub)
    for (let j = 0; j < FILES; j++) memory.attach(sub, Buffer.from(`file-${j}`), memory.make(0o100644, 0, 0))
  }
  return memory
}

async function serveOurs(memory: MemoryFileSystem, dir: string): Promise<void> {
  for (const name of ['getxattr', 'listxattr', 'setxattr', 'removexattr']) {
    Object.defineProperty(memory, name, { value: undefined })
  }
  const { fd } = await mountFuse(dir, { fsname: 'bench' })
  const session = new Session(memory, openTransport(fd), console)
  session.start()
  await session.initialized
  console.log('ready')
  await session.closed
}

type Reply = (status: number, ...rest: unknown[]) => void
type Native = new (
  dir: string,
  operations: Record<string, (...args: never[]) => void>,
  options: object,
) => { mount(done: (error: Error | null) => void): void }

function find(memory: MemoryFileSystem, path: string): Inode | undefined {
  let inode: Inode | undefined = memory.root
  for (const name of path.split('/')) if (name !== '') inode = inode?.children.get(name)
  return inode
}

function stat(inode: Inode): object {
  const { mode, size, nlink, uid, gid } = inode
  const time = Date.now()
  return { mode, size, nlink, uid, gid, ino: inode.nodeid, mtime: time, atime: time, ctime: time }
}

function nativeOperations(memory: MemoryFileSystem): Record<string, (...args: never[]) => void> {
  const at = (path: string) => path.lastIndexOf('/')
  const context = { uid: 0, gid: 0 } as RequestContext
  const found = (path: string, reply: Reply, then: (inode: Inode) => void) => {
    const inode = find(memory, path)
    if (inode === undefined) reply(-ERRNO.ENOENT)
    else then(inode)
  }
  return {
    getattr: (path: string, reply: Reply) => found(path, reply, (inode) => reply(0, stat(inode))),
    readdir: (path: string, reply: Reply) => found(path, reply, (inode) => reply(0, [...inode.children.keys()])),
    open: (path: string, _flags: number, reply: Reply) => found(path, reply, (inode) => reply(0, inode.nodeid)),
    opendir: (path: string, _flags: number, reply: Reply) => found(path, reply, (inode) => reply(0, inode.nodeid)),
    read: (_path: string, fd: number, buffer: Buffer, length: number, position: number, reply: Reply) => {
      const parts = memory.read(fd, fd, position, length)
      if (typeof parts === 'number') return reply(parts)
      let done = 0
      for (const part of Array.isArray(parts) ? parts : [parts]) {
        buffer.set(part, done)
        done += part.length
      }
      reply(done)
    },
    create: (path: string, mode: number, reply: Reply) =>
      found(path.slice(0, at(path)), reply, (parent) => {
        const made = memory.create(parent.nodeid, Buffer.from(path.slice(at(path) + 1)), mode, 0, 0, context)
        if (typeof made === 'number') reply(made)
        else reply(0, made.entry.nodeid)
      }),
    unlink: (path: string, reply: Reply) =>
      found(path.slice(0, at(path)), reply, (parent) =>
        reply(memory.unlink(parent.nodeid, Buffer.from(path.slice(at(path) + 1))) ?? 0),
      ),
    flush: (_path: string, _fd: number, reply: Reply) => reply(0),
    release: (_path: string, _fd: number, reply: Reply) => reply(0),
    releasedir: (_path: string, _fd: number, reply: Reply) => reply(0),
  }
}

function serveNative(memory: MemoryFileSystem, dir: string): void {
  const Fuse = createRequire(import.meta.url)('fuse-native') as Native
  const fuse = new Fuse(dir, nativeOperations(memory), {})
  fuse.mount((error) => {
    if (error !== null && error !== undefined) throw error
    console.log('ready')
  })
}

const [kind, dir = ''] = process.argv.slice(2)
if (kind === 'ours') await serveOurs(plantedTree(), dir)
else serveNative(plantedTree(), dir)
