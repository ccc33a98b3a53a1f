/** All bytes of one file into another: shared where the file system can, else in pieces, so that a copy of any size ends when it is told to. */
import { read, write } from 'node:fs'
import { promisify } from 'node:util'
import { copyWithin, shareBytes } from '../../libc/clone.ts'
import { refuseAborted } from '../contract.ts'

/** A tenth of a second or so on a disk */
const PIECE = 16 << 20
/** By hand, where the kernel does not copy. */
const BUFFER = 1 << 20

const readSome = promisify(read)
const writeSome = promisify(write)

/**
 * Into a file that is empty. TransferFailed soon after the signal is aborted, with the target as it happens to be. Rejects with the error of
 * the kernel.
 */
export async function copyBytes(
  to: number,
  from: number,
  options: { readonly reflink: boolean; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  if (options.reflink && (await shareBytes(to, from))) return
  let at = 0
  for (;;) {
    refuseAborted(options.signal)
    const copied = await copyWithin(to, from, at, PIECE)
    if (copied === 0) return
    // by hand it is told what is the matter, if anything is
    if (copied === undefined) return copyByHand(to, from, at, options.signal)
    at += copied
  }
}

async function copyByHand(to: number, from: number, start: number, signal: AbortSignal | undefined): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(BUFFER)
  for (let at = start; ;) {
    refuseAborted(signal)
    const { bytesRead } = await readSome(from, buffer, 0, buffer.length, at)
    if (bytesRead === 0) return
    for (let done = 0; done < bytesRead;) {
      const { bytesWritten } = await writeSome(to, buffer, done, bytesRead - done, at + done)
      done += bytesWritten
    }
    at += bytesRead
  }
}
