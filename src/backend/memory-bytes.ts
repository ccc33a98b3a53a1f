/** Bytes of the memory backend: a body taken in, extents laid over what is there. */
import { createHash } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { type Extent, type PutOptions } from './backend.ts'
import { received } from './contract.ts'

/** The whole body, held against length, MD5 and the room there is (bytes). Throws PreconditionFailed, QuotaExceeded. */
export async function collect(body: AsyncIterable<Uint8Array>, options: PutOptions, room: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of received(body, options.signal)) {
    length += piece.length
    if (length > (options.length ?? Infinity)) throw new Fault('PreconditionFailed', 'longer than announced')
    if (length > room) throw noRoom()
    pieces.push(Buffer.from(piece))
  }
  if (length < (options.length ?? 0)) throw new Fault('PreconditionFailed', 'shorter than announced')
  const bytes = Buffer.concat(pieces)
  if (options.md5 !== undefined && options.md5.toLowerCase() !== md5Of(bytes)) {
    throw new Fault('PreconditionFailed', 'the bytes have another MD5')
  }
  return bytes
}

/** Kept for as long as the bytes are: every look at a node tells its digest. */
const digests = new WeakMap<Buffer, string>()

/** In hex, of bytes that are never changed in place. */
export function md5Of(bytes: Buffer): string {
  const md5 = digests.get(bytes) ?? createHash('md5').update(bytes).digest('hex')
  digests.set(bytes, md5)
  return md5
}

/** The bytes with extents laid over them, and of that length. */
export function amended(old: Buffer, extents: readonly Extent[], length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(old.length, length, ...extents.map(endOf)))
  old.copy(bytes, 0, 0, length)
  for (const extent of extents) {
    if ('bytes' in extent) bytes.set(extent.bytes, extent.offset)
    else bytes.fill(0, extent.offset, extent.offset + extent.hole)
  }
  return bytes.subarray(0, length)
}

function endOf(extent: Extent): number {
  return extent.offset + ('bytes' in extent ? extent.bytes.length : extent.hole)
}

export function noRoom(): Fault {
  return new Fault('QuotaExceeded', 'no room in the allocation')
}
