/** Trees as they are found, and as somebody wishes us ill: they list and walk, and nothing outside of them is touched. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync, closeSync, ftruncateSync, linkSync, lchownSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync,
  symlinkSync, writeFileSync,
} from 'node:fs' // prettier-ignore
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { getXattr, setXattr } from '../../src/libc/xattr.ts'
import { ACCESS_ACL, buildAcl, parseAcl } from '../../src/vospace/posix-acl.ts'
import { byteOrder, nodePath, ROOT } from '../../src/vospace/path.ts'
import { access, at, body, bytesOf, container, entryAt, extents, file, GROUPS, namesIn, refused } from './backend.ts'
import { directory, isRoot, notRoot, openDescriptors, posix } from './posix-tree.ts'

const p = nodePath
const modes = isRoot ? (['root', 'unprivileged'] as const) : (['unprivileged'] as const)

for (const mode of modes) {
  void t.test(`a tree full of oddities, ${mode}`, async (t) => {
    const { dir, dispose } = directory()
    const served = await oddities(dir)
    const b = posix(dir, { mode, unlabelledOwner: 'carol' })
    await b.start()
    const names = await namesIn(b, ROOT)
    t.same(names, served.sort(byteOrder))
    t.equal(b.unservable, 4, 'socket, FIFO and two names')
    for (const name of names) t.match(await entryAt(b, p(`/${name}`)), { path: `/${name}` })
    t.equal((await entryAt(b, p('/plain')))?.access.owner, mode === 'root' ? 'uid:0' : 'carol')
    t.same([...((await entryAt(b, p('/labelled')))?.properties ?? [])], [['foreign', 'été']])
    t.match(await entryAt(b, p('/sparse')), { size: 1 << 30 })
    t.match(await entryAt(b, p('/self')), { type: 'link', text: Buffer.from('self') })
    for (const name of ['fifo', 'socket']) {
      await refused(t, b.read({ path: p(`/${name}`) }), 'NodeNotFound')
      await refused(t, b.put(p(`/${name}`), body('x'), { draft: file }), 'TypeNotSupported')
      await refused(t, b.put(p(`/${name}`), body('x'), { draft: file, ifAbsent: true }), 'TypeNotSupported')
      await refused(t, b.make(p(`/${name}`), container), 'DuplicateNode')
      await refused(t, b.remove(p(`/${name}`), 'leaf'), 'NodeNotFound')
    }
    await b.set({ path: p('/labelled') }, { properties: new Map([['k', 'v']]) })
    await b.put(p('/labelled'), body('new bytes'), {})
    t.same(getXattr(join(dir, 'labelled'), 'user.binary'), Buffer.from([0xff, 0, 0xfe]), 'left alone by set and put')
    await b.stop()
    t.notOk(readdirSync(dir).includes('.karst'))
    chmodSync(join(dir, 'shut'), 0o700)
    dispose()
  })

  void t.test(`links that lead out of the tree, ${mode}`, async (t) => {
    const { dir, dispose } = directory()
    const outside = directory()
    writeFileSync(join(outside.dir, 'secret'), 'secret')
    symlinkSync(outside.dir, join(dir, 'out'))
    symlinkSync(join(outside.dir, 'secret'), join(dir, 'secret'))
    const b = posix(dir, { mode })
    await b.start()
    t.equal((await b.walk(p('/out/secret'))).length, 2)
    await refused(t, namesIn(b, p('/out')), 'TypeNotSupported', 'ENOTDIR')
    for (const ref of [{ path: p('/out/secret') }]) {
      await refused(t, b.read(ref), 'ContainerNotFound', 'ENOTDIR')
      await refused(t, b.set(ref, { mode: 0o777 }), 'ContainerNotFound', 'ENOTDIR')
      await refused(t, b.amend(ref, extents(at(0, 'x')), { length: 1 }), 'ContainerNotFound', 'ENOTDIR')
      await refused(t, b.put(ref.path, body('x'), { draft: file }), 'ContainerNotFound', 'ENOTDIR')
      await refused(t, b.remove(ref.path, 'data'), 'ContainerNotFound', 'ENOTDIR')
    }
    await refused(t, b.read({ path: p('/secret') }), 'TypeNotSupported')
    await refused(t, b.put(p('/secret'), body('x'), { draft: file }), 'TypeNotSupported')
    await b.set({ path: p('/secret') }, { mode: 0o777, mtime: 5n, access: { owner: 'alice', isPublic: false } })
    t.match(await entryAt(b, p('/secret')), { type: 'link', access: { owner: 'alice', isPublic: false } })
    const copied = await b.copy(p('/secret'), p('/copy'), { access, mode: 0o777 })
    t.equal(copied.type, 'link')
    t.equal(readFileSync(join(outside.dir, 'secret'), 'utf8'), 'secret')
    t.same(readdirSync(outside.dir), ['secret'])
    await b.stop()
    dispose()
    outside.dispose()
  })

  void t.test(`a symlink swapped in for a container again and again, ${mode}`, async (t) => {
    const { dir, dispose } = directory()
    const outside = directory()
    writeFileSync(join(outside.dir, 'f'), 'outside')
    const b = posix(dir, { mode })
    await b.start()
    await b.make(p('/c'), container)
    await b.put(p('/c/f'), body('inside'), { draft: file })
    symlinkSync(outside.dir, join(dir, 'link'))
    const before = openDescriptors()
    let swapped = false
    const swap = () => {
      renameSync(join(dir, 'c'), join(dir, 'kept'))
      renameSync(join(dir, 'link'), join(dir, 'c'))
      renameSync(join(dir, 'kept'), join(dir, 'link'))
      swapped = !swapped
    }
    const slow = async function* () {
      yield Buffer.from('ins')
      swap()
      yield Buffer.from('ide')
    }
    let refusals = 0
    const attempt = async (run: () => Promise<unknown>) => run().catch(() => refusals++)
    for (let i = 0; i < 100; i++) {
      await attempt(() => b.put(p('/c/f'), slow(), { draft: file }))
      await attempt(async () => t.equal(String(await bytesOf(b, p('/c/f'))), 'inside'))
      await attempt(() => b.set({ path: p('/c/f') }, { mode: 0o600 }))
      await attempt(() => b.copy(p('/c/f'), p('/c/g'), { access, mode: 0o600 }))
      await attempt(() => b.remove(p('/c/g'), 'data'))
      if (i % 3 === 0) swap()
    }
    t.ok(refusals > 50)
    t.equal(openDescriptors(), before)
    t.same(readdirSync(outside.dir), ['f'])
    t.equal(readFileSync(join(outside.dir, 'f'), 'utf8'), 'outside')
    if (swapped) swap()
    await b.stop()
    dispose()
    outside.dispose()
  })

  void t.test(`records that somebody made up, ${mode}`, async (t) => {
    const { dir, dispose } = directory()
    const b = posix(dir, { mode })
    await b.start()
    const name = mode === 'root' ? 'trusted.karst.node' : 'user.karst.node'
    const texts = ['', '{', 'null', '[]', '7', '{"id":7}', '{"self":"../../x","id":"a/b","side":true}', '{"mode":-1,"real":"x"}',
      '{"groupRead":"all"}', '{"owner":null,"cv":"\\u0000"}', '{"__proto__":{"locked":true},"size":1e999}', `{"id":"${'x'.repeat(900)}"}`] // prettier-ignore
    for (const [i, text] of [...texts, Buffer.from([0xff, 0xfe])].entries()) {
      writeFileSync(join(dir, `f${i}`), 'x')
      setXattr(join(dir, `f${i}`), name, Buffer.from(text))
      t.match(await entryAt(b, p(`/f${i}`)), { size: 1, id: /^[a-z0-9-]+$/, access: { locked: false } })
      await b.set({ path: p(`/f${i}`) }, { properties: new Map([['k', 'v']]) })
      await b.put(p(`/f${i}`), body('y'), {})
    }
    await b.stop()
    dispose()
  })
}

void t.test('a .karst that somebody made before us', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const outside = directory()
  mkdirSync(join(dir, 'home'))
  for (const name of ['alice', 'bob']) mkdirSync(join(dir, 'home', name))
  mkdirSync(join(dir, 'home/alice/.karst/staging'), { recursive: true, mode: 0o777 })
  for (const folder of ['.karst', '.karst/staging']) lchownSync(join(dir, 'home/alice', folder), 5002, 5002)
  symlinkSync(outside.dir, join(dir, 'home/bob/.karst'))
  const b = posix(dir, { allocationParents: [p('/home')] })
  await b.start()
  await b.put(p('/home/alice/f'), body('x'), { draft: file })
  const seized = execFileSync('stat', ['-c', '%u %a', ...['.karst', '.karst/staging'].map((name) => join(dir, 'home/alice', name))]) // prettier-ignore
  t.equal(String(seized), '0 700\n0 700\n')
  await t.rejects(b.put(p('/home/bob/f'), body('x'), { draft: file }))
  t.same(readdirSync(outside.dir), [])
  await b.stop()
  dispose()
  outside.dispose()
})

void t.test('children that come and go while they are listed', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode: isRoot ? 'root' : 'unprivileged' })
  await b.start()
  for (let i = 0; i < 50; i++) await b.put(p(`/kept${i}`), body('x'), { draft: file })
  const script = 'while :; do ln -s x l; : > f; mkdir d; mv f g; rm l g; rmdir d; ln -s y g; rm g; done'
  const child = spawn('sh', ['-c', script], { cwd: dir, stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  // the pipe is closed when the last program of the script has ended, too: until then the folder changes
  const ended = once(child.stdout.resume(), 'close')
  await once(child, 'spawn')
  for (let i = 0; i < 150; i++) {
    const names = await namesIn(b, ROOT)
    if (names.filter((name) => name.startsWith('kept')).length !== 50) t.fail('a child is missing')
    for (const name of ['l', 'f', 'g', 'd']) await b.walk(p(`/${name}/x`))
  }
  child.kill('SIGKILL')
  await ended
  await b.stop()
  dispose()
})

void t.test('a damaged sidecar', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode: isRoot ? 'root' : 'unprivileged' })
  await b.start()
  await b.put(p('/f'), body('x'), { draft: { ...file, properties: new Map([['big', 'x'.repeat(9000)]]) } })
  const [name = ''] = readdirSync(join(dir, '.karst/sidecar'))
  for (const text of ['', '{', 'null', '7', '[]', '{"properties":null}']) {
    writeFileSync(join(dir, '.karst/sidecar', name), text)
    t.equal((await entryAt(b, p('/f')))?.size, 1)
  }
  await b.set({ path: p('/f') }, { properties: new Map([['big', 'y'.repeat(9000)]]) })
  t.equal((await entryAt(b, p('/f')))?.properties.get('big')?.length, 9000)
  await b.stop()
  dispose()
})

void t.test('ACL entries that are none of ours', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir)
  await b.start()
  const foreign = [{ kind: 'user', id: 61_000, perm: 6 }, { kind: 'group', id: 62_000, perm: 5 }] as const // prettier-ignore
  const path = join(dir, 'f')
  writeFileSync(path, 'x')
  lchownSync(path, 61_001, 62_001)
  setXattr(path, ACCESS_ACL, buildAcl({ owner: 6, group: 4, other: 0, mask: 7, named: foreign }))
  t.match(await entryAt(b, p('/f')), { access: { owner: 'uid:61001', groupRead: [], groupWrite: [] }, gid: 62_001 })
  const acl = () => parseAcl(getXattr(path, ACCESS_ACL) ?? Buffer.alloc(0))
  await b.set({ path: p('/f') }, { access: { groupRead: [GROUPS[0]] }, properties: new Map([['k', 'v']]) })
  t.match(acl()?.named, [foreign[0], { kind: 'group', id: 7001, perm: 4 }, foreign[1]]) // prettier-ignore
  await b.put(p('/f'), body('y'), {})
  t.equal(acl()?.named.length, 3, 'kept by a replacing put')
  await b.amend({ path: p('/f') }, extents(at(0, 'z')), { length: 1 })
  await b.set({ path: p('/f') }, { access: { groupRead: [], owner: 'alice' } })
  t.same(acl()?.named, foreign)
  await b.set({ path: p('/f') }, { access: { isPublic: true } })
  t.same(acl()?.named, foreign)
  await b.stop()
  dispose()
})

void t.test('thousands of operations leave no descriptor open', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode: isRoot ? 'root' : 'unprivileged' })
  await b.start()
  const before = openDescriptors()
  for (let i = 0; i < 300; i++) {
    const path = p(`/f${i % 7}`)
    const all = [
      b.put(path, body('some', ...(i % 5 === 0 ? [new Error('x')] : [])), { draft: file }),
      b.amend({ path }, extents(at(i % 9, 'x')), { length: 9 }),
      b.read({ path }).then(async ({ body }) => {
        if (i % 2 === 0) await body.toArray()
        else body.destroy()
      }),
      b.move(path, p(`/f${(i + 1) % 7}`), { replace: i % 3 === 0 }),
      b.walk(p('/a/b/c')),
      b.copy(path, p(`/g${i % 3}`), file),
      b.remove(p(`/g${i % 3}`), 'leaf'),
      b.make(p('/none/x'), container),
      namesIn(b, ROOT),
    ]
    await Promise.allSettled(all)
  }
  t.equal(openDescriptors(), before)
  for await (const _ of b.list(ROOT)) break
  t.equal(openDescriptors(), before, 'a listing that is not read to its end')
  await b.stop()
  dispose()
})

/** Fills a tree; answers the names that are served. */
async function oddities(dir: string): Promise<string[]> {
  const inside = (name: string) => join(dir, name)
  execFileSync('mkfifo', [inside('fifo')])
  const server = createServer().listen(inside('socket'))
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0x41])]), 'x')
  mkdirSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xc3, 0x28])]))
  for (const name of ['plain', 'labelled', 'closed', 'x'.repeat(255), 'with\nnewline', '.hidden', '..c']) writeFileSync(inside(name), 'x')
  setXattr(inside('labelled'), 'user.foreign', Buffer.from('été'))
  setXattr(inside('labelled'), 'user.binary', Buffer.from([0xff, 0, 0xfe]))
  if (isRoot) {
    setXattr(inside('labelled'), 'security.odd', Buffer.from('x'))
    writeFileSync(inside('unmapped'), 'x')
    lchownSync(inside('unmapped'), 61_001, 4_000_000_000)
  }
  chmodSync(inside('closed'), 0)
  mkdirSync(inside('shut'), 0)
  const fd = openSync(inside('sparse'), 'w')
  ftruncateSync(fd, 1 << 30)
  closeSync(fd)
  linkSync(inside('plain'), inside('second'))
  const links = { self: 'self', up: '..', out: '/etc', dangling: 'none', long: 'x'.repeat(900) }
  for (const [name, text] of Object.entries(links)) symlinkSync(text, inside(name))
  return readdirSync(dir, { encoding: 'buffer' })
    .filter((name) => Buffer.from(name.toString()).equals(name))
    .map(String)
    .filter((name) => name !== 'fifo' && name !== 'socket')
} // prettier-ignore
