// What is new in a folder: made at the gateway, then known here. In a trusted mount it is its maker's, in any other the mounting user's.
import { Fault } from '../src/vospace/fault.ts'
import { type Inode } from './cache.ts'
import { type NodeDraft } from './remote.ts'
import { type Tree } from './tree.ts'
import { putEmpty } from './upload.ts'

/** Who makes something in a trusted mount. */
export type Maker = Pick<NodeDraft, 'uid' | 'gid' | 'umask'>

const S_IFREG = 0o100000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000

export async function mkdir(tree: Tree, parent: Inode, name: string, mode: number, maker?: Maker): Promise<Inode> {
  if (maker !== undefined) return mknod(tree, parent, name, { ...maker, mode: S_IFDIR | (mode & 0o7777) })
  return tree.made(parent, name, (path) => tree.remote.mkdir(path, mode & 0o7777))
}

export async function symlink(tree: Tree, parent: Inode, name: string, text: Buffer, maker?: Maker): Promise<Inode> {
  if (maker !== undefined) return mknod(tree, parent, name, { ...maker, mode: S_IFLNK | 0o777, text })
  return tree.made(parent, name, (path) => tree.remote.symlink(path, text))
}

/** Anything, for anybody: trusted mounts only. */
export async function mknod(tree: Tree, parent: Inode, name: string, draft: NodeDraft): Promise<Inode> {
  return tree.made(parent, name, (path) => tree.remote.mknod(path, draft))
}

/** A second name of a file; what waits to be sent of it goes on waiting. */
export async function link(tree: Tree, inode: Inode, parent: Inode, name: string): Promise<Inode> {
  tree.checkNotRetired(inode)
  if (inode.unlinked) throw new Fault('NodeNotFound', inode.entry.path)
  await inode.content?.establish()
  return inode.turns.take(() => tree.made(parent, name, (path) => tree.remote.link(tree.table.ref(inode), path)))
}

/** An empty file that was not there; throws EEXIST where it was. It is made durable when it is first sent. */
export async function create(tree: Tree, parent: Inode, name: string, mode: number, maker?: Maker): Promise<Inode> {
  if (maker !== undefined) return mknod(tree, parent, name, { ...maker, mode: S_IFREG | (mode & 0o7777) })
  return tree.made(parent, name, (path) => putEmpty(tree.remote, { path }, mode & 0o7777))
}
