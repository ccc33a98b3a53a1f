// What the parts of a mount tell of their changes, so that another process can go on in place of this one; see record.ts.
import { type Inode, type InodeWatch } from './cache.ts'
import { type Span } from './extents.ts'

/** Bytes that were written to a spool file, and what the content thinks of itself since. */
export interface SavedWrite extends Span {
  readonly writtenAt: bigint
  readonly appended: boolean
  /** Number of the spool file. */
  readonly spool: number
}

/** What one flush carried whose answer never came. */
export interface SavedBatch {
  readonly length: number
  readonly mtime: bigint
  readonly visible: number
}

/** All that a content is, but for the bytes: they are in the spool file of that number. */
export interface SavedContent {
  readonly version: string
  readonly size: number
  readonly length: number
  readonly visible: number
  readonly written: readonly Span[]
  readonly dirty: readonly Span[]
  readonly appended: boolean
  readonly touched: boolean
  readonly isUnsynced?: true
  readonly mtime?: bigint
  readonly writtenAt: bigint
  readonly unanswered: readonly SavedBatch[]
  readonly unlinked: boolean
  readonly spool?: number
  /** Of a second spool file, whose bytes nobody needs. */
  readonly other?: number
}

export interface SavedHandle {
  readonly fh: number
  readonly nodeid: number
  readonly readable: boolean
  readonly writable: boolean
  readonly append: boolean
}

/** An open folder: how far it was read, and the last name that was given. */
export interface SavedFolder {
  readonly fh: number
  readonly nodeid: number
  readonly offset: number
  readonly name: string
}

/** Nothing is written down at once: what was told of goes with the next answer to the kernel, before it. */
export interface Recorder extends InodeWatch {
  opened(handle: SavedHandle): void
  closed(fh: number): void
  /** The content of the inode has changed, or is no more. */
  content(inode: Inode): void
  /** The content of the inode has changed by a write alone. */
  wrote(inode: Inode, write: SavedWrite): void
  folder(folder: SavedFolder): void
  folderClosed(fh: number): void
  /** Writes down now what was told: before something is destroyed that the record still speaks of. */
  now(): void
  /** Does it as soon as what was told is written down. */
  afterwards(action: () => void): void
}

/** For a mount in whose place no other process can go on. */
export const NO_RECORDER: Recorder = {
  changed: () => undefined,
  counted: () => undefined,
  opened: () => undefined,
  closed: () => undefined,
  content: () => undefined,
  wrote: () => undefined,
  folder: () => undefined,
  folderClosed: () => undefined,
  now: () => undefined,
  afterwards: (action) => action(),
}
