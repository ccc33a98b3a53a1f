// Tree and files over a FakeRemote without a kernel: paths are walked by lookup, as the kernel does it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setAttributes, statOf, type AttributeChanges, type Stat } from '../../mount/attributes.ts'
import { type Inode } from '../../mount/cache.ts'
import { Directory } from '../../mount/directory.ts'
import { Directories } from '../../mount/folders.ts'
import { Files } from '../../mount/handle.ts'
import { LookAhead } from '../../mount/look-ahead.ts'
import { mkdir, symlink } from '../../mount/make.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { Reader } from '../../mount/reader.ts'
import { MountRecord } from '../../mount/record.ts'
import { resumeFolder } from '../../mount/resume.ts'
import { SpoolFolder } from '../../mount/spool.ts'
import { openTree, type RenameFlags, type Tree } from '../../mount/tree.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { FakeRemote } from './fake-remote.ts'

interface Teardown {
  teardown(cleanUp: () => void): void
}

export interface Options {
  readonly ttl?: number
  readonly root?: string
  readonly remote?: FakeRemote
  readonly readOnly?: boolean
  /** names are read ahead */
  readonly ahead?: boolean
  /** what it is at every moment is written down, for a driver after this one: `record` of what is made */
  readonly survives?: boolean
}

export const O = fs.constants

/** A mount without its kernel. */
export class Walked {
  readonly tree: Tree
  readonly files: Files
  readonly remote: FakeRemote
  readonly state: string
  readonly log: string[]
  readonly invalidated: string[] = []
  record: MountRecord | undefined

  constructor(tree: Tree, files: Files, remote: FakeRemote, state: string, log: string[]) {
    this.tree = tree
    this.files = files
    this.remote = remote
    this.state = state
    this.log = log
    tree.invalidate = (inode) => void this.invalidated.push(inode.name)
  }

  /** Throws ENOENT. Every inode found is kept: the kernel forgets when it likes. */
  async find(at: string): Promise<Inode> {
    let inode = this.tree.table.root
    for (const name of at.split('/').filter((step) => step !== '' && step !== '.'))
      inode = await this.child(inode, name)
    return inode
  }

  async child(parent: Inode, name: string): Promise<Inode> {
    if (parent.entry.type !== 'container') throw new Fault('ContainerNotFound', name, { errno: 'ENOTDIR' })
    const inode = await this.tree.lookup(parent, name)
    if (inode === undefined) throw new Fault('NodeNotFound', name)
    inode.lookups++
    return inode
  }

