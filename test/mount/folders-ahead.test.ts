// Folders that are listed before somebody reads them: fewer waits, and nothing is believed that is older than it may be.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Doubts } from '../../mount/doubts.ts'
import { FoldersAhead } from '../../mount/folders-ahead.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { errnoOf, walk, type Walked } from './tree-harness.ts'

const TOP = '/home/alice/top'
const COUNT = 12
const folders = Array.from({ length: COUNT }, (_, i) => `d${String(i).padStart(2, '0')}`)

/** Folders of a folder that has just been read, with two files in each. */
async function grown(t: Test, ttl = 60, each = 2): Promise<Walked> {
  const walked = await walk(t, { ttl })
  const { tree, remote } = walked
  tree.foldersAhead = new FoldersAhead(tree, remote.page.bind(remote))
  for (const name of folders) for (let i = 0; i < each; i++) remote.write(`${TOP}/${name}/f${i}`, 'x')
  await walked.list('top')
  remote.calls.splice(0)
  return walked
}

const pages = ({ remote }: Walked): string[] =>
  remote.calls.flatMap(({ name, args }) => (name === 'page' ? [String(args[0]).slice(TOP.length + 1)] : []))
const lists = ({ remote }: Walked): number => remote.count('list')

void t.test('of folders read in order all but the first two are listed ahead, each once', async (t) => {
  const walked = await grown(t)
  for (const name of folders) t.same(await walked.list(`top/${name}`), ['.', '..', 'f0', 'f1'])
  t.equal(lists(walked), 2)
  t.same(pages(walked), folders.slice(2))
})

void t.test('rewinddir asks anew', async (t) => {
  const walked = await grown(t)
  for (const name of folders.slice(0, 4)) await walked.list(`top/${name}`)
  const before = lists(walked)
  walked.remote.write(`${TOP}/d03/another`, '')
  await walked.list('top/d03')
  t.equal(lists(walked), before + 1)
})

void t.test('what this mount changes is seen at once', async (t) => {
  const walked = await grown(t)
  for (const name of folders.slice(0, 2)) await walked.list(`top/${name}`)
  await walked.mkdir('top/d02/mine')
  await walked.unlink('top/d03/f0')
  t.same(await walked.list('top/d02'), ['.', '..', 'f0', 'f1', 'mine'])
  t.same(await walked.list('top/d03'), ['.', '..', 'f1'])
  await walked.rename('top/d05', 'top/d99')
  t.same(await walked.list('top/d04'), ['.', '..', 'f0', 'f1'])
  t.same(await walked.list('top/d99'), ['.', '..', 'f0', 'f1'])
})

void t.test('so is what news tell of, in the folder or of a file in it', async (t) => {
  const walked = await grown(t)
  const { tree, remote } = walked
  tree.doubts = new Doubts(tree)
  for (const name of folders.slice(0, 2)) await walked.list(`top/${name}`)
  remote.write(`${TOP}/d02/new`, '')
  tree.doubts.note((await walked.find('top/d02')).entry.id)
  t.same(await walked.list('top/d02'), ['.', '..', 'f0', 'f1', 'new'])
  tree.doubts.note(remote.write(`${TOP}/d03/f0`, 'longer').id)
  await walked.list('top/d03')
  t.equal((await walked.stat('top/d03/f0')).size, 6)
})

void t.test('nothing is believed for longer than from when it was asked for', async (t) => {
  const walked = await grown(t, 0.3)
  for (const name of folders.slice(0, 2)) await walked.list(`top/${name}`)
  await sleep(200)
  const asked = lists(walked)
  walked.remote.write(`${TOP}/d02/f0`, 'longer')
  await walked.list('top/d02')
  if (lists(walked) === asked) {
    await sleep(150)
    t.equal((await walked.stat('top/d02/f0')).size, 6, 'the attributes are as old as the listing')
  }
  await sleep(350)
  walked.remote.write(`${TOP}/d03/new`, '')
  t.same(await walked.list('top/d03'), ['.', '..', 'f0', 'f1', 'new'])
})

void t.test('what is known better is not forgotten for it', async (t) => {
  const walked = await grown(t)
  for (const name of folders.slice(0, 2)) await walked.list(`top/${name}`)
  await sleep(2)
  walked.remote.write(`${TOP}/d02/f0`, 'longer')
  t.equal((await walked.stat('top/d02/f0')).size, 6)
  await walked.list('top/d02')
  t.equal((await walked.stat('top/d02/f0')).size, 6)
})

void t.test('folders read out of order, one, and large ones cost little', async (t) => {
  const walked = await grown(t)
  for (const name of folders.toReversed()) await walked.list(`top/${name}`)
  t.equal(lists(walked), COUNT)
  t.ok(pages(walked).length <= 2 * 3, `${pages(walked).length} pages`)

  const one = await grown(t)
  await one.list('top/d05')
  t.same(pages(one), [])

  const large = await grown(t, 60, 1001)
  for (const name of folders) t.equal((await large.list(`top/${name}`)).length, 1003)
  t.equal(lists(large), COUNT)
  t.ok(pages(large).length <= 5, `${pages(large).length} pages`)
})

void t.test('a refusal is told to who reads the folder, by the gateway', async (t) => {
  const walked = await grown(t)
  await walked.list('top/d00')
  walked.remote.failNext(2, new Fault('PermissionDenied', 'on order'), 'page')
  await walked.list('top/d01')
  t.same(await walked.list('top/d02'), ['.', '..', 'f0', 'f1'])
  walked.remote.failNext(1, new Fault('PermissionDenied', 'on order'), 'list')
  t.equal(await errnoOf(walked.list('top/d03')), 'EACCES')
})
