// What stat shows of an inode, and what chmod, chown, utimens and truncate change.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault } from '../src/vospace/fault.ts'
import { inodeNumber, type Inode } from './cache.ts'
import { now } from './content.ts'
import { type Attributes as RemoteAttributes } from './remote.ts'
import { type Tree } from './tree.ts'

const TYPE_BITS = { container: 0o040000, data: 0o100000, link: 0o120000 } as const
/** Programs take it as the size of their buffers: a larger one saves them calls. */
const BLOCK = 131072
const SECTOR = 512

export interface Stat {
  readonly ino: number
  readonly size: number
  readonly blocks: number
  /** nanoseconds */
  readonly atime: bigint
  readonly mtime: bigint
  readonly ctime: bigint
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly blksize: number
}

/** As far as is known now. The gateway keeps no access time: mtime stands for it. */
export function statOf(tree: Tree, inode: Inode): Stat {
  const { content } = inode
  const stat = statOfEntry(tree, inode.entry)
  if (content === undefined && !inode.unlinked) return stat
  const size = content?.length ?? stat.size
  const mtime = content?.mtime ?? stat.mtime
  return {
    ...stat,
    size,
    blocks: Math.ceil(size / SECTOR),
    atime: inode.entry.atime ?? mtime,
    mtime,
    // only while bytes wait: a clean file shows the gateway's times, open or not
    ctime: content?.mtime !== undefined && mtime > stat.ctime ? mtime : stat.ctime,
    nlink: inode.unlinked ? 0 : stat.nlink,
  }
}

/** What the gateway says, without what waits here to be sent. */
export function statOfEntry(tree: Tree, entry: SeenEntry): Stat {
  const own = tree.options.trusted !== true && entry.access.owner === tree.identity.user
  return {
    ino: inodeNumber(entry.id),
    size: entry.size,
    blocks: Math.ceil(entry.size / SECTOR),
    atime: entry.atime ?? entry.mtime,
    mtime: entry.mtime,
    ctime: entry.ctime,
    mode: (entry.special?.format ?? TYPE_BITS[entry.type]) | entry.mode,
    nlink: Math.max(1, entry.nlink),
    uid: own ? tree.options.uid : entry.uid,
    gid: own ? tree.options.gid : entry.gid,
    rdev: entry.special?.device ?? 0,
    blksize: BLOCK,
  }
}

export interface AttributeChanges {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  /** nanoseconds */
  readonly atime?: bigint | 'now'
  readonly mtime?: bigint | 'now'
  /** done through an open handle: what waits for its close need not be sent at once */
  readonly open?: boolean
  /** clear set-user-ID, and set-group-ID where the group may execute */
  readonly killPrivileges?: boolean
}

/** setattr of the kernel. Throws what the gateway refuses. */
export async function setAttributes(tree: Tree, inode: Inode, changes: AttributeChanges): Promise<void> {
  tree.checkNotRetired(inode)
  if (changes.size !== undefined) await resize(tree, inode, changes.size, changes.open === true)
  // bytes that came after it would take set-user-ID away again
  if (((changes.mode ?? 0) & 0o6000) !== 0 && inode.content?.isDirty === true) await inode.content.flush()
  const isSet = await inode.turns.take(async () => {
    const rest = remaining(tree, inode, changes)
    if (Object.keys(rest).length === 0) return true
    if (inode.isNew) return false
    if (inode.unlinked) setUnlinked(inode, rest)
    else await tree.setattr(inode, rest)
    return true
  })
  if (isSet) return
  await inode.content?.establish()
  await setAttributes(tree, inode, changes)
}

/** truncate(2) is sent before it returns; ftruncate(2) with the close. */
async function resize(tree: Tree, inode: Inode, size: number, open: boolean): Promise<void> {
  // as an open does: cutting the wrong file would lose what is in it
  if (!open) await tree.confirm(inode)
  const { content, entry } = inode
  if (content === undefined) {
    await inode.turns.take(() => tree.setattr(inode, { size }))
    return
  }
  if (!open && !entry.writable) throw new Fault('PermissionDenied', entry.path)
  content.truncate(size)
  if (!open) await content.flush()
}

/** What is to be sent now. Times of a file with unsent bytes go with the bytes, else these would overwrite them. */
function remaining(tree: Tree, inode: Inode, changes: AttributeChanges): RemoteAttributes {
  const { content } = inode
  const rest: { -readonly [K in keyof RemoteAttributes]: RemoteAttributes[K] } = {}
  const mode = changedMode(inode, changes)
  if (mode !== undefined) rest.mode = mode
  const shown = statOf(tree, inode)
  // as root chown(2) of what is so already changes ctime and clears set-user-ID
  const all = tree.options.trusted === true
  if (changes.uid !== undefined && (all || changes.uid !== shown.uid)) rest.uid = changes.uid
  if (changes.gid !== undefined && (all || changes.gid !== shown.gid)) rest.gid = changes.gid
  if (changes.mtime !== undefined) {
    const mtime = changes.mtime === 'now' ? now() : changes.mtime
    if (content?.isDirty === true) content.setMtime(mtime)
    else rest.mtime = mtime
  }
  // the gateway keeps none, but for trusted mounts
  if (changes.atime !== undefined && !inode.isNew) rest.atime = changes.atime === 'now' ? now() : changes.atime
  return rest
}

function changedMode({ entry }: Inode, { mode, killPrivileges }: AttributeChanges): number | undefined {
  const wanted = mode === undefined ? undefined : mode & 0o7777
  if (killPrivileges !== true) return wanted
  const base = wanted ?? entry.mode
  const groupExecutes = (base & 0o010) !== 0
  const cleared = base & ~(groupExecutes ? 0o6000 : 0o4000)
  return wanted === undefined && cleared === entry.mode ? undefined : cleared
}

function setUnlinked(inode: Inode, { size: _size, ...changes }: RemoteAttributes): void {
  inode.entry = { ...inode.entry, ...changes, ctime: now() }
}

/** access(2): R 4, W 2, X 1. The gateway's word; throws EACCES. */
export function checkAccess({ entry }: Inode, mask: number): void {
  const executable = entry.type === 'container' ? entry.readable : (entry.mode & 0o111) !== 0
  const refused =
    ((mask & 4) !== 0 && !entry.readable) || ((mask & 2) !== 0 && !entry.writable) || ((mask & 1) !== 0 && !executable)
  if (refused) throw new Fault('PermissionDenied', entry.path)
}