  async #split(at: string): Promise<[Inode, string]> {
    const parent = await this.find(path.dirname(at))
    if (parent.entry.type !== 'container') throw new Fault('ContainerNotFound', at, { errno: 'ENOTDIR' })
    return [parent, path.basename(at)]
  }

  /** open(2). */
  async open(at: string, flags: number, mode = 0o644): Promise<number> {
    const [parent, name] = await this.#split(at)
    const known = await this.tree.lookup(parent, name)
    if (known === undefined && (flags & O.O_CREAT) !== 0) {
      const { inode, fh } = await this.files.create(parent, name, mode, flags)
      inode.lookups++
      return fh
    }
    if (known === undefined) throw new Fault('NodeNotFound', at)
    known.lookups++
    if ((flags & O.O_CREAT) !== 0 && (flags & O.O_EXCL) !== 0) throw new Fault('DuplicateNode', at)
    return (await this.files.open(known, flags)).fh
  }

  write(fh: number, offset: number, data: string | Uint8Array): number {
    return this.files.write(fh, offset, Buffer.from(data as Uint8Array), false)
  }

  async read(fh: number, offset = 0, size = 1 << 20): Promise<Buffer> {
    return Buffer.concat(await this.files.read(fh, offset, size))
  }

  /** close(2): what the kernel does of it, in order. The error of the flush is close's. */
  async close(fh: number): Promise<void> {
    try {
      await this.files.flush(fh)
    } finally {
      await this.files.release(fh)
    }
  }

  async writeFile(at: string, data: string | Uint8Array): Promise<void> {
    const fh = await this.open(at, O.O_WRONLY | O.O_CREAT | O.O_TRUNC)
    this.write(fh, 0, data)
    await this.close(fh)
  }

  async readFile(at: string): Promise<string> {
    const fh = await this.open(at, O.O_RDONLY)
    const bytes = await this.read(fh)
    await this.close(fh)
    return bytes.toString()
  }

  async stat(at: string): Promise<Stat> {
    return statOf(this.tree, await this.tree.current(await this.find(at)))
  }

  async setattr(at: string, changes: AttributeChanges): Promise<void> {
    await setAttributes(this.tree, await this.find(at), changes)
  }

  async mkdir(at: string): Promise<void> {
    const [parent, name] = await this.#split(at)
    await mkdir(this.tree, parent, name, 0o755)
  }

  async symlink(at: string, text: string): Promise<void> {
    const [parent, name] = await this.#split(at)
    await symlink(this.tree, parent, name, Buffer.from(text))
  }

  async unlink(at: string): Promise<void> {
    const [parent, name] = await this.#split(at)
    await this.child(parent, name)
    await this.tree.unlink(parent, name)
  }

  async rmdir(at: string): Promise<void> {
    const [parent, name] = await this.#split(at)
    await this.child(parent, name)
    await this.tree.rmdir(parent, name)
  }

  async rename(from: string, to: string, flags: RenameFlags = 'replace'): Promise<void> {
    const [parent, name] = await this.#split(from)
    const [newParent, newName] = await this.#split(to)
    await this.child(parent, name)
    const target = await this.tree.lookup(newParent, newName)
    if (target !== undefined) target.lookups++
    await this.tree.rename(parent, name, newParent, newName, flags)
  }

  async list(at: string): Promise<string[]> {
    const directory = new Directory(this.tree, await this.find(at))
    const names: string[] = []
    for (let offset = 0, before = -1; offset !== before;) {
      before = offset
      await directory.read(offset, ({ name, inode }, next) => {
        if (inode !== undefined) inode.lookups++
        names.push(name)
        offset = next
        return true
      })
    }
    directory.close()
    return names
  }
}

/** A mount of /home/alice of a new gateway, unless told otherwise. */
export async function walk(t: Teardown, options: Options = {}): Promise<Walked> {
  const remote = options.remote ?? new FakeRemote()
  const root = options.root ?? '/home/alice'
  remote.makeContainer(root)
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-state-'))
  t.teardown(() => fs.rmSync(state, { recursive: true, force: true }))
  const log: string[] = []
  const tree = await openTree(remote, nodePath(root), { uid: 1234, gid: 1234, ttl: options.ttl ?? 0 })
  if (options.ahead === true) tree.lookAhead = new LookAhead(tree, remote.page.bind(remote))
  const spools = new SpoolFolder(state, 'mount', (message) => log.push(message))
  const record =
    options.survives === true
      ? new MountRecord(resumeFolder(state, 'mount'), (message) => log.push(message))
      : undefined
  tree.table.watch = record
  const budget = new ReadBudget(1 << 26)
  const files = new Files(tree, {
    spools,
    openReader: (ref, contentVersion, size) => new Reader({ remote, ref, contentVersion, size, budget }),
    log: (message) => log.push(message),
    ...(record !== undefined && { recorder: record }),
    ...(options.readOnly !== undefined && { readOnly: options.readOnly }),
  })
  if (record !== undefined) {
    record.begin({ table: tree.table, files, folders: new Directories(tree, record) })
    spools.later = (action) => record.afterwards(action)
  }
  remote.calls.splice(0)
  const walked = new Walked(tree, files, remote, state, log)
  walked.record = record
  return walked
}

/** The error number's name of a refusal, for comparisons. */
export async function errnoOf(call: Promise<unknown> | (() => unknown)): Promise<string | undefined> {
  try {
    await (typeof call === 'function' ? call() : call)
    return undefined
  } catch (error) {
    if (error instanceof Fault) return error.errno
    throw error
  }
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
export function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}
