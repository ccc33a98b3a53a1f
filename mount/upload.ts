// Bytes of a spool file on their way to the gateway, a piece at a time.
import { type WireExtent } from '../src/codec/fs-v1.ts'
import { type Span } from './extents.ts'
import { type Spool } from './spool.ts'

/** Bytes that are in memory at a time. */
export const PIECE = 1 << 20

/** The range in pieces; zeros where nothing was ever written. */
export async function* pieces(spool: Spool | undefined, start: number, end: number): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += PIECE) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE, end - at))
    if (spool === undefined) piece.fill(0)
    else await spool.fetch(piece, at)
    yield piece
  }
}

/** Holes first, since a span may lie beside one. */
export async function* extents(
  spool: Spool | undefined,
  spans: readonly Span[],
  holes: readonly Span[],
): AsyncGenerator<WireExtent> {
  for (const { start, end } of holes) yield { offset: start, hole: end - start }
  for (const { start, end } of spans) {
    let offset = start
    for await (const bytes of pieces(spool, start, end)) {
      yield { offset, bytes }
      offset += bytes.length
    }
  }
}
