// The kernel's calls, given to tree and files; their answers and refusals, given to the kernel. No decisions.
import { Fault } from '../src/vospace/fault.ts'
import { checkAccess, setAttributes, statOf, type AttributeChanges } from './attributes.ts'
import { type Inode } from './cache.ts'
import { type Coherence } from './coherent.ts'
import { describe, Directories } from './folders.ts'
import { FOPEN, WRITE } from './fuse/constants.ts'
import {
  refuse,
  refuseNamed,
  type Answer,
  type AttributesReply,
  type Entry,
  type FileSystem,
  type NegativeEntry,
  type OpenReply,
  type Refusal,
  type RequestContext,
  type SetAttributes,
  type StatfsReply,
  type Time,
} from './fuse/filesystem.ts'
import { type Logger } from './fuse/session.ts'
import { type Files, type Opened } from './handle.ts'
import { lockCalls } from './lock-driver.ts'
import { create, link, type Maker, mkdir, mknod, symlink } from './make.ts'
import { type RenameFlags, type Tree } from './tree.ts'
import { absenceOf, getXattr, listXattr, removeXattr, setXattr } from './xattr.ts'

const S_IFMT = 0o170000
const S_IFREG = 0o100000
/** Flags of renameat2(2). */
const RENAME = new Map<number, RenameFlags>([
  [0, 'replace'],
  [1, 'noreplace'],
  [2, 'exchange'],
])
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export interface DriverFileSystemOptions {
  readonly tree: Tree
  readonly files: Files
  readonly logger: Logger
  /** Absent: nobody else has this tree mounted. */
  readonly coherence?: Coherence
  /** Another than an empty table where folders were open in a driver before this one. */
  readonly folders?: Directories
}

/** What every group of calls works with. */
interface Parts {
  readonly tree: Tree
  readonly files: Files
  readonly node: (nodeid: number) => Inode
  readonly answer: <T>(call: () => T | Promise<T>) => Answer<T>
  /** As answer, but EROFS on a mount for reading. */
  readonly changing: <T>(call: () => T | Promise<T>) => Answer<T>
}

/** Everything the kernel can ask of one mount. */
export function driverFileSystem(options: DriverFileSystemOptions): FileSystem {
  const { tree, files, logger, folders = new Directories(tree), coherence } = options
  const answer = answerer(logger)
  const changing = <T>(call: () => T | Promise<T>): Answer<T> =>
    answer(() => {
      files.checkWritable()
      return call()
    })
  const parts: Parts = { tree, files, node: (nodeid) => tree.table.get(nodeid), answer, changing }
  return {
    ...nodeCalls(parts),
    ...nameCalls(parts),
    ...fileCalls(parts),
    ...directoryCalls(parts, folders),
    ...xattrCalls(parts),
    ...(coherence?.locks && lockCalls({ ...parts, locks: coherence.locks })),
    destroy: async () => {
      await files.end()
      await coherence?.end()
    },
  }
}

function nodeCalls({ tree, node, answer, changing }: Parts) {
  return {
    forget: (nodeid, count) => tree.table.forget(nodeid, count),
    getattr: (nodeid) =>
      answer(() => {
        const inode = node(nodeid)
        return tree.isCurrent(inode)
          ? attributesOf(tree, inode)
          : tree.current(inode).then((now) => attributesOf(tree, now))
      }),
    setattr: (nodeid, changes) =>
      changing(async () => {
        const inode = node(nodeid)
        await setAttributes(tree, inode, changesOf(changes))
        return attributesOf(tree, await tree.current(inode))
      }),
    readlink: (nodeid) => answer(() => tree.readlink(node(nodeid))),
    access: (nodeid, mask) => answer(async () => checkAccess(await tree.current(node(nodeid)), mask)),
    statfs: (nodeid) => answer(async () => statfsOf(await tree.statfs(node(nodeid)))),
  } satisfies Partial<FileSystem>
}

