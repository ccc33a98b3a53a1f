import t from 'tap'
import { Database } from '../../src/store/database.ts'
import { openStore } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { type Transfer } from '../../src/vospace/transfer.ts'
import { run, storeFile } from './store-process.ts'

const change = { id: 'n', path: nodePath('/a'), kind: 'moved', from: nodePath('/b') } as const

t.test('changes come back in order, from any of them on, over a restart', async (t) => {
  const file = storeFile(t)
  const first = openStore(file)
  t.equal(first.changes.last(), 0)
  const seqs = [
    first.changes.append(change),
    first.changes.append({ ...change, from: undefined as never, kind: 'removed' }),
    first.changes.append(change),
  ]
  t.same(
    first.changes.since(0).changes.map(({ seq }) => seq),
    seqs,
  )
  t.same(first.changes.since(0, 1), { changes: [{ seq: seqs[0], ...change }], resync: false })
  first.close()
  const again = openStore(file)
  t.same(again.changes.since(seqs[1] ?? 0).changes, [{ seq: seqs[2], ...change }])
  t.ok((again.changes.append(change) ?? 0) > (seqs[2] ?? 0))
  again.close()
})

t.test('who asks for what is pruned, was lost, or never was is told to resync', async (t) => {
  const file = storeFile(t)
  const { changes, close } = openStore(file)
  const seq = changes.append(change) ?? 0
  t.same(changes.since(seq + 1), { changes: [], resync: true }, 'from the future: of another store')
  const raw = new Database(file, { full: false })
  for (let i = 0; i < 5; i++) changes.append(change)
  raw.run('DELETE FROM changes WHERE seq <= 3')
  t.equal(changes.since(1).resync, true)
  t.equal(changes.since(3).resync, false)
  t.equal(changes.since(3).changes.length, 3)
  raw.close()
  close()
})

t.test('a change that cannot be kept fails nobody, and mounts are told to resync', async (t) => {
  const file = storeFile(t)
  const { changes, close } = openStore(file)
  const seq = changes.append(change) ?? 0
  const raw = new Database(file, { full: false })
  raw.exec("CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT raise(ABORT, 'full'); END")
  t.equal(changes.append(change), undefined)
  t.equal(changes.since(seq).resync, true, 'while it lasts')
  raw.exec('DROP TRIGGER full')
  raw.close()
  const next = changes.append(change) ?? 0
  t.ok(next > seq + 1)
  t.equal(changes.since(seq).resync, true)
  t.same(changes.since(next - 1), { changes: [{ seq: next, ...change }], resync: false })
  const again = openStore(file)
  t.equal(again.changes.since(seq).resync, true, 'in another gateway too')
  again.close()
  close()
})

t.test('after a boot the numbers leap, so that one that was lost is never given twice', async (t) => {
  const file = storeFile(t)
  const first = openStore(file)
  const seq = first.changes.append(change) ?? 0
  first.close()
  const raw = new Database(file, { full: false })
  raw.exec("UPDATE epochs SET boot = 'the boot before'")
  raw.close()
  const again = openStore(file)
  t.equal(again.changes.since(seq).resync, true)
  t.ok((again.changes.append(change) ?? 0) > seq + 1000)
  const last = again.changes.last()
  t.same(again.changes.since(last), { changes: [], resync: false })
  again.close()
})

t.test('several processes append to one sequence', async (t) => {
  const file = storeFile(t)
  const store = openStore(file)
  const answers = await Promise.all([
    run(file, 'append', '300'),
    run(file, 'append', '300'),
    run(file, 'append', '300'),
  ])
  const seqs = answers.flatMap(({ answer }) => answer as number[])
  t.equal(new Set(seqs).size, 900)
  t.equal(store.changes.since(0).changes.length, 900)
  for (const { answer } of answers)
    t.same(
      answer,
      (answer as number[]).toSorted((a, b) => a - b),
    )
  store.close()
})

const transfer: Transfer = {
  version: '2.1',
  targets: ['vos://karst.local~karst/a'],
  direction: 'pullFromVoSpace',
  protocols: [],
}

t.test('jobs are kept with their owner until their destruction', async (t) => {
  const file = storeFile(t)
  const first = openStore(file)
  const mine = first.jobs.create('alice', { kind: 'transfers', transfer })
  const open = first.jobs.create(undefined, { kind: 'transfers', transfer })
  t.match(mine, { phase: 'PENDING', owner: 'alice', results: [], transfer })
  first.jobs.change(mine.id, (job) => ({ ...job, phase: 'COMPLETED', ended: 5 }))
  first.close()
  const { jobs, close } = openStore(file)
  t.match(jobs.get(mine.id), { phase: 'COMPLETED', ended: 5, created: mine.created })
  t.equal(jobs.get(open.id)?.owner, undefined)
  t.ok(open.destruction - open.created <= 3_600_000, 'what anybody may leave goes soon')
  t.ok(mine.destruction - mine.created > 86_400_000)
  t.same(
    jobs.list('alice', 'transfers').map(({ id }) => id),
    [mine.id],
  )
  t.equal(
    jobs.change('none', (job) => job),
    undefined,
  )
  jobs.change(mine.id, (job) => ({ ...job, destruction: 1 }))
  jobs.create('bob', { kind: 'transfers', transfer })
  t.equal(jobs.get(mine.id), undefined)
  close()
})
