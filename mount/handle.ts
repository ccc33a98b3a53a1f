// Open files: what a handle may do, and how the kernel's calls on it reach the content that all handles of an inode share.
import { constants } from 'node:fs'
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type Inode } from './cache.ts'
import { type BaseReader } from './base-version.ts'
import { Content, type ContentHost } from './content.ts'
import { NO_RECORDER, type Recorder, type SavedContent, type SavedHandle } from './recorder.ts'
import { checkPermitted } from './permission-watch.ts'
import { type RemoteRef } from './remote.ts'
import { type Log, type SpoolFolder } from './spool.ts'
import { GROWING_CONNECTIONS } from './connections.ts'
import { UploadSlots } from './streaming.ts'
import { create, type Maker } from './make.ts'
import { type Tree } from './tree.ts'

/** Makes a reader of one version of a file; mount/reader.ts in the driver. */
export type OpenReader = (
  ref: () => RemoteRef,
  version: string,
  size: number,
  /** performance.now() when the gateway last said that this version is there and may be read; -Infinity: not that one is known */
  seen: () => number,
) => BaseReader

export interface FilesOptions {
  readonly spools: SpoolFolder
  readonly openReader: OpenReader
  readonly readOnly?: boolean
  /** Opens believe what is known as stat does, for its time-to-live: for what hardly ever changes. */
  readonly opensBelieve?: boolean
  readonly log: Log
  readonly recorder?: Recorder
  /** Absent: locks are the kernel's alone. */
  readonly locks?: LockGuard | undefined
}

/** What locks have to say about the bytes of a file: both throw EIO once its lock was lost. */
export interface LockGuard {
  /** Before something is written. */
  check(inode: Inode): void
  /** Before something is sent. */
  mayBeSent(inode: Inode): Promise<void>
  /** The session whose locks the file is under. */
  leaseOf(inode: Inode): string | undefined
}

export interface Handle {
  readonly inode: Inode
  readonly content: Content
  readonly readable: boolean
  readonly writable: boolean
  readonly append: boolean
}

export interface Opened {
  readonly fh: number
  /** The pages the kernel kept from earlier opens are of this content. */
  readonly keepCache: boolean
}

/** Flags of fallocate(2). */
const KEEP_SIZE = 1
const PUNCH_HOLE = 2
const ZERO_RANGE = 16

export class Files {
  readonly #tree: Tree
  readonly #options: FilesOptions
  readonly #handles = new Map<number, Handle>()
  /** Being released: what waits in them is still on its way. */
  readonly #closing = new Map<number, Handle & { readonly done: Promise<void> }>()
  readonly #recorder: Recorder
  readonly #slots = new UploadSlots(GROWING_CONNECTIONS)
  #last = 0

  constructor(tree: Tree, options: FilesOptions) {
    this.#tree = tree
    this.#options = options
    this.#recorder = options.recorder ?? NO_RECORDER
  }

