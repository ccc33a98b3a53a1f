// The tree as the kernel walks it, over the gateway: names, attributes, what may be believed and for how long. Over 400 lines: all of it hangs on one sequence of own changes.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { checkName, isWithin, type NodePath } from '../src/vospace/path.ts'
import { InodeTable, type Inode } from './cache.ts'
import { now } from './content.ts'
import { type Doubts } from './doubts.ts'
import { type FoldersAhead } from './folders-ahead.ts'
import { type HiddenNames } from './hidden-names.ts'
import { type LookAhead } from './look-ahead.ts'
import { type Attributes, type Identity, type Remote, type SpaceLeft } from './remote.ts'
import { NewFiles } from './new-files.ts'
import { inTurn } from './turns.ts'

export interface TreeOptions {
  /** Seconds that an answer of the gateway is believed; 1 unless said otherwise. */
  readonly ttl?: number
  /** Whom files of the mounting user are shown as belonging to: the ids of the user on this machine. */
  readonly uid: number
  readonly gid: number
  /** The kernel decides for every user of this machine; ids are shown as the gateway has them. */
  readonly trusted?: boolean
}

/** The kernel should drop what it cached of an inode; wired to the session's notifier. */
export type Invalidate = (inode: Inode) => void

export type RenameFlags = 'replace' | 'noreplace' | 'exchange'

/** A folder, a name in it, and what is known to stand there. */
type Place = readonly [Inode, string, Inode | undefined]

const ATTEMPTS = 4
/** Bytes still at the gateway above which a file that is removed while open is hidden instead of fetched. */
const LARGE = 64 << 20

export class Tree {
  readonly remote: Remote
  readonly table: InodeTable
  readonly identity: Identity
  readonly options: TreeOptions
  /** Milliseconds. */
  readonly ttl: number
  invalidate: Invalidate = () => undefined
  /** As invalidate, but pages stay; resolves when it is done. */
  invalidateAttributes: (inode: Inode) => Promise<void> = () => Promise.resolve()
  /** The kernel should look the name up again. Not to be waited for in a call on that folder: it waits for the call. */
  invalidateName: (parent: Inode, name: string) => Promise<void> = () => Promise.resolve()
  hiddenNames: HiddenNames | undefined
  /** What is said to have changed elsewhere. */
  doubts: Doubts | undefined
  lookAhead: LookAhead | undefined
  foldersAhead: FoldersAhead | undefined
  readonly newFiles: NewFiles = new NewFiles(this)
  #tick = 0
  /** When the kernel was last told to look a name up again: by what was known before it would get the same answer. */
  #doubted = -Infinity

  /** Use `openTree`. */
  constructor(remote: Remote, identity: Identity, root: SeenEntry, path: NodePath, options: TreeOptions) {
    this.remote = remote
    this.identity = identity
    this.options = options
    this.ttl = (options.ttl ?? 1) * 1000
    this.table = new InodeTable(path, root)
    this.adopt(this.table.root, root, this.tick)
  }

  // What is believed.

  /** Moment in the sequence of this mount's own changes. */
  get tick(): number {
    return this.#tick
  }

  /** Begins a new one: what was asked for before it can be told from what is asked for now. */
  advance(): number {
    return ++this.#tick
  }

  /** Milliseconds for which the entry may still be believed. */
  freshFor(inode: Inode): number {
    return Math.max(0, inode.fetched + this.ttl - performance.now())
  }

  /** Seconds, for the kernel, that the name is good for. What waits to be sent is told anew each time. */
  ttlOf(inode: Inode): number {
    return inode.unlinked ? 0 : this.freshFor(inode) / 1000
  }

  /** The same for its attributes: tar, for one, compares the times of a folder at both ends of its work. */
  attributesTtlOf(inode: Inode): number {
    return inode.isGuessed || this.newFiles.has(inode) ? 0 : this.ttlOf(inode)
  }

  /** Takes an answer that was asked for at `tick`, unless this mount changed the node since. Its content is revised with it. */
  adopt(inode: Inode, entry: SeenEntry, tick: number): void {
    if (inode.changedAt > tick || inode.unlinked) return
    inode.entry = entry
    inode.isGuessed = false
    inode.fetched = this.doubts?.isSince(entry.id, tick) === true ? -Infinity : performance.now()
    inode.content?.rebase(entry)
  }

