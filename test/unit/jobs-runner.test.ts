/** The state machine of jobs, with a clock of its own. */
import t from 'tap'
import { thisProcess } from '../../src/store/holder.ts'
import { type StoredJobs } from '../../src/store/jobs.ts'
import { openStore } from '../../src/store/store.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { type Phase } from '../../src/vospace/transfer.ts'
import { random, type Random } from './codec-random.ts'
import { HandClock, lab, settle, type Lab } from './jobs-lab.ts'
import { outcome } from './space-world.ts'

const DAY = 86_400_000

const made = ({ runner }: Lab, owner = 'alice', quick = false): string =>
  runner.create(owner, { kind: 'work', ...(quick && { parameters: { quick: 'true' } }) }).id
const begun = (all: Lab, owner = 'alice', quick = false): string => {
  const id = made(all, owner, quick)
  all.runner.run(id)
  return id
}
const phase = ({ runner }: Lab, id: string): Phase | undefined => runner.get(id)?.phase

function memory(t: { teardown: (end: () => void) => void }) {
  const store = openStore(':memory:')
  t.teardown(() => store.close())
  return store.jobs
}

t.test('a job waits PENDING, runs when told so, once, and is COMPLETED with its results', async (t) => {
  const all = lab(memory(t))
  const id = made(all)
  t.equal(phase(all, id), 'PENDING')
  await all.clock.pass(1000)
  t.equal(phase(all, id), 'PENDING')
  all.runner.run(id)
  t.equal(phase(all, id), 'EXECUTING')
  t.equal(await outcome((async () => all.runner.run(id))()), 'InvalidArgument EINVAL')
  await all.clock.pass(1000)
  await all.works.get(id)?.end({ results: [{ id: 'destination', href: 'vos:x' }] })
  t.match(all.runner.get(id), { phase: 'COMPLETED', results: [{ id: 'destination' }] })
  const { created = 0, started = 0, ended = 0 } = all.runner.get(id) ?? {}
  t.same([started - created, ended - started], [1000, 1000])
  t.equal(await outcome((async () => all.runner.run(id))()), 'InvalidArgument EINVAL')
  all.runner.abort(id)
  t.equal(phase(all, id), 'COMPLETED', 'what has ended stays')
  t.equal(await outcome((async () => all.runner.run('none'))()), 'NodeNotFound ENOENT')
})

t.test('a refusal is ERROR with its token, anything else InternalFault and told to the log', async (t) => {
  const all = lab(memory(t))
  const refused = begun(all)
  await all.works.get(refused)?.fail(new Fault('NodeNotFound', '/x'))
  t.match(all.runner.get(refused), { phase: 'ERROR', error: 'NodeNotFound' })
  const broken = begun(all)
  await all.works.get(broken)?.fail(new TypeError('oops'))
  t.match(all.runner.get(broken), { phase: 'ERROR', error: 'InternalFault' })
  t.same(all.log, ['job refused', 'job failed'])
  t.same(all.undone, [], 'nothing had been saved')
  const saved = begun(all)
  all.works.get(saved)?.context.save({ at: 1 })
  await all.works.get(saved)?.fail(new Fault('NodeNotFound', '/x'))
  t.same(all.undone, [saved])
})

t.test('two run at a time, quick ones besides, and owners take turns', async (t) => {
  const jobs = memory(t)
  const all = lab(jobs)
  const [a1, a2, a3, a4] = Array.from({ length: 4 }, () => begun(all)) as [string, string, string, string]
  const bob = begun(all, 'bob')
  const quick = begun(all, 'carol', true)
  const phases = () => [a1, a2, a3, a4, bob, quick].map((id) => phase(all, id)?.[0])
  t.same(phases(), ['E', 'E', 'Q', 'Q', 'Q', 'E'])
  await all.works.get(a1)?.end()
  t.same(phases(), ['C', 'E', 'E', 'Q', 'Q', 'E'])
  await all.works.get(a3)?.end()
  t.same(phases(), ['C', 'E', 'C', 'Q', 'E', 'E'], 'bob before the fourth of alice')
  all.runner.abort(a4)
  await all.works.get(bob)?.end()
  t.same(phases(), ['C', 'E', 'C', 'A', 'C', 'E'])
  t.notOk(all.works.has(a4), 'aborted in the queue: never begun')
  const [running, waiting] = [begun(all), begun(all)]
  jobs.change(waiting, (job) => ({ ...job, phase: 'ABORTED' }))
  await all.works.get(running)?.end()
  t.notOk(all.works.has(waiting), 'by another gateway')
})

