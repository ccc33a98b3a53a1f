/** Trees to test the POSIX backend on: a directory, a tmpfs of a size, an XFS in a file. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, readdirSync, existsSync, truncateSync, writeFileSync, chmodSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Ids } from '../../src/backend/backend.ts'
import { type PosixOptions, type QuotaSettings } from '../../src/backend/posix/open.ts'
import { PosixBackend } from '../../src/backend/posix/posix.ts'
import { nodePath, type NodePath } from '../../src/vospace/path.ts'
// not inline: that would load the suite, and tap with it, in the bench too
import type { Harness } from './backend.ts'
import { needs } from '../parts.ts'

/** False, or why mode root cannot be tested here. */
export const notRoot = needs('root with CAP_SYS_ADMIN')
export const isRoot = notRoot === false

const USERS = ['alice', 'bob', 'carol']
const KNOWN_GROUPS = ['ivo://karst.local/gms?astro', 'ivo://karst.local/gms?survey']

/** alice 5001, bob 5002, carol 5003 with a group each of the same number; groups from 7001. Other numbers are unmapped. */
export const ids: Ids = {
  version: 1,
  uidOf: (owner) => (USERS.includes(owner) ? 5001 + USERS.indexOf(owner) : undefined),
  ownerOf: (uid) => USERS[uid - 5001] ?? `uid:${uid}`,
  gidOfUser: (owner) => (USERS.includes(owner) ? 5001 + USERS.indexOf(owner) : undefined),
  gidOf: (group) => (KNOWN_GROUPS.includes(group) ? 7001 + KNOWN_GROUPS.indexOf(group) : undefined),
  groupOf: (gid) => KNOWN_GROUPS[gid - 7001],
}

export interface Scratch {
  readonly dir: string
  readonly dispose: () => void
}

export function directory(): Scratch {
  const dir = mkdtempSync(join(tmpdir(), 'karst-posix-'))
  chmodSync(dir, 0o755)
  return { dir, dispose: () => rmSync(dir, { recursive: true, force: true }) }
}

/** Throws where it cannot be mounted; ask `unavailable` first. */
export function tmpfs(size: string): Scratch {
  const { dir, dispose } = directory()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', dir], { stdio: 'pipe' })
  } catch (error) {
    dispose()
    throw error
  }
  return { dir, dispose: () => unmount(dir, dispose) }
}

/** XFS with reflinks in a sparse file. */
export function xfs(mebibytes = 320, option = 'loop'): Scratch {
  return inFile({ make: ['mkfs.xfs', '-q', '-m', 'reflink=1'], mebibytes, mount: `loop,${option}` })
}

/** The same with projects that are kept within their limits. */
export const xfsProjects = (): Scratch => xfs(320, 'prjquota')

/** ext4 in a sparse file. */
export function ext4(): Scratch {
  return inFile({ make: ['mkfs.ext4', '-q', '-F'], mebibytes: 320, mount: 'loop' })
}

export function ext4Projects(): Scratch {
  const make = ['mkfs.ext4', '-q', '-F', '-O', 'quota,project', '-E', 'quotatype=prjquota']
  return inFile({ make, mebibytes: 320, mount: 'loop,prjquota' })
}

interface InFile {
  readonly make: readonly string[]
  readonly mebibytes: number
  readonly mount: string
}

function inFile({ make: [program = '', ...words], mebibytes, mount }: InFile): Scratch {
  const missing = needs(program)
  if (missing !== false) throw new Error(missing)
  const image = directory()
  const mounted = directory()
  const file = join(image.dir, 'image')
  try {
    writeFileSync(file, '')
    truncateSync(file, mebibytes * 2 ** 20)
    execFileSync(program, [...words, file], { stdio: 'pipe' })
    execFileSync('mount', ['-o', mount, file, mounted.dir], { stdio: 'pipe' })
    // which ext4 makes itself
    rmSync(join(mounted.dir, 'lost+found'), { recursive: true, force: true })
  } catch (error) {
    for (const { dispose } of [image, mounted]) dispose()
    throw error
  }
  return {
    dir: mounted.dir,
    dispose: () => {
      unmount(mounted.dir, mounted.dispose)
      image.dispose()
    },
  }
}

function unmount(dir: string, dispose: () => void): void {
  execFileSync('umount', [dir])
  dispose()
}

/** false when such a tree can be had here, else why not. */
export function unavailable(make: () => Scratch): string | false {
  try {
    make().dispose()
    return false
  } catch (error) {
    return `cannot be mounted here: ${(error as Error).message.split('\n')[0]}`
  }
}

export function posix(dir: string, options: Partial<PosixOptions> = {}): PosixBackend {
  return new PosixBackend({ root: dir, ids, mode: 'root', allocationParents: [], ...options })
}

/** As an operator has it who says nothing of them. */
export const QUOTAS: QuotaSettings = { keptBy: 'auto', projects: { first: 5000, last: 5999 } }

/** For the suite: a fresh directory on each call, below one that may be a mount. */
export function harness(under: string | undefined, options: Partial<PosixOptions>): () => Promise<Harness> {
  return async () => {
    const scratch = under === undefined ? directory() : below(under)
    const allocationParents = [nodePath('/allocations')]
    const backend = posix(scratch.dir, { allocationParents, quotas: QUOTAS, ...options })
    return { backend, ids, quotaOn: nodePath('/allocations/a'), dispose: async () => scratch.dispose() }
  }
}

export function below(under: string): Scratch {
  const dir = mkdtempSync(join(under, 'tree-'))
  return { dir, dispose: () => rmSync(dir, { recursive: true, force: true }) }
}

/** Everything in the staging and journal folders of a tree. */
export function debris(dir: string, keepers: readonly string[] = ['']): string[] {
  return keepers.flatMap((keeper) =>
    ['staging', 'journal'].flatMap((folder) => {
      const path = join(dir, keeper, '.karst', folder)
      return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []
    }),
  )
}

export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

export type { NodePath }
