// One mount: a tree of the gateway on a directory, served until it is unmounted.
import { randomUUID } from 'node:crypto'
import { type NodePath } from '../src/vospace/path.ts'
import { driverFileSystem } from './driver.ts'
import { mountFuse, type Mount } from './fuse/mount.ts'
import { MountError } from './fuse/mount-options.ts'
import { openTransport } from './fuse/open-transport.ts'
import { Session, type Logger } from './fuse/session.ts'
import { Files, type OpenReader } from './handle.ts'
import { HiddenNames } from './hidden-names.ts'
import { PermissionWatch } from './permission-watch.ts'
import { type ReadBudget } from './read-budget.ts'
import { Reader } from './reader.ts'
import { type Remote } from './remote.ts'
import { SpoolFolder, type Log } from './spool.ts'
import { openTree } from './tree.ts'

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
  /** Seconds that an answer of the gateway is believed. */
  readonly ttl?: number
  readonly readOnly?: boolean
  /** Others than the mounting user may look in: the kernel then checks modes and owners itself. */
  readonly allowOther?: boolean
  /** For every user of this machine, whose kernel decides: ids are the gateway's, and what is made is its maker's. */
  readonly trusted?: boolean
  /** As whose the mounting user's files are shown; this process's ids unless said otherwise. */
  readonly uid?: number
  readonly gid?: number
  readonly log: Log
  readonly logger: Logger
}

/** Milliseconds an unmount waits for files in use before the mount is detached under them. */
const PATIENCE = 5000

/** Mounts and serves. Throws Faults of the gateway, MountError. */
export async function serveMount(options: ServeOptions): Promise<Mounted> {
  const { remote, root, dir, readOnly = false, trusted = false } = options
  const allowOther = trusted || options.allowOther === true
  const tree = await openTree(remote, root, {
    uid: options.uid ?? process.getuid?.() ?? 0,
    gid: options.gid ?? process.getgid?.() ?? 0,
    ...(options.ttl !== undefined && { ttl: options.ttl }),
    trusted,
  })
  tree.hiddenNames = new HiddenNames(remote, root, options.source, options.state, options.log)
  await tree.hiddenNames.sweep(options.state)
  const spools = new SpoolFolder(options.state, randomUUID(), options.log)
  const openReader = readerOf(remote, options.budget)
  const files = new Files(tree, { spools, openReader, readOnly, log: options.log })
  const fileSystem = driverFileSystem({ tree, files, logger: options.logger })
  try {
    const how = { fsname: options.source, readOnly, allowOther, defaultPermissions: allowOther }
    const mount = await mountFuse(dir, how)
    const asked = trusted ? { posixAcl: true, dontMask: true } : {}
    const session = new Session(fileSystem, openTransport(mount.fd), options.logger, asked)
    tree.invalidate = (inode) => void session.notifier.invalidateInode(inode.nodeid)
    tree.invalidateAttributes = (inode) => session.notifier.invalidateInode(inode.nodeid, -1)
    tree.invalidateName = (parent, name) => session.notifier.invalidateEntry(parent.nodeid, Buffer.from(name))
    session.start()
    await session.initialized
    const watch = new PermissionWatch(tree, files, options.log)
    watch.start()
    void session.closed.then(() => watch.stop())
    return new Mounted(options, mount, session, files, spools)
  } catch (error) {
    spools.close()
    throw error
  }
}

function readerOf(remote: Remote, budget: ReadBudget): OpenReader {
  return (ref, contentVersion, size) => new Reader({ remote, ref, contentVersion, size, budget })
}

export interface Unmounted {
  /** files that could not be sent; they are kept */
  readonly unsent: number
  /** detached, and still served to who stands in it or has files open */
  readonly isInUse: boolean
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

  constructor(options: ServeOptions, mount: Mount, session: Session, files: Files, spools: SpoolFolder) {
    this.dir = options.dir
    this.source = options.source
    this.readOnly = options.readOnly === true
    this.#mount = mount
    this.#files = files
    this.ended = session.closed.then((error) => {
      if (error !== undefined) options.logger.error(`mount ${options.dir}`, error)
      spools.close()
    })
  }

  /** Open files, for status. */
  get openFiles(): number {
    return this.#files.count
  }

  /**
   * Sends what waits, then takes the mount away; one that is still in use after `patience` milliseconds is detached and goes
   * on serving those who have files open.
   */
  async unmount(patience = PATIENCE): Promise<Unmounted> {
    const unsent = await this.#files.drain()
    const until = performance.now() + patience
    for (;;) {
      try {
        await this.#mount.unmount()
        break
      } catch (error) {
        if (!(error instanceof MountError) || error.code !== 'EBUSY') throw error
        if (performance.now() >= until) {
          await this.#mount.unmount({ lazy: true })
          return { unsent, isInUse: true }
        }
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
    await this.ended
    return { unsent, isInUse: false }
  }
}