t.test('an abort ends a job in any active phase, and takes back what was made', async (t) => {
  const all = lab(memory(t))
  const pending = made(all)
  all.runner.abort(pending)
  t.equal(phase(all, pending), 'ABORTED')
  const id = begun(all)
  all.works.get(id)?.context.save({})
  all.runner.abort(id)
  t.equal(phase(all, id), 'ABORTED', 'at once')
  await settle()
  t.same(all.undone, [id])
  t.throws(() => all.works.get(id)?.context.save({}), 'it is not to go on')
  t.equal(phase(all, id), 'ABORTED')
})

t.test('its execution time is enforced, also when it is set while it runs', async (t) => {
  const all = lab(memory(t))
  const id = made(all)
  all.runner.setExecutionDuration(id, 100)
  all.runner.run(id)
  await all.clock.pass(99_000)
  t.equal(phase(all, id), 'EXECUTING')
  await all.clock.pass(2000)
  t.equal(phase(all, id), 'ABORTED')
  const second = begun(all)
  all.runner.setExecutionDuration(second, 1)
  await all.clock.pass(1500)
  t.equal(phase(all, second), 'ABORTED')
  all.runner.setExecutionDuration(second, 10 ** 9)
  t.equal(all.runner.get(second)?.executionDuration, 7 * 86_400, 'at most a week')
})

t.test('its destruction time is enforced: an active job is ended first', async (t) => {
  const all = lab(memory(t))
  all.runner.start()
  const ids = [made(all), begun(all), begun(all)]
  await all.works.get(ids[1] ?? '')?.end()
  all.works.get(ids[2] ?? '')?.context.save({})
  all.runner.setDestruction(ids[2] ?? '', all.clock.now() + DAY / 24)
  await all.clock.pass(DAY / 24 + 30_000)
  t.equal(all.runner.get(ids[2] ?? ''), undefined)
  t.same(all.undone, [ids[2]], 'before its execution time is over')
  await all.clock.pass(7 * DAY)
  for (const id of ids) t.equal(all.runner.get(id), undefined)
  t.same(all.undone, [ids[2]])
  const later = made(all)
  all.runner.setDestruction(later, all.clock.now() + 400 * DAY)
  t.equal((all.runner.get(later)?.destruction ?? 0) - all.clock.now(), 30 * DAY, 'at most 30 days')
  const { id: open, destruction } = all.runner.create(undefined, { kind: 'work' })
  all.runner.setDestruction(open, all.clock.now() + 30 * DAY)
  t.equal(all.runner.get(open)?.destruction, destruction, 'what anybody may leave goes soon')
  all.runner.setDestruction(later, 0)
  t.equal(all.runner.get(later), undefined)
  const removed = begun(all)
  all.works.get(removed)?.context.save({})
  all.runner.remove(removed)
  t.equal(all.runner.get(removed), undefined)
  await settle()
  t.ok(all.undone.includes(removed))
  await all.runner.stop()
})

t.test('waiting ends with another phase, with the time, with the signal and with the gateway', async (t) => {
  const all = lab(memory(t))
  const id = made(all)
  const ended: string[] = []
  const wait = (name: string, ...args: [number, Phase?, AbortSignal?]): void => {
    void all.runner.wait(id, ...args).then((job) => ended.push(`${name} ${job?.phase}`))
  }
  const gone = new AbortController()
  wait('known', 60_000)
  wait('other', 60_000, 'EXECUTING')
  wait('short', 5000)
  wait('gone', 60_000, 'PENDING', gone.signal)
  await settle()
  t.same(ended.splice(0), ['other PENDING'], 'its phase is another already')
  await all.clock.pass(5000)
  t.same(ended.splice(0), ['short PENDING'])
  gone.abort()
  await settle()
  t.same(ended.splice(0), ['gone PENDING'])
  all.runner.run(id)
  await settle()
  t.same(ended.splice(0), ['known EXECUTING'])
  wait('end', 60_000)
  wait('end too', 60_000, 'EXECUTING')
  await all.works.get(id)?.end()
  t.same(ended.splice(0).sort(), ['end COMPLETED', 'end too COMPLETED'])
  wait('terminal', 60_000, 'COMPLETED')
  await settle()
  t.same(ended.splice(0), ['terminal COMPLETED'])
  const next = made(all)
  void all.runner.wait(next, 60_000).then(() => ended.push('stopped'))
  await all.runner.stop()
  await settle()
  t.same(ended, ['stopped'])
})

