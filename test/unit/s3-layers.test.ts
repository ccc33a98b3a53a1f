/** What an amended object is made of, against bytes in memory; and parts that every server takes. */
import t from 'tap'
import { amended } from '../../src/backend/memory-bytes.ts'
import { type Extent } from '../../src/backend/backend.ts'
import { Layers, planParts, type Segment } from '../../src/backend/s3/layers.ts'

const below = (most: number) => Math.floor(Math.random() * most)

/** The bytes that segments describe. */
function built(segments: readonly Segment[], old: Buffer, spool: Buffer): Buffer {
  return Buffer.concat(
    segments.map((one) => {
      if (one.from === 'old') return old.subarray(one.start, one.end)
      if (one.from === 'zeros') return Buffer.alloc(one.end - one.start)
      return spool.subarray(one.at, one.at + one.end - one.start)
    }),
  )
}

void t.test('layers are what writes one after the other make', async (t) => {
  for (let round = 0; round < 500 && t.passing(); round++) {
    const old = Buffer.from(Array.from({ length: below(60) }, () => 97 + below(26)))
    const length = below(80)
    const extents: Extent[] = Array.from({ length: below(12) }, () =>
      Math.random() < 0.3
        ? { offset: below(80), hole: below(20) }
        : { offset: below(80), bytes: Buffer.from(String(below(1e9)).slice(0, below(9))) },
    )
    const layers = new Layers()
    let spool = Buffer.alloc(0)
    for (const extent of extents) {
      if ('hole' in extent) layers.lay(extent.offset, extent.hole, undefined)
      else {
        layers.lay(extent.offset, extent.bytes.length, spool.length)
        spool = Buffer.concat([spool, extent.bytes])
      }
    }
    const segments = layers.over(old.length, length)
    t.equal(
      segments.reduce((at, { start, end }) => (start === at ? end : NaN), 0),
      length,
      'without gaps',
    )
    t.same(
      built(segments, old, spool),
      amended(old, extents, length),
      JSON.stringify({ old: String(old), extents, length }),
    )
  }
})

void t.test('parts hold all bytes in order, and none but the last is small', async (t) => {
  const bounds = { least: 5, most: 12 }
  for (let round = 0; round < 500 && t.passing(); round++) {
    const layers = new Layers()
    for (let i = below(6); i > 0; i--) layers.lay(below(120), below(9), 0)
    const length = 1 + below(120)
    const segments = layers.over(below(120), length)
    let at = 0
    const pieces = planParts(segments, bounds)
    for (const [i, piece] of pieces.entries()) {
      const spans = 'copied' in piece ? [piece.copied] : piece.sent
      const start = at
      for (const span of spans) {
        t.equal(span.start, at)
        at = span.end
      }
      const size = at - start
      t.ok(size >= bounds.least || i === pieces.length - 1, `part ${i} of ${pieces.length} has ${size} bytes`)
      if ('copied' in piece) t.ok(size <= bounds.most)
    }
    t.equal(at, length)
  }
})