function nameCalls({ tree, node, answer, changing }: Parts) {
  return {
    lookup: (parent, name) =>
      answer(async () => {
        const [folder, wanted, tick] = [node(parent), textForLookup(name), tree.tick]
        const inode = await tree.lookup(folder, wanted)
        return inode === undefined ? notThere(tree, folder, wanted, tick) : entryOf(tree, inode)
      }),
    symlink: (parent, name, target, context) =>
      changing(async () =>
        entryOf(tree, await symlink(tree, node(parent), text(name), target, makerOf(tree, context, 0))),
      ),
    mknod: (parent, name, mode, device, umask, context) =>
      changing(async () => {
        const maker = makerOf(tree, context, umask)
        if ((mode & S_IFMT) === S_IFREG) return entryOf(tree, await create(tree, node(parent), text(name), mode, maker))
        if (maker === undefined) throw new Fault('OperationNotSupported', 'special file', { errno: 'EPERM' })
        return entryOf(tree, await mknod(tree, node(parent), text(name), { ...maker, mode, device }))
      }),
    mkdir: (parent, name, mode, umask, context) =>
      changing(async () =>
        entryOf(tree, await mkdir(tree, node(parent), text(name), mode, makerOf(tree, context, umask))),
      ),
    unlink: (parent, name) => changing(() => tree.unlink(node(parent), text(name))),
    rmdir: (parent, name) => changing(() => tree.rmdir(node(parent), text(name))),
    rename: (parent, name, newParent, newName, flags) =>
      changing(() => {
        const how = RENAME.get(flags)
        if (how === undefined) throw new Fault('InvalidArgument', `rename flags ${flags}`)
        return tree.rename(node(parent), text(name), node(newParent), text(newName), how)
      }),
    link: (nodeid, newParent, newName) =>
      changing(async () => entryOf(tree, await link(tree, node(nodeid), node(newParent), text(newName)))),
  } satisfies Partial<FileSystem>
}

function fileCalls({ tree, files, node, answer }: Parts) {
  const opened = ({ fh, keepCache }: Opened): OpenReply => ({ fh, openFlags: keepCache ? FOPEN.KEEP_CACHE : 0 })
  return {
    open: (nodeid, flags, killPrivileges) =>
      answer(async () => {
        const reply = opened(await files.open(node(nodeid), flags))
        if (killPrivileges) await setAttributes(tree, node(nodeid), { killPrivileges })
        return reply
      }),
    create: (parent, name, mode, flags, umask, context) =>
      answer(async () => {
        const maker = makerOf(tree, context, umask)
        const { inode, ...handle } = await files.create(node(parent), text(name), mode, flags, maker)
        return { ...opened(handle), entry: entryOf(tree, inode) }
      }),
    read: (_nodeid, fh, offset, size, { signal }) => answer(() => files.read(fh, offset, size, signal)),
    write: (nodeid, fh, offset, data, flags) =>
      answer(() => {
        const count = files.write(fh, offset, data, (flags & WRITE.CACHE) !== 0)
        if ((flags & WRITE.KILL_SUIDGID) === 0 || (node(nodeid).entry.mode & 0o6000) === 0) return count
        return setAttributes(tree, node(nodeid), { killPrivileges: true }).then(() => count)
      }),
    flush: (_nodeid, fh) => answer(() => files.flush(fh)),
    fsync: (_nodeid, fh) => answer(() => files.fsync(fh)),
    release: (_nodeid, fh) => answer(() => files.release(fh)),
    fallocate: (_nodeid, fh, offset, length, mode) => answer(() => files.fallocate(fh, offset, length, mode)),
  } satisfies Partial<FileSystem>
}

function directoryCalls({ node, answer }: Parts, directories: Directories) {
  return {
    opendir: (nodeid) => answer(() => ({ fh: directories.open(node(nodeid)), openFlags: 0 })),
    readdirplus: (_nodeid, fh, offset, sink) => answer(() => directories.read(fh, offset, sink)),
    releasedir: (_nodeid, fh) => answer(() => directories.close(fh)),
    fsyncdir: () => undefined,
  } satisfies Partial<FileSystem>
}