t.test('progress is seen at once, and written down now and then', async (t) => {
  const jobs = memory(t)
  const all = lab(jobs)
  const id = begun(all)
  const context = all.works.get(id)?.context
  for (let done = 1; done <= 10; done++) context?.progress(done, 20)
  t.same(all.runner.get(id)?.progress, { done: 10, total: 20 })
  t.equal(jobs.get(id)?.progress, undefined)
  await all.clock.pass(1500)
  context?.progress(11, 20)
  t.same(jobs.get(id)?.progress, { done: 11, total: 20 })
  context?.progress(20, 20)
  await all.works.get(id)?.end()
  t.same(jobs.get(id)?.progress, { done: 20, total: 20 })
})

t.test('a gateway that stops leaves its jobs to the next one, which goes on from the checkpoint', async (t) => {
  const jobs = memory(t)
  const first = lab(jobs)
  first.runner.start()
  const ids = [begun(first), begun(first), begun(first)]
  first.works.get(ids[0] ?? '')?.context.save({ at: [1, 'x'] })
  await first.runner.stop()
  t.same(first.undone, [])
  t.equal(await outcome((async () => first.runner.run(made(first)))()), 'ServiceBusy EAGAIN')
  const second = lab(jobs, first.clock)
  second.runner.start()
  t.same(second.works.get(ids[0] ?? '')?.context.checkpoint, { at: [1, 'x'] })
  t.equal(second.works.get(ids[1] ?? '')?.context.checkpoint, undefined)
  t.same(
    ids.map((id) => phase(second, id)),
    ['EXECUTING', 'EXECUTING', 'QUEUED'],
  )
  for (const id of ids) await second.works.get(id)?.end()
  t.same(
    ids.map((id) => phase(second, id)),
    ['COMPLETED', 'COMPLETED', 'COMPLETED'],
  )
  await second.runner.stop()
})

t.test('what a killed gateway held is taken over; of a living one nothing is', async (t) => {
  const jobs = memory(t)
  const clock = new HandClock()
  const dead = lab(jobs, clock, { self: 'another-boot 1 1 1' })
  const kept = begun(dead)
  const aborted = begun(dead)
  dead.works.get(kept)?.context.save({ at: 2 })
  dead.works.get(aborted)?.context.save({ at: 3 })
  jobs.change(aborted, (job) => ({ ...job, phase: 'ABORTED' }))
  const living = lab(jobs, clock)
  const theirs = begun(living)
  const next = lab(jobs, clock, { self: livingOther() })
  next.runner.start()
  await settle()
  t.same([...next.works.keys()], [kept])
  t.same(next.undone, [aborted], 'what an aborted one had made is taken back')
  await next.works.get(kept)?.end()
  t.equal(phase(next, kept), 'COMPLETED')
  await dead.works.get(kept)?.end({ phase: 'ERROR', error: 'late' })
  t.equal(phase(next, kept), 'COMPLETED', 'who was believed dead changes nothing')
  t.equal(phase(living, theirs), 'EXECUTING')
  await next.runner.stop()
})

// Another process of this machine, which sees that this one lives.
function livingOther(): string {
  const [boot, namespace] = thisProcess().split(' ')
  return `${boot} ${namespace} 999999999 0`
}

t.test('another gateway may abort: the one at work notices', async (t) => {
  const jobs = memory(t)
  const all = lab(jobs)
  all.runner.start()
  const id = begun(all)
  all.works.get(id)?.context.save({})
  jobs.change(id, (job) => ({ ...job, phase: 'ABORTED', ended: all.clock.now() }))
  await all.clock.pass(15_000)
  t.ok(all.works.get(id)?.context.signal.aborted)
  t.same(all.undone, [id])
  t.equal(phase(all, id), 'ABORTED')
  await all.runner.stop()
})

