// What the mount knows of nodes, and until when: inodes the kernel holds, by number, by id and by name.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault } from '../src/vospace/fault.ts'
import { child, type NodePath } from '../src/vospace/path.ts'
import { type Content } from './content.ts'
import { type RemoteRef } from './remote.ts'
import { Turns } from './turns.ts'

/** Deeper than any path can be: a chain of parents this long is a loop made by renames behind our back. */
const DEEPEST = 4096

/** Hears what another driver would have to know of inodes to go on in place of this one; see record.ts. */
export interface InodeWatch {
  /** It is new, stands elsewhere, was removed, or is gone: `InodeTable.has` tells. */
  changed(inode: Inode): void
  counted(inode: Inode): void
}

/** What a record of an inode says. */
export interface SavedInode {
  readonly nodeid: number
  /** Absent: the root, or one whose folder is gone. */
  readonly parent?: number
  readonly name: string
  readonly entry: SeenEntry
  readonly lookups: number
  readonly stands: boolean
  readonly unlinked: boolean
  readonly hidden: boolean
  readonly retired: boolean
  /** of a file that is not at the gateway yet */
  readonly newMode?: number
}

interface Name {
  readonly parent: Inode
  readonly name: string
}

/** One node the kernel has heard of. Where it stands is its parent and name, so a renamed folder takes everything along. */
export class Inode {
  readonly nodeid: number
  /** What stat shows: from the id, so the same after a remount. */
  readonly ino: number
  parent: Inode | undefined
  name: string
  /** Other names of the same node (hard links), older ones first; some may be gone by now. */
  others: Name[] = []
  entry: SeenEntry
  /** performance.now() when the entry was true; -Infinity when it is known to be stale. */
  fetched = -Infinity
  /** A folder whose times are this mount's own guess, after a name in it has changed. */
  isGuessed = false
  /** Tick of the last change made by this mount: an answer asked for before it is old. */
  changedAt = 0
  children: Map<string, Inode> | undefined
  /** The bytes while it is open. */
  content: Content | undefined
  /** contentVersion of the pages the kernel may have kept. */
  cachedVersion: string | undefined
  /** Error numbers of what the gateway permits no more while it is open. */
  withdrawn: { readonly read?: string; readonly write?: string } | undefined
  /** Removed by this mount: it lives on for those who have it open. */
  unlinked = false
  /** Its node is elsewhere, under another number: who comes by this one came by a name that is another's now. */
  retired = false
  xattrs: { readonly until: number; readonly names: readonly string[] } | undefined
  #turns: Turns | undefined
  #lookups = 0
  #hidden = false
  #newMode: number | undefined
  readonly #watch: InodeWatch | undefined

  constructor(
    nodeid: number,
    parent: Inode | undefined,
    name: string,
    entry: SeenEntry,
    watch: InodeWatch | undefined = undefined,
  ) {
    this.#watch = watch
    this.nodeid = nodeid
    this.ino = inodeNumber(entry.id)
    this.parent = parent
    this.name = name
    this.entry = entry
  }

  /** How often the kernel was told of it, less what it forgot. */
  get lookups(): number {
    return this.#lookups
  }

  set lookups(count: number) {
    this.#lookups = count
    this.#watch?.counted(this)
  }

  /** Removed, but too large to be fetched: the gateway has it under a hidden name. */
  get hidden(): boolean {
    return this.#hidden
  }

  set hidden(hidden: boolean) {
    this.#hidden = hidden
    this.#watch?.changed(this)
  }

  /** The 12 bits that a file was made with that is not at the gateway yet; undefined: it is. */
  get newMode(): number | undefined {
    return this.#newMode
  }

  set newMode(mode: number | undefined) {
    this.#newMode = mode
    this.#watch?.changed(this)
  }

  /** It has no id that the gateway knows, and nobody else has heard of it. */
  get isNew(): boolean {
    return this.#newMode !== undefined
  }

  get turns(): Turns {
    return (this.#turns ??= new Turns())
  }

  get isOpen(): boolean {
    return this.content !== undefined
  }
}

/** The inodes of one mount. */
export class InodeTable {
  readonly root: Inode
  readonly #rootPath: NodePath
  readonly #byNumber = new Map<number, Inode>()
  readonly #byId = new Map<string, Inode>()
  #last: number
  /** Set it before the kernel is told of anything. */
  watch: InodeWatch | undefined

