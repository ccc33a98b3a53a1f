// How requests come from /dev/fuse and answers go back. Two ways to read; writing is the same for both.
import fs from 'node:fs'
import { ERRNO } from '../../src/libc/errno.ts'
import { type Message } from './message.ts'

export interface Transport {
  /**
   * Calls onRequest for each request, in its own turn; a message not held by then is reused. Calls onEnd once:
   * with nothing when the file system was unmounted, with the error when reading failed. The descriptor is closed then.
   */
  start(onRequest: (message: Message) => void, onEnd: (error: Error | undefined) => void): void
  /** Writes one reply; 0, or a negative error number. */
  write(parts: readonly Uint8Array[], length: number): number
  /** Writes a notification off the main thread, since the kernel may block it until we answer requests. */
  notify(bytes: Uint8Array): Promise<number>
  /** Stops reading and closes the descriptor. Unless another process has it too, the mount is dead then. */
  close(): void
}

function errnoOf(error: unknown): number {
  const errno = (error as NodeJS.ErrnoException).errno
  return typeof errno === 'number' && errno < 0 ? errno : -ERRNO.EIO
}

/** writev(2) limit of parts. */
const MAXIMUM_PARTS = 1024

/** One reply to the device, which takes it whole or not at all. */
export function writeReply(fd: number, parts: readonly Uint8Array[], length: number): number {
  try {
    const [first] = parts
    if (parts.length === 1 && first !== undefined) fs.writeSync(fd, first, 0, length, null)
    else fs.writevSync(fd, parts.length > MAXIMUM_PARTS ? [Buffer.concat(parts)] : parts)
    return 0
  } catch (error) {
    return errnoOf(error)
  }
}

export function writeNotification(fd: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve) => {
    fs.write(fd, bytes, 0, bytes.length, null, (error) => resolve(error === null ? 0 : errnoOf(error)))
  })
}

/** What the end of reading means: ENODEV is an unmount. */
export function endOf(error: NodeJS.ErrnoException | undefined): Error | undefined {
  return error?.code === 'ENODEV' ? undefined : error
}
