/**
 * Quotas as projects of the file system (ext4 and XFS, mounted with prjquota): an allocation is a project, and the kernel counts and refuses for
 * everybody, bind mounts too. Only on ext4 may a process with CAP_SYS_RESOURCE go over: there the gateway looks at the numbers itself.
 */
import { closeSync, constants, lstatSync, openSync, readdir, readdirSync, statfsSync } from 'node:fs'
import { setImmediate as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf } from '../../libc/errno.ts'
import { tryLock } from '../../libc/openat.ts'
import { limitProject, onOpen, projectOf, setProject, usageOf } from '../../libc/project-quota.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { RESERVED } from '../contract.ts'
import { type Logger } from './open.ts'
import { type Allocations, LimitedEntries, type QuotaRecord } from './quota-record.ts'
import { type Quotas, type Room } from './quota.ts'

const read = promisify(readdir)

/** Names between two turns of others. */
const SLICE = 200

/** Numbers that are given to allocations, both included; nobody else uses them. */
export interface ProjectIds {
  readonly first: number
  readonly last: number
}

export interface ProjectQuotasOptions {
  readonly allocations: Allocations
  /** those there are */
  readonly all: () => readonly NodePath[]
  readonly ids: ProjectIds
  /** of the file system of the tree */
  readonly root: number
  readonly logger: Logger | undefined
}

export class ProjectQuotas implements Quotas {
  readonly by = 'storage'
  readonly #options: ProjectQuotasOptions
  readonly #limited: LimitedEntries
  /** where the search for a number begins */
  #next: number
  #stopped = false
  #resuming: Promise<void> = Promise.resolve()

  constructor(options: ProjectQuotasOptions) {
    this.#options = options
    this.#next = options.ids.first
    this.#limited = new LimitedEntries(options.allocations, (directory) => onOpen(directory, projectOf) !== 0)
  }

  /** A quota that was set when there were no projects, or is not whole after a crash, is set again. */
  start(): void {
    this.#stopped = false
    this.#resuming = this.#resume()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#resuming
  }

  async #resume(): Promise<void> {
    const { allocations, all, logger } = this.#options
    for (const allocation of all()) {
      if (this.#stopped) return
      try {
        const record = allocations.at(allocation, (directory) => {
          const found = allocations.read(directory)
          const isWhole = found?.unfinished !== true && onOpen(directory, projectOf) !== 0
          return found !== undefined && !isWhole ? found : undefined
        })
        if (record !== undefined) await this.set(allocation, record.bytes)
      } catch (error) {
        logger?.warn({ err: error, allocation }, 'the quota of an allocation could not be made whole')
      }
    }
  }

  room(path: NodePath): Room | undefined {
    const { allocations } = this.#options
    const allocation = allocations.of(path)
    if (allocation === undefined) return undefined
    return allocations.at(allocation, (directory) =>
      onOpen(directory, (fd) => {
        const project = projectOf(fd)
        if (project === 0) return undefined
        const { bytes: used, limit, inodes: files, inodeLimit } = usageOf(fd, project)
        if (limit === undefined) return undefined
        const filesFree = inodeLimit === undefined ? null : Math.max(0, inodeLimit - files)
        return { quota: shownLimit(limit, allocations.read(directory), directory), used, files, filesFree }
      }),
    )
  }

  async set(allocation: NodePath, bytes: number | undefined): Promise<void> {
    const { allocations } = this.#options
    const isNew = allocations.at(allocation, (directory) => {
      const project = onOpen(directory, projectOf)
      const before = allocations.read(directory)
      if (bytes === undefined) {
        if (project !== 0) onOpen(directory, (fd) => limitProject(fd, project, undefined))
        allocations.write(directory, undefined)
        return false
      }
      const isWhole = project !== 0 && before?.unfinished !== true
      allocations.write(directory, { bytes, ...(!isWhole && { unfinished: true }) })
      onOpen(directory, (fd) => {
        const given = project === 0 ? this.#give(directory, fd) : project
        limitProject(fd, given, bytes)
      })
      return !isWhole
    })
    if (isNew !== true || bytes === undefined) return
    await this.#adopt(allocation)
  }

  isLimited(chain: readonly Entry[]): boolean {
    return this.#limited.has(chain)
  }