  /** What was open in a driver before this one, on the inodes that were restored. */
  restore(handles: readonly SavedHandle[], contents: ReadonlyMap<number, SavedContent>, last: number): void {
    this.#last = Math.max(this.#last, last)
    for (const { fh, nodeid, readable, writable, append } of handles) {
      const inode = this.#tree.table.get(nodeid)
      inode.content ??= new Content(this.#host(inode), inode.entry, contents.get(nodeid))
      inode.content.unlinked ||= inode.unlinked
      inode.content.handles++
      if (readable) inode.content.readers++
      if (inode.isNew) this.#tree.newFiles.watch(inode)
      this.#handles.set(fh, { inode, content: inode.content, readable, writable, append })
    }
  }

  /** The handles as they are, and the last number that was given. */
  save(): { readonly handles: SavedHandle[]; readonly last: number } {
    const handles = [...this.#handles, ...this.#closing].map(([fh, { inode, readable, writable, append }]) => {
      return { fh, nodeid: inode.nodeid, readable, writable, append }
    })
    return { handles, last: this.#last }
  }

  /** What waits to be sent. */
  get waiting(): { readonly files: number; readonly bytes: number } {
    const open = [...this.#handles.values(), ...this.#closing.values()]
    const contents = [...new Set(open.map(({ content }) => content))].filter(({ waits }) => waits)
    return { files: contents.length, bytes: contents.reduce((sum, { waiting }) => sum + waiting, 0) }
  }

  /** Throws EBADF. */
  get(fh: number): Handle {
    const handle = this.#handles.get(fh)
    if (handle === undefined) throw new Fault('InvalidArgument', `no handle ${fh}`, { errno: 'EBADF' })
    return handle
  }

  openInodes(): Inode[] {
    return [...new Set([...this.#handles.values()].map(({ inode }) => inode))]
  }

  get count(): number {
    return this.#handles.size
  }

  /** open(2) of a file that is there: what others closed before is seen (close-to-open). */
  async open(inode: Inode, flags: number): Promise<Opened> {
    const { readable, writable } = accessOf(flags)
    if (writable) this.checkWritable()
    const isBelieved = this.#options.opensBelieve === true && this.#tree.isBelieved(inode)
    if (inode.content?.isDirty !== true && !isBelieved) await this.#look(inode)
    const { entry } = inode
    if (inode.unlinked && !inode.isOpen) throw new Fault('NodeNotFound', entry.path, { errno: 'ESTALE' })
    if (entry.type === 'container') throw new Fault('TypeNotSupported', entry.path, { errno: 'EISDIR' })
    if (entry.type === 'link') throw new Fault('LinkFound', entry.path)
    if ((readable && !entry.readable) || (writable && !entry.writable)) {
      throw new Fault('PermissionDenied', entry.path)
    }
    inode.withdrawn = undefined
    return this.#add(inode, flags)
  }

  async #look(inode: Inode): Promise<void> {
    const { size, ctime } = inode.entry
    await this.#tree.confirm(inode)
    // an answer to OPEN says nothing of the size, and the kernel reads no further than the one it was told last
    if (inode.entry.size !== size || inode.entry.ctime !== ctime) await this.#tree.invalidateAttributes(inode)
  }

  /** open(2) with O_CREAT of a name that was not there when the kernel looked. */
  async create(
    parent: Inode,
    name: string,
    mode: number,
    flags: number,
    maker?: Maker,
  ): Promise<Opened & { readonly inode: Inode }> {
    this.checkWritable()
    try {
      if (maker === undefined && (await this.#tree.newFiles.mayBegin(parent, name, flags))) {
        return this.#begin(parent, name, mode, flags)
      }
      const inode = await create(this.#tree, parent, name, mode, maker)
      // it is empty already: truncating would only be one more thing to send
      const opened = this.#add(inode, flags & ~constants.O_TRUNC)
      if (maker === undefined) inode.content?.made()
      return { inode, ...opened }
    } catch (error) {
      if (!isFault(error, 'DuplicateNode') || (flags & constants.O_EXCL) !== 0) throw error
      const inode = await this.#tree.lookup(parent, name)
      if (inode === undefined) throw error
      return { inode, ...(await this.open(inode, flags)) }
    }
  }

  /** A new file that nobody else hears of yet. */
  #begin(parent: Inode, name: string, mode: number, flags: number): Opened & { readonly inode: Inode } {
    const inode = this.#tree.begun(parent, name, mode)
    const opened = this.#add(inode, flags & ~constants.O_TRUNC)
    inode.content?.begin((flags & constants.O_APPEND) !== 0 && (flags & constants.O_TRUNC) === 0)
    return { inode, ...opened }
  }

  /** Throws EROFS on a mount that is for reading. */
  checkWritable(): void {
    if (this.#options.readOnly === true) throw new Fault('PermissionDenied', 'read-only mount', { errno: 'EROFS' })
  }

  #add(inode: Inode, flags: number): Opened {
    const { readable, writable } = accessOf(flags)
    const content = (inode.content ??= new Content(this.#host(inode), inode.entry))
    content.handles++
    if (readable) content.readers++
    const fh = ++this.#last
    const append = (flags & constants.O_APPEND) !== 0
    this.#handles.set(fh, { inode, content, readable, writable, append })
    this.#recorder.opened({ fh, nodeid: inode.nodeid, readable, writable, append })
    this.#recorder.content(inode)
    if (writable && (flags & constants.O_TRUNC) !== 0) content.truncate(0)
    const keepCache = inode.cachedVersion === content.version
    inode.cachedVersion = content.version
    return { fh, keepCache }
  }

  #host(inode: Inode): ContentHost {
    const tree = this.#tree
    const ref = (): RemoteRef => {
      const lease = this.#options.locks?.leaseOf(inode)
      return { ...tree.table.ref(inode), ...(lease !== undefined && { lease }) }
    }
    return {
      remote: tree.remote,
      spools: this.#options.spools,
      slots: this.#slots,
      turns: inode.turns,
      ref,
      openReader: (version, size) =>
        this.#options.openReader(ref, version, size, () => {
          const { entry, withdrawn, fetched } = inode
          const isSo = entry.readable && withdrawn?.read === undefined && entry.contentVersion === version
          return isSo ? fetched : -Infinity
        }),
      newMode: () => inode.newMode,
      mtime: () => inode.entry.mtime,
      made: (entry) => tree.settled(inode, entry),
      found: (error) => tree.foundInstead(inode, error),
      refresh: () => tree.refresh(inode),
      replaced: () => {
        inode.cachedVersion = undefined
        tree.invalidate(inode)
      },
      maySend: async () => this.#options.locks?.mayBeSent(inode),
      noted: (write) => {
        if (write === undefined) this.#recorder.content(inode)
        else this.#recorder.wrote(inode, write)
      },
      recorded: () => {
        this.#recorder.content(inode)
        this.#recorder.now()
      },
      sent: (entry: SeenEntry, over: string) => {
        // the kernel's pages are the old ones with what was written through them
        if (inode.cachedVersion === over) inode.cachedVersion = entry.contentVersion
        tree.changed(inode, entry)
      },
    }
  }

  read(fh: number, offset: number, size: number, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]> {
    const { inode, content, readable, writable } = this.get(fh)
    // the kernel reads around what a writing mmap changes
    if (!readable && !writable) throw new Fault('InvalidArgument', 'not open for reading', { errno: 'EBADF' })
    checkPermitted(inode, 'read')
    return content.read(offset, size, signal)
  }

  /** `fromCache`: pages written back, which stand where they stand even on a handle that appends. */
  write(fh: number, offset: number, data: Uint8Array, fromCache: boolean): number {
    const { inode, content, writable, append } = this.get(fh)
    if (!writable) throw new Fault('InvalidArgument', 'not open for writing', { errno: 'EBADF' })
    checkPermitted(inode, 'write')
    this.#options.locks?.check(inode)
    const moved = append && !fromCache && offset !== content.length
    const count = content.write(data, offset, append && !fromCache)
    if (moved) {
      // the kernel put the bytes into pages where it thought the end was
      inode.cachedVersion = undefined
      this.#tree.invalidate(inode)
    }
    return count
  }

  /** close(2) of one descriptor: sends what was written. A handle for reading has nothing to report. */
  async flush(fh: number): Promise<void> {
    const { content, writable } = this.get(fh)
    if (writable) await content.flush()
  }

  async fsync(fh: number): Promise<void> {
    await this.get(fh).content.fsync()
  }

  /** The handle is gone. Nobody hears of an error now: what cannot be sent is kept. */
  release(fh: number): Promise<void> {
    const handle = this.get(fh)
    const done = this.#release(fh, handle).finally(() => {
      this.#closing.delete(fh)
      this.#recorder.closed(fh)
    })
    this.#closing.set(fh, { ...handle, done })
    return done
  }

  async #release(fh: number, { inode, content, readable }: Handle): Promise<void> {
    this.#handles.delete(fh)
    if (readable) content.readers--
    let why: string | undefined
    // opened again, written and closed while this was being sent: that is to be sent too
    for (let first = true; content.handles === 1 && why === undefined && (first || content.waits); first = false) {
      why = await this.#lastFlush(content)
    }
    content.handles--
    if (content.handles > 0) return
    if (inode.content === content) inode.content = undefined
    content.end(why)
    this.#recorder.content(inode)
    if (why !== undefined && !inode.unlinked) this.#lost(inode)
    this.#tree.table.dropUnused(inode)
    if (inode.hidden) await this.#tree.hiddenNames?.remove(inode)
  }

  /** What the kernel has cached of the file never reached the gateway. */
  #lost(inode: Inode): void {
    inode.cachedVersion = undefined
    if (inode.isNew) this.#tree.vanished(inode)
    else this.#tree.changed(inode)
    this.#tree.invalidate(inode)
  }

