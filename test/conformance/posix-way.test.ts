/** What is kept of the way to a node is never shown after it has changed: by another process, however soon, and wherever on the way. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { isSettled } from '../../src/backend/posix/inode.ts'
import { type PosixBackend } from '../../src/backend/posix/posix.ts'
import { setXattr } from '../../src/libc/xattr.ts'
import { type Entry } from '../../src/vospace/node.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { needs } from '../parts.ts'
import { entryAt } from './backend.ts'
import { directory, ids, isRoot, notRoot, posix, unavailable, xfs, type Scratch } from './posix-tree.ts'

const p = nodePath
const SETTLING = 2500

interface World {
  readonly dir: string
  readonly b: PosixBackend
  readonly at: (path: string) => Promise<Entry | undefined>
}

/** /a/b/c/file with everything settled, and kept. All are made before the first test, so that they settle together. */
async function prepared(
  options: Partial<Parameters<typeof posix>[1]> = {},
  tree: Scratch = directory(),
): Promise<World> {
  const { dir, dispose } = tree
  mkdirSync(join(dir, 'a/b/c'), { recursive: true })
  writeFileSync(join(dir, 'a/b/c/file'), 'old')
  const b = posix(dir, { mode: isRoot ? 'root' : 'unprivileged', unlabelledOwner: 'carol', ...options })
  await b.start()
  t.teardown(async () => {
    await b.stop()
    dispose()
  })
  const at = (path: string): Promise<Entry | undefined> => entryAt(b, p(path))
  await at('/a/b/c/file')
  await sleep(SETTLING)
  await at('/a/b/c/file')
  return { dir, b, at }
}

async function kept(t: Test, world: Promise<World> | undefined): Promise<World> {
  if (world === undefined) throw new Error('not made on this machine')
  const { at } = await world
  t.equal(await at('/a/b/c/file'), await at('/a/b/c/file'), 'the very same entry is answered again')
  return world
}

const known = { version: 1, added: false }
const growing = {
  ...ids,
  get version() {
    return known.version
  },
  ownerOf: (uid: number) => (known.added && uid === 6001 ? 'dave' : ids.ownerOf(uid)),
}

const noXfs = notRoot || unavailable(xfs)
const worlds = {
  changed: prepared(),
  labelled: prepared(),
  renamed: prepared(),
  exchanged: prepared(),
  fresh: prepared(),
  named: prepared({ ids: growing }),
  mounted: prepared(),
  onXfs: noXfs ? undefined : prepared({}, xfs()),
  many: prepared(),
  deep: prepared(),
  gone: prepared(),
}

const descriptors = (): number => readdirSync('/proc/self/fd').length

/** Below `dir`, what is removed and still held open, by its name. */
function heldOf(dir: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const file = `/proc/self/fd/${fd}`
    // the descriptor of the listing itself is gone by now
    const target = lstatSync(file, { throwIfNoEntry: false }) !== undefined ? readlinkSync(file) : ''
    return target.startsWith(`${dir}/`) && target.endsWith(' (deleted)') ? [target.slice(dir.length)] : []
  })
}

t.test('a change by another process is seen at once', async (t) => {
  const { dir, at } = await kept(t, worlds.changed)
  const file = join(dir, 'a/b/c/file')
  execFileSync('chmod', ['0604', file])
  t.equal((await at('/a/b/c/file'))?.access.isPublic, true)
  execFileSync('chmod', ['0600', file])
  t.equal((await at('/a/b/c/file'))?.access.isPublic, false)
  execFileSync('chmod', ['0705', join(dir, 'a')])
  t.equal((await at('/a'))?.access.isPublic, true)
  execFileSync('sh', ['-c', 'printf 12345 > "$1"', 'sh', file])
  t.equal((await at('/a/b/c/file'))?.size, 5)
  const before = await at('/a/b/c/file')
  execFileSync('sh', ['-c', 'printf 54321 1<> "$1"', 'sh', file])
  t.not((await at('/a/b/c/file'))?.contentVersion, before?.contentVersion)
  execFileSync('ln', [file, join(dir, 'a/second')])
  t.equal((await at('/a/b/c/file'))?.nlink, 2)
  execFileSync('rm', [file])
  t.equal(await at('/a/b/c/file'), undefined)
})

