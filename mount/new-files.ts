// New files that are here alone, until their first close or fsync, or until somebody else may want to know of them.
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { createdMode, newAccess, shownMode } from '../src/vospace/mode.ts'
import { type Inode } from './cache.ts'
import { now } from './content.ts'
import { type Tree } from './tree.ts'

/** Milliseconds after which a new file that is still open is made at the gateway, without its bytes. */
const SOON = 500
const ACCESS = 3
/** What some store of the gateway keeps for itself: whether it does is its to say. */
const RESERVED = /^\.(karst|snap)/

export class NewFiles {
  readonly #tree: Tree
  readonly #in = new Map<Inode, Set<Inode>>()

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /**
   * Whether an open with these flags may make the file here first: what another has made of that name meanwhile is to be replaced, or appended
   * to, anyway, and the folder is known to let it be made. O_EXCL is decided by the gateway alone.
   */
  async mayBegin(parent: Inode, name: string, flags: number): Promise<boolean> {
    const tree = this.#tree
    const { O_EXCL, O_TRUNC, O_APPEND, O_WRONLY, O_RDONLY } = constants
    const access = flags & ACCESS
    const isBlind = (flags & O_TRUNC) !== 0 || ((flags & O_APPEND) !== 0 && access === O_WRONLY)
    if (!isBlind || access === O_RDONLY || (flags & O_EXCL) !== 0 || tree.options.trusted === true) return false
    if (RESERVED.test(name) || parent.unlinked || tree.table.child(parent, name) !== undefined) return false
    if (tree.freshFor(parent) === 0) await tree.refresh(parent)
    return parent.entry.writable && tree.table.child(parent, name) === undefined
  }

  /** The file, as it will be. Throws ENAMETOOLONG, EINVAL. */
  begin(parent: Inode, name: string, mode: number): Inode {
    const tree = this.#tree
    const { user = '', uid, gid } = tree.identity
    const path = tree.table.pathIn(parent, name)
    const access = newAccess('data', {}, parent.entry.access, user)
    const time = now()
    const entry: SeenEntry = {
      ...{ id: `new-${randomUUID()}`, path, type: 'data', size: 0, uid, gid, nlink: 1, mtime: time, ctime: time },
      ...{ contentVersion: '', version: '', access, readable: true, writable: true, properties: new Map() },
      mode: shownMode('data', createdMode('data', mode, access), access),
    }
    const inode = tree.table.begin(parent, name, entry, mode)
    this.watch(inode)
    return inode
  }

  /** Also one that a driver before this one has begun. */
  watch(inode: Inode): void {
    const { parent } = inode
    if (parent === undefined) return
    const all = this.#in.get(parent) ?? new Set<Inode>()
    this.#in.set(parent, all.add(inode))
    // whatever is the matter, the flush meets it again, and has somebody to tell
    setTimeout(() => void inode.content?.establish().catch(() => undefined), SOON).unref()
  }

  /** Whether there are such files in the folder. */
  has(folder: Inode): boolean {
    return this.#in.has(folder)
  }

  /** It is at the gateway, or gone. */
  ended(inode: Inode): void {
    const { parent } = inode
    const all = parent && this.#in.get(parent)
    all?.delete(inode)
    if (parent !== undefined && all?.size === 0) this.#in.delete(parent)
  }

  /** Those of the folder are made at the gateway, as far as it lets them be. */
  async settleIn(folder: Inode): Promise<void> {
    const all = this.#in.get(folder)
    if (all !== undefined) await Promise.allSettled([...all].map(async (inode) => inode.content?.establish()))
  }
}
