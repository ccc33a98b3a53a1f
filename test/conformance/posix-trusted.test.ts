/** The POSIX tree as trusted mounts have it: ids, modes and ACLs as a kernel would make them, and nodes that VOSpace does not know. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Backend, type PosixCalls, type PosixDraft } from '../../src/backend/backend.ts'
import { getXattr, setXattr } from '../../src/libc/xattr.ts'
import { type Entry } from '../../src/vospace/node.ts'
import { ACCESS_ACL, buildAcl, DEFAULT_ACL, parseAcl } from '../../src/vospace/posix-acl.ts'
import { nameOf, nodePath } from '../../src/vospace/path.ts'
import { body, bytesOf, container, entryAt, file, md5, refused } from './backend.ts'
import { p } from './cases.ts'
import { debris, directory, notRoot, posix } from './posix-tree.ts'

const FORMAT = { dir: 0o040000, file: 0o100000, link: 0o120000, fifo: 0o010000, socket: 0o140000, char: 0o020000 }
const of = (mode: number, more: Partial<PosixDraft> = {}): PosixDraft => ({
  uid: 6001,
  gid: 6002,
  mode,
  umask: 0,
  ...more,
})

interface Opened {
  readonly dir: string
  readonly b: Backend
  readonly calls: PosixCalls
}

async function opened(t: Test): Promise<Opened> {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  t.teardown(async () => {
    if (debris(dir).length > 0) throw new Error(`left aside: ${debris(dir).join(', ')}`)
    await b.stop()
    dispose()
  })
  if (b.posix === undefined) throw new Error('root mode has no PosixCalls')
  return { dir, b, calls: b.posix }
}

const seenBy = async (calls: Pick<Backend, 'list'>): Promise<string[]> => {
  const names: string[] = []
  for await (const entry of calls.list(p('/'))) names.push(nameOf(entry.path))
  return names
}

const entryOf = async (calls: PosixCalls, path: string): Promise<Entry> => {
  const entry = (await calls.walk(nodePath(path))).at(-1)
  if (entry?.path !== path) throw new Error(`nothing at ${path}`)
  return entry
}

void t.test(
  'a time that is set names no bytes that it has not seen, and no other node',
  { skip: notRoot },
  async (t) => {
    const { dir, b, calls } = await opened(t)
    await b.put(p('/f'), body('first'), { draft: file })
    appendFileSync(`${dir}/f`, ' and more, past the gateway')
    t.notOk((await entryOf(calls, '/f')).md5)
    t.notOk((await calls.set({ path: p('/f') }, { mtime: 5n })).md5)
    t.notOk((await entryOf(calls, '/f')).md5)
    // one that was replaced has kept its id, which a copy of its inode does not get
    const { id } = await b.put(p('/f'), body('second'), { draft: file })
    execFileSync('cp', ['-a', `${dir}/f`, `${dir}/copy`])
    const before = await entryOf(calls, '/copy')
    t.not(before.id, id)
    const timed = await calls.set({ path: p('/copy') }, { mtime: 5n })
    t.match(timed, { id: before.id, contentVersion: before.contentVersion })
    t.notOk(timed.md5)
    t.match(await calls.set({ path: p('/f') }, { mtime: 6n }), { id, md5: md5('second') })
  },
)

void t.test('everything is made with the ids and the mode that were asked for', { skip: notRoot }, async (t) => {
  const { dir, calls } = await opened(t)
  const kinds: [string, number, Partial<PosixDraft>][] = [
    ['/dir', FORMAT.dir | 0o3751, {}],
    ['/file', FORMAT.file | 0o6755, {}],
    ['/fifo', FORMAT.fifo | 0o640, {}],
    ['/socket', FORMAT.socket | 0o600, {}],
    ['/char', FORMAT.char | 0o620, { device: 0x103 }],
    ['/masked', FORMAT.file | 0o666, { umask: 0o027 }],
  ]
  for (const [path, mode, more] of kinds) {
    const made = await calls.make(p(path), of(mode, more))
    const stat = lstatSync(dir + path)
    t.same([stat.uid, stat.gid, stat.mode], [6001, 6002, mode & ~(more.umask ?? 0)], path)
    t.equal(stat.rdev, more.device ?? 0)
    t.same([made.uid, made.gid, made.path], [6001, 6002, path])
  }
  const link = await calls.make(p('/link'), of(FORMAT.link | 0o777, { text: Buffer.from('else/where') }))
  t.same([link.type, String(link.text), link.uid, lstatSync(`${dir}/link`).uid], ['link', 'else/where', 6001, 6001])
})

void t.test('what VOSpace does not know is seen by trusted mounts alone', { skip: notRoot }, async (t) => {
  const { b, calls } = await opened(t)
  await calls.make(p('/fifo'), of(FORMAT.fifo | 0o600))
  await calls.make(p('/char'), of(FORMAT.char | 0o600, { device: 0x501 }))
  await calls.make(p('/file'), of(FORMAT.file | 0o600))
  t.same(await seenBy(b), ['file'])
  t.same(await seenBy(calls), ['char', 'fifo', 'file'])
  t.same((await b.walk(p('/fifo'))).length, 1)
  const fifo = await entryOf(calls, '/fifo')
  t.match(fifo, { type: 'data', size: 0, special: { format: FORMAT.fifo, device: 0 } })
  t.match(await entryOf(calls, '/char'), { special: { format: FORMAT.char, device: 0x501 } })
  await refused(t, b.remove(p('/fifo'), 'leaf'), 'NodeNotFound')
  await refused(t, b.set({ path: p('/fifo') }, { mode: 0o777 }), 'NodeNotFound')
  await refused(t, b.put(p('/fifo'), body('x'), { draft: file }), 'TypeNotSupported')
  t.match(await calls.set({ path: p('/fifo'), id: fifo.id }, { mode: 0o644, uid: 1 }), { mode: 0o644, uid: 1 })
  t.match(await calls.link({ path: p('/fifo') }, p('/fifo2')), { nlink: 2, id: fifo.id })
  t.match(await calls.move(p('/fifo'), p('/file'), { replace: true }), { id: fifo.id, path: '/file' })
  await calls.remove(p('/file'), 'leaf')
  await calls.remove(p('/fifo2'), 'leaf')
  t.same(await seenBy(calls), ['char'])
})

void t.test('of racers for one name one makes it, and a taken name is left alone', { skip: notRoot }, async (t) => {
  const { calls } = await opened(t)
  const race = [0, 1, 2, 3].map((i) => calls.make(p('/one'), of(FORMAT.fifo | 0o600, { uid: 100 + i })))
  const settled = await Promise.allSettled(race)
  t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
  t.ok((await entryOf(calls, '/one')).uid >= 100)
  await refused(t, calls.make(p('/'), of(FORMAT.dir | 0o755)), 'DuplicateNode')
  await refused(t, calls.make(p('/none/x'), of(FORMAT.file | 0o644)), 'ContainerNotFound')
  await refused(t, calls.make(p('/one/x'), of(FORMAT.file | 0o644)), 'ContainerNotFound')
})

void t.test('what is ours is out of reach', { skip: notRoot }, async (t) => {
  const { calls } = await opened(t)
  for (const call of [
    calls.make(p('/.karst'), of(FORMAT.dir | 0o755)),
    calls.make(p('/.karst/staging/x'), of(FORMAT.file | 0o644)),
    calls.walk(p('/.karst')),
    calls.set({ path: p('/.karst') }, { mode: 0o777 }),
    calls.remove(p('/.karst'), 'container'),
    calls.acl({ path: p('/.karst') }, 'access'),
  ])
    await refused(t, call, 'PermissionDenied')
})

void t.test('group and mode come from a set-group-ID container', { skip: notRoot }, async (t) => {
  const { dir, calls } = await opened(t)
  await calls.make(p('/g'), of(FORMAT.dir | 0o2775, { gid: 4242 }))
  await calls.make(p('/g/dir'), of(FORMAT.dir | 0o755))
  await calls.make(p('/g/file'), of(FORMAT.file | 0o644))
  await calls.make(p('/g/link'), of(FORMAT.link | 0o777, { text: Buffer.from('x') }))
  t.same([statSync(`${dir}/g/dir`).gid, statSync(`${dir}/g/dir`).mode & 0o7777], [4242, 0o2755])
  t.same([statSync(`${dir}/g/file`).gid, statSync(`${dir}/g/file`).mode & 0o7777], [4242, 0o644])
  t.equal(lstatSync(`${dir}/g/link`).gid, 4242)
})

void t.test('a default ACL is taken on as the kernel takes it on, whatever the umask', { skip: notRoot }, async (t) => {
  const { dir, calls } = await opened(t)
  const named = [
    { kind: 'user', id: 7, perm: 7 },
    { kind: 'group', id: 8, perm: 6 },
  ] as const
  const byDefault = buildAcl({ owner: 7, group: 5, other: 4, mask: 7, named })
  const value = await calls.make(p('/d'), of(FORMAT.dir | 0o755))
  t.equal((await calls.setAcl({ path: p('/d'), id: value.id }, 'default', byDefault)).hasAcl, true)
  for (const mode of [0o644, 0o600, 0o777]) {
    await calls.make(p('/d/ours'), of(FORMAT.file | mode, { umask: 0o077 }))
    await calls.make(p('/d/sub'), of(FORMAT.dir | mode, { umask: 0o077 }))
    // the kernel's own, by mkdir of this process
    mkdirSync(join(dir, 'd/theirs'), mode)
    for (const name of [ACCESS_ACL, DEFAULT_ACL])
      t.same(getXattr(join(dir, 'd/sub'), name), getXattr(join(dir, 'd/theirs'), name), `${name} of ${mode}`)
    t.equal(statSync(join(dir, 'd/sub')).mode, statSync(join(dir, 'd/theirs')).mode)
    t.same(getXattr(join(dir, 'd/ours'), ACCESS_ACL), getXattr(join(dir, 'd/theirs'), ACCESS_ACL))
    t.equal(getXattr(join(dir, 'd/ours'), DEFAULT_ACL), undefined)
    await calls.remove(p('/d/ours'), 'leaf')
    for (const sub of ['/d/sub', '/d/theirs']) await calls.remove(p(sub), 'container')
  }
  await calls.setAcl({ path: p('/d') }, 'default', null)
  t.equal(await calls.acl({ path: p('/d') }, 'default'), undefined)
  await refused(t, calls.setAcl({ path: p('/d') }, 'access', Buffer.from('garbage')), 'OperationNotSupported')
})

void t.test('an ACL is kept as it is set, its mask too, and chmod moves the mask', { skip: notRoot }, async (t) => {
  const { calls } = await opened(t)
  await calls.make(p('/f'), of(FORMAT.file | 0o644))
  const named = [{ kind: 'group', id: 7001, perm: 6 }] as const
  const acl = buildAcl({ owner: 6, group: 4, other: 0, mask: 4, named })
  const entry = await calls.setAcl({ path: p('/f') }, 'access', acl)
  t.same(await calls.acl({ path: p('/f') }, 'access'), acl)
  t.same(entry.access.groupRead, ['ivo://karst.local/gms?astro'], 'sharing is what the kernel lets them do')
  await calls.set({ path: p('/f') }, { mode: 0o660, mtime: 5n })
  t.same(parseAcl((await calls.acl({ path: p('/f') }, 'access')) ?? Buffer.alloc(0))?.mask, 6)
  t.same((await entryOf(calls, '/f')).access.groupWrite, ['ivo://karst.local/gms?astro'])
})

void t.test(
  'owner, mode and times are set as the kernel sets them, and the bytes stay who they are',
  { skip: notRoot },
  async (t) => {
    const { dir, b, calls } = await opened(t)
    const put = await b.put(p('/f'), body('abc'), { draft: file })
    await calls.set({ path: p('/f') }, { mode: 0o6755 })
    const given = await calls.set({ path: p('/f') }, { uid: 5002 })
    t.same([given.uid, given.gid, given.mode], [5002, put.gid, 0o755], 'another owner does not run as the old one')
    const timed = await calls.set({ path: p('/f') }, { atime: 1_000_000_001n, mtime: -5n })
    t.same([timed.atime, timed.mtime], [1_000_000_001n, -5n])
    t.same([timed.contentVersion, timed.md5], [put.contentVersion, md5('abc')])
    t.same((await entryAt(b, p('/f')))?.contentVersion, put.contentVersion)
    const omitted = await calls.set({ path: p('/f') }, { atime: 7n })
    t.same([omitted.atime, omitted.mtime], [7n, -5n])
    await b.make(p('/l'), { ...file, type: 'link', text: Buffer.from('f') })
    t.match(await calls.set({ path: p('/l') }, { uid: 9, gid: 10, mtime: 77n }), { uid: 9, gid: 10, mtime: 77n })
    t.equal(statSync(`${dir}/f`).uid, 5002, 'what the link leads to is left alone')
    await refused(t, calls.set({ path: p('/l') }, { mode: 0o600 }), 'OperationNotSupported')
    await refused(t, calls.set({ path: p('/f'), id: 'another' }, { mode: 0o600 }), 'NodeNotFound')
  },
)

void t.test('two names of a file show the same bytes, whichever is written by', { skip: notRoot }, async (t) => {
  const { dir, b } = await opened(t)
  const first = await b.put(p('/a'), body('one'), { draft: file })
  await b.make(p('/d'), container)
  const second = await b.link({ path: p('/a') }, p('/d/b'))
  t.same([second.id, second.nlink, second.path], [first.id, 2, '/d/b'])
  const put = await b.put(p('/d/b'), body('another one'), { draft: file, changes: { mtime: 99n } })
  t.same([put.id, put.mtime], [first.id, 99n])
  t.not(put.contentVersion, first.contentVersion)
  t.equal(String(await bytesOf(b, p('/a'))), 'another one')
  await refused(t, b.put(p('/a'), body('x'), { ifContentVersion: first.contentVersion }), 'PreconditionFailed')
  await refused(t, b.put(p('/a'), body('x'), { md5: md5('y') }), 'PreconditionFailed')
  await refused(t, b.put(p('/a'), body('x'), { length: 2 }), 'PreconditionFailed')
  await refused(t, b.put(p('/a'), body('x'), { draft: file, ifAbsent: true }), 'DuplicateNode')
  t.equal(String(await bytesOf(b, p('/d/b'))), 'another one')
  await refused(t, b.link({ path: p('/a') }, p('/d/b')), 'DuplicateNode')
  await refused(t, b.link({ path: p('/d') }, p('/e')), 'TypeNotSupported')
  await refused(t, b.link({ path: p('/a') }, p('/none/b')), 'ContainerNotFound')
  await refused(t, b.link({ path: p('/a') }, p('/.karst/b')), 'PermissionDenied')
  await b.remove(p('/a'), 'data')
  t.same([(await entryAt(b, p('/d/b')))?.nlink, String(await bytesOf(b, p('/d/b')))], [1, 'another one'])
  t.same(readdirSync(`${dir}/d`), ['b'])
})

void t.test('properties too long for an attribute stay with the last name', { skip: notRoot }, async (t) => {
  const { b } = await opened(t)
  const properties = new Map([['ivo://x/long', 'x'.repeat(9000)]])
  await b.put(p('/a'), body('1'), { draft: { ...file, properties } })
  await b.link({ path: p('/a') }, p('/b'))
  await b.remove(p('/a'), 'data')
  t.equal((await entryAt(b, p('/b')))?.properties.get('ivo://x/long')?.length, 9000)
})

void t.test('a symlink put in the place of what was looked at is not followed', { skip: notRoot }, async (t) => {
  const { dir, calls } = await opened(t)
  await calls.make(p('/real'), of(FORMAT.dir | 0o755))
  setXattr(`${dir}/real`, 'user.mark', Buffer.from('1'))
  await calls.make(p('/way'), of(FORMAT.link | 0o777, { text: Buffer.from('real') }))
  await refused(t, calls.make(p('/way/x'), of(FORMAT.file | 0o644)), 'ContainerNotFound')
  await refused(t, calls.remove(p('/way/x'), 'leaf'), 'ContainerNotFound')
  t.same(readdirSync(`${dir}/real`), [])
})

void t.test('a tree that is not kept as root has none of this but second names', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode: 'unprivileged', unlabelledOwner: 'alice' })
  await b.start()
  t.equal(b.posix, undefined)
  await b.put(p('/a'), body('1'), { draft: file })
  t.equal((await b.link({ path: p('/a') }, p('/b'))).nlink, 2)
  await b.stop()
  dispose()
})
