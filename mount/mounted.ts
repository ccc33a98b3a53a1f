// One mount: a tree of the gateway on a directory, served until it is unmounted.
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { type NodePath } from '../src/vospace/path.ts'
import { type MountRequest, type MountStatus } from './control.ts'
import { type DescriptorStore } from './fuse/descriptor-store.ts'
import { holdersOf } from './fuse/holders.ts'
import { coherenceOf } from './coherent.ts'
import { driverFileSystem } from './driver.ts'
import { Directories } from './folders.ts'
import { FoldersAhead } from './folders-ahead.ts'
import { type Negotiated, type SessionOptions } from './fuse/init.ts'
import { mountFuse, setReadAhead, type Mount } from './fuse/mount.ts'
import { MountError, type MountOptions } from './fuse/mount-options.ts'
import { mountAt } from './fuse/mountinfo.ts'
import { openTransport } from './fuse/open-transport.ts'
import { Session, type Logger } from './fuse/session.ts'
import { unmountFuse } from './fuse/unmount.ts'
import { Files, type OpenReader } from './handle.ts'
import { HiddenNames } from './hidden-names.ts'
import { type Locks } from './locks.ts'
import { LookAhead } from './look-ahead.ts'
import { withinRequest } from './operation-id.ts'
import { PermissionWatch } from './permission-watch.ts'
import { type ReadBudget } from './read-budget.ts'
import { Reader } from './reader.ts'
import { MountRecord } from './record.ts'
import { NO_RECORDER } from './recorder.ts'
import { type Identity, type Remote } from './remote.ts'
import { canResend, reopenTree, restore, resumeFolder, saveMount, type SavedMount } from './resume.ts'
import { type SharedRemote } from './shared-bytes.ts'
import { SpoolFolder, type Log } from './spool.ts'
import { openTree, type Tree } from './tree.ts'

export interface ServeOptions {
  readonly remote: Remote
  /** The container that becomes the root of the mount. */
  readonly root: NodePath
  readonly dir: string
  /** Shown by df and mount. */
  readonly source: string
  /** The driver's state directory: spool and recovered files. */
  readonly state: string
  readonly budget: ReadBudget
  /** What is fetched is kept for other mounts, and what they fetched is taken. */
  readonly sharedRemote?: SharedRemote
  /** Seconds that an answer of the gateway is believed; by opens too where it is longer than usual and the mount for reading. */
  readonly ttl?: number
  readonly readOnly?: boolean
  /** Others than the mounting user may look in: the kernel then checks modes and owners itself. */
  readonly allowOther?: boolean
  readonly noExec?: boolean
  /** For every user of this machine, whose kernel decides: ids are the gateway's, and what is made is its maker's. */
  readonly trusted?: boolean
  /** As whose the mounting user's files are shown; this process's ids unless said otherwise. */
  readonly uid?: number
  readonly gid?: number
  /** What the gateway has said of itself and us already. */
  readonly identity?: Identity
  /** and of the root; a moment ago */
  readonly rootEntry?: SeenEntry
  readonly log: Log
  readonly logger: Logger
  /** Where the mount survives its driver: its device is kept there, its state in the state directory. */
  readonly survival?: Survival
  /** The mount of a driver before this one, to go on with. */
  readonly resume?: Resumed
  /** A device that somebody else has mounted at `dir` and handed in. */
  readonly fd?: number
}

export interface Survival {
  readonly store: DescriptorStore
  /** What the mount was asked for by. */
  readonly request: Omit<MountRequest, 'command'>
  /** Service base of the gateway. */
  readonly url: string
}

export interface Resumed {
  readonly saved: SavedMount
  readonly fd: number
}

/** Milliseconds. */
const USUAL_TTL = 1000
/** Milliseconds an unmount waits for files in use before the mount is detached under them. */
const PATIENCE = 5000
/** Milliseconds an unmount waits for the gateway. */
const UNMOUNT_LIMIT = 60_000

