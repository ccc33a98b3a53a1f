// Large files that were removed while open: they stay at the gateway under a hidden name until their last close.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { isFault } from '../src/vospace/fault.ts'
import { child, nodePath, parentOf, type NodePath } from '../src/vospace/path.ts'
import { type Inode } from './cache.ts'
import { operationId } from './operation-id.ts'
import { type Remote } from './remote.ts'
import { type Log } from './spool.ts'

const PREFIX = '.karst-unlinked-'

/** Whether listings leave the name out. */
export function isHiddenName(name: string): boolean {
  return name.startsWith(PREFIX)
}

interface Hidden {
  readonly source: string
  readonly path: string
}

/** The hidden names of one mount. Each is written down on local disk before it is given. */
export class HiddenNames {
  readonly #remote: Remote
  readonly #root: NodePath
  readonly #source: string
  readonly #file: string
  readonly #log: Log

  /** `source` names service and root of the mount. */
  constructor(remote: Remote, root: NodePath, source: string, state: string, log: Log) {
    this.#remote = remote
    this.#root = root
    this.#source = source
    this.#file = hiddenFile(state)
    this.#log = log
  }

  /**
   * Renames the file to a hidden name at the top of the mount, so that its folder can be removed; beside it where the
   * gateway does not allow that. Answers what it hid.
   */
  async hide(at: NodePath): Promise<SeenEntry> {
    try {
      return await this.#hideIn(this.#root, at)
    } catch (error) {
      if (!isFault(error) || isFault(error, 'NodeNotFound')) throw error
      return await this.#hideIn(parentOf(at), at)
    }
  }

  async #hideIn(folder: NodePath, at: NodePath): Promise<SeenEntry> {
    const hidden = child(folder, `${PREFIX}${operationId(`hide ${at} in ${folder}`)}`)
    fs.appendFileSync(this.#file, `${JSON.stringify({ source: this.#source, path: hidden } satisfies Hidden)}\n`)
    return this.#remote.rename(at, hidden, 'noreplace')
  }

  /** The last handle is gone. What cannot be removed now is left to the next driver. */
  async remove(inode: Inode): Promise<void> {
    const at = inode.entry.path
    try {
      await this.#remote.remove(at, 'leaf')
    } catch (error) {
      if (!isFault(error, 'NodeNotFound')) this.#log(`${at}: cannot be removed yet: ${String(error)}`)
    }
  }

  /** Removes what dead drivers of this state directory left of this source. */
  async sweep(state: string): Promise<void> {
    const file = leftFile(state)
    const lines = readLines(file)
    const kept: Hidden[] = []
    for (const hidden of lines) if (hidden.source !== this.#source || !(await this.#swept(hidden))) kept.push(hidden)
    if (lines.length > 0) fs.writeFileSync(file, kept.map((hidden) => `${JSON.stringify(hidden)}\n`).join(''))
  }

  async #swept(hidden: Hidden): Promise<boolean> {
    try {
      await this.#remote.remove(nodePath(hidden.path), 'leaf')
      this.#log(`${hidden.path}: removed, as the driver that hid it had ended`)
    } catch (error) {
      if (isFault(error, 'NodeNotFound', 'ContainerNotFound')) return true
      this.#log(`${hidden.path}: cannot be removed yet: ${String(error)}`)
      return false
    }
    return true
  }
}

/** What drivers before this one hid is left over. Call it while owning the state directory, before any mount. */
export function leaveHiddenNames(state: string): void {
  const file = hiddenFile(state)
  if (!fs.existsSync(file)) return
  fs.appendFileSync(leftFile(state), fs.readFileSync(file))
  fs.rmSync(file)
}

function hiddenFile(state: string): string {
  return path.join(state, 'hidden')
}

function leftFile(state: string): string {
  return path.join(state, 'hidden.left')
}

function readLines(file: string): Hidden[] {
  if (!fs.existsSync(file)) return []
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as Hidden]
      } catch {
        // cut by a crash before its rename was asked for
        return []
      }
    })
}
