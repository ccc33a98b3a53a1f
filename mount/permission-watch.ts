// What of the open files may still be read and written: asked of the gateway every few seconds, since the kernel does not ask us for what it
// has in its cache, and what is written goes to the spool first.
import { Fault, isFault } from '../src/vospace/fault.ts'
import { type Inode } from './cache.ts'
import { type Files } from './handle.ts'
import { type Log } from './spool.ts'
import { type Tree } from './tree.ts'

/** Milliseconds between two looks. */
const LOOK_MS = 4000
/** Questions at a time. */
const AT_A_TIME = 8

/** Refuses what is no longer permitted. Throws EACCES; EPERM: locked. */
export function checkPermitted({ withdrawn, entry }: Inode, what: 'read' | 'write'): void {
  const errno = withdrawn?.[what]
  if (errno !== undefined) throw new Fault('PermissionDenied', `${entry.path}: no longer permitted`, { errno })
}

export class PermissionWatch {
  readonly #tree: Tree
  readonly #files: Files
  readonly #log: Log
  #timer: NodeJS.Timeout | undefined
  /** Whether the credential was refused at the last look: it may have been about to be renewed. */
  #isRefused = false

  constructor(tree: Tree, files: Files, log: Log) {
    this.#tree = tree
    this.#files = files
    this.#log = log
  }

  start(): void {
    this.#timer = setTimeout(() => void this.look().finally(() => this.#timer && this.start()), LOOK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Asks about every open file; resolves when all are answered. */
  async look(): Promise<void> {
    const open = this.#files.openInodes()
    const next = async (): Promise<boolean> => {
      let isRefused = false
      for (let inode = open.pop(); inode !== undefined; inode = open.pop()) {
        if (await this.#ask(inode)) isRefused = true
      }
      return isRefused
    }
    const refused = await Promise.all(Array.from({ length: AT_A_TIME }, next))
    this.#isRefused = refused.includes(true)
  }

  /** Answers whether the credential was refused. */
  async #ask(inode: Inode): Promise<boolean> {
    if (inode.unlinked) return false
    try {
      // not through the tree: what is open stays as it is until somebody looks
      const { readable, writable, access } = await this.#tree.remote.entry(this.#tree.table.ref(inode))
      const write = access.locked ? 'EPERM' : 'EACCES'
      this.#settle(inode, { ...(!readable && { read: 'EACCES' }), ...(!writable && { write }) })
    } catch (error) {
      // neither a gateway that does not answer nor a credential that is about to be renewed withdraws anything
      const isRefused = isFault(error, 'NotAuthenticated')
      const isWithdrawn = isFault(error, 'PermissionDenied') || (isRefused && this.#isRefused)
      if (isWithdrawn) this.#settle(inode, { read: 'EACCES', write: 'EACCES' })
      else if (!isFault(error)) this.#log(`permission of an open file could not be asked for: ${String(error)}`)
      return isRefused
    }
    return false
  }

  #settle(inode: Inode, withdrawn: NonNullable<Inode['withdrawn']>): void {
    const wasReadable = inode.withdrawn?.read === undefined
    inode.withdrawn = withdrawn.read === undefined && withdrawn.write === undefined ? undefined : withdrawn
    if (withdrawn.read === undefined || !wasReadable) return
    this.#log(`${inode.entry.path} is no longer permitted to be read; it is open`)
    inode.cachedVersion = undefined
    this.#tree.invalidate(inode)
  }
}
