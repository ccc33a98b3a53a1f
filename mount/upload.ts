// Bytes of a spool file on their way to the gateway, a piece at a time.
import { type SeenEntry, type WireExtent } from '../src/codec/fs-v1.ts'
import { type Span } from './extents.ts'
import { type Remote, type RemoteRef } from './remote.ts'
import { type Spool } from './spool.ts'

/** Bytes that are sent at a time. */
export const PIECE = 1 << 20
/** Pieces of one upload, in rotation: one leaves, one waits, one is filled. */
const ROTATION = 4

/**
 * The memory that pieces of one upload are read into, again and again: allocated anew, each few of them made the heap be searched for garbage,
 * which cost more than sending them. A connection asks for the next piece when it has taken the one before (`drain`).
 */
export class PieceMemory {
  readonly #buffers: Buffer[] = []
  #count = 0

  /** For so many bytes. What is less than a piece is nobody else's: those are gathered and sent at once. */
  take(length: number): Buffer {
    if (length < PIECE) return Buffer.allocUnsafe(length)
    return (this.#buffers[this.#count++ % ROTATION] ??= Buffer.allocUnsafeSlow(PIECE))
  }
}

/** The range in pieces, each good until the next but one is asked for; zeros where nothing was ever written. */
export async function* pieces(
  spool: Spool | undefined,
  start: number,
  end: number,
  memory = new PieceMemory(),
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += PIECE) {
    const piece = memory.take(Math.min(PIECE, end - at))
    if (spool === undefined) piece.fill(0)
    else await spool.fetch(piece, at)
    yield piece
  }
}

/** Holes first, since a span may lie beside one. Bytes are good as those of `pieces` are. */
export async function* extents(
  spool: Spool | undefined,
  spans: readonly Span[],
  holes: readonly Span[],
): AsyncGenerator<WireExtent> {
  const memory = new PieceMemory()
  for (const { start, end } of holes) yield { offset: start, hole: end - start }
  for (const { start, end } of spans) {
    let offset = start
    for await (const bytes of pieces(spool, start, end, memory)) {
      yield { offset, bytes }
      offset += bytes.length
    }
  }
}

/** An empty file that was not there, made durable when it is first sent. Throws DuplicateNode (EEXIST) where it was. */
export function putEmpty(remote: Remote, ref: RemoteRef, mode: number): Promise<SeenEntry> {
  return remote.put(ref, nothing, { ifAbsent: true, mode, length: 0, durable: false })
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
