/** Opens a tree to serve: checks what the file system can, sweeps what a crash left, and tidies up at the end. */
import { closeSync, constants, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { codeOf } from '../../libc/errno.ts'
import { reflink, RENAME_EXCHANGE, renameat2, tryLock } from '../../libc/openat.ts'
import { getXattr, setXattr } from '../../libc/xattr.ts'
import { enforcesProjects } from '../../libc/project-quota.ts'
import { Fault } from '../../vospace/fault.ts'
import { child, isName, ROOT, type NodePath } from '../../vospace/path.ts'
import { type Ids } from '../backend.ts'
import { RESERVED } from '../contract.ts'
import { ACCESS_ACL, buildAcl } from '../../vospace/posix-acl.ts'
import { redoInto } from './amend.ts'
import { Changing } from './changing.ts'
import { CountedQuotas } from './counted-quotas.ts'
import { recordName, type Keeping } from './inode.ts'
import { replay } from './journal.ts'
import { type Unservable } from './names.ts'
import { type ProjectIds, ProjectQuotas } from './project-quotas.ts'
import { Allocations } from './quota-record.ts'
import { type Quotas } from './quota.ts'
import { refusal } from './refusal.ts'
import { type Store } from './store.ts'
import { spot, Tree } from './tree.ts'
import { Way } from './way.ts'
import { Whereabouts } from './whereabouts.ts'

export interface PosixOptions {
  /** directory that becomes the root container */
  readonly root: string
  readonly ids: Ids
  /** root: the kernel keeps owners, groups (ACL) and modes, and enforces them for bind mounts too. Else they are labels only we read */
  readonly mode: 'root' | 'unprivileged'
  /** containers whose children are allocations */
  readonly allocationParents: readonly NodePath[]
  /** unprivileged: who owns a node that nobody labelled; default the mapped owner of its uid */
  readonly unlabelledOwner?: string
  readonly logger?: Logger
  /** absent: allocations have no quotas here */
  readonly quotas?: QuotaSettings
}

export interface QuotaSettings {
  /** auto: the file system where it has project quotas, else the gateway */
  readonly keptBy: 'auto' | 'storage' | 'gateway'
  readonly projects: ProjectIds
}

export interface Logger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface Opened {
  readonly store: Store
  readonly exchange: boolean
  readonly unservable: Unservable
  readonly close: () => Promise<void>
}

export async function open(options: PosixOptions): Promise<Opened> {
  const { root, ids, mode, allocationParents, unlabelledOwner, logger } = options
  const tree = new Tree(root, allocationParents)
  try {
    openTree(tree, root)
    const sidecars = tree.openReserved(ROOT, 'sidecar')
    const keeping: Keeping = { root: mode === 'root', ids, unlabelledOwner, sidecars: `/proc/self/fd/${sidecars}` }
    const can = probeStore(tree, keeping, root)
    const quotas = options.quotas && quotasOf(tree, options, options.quotas)
    const whereabouts = new Whereabouts()
    const store: Store = {
      tree,
      keeping,
      changing: new Changing(),
      whereabouts,
      way: new Way(tree, keeping, whereabouts),
      allocationParents,
      kept: new Set([ROOT]),
      reflink: can.reflink,
      ...(quotas && { quotas }),
    }
    const lock = lockStore(tree)
    if (tryLock(lock, 'exclusive')) await sweep(store, logger)
    tryLock(lock, 'shared')
    logger?.info({ root, mode, ...can, ...(quotas && { quotasKeptBy: quotas.by }) }, 'POSIX tree opened')
    quotas?.start()
    const close = async (): Promise<void> => {
      await quotas?.stop()
      closeStore(store, lock, sidecars)
    }
    return { store, exchange: can.exchange, unservable: { count: 0 }, close }
  } catch (error) {
    tree.close()
    throw refusal(error, root)
  }
}

/** OperationNotSupported where the file system is to keep quotas and has none. */
function quotasOf(tree: Tree, options: PosixOptions, { keptBy, projects }: QuotaSettings): Quotas {
  const { root, mode, allocationParents: parents, logger } = options
  const all = (): readonly NodePath[] => allocations(tree, parents)
  const known = new Allocations(tree, parents, mode === 'root')
  const can = keptBy !== 'gateway' && mode === 'root' && enforcesProjects(tree.fd)
  if (can) return new ProjectQuotas({ allocations: known, all, ids: projects, root: tree.fd, logger })
  if (keptBy !== 'storage') {
    logger?.info({ root }, 'quotas are kept by the gateway: what is written past it is not refused, and counts later')
    return new CountedQuotas({ allocations: known, all, logger })
  }
  const why = 'needs project quotas (ext4 or XFS, mounted with prjquota; Linux 5.14) and mode root'
  throw new Fault('OperationNotSupported', `${root}: ${why}`)
}

function openTree(tree: Tree, root: string): void {
  try {
    tree.open()
  } catch (error) {
    if (codeOf(error) !== 'ENOSYS') throw error
    const why = `${root} cannot be served safely: this kernel has no openat2 (Linux 5.6 or later has)`
    throw new Fault('OperationNotSupported', why, { errno: 'ENOSYS', cause: error })
  }
}

/** What the file system can, tried on two files of our own. Throws when it lacks what we cannot do without. */
function probeStore(tree: Tree, keeping: Keeping, root: string): { exchange: boolean; reflink: boolean } {
  const dir = tree.openReserved(ROOT, 'staging')
  const [a, b] = [spot(dir, `probe-a-${process.pid}`), spot(dir, `probe-b-${process.pid}`)]
  try {
    const from = openSync(a.file, 'w+', 0o600)
    const to = openSync(b.file, 'w+', 0o600)
    try {
      writeSync(from, 'probe')
      labelsWork(a.file, keeping, root)
      return {
        exchange: works(() => renameat2(dir, a.name, dir, b.name, RENAME_EXCHANGE)),
        reflink: works(() => reflink(to, from)),
      }
    } finally {
      closeSync(from)
      closeSync(to)
    }
  } finally {
    for (const { file } of [a, b]) rmSync(file, { force: true })
    closeSync(dir)
  }
}

function labelsWork(file: string, keeping: Keeping, root: string): void {
  const name = recordName(keeping)
  const xattrs = works(() => setXattr(file, name, Buffer.from('{}'))) && getXattr(file, name) !== undefined
  if (!xattrs) throw new Fault('OperationNotSupported', `${root}: the file system, or we on it, cannot keep ${name} attributes`)
  if (!keeping.root) return
  const named = [{ kind: 'group', id: 1, perm: 4 }] as const
  const acl = works(() => setXattr(file, ACCESS_ACL, buildAcl({ owner: 6, group: 0, other: 0, mask: 4, named })))
  if (!acl) throw new Fault('OperationNotSupported', `${root}: the file system keeps no POSIX ACLs; serve it unprivileged`)
} // prettier-ignore

function works(step: () => void): boolean {
  try {
    step()
    return true
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}

/** Held shared while we serve; who gets it alone knows that nobody else's work is in the staging folders. */
function lockStore(tree: Tree): number {
  return tree.within(ROOT, (dir) =>
    openSync(spot(dir, `${RESERVED}/lock`).file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600),
  )
}

async function sweep(store: Store, logger: Logger | undefined): Promise<void> {
  for (const keeper of keepers(store)) {
    const journal = store.tree.findReserved(keeper, 'journal')
    if (journal !== undefined) {
      store.kept.add(keeper)
      try {
        await replay(journal, (fd, data, redo, file) => redoInto(store, fd, data, redo, file))
      } finally {
        closeSync(journal)
      }
    }
    const swept = sweepStaging(store, keeper)
    if (swept > 0) logger?.warn({ keeper, swept }, 'unfinished nodes of a crash removed')
  }
}

function sweepStaging(store: Store, keeper: NodePath): number {
  const staging = store.tree.findReserved(keeper, 'staging')
  if (staging === undefined) return 0
  store.kept.add(keeper)
  try {
    const names = readdirSync(spot(staging, '.').file, { encoding: 'buffer' })
    const prefix = Buffer.from(`/proc/self/fd/${staging}/`)
    for (const name of names) rmSync(Buffer.concat([prefix, name]), { force: true, recursive: true })
    return names.length
  } finally {
    closeSync(staging)
  }
}

/** The root and every allocation there is. */
export const keepers = ({ tree, allocationParents }: Store): NodePath[] => [
  ROOT,
  ...allocations(tree, allocationParents),
]

function allocations(tree: Tree, parents: readonly NodePath[]): NodePath[] {
  const found: NodePath[] = []
  for (const parent of parents) {
    let dir: number
    try {
      dir = tree.openParent(parent)
    } catch (error) {
      if (error instanceof Fault && error.fault === 'ContainerNotFound') continue // made later, or never
      throw error
    }
    try {
      for (const entry of readdirSync(spot(dir, '.').file, { withFileTypes: true })) {
        if (entry.isDirectory() && isName(entry.name)) found.push(child(parent, entry.name))
      }
    } finally {
      closeSync(dir)
    }
  }
  return found
}

function closeStore(store: Store, lock: number, sidecars: number): void {
  try {
    const last = tryLock(lock, 'exclusive')
    if (last) rmSync(spot(store.tree.fd, `${RESERVED}/lock`).file, { force: true })
    for (const keeper of last ? store.kept : []) tidy(store, keeper)
  } finally {
    closeSync(lock)
    closeSync(sidecars)
    store.way.close()
    store.tree.close()
  }
}

function tidy(store: Store, keeper: NodePath): void {
  try {
    store.tree.dropReserved(keeper)
  } catch (error) {
    // the allocation itself went meanwhile
    if (!(error instanceof Fault) || error.fault !== 'ContainerNotFound') throw error
  }
}
