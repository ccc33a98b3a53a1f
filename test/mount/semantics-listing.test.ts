// mount/SEMANTICS.md "Names", the part about open folders. No kernel: positions are what counts.
import t from 'tap'
import { Directory } from '../../mount/directory.ts'
import { FoldersAhead } from '../../mount/folders-ahead.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { HOME } from './driver-harness.ts'
import { errnoOf, walk } from './tree-harness.ts'

/** Up to `count` entries from a position on: names, and the position after each. */
async function take(directory: Directory, offset: number, count: number): Promise<[name: string, next: number][]> {
  const taken: [string, number][] = []
  for (let before = -1, at = offset; at !== before && taken.length < count;) {
    before = at
    await directory.read(at, ({ name }, next) => {
      if (taken.length >= count) return false
      taken.push([name, next])
      at = next
      return true
    })
  }
  return taken
}

void t.test('listing-positions', async (t) => {
  const mount = await walk(t)
  const names = Array.from({ length: 25_000 }, (_, i) => `f${String(i).padStart(5, '0')}`)
  for (const name of names) mount.remote.write(`${HOME}/crowd/${name}`, '')
  const inode = await mount.find('crowd')
  const directory = new Directory(mount.tree, inode)
  const all = await take(directory, 0, Infinity)
  t.same(
    all.map(([name]) => name),
    ['.', '..', ...names],
  )
  for (const [name, next] of [all[0], all[1], all[2], all[9_999], all[24_990], all[100]].flatMap((one) =>
    one ? [one] : [],
  )) {
    const index = all.findIndex(([other]) => other === name)
    t.same(await take(directory, next, 3), all.slice(index + 1, index + 4), `the position after ${name} stays good`)
  }
  t.same(await take(directory, all.at(-1)?.[1] ?? 0, 3), [], 'and so does the end')
  mount.remote.write(`${HOME}/crowd/a-new-one`, '')
  await mount.unlink('crowd/f00000')
  t.same(
    (await take(directory, 0, 5)).map(([name]) => name),
    ['.', '..', 'a-new-one', 'f00001', 'f00002'],
    'rewinddir',
  )
  directory.close()
})

void t.test('listing-positions', async (t) => {
  const mount = await walk(t)
  for (const name of ['a', 'b', 'c', 'd']) mount.remote.write(`${HOME}/${name}`, '')
  const directory = new Directory(mount.tree, mount.tree.table.root)
  const first = await take(directory, 0, 3)
  await mount.unlink('c')
  const rest: (string | undefined)[] = []
  await directory.read(
    first.at(-1)?.[1] ?? 0,
    ({ name, inode }) => rest.push(inode === undefined ? name : `${name} known`) > 0,
  )
  t.same(
    rest.filter((name) => name?.startsWith('c')).every((name) => name === 'c'),
    true,
    'what was listed before a change here is a name and no more',
  )
  t.equal(await mount.tree.lookup(mount.tree.table.root, 'c'), undefined)
  directory.close()
})

void t.test('a listing that fails says so, and the next open tries again', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/x`, '')
  mount.remote.failNext(1, new Fault('PermissionDenied', 'on order'), 'list')
  t.equal(await errnoOf(mount.list('/')), 'EACCES')
  t.same(await mount.list('/'), ['.', '..', 'x'])
})

void t.test('entries that the kernel did not take are not remembered', async (t) => {
  const mount = await walk(t)
  for (let i = 0; i < 100; i++) mount.remote.write(`${HOME}/f${i}`, '')
  const directory = new Directory(mount.tree, mount.tree.table.root)
  await directory.read(2, () => false)
  t.equal(mount.tree.table.size, 1)
  directory.close()
})

void t.test('folders-ahead', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  const { tree, remote } = mount
  tree.foldersAhead = new FoldersAhead(tree, remote.page.bind(remote))
  const folders = Array.from({ length: 10 }, (_, i) => `top/d${i}`)
  for (const name of folders) remote.write(`${HOME}/${name}/file`, 'x')
  await mount.list('top')
  remote.calls.splice(0)
  for (const name of folders) t.same(await mount.list(name), ['.', '..', 'file'])
  t.equal(remote.count('list'), 2, 'the first two are waited for')
  t.equal(remote.count('page'), 8, 'the others are asked for before')
})
