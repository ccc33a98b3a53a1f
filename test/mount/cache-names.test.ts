// Hard links in what a mount knows: one inode at several names, each of which may go.
import t from 'tap'
import { type Inode, InodeTable } from '../../mount/cache.ts'
import { type SeenEntry } from '../../src/codec/fs-v1.ts'
import { nodePath } from '../../src/vospace/path.ts'

const entry = (id: string, path: string, nlink = 1, type: SeenEntry['type'] = 'data'): SeenEntry => ({
  id,
  path: nodePath(path),
  type,
  ...{ size: 0, mode: 0o644, uid: 0, gid: 0, mtime: 0n, ctime: 0n, nlink, contentVersion: 'v', version: 'v' },
  access: { owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false },
  properties: new Map(),
  readable: true,
  writable: true,
})

function table(): { names: InodeTable; root: Inode; linked: Inode } {
  const names = new InodeTable(nodePath('/'), entry('root', '/', 2, 'container'))
  const { root } = names
  const linked = names.seen(root, 'a', entry('f', '/a'))
  linked.lookups = 1
  linked.entry = entry('f', '/a', 3)
  names.seen(root, 'b', entry('f', '/b', 3))
  names.seen(root, 'c', entry('f', '/c', 3))
  return { names, root, linked }
}

t.test('a file with several names is one inode at all of them', async (t) => {
  const { names, root, linked } = table()
  for (const name of ['a', 'b', 'c']) t.equal(names.child(root, name), linked, name)
  t.equal(names.path(linked), '/c', 'it is asked for by the newest')
  t.equal(names.size, 2)
})

t.test('when a name goes it is asked for by another that is left', async (t) => {
  const { names, root, linked } = table()
  names.leaveName(linked, root, 'b')
  t.equal(names.path(linked), '/c', 'the one it is asked for by stays')
  names.leaveName(linked, root, 'c')
  t.equal(names.path(linked), '/a', 'and b, which went before, is not taken')
  t.ok(names.stands(linked))
  names.leaveName(linked, root, 'a')
  t.notOk(names.stands(linked))
  t.equal(names.path(linked), '/a', 'the last one is a hint')
})

t.test('a name that became another’s is none of it', async (t) => {
  const { names, root, linked } = table()
  const other = names.seen(root, 'b', entry('g', '/b'))
  names.leaveName(linked, root, 'b')
  t.equal(names.child(root, 'b'), other)
  names.leavePresentName(linked)
  t.equal(names.path(linked), '/a')
})

t.test('what is removed, retired or forgotten leaves no name behind', async (t) => {
  for (const end of ['unlinked', 'retire', 'forget'] as const) {
    const { names, root, linked } = table()
    if (end === 'forget') names.forget(linked.nodeid, 1)
    else names[end](linked)
    for (const name of ['a', 'b', 'c']) t.equal(names.child(root, name), undefined, `${end} ${name}`)
    t.equal(names.byId('f'), undefined)
  }
})

t.test('names that are exchanged are each the other’s', async (t) => {
  const { names, root, linked } = table()
  const single = names.seen(root, 'single', entry('g', '/single'))
  names.exchange(linked, single, { parent: root, name: 'a' }, { parent: root, name: 'single' })
  t.equal(names.child(root, 'single'), linked)
  t.equal(names.child(root, 'a'), single)
  t.equal(names.child(root, 'b'), linked, 'its other names stay')
  t.equal(names.path(single), '/a')
})

t.test('a folder has one place', async (t) => {
  const names = new InodeTable(nodePath('/'), entry('root', '/', 2, 'container'))
  const folder = names.seen(names.root, 'd', entry('d', '/d', 5, 'container'))
  names.seen(names.root, 'e', entry('d', '/e', 5, 'container'))
  t.equal(names.child(names.root, 'd'), undefined)
  t.equal(names.path(folder), '/e')
})
