// Names read ahead by the page: fewer requests, and nothing is believed that is older than it may be.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Doubts } from '../../mount/doubts.ts'
import { LookAhead } from '../../mount/look-ahead.ts'
import { mkdir } from '../../mount/make.ts'
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

t.test('who goes through one folder after the other gets each by a page at once', async (t) => {
  const walked = await walk(t, { ttl: 60, ahead: true })
  for (const folder of ['a', 'b', 'c', 'd', 'e'])
    for (const name of names) walked.remote.write(`${HOME}/${folder}/${name}`, 'x')
  const asked = async (folder: string, some: readonly string[]) => {
    const found = await walked.find(`/${folder}`)
    walked.remote.calls.splice(0)
    for (const name of some) t.equal((await walked.tree.lookup(found, name))?.entry.size, 1)
    return walked.remote.calls.map(({ name }) => name)
  }
  t.ok((await asked('a', names)).length > 1)
  t.same(await asked('b', names), ['page'])
  t.same(await asked('c', ['f1']), ['page'])
  t.same(await asked('d', ['f1', 'f2']), ['entry', 'entry'], 'of which one was wanted is followed by no page')
  await asked('b', names)
  t.same(await asked('e', ['f1']), ['entry'], 'the last page counts')
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

t.test('names that are not there cost no request each, where a page covers them', async (t) => {
  const walked = await folder(t)
  await look(bound(walked), names.slice(0, 10))
  walked.remote.calls.splice(0)
  const absent = Array.from({ length: 50 }, (_, i) => `f${i}-not`)
  t.same(
    await look(bound(walked), absent),
    absent.map(() => undefined),
  )
  t.same(walked.remote.calls, [])
  const many = await walked.find('/many')
  const left = walked.tree.lookAhead?.absentFor(many, 'f1-not')
  t.ok(left !== undefined && left < 60_000, 'and are believed no longer than the page')
})

t.test('what a page does not cover is asked for', async (t) => {
  const walked = await folder(t, 60, 2500)
  await look(bound(walked), [...names.slice(0, 10), 'f2499'])
  const before = walked.remote.count('entry')
  t.same(await look(bound(walked), ['f0-not', 'f99-not']), [undefined, undefined])
  t.ok(walked.remote.count('entry') > before)
})

t.test('a name of a page is gone, or there, as soon as this mount has made it so', async (t) => {
  const walked = await folder(t)
  await look(bound(walked), names.slice(0, 10))
  const many = await walked.find('/many')
  t.same(await look(bound(walked), ['new']), [undefined])
  await walked.tree.unlink(many, 'f20')
  await walked.writeFile('/many/new', 'made')
  await walked.tree.rename(many, 'f21', many, 'f22', 'exchange')
  walked.remote.calls.splice(0)
  t.same(await look(bound(walked), ['f20', 'f23', 'f24']), [undefined, 2, 2])
  t.same(walked.remote.calls, [], 'the rest of the page is as good as before')
  t.same(await look(bound(walked), ['new']), [4])
  const [one, other] = [await walked.find('/many/f21'), await walked.find('/many/f22')]
  t.same([one.entry.path, other.entry.path], [`${HOME}/many/f21`, `${HOME}/many/f22`])
})

t.test('what this mount changes while a page is on its way is not undone by it', async (t) => {
  const walked = await folder(t)
  const { tree, remote } = walked
  const gate = Promise.withResolvers<void>()
  tree.lookAhead = new LookAhead(tree, async (...asked) => {
    const page = await remote.page(...asked)
    await gate.promise
    return page
  })
  const many = await walked.find('/many')
  const looked = look(bound(walked), names.slice(0, 4))
  await sleep(5)
  await tree.unlink(many, 'f20')
  await mkdir(tree, many, 'new', 0o755)
  gate.resolve()
  await looked
  t.same(await look(bound(walked), ['f20', 'new', 'f30']), [undefined, 0, 2])
})

t.test('a folder that this mount has made is known to be empty', async (t) => {
  const walked = await folder(t)
  await walked.mkdir('/many/new')
  walked.remote.calls.splice(0)
  t.equal(await errnoOf(walked.find('/many/new/none')), 'ENOENT')
  t.equal(walked.remote.count('entry'), 0)
  walked.remote.write(`${HOME}/many/new/some`, 'of another')
  const folderOf = await walked.find('/many/new')
  const doubts = new Doubts(walked.tree)
  walked.tree.doubts = doubts
  doubts.note(`${folderOf.nodeid}/some`)
  t.equal((await walked.find('/many/new/some')).entry.size, 10)
})

t.test('a folder that was moved has no page of where it was', async (t) => {
  const walked = await folder(t)
  await look(bound(walked), names.slice(0, 10))
  await walked.rename('/many', '/moved')
  walked.remote.write(`${HOME}/moved/none`, 'there')
  t.equal((await walked.find('/moved/none')).entry.size, 5)
})

t.test('a name that is too long is no absent one', async (t) => {
  const walked = await folder(t)
  await walked.mkdir('new')
  const made = await walked.find('/new')
  t.equal(await errnoOf(walked.tree.lookup(made, 'x'.repeat(256))), 'ENAMETOOLONG')
  t.equal(await walked.tree.lookup(made, 'x'.repeat(255)), undefined)
})
