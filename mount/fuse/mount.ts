// Mounting a FUSE file system by whichever way this process may use.
import { readFile, stat, writeFile } from 'node:fs/promises'
import { mountByFusermount } from './mount-fusermount.ts'
import { MountError, type MountOptions } from './mount-options.ts'
import { mountAsRoot } from './mount-root.ts'
import { mountAt } from './mountinfo.ts'
import { mayMount, whyNoFuse } from './privilege.ts'
import { unmountFuse, type UnmountOptions } from './unmount.ts'

export interface Mount {
  /** The mounted /dev/fuse: for `openTransport`, which closes it in the end. */
  readonly fd: number
  /** Takes the mount away; see unmountFuse. */
  unmount(options?: UnmountOptions): Promise<void>
}

/**
 * Mounts on the directory `dir`. Until a session answers on `fd`, whoever touches `dir` waits, this process included.
 * Throws MountError.
 */
export async function mountFuse(dir: string, options: MountOptions): Promise<Mount> {
  await expectDirectory(dir)
  try {
    const { fd } = (await mayMount()) ? await mountAsRoot(dir, options) : await mountByFusermount(dir, options)
    return { fd, unmount: (how) => unmountFuse(dir, how) }
  } catch (error) {
    const reason = await whyNoFuse()
    if (reason === null || !(error instanceof MountError)) throw error
    throw new MountError(reason, error.code, { cause: error })
  }
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such directory',
  EACCES: 'it cannot be reached',
  ELOOP: 'symbolic links lead nowhere',
}

async function expectDirectory(dir: string): Promise<void> {
  try {
    if ((await stat(dir)).isDirectory()) return
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new MountError(`cannot mount on ${dir}: ${WORDS[code ?? ''] ?? String(error)}`, code, { cause: error })
  }
  throw new MountError(`cannot mount on ${dir}: not a directory`, 'ENOTDIR')
}

/**
 * Sets the kernel's read-ahead of the mount at `dir`, in KiB (its default is 128). Decisive for a store far away; INIT can
 * only lower it. Needs root and a session that answered INIT. Answers the value that holds then.
 */
export async function setReadAhead(dir: string, kibibytes: number): Promise<number> {
  const mount = await mountAt(dir)
  if (mount === undefined) throw new MountError(`nothing is mounted at ${dir}`, 'EINVAL')
  const file = `/sys/class/bdi/${mount.device}/read_ahead_kb`
  await writeFile(file, String(kibibytes))
  return Number(await readFile(file, 'latin1'))
}
