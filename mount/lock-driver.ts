// The kernel's calls that have to do with locks, given to them. No decisions.
import { type Inode } from './cache.ts'
import { type Answer, type FileSystem } from './fuse/filesystem.ts'
import { type Files } from './handle.ts'
import { type Locks } from './locks.ts'

export interface LockParts {
  readonly locks: Locks
  readonly files: Files
  readonly node: (nodeid: number) => Inode
  readonly answer: <T>(call: () => T | Promise<T>) => Answer<T>
}

export function lockCalls({ locks, files, node, answer }: LockParts) {
  return {
    getlk: (nodeid, _fh, lock) =>
      answer(async () => {
        await node(nodeid).content?.establish()
        return locks.getlk(node(nodeid), lock)
      }),
    setlk: (nodeid, fh, lock, wait, context) => answer(() => locks.setlk(node(nodeid), fh, lock, wait, context)),
    flush: (nodeid, fh, _context, owner) =>
      answer(() =>
        owner !== undefined && locks.has(node(nodeid), owner) ? closed(nodeid, fh, owner) : files.flush(fh),
      ),
    release: (_nodeid, fh, _flags, _context, owner) =>
      answer(async () => {
        await locks.released(files.get(fh).inode, fh, owner)
        await files.release(fh)
      }),
  } satisfies Partial<FileSystem>

  async function closed(nodeid: number, fh: number, owner: string): Promise<void> {
    try {
      await files.flush(fh)
    } finally {
      await locks.closed(node(nodeid), owner)
    }
  }
}
