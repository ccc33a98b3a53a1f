/** What users with a credential, or a bind mount beside it, try on a POSIX tree: the gateway starts again, and writes nothing for them. */
import { chmodSync, lchownSync, linkSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { getXattr, setXattr } from '../../src/libc/xattr.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import { at, body, bytesOf, entryAt, extents, file, refused } from './backend.ts'
import { debris, directory, isRoot, notRoot, posix } from './posix-tree.ts'

const p = nodePath
const mode = isRoot ? 'root' : 'unprivileged'
const ALICE = 5001

void t.test('a length that no file can have is refused, and not promised', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode })
  await b.start()
  await b.put(p('/f'), body('old'), { draft: file })
  try {
    await b.amend({ path: p('/f') }, extents(at(0, 'new')), { length: Number.MAX_SAFE_INTEGER })
    t.comment('this file system has files of 2^53 bytes')
  } catch (error) {
    t.ok(isFault(error, 'RequestEntityTooLarge'), String(error))
    t.equal(String(await bytesOf(b, p('/f'))), 'old')
    t.match(await entryAt(b, p('/f')), { nlink: 1 })
  }
  t.same(debris(dir), [])
  await b.stop()
  await b.start()
  await b.stop()
  dispose()
})

void t.test('holes without end are refused before they fill the memory', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode })
  await b.start()
  await b.put(p('/f'), body('old'), { draft: file })
  let count = 0
  async function* holes() {
    for (; count < 2_000_000; count++) yield { offset: 2 * count, hole: 1 }
  }
  await refused(t, b.amend({ path: p('/f') }, holes(), { length: 8_000_000 }), 'RequestEntityTooLarge')
  t.ok(count < 1_000_000, String(count))
  t.equal(String(await bytesOf(b, p('/f'))), 'old')
  await b.stop()
  dispose()
})

for (const planted of ['garbage', 'promise'] as const) {
  void t.test(`a journal that a user planted is not replayed: ${planted}`, { skip: notRoot }, async (t) => {
    const { dir, dispose } = directory()
    const home = join(dir, 'home/alice')
    mkdirSync(join(home, '.karst/journal'), { recursive: true })
    writeFileSync(join(dir, 'bobs'), 'private')
    const promise = { intervals: [{ start: 0, end: 4, hole: false }], length: 4, version: 'v' }
    const journal = join(home, '.karst/journal')
    writeFileSync(join(journal, 'x.redo'), planted === 'garbage' ? '{' : JSON.stringify(promise))
    writeFileSync(join(journal, 'x.data'), 'evil')
    linkSync(join(dir, 'bobs'), join(journal, 'x.target'))
    for (const path of [home, join(home, '.karst'), journal]) lchownSync(path, ALICE, ALICE)
    for (const name of ['x.redo', 'x.data']) lchownSync(join(journal, name), ALICE, ALICE)
    const b = posix(dir, { allocationParents: [p('/home')] })
    for (let start = 0; start < 2; start++) {
      await b.start()
      t.equal(readFileSync(join(dir, 'bobs'), 'utf8'), 'private')
      await b.put(p('/home/alice/f'), body('x'), { draft: file })
      await b.amend({ path: p('/home/alice/f') }, extents(at(0, 'y')), { length: 1 })
      // a crash: what is left is swept, and what was planted is still there
      if (start === 0) await b.stop()
    }
    t.equal(readdirSync(home).filter((name) => name.startsWith('.karst-')).length, 1, 'put aside, not removed')
    await b.stop()
    dispose()
  })
}

void t.test('what a user got into our own journal is not replayed', { skip: notRoot }, async (t) => {
  const { dir, dispose } = directory()
  const journal = join(dir, 'home/alice/.karst/journal')
  mkdirSync(journal, { recursive: true })
  for (const path of [journal, join(journal, '..')]) chmodSync(path, 0o700)
  mkdirSync(join(journal, 'folder/below'), { recursive: true })
  writeFileSync(join(journal, 'x.redo'), '{')
  lchownSync(join(journal, 'x.redo'), ALICE, ALICE)
  const b = posix(dir, { allocationParents: [p('/home')] })
  await b.start()
  t.same(debris(dir, ['home/alice']), [])
  await b.stop()
  dispose()
})

void t.test('attributes from outside do not speak for the service', async (t) => {
  const { dir, dispose } = directory()
  const b = posix(dir, { mode })
  await b.start()
  await b.put(p('/f'), body('old'), { draft: file })
  for (const uri of [PROPERTY.md5, PROPERTY.creator, PROPERTY.isLocked, PROPERTY.groupRead, PROPERTY.type])
    setXattr(join(dir, 'f'), `user.${uri}`, Buffer.from('x'))
  t.same([...((await entryAt(b, p('/f')))?.properties ?? [])], [[PROPERTY.type, 'x']])
  await b.put(p('/f'), body('new'), {})
  t.same(getXattr(join(dir, 'f'), `user.${PROPERTY.md5}`), Buffer.from('x'), 'kept, as any other of another program')
  await b.stop()
  dispose()
})