function xattrCalls({ tree, node, answer, changing }: Parts) {
  return {
    getxattr: (nodeid, name) =>
      answer<Buffer | Refusal>(() => {
        const [inode, wanted] = [node(nodeid), text(name)]
        const absence = absenceOf(tree, inode, wanted)
        return absence === undefined ? getXattr(tree, inode, wanted) : refuse(absence)
      }),
    listxattr: (nodeid) => answer(async () => (await listXattr(tree, node(nodeid))).map((name) => Buffer.from(name))),
    setxattr: (nodeid, name, value, flags) => changing(() => setXattr(tree, node(nodeid), text(name), value, flags)),
    removexattr: (nodeid, name) => changing(() => removeXattr(tree, node(nodeid), text(name))),
  } satisfies Partial<FileSystem>
}

/** In a trusted mount what is made is its maker's; in any other the mounting user's. */
function makerOf({ options }: Tree, { uid, gid }: RequestContext, umask: number): Maker | undefined {
  return options.trusted === true ? { uid, gid, umask: umask & 0o777 } : undefined
}

/** Runs a call; its refusal is the fault's error number, anything else that is thrown is EIO and goes to the log. */
function answerer(logger: Logger) {
  const refusal = (error: unknown): number => {
    if (error instanceof Fault) return refuseNamed(error.errno)
    if (error instanceof Error && error.name === 'AbortError') return refuse('EINTR')
    logger.error('mount', error)
    return refuse('EIO')
  }
  return <T>(call: () => T | Promise<T>): Answer<T> => {
    try {
      const result = call()
      return result instanceof Promise ? result.catch(refusal) : result
    } catch (error) {
      return refusal(error)
    }
  }
}

function attributesOf(tree: Tree, inode: Inode): AttributesReply {
  return { attributes: statOf(tree, inode), attributesTtl: tree.attributesTtlOf(inode) }
}

/** An entry given to the kernel counts as a lookup. */
function entryOf(tree: Tree, inode: Inode): Entry {
  inode.lookups++
  return describe(tree, inode)
}

/** Not to be remembered where the name was changed elsewhere while the gateway was asked, at `tick`. */
function notThere(tree: Tree, folder: Inode, name: string, tick: number): NegativeEntry {
  const forgotten = tree.doubts?.absent(folder, name)
  if (forgotten !== undefined) void tree.invalidateName(...forgotten)
  const isOld = tree.doubts?.isSince(`${folder.nodeid}/${name}`, tick) === true
  const ttl = tree.lookAhead?.absentFor(folder, name) ?? tree.ttl
  return { nodeid: 0, entryTtl: isOld ? 0 : ttl / 1000 }
}

function text(name: Buffer): string {
  try {
    return utf8.decode(name)
  } catch (error) {
    throw new Fault('InvalidURI', 'a name is UTF-8', { errno: 'EILSEQ', cause: error })
  }
}

/** A name that cannot be is not there. */
function textForLookup(name: Buffer): string {
  try {
    return utf8.decode(name)
  } catch (error) {
    throw new Fault('NodeNotFound', 'a name is UTF-8', { cause: error })
  }
}

function nanoseconds(time: Time | 'now'): bigint | 'now' {
  return typeof time === 'object' ? BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec) : time
}

function changesOf(changes: SetAttributes): AttributeChanges {
  const { mode, uid, gid, size, atime, mtime, fh, killPrivileges } = changes
  return {
    ...(mode !== undefined && { mode }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
    ...(size !== undefined && { size }),
    ...(atime !== undefined && { atime: nanoseconds(atime) }),
    ...(mtime !== undefined && { mtime: nanoseconds(mtime) }),
    ...(killPrivileges !== undefined && { killPrivileges }),
    open: fh !== undefined,
  }
}

function statfsOf(space: Awaited<ReturnType<Tree['statfs']>>): StatfsReply {
  const { blockSize, blocks, blocksFree, files, filesFree, nameMax } = space
  return {
    blocks,
    bfree: blocksFree,
    bavail: blocksFree,
    files,
    ffree: filesFree,
    bsize: blockSize,
    frsize: blockSize,
    namelen: nameMax,
  }
}
