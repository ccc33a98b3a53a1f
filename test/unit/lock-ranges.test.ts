/** Ranges under lock against a model that keeps one cell a byte. */
import t from 'tap'
import { type LockedRange, TO_THE_END, withRange } from '../../src/vospace/lock.ts'
import { seeded } from '../mount/tree-harness.ts'

const BYTES = 24

/** A cell for each byte, and one for all that comes after. */
type Cells = string[]

function cellsOf(held: readonly LockedRange[]): Cells {
  const cells = Array.from({ length: BYTES + 1 }, () => '-')
  for (const { start, end, type, pid } of held) {
    for (let at = start; at <= Math.min(end, BYTES); at++) cells[at] = `${type} ${pid}`
  }
  return cells
}

t.test('locking and unlocking in any order leaves what a cell a byte leaves', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const below = seeded(seed)
    let held: LockedRange[] = []
    let model: Cells = cellsOf([])
    for (let step = 0; step < 120; step++) {
      const start = below(BYTES)
      const end = below(4) === 0 ? TO_THE_END : start + below(BYTES - start)
      const type = (['read', 'write', undefined] as const)[below(3)]
      const pid = 1 + below(2)
      held = withRange(held, { start, end }, type && { type, pid })
      model = model.map((cell, at) => (at < start || at > end ? cell : type === undefined ? '-' : `${type} ${pid}`))
      const isRight = cellsOf(held).join() === model.join() && isTidy(held)
      if (isRight) continue
      t.same(cellsOf(held), model, `seed ${seed}, step ${step}: ${JSON.stringify(held)}`)
      return
    }
  }
  t.pass('40 runs of 120 steps agree')
})

/** Sorted, disjoint, and no neighbours that could be one. */
function isTidy(held: readonly LockedRange[]): boolean {
  return held.every((range, at) => {
    const next = held[at + 1]
    if (range.end < range.start) return false
    if (next === undefined) return true
    const touch = range.end + 1 === next.start
    return range.end < next.start && !(touch && range.type === next.type && range.pid === next.pid)
  })
}

t.test('a range to the end of the file stays one when its head is given back', async (t) => {
  const all = withRange([], { start: 0, end: TO_THE_END }, { type: 'write', pid: 1 })
  t.same(withRange(all, { start: 0, end: 9 }, undefined), [{ start: 10, end: TO_THE_END, type: 'write', pid: 1 }])
  t.same(withRange(all, { start: 10, end: TO_THE_END }, undefined), [{ start: 0, end: 9, type: 'write', pid: 1 }])
})
