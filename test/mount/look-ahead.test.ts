// Names read ahead by the page: fewer requests, and nothing is believed that is older than it may be.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Doubts } from '../../mount/doubts.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { errnoOf, walk, type Walked } from './tree-harness.ts'

const HOME = '/home/alice'
const COUNT = 60
const names = Array.from({ length: COUNT }, (_, i) => `f${i}`)

async function folder(t: Test, ttl = 60, count = COUNT): Promise<Walked> {
  const walked = await walk(t, { ttl, ahead: true })
  for (let i = 0; i < count; i++) walked.remote.write(`${HOME}/many/f${i}`, `${i}`)
  return walked
}

async function look(
  { tree, find }: Pick<Walked, 'tree' | 'find'>,
  some: readonly string[],
): Promise<(number | undefined)[]> {
  const many = await find('/many')
  const sizes = []
  for (const name of some) sizes.push((await tree.lookup(many, name))?.entry.size)
  return sizes
}

const bound = (walked: Walked) => ({ tree: walked.tree, find: walked.find.bind(walked) })

t.test('names that are asked for one after the other come by the page', async (t) => {
  const walked = await folder(t)
  walked.remote.calls.splice(0)
  t.same(
    await look(bound(walked), names),
    names.map((_, i) => String(i).length),
  )
  const calls = walked.remote.calls.map(({ name }) => name)
  t.equal(calls.filter((name) => name === 'page').length, 1)
  t.ok(calls.length < 10, `${calls.length} calls for ${COUNT} names`)
})

t.test('a name or two cost no page', async (t) => {
  const walked = await folder(t)
  await look(bound(walked), ['f1', 'f2'])
  t.equal(walked.remote.count('page'), 0)
})

t.test('what is older than the time-to-live is asked for again, however late it was looked at', async (t) => {
  const walked = await folder(t, 0.2)
  await look(bound(walked), names.slice(0, 10))
  await sleep(150)
  const at = performance.now()
  t.same(await look(bound(walked), ['f20']), [2])
  walked.remote.write(`${HOME}/many/f20`, 'longer than before')
  walked.remote.write(`${HOME}/many/f30`, 'longer than before')
  await sleep(Math.max(0, 100 - (performance.now() - at)))
  t.same(await look(bound(walked), ['f20', 'f30']), [18, 18], 'its age counts from when the page was asked for')
})

t.test('what this mount changed is seen at once', async (t) => {
  const walked = await folder(t)
  await look(bound(walked), names.slice(0, 10))
  const many = await walked.find('/many')
  await walked.tree.rename(many, 'f20', many, 'f21', 'replace')
  await walked.tree.unlink(many, 'f22')
  t.same(await look(bound(walked), ['f20', 'f21', 'f22', 'f23']), [undefined, 2, undefined, 2])
})

t.test('what is said to have changed elsewhere is asked for', async (t) => {
  const walked = await folder(t)
  const doubts = new Doubts(walked.tree)
  walked.tree.doubts = doubts
  await look(bound(walked), names.slice(0, 10))
  const many = await walked.find('/many')
  doubts.note(walked.remote.write(`${HOME}/many/f20`, 'changed elsewhere').id)
  walked.remote.write(`${HOME}/many/f30`, 'another of that name')
  doubts.note(`${many.nodeid}/f30`)
  t.same(await look(bound(walked), ['f20', 'f30', 'f31']), [17, 20, 2])
})

t.test('of a folder that is larger than a page, what comes next', async (t) => {
  const walked = await folder(t, 60, 2500)
  walked.remote.calls.splice(0)
  const some = Array.from({ length: 300 }, (_, i) => `f${2000 + i}`)
  t.same(
    await look(bound(walked), some),
    some.map(() => 4),
  )
  t.ok(walked.remote.calls.length < 60, `${walked.remote.calls.length} calls for 300 names`)
})

t.test('pages of no use become rare', async (t) => {
  const walked = await folder(t, 60, 1000)
  const absent = Array.from({ length: 400 }, (_, i) => `none-${i}`)
  t.same(
    await look(bound(walked), absent),
    absent.map(() => undefined),
  )
  t.ok(walked.remote.count('page') <= 5, `${walked.remote.count('page')} pages`)
})

t.test('a refused page is no error, nor asked for again and again', async (t) => {
  const walked = await folder(t)
  walked.remote.failNext(1000, new Fault('PermissionDenied', HOME), 'page')
  t.same(
    await look(bound(walked), names),
    names.map((_, i) => String(i).length),
  )
  t.equal(walked.remote.count('page'), 1)
  t.equal(await errnoOf(walked.find('/many/none')), 'ENOENT')
})