  /** `rootNodeid` is the number the kernel gives to the root of a mount. */
  constructor(rootPath: NodePath, entry: SeenEntry, rootNodeid = 1) {
    this.#rootPath = rootPath
    this.root = new Inode(rootNodeid, undefined, '', entry)
    this.root.lookups = 1
    this.#last = rootNodeid
    this.#byNumber.set(rootNodeid, this.root)
    this.#byId.set(entry.id, this.root)
  }

  get size(): number {
    return this.#byNumber.size
  }

  /** Throws ESTALE for a number the kernel should have forgotten. */
  get(nodeid: number): Inode {
    const inode = this.#byNumber.get(nodeid)
    if (inode === undefined) throw new Fault('NodeNotFound', `no node ${nodeid}`, { errno: 'ESTALE' })
    return inode
  }

  /** Whether it is one that the kernel or an open file still needs. */
  has(inode: Inode): boolean {
    return this.#byNumber.get(inode.nodeid) === inode
  }

  /** The last number that was given. */
  get last(): number {
    return this.#last
  }

  /** What a driver before this one knew, in any order: numbers, places and counts are as they were there. */
  restore(all: readonly SavedInode[], last: number): void {
    this.#last = Math.max(this.#last, last)
    for (const { nodeid, name, entry } of all) {
      if (nodeid === this.root.nodeid) continue
      this.#byNumber.set(nodeid, new Inode(nodeid, undefined, name, entry, this.watch))
    }
    for (const saved of all) this.#restoreOne(saved)
  }

