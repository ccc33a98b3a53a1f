/** Memory of the parts of an upload. */
import t from 'tap'
import { Lot, Spare } from '../../src/backend/s3/lot.ts'

const MIB = 2 ** 20

/** Fills it with so many bytes of one value, in pieces as they come from a connection. */
function fill(lot: Lot, value: number, count: number, most: number): void {
  const piece = Buffer.alloc(16_384, value)
  for (let done = 0; done < count;) {
    const taken = lot.fill(piece.subarray(0, Math.min(piece.length, count - done)), most)
    if (taken === 0) throw new Error('there is no room')
    done += taken
  }
}

/** The memory of a large part was given back. */
function withLarge(): { readonly spare: Spare; readonly large: Buffer } {
  const spare = new Spare()
  const large = Buffer.allocUnsafeSlow(8 * MIB)
  spare.give(large)
  return { spare, large }
}

const isAll = (bytes: Buffer, value: number): boolean => bytes.every((byte) => byte === value)

void t.test('bytes that are taken stay as they are while the next ones come', async (t) => {
  const lot = new Lot(new Spare())
  fill(lot, 1, 5 * MIB, 5 * MIB)
  const first = lot.take(5 * MIB)
  fill(lot, 2, 5 * MIB, 5 * MIB)
  const second = lot.take(4 * MIB)
  fill(lot, 3, MIB, 2 * MIB)
  const third = lot.take(2 * MIB)
  t.ok(isAll(first, 1) && first.length === 5 * MIB)
  t.ok(isAll(second, 2) && second.length === 4 * MIB)
  t.ok(isAll(third.subarray(0, MIB), 2) && isAll(third.subarray(MIB), 3))
})

void t.test('memory that was given back is used again, by one at a time', async (t) => {
  const spare = new Spare()
  const lot = new Lot(spare)
  fill(lot, 1, 5 * MIB, 5 * MIB)
  const first = lot.take(5 * MIB)
  spare.give(first)
  const [one, other] = [spare.take(5 * MIB), spare.take(5 * MIB)]
  t.equal(one.buffer, first.buffer)
  t.not(other.buffer, first.buffer)
})

void t.test('small bodies take little, and nothing that large ones wait for', async (t) => {
  const { spare, large } = withLarge()
  const lot = new Lot(spare)
  fill(lot, 1, 1000, 8 * MIB)
  t.equal(lot.take(1000).buffer.byteLength, 65_536)
  t.equal(spare.take(8 * MIB).buffer, large.buffer)
})

void t.test('nor do those of some hundred kilobytes, or of an announced length', async (t) => {
  const { spare, large } = withLarge()
  const some = new Lot(spare)
  fill(some, 1, 200_000, 8 * MIB)
  t.equal(some.take(200_000).buffer.byteLength, MIB)
  const announced = new Lot(spare)
  const piece = Buffer.alloc(600_000)
  for (let i = 0; i < 2; i++) announced.fill(piece, 8 * MIB, 1_200_000)
  t.equal(announced.take(1_200_000).buffer.byteLength, 1_200_000)
  t.equal(spare.take(8 * MIB).buffer, large.buffer)
})

void t.test('no more is kept than 64 MiB', async (t) => {
  const spare = new Spare()
  const given = Array.from({ length: 9 }, () => Buffer.allocUnsafeSlow(8 * MIB))
  for (const one of given) spare.give(one)
  const buffers = new Set<ArrayBufferLike>(given.map(({ buffer }) => buffer))
  const taken = given.map(() => spare.take(8 * MIB)).filter(({ buffer }) => buffers.has(buffer))
  t.equal(taken.length, 8)
})
