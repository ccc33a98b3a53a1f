/** Jobs in the store: what survives a power cut, and how many may wait. */
import t from 'tap'
import { Database } from '../../src/store/database.ts'
import { newJobId, StoredJobs } from '../../src/store/jobs.ts'
import { openStore } from '../../src/store/store.ts'
import { outcome } from './space-world.ts'
import { storeFile } from './store-process.ts'

/** The jobs of a file, and which of both connections a step has written with. */
function opened(t: { teardown(end: () => void): void }) {
  const file = storeFile(t)
  openStore(file).close()
  const [durable, quick] = [new Database(file, { full: true }), new Database(file, { full: false })]
  t.teardown(() => [durable, quick].forEach((one) => one.close()))
  const jobs = new StoredJobs(durable, quick)
  const isDurable = (step: () => unknown): boolean => {
    const before = durable.writes
    step()
    return durable.writes > before
  }
  return { jobs, durable, quick, isDurable }
}

t.test('what a client is told of a job is committed with an fsync, what is found out again is not', async (t) => {
  const { jobs, durable, quick, isDurable } = opened(t)
  t.equal(durable.number('PRAGMA synchronous'), 2, 'FULL: each commit survives a power cut')
  t.equal(quick.number('PRAGMA synchronous'), 1, 'NORMAL: it does not')
  let id = ''
  t.ok(
    isDurable(() => (id = jobs.create('alice', { kind: 'k' }).id)),
    'that there is one',
  )
  const start = { id: newJobId(), phase: 'EXECUTING', results: [] } as const
  t.ok(isDurable(() => jobs.create('alice', { kind: 'k' }, { start })))
  t.match(jobs.get(start.id), start)
  t.ok(
    isDurable(() => jobs.change(id, (job) => ({ ...job, phase: 'QUEUED' }), 'me')),
    'that it shall run',
  )
  t.notOk(
    isDurable(() => jobs.note(id, (job) => ({ ...job, phase: 'EXECUTING' }), 'me')),
    'that it does',
  )
  t.notOk(isDurable(() => jobs.countAttempt(id)))
  t.notOk(isDurable(() => jobs.renew('me', 5)))
  t.notOk(
    isDurable(() => jobs.note(id, (job) => ({ ...job, progress: { done: 3 } }))),
    'how far it is',
  )
  t.ok(
    isDurable(() => jobs.keepCheckpoint(id, 'me', { at: 1 })),
    'what it is about to do',
  )
  t.ok(
    isDurable(() => jobs.change(id, (job) => ({ ...job, phase: 'COMPLETED' }), null)),
    'how it ended',
  )
  t.match(jobs.get(id), { phase: 'COMPLETED', progress: { done: 3 } }, 'both see what the other one wrote')
})

t.test('jobs that have begun, ended or gone do not count among those that wait', async (t) => {
  const { jobs, durable } = opened(t)
  const create = (owner?: string) => outcome((async () => jobs.create(owner, { kind: 'k' }, { waiting: 2 }))())
  const id = jobs.create('alice', { kind: 'k' }).id
  t.equal(await create('alice'), 'ok')
  t.equal(await create('alice'), 'ServiceBusy EAGAIN')
  t.same(
    [await create('bob'), await create(), await create(), await create()],
    ['ok', 'ok', 'ok', 'ServiceBusy EAGAIN'],
  )
  jobs.change(id, (job) => ({ ...job, phase: 'QUEUED' }), 'me')
  t.equal(await create('alice'), 'ServiceBusy EAGAIN', 'queued is waiting too')
  jobs.note(id, (job) => ({ ...job, phase: 'EXECUTING' }))
  t.equal(await create('alice'), 'ok')
  jobs.change(id, (job) => ({ ...job, phase: 'COMPLETED' }), null)
  t.equal(await create('alice'), 'ServiceBusy EAGAIN')
  const later = Date.now() + 8 * 86_400_000
  const made = jobs.create('alice', { kind: 'k' }, { waiting: 1, now: later })
  t.ok(jobs.get(made.id), 'those past their time are swept first')
  const plan = durable.all(
    `EXPLAIN QUERY PLAN SELECT count(*) FROM jobs WHERE owner IS ? AND phase IN ('PENDING', 'QUEUED')`,
    'a',
  )
  t.match(String(plan[0]?.['detail']), /INDEX jobs_waiting/, 'however many have ended')
})