  /** The gateway's answer to a change that this mount made. */
  changed(inode: Inode, entry?: SeenEntry): void {
    inode.changedAt = ++this.#tick
    if (inode.parent !== undefined) this.lookAhead?.forget(inode.parent, inode.name)
    if (entry === undefined) inode.fetched = -Infinity
    else this.adopt(inode, entry, this.#tick)
  }

  /** A folder in which this mount made a name, or took it away: its times are guessed until somebody looks at them, and the gateway is asked. */
  #nameChanged(folder: Inode, name: string, isThere: boolean, at: bigint, links = 0): void {
    this.lookAhead?.changed(folder, name, isThere)
    const { fetched, entry } = folder
    const time = at > entry.mtime ? at : entry.mtime
    folder.entry = { ...entry, mtime: time, ctime: time, nlink: Math.max(1, entry.nlink + links) }
    folder.changedAt = ++this.#tick
    folder.fetched = fetched
    folder.isGuessed = true
  }

  /** Asks the gateway. Throws ESTALE when the node is gone. */
  async refresh(inode: Inode): Promise<SeenEntry> {
    if (inode.unlinked || inode.isNew) return inode.entry
    const tick = this.#tick
    const ref = this.table.ref(inode)
    try {
      const entry = await this.remote.entry(ref)
      this.adopt(inode, entry, tick)
      if (entry.path !== ref.path && inode !== this.table.root && this.table.path(inode) === ref.path)
        this.#leave(inode)
      return entry
    } catch (error) {
      if (!isFault(error, 'NodeNotFound', 'ContainerNotFound')) throw error
      if (inode.others.length > 0 && this.table.path(inode) === ref.path) this.table.leavePresentName(inode)
      if (!inode.unlinked && this.table.path(inode) !== ref.path) return this.refresh(inode)
      throw this.#missing(inode, error)
    }
  }

  /**
   * Asks the gateway whether the node is still where the kernel believes it to be. Throws ESTALE, of which the kernel looks
   * the name up again by which it came, when that has become another's.
   */
  async confirm(inode: Inode): Promise<void> {
    this.checkNotRetired(inode)
    const stood = this.table.stands(inode)
    await this.refresh(inode)
    if (stood && !inode.unlinked && !this.table.stands(inode)) throw this.#stale(inode)
  }

  /** Throws ESTALE when the node is found under another number by now. */
  checkNotRetired(inode: Inode): void {
    if (inode.retired) throw this.#stale(inode)
  }