  #restoreOne({ nodeid, parent, name, entry, lookups, stands, unlinked, hidden, retired, newMode }: SavedInode): void {
    const inode = this.get(nodeid)
    if (inode === this.root) return
    inode.lookups = lookups
    inode.unlinked = unlinked
    inode.hidden = hidden
    inode.retired = retired
    inode.newMode = newMode
    inode.parent = (parent === undefined ? undefined : this.#byNumber.get(parent)) ?? this.root
    if (!unlinked && !retired && !this.#byId.has(entry.id)) this.#byId.set(entry.id, inode)
    if (stands) this.#place(inode, inode.parent, name)
  }

  byId(id: string): Inode | undefined {
    return this.#byId.get(id)
  }

  child(parent: Inode, name: string): Inode | undefined {
    return parent.children?.get(name)
  }

  inodes(): IterableIterator<Inode> {
    return this.#byNumber.values()
  }

  /** Where the node stands now, as far as this mount knows. */
  path(inode: Inode): NodePath {
    const names: string[] = []
    for (let at = inode; at.parent !== undefined; at = at.parent) {
      names.push(at.name)
      if (names.length > DEEPEST) throw new Fault('NodeNotFound', 'moved into itself', { errno: 'ESTALE' })
    }
    const below = names.reverse().join('/')
    if (below === '') return this.#rootPath
    return (this.#rootPath === '/' ? `/${below}` : `${this.#rootPath}/${below}`) as NodePath
  }

  /** Whether it is at its name, as far as is known. */
  stands(inode: Inode): boolean {
    return inode.parent?.children?.get(inode.name) === inode
  }

  /** The path of a name in a folder. Throws ENAMETOOLONG, EINVAL. */
  pathIn(parent: Inode, name: string): NodePath {
    return child(this.path(parent), name)
  }

  ref(inode: Inode): RemoteRef {
    return inode.isNew ? { path: this.path(inode) } : { path: this.path(inode), id: inode.entry.id }
  }

  /** A file that is here alone for now. */
  begin(parent: Inode, name: string, entry: SeenEntry, mode: number): Inode {
    const inode = new Inode(++this.#last, parent, name, entry, this.watch)
    this.#byNumber.set(inode.nodeid, inode)
    this.#place(inode, parent, name)
    inode.newMode = mode
    return inode
  }

  /** It is at the gateway, as the entry says. */
  made(inode: Inode, entry: SeenEntry): void {
    inode.entry = entry
    if (!this.#byId.has(entry.id)) this.#byId.set(entry.id, inode)
    inode.newMode = undefined
  }

  /** The inode of what was found at a name: one known by its id is moved here, whatever stood here before makes way. */
  seen(parent: Inode, name: string, entry: SeenEntry): Inode {
    const known = this.#byId.get(entry.id)
    const here = parent.children?.get(name)
    if (known !== undefined && known === here) return known
    // a loop (the root found below itself) is a second inode: folders have one place
    if (known !== undefined && known !== this.root) {
      if (entry.nlink > 1 && entry.type !== 'container') this.#alsoAt(known, parent, name)
      else this.move(known, parent, name)
      return known
    }
    const inode = new Inode(++this.#last, parent, name, entry, this.watch)
    this.#byNumber.set(inode.nodeid, inode)
    if (known === undefined) this.#byId.set(entry.id, inode)
    this.#place(inode, parent, name)
    return inode
  }

  move(inode: Inode, parent: Inode, name: string): void {
    this.leave(inode)
    this.#place(inode, parent, name)
  }

  /** Another name was found. The newest is the one by which the gateway is asked. */
  #alsoAt(inode: Inode, parent: Inode, name: string): void {
    const { parent: before, name: nameBefore } = inode
    if (before !== undefined && this.stands(inode)) inode.others.push({ parent: before, name: nameBefore })
    this.#place(inode, parent, name)
  }

  /** What stood at two names stands at the other's. */
  exchange(a: Inode, b: Inode, one: Name, other: Name): void {
    this.leaveName(a, one.parent, one.name)
    this.leaveName(b, other.parent, other.name)
    this.#put(a, other)
    this.#put(b, one)
  }

  #put(inode: Inode, { parent, name }: Name): void {
    if (inode.entry.nlink > 1) this.#alsoAt(inode, parent, name)
    else this.move(inode, parent, name)
  }

  /** Nothing is known to stand at this name any more. */
  vacate(parent: Inode, name: string): void {
    parent.children?.delete(name)
  }

  /** The inode's name is free; parent and name stay as a hint for its path. False when it stood nowhere before. */
  leave(inode: Inode): boolean {
    const siblings = inode.parent?.children
    this.watch?.changed(inode)
    return siblings?.get(inode.name) === inode && siblings.delete(inode.name)
  }

  /** This name of it is gone; it is known by another then, where it has one. */
  leaveName(inode: Inode, parent: Inode, name: string): void {
    if (parent.children?.get(name) === inode) parent.children.delete(name)
    while (!this.stands(inode)) {
      const other = inode.others.pop()
      if (other === undefined) return
      if (other.parent.children?.get(other.name) !== inode) continue
      inode.parent = other.parent
      inode.name = other.name
      this.watch?.changed(inode)
    }
  }

  /** As leaveName, of the name by which the gateway is asked. */
  leavePresentName(inode: Inode): void {
    if (inode.parent !== undefined) this.leaveName(inode, inode.parent, inode.name)
  }

  #leaveAll(inode: Inode): void {
    this.leave(inode)
    for (const { parent, name } of inode.others) if (parent.children?.get(name) === inode) parent.children.delete(name)
    inode.others = []
  }

  #place(inode: Inode, parent: Inode, name: string): void {
    inode.parent = parent
    inode.name = name
    parent.children ??= new Map()
    parent.children.set(name, inode)
    this.watch?.changed(inode)
  }

  /** The node will be another inode when it is found again. */
  retire(inode: Inode): void {
    inode.retired = true
    this.#leaveAll(inode)
    this.watch?.changed(inode)
    if (this.#byId.get(inode.entry.id) === inode) this.#byId.delete(inode.entry.id)
    this.dropUnused(inode)
  }

  /** Removed by this mount: its id means nothing any more. */
  unlinked(inode: Inode): void {
    this.#leaveAll(inode)
    inode.unlinked = true
    if (this.#byId.get(inode.entry.id) === inode) this.#byId.delete(inode.entry.id)
  }

  forget(nodeid: number, count: number): void {
    const inode = this.#byNumber.get(nodeid)
    if (inode === undefined || inode === this.root) return
    inode.lookups -= count
    this.dropUnused(inode)
  }

  /** Takes out an inode that neither the kernel nor an open file needs. */
  dropUnused(inode: Inode): void {
    if (inode.lookups > 0 || inode.isOpen || inode === this.root) return
    this.#byNumber.delete(inode.nodeid)
    if (this.#byId.get(inode.entry.id) === inode) this.#byId.delete(inode.entry.id)
    this.#leaveAll(inode)
  }
}

/** 53 bits of a string, well mixed (cyrb53): the number stat shows. Never 0 or 1. */
export function inodeNumber(id: string): number {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i)
    a = Math.imul(a ^ code, 2654435761)
    b = Math.imul(b ^ code, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return Math.max(2, 4294967296 * (2097151 & b) + (a >>> 0))
}
