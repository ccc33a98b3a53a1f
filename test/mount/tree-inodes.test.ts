// Inodes: what the kernel holds and forgets, what is believed and for how long, and what others do behind the mount's back.
import t from 'tap'
import { mkdir } from '../../mount/make.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { HOME, sleep } from './driver-harness.ts'
import { errnoOf, O, walk } from './tree-harness.ts'

const at = (name: string) => nodePath(`${HOME}/${name}`)

void t.test('it forgets an inode when the kernel has given back every lookup, and not before', async (t) => {
  const { tree, remote } = await walk(t)
  remote.write(at('d/f'), 'x')
  const { table } = tree
  const folder = await tree.lookup(table.root, 'd')
  t.ok(folder !== undefined)
  if (folder === undefined) return
  folder.lookups = 3
  const file = await tree.lookup(folder, 'f')
  if (file === undefined) return
  file.lookups = 1
  t.equal(table.size, 3)
  table.forget(folder.nodeid, 2)
  t.equal(table.get(folder.nodeid), folder)
  table.forget(file.nodeid, 1)
  t.equal(table.size, 2)
  t.equal(await errnoOf(() => table.get(file.nodeid)), 'ESTALE')
  table.forget(folder.nodeid, 1)
  table.forget(folder.nodeid, 1)
  table.forget(table.root.nodeid, 99)
  t.equal(table.size, 1, 'the root stays')
  t.equal((await tree.lookup(table.root, 'd'))?.nodeid === folder.nodeid, false, 'a number is never used twice')
})

void t.test('it keeps what is open after the kernel forgot it', async (t) => {
  const mount = await walk(t)
  const fh = await mount.open('f', O.O_RDWR | O.O_CREAT)
  const { inode } = mount.files.get(fh)
  mount.tree.table.forget(inode.nodeid, inode.lookups)
  mount.write(fh, 0, 'written')
  await mount.close(fh)
  t.equal(mount.remote.bytes(at('f'))?.toString(), 'written')
  t.equal(mount.tree.table.size, 1)
})

void t.test('a renamed folder takes the paths of all below along', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(at('a/b/c'), 'deep')
  const file = await mount.find('a/b/c')
  await mount.mkdir('other')
  await mount.rename('a', 'other/moved')
  t.equal(mount.tree.table.path(file), at('other/moved/b/c'))
  mount.remote.calls.splice(0)
  t.equal(await mount.find('other/moved/b/c'), file)
  t.equal(mount.remote.count('entry'), 0, 'and nothing has to be asked again')
})

void t.test('within the time-to-live nothing is asked twice, after it everything once', async (t) => {
  const mount = await walk(t, { ttl: 0.2 })
  mount.remote.write(at('d/f'), 'x')
  await mount.stat('d/f')
  await mount.stat('d/f')
  t.equal(mount.remote.count('entry'), 2)
  await sleep(250)
  await mount.stat('d/f')
  t.equal(mount.remote.count('entry'), 4)
  await mount.list('d')
  await mount.stat('d/f')
  t.equal(mount.remote.count('entry'), 4, 'a listing says all that a stat asks for')
})

void t.test('what others renamed is the same file at its new name, and the same inode if it is open', async (t) => {
  const mount = await walk(t)
  for (const name of ['f', 'open']) mount.remote.write(at(name), 'x')
  const [shut, open] = [await mount.find('f'), await mount.find('open')]
  const fh = await mount.open('open', O.O_RDONLY)
  await mount.remote.rename(at('f'), at('g'), 'replace')
  await mount.remote.rename(at('open'), at('o'), 'replace')
  const found = await mount.find('g')
  t.equal(found.ino, shut.ino)
  t.not(found.nodeid, shut.nodeid, 'the kernel would open it by its old name too')
  t.equal(await mount.find('o'), open)
  t.equal(await errnoOf(mount.find('f')), 'ENOENT')
  t.equal(mount.tree.table.path(open), at('o'))
  await mount.close(fh)
  const size = mount.tree.table.size
  mount.tree.table.forget(shut.nodeid, shut.lookups)
  t.equal(mount.tree.table.size, size - 1, 'the old number goes when the kernel forgets it')
})

void t.test('what others replaced is another inode, and the old one is stale', async (t) => {
  const mount = await walk(t)
  mount.remote.write(at('f'), 'old')
  const before = await mount.find('f')
  mount.remote.write(at('new'), 'new')
  await mount.remote.rename(at('new'), at('f'), 'replace')
  t.equal(await errnoOf(mount.tree.refresh(before)), 'ESTALE')
  const after = await mount.find('f')
  t.not(after, before)
  t.equal(await mount.readFile('f'), 'new')
})

void t.test('an answer that was under way while this mount made a change is not believed', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(at('f'), 'x')
  const inode = await mount.find('f')
  const release = mount.remote.hold('entry')
  const late = mount.tree.refresh(inode)
  await mount.setattr('f', { mode: 0o600 })
  const shown = inode.entry
  release()
  await late
  t.equal(inode.entry, shown)
})

void t.test('a lookup that a rename of this mount overtakes finds what is true then', async (t) => {
  const mount = await walk(t)
  mount.remote.write(at('f'), 'x')
  const inode = await mount.find('f')
  const { root } = mount.tree.table
  const release = mount.remote.hold('entry')
  const late = mount.tree.lookup(root, 'f')
  await sleep(5)
  await mount.tree.rename(root, 'f', root, 'g', 'replace')
  release()
  t.equal(await late, undefined)
  t.equal(mount.tree.table.path(inode), at('g'))
})

void t.test('a folder renamed while something is made in it is found again', async (t) => {
  const mount = await walk(t, { ttl: 60 })
  mount.remote.write(at('a/x'), '')
  const folder = await mount.find('a')
  const { root } = mount.tree.table
  const release = mount.remote.hold('mkdir')
  const made = mkdir(mount.tree, folder, 'new', 0o755)
  await sleep(5)
  await mount.tree.rename(root, 'a', root, 'b', 'replace')
  release()
  t.equal(mount.tree.table.path(await made), at('b/new'))
  t.ok(mount.remote.paths().includes(at('b/new')))
})

void t.test('refusals come with the errno of the gateway', async (t) => {
  const mount = await walk(t)
  mount.remote.write(at('f'), 'x')
  for (const [call, name] of [
    [() => mount.mkdir('d'), 'mkdir'],
    [() => mount.unlink('f'), 'remove'],
    [() => mount.rename('f', 'g'), 'rename'],
    [() => mount.setattr('f', { mode: 0 }), 'setattr'],
    [() => mount.open('f', O.O_RDONLY), 'entry'],
    [() => mount.open('new', O.O_WRONLY | O.O_CREAT), 'put'],
  ] as const) {
    mount.remote.heal()
    mount.remote.failNext(1, new Fault('NodeLocked', 'on order'), name)
    t.equal(await errnoOf(call()), 'EPERM', name)
  }
  t.same(mount.remote.paths().slice(2), [at('f')])
})