  #stale({ entry }: Inode, cause?: Error): Fault {
    this.#doubted = performance.now()
    return new Fault('NodeNotFound', entry.path, { errno: 'ESTALE', ...(cause !== undefined && { cause }) })
  }

  /** ESTALE, of which the kernel looks the name up again: so what is known of it is forgotten. */
  #missing(inode: Inode, cause: Error): Fault {
    this.#leave(inode)
    return this.#stale(inode, cause)
  }

  /** Changes attributes at the gateway, in the inode's turn. Throws ESTALE when the node is gone. */
  async setattr(inode: Inode, attributes: Attributes): Promise<void> {
    try {
      this.changed(inode, await this.remote.setattr(this.table.ref(inode), attributes))
    } catch (error) {
      throw isFault(error, 'NodeNotFound', 'ContainerNotFound') ? this.#missing(inode, error) : error
    }
  }

  /** Somebody else renamed or removed it. */
  #leave(inode: Inode): void {
    inode.fetched = -Infinity
    if (this.table.stands(inode)) this.#strayed(inode, inode.parent, inode.name)
  }

  /**
   * The kernel may still take the inode for what stands at that name, and whoever opens the name would get the wrong file.
   * One that is open goes on under its number, and the kernel is told; any other is found again under a new one.
   */
  #strayed(inode: Inode, parent: Inode | undefined, name: string): void {
    this.table.leave(inode)
    if (inode.entry.type === 'container') return
    if (!inode.isOpen) this.table.retire(inode)
    else if (parent !== undefined) void this.invalidateName(parent, name)
  }

  /** The inode, asked for again where what is known of it is too old. What waits to be sent is true only here. */
  async current(inode: Inode): Promise<Inode> {
    if (this.newFiles.has(inode)) await this.newFiles.settleIn(inode)
    if (!this.isCurrent(inode)) await this.refresh(inode)
    return inode
  }

  /** Whether an open may go without asking: the kernel came by a name that is still believed. */
  isBelieved(inode: Inode): boolean {
    return !inode.retired && this.table.stands(inode) && this.freshFor(inode) > 0
  }

  isCurrent(inode: Inode): boolean {
    if (this.newFiles.has(inode)) return false
    return inode.unlinked || inode.content?.isDirty === true || (this.freshFor(inode) > 0 && !inode.isGuessed)
  }

  // Names.

  /** `undefined`: no such name. Throws ENOTDIR, EACCES, ENAMETOOLONG. */
  async lookup(parent: Inode, name: string): Promise<Inode | undefined> {
    for (let attempt = 1; ; attempt++) {
      const known = this.table.child(parent, name)
      if (known?.isNew === true) return known
      if (known !== undefined && this.freshFor(known) > 0 && known.fetched > this.#doubted) return known
      // a page knows of no name that cannot be, and would say that it is absent
      checkName(name)
      const ahead = await this.lookAhead?.find(parent, name, this.#doubted)
      if (ahead !== undefined && ahead !== 'absent') return ahead
      const tick = this.#tick
      const entry = ahead === 'absent' ? undefined : await this.#find(parent, name)
      if (entry === undefined) {
        if (this.table.child(parent, name) === known) this.table.vacate(parent, name)
        return undefined
      }
      // renamed by this mount while the answer was under way
      const mover = this.table.byId(entry.id)
      if (mover !== undefined && mover.changedAt > tick && attempt < ATTEMPTS) continue
      return this.learn(parent, name, entry, tick)
    }
  }

  async #find(parent: Inode, name: string): Promise<SeenEntry | undefined> {
    const path = this.table.pathIn(parent, name)
    try {
      return await this.remote.entry({ path })
    } catch (error) {
      if (isFault(error, 'NodeNotFound') && error.errno === 'ENOENT') return undefined
      throw error
    }
  }

  /** What the gateway said, asked at `tick`, stands at a name. */
  learn(parent: Inode, name: string, entry: SeenEntry, tick: number): Inode {
    const here = this.table.child(parent, name)
    // on its way: what the gateway has there is it, or will be met by it
    if (here?.isNew === true) return here
    const inode = this.#found(parent, name, entry)
    this.adopt(inode, entry, tick)
    if (parent.changedAt > tick) inode.fetched = -Infinity
    return inode
  }

  #found(parent: Inode, name: string, entry: SeenEntry): Inode {
    const known = this.table.byId(entry.id)
    if (known !== undefined && this.table.stands(known) && this.table.child(parent, name) !== known) {
      // hard links stand at several names
      if (entry.nlink <= 1) this.#strayed(known, known.parent, known.name)
    }
    return this.table.seen(parent, name, entry)
  }

  /** What the gateway makes by `call` stands at the name from now on. */
  async made(parent: Inode, name: string, call: (path: NodePath) => Promise<SeenEntry>): Promise<Inode> {
    const entry = await this.#in(parent, name, call)
    const inode = this.table.seen(parent, name, entry)
    this.changed(inode, entry)
    this.#nameChanged(parent, name, true, entry.ctime, entry.type === 'container' ? 1 : 0)
    if (entry.type === 'container') this.lookAhead?.made(inode)
    return inode
  }

  /** A new file that is only here. Throws ENAMETOOLONG. */
  begun(parent: Inode, name: string, mode: number): Inode {
    const inode = this.newFiles.begin(parent, name, mode & 0o7777)
    inode.fetched = performance.now()
    this.#nameChanged(parent, name, true, inode.entry.mtime)
    return inode
  }

  /** A new file is at the gateway now. */
  settled(inode: Inode, entry: SeenEntry): void {
    this.table.made(inode, entry)
    this.newFiles.ended(inode)
    inode.changedAt = ++this.#tick
    inode.fetched = performance.now()
    if (inode.parent !== undefined) this.#nameChanged(inode.parent, inode.name, true, entry.ctime)
  }

  /** Somebody else has made a file of that name first; undefined: it is gone again. Throws `error` where it cannot be taken for ours. */
  async foundInstead(inode: Inode, error: Fault): Promise<SeenEntry | undefined> {
    const { parent, name } = inode
    const entry = parent && (await this.#find(parent, name))
    if (entry === undefined) return undefined
    if (entry.type !== 'data') throw error
    if (!entry.writable) throw new Fault('PermissionDenied', entry.path, { cause: error })
    this.settled(inode, entry)
    return entry
  }

  /** A new file that the gateway has refused, and nobody has open any more. */
  vanished(inode: Inode): void {
    const { parent, name } = inode
    this.#gone(inode)
    if (parent === undefined) return
    this.#nameChanged(parent, name, false, now())
    void this.invalidateName(parent, name)
  }

  /** Repeats a call whose folder this mount moved while it was under way. */
  async #in<T>(parent: Inode, name: string, call: (path: NodePath) => Promise<T>): Promise<T> {
    for (;;) {
      const path = this.table.pathIn(parent, name)
      try {
        return await call(path)
      } catch (error) {
        const gone = isFault(error, 'NodeNotFound', 'ContainerNotFound')
        if (!gone || this.table.pathIn(parent, name) === path) throw error
      }
    }
  }

  /** A file or link. Those who have it open keep it. */
  async unlink(parent: Inode, name: string): Promise<void> {
    const inode = this.table.child(parent, name)
    await inTurn(inode === undefined ? [] : [inode], () => this.#unlink(parent, name, inode))
  }

  async #unlink(parent: Inode, name: string, inode: Inode | undefined): Promise<void> {
    const hidden = await this.#hidden(parent, name, inode)
    if (inode?.isNew === true) {
      this.#gone(inode)
    } else if (hidden === undefined) {
      await this.#rescue(inode)
      await this.#in(parent, name, (path) => this.remote.remove(path, 'leaf'))
      if (inode !== undefined) this.#lostName(inode, parent, name, await this.#survives(inode))
    } else if (inode?.entry.id === hidden.id) {
      this.#gone(inode)
      this.#hide(inode, hidden.path)
    } else {
      await this.remote.remove(hidden.path, 'leaf')
      if (inode !== undefined) this.#displaced(inode, parent, name)
    }
    this.#nameChanged(parent, name, false, now())
  }

  /** Where the gateway keeps a file that is too large to be fetched before its name goes. */
  async #hidden(parent: Inode, name: string, inode: Inode | undefined): Promise<SeenEntry | undefined> {
    const content = inode?.content
    if (content === undefined || this.hiddenNames === undefined || inode?.isNew === true) return undefined
    if (content.readers === 0 || content.missing <= LARGE || (inode?.entry.nlink ?? 1) > 1) return undefined
    return this.#in(parent, name, async (path) => this.hiddenNames?.hide(path))
  }

  #hide(inode: Inode, path: NodePath): void {
    inode.hidden = true
    inode.parent = this.table.root
    inode.name = path.slice(this.table.path(this.table.root).length).replace(/^\//, '')
    inode.entry = { ...inode.entry, path }
  }

  async rmdir(parent: Inode, name: string): Promise<void> {
    const inode = this.table.child(parent, name)
    if (inode !== undefined) await this.newFiles.settleIn(inode)
    await this.#in(parent, name, (path) => this.remote.remove(path, 'container'))
    if (inode !== undefined) this.#gone(inode)
    this.#nameChanged(parent, name, false, now(), -1)
  }

  /** Brings here what a reader may still want of a file that is about to lose its last name. */
  async #rescue(inode: Inode | undefined): Promise<void> {
    const content = inode?.content
    if (content !== undefined && content.readers > 0) await content.localise()
  }

  /** Its name went, here: so did the node, unless it has other names, or the name was another's by then. */
  #lostName(inode: Inode, parent: Inode, name: string, survives: boolean): void {
    if (survives) this.#displaced(inode, parent, name)
    else this.#gone(inode)
  }

  async #survives(inode: Inode): Promise<boolean> {
    const { type, nlink } = inode.entry
    return (type !== 'container' && nlink > 1) || (await this.#isElsewhere(inode))
  }

  /** Asks only where it matters: what is written to an open file goes to it as long as it is anywhere. */
  async #isElsewhere(inode: Inode): Promise<boolean> {
    if (!inode.isOpen) return false
    try {
      await this.remote.entry(this.table.ref(inode))
      return true
    } catch (error) {
      if (!isFault(error)) throw error
      return !isFault(error, 'NodeNotFound', 'ContainerNotFound')
    }
  }

  #displaced(inode: Inode, parent: Inode, name: string): void {
    this.table.leaveName(inode, parent, name)
    this.changed(inode)
  }

  #gone(inode: Inode): void {
    const { entry } = inode
    this.newFiles.ended(inode)
    inode.entry = { ...entry, nlink: 0, ctime: now() }
    this.table.unlinked(inode)
    inode.changedAt = ++this.#tick
    if (inode.content !== undefined) inode.content.unlinked = true
  }

  /** rename(2), renameat2(2). What is open stays with those who have it open, the replaced file too. */
  async rename(parent: Inode, name: string, to: Inode, newName: string, flags: RenameFlags): Promise<void> {
    const source = this.table.child(parent, name)
    const target = this.table.child(to, newName)
    const both = [...new Set([source, target])].filter((inode) => inode !== undefined)
    for (const inode of both) await (inode.isNew ? inode.content?.establish() : this.newFiles.settleIn(inode))
    await inTurn(both, () => this.#rename([parent, name, source], [to, newName, target], flags))
  }

  async #rename([parent, name, source]: Place, [to, newName, target]: Place, flags: RenameFlags): Promise<void> {
    if (flags === 'replace' && target !== source) await this.#rescue(target)
    const entry = await this.#in(parent, name, (from) =>
      this.#in(to, newName, (path) => this.remote.rename(from, path, flags)),
    )
    // two names of one file: rename(2) does nothing
    if (target !== undefined && target === source) return
    // asked before anything here changes: another driver may go on from here, and does all of it again
    const survives = flags !== 'exchange' && target !== undefined && (await this.#survives(target))
    if (flags === 'exchange' && source !== undefined && target !== undefined) {
      this.table.exchange(source, target, { parent, name }, { parent: to, name: newName })
      this.changed(target)
    } else {
      this.table.vacate(parent, name)
    }
    const inode = this.#found(to, newName, entry)
    this.changed(inode, entry)
    if (source !== undefined && source !== inode) {
      // somebody else had put another there: the kernel now has the wrong one at the new name
      this.#displaced(source, parent, name)
      this.#strayed(source, to, newName)
    }
    const moved = entry.type === 'container' && parent !== to ? 1 : 0
    this.#nameChanged(parent, name, flags === 'exchange', entry.ctime, -moved)
    this.#nameChanged(to, newName, true, entry.ctime, moved)
    if (flags !== 'exchange' && target !== undefined && target !== inode) this.#lostName(target, to, newName, survives)
  }

  async readlink(inode: Inode): Promise<Buffer> {
    const { entry } = await this.current(inode)
    if (entry.text === undefined) throw new Fault('InvalidArgument', 'not a link')
    return entry.text
  }

  statfs(inode: Inode): Promise<SpaceLeft> {
    return this.remote.statfs(this.table.path(inode.unlinked ? this.table.root : inode))
  }
}

/** The tree below a node of the gateway. Throws what the gateway refuses, ENOTDIR when it is no container. */
export async function openTree(
  remote: Remote,
  path: NodePath,
  {
    identity: known,
    rootEntry,
    ...options
  }: TreeOptions & { readonly identity?: Identity; readonly rootEntry?: SeenEntry },
): Promise<Tree> {
  const [identity, root] = await Promise.all([known ?? remote.identity(), rootEntry ?? remote.entry({ path })])
  if (root.type !== 'container') throw new Fault('TypeNotSupported', `${path} is no container`, { errno: 'ENOTDIR' })
  if (!root.readable) throw new Fault('PermissionDenied', `${path} is not readable for ${identity.user ?? 'nobody'}`)
  if (!isWithin(path, root.path)) throw new Fault('InternalFault', `asked for ${path}, got ${root.path}`)
  return new Tree(remote, identity, root, path, options)
}