t.test('an attribute and an ACL set by another process are seen at once', { skip: needs('setfattr') || needs('setfacl') || notRoot }, async (t) => {
  const { dir, at } = await kept(t, worlds.labelled)
  const [file, above] = [join(dir, 'a/b/c/file'), join(dir, 'a/b')]
  execFileSync('setfattr', ['-n', 'user.quality', '-v', 'good', file])
  t.equal((await at('/a/b/c/file'))?.properties.get('quality'), 'good')
  execFileSync('setfattr', ['-x', 'user.quality', file])
  t.equal((await at('/a/b/c/file'))?.properties.has('quality'), false)
  for (const [path, place] of [['/a/b/c/file', file], ['/a/b', above]] as const) {
    execFileSync('setfacl', ['-m', 'g:7001:rx', place])
    t.same((await at(path))?.access.groupRead, ['ivo://karst.local/gms?astro'], path)
    execFileSync('setfacl', ['-b', place])
    t.same((await at(path))?.access.groupRead, [], path)
  }
  execFileSync('chown', ['5002', above])
  t.equal((await at('/a/b'))?.access.owner, 'bob')
}) // prettier-ignore

t.test('a container on the way that is renamed, replaced or made a link leads where its name does', async (t) => {
  const { dir, at } = await kept(t, worlds.renamed)
  const old = await at('/a/b')
  renameSync(join(dir, 'a/b'), join(dir, 'a/was'))
  t.equal(await at('/a/b/c/file'), undefined)
  t.equal((await at('/a/was/c/file'))?.size, 3)
  mkdirSync(join(dir, 'a/b/c'), { recursive: true })
  t.not((await at('/a/b'))?.id, old?.id)
  t.equal(await at('/a/b/c/file'), undefined, 'the new one is empty')
  writeFileSync(join(dir, 'a/b/c/file'), 'newer')
  t.equal((await at('/a/b/c/file'))?.size, 5)
  renameSync(join(dir, 'a/b'), join(dir, 'a/newer'))
  symlinkSync('was', join(dir, 'a/b'))
  t.equal((await at('/a/b'))?.type, 'link')
  t.equal(await at('/a/b/c/file'), undefined, 'no symlink is followed')
  execFileSync('sh', ['-c', 'rm "$1/b" && mv "$1/was" "$1/b"', 'sh', join(dir, 'a')])
  t.equal((await at('/a/b/c/file'))?.size, 3)
  t.equal((await at('/a/b'))?.id, old?.id)
})

t.test('two containers that change places again and again never show one as the other', async (t) => {
  const { dir, at } = await kept(t, worlds.exchanged)
  mkdirSync(join(dir, 'a/other/c'), { recursive: true })
  writeFileSync(join(dir, 'a/other/c/file'), 'other one')
  const sizes: (number | undefined)[] = []
  for (let i = 0; i < 200; i++) {
    renameSync(join(dir, 'a/b'), join(dir, 'a/x'))
    renameSync(join(dir, 'a/other'), join(dir, 'a/b'))
    renameSync(join(dir, 'a/x'), join(dir, 'a/other'))
    sizes.push((await at('/a/b/c/file'))?.size)
  }
  t.same(
    sizes,
    Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 9 : 3)),
  )
})

t.test('what was read just after a change is read again, since the next may fall in the same tick', async (t) => {
  const { dir, at } = await kept(t, worlds.fresh)
  const file = join(dir, 'a/b/c/file')
  const wrong: number[] = []
  for (let i = 0; i < 1000; i++) {
    setXattr(file, 'user.quality', Buffer.from(String(i)))
    if ((await at('/a/b/c/file'))?.properties.get('quality') !== String(i)) wrong.push(i)
    chmodSync(join(dir, 'a/b'), i % 2 === 0 ? 0o705 : 0o700)
    if ((await at('/a/b'))?.access.isPublic !== (i % 2 === 0)) wrong.push(-i)
  }
  t.same(wrong, [])
  const now = 1_800_000_000_000
  const at0 = BigInt(now) * 1_000_000n
  t.equal(isSettled(at0, now), false)
  t.equal(isSettled(at0 - 2_000_000_000n, now), false)
  t.equal(isSettled(at0 - 2_000_000_001n, now), true)
  t.equal(isSettled(at0 + 1n, now), false, 'of the future')
})

