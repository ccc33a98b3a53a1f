// What a mount is at this moment, kept in a file so that another process can go on in its place: inodes, handles, open
// folders, extents. Each answer to the kernel is written down with the changes that led to it, before the kernel gets it.
// So of all answers only the last can be one the kernel never got; asked again, the next process gives it from here.
import fs from 'node:fs'
import path from 'node:path'
import { type Inode, type InodeTable } from './cache.ts'
import { type Directories } from './folders.ts'
import { type Files } from './handle.ts'
import { type Recorder, type SavedFolder, type SavedHandle, type SavedWrite } from './recorder.ts'
import { contentLine, frame, inodeText, readFrames, type Line, type Restored } from './record-lines.ts'

/** Bytes after which the file begins anew with what still counts, unless that alone is a quarter of it. */
const COMPACT_AT = 8 << 20
/** Milliseconds between two attempts to write where the disk was full. */
const RETRY = 5000
/** Answers of earlier drivers that nobody has asked for. */
const MOST_DECIDED = 64

/** The parts whose state is kept. */
export interface Recorded {
  readonly table: InodeTable
  readonly files: Files
  readonly folders: Directories
}

type Log = (message: string) => void

export class MountRecord implements Recorder {
  readonly #file: string
  readonly #log: Log
  #parts: Recorded | undefined
  #fd: number | undefined
  #size = 0
  #compactAt = COMPACT_AT
  #brokenUntil = 0
  #changed = new Set<Inode>()
  #counted = new Set<Inode>()
  #contents = new Set<Inode>()
  #lines: (Line | string)[] = []
  #afterwards: (() => void)[] = []
  #decided = new Map<number, Buffer>()

  /** `folder` is the mount's own in the state directory. */
  constructor(folder: string, log: Log) {
    this.#file = path.join(folder, 'record')
    this.#log = log
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  /** What the driver before this one wrote down; undefined where that cannot be used. */
  restored(): Restored | undefined {
    const restored = readFrames(this.#file)
    if (restored === undefined) return undefined
    this.#decided = new Map([...restored.decided].slice(-MOST_DECIDED))
    return restored
  }

  /** Begins the file, with all that the parts hold by now. The table must have had it as its watch from the start. */
  begin(parts: Recorded): void {
    this.#pending()
    this.#parts = parts
    this.#compact()
  }

  /** Whether another process could go on from here. */
  get isWritten(): boolean {
    return this.#fd !== undefined
  }

  /** The answer that was decided on before a take-over; given once. */
  decided(unique: number): Buffer | undefined {
    const answer = this.#decided.get(unique)
    this.#decided.delete(unique)
    return answer
  }

  changed(inode: Inode): void {
    this.#changed.add(inode)
  }

  counted(inode: Inode): void {
    this.#counted.add(inode)
  }

  opened(handle: SavedHandle): void {
    this.#lines.push(['h', handle])
  }

  closed(fh: number): void {
    this.#lines.push(['H', fh])
  }

  content(inode: Inode): void {
    this.#contents.add(inode)
  }

  wrote(inode: Inode, { start, end, writtenAt, appended, spool }: SavedWrite): void {
    // the first write of a content is told whole, with its spool file
    this.#lines.push(['w', inode.nodeid, start, end, String(writtenAt), appended, spool])
  }

  folder(folder: SavedFolder): void {
    this.#lines.push(['d', folder])
  }

  folderClosed(fh: number): void {
    this.#lines.push(['D', fh])
  }

  now(): void {
    this.commit(0, [], 0)
  }

  afterwards(action: () => void): void {
    this.#afterwards.push(action)
  }

  /** Writes down what was told, and the answer that goes to the kernel next: `length` bytes of `parts`. */
  commit(unique: number, parts: readonly Uint8Array[], length: number): void {
    const isNew = this.#lines.length > 0 || this.#changed.size > 0 || this.#counted.size > 0 || this.#contents.size > 0
    if (isNew) this.#write(unique, parts, length)
    if (this.#afterwards.length === 0) return
    const actions = this.#afterwards
    this.#afterwards = []
    for (const action of actions) action()
  }

  #write(unique: number, parts: readonly Uint8Array[], length: number): void {
    const lines = this.#pending()
    if (this.#parts === undefined) return
    if (this.#fd === undefined) {
      if (performance.now() < this.#brokenUntil) return
      this.#compact()
      return
    }
    try {
      const pieces = frame(lines, unique, parts, length)
      const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (fs.writevSync(this.#fd, pieces) < size) throw new Error('the disk is full')
      this.#size += size
    } catch (error) {
      this.#broken(error)
      return
    }
    if (this.#size > this.#compactAt) this.#compact(unique, parts, length)
  }

  #pending(): (Line | string)[] {
    const lines = this.#lines
    for (const inode of this.#changed) {
      this.#counted.delete(inode)
      lines.push(this.#parts?.table.has(inode) === true ? inodeText(this.#parts.table, inode) : ['x', inode.nodeid])
    }
    for (const inode of this.#counted) lines.push(['n', inode.nodeid, inode.lookups])
    for (const inode of this.#contents) lines.push(contentLine(inode))
    this.#lines = []
    this.#changed.clear()
    this.#counted.clear()
    this.#contents.clear()
    return lines
  }

  /** A new file with what counts now, in place of the old one. */
  #compact(unique = 0, parts: readonly Uint8Array[] = [], length = 0): void {
    const next = `${this.#file}.new`
    let fd: number | undefined
    try {
      fd = fs.openSync(next, 'w', 0o600)
      const pieces = frame(this.#everything(), unique, parts, length)
      const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (fs.writevSync(fd, pieces) < size) throw new Error('the disk is full')
      fs.renameSync(next, this.#file)
      if (this.#fd !== undefined) fs.closeSync(this.#fd)
      this.#fd = fd
      this.#size = size
      this.#compactAt = Math.max(COMPACT_AT, 4 * size)
      this.#brokenUntil = 0
    } catch (error) {
      if (fd !== undefined) fs.closeSync(fd)
      fs.rmSync(next, { force: true })
      this.#broken(error)
    }
  }

  #everything(): (Line | string)[] {
    if (this.#parts === undefined) return []
    const { table, files, folders } = this.#parts
    const { handles, last: fh } = files.save()
    const open = folders.save()
    const inodes = [...table.inodes()]
    const { root } = table
    return [
      ['l', table.last, fh, open.last],
      ...inodes.filter((inode) => inode !== root).map((inode) => inodeText(table, inode)),
      ...handles.map((handle): Line => ['h', handle]),
      ...open.folders.map((folder): Line => ['d', folder]),
      ...inodes.filter(({ content }) => content !== undefined).map(contentLine),
      ...[...this.#decided].map(([unique, answer]): Line => ['r', unique, answer.toString('base64')]),
    ]
  }

  /** The mount goes on; only its driver may not be killed until there is room again. */
  #broken(error: unknown): void {
    if (this.#brokenUntil === 0) {
      this.#log(`cannot be taken over by another driver for now: ${error instanceof Error ? error.message : 'disk'}`)
    }
    this.#brokenUntil = performance.now() + RETRY
    if (this.#fd !== undefined) fs.closeSync(this.#fd)
    this.#fd = undefined
    fs.rmSync(this.#file, { force: true })
  }

  /** The mount has ended: nothing of it is needed any more. */
  end(): void {
    this.commit(0, [], 0)
    this.#parts = undefined
    if (this.#fd !== undefined) fs.closeSync(this.#fd)
    this.#fd = undefined
    fs.rmSync(path.dirname(this.#file), { recursive: true, force: true })
  }
}
