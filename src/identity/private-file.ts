// Files that hold a private key: never seen by others at any instant, written whole or not at all, and no link is followed.
import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, rename, rm, unlink } from 'node:fs/promises'
import path from 'node:path'
import { Fault } from '../vospace/fault.ts'

/** No credential is larger, bytes. */
const LIMIT = 1 << 20

export interface Kept {
  readonly bytes: Buffer
  /** group or others may read it */
  readonly isOpen: boolean
}

/** A file that may hold a key; a pipe will do. InvalidData beyond 1 MiB; what cannot be read is the system's error. */
export async function readKept(file: string): Promise<Kept> {
  const handle = await open(file, constants.O_RDONLY)
  try {
    const { mode } = await handle.stat()
    return { bytes: await readAll(handle, file), isOpen: (mode & 0o077) !== 0 }
  } finally {
    await handle.close()
  }
}

/** As readKept, for a file that does hold a secret. PermissionDenied when group or others may read it. */
export async function readPrivate(file: string): Promise<Buffer> {
  const { bytes, isOpen } = await readKept(file)
  if (isOpen) refuseOpen(file)
  return bytes
}

export function refuseOpen(file: string): never {
  throw new Fault(
    'PermissionDenied',
    `${file} holds a secret, and others than its owner may read it: chmod 600 ${file}`,
  )
}

async function readAll(handle: FileHandle, file: string): Promise<Buffer> {
  const buffer = Buffer.alloc(LIMIT + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
    if (bytesRead === 0) return buffer.subarray(0, length)
    length += bytesRead
    if (length > LIMIT) throw new Fault('InvalidData', `${file} is larger than any credential`)
  }
}

/**
 * Writes `text` with mode 0600, whole or not at all, in place of a file of one's own or of none. PermissionDenied when what is there
 * belongs to somebody else, InvalidArgument when it is a link, a folder or a device. The folder must exist.
 */
export async function writePrivate(file: string, text: string): Promise<void> {
  await checkReplaceable(file)
  await replaceWhole(file, text, 0o600)
}

/** Writes `text` with this mode, whatever the umask, in place of what is there: readers see the old file or the new one, whole. */
export async function replaceWhole(file: string, text: string, mode: number): Promise<void> {
  const draft = path.join(path.dirname(file), `.${path.basename(file)}.${randomBytes(8).toString('hex')}.tmp`)
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  const handle = await open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
  try {
    await handle.chmod(mode) // a umask may have taken from it
    await handle.writeFile(text)
    await handle.sync()
    await handle.close()
    await rename(draft, file)
  } catch (error) {
    await handle.close().catch(() => undefined) // closed before, or the first error is the one to tell
    await rm(draft, { force: true })
    throw error
  }
}

// rename follows no link by itself; but a link, or another's file, where a credential shall be is a trap or a mistake.
async function checkReplaceable(file: string): Promise<void> {
  const there = await lstat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (there !== undefined) checkOwnFile(file, there)
}

function checkOwnFile(file: string, there: Stats): void {
  if (there.isSymbolicLink()) throw new Fault('InvalidArgument', `${file} is a symbolic link, which is not followed`)
  if (!there.isFile()) throw new Fault('InvalidArgument', `${file} is no ordinary file`)
  if (there.uid !== process.geteuid?.()) {
    throw new Fault('PermissionDenied', `${file} belongs to somebody else (uid ${there.uid}): it is left as it is`)
  }
}

/**
 * Overwrites a file with zeros, then removes it; `check` sees the bytes first and may refuse. A disk that copies on write keeps the old
 * bytes all the same.
 */
export async function wipe(file: string, check: (bytes: Buffer) => void): Promise<void> {
  checkOwnFile(file, await lstat(file))
  const handle = await open(file, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    const opened = await handle.stat()
    checkOwnFile(file, opened)
    check(await readAll(handle, file))
    await handle.write(Buffer.alloc(opened.size), 0, opened.size, 0)
    await handle.sync()
    const there = await lstat(file)
    if (there.ino !== opened.ino || there.dev !== opened.dev) {
      throw new Fault('NodeBusy', `${file} was replaced meanwhile: what replaced it is left as it is`)
    }
    await unlink(file)
  } finally {
    await handle.close()
  }
}