/** Mounts and serves. Throws Faults of the gateway, MountError. */
export async function serveMount(options: ServeOptions): Promise<Mounted> {
  const { remote, root, readOnly = false, trusted = false, resume, identity, rootEntry } = options
  const id = resume?.saved.id ?? randomUUID()
  const allowOther = trusted || options.allowOther === true
  const treeOptions = {
    uid: options.uid ?? process.getuid?.() ?? 0,
    gid: options.gid ?? process.getgid?.() ?? 0,
    ...(options.ttl !== undefined && { ttl: options.ttl }),
    trusted,
  }
  const tree =
    resume === undefined
      ? await openTree(remote, root, {
          ...treeOptions,
          ...(identity !== undefined && { identity }),
          ...(rootEntry !== undefined && { rootEntry }),
        })
      : reopenTree(remote, resume.saved, treeOptions)
  const record = options.survival && new MountRecord(resumeFolder(options.state, id), options.log)
  tree.table.watch = record
  if (remote.page !== undefined) {
    tree.lookAhead = new LookAhead(tree, remote.page.bind(remote))
    tree.foldersAhead = new FoldersAhead(tree, remote.page.bind(remote))
  }
  tree.hiddenNames = new HiddenNames(remote, root, options.source, options.state, options.log)
  if (resume === undefined) await tree.hiddenNames.sweep(options.state)
  const spools = new SpoolFolder(options.state, id, options.log)
  const openReader = readerOf(options)
  const folder = options.survival && resumeFolder(options.state, id)
  const coherence = coherenceOf({ remote, tree, root, folder, log: options.log })
  const { locks } = coherence
  const recorder = record ?? NO_RECORDER
  const opensBelieve = readOnly && tree.ttl > USUAL_TTL
  const files = new Files(tree, { spools, openReader, readOnly, opensBelieve, locks, log: options.log, recorder })
  const folders = new Directories(tree, recorder)
  const fileSystem = driverFileSystem({ tree, files, coherence, logger: options.logger, folders })
  const parts = { tree, files, folders, spools }
  try {
    if (resume !== undefined) restore(parts, record?.restored())
    if (resume !== undefined) locks?.restore()
    record?.begin({ table: tree.table, files, folders })
    if (record !== undefined) spools.later = (action) => record.afterwards(action)
    const { source: fsname, noExec = false } = options
    const how = { fsname, readOnly, noExec, allowOther, defaultPermissions: allowOther }
    const mount = await deviceOf(options, how)
    const asked = trusted ? { posixAcl: true, dontMask: true } : {}
    const session = new Session(fileSystem, openTransport(mount.fd), options.logger, {
      ...asked,
      ...surviving(id, record),
      ...(resume !== undefined && { negotiated: resume.saved.negotiated }),
    })
    tree.invalidate = (inode) => void session.notifier.invalidateInode(inode.nodeid)
    tree.invalidateAttributes = (inode) => session.notifier.invalidateInode(inode.nodeid, -1)
    tree.invalidateName = (parent, name) => session.notifier.invalidateEntry(parent.nodeid, Buffer.from(name))
    session.start()
    const negotiated = await session.initialized
    if (resume === undefined) await widenReadAhead(options)
    coherence.start((parent, name) => session.notifier.invalidateEntry(parent.nodeid, Buffer.from(name), true))
    survive(options, { id, mount, tree, negotiated, record, session })
    if (resume !== undefined) await session.notifier.resend()
    const watch = new PermissionWatch(tree, files, options.log)
    watch.start()
    void session.closed.then(() => watch.stop())
    return new Mounted(options, mount, session, { tree, files, spools, record, locks })
  } catch (error) {
    record?.end()
    spools.close()
    throw error
  }
}

async function deviceOf({ dir, resume, fd }: ServeOptions, how: MountOptions): Promise<Mount> {
  const there = resume?.fd ?? fd
  return there === undefined ? mountFuse(dir, how) : { fd: there, unmount: (options) => unmountFuse(dir, options) }
}

/** Who reads on from one place to the next is asked for in pieces of that many KiB; the kernel's own are a quarter. */
const KERNEL_READ_AHEAD = 512

/** Where the kernel lets us: as root, where /sys can be written to. Elsewhere reads are only slower. */
async function widenReadAhead({ dir }: ServeOptions): Promise<void> {
  await setReadAhead(dir, KERNEL_READ_AHEAD).catch(() => undefined)
}

/** How a session's answers are recorded, and those of an earlier one repeated. */
function surviving(id: string, record: MountRecord | undefined): SessionOptions {
  if (record === undefined) return {}
  return {
    beforeReply: (unique, parts, length) => record.commit(unique, parts, length),
    decided: (unique) => record.decided(unique),
    within: (request, call) => withinRequest(id, request.unique, call),
  }
}

interface Served {
  readonly id: string
  readonly mount: Mount
  readonly tree: Tree
  readonly negotiated: Negotiated
  readonly record: MountRecord | undefined
  readonly session: Session
}

/** From now on another driver can go on with the mount, where the kernel can ask it what this one left unanswered. */
function survive(
  { survival, state, root, resume, dir, log }: ServeOptions,
  { id, mount, tree, negotiated, record, session }: Served,
): void {
  if (survival === undefined || record === undefined) return
  const { store, request, url } = survival
  if (!canResend(negotiated)) {
    log(`${dir}: this kernel cannot ask again (FUSE_NOTIFY_RESEND, 6.9): the mount will not survive its driver`)
    record.end()
    return
  }
  if (resume === undefined) {
    saveMount(state, { id, request, url, root, negotiated }, tree)
    store.keep(id, mount.fd)
  }
  void session.closed.then(() => {
    store.drop(id)
    record.end()
  })
}

