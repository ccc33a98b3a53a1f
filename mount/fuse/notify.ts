// What the driver tells the kernel unasked: forget cached pages, attributes or names; send unanswered requests again.
import { ERRNO } from '../../src/libc/errno.ts'
import { NOTIFY, OUT_HEADER } from './constants.ts'
import { type Transport } from './transport.ts'

function notification(code: number, body: number): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER + body)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeInt32LE(code, 4)
  return bytes
}

/**
 * Notifications go one after the other on the thread pool: the kernel holds one back while it waits for our answer to a
 * request on the same directory or page, so writing it on the main thread would stop everything for good.
 */
export class Notifier {
  readonly #transport: Transport
  readonly #onFailure: (errno: number) => void
  #last: Promise<void> = Promise.resolve()

  constructor(transport: Transport, onFailure: (errno: number) => void) {
    this.#transport = transport
    this.#onFailure = onFailure
  }

  /** Drops attributes, and cached pages from `offset` for `length` bytes (0 = to the end); offset -1: attributes only. */
  invalidateInode(nodeid: number, offset = 0, length = 0): Promise<void> {
    const bytes = notification(NOTIFY.INVAL_INODE, 24)
    bytes.writeBigUInt64LE(BigInt(nodeid), 16)
    bytes.writeBigInt64LE(BigInt(offset), 24)
    bytes.writeBigInt64LE(BigInt(length), 32)
    return this.#send(bytes)
  }

  /** Has a name looked up again, also one remembered as absent; with `expire` without taking it from who stands in it (kernel 6.2). */
  invalidateEntry(parent: number, name: Uint8Array, expire = false): Promise<void> {
    const bytes = notification(NOTIFY.INVAL_ENTRY, 16 + name.length + 1)
    bytes.writeBigUInt64LE(BigInt(parent), 16)
    bytes.writeUInt32LE(name.length, 24)
    bytes.writeUInt32LE(expire ? 1 : 0, 28)
    bytes.set(name, 32)
    return this.#send(bytes)
  }

  /** Asks for every unanswered request again, which a process that takes over needs (kernel 6.9). */
  resend(): Promise<void> {
    return this.#send(notification(NOTIFY.RESEND, 0))
  }

  #send(bytes: Buffer): Promise<void> {
    this.#last = this.#last.then(async () => {
      const status = await this.#transport.notify(bytes)
      // ENOENT: the kernel has nothing cached of it. ENODEV and EBADF: unmounted meanwhile
      if (status < 0 && status !== -ERRNO.ENOENT && status !== -ERRNO.ENODEV && status !== -ERRNO.EBADF) {
        this.#onFailure(-status)
      }
    })
    return this.#last
  }
}
