// How requests come from /dev/fuse and answers go back. There are two ways to read: transport-epoll, transport-read.
import { type Message } from './message.ts'

export interface Transport {
  /**
   * Calls onRequest for each request, in its own turn; a message not held by then is reused. Calls onEnd once:
   * with nothing when the file system was unmounted, with the error when reading failed. The descriptor is closed then.
   */
  start(onRequest: (message: Message) => void, onEnd: (error: Error | undefined) => void): void
  /** Writes one reply; 0, or a negative error number, ENODEV after the end. */
  write(parts: readonly Uint8Array[], length: number): number
  /** Writes a notification off the main thread, since the kernel may block it until we answer requests. */
  notify(bytes: Uint8Array): Promise<number>
  /** Stops reading and closes the descriptor. Unless another process has it too, the mount is dead then. */
  close(): void
}

/** What the end of reading means: ENODEV is an unmount. */
export function endOf(error: NodeJS.ErrnoException | undefined): Error | undefined {
  return error?.code === 'ENODEV' ? undefined : error
}
