// Extents and spool files by themselves: ranges against a plain array, bytes against a plain buffer, and what a crash leaves.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { ExtentMap } from '../../mount/extents.ts'
import { recoverSpools, SpoolFolder } from '../../mount/spool.ts'
import { seeded } from './tree-harness.ts'

function stateFolder(t: Test): string {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'karst-spool-'))
  t.teardown(() => fs.rmSync(state, { recursive: true, force: true }))
  return state
}

void t.test('extents hold what a plain array of flags holds', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const pick = seeded(seed)
    const extents = new ExtentMap()
    const flags = new Array<boolean>(200).fill(false)
    for (let i = 0; i < 60; i++) {
      const start = pick(200)
      const end = Math.min(200, start + pick(40))
      const isIn = pick(3) > 0
      if (isIn) extents.add(start, end)
      else extents.remove(start, end)
      flags.fill(isIn, start, Math.max(start, end))
    }
    const spans = flags.flatMap((flag, i) =>
      flag && flags[i - 1] !== true
        ? [{ start: i, end: flags.indexOf(false, i) < 0 ? 200 : flags.indexOf(false, i) }]
        : [],
    )
    if (!t.same(extents.spans, spans, `seed ${seed}`)) return
    const [from, to] = [pick(100), 100 + pick(100)]
    const gaps = flags.flatMap((flag, i) => (i >= from && i < to && !flag ? [i] : []))
    const found = extents
      .gaps(from, to)
      .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i))
    t.same(found, gaps, 'gaps')
    t.equal(extents.covers(from, to), gaps.length === 0)
    t.equal(extents.bytes, flags.filter(Boolean).length)
  }
})

void t.test('a spool file reads as what was written, cut, zeroed and copied', async (t) => {
  const folder = new SpoolFolder(stateFolder(t), 'm', () => undefined)
  const spool = folder.open({ path: '/f', id: 'x' })
  const other = folder.open({ path: '/g', id: 'y' })
  const model = Buffer.alloc(5_000_000)
  const copied = Buffer.alloc(5_000_000)
  const pick = seeded(7)
  for (let i = 0; i < 300; i++) {
    const start = pick(3_000_000)
    const size = 1 + pick(i % 20 === 0 ? 1_500_000 : 5000)
    const kind = pick(10)
    if (kind < 6) {
      const data = Buffer.alloc(size, 1 + pick(255))
      t.equal(spool.write(data, start), size)
      data.copy(model, start)
    } else if (kind < 7) {
      spool.cut(start)
      model.fill(0, start)
    } else if (kind < 8) {
      spool.zero(start, start + size)
      model.fill(0, start, start + size)
    } else {
      const delta = pick(400_000) - Math.min(200_000, start)
      spool.copy({ start, end: start + size }, other, delta)
      model.copy(copied, start + delta, start, start + size)
    }
  }
  const [at, ahead] = [Buffer.alloc(model.length), Buffer.alloc(model.length)]
  spool.read(at, 0)
  await spool.fetch(ahead, 0)
  t.ok(at.equals(model))
  t.ok(ahead.equals(model), 'off the main thread too')
  other.read(at, 0)
  t.ok(at.equals(copied), 'the copy')
  spool.discard()
  t.notOk(fs.existsSync(spool.file))
})

void t.test(
  'a small file that was discarded is the next one, empty and under its name; a large one goes',
  async (t) => {
    const state = stateFolder(t)
    const folder = new SpoolFolder(state, 'm', () => undefined)
    const late: (() => void)[] = []
    folder.later = (action) => late.push(action)
    const first = folder.open({ path: '/first', id: '1' })
    first.write(Buffer.from('the bytes of the first'), 0)
    first.discard()
    const second = folder.open({ path: '/second', id: '2' })
    t.not(second.number, first.number, 'while the record speaks of it, it is nobody else’s')
    for (const action of late.splice(0)) action()
    const third = folder.open({ path: '/third', id: '3' })
    t.equal(third.number, first.number)
    third.write(Buffer.from('new'), 2)
    const bytes = Buffer.alloc(22, 'x')
    await third.fetch(bytes, 0)
    t.equal(bytes.toString(), '\0\0new'.padEnd(22, '\0'))
    second.write(Buffer.alloc(1), 1 << 16)
    second.discard()
    for (const action of late.splice(0)) action()
    t.notOk(fs.existsSync(second.file))
    recoverSpools(state, () => undefined)
    const kept = fs.readdirSync(path.join(state, 'recovered')).filter((name) => !name.endsWith('.origin'))
    t.match(kept, [/-third$/])
  },
)

