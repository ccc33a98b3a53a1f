import t from 'tap'
import { insertInterval, type Interval } from '../../src/backend/posix/interval.ts'

const SEED = Number(process.env['KARST_TEST_SEED'] ?? Date.now() % 100_000)

t.test(`later intervals win, whatever the order (KARST_TEST_SEED=${SEED})`, (t) => {
  let state = SEED
  const below = (n: number): number => (state = (state * 48271 + 11) % 2147483647) % n
  for (let round = 0; round < 300; round++) {
    const bytes: (boolean | undefined)[] = Array.from({ length: 60 }, () => undefined)
    let intervals: Interval[] = []
    for (let i = 0; i < 25; i++) {
      const start = below(55)
      const next = { start, end: start + 1 + below(Math.min(12, 59 - start)), hole: below(2) === 0 }
      intervals = insertInterval(intervals, next)
      bytes.fill(next.hole, next.start, next.end)
    }
    const shown: (boolean | undefined)[] = Array.from({ length: 60 }, () => undefined)
    for (const { start, end, hole } of intervals) shown.fill(hole, start, end)
    t.same(shown, bytes)
    t.ok(intervals.every(({ start, end }, i) => start < end && (intervals[i - 1]?.end ?? 0) <= start))
  }
  t.end()
})

t.test('many extents from back to front cost not much more than from front to back', (t) => {
  const COUNT = 20_000
  const time = (at: (i: number) => number): number => {
    const began = performance.now()
    let intervals: Interval[] = []
    for (let i = 0; i < COUNT; i++) intervals = insertInterval(intervals, { start: at(i), end: at(i) + 1, hole: false })
    t.equal(intervals.length, COUNT)
    return performance.now() - began
  }
  const forwards = time((i) => 2 * i)
  const backwards = time((i) => 2 * (COUNT - i))
  // 200 milliseconds are for a machine that does something else just then; walking over all would take minutes of them
  t.ok(backwards < 50 * forwards + 200, `${backwards} against ${forwards}`)
  t.end()
})