function readerOf({ remote, budget, sharedRemote }: ServeOptions): OpenReader {
  return (ref, contentVersion, size, seen) =>
    new Reader({ remote: sharedRemote?.reader(seen) ?? remote, ref, contentVersion, size, budget })
}

export interface Unmounted {
  /** files that could not be sent; they are kept */
  readonly unsent: number
  /** Who uses it still, as far as can be told: it was detached, and goes on serving them. Absent where it is gone. */
  readonly holders?: readonly string[]
}

/**
 * Whether a file system that was unmounted here is still mounted elsewhere after so many milliseconds: the kernel lists it as long. Not once `ended`
 * has resolved: the number of the device may be another's then.
 */
async function isKept(device: string, patience: number, ended: Promise<void>): Promise<boolean> {
  const until = performance.now() + patience
  const over = ended.then(() => true)
  while (existsSync(`/sys/class/bdi/${device}`)) {
    if (await Promise.race([over, sleep(50, false)])) return false
    if (performance.now() > until) return true
  }
  return false
}

interface MountedParts {
  readonly tree: Tree
  readonly files: Files
  readonly spools: SpoolFolder
  readonly record: MountRecord | undefined
  readonly locks: Locks | undefined
}

/** A mount that is being served. */
export class Mounted {
  readonly dir: string
  readonly source: string
  readonly readOnly: boolean
  /** Resolves when nothing is mounted any more, however that came, and every file was sent or kept. */
  readonly ended: Promise<void>
  readonly #mount: Mount
  readonly #files: Files
  readonly #remote: Remote

  readonly #session: Session
  readonly #parts: MountedParts

  constructor(options: ServeOptions, mount: Mount, session: Session, parts: MountedParts) {
    const { files, spools } = parts
    this.#session = session
    this.#parts = parts
    this.dir = options.dir
    this.source = options.source
    this.readOnly = options.readOnly === true
    this.#mount = mount
    this.#files = files
    this.#remote = options.remote
    this.ended = session.closed.then((error) => {
      if (error !== undefined) options.logger.error(`mount ${options.dir}`, error)
      spools.close()
    })
  }

  get openFiles(): number {
    return this.#files.count
  }

  get status(): MountStatus {
    const { tree, files, spools, record, locks } = this.#parts
    const { dir, source, readOnly } = this
    const { files: dirtyFiles, bytes: dirtyBytes } = files.waiting
    return {
      ...{ dir, source, readOnly, dirtyFiles, dirtyBytes },
      openFiles: files.count,
      spoolBytes: spools.bytes,
      inodes: tree.table.size,
      locks: locks?.count ?? 0,
      survives: record?.isWritten === true,
      latency: this.#session.latency.summary,
    }
  }

  /**
   * Sends what waits, then takes the mount away; one that is still in use after `patience` milliseconds is detached and goes
   * on serving those who have files open, and containers that have it in a mount namespace of theirs. What the gateway has not answered after `limit` milliseconds is given up: files are
   * kept then, programs that wait get EIO.
   */
  async unmount(patience = PATIENCE, limit = UNMOUNT_LIMIT): Promise<Unmounted> {
    const giveUp = setTimeout(() => this.#remote.abandon?.(), limit)
    try {
      const unsent = await this.#files.drain()
      const device = (await mountAt(this.dir))?.device
      let holders = await this.#detach(performance.now() + patience, device)
      if (holders === undefined && device !== undefined && (await isKept(device, patience, this.ended)))
        holders = await holdersOf(device)
      if (holders === undefined) await this.ended
      return { unsent, ...(holders !== undefined && { holders }) }
    } finally {
      clearTimeout(giveUp)
    }
  }

  /** Answers who uses it, where it had to be detached under them. */
  async #detach(until: number, device: string | undefined): Promise<string[] | undefined> {
    // a mount that was handed in may stand in another mount namespace: whoever made it takes it away
    if ((await mountAt(this.dir)) === undefined) {
      await this.#session.close()
      return undefined
    }
    for (;;) {
      try {
        await this.#mount.unmount()
        return undefined
      } catch (error) {
        if (!(error instanceof MountError) || error.code !== 'EBUSY') throw error
        if (performance.now() >= until) {
          // asked before: then it is in no list any more
          const holders = device === undefined ? [] : await holdersOf(device)
          await this.#mount.unmount({ lazy: true })
          return holders
        }
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }
}
