// Picks the way to read /dev/fuse: epoll, or plain reads where this node does not allow it.
import { PAGE } from './constants.ts'
import { DEFAULT_MAX_WRITE } from './init.ts'
import { EpollTransport } from './transport-epoll.ts'
import { ReadTransport } from './transport-read.ts'
import { type Transport } from './transport.ts'

/** `maxWrite` in bytes must be what the session was told. `onFallback` hears why epoll cannot be used. */
export function openTransport(
  fd: number,
  { maxWrite = DEFAULT_MAX_WRITE, onFallback }: { maxWrite?: number; onFallback?: (error: unknown) => void } = {},
): Transport {
  const size = maxWrite + PAGE
  try {
    return new EpollTransport(fd, size)
  } catch (error) {
    onFallback?.(error)
    return new ReadTransport(fd, size)
  }
}
