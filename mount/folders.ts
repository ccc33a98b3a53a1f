// Open folders by their handles, and what the kernel is shown of them.
import { Fault } from '../src/vospace/fault.ts'
import { statOf, statOfEntry } from './attributes.ts'
import { type Inode } from './cache.ts'
import { Directory, type Listed } from './directory.ts'
import { type DirectorySink, type Entry } from './fuse/filesystem.ts'
import { NO_RECORDER, type Recorder, type SavedFolder } from './recorder.ts'
import { type Tree } from './tree.ts'

interface OpenFolder {
  readonly directory: Directory
  offset: number
  name: string
}

export class Directories {
  readonly #tree: Tree
  readonly #recorder: Recorder
  readonly #open = new Map<number, OpenFolder>()
  #last = 0

  constructor(tree: Tree, recorder: Recorder = NO_RECORDER) {
    this.#tree = tree
    this.#recorder = recorder
  }

  open(inode: Inode): number {
    const fh = ++this.#last
    this.#open.set(fh, { directory: new Directory(this.#tree, inode), offset: 0, name: '' })
    this.#recorder.folder({ fh, nodeid: inode.nodeid, offset: 0, name: '' })
    return fh
  }

  /** What was open in a driver before this one, on the inodes that were restored. */
  restore(folders: readonly SavedFolder[], last: number): void {
    this.#last = Math.max(this.#last, last)
    for (const { fh, nodeid, offset, name } of folders) {
      const directory = new Directory(this.#tree, this.#tree.table.get(nodeid), { offset, name })
      this.#open.set(fh, { directory, offset, name })
    }
  }

  /** The open folders as they are, and the last number that was given. */
  save(): { readonly folders: SavedFolder[]; readonly last: number } {
    const folders = [...this.#open].map(([fh, { directory, offset, name }]) => {
      return { fh, nodeid: directory.inode.nodeid, offset, name }
    })
    return { folders, last: this.#last }
  }

  async read(fh: number, offset: number, sink: DirectorySink): Promise<void> {
    const folder = this.#open.get(fh)
    if (folder === undefined) throw new Fault('InvalidArgument', `no handle ${fh}`, { errno: 'EBADF' })
    await folder.directory.read(offset, (listed, next) => {
      if (!this.#add(sink, listed, next)) return false
      folder.offset = next
      folder.name = listed.name
      return true
    })
    const { nodeid } = folder.directory.inode
    if (this.#open.has(fh)) this.#recorder.folder({ fh, nodeid, offset: folder.offset, name: folder.name })
  }

  #add(sink: DirectorySink, { name, inode, entry }: Listed, next: number): boolean {
    const bytes = Buffer.from(name)
    if (name === '.' || name === '..') {
      return inode === undefined || sink.addPlus(bytes, next, describe(this.#tree, inode))
    }
    if (inode === undefined) return sink.addPlus(bytes, next, unnumbered(this.#tree, entry))
    if (!sink.addPlus(bytes, next, describe(this.#tree, inode))) return false
    inode.lookups++
    return true
  }

  close(fh: number): void {
    this.#open.get(fh)?.directory.close()
    this.#open.delete(fh)
    this.#recorder.folderClosed(fh)
  }
}

/** What the kernel is told of an inode. */
export function describe(tree: Tree, inode: Inode): Entry {
  const ttl = tree.ttlOf(inode)
  return {
    nodeid: inode.nodeid,
    generation: 0,
    entryTtl: ttl,
    attributesTtl: tree.attributesTtlOf(inode),
    attributes: statOf(tree, inode),
  }
}

/** A name in a listing that the kernel is to look up by itself. */
function unnumbered(tree: Tree, entry: Listed['entry']): Entry {
  return { nodeid: 0, generation: 0, entryTtl: 0, attributesTtl: 0, attributes: statOfEntry(tree, entry) }
}
