/** Changed ranges make a new object of an old one: the server copies what stays, only what is new travels. */
import { type NodeRow } from '../../store/catalog.ts'
import { Fault } from '../../vospace/fault.ts'
import { type Extent } from '../backend.ts'
import { received } from '../contract.ts'
import { type Bucket, type Over } from './bucket.ts'
import { Layers, planParts, type Piece, type Segment } from './layers.ts'
import { Lot } from './lot.ts'
import { openSpan } from './read.ts'
import { type Spool } from './spool.ts'
import { LEAST_PART, MOST_PARTS, type NoteUpload, Parts, upload, type Uploaded, type UploadSettings } from './upload.ts'

export interface ComposeSettings extends UploadSettings {
  /** the most bytes that the server copies in one request; 10 MiB or more, so that a half is not too small for a part */
  readonly copyBytes: number
}

/** Takes all extents in; the bytes go to the spool. */
export async function collectExtents(extents: AsyncIterable<Extent>, spool: Spool, signal?: AbortSignal): Promise<Layers> {
  const layers = new Layers()
  for await (const extent of received(extents, signal)) {
    if ('hole' in extent) layers.lay(extent.offset, extent.hole, undefined)
    else layers.lay(extent.offset, extent.bytes.length, await spool.append(extent.bytes))
  }
  return layers
} // prettier-ignore

export interface Composition {
  readonly bucket: Bucket
  /** of the new object */
  readonly key: string
  /** as its row is now */
  readonly old: NodeRow
  readonly layers: Layers
  readonly spool: Spool
  readonly length: number
  readonly signal?: AbortSignal | undefined
  readonly over?: Over | undefined
}

/** The MD5 is unknown where the server has copied. */
export type Composed = Omit<Uploaded, 'md5'> & { readonly md5?: string }

export async function compose(of: Composition, settings: ComposeSettings, note: NoteUpload): Promise<Composed> {
  const segments = of.layers.over(of.old.size, of.length)
  const pieces = planParts(segments, { least: LEAST_PART, most: settings.copyBytes })
  const isCopied = pieces.length > 1 && pieces.some((piece) => 'copied' in piece)
  const { signal, over } = of
  if (!isCopied || countOf(pieces, settings) > MOST_PARTS) {
    const expected = { length: of.length, ...(signal && { signal }), ...(over && { over }) }
    return upload(of.bucket, of.key, bytesOf(of, segments), expected, settings, note)
  }
  const parts = await Parts.begin(of.bucket, of.key, settings, { signal, note, over })
  try {
    for (const piece of pieces) await sendPiece(of, piece, parts, settings)
    return { size: of.length, etag: (await parts.complete(of.length)).etag }
  } catch (error) {
    await parts.abort()
    throw error
  }
}

/** An upper bound: a piece that is sent is as many parts as fit into it. */
function countOf(pieces: readonly Piece[], { partBytes }: UploadSettings): number {
  const parts = pieces.map((piece) => ('copied' in piece ? 1 : Math.ceil(sizeOf(piece.sent) / partBytes)))
  return parts.reduce((sum, count) => sum + count, 0)
}

const sizeOf = (segments: readonly Segment[]): number => (segments.at(-1)?.end ?? 0) - (segments[0]?.start ?? 0)

async function sendPiece(of: Composition, piece: Piece, parts: Parts, { partBytes }: UploadSettings): Promise<void> {
  if ('copied' in piece) return parts.copy({ ...sourceOf(of.old), ...piece.copied })
  const lot = new Lot()
  // what is left must be large enough for a part of its own
  const most = partBytes + LEAST_PART
  for await (const bytes of bytesOf(of, piece.sent)) {
    for (let at = 0; at < bytes.length;) {
      at += lot.fill(bytes.subarray(at), most)
      if (lot.size === most) await parts.send(lot.take(partBytes))
    }
  }
  await parts.send(lot.take(lot.size))
}

async function* bytesOf(of: Composition, segments: readonly Segment[]): AsyncGenerator<Uint8Array, void> {
  for (const segment of segments) {
    const { start, end } = segment
    if (segment.from === 'zeros') yield* zeros(end - start)
    else if (segment.from === 'spool') yield* of.spool.read(segment.at, end - start)
    else {
      const { from: key, etag } = sourceOf(of.old)
      yield* (await openSpan(of.bucket, { key, etag, start, count: end - start }, of.signal)) as AsyncIterable<Buffer>
    }
  }
}

function sourceOf({ key, etag }: NodeRow): { readonly from: string; readonly etag: string | null } {
  if (key === null) throw new Fault('InternalFault', 'a node with bytes has no object')
  return { from: key, etag }
}

const ZEROS = Buffer.alloc(2 ** 20)

function* zeros(count: number): Generator<Buffer, void> {
  for (let left = count; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left)
}