t.test('a job that takes the gateway down again and again is given up', async (t) => {
  const jobs = memory(t)
  const clock = new HandClock()
  const id = begun(lab(jobs, clock, { self: 'boot 1 0 0' }))
  for (let crash = 1; crash <= 10 && jobs.get(id)?.phase !== 'ERROR'; crash++) {
    lab(jobs, clock, { self: `boot 1 ${crash} 0` }).runner.start()
    await settle()
  }
  t.match(jobs.get(id), { phase: 'ERROR', error: 'InternalFault' })
})

t.test('a job of a kind that nobody does any more ends in ERROR', async (t) => {
  const jobs = memory(t)
  const { id } = jobs.create('alice', { kind: 'gone' })
  jobs.change(id, (job) => ({ ...job, phase: 'EXECUTING' }), 'boot 1 1 1')
  const all = lab(jobs)
  t.equal(
    await outcome((async () => all.runner.run(all.runner.create('a', { kind: 'gone' }).id))()),
    'OperationNotSupported EOPNOTSUPP',
  )
  all.runner.start()
  await settle()
  t.match(jobs.get(id), { phase: 'ERROR', error: 'InternalFault' })
  await all.runner.stop()
})

const AFTER: Record<string, readonly (Phase | undefined)[]> = {
  PENDING: ['PENDING', 'QUEUED', 'EXECUTING', 'ABORTED', undefined],
  QUEUED: ['QUEUED', 'EXECUTING', 'ABORTED', undefined],
  EXECUTING: ['QUEUED', 'EXECUTING', 'COMPLETED', 'ERROR', 'ABORTED', undefined],
  COMPLETED: ['COMPLETED', undefined],
  ERROR: ['ERROR', undefined],
  ABORTED: ['ABORTED', undefined],
}

t.test('whatever is asked in whatever order, no phase follows that may not, and slots are kept', async (t) => {
  for (let seed = 1; seed <= 30; seed++) t.same(await wrongSteps(memory(t), random(seed)), [], `seed ${seed}`)
})

/** What a random sequence of calls, clock and restarts leads to that must not be. */
async function wrongSteps(jobs: StoredJobs, draw: Random): Promise<string[]> {
  let all = lab(jobs)
  all.runner.start()
  const wrong: string[] = []
  const last = new Map<string, Phase | undefined>()
  for (let step = 0; step < 120; step++) {
    const [first, ...ids] = last.keys()
    const id =
      first === undefined || draw.once(6) ? made(all, draw.once(2) ? 'alice' : 'bob') : draw.pick([first, ...ids])
    await act(all, id, draw.below(9))
    if (draw.once(25)) {
      await all.runner.stop()
      all = lab(jobs, all.clock)
      all.runner.start()
    }
    last.set(id, last.get(id) ?? 'PENDING')
    for (const [one, before] of last) {
      const now = phase(all, one)
      const isRight = before === undefined ? now === undefined : AFTER[before]?.includes(now)
      if (isRight !== true) wrong.push(`${before} to ${now}`)
      last.set(one, now)
    }
    const count = (what: Phase): number => [...last.values()].filter((now) => now === what).length
    if (count('EXECUTING') > 2) wrong.push('too many at work')
    if (count('QUEUED') > 0 && count('EXECUTING') < 2) wrong.push('a slot is free, and somebody waits')
  }
  await all.runner.stop()
  return wrong
}

async function act(all: Lab, id: string, what: number): Promise<void> {
  const work = all.works.get(id)
  const asked: (() => void | Promise<void>)[] = [
    () => all.runner.run(id),
    () => all.runner.run(id),
    () => all.runner.abort(id),
    () => work?.end(),
    () => work?.fail(new Fault('NodeNotFound', 'x')),
    () => work?.context.save({ n: 1 }),
    () => all.runner.setExecutionDuration(id, 5),
    () => all.clock.pass(3000),
    () => (all.clock.now() % 7 === 0 ? all.runner.remove(id) : undefined),
  ]
  try {
    await asked[what]?.()
  } catch {
    // refused, or the work is not to go on: both are answers
  }
  await settle()
}
