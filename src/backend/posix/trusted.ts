/** The tree as root has it (PosixCalls): ids, modes and ACLs as the kernel keeps them, and nodes that VOSpace does not know. */
import { chmodSync, chownSync, closeSync, lchownSync, lstatSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { makeNode, setTimes } from '../../libc/openat.ts'
import { getXattr, removeXattr, setXattr } from '../../libc/xattr.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry, type NodeType } from '../../vospace/node.ts'
import { ROOT, type NodePath } from '../../vospace/path.ts'
import { type ListOptions, type PosixCalls, type PosixChanges, type PosixDraft } from '../backend.ts'
import { refuseReserved } from '../contract.ts'
import {
  ACCESS_ACL,
  type Acl,
  type AclKind,
  buildAcl,
  created,
  DEFAULT_ACL,
  modeOfAcl,
  parseAcl,
} from '../../vospace/posix-acl.ts'
import { type Inode, readInode, recordName } from './inode.ts'
import { pinned } from './inode-write.ts'
import { list } from './list.ts'
import { link, move, remove } from './moving.ts'
import { recordBytes, renamed } from './record.ts'
import { refusing } from './refusal.ts'
import { discard, renameFresh, stageSpot, type Staged } from './staging.ts'
import { missing, noted, onNode, onQuietNode, type Store } from './store.ts'
import { spot, type Spot } from './tree.ts'

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000
const S_ISGID = 0o2000

const NAME_OF: Readonly<Record<AclKind, string>> = { access: ACCESS_ACL, default: DEFAULT_ACL }

/** `opened` answers the tree, and whether its file system exchanges names; it throws when it is not started. */
export function trustedCalls(opened: () => { readonly store: Store; readonly exchange: boolean }): PosixCalls {
  return {
    walk: async (path) => {
      const { store } = opened()
      refuseReserved(path, store.allocationParents)
      return refusing(path, () => store.way.walk(path, true))
    },
    list: (container: NodePath, options: ListOptions = {}) =>
      list(opened().store, container, options, { count: 0, special: true }),
    make: async (path, draft) => make(opened().store, path, draft),
    set: async (ref, changes) =>
      onQuietNode(opened().store, ref, (at, inode, path) => set(opened().store, at, inode, path, changes), true),
    move: async (from, to, options = {}) => {
      const { store, exchange: canExchange } = opened()
      return move(store, from, to, { ...options, canExchange, special: true })
    },
    remove: async (path: NodePath, type: NodeType | 'leaf') => remove(opened().store, path, type, { special: true }),
    link: async (ref, to) => link(opened().store, ref, to, true),
    acl: async (ref, kind) => onNode(opened().store, ref, (at, inode) => aclOf(at, inode, kind), true),
    setAcl: async (ref, kind, value) =>
      onQuietNode(
        opened().store,
        ref,
        (at, inode, path) => setAcl(opened().store, at, inode, path, { kind, value }),
        true,
      ),
  }
}

/** Makes it aside with all its attributes, then gives it its name, unless that is taken. */
async function make(store: Store, path: NodePath, draft: PosixDraft): Promise<Entry> {
  refuseReserved(path, store.allocationParents)
  const taken = (): Fault => new Fault('DuplicateNode', path)
  if (path === ROOT) throw taken()
  const parent = refusing(path, () => store.tree.at(path, (to) => {
    if (lstatSync(to.file, { throwIfNoEntry: false }) !== undefined) throw taken()
    return containerOf(to)
  }))
  const staged = refusing(path, () => stageSpot(store, path))
  try {
    return refusing(path, () => {
      makeAside(staged, draft)
      giveAttributes(staged, draft, parent)
      return store.tree.at(path, (to) => {
        if (!renameFresh(staged, to)) throw taken()
        return entryAt(store, to, path)
      })
    })
  } finally {
    discard(store, staged)
  }
} // prettier-ignore

interface Container {
  /** of those made in it; undefined: their maker's */
  readonly gid: number | undefined
  readonly defaultAcl: Acl | undefined
}

function containerOf({ dir }: Spot): Container {
  const { file } = spot(dir, '.')
  const { mode, gid } = statSync(file)
  const bytes = getXattr(file, DEFAULT_ACL)
  return { gid: (mode & S_ISGID) === 0 ? undefined : gid, defaultAcl: bytes && parseAcl(bytes) }
}

function makeAside({ dir, name, file }: Staged, { mode, device = 0, text = Buffer.alloc(0) }: PosixDraft): void {
  const format = mode & S_IFMT
  if (format === S_IFDIR) mkdirSync(file, 0o700)
  else if (format === S_IFLNK) symlinkSync(text, file)
  else makeNode(dir, name, format | 0o600, device)
}

function giveAttributes({ file }: Staged, { mode, umask, uid, gid }: PosixDraft, parent: Container): void {
  lchownSync(file, uid, parent.gid ?? gid)
  const format = mode & S_IFMT
  if (format === S_IFLNK) return
  // a container hands its group on to those below as well
  const inherited = format === S_IFDIR && parent.gid !== undefined ? S_ISGID : 0
  const special = (mode & 0o7000) | inherited
  if (parent.defaultAcl === undefined) return chmodSync(file, special | (mode & 0o777 & ~umask))
  const acl = created(parent.defaultAcl, mode)
  if (acl.named.length > 0 || acl.mask !== undefined) setXattr(file, ACCESS_ACL, buildAcl(acl))
  if (format === S_IFDIR) setXattr(file, DEFAULT_ACL, buildAcl(parent.defaultAcl))
  chmodSync(file, special | modeOfAcl(acl))
}

function set(store: Store, at: Spot, inode: Inode, path: NodePath, changes: PosixChanges): Entry {
  const { uid, gid, mode, mtime, atime } = changes
  if (mode !== undefined && inode.type === 'link') throw new Fault('OperationNotSupported', 'a link has no mode')
  onPin(at, inode, (pin) => {
    // numbers that stay: chown(2) with -1 changes nothing of them, but takes set-user-ID away and moves ctime
    if (uid !== undefined || gid !== undefined) chownSync(pin, uid ?? -1, gid ?? -1)
    if (mode !== undefined) chmodSync(pin, mode)
    if (mtime !== undefined) keepVersion(pin, inode, mtime, recordName(store.keeping))
    if (mtime !== undefined || atime !== undefined) setTimes(pin, { mtime, atime })
  })
  return entryAt(store, at, path)
}

/** The bytes are the same under another time: what was named after the old one is named anew. */
function keepVersion(pin: string, inode: Inode, mtime: bigint, name: string): void {
  if (inode.type !== 'data' || inode.special !== undefined || inode.stat.mtimeNs === mtime) return
  const { self, record, contentVersion: cv, md5, stat } = inode
  const named = { size: Number(stat.size), mtime: String(mtime), cv, ...(md5 !== undefined && { md5 }) }
  setXattr(pin, name, recordBytes(renamed(record, self, named)))
}

function aclOf(at: Spot, inode: Inode, kind: AclKind): Buffer | undefined {
  if (inode.type === 'link') throw new Fault('OperationNotSupported', 'a link has no ACL')
  return getXattr(at.file, NAME_OF[kind])
}

interface AclChange {
  readonly kind: AclKind
  readonly value: Buffer | null
}

function setAcl(store: Store, at: Spot, inode: Inode, path: NodePath, { kind, value }: AclChange): Entry {
  if (inode.type === 'link') throw new Fault('OperationNotSupported', 'a link has no ACL')
  onPin(at, inode, (pin) => (value === null ? removeXattr(pin, NAME_OF[kind]) : setXattr(pin, NAME_OF[kind], value)))
  return entryAt(store, at, path)
}

function onPin<T>(at: Spot, inode: Inode, step: (pin: string) => T): T {
  const fd = pinned(at.file, inode)
  try {
    return step(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

function entryAt(store: Store, at: Spot, path: NodePath): Entry {
  const inode = readInode(at.file, store.keeping, true)
  if (inode === undefined) throw missing({ path })
  return noted(store, inode, path, true)
}
