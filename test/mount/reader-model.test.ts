/** The reader against a buffer: whatever is read, in whatever order, with whatever failing, is the file's. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ReadBudget } from '../../mount/read-budget.ts'
import { Reader } from '../../mount/reader.ts'
import { type Remote } from '../../mount/remote.ts'
import { Fault, isFault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'

const PATH = nodePath('/f')
const MIB = 1 << 20

/** mulberry32: a seed gives the same run everywhere */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** Incompressible enough that a wrong offset shows. */
function contentOf(size: number, next: (below: number) => number): Buffer {
  const content = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) content.writeUInt32LE(next(2 ** 32), at)
  return content
}

interface Chaos {
  readonly failPercent: number
  readonly abortPercent: number
}

function flaky(content: Buffer, next: (below: number) => number, { failPercent }: Chaos): Pick<Remote, 'read'> {
  return {
    read: async (_, start, into, { signal }) => {
      into.begin()
      for (let end = start; into.count < into.length;) {
        const from = end
        end += 1 + next(400_000)
        await sleep(next(3), undefined, signal === undefined ? {} : { signal })
        if (next(100) < failPercent) throw new Fault('ServiceBusy', 'lost', { errno: 'EIO' })
        into.write(content.subarray(from, Math.min(end, start + into.length)))
      }
    },
  }
}

/** Sequential, backwards, striding or anywhere: as programs do, in stretches. */
function* places(size: number, next: (below: number) => number): Generator<[offset: number, size: number]> {
  let offset = 0
  for (;;) {
    const kind = next(5)
    const step = 1 + next(256 << 10)
    if (kind === 0) offset = next(size + 1000)
    for (let reads = next(30); reads >= 0; reads--) {
      yield [offset, kind === 4 ? 1 + next(2 * MIB) : step]
      if (kind === 1) offset = next(size + 1000)
      else if (kind === 2) offset = Math.max(0, offset - step)
      else if (kind === 3) offset += step + next(100_000)
      else offset += step
      if (offset > size + 1000) offset = 0
    }
  }
}

async function check(seed: number, size: number, budget: ReadBudget, chaos: Chaos, reads: number): Promise<string[]> {
  const next = random(seed)
  const content = contentOf(size, next)
  const remote = flaky(content, next, chaos)
  const reader = new Reader({ remote, ref: { path: PATH }, contentVersion: 'c1', size, budget })
  const wrong: string[] = []
  const one = async (offset: number, length: number): Promise<void> => {
    const abort = new AbortController()
    if (next(100) < chaos.abortPercent) setTimeout(() => abort.abort(), next(4))
    try {
      const got = Buffer.concat(await reader.read(offset, length, abort.signal))
      if (!got.equals(content.subarray(offset, offset + length))) wrong.push(`${length} bytes at ${offset}`)
    } catch (error) {
      if (chaos.failPercent > 0 && isFault(error, 'ServiceBusy')) return
      if (!abort.signal.aborted) wrong.push(`${length} bytes at ${offset}: ${String(error)}`)
    }
  }
  const under: Promise<void>[] = []
  for (const [offset, length] of places(size, next)) {
    under.push(one(offset, length))
    if (under.length >= 1 + next(6)) await Promise.all(under.splice(0))
    if (reads-- <= 0) break
  }
  await Promise.all(under)
  reader.close()
  return wrong
}

const SIZES = [0, 1, 4096, 131_072, 131_073, 700_001, 9 * MIB + 17]
for (const [index, size] of SIZES.entries()) {
  t.test(`it reads a file of ${size} bytes as it is, in any order`, async (t) => {
    const budget = new ReadBudget(8 * MIB)
    t.same(await check(100 + index, size, budget, { failPercent: 0, abortPercent: 0 }, 300), [])
    t.equal(budget.used, 0, 'and gives the memory back')
  })

  t.test(`it reads a file of ${size} bytes as it is while requests fail and reads are aborted`, async (t) => {
    const budget = new ReadBudget(8 * MIB)
    t.same(await check(200 + index, size, budget, { failPercent: 20, abortPercent: 20 }, 300), [])
    t.equal(budget.used, 0)
  })
}

t.test('it reads many files at once with a budget far too small', async (t) => {
  const budget = new ReadBudget(MIB, 0.01)
  const checks = Array.from({ length: 6 }, (_, index) =>
    check(300 + index, 3 * MIB + index, budget, { failPercent: 5, abortPercent: 5 }, 100),
  )
  t.same((await Promise.all(checks)).flat(), [])
  t.equal(budget.used, 0)
})
