// Writes replies and notifications to /dev/fuse, on a descriptor of its own: an answer that comes after the end must not
// go to whatever file got the closed number.
import fs from 'node:fs'
import { duplicate } from '../../src/libc/descriptor.ts'
import { ERRNO } from '../../src/libc/errno.ts'

/** writev(2) limit of parts. */
const MAXIMUM_PARTS = 1024

function errnoOf(error: unknown): number {
  const errno = (error as NodeJS.ErrnoException).errno
  return typeof errno === 'number' && errno < 0 ? errno : -ERRNO.EIO
}

export class DeviceWriter {
  readonly #fd: number
  #notifying = 0
  #ended = false

  /** Throws LibcError. */
  constructor(fd: number) {
    this.#fd = duplicate(fd)
  }

  /** One reply, which the device takes whole or not at all; 0, or a negative error number. */
  write(parts: readonly Uint8Array[], length: number): number {
    if (this.#ended) return -ERRNO.ENODEV
    try {
      const [first] = parts
      if (parts.length === 1 && first !== undefined) fs.writeSync(this.#fd, first, 0, length, null)
      else fs.writevSync(this.#fd, parts.length > MAXIMUM_PARTS ? [Buffer.concat(parts)] : parts)
      return 0
    } catch (error) {
      return errnoOf(error)
    }
  }

  /** As write, on the thread pool. */
  notify(bytes: Uint8Array): Promise<number> {
    if (this.#ended) return Promise.resolve(-ERRNO.ENODEV)
    this.#notifying += 1
    return new Promise((resolve) => {
      fs.write(this.#fd, bytes, 0, bytes.length, null, (error) => {
        this.#notifying -= 1
        this.#closeWhenIdle()
        resolve(error === null ? 0 : errnoOf(error))
      })
    })
  }

  /** Nothing is written any more; the descriptor is closed when what is being written is. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (this.#ended && this.#notifying === 0) fs.closeSync(this.#fd)
  }
}