  async #lastFlush(content: Content): Promise<string | undefined> {
    try {
      await content.flush()
      return undefined
    } catch (error) {
      return `the gateway did not take it: ${error instanceof Error ? error.message : String(error)}`
    }
  }

  /** fallocate(2): nothing is reserved; the length, holes and zeros are what programs see of it. */
  fallocate(fh: number, offset: number, length: number, mode: number): void {
    const { inode, content, writable } = this.get(fh)
    if (!writable) throw new Fault('InvalidArgument', 'not open for writing', { errno: 'EBADF' })
    checkPermitted(inode, 'write')
    if ((mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) !== 0) {
      throw new Fault('OperationNotSupported', `fallocate mode ${mode}`)
    }
    const end = offset + length
    if ((mode & KEEP_SIZE) === 0 && end > content.length) content.extend(end)
    if ((mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0) content.punch(offset, end)
  }

  /** Sends everything, for an unmount. Answers how many files could not be sent; they are kept. */
  async drain(): Promise<number> {
    const contents = new Set([...this.#handles.values(), ...this.#closing.values()].map(({ content }) => content))
    const results = await Promise.allSettled([...contents].map((content) => content.flush()))
    for (const result of results) {
      if (result.status === 'rejected') this.#options.log(`unmounting: ${String(result.reason)}`)
    }
    return results.filter(({ status }) => status === 'rejected').length
  }

  /** The session is over: handles that are still there never come back. */
  async end(): Promise<void> {
    const begun = [...this.#closing.values()].map(({ done }) => done)
    const ends = await Promise.allSettled([...begun, ...[...this.#handles.keys()].map((fh) => this.release(fh))])
    for (const end of ends) if (end.status === 'rejected') this.#options.log(`closing: ${String(end.reason)}`)
  }
}

function accessOf(flags: number): { readable: boolean; writable: boolean } {
  const mode = flags & 3
  return { readable: mode !== constants.O_WRONLY, writable: mode !== constants.O_RDONLY }
}
