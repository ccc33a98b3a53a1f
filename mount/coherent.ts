// What keeps mounts of one tree in step with each other: locks, and the news of what was changed elsewhere.
import { type NodePath } from '../src/vospace/path.ts'
import { type Expire, Invalidation } from './invalidate.ts'
import { KeptLocks } from './kept-locks.ts'
import { Locks } from './locks.ts'
import { type Remote } from './remote.ts'
import { type Log } from './spool.ts'
import { type Tree } from './tree.ts'

export interface CoherenceOptions {
  readonly remote: Remote
  readonly tree: Tree
  readonly root: NodePath
  /** Folder of the mount, where it survives its driver. */
  readonly folder?: string | undefined
  readonly log: Log
}

export interface Coherence {
  /** absent: the kernel keeps all locks, for this mount alone */
  readonly locks?: Locks
  /** The mount is there. `expire`: the kernel is to look the name up again; resolves when it has heard. */
  readonly start: (expire: Expire) => void
  /** The mount has ended, and its files are closed. */
  readonly end: () => Promise<void>
}

/** As far as the gateway can. */
export function coherenceOf({ remote, tree, root, folder, log }: CoherenceOptions): Coherence {
  const { leases, feed } = remote
  const news = feed && new Invalidation({ feed, tree, root, log })
  const caughtUp = async (seq: number): Promise<void> => news?.upTo(seq)
  const kept = folder === undefined ? undefined : new KeptLocks(folder)
  const locks = leases && new Locks({ calls: leases, tree, caughtUp, log, kept })
  return {
    ...(locks && { locks }),
    start: (expire) => news?.start(expire),
    end: async () => {
      news?.stop()
      await locks?.end()
    },
  }
}