t.test('an owner and a group that get a name are shown by it', { skip: notRoot }, async (t) => {
  const { dir, at } = await kept(t, worlds.named)
  execFileSync('chown', ['6001', join(dir, 'a/b')])
  await sleep(SETTLING)
  t.equal((await at('/a/b'))?.access.owner, 'uid:6001')
  t.equal(await at('/a/b'), await at('/a/b'))
  known.added = true
  known.version++
  t.equal((await at('/a/b'))?.access.owner, 'dave')
})

t.test('what is mounted on a container on the way is seen, and can be unmounted', { skip: notRoot }, async (t) => {
  const { dir, at } = await kept(t, worlds.mounted)
  const place = join(dir, 'a/b')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', place])
  let mounted = true
  t.teardown(() => mounted && execFileSync('umount', [place]))
  t.equal(await at('/a/b/c/file'), undefined)
  mkdirSync(join(place, 'c'))
  writeFileSync(join(place, 'c/file'), 'mounted')
  t.equal((await at('/a/b/c/file'))?.size, 7)
  await sleep(SETTLING)
  for (let i = 0; i < 3; i++) t.equal((await at('/a/b/c/file'))?.size, 7)
  execFileSync('umount', [place])
  mounted = false
  t.equal((await at('/a/b/c/file'))?.size, 3)
})

t.test('the same on XFS', { skip: noXfs }, async (t) => {
  const { dir, at } = await kept(t, worlds.onXfs)
  execFileSync('chmod', ['0604', join(dir, 'a/b/c/file')])
  t.equal((await at('/a/b/c/file'))?.access.isPublic, true)
  setXattr(join(dir, 'a'), 'user.quality', Buffer.from('good'))
  t.equal((await at('/a'))?.properties.get('quality'), 'good')
  truncateSync(join(dir, 'a/b/c/file'), 1)
  t.equal((await at('/a/b/c/file'))?.size, 1)
})

t.test('keeps no more descriptors than it may, and none of what it has left', async (t) => {
  const { dir, b, at } = await kept(t, worlds.many)
  const before = descriptors()
  for (let i = 0; i < 3000; i++) mkdirSync(join(dir, `a/${i}/x`), { recursive: true })
  for (let i = 0; i < 3000; i++) if ((await at(`/a/${i}/x`)) === undefined) t.fail(String(i))
  t.ok(descriptors() - before < 1100, `${descriptors() - before}`)
  for (let i = 0; i < 3000; i++) rmdirSync(join(dir, `a/${i}/x`))
  t.equal(await at('/a/2999/x'), undefined)
  await b.stop()
  t.ok(descriptors() < before)
})

t.test('a container that is removed is held no longer, whoever removed it and wherever it had gone', async (t) => {
  const { dir, b, at } = await kept(t, worlds.gone)
  const walked = async (...paths: string[]): Promise<void> => {
    for (const path of paths) {
      mkdirSync(join(dir, path, 'x'), { recursive: true })
      t.equal((await at(`${path}/x`))?.type, 'container')
    }
  }
  await walked('/a/removed', '/a/outside', '/a/from/deep', '/a/trashed/deep')
  for (const path of ['/a/removed/x', '/a/removed']) await b.remove(p(path), 'container')
  t.same(heldOf(dir), [])
  rmdirSync(join(dir, 'a/outside/x'))
  rmdirSync(join(dir, 'a/outside'))
  t.equal(heldOf(dir).length, 1, 'nobody has told us')
  t.equal(await at('/a/outside/x'), undefined)
  t.same(heldOf(dir), [], 'and we have seen it')
  await b.move(p('/a/from'), p('/a/to'))
  const trashed = await at('/a/trashed')
  const note = { id: 'gone', path: p('/a/trashed'), type: 'container', deleted: 0 } as const
  await b.trash.put(note.path, { id: trashed?.id ?? '' }, note)
  execFileSync('rm', ['-r', join(dir, 'a/to'), join(dir, '.karst/trash')])
  t.same(heldOf(dir), [], 'what was moved, or is in the trash')
})

t.test('a path of very many steps is walked to its end', async (t) => {
  const { at, b, dir } = await kept(t, worlds.deep)
  const path = '/d'.repeat(1500)
  mkdirSync(join(dir, path), { recursive: true })
  for (let i = 0; i < 2; i++) t.equal((await b.walk(p(path))).length, 1501)
  t.equal((await at('/a/b/c/file'))?.size, 3)
})
