// Taking mounts away: in good order, lazily while in use, and those whose process was killed.
import { MountError } from './mount-options.ts'
import { mountAt } from './mountinfo.ts'
import { mayMount } from './privilege.ts'
import { FUSERMOUNT, runProgram } from './run-program.ts'

/** Milliseconds a mount gets to say something before it counts as silent. */
const PROBE_LIMIT = 3000

/** So many programs are named. */
const MOST_NAMED = 5

export interface UnmountOptions {
  /** Detach it now even when it is in use; it goes on serving what is open. */
  readonly lazy?: boolean
}

/** Unmounts what is at `dir`. Throws MountError, with code EBUSY where it is in use, EINVAL where nothing is mounted. */
export async function unmountFuse(dir: string, { lazy = false }: UnmountOptions = {}): Promise<void> {
  const { status, output } = (await mayMount())
    ? await runProgram('umount', [...(lazy ? ['-l'] : []), '--', dir])
    : await runProgram(FUSERMOUNT, ['-u', ...(lazy ? ['-z'] : []), '--', dir])
  if (status !== 0) throw new MountError(`unmount ${dir}: ${output}`, codeOf(output))
}

/** What is said of a mount that was detached under those who use it. */
export function detachedUnder(dir: string, holders: readonly string[]): string {
  const more = holders.length > MOST_NAMED ? ` and ${holders.length - MOST_NAMED} more` : ''
  const by = holders.length > 0 ? ` by ${holders.slice(0, MOST_NAMED).join(', ')}${more}` : ''
  return `${dir}: was in use${by}; detached, and gone when the last program lets go of it`
}

/** The programs say in English what the kernel answered. */
function codeOf(output: string): string | undefined {
  if (/busy/i.test(output)) return 'EBUSY'
  if (/not mounted|invalid argument|not found in/i.test(output)) return 'EINVAL'
  if (/permitted|denied/i.test(output)) return 'EPERM'
  return undefined
}

/** none: nothing of FUSE there. disconnected: its process is gone. silent: no answer within the limit. */
export type MountState = 'none' | 'answers' | 'disconnected' | 'silent'

/**
 * Looks at a mount without ever hanging: whether there is one is read from mountinfo, and the question to it is asked
 * by a child process under a limit in milliseconds. statfs is the one question the kernel never answers from a cache.
 */
export async function probeMount(dir: string, limit = PROBE_LIMIT): Promise<MountState> {
  const mount = await mountAt(dir)
  if (mount === undefined || !/^fuse(\.|$)/.test(mount.type)) return 'none'
  const { status, output, timedOut } = await runProgram('stat', ['-f', '--', mount.path], { limit })
  if (timedOut) return 'silent'
  return status !== 0 && /endpoint is not connected|connection abort/i.test(output) ? 'disconnected' : 'answers'
}

/** Whether at `dir` there is a FUSE mount whose process is gone (ENOTCONN). */
export async function isStale(dir: string): Promise<boolean> {
  return (await probeMount(dir)) === 'disconnected'
}

/** Detaches a mount whose process was killed; answers whether there was one. A living one is left alone. */
export async function detachStale(dir: string): Promise<boolean> {
  if (!(await isStale(dir))) return false
  await unmountFuse(dir, { lazy: true })
  return true
}