void t.test('what a dead driver left is kept under its name, and the empty and unknown are told apart', async (t) => {
  const state = stateFolder(t)
  const folder = new SpoolFolder(state, 'dead', () => undefined)
  folder.open({ path: '/home/alice/notes', id: '1' }).write(Buffer.from('half a note'), 0)
  folder.open({ path: '/home/alice/empty', id: '2' })
  folder.open({ path: `/home/alice/${'é'.repeat(127)}`, id: '3' }).write(Buffer.from('long'), 0)
  fs.writeFileSync(path.join(state, 'spool', 'dead', '99'), 'nameless')
  fs.appendFileSync(path.join(state, 'spool', 'dead', 'journal'), '{"spool":4,"pa')
  const log: string[] = []
  recoverSpools(state, (message) => log.push(message))
  const kept = fs.readdirSync(path.join(state, 'recovered')).filter((name) => !name.endsWith('.origin'))
  t.same(kept.map((name) => fs.readFileSync(path.join(state, 'recovered', name), 'utf8')).sort(), [
    'half a note',
    'long',
    'nameless',
  ])
  t.equal(log.length, 3)
  t.match(log.join('\n'), /\/home\/alice\/notes: .* kept in .*-notes/)
  t.same(fs.readdirSync(path.join(state, 'spool')), [])
  recoverSpools(state, (message) => log.push(message))
  t.equal(log.length, 3, 'a second look finds nothing')
})

void t.test('files of one name and second are kept apart', async (t) => {
  const state = stateFolder(t)
  const folder = new SpoolFolder(state, 'm', () => undefined)
  for (const text of ['one', 'two', 'three']) {
    const spool = folder.open({ path: '/same', id: text })
    spool.write(Buffer.from(text), 0)
    folder.keep(spool, { path: '/same', id: text }, 'refused')
  }
  const kept = fs.readdirSync(path.join(state, 'recovered')).filter((name) => !name.endsWith('.origin'))
  t.equal(kept.length, 3)
  folder.close()
})

void t.test('the journal does not grow for ever', async (t) => {
  const state = stateFolder(t)
  const folder = new SpoolFolder(state, 'm', () => undefined)
  const held = folder.open({ path: '/held', id: '0' })
  for (let i = 0; i < 3000; i++) folder.open({ path: `/${'long/'.repeat(100)}${i}`, id: String(i) }).discard()
  const journal = path.join(state, 'spool', 'm', 'journal')
  t.ok(fs.statSync(journal).size > 1 << 20, 'while a file of it is there it stays whole')
  const late: (() => void)[] = []
  folder.later = (action) => late.push(action)
  const sent = folder.open({ path: '/sent', id: '1' })
  sent.write(Buffer.from('sent'), 0)
  sent.discard()
  folder.keep(held, { path: '/held', id: '0' }, 'refused')
  t.match(fs.readFileSync(journal, 'utf8'), /"isDiscarded":true\}\n$/, 'and while one is that will go')
  for (const action of late) action()
  t.equal(fs.readFileSync(journal, 'utf8'), '')
  folder.open({ path: '/next', id: '1' }).write(Buffer.from('x'), 0)
  recoverSpools(state, () => undefined)
  t.match(fs.readdirSync(path.join(state, 'recovered')).join(), /-next/)
})

void t.test('what was sent is not kept, if the driver is killed before its spool file is gone', async (t) => {
  for (const how of ['taken over', 'recovered'] as const) {
    const state = stateFolder(t)
    const killed = new SpoolFolder(state, 'm', () => undefined)
    killed.later = () => undefined
    const [sent, again, open] = ['/sent', '/again', '/open'].map((path) => killed.open({ path, id: 'x' }))
    for (const spool of [sent, again, open]) spool?.write(Buffer.from('bytes'), 0)
    for (const spool of [sent, again]) spool?.discard()
    // the number is used again
    fs.appendFileSync(
      path.join(state, 'spool/m/journal'),
      `${JSON.stringify({ spool: again?.number, path: '/new' })}\n`,
    )
    if (how === 'taken over') new SpoolFolder(state, 'm', () => undefined).settle(new Set(), new Set())
    else recoverSpools(state, () => undefined)
    const kept = fs.readdirSync(path.join(state, 'recovered')).filter((name) => !name.endsWith('.origin'))
    t.same(kept.map((name) => name.replace(/^.*-/, '')).sort(), ['new', 'open'], how)
  }
})

void t.test('a quota of the local disk is refused as EDQUOT, for which node has no name', async (t) => {
  const spool = new SpoolFolder(stateFolder(t), 'm', () => undefined).open({ path: '/f', id: 'x' })
  const { writeSync } = fs
  const refuse = (): never => {
    throw Object.assign(new Error('unknown error, write'), { errno: -122, code: 'UNKNOWN', syscall: 'write' })
  }
  Object.assign(fs, { writeSync: refuse })
  syncBuiltinESMExports()
  try {
    t.throws(() => spool.write(Buffer.from('bytes'), 0), { name: 'Fault', fault: 'QuotaExceeded', errno: 'EDQUOT' })
  } finally {
    Object.assign(fs, { writeSync })
    syncBuiltinESMExports()
  }
})