  refuseCrossing(from: NodePath, to: NodePath): void {
    const { allocations } = this.#options
    allocations.refuseCrossing(from, to, (allocation) => {
      const project = allocations.at(allocation, (directory) => onOpen(directory, projectOf))
      return project === 0 ? undefined : project
    })
  }

  /** The kernel always knows. */
  async counted(): Promise<void> {}

  async recount(): Promise<boolean> {
    return false
  }

  hold(): void {}
  changed(): void {}

  /** A number that counts nothing yet becomes that of the directory, and of what is being made in it. */
  #give(directory: string, fd: number): number {
    const { root } = this.#options
    const lock = openSync(`/proc/self/fd/${root}/${RESERVED}/projects`, LOCK_FLAGS, 0o600)
    try {
      // kept for less than a turn of the loop: another gateway has it
      if (!tryLock(lock, 'exclusive')) throw new Fault('NodeBusy', 'another gateway is giving out project numbers')
      const project = this.#free(fd)
      // first where nodes are made: none must come from outside once the allocation is a project
      adoptStaging(directory, project)
      setProject(fd, project, true)
      return project
    } finally {
      closeSync(lock)
    }
  }

  #free(fd: number): number {
    const { first, last } = this.#options.ids
    const count = last - first + 1
    for (let tried = 0; tried < count; tried++) {
      const project = first + ((this.#next - first + tried) % count)
      if (usageOf(fd, project).inodes > 0) continue
      this.#next = project + 1 > last ? first : project + 1
      return project
    }
    throw new Fault('QuotaExceeded', `all project numbers from ${first} to ${last} are in use`)
  }

  /** Counts everything that is in an allocation already in its project. */
  async #adopt(allocation: NodePath): Promise<void> {
    const { allocations } = this.#options
    const top = allocations.at(allocation, (directory) => openSync(directory, constants.O_RDONLY))
    if (top === undefined) throw new Fault('NodeNotFound', allocation)
    const file = `/proc/self/fd/${top}/.`
    try {
      await new Adoption(projectOf(top), () => this.#stopped).directory(Buffer.from(file))
      const record = allocations.read(file)
      if (record !== undefined && !this.#stopped) allocations.write(file, { bytes: record.bytes })
    } finally {
      closeSync(top)
    }
  }
}

const LOCK_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/** The number that was asked for, where the file system's whole blocks are no more than that rounded up. */
function shownLimit(limit: number, record: QuotaRecord | undefined, directory: string): number {
  if (record === undefined || record.bytes > limit) return limit
  return limit - record.bytes < Math.max(1024, statfsSync(directory).bsize) ? record.bytes : limit
}

/** The folders where nodes are in the making, and what is in them now. */
function adoptStaging(directory: string, project: number): void {
  for (const folder of [RESERVED, `${RESERVED}/staging`, `${RESERVED}/journal`]) {
    const file = `${directory}/${folder}`
    if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() !== true) continue
    onOpen(file, (fd) => setProject(fd, project, true))
    if (folder === RESERVED) continue
    for (const name of readdirSync(file, { encoding: 'buffer' })) adoptFile(Buffer.concat([Buffer.from(`${file}/`), name]), project) // prettier-ignore
  }
}

/** Symlinks and special files have no attributes to be opened for: those that are there already count nowhere. */
function adoptFile(file: Buffer, project: number): void {
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) return
  ignoringGone(() => onOpen(file, (fd) => setProject(fd, project, false)))
}

function ignoringGone<T>(step: () => T): T | undefined {
  try {
    return step()
  } catch (error) {
    // gone, or something else by now
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}

/** Counts a tree in a project, in slices; directories before what is in them, so that nothing new is missed. */
class Adoption {
  readonly #project: number
  readonly #isStopped: () => boolean
  #count = 0

  constructor(project: number, isStopped: () => boolean) {
    this.#project = project
    this.#isStopped = isStopped
  }

  async directory(file: Buffer): Promise<void> {
    const fd = ignoringGone(() => openSync(file, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))
    if (fd === undefined) return
    try {
      setProject(fd, this.#project, true)
      for (const name of await read(`/proc/self/fd/${fd}/.`, { encoding: 'buffer' })) {
        if (++this.#count % SLICE === 0) await pause()
        if (this.#isStopped()) return
        const below = Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name])
        if (lstatSync(below, { throwIfNoEntry: false })?.isDirectory() === true) await this.directory(below)
        else adoptFile(below, this.#project)
      }
    } finally {
      closeSync(fd)
    }
  }
}
