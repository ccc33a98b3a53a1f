/** Bytes that wait in a file of no name: what an amend brings, in any order and of any length. */
import { randomBytes } from 'node:crypto'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '../../vospace/fault.ts'

const CHUNK = 2 ** 20

export class Spool {
  readonly #file: FileHandle
  #size = 0

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** The file has no name any more when this resolves: it goes with the process. */
  static async open(folder: string): Promise<Spool> {
    const name = join(folder, `amend-${randomBytes(8).toString('hex')}`)
    const file = await open(name, 'wx+', 0o600)
    await unlink(name)
    return new Spool(file)
  }

  /** Answers where they are. QuotaExceeded: this machine has no room for them. */
  async append(bytes: Uint8Array): Promise<number> {
    const at = this.#size
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, at + done)
        done += bytesWritten
      }
    } catch (error) {
      throw new Fault('QuotaExceeded', 'the gateway has no room to collect the changes', {
        errno: 'ENOSPC',
        cause: error,
      })
    }
    this.#size += bytes.length
    return at
  }

  async *read(at: number, count: number): AsyncGenerator<Buffer, void> {
    for (let done = 0; done < count;) {
      const piece = Buffer.allocUnsafe(Math.min(CHUNK, count - done))
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, at + done)
      if (bytesRead === 0) throw new Error('the spool ends before its end')
      yield piece.subarray(0, bytesRead)
      done += bytesRead
    }
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}
