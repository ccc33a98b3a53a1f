/** The contract of a backend: names, listings, making and removing. */
import { Fault } from '../../src/vospace/fault.ts'
import { byteOrder, child, ROOT } from '../../src/vospace/path.ts'
import { body, type Case, container, entryAt, file, link, namesIn, p, refused } from './cases.ts'

export const TREE: Record<string, Case> = {
  'walks as far as nodes exist, and not beyond a link or data node': async (t, b) => {
    await b.make(p('/a'), container)
    await b.put(p('/a/f'), body(''), { draft: file })
    await b.make(p('/a/l'), link('..'))
    const walked = async (path: string) => (await b.walk(p(path))).map((entry) => entry.path)
    t.same(await walked('/'), ['/'])
    t.same(await walked('/a/b/c'), ['/', '/a'])
    t.same(await walked('/a/f/c'), ['/', '/a', '/a/f'])
    t.same(await walked('/a/l/a'), ['/', '/a', '/a/l'])
  },
  'lists in the order of the UTF-8 bytes, from any name on': async (t, b) => {
    const names = ['a', 'a-b', 'a b', 'Z', 'é', 'e\u0301', '\uFFEE', '😀', '%2F', '#', '-x', 'x'.repeat(255), '\x01\n']
    for (const name of names) {
      if (name === 'a') await b.make(child(ROOT, name), container)
      else await b.put(child(ROOT, name), body(name), { draft: file })
    }
    const sorted = [...names].sort(byteOrder)
    t.same(await namesIn(b, ROOT), sorted)
    t.same(await namesIn(b, ROOT, { from: 'a b' }), sorted.slice(sorted.indexOf('a b')))
    t.same(await namesIn(b, ROOT, { from: 'a a' }), sorted.slice(sorted.indexOf('a b')))
    t.same((await namesIn(b, ROOT, { order: 'any' })).sort(byteOrder), sorted)
  },
  'lists what walk shows, and stops when the reader stops': async (t, b) => {
    for (let i = 0; i < 20; i++) await b.put(child(ROOT, `n${i}`), body('x'), { draft: file })
    for await (const entry of b.list(ROOT)) {
      t.same(entry, await entryAt(b, entry.path))
      if (entry.path === '/n3') break
    }
  },
  'refuses to list what is no container, or is not there': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    const list = (path: string) => namesIn(b, p(path))
    await refused(t, list('/f'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, list('/none'), 'NodeNotFound', 'ENOENT')
    await refused(t, list('/none/x'), 'ContainerNotFound', 'ENOENT')
  },
  'makes containers and links exclusively': async (t, b) => {
    const made = await b.make(p('/c'), { ...container, mtime: 123_456_789_012n })
    t.match(made, { type: 'container', path: '/c', size: 0, contentVersion: '', mtime: 123_456_789_012n })
    t.match(made.id, /^[A-Za-z0-9._-]+$/)
    t.same(made, await entryAt(b, p('/c')))
    await refused(t, b.make(p('/c'), container), 'DuplicateNode', 'EEXIST')
    await refused(t, b.make(p('/c'), link('x')), 'DuplicateNode')
    await refused(t, b.make(ROOT, container), 'DuplicateNode')
    await refused(t, b.make(p('/none/c'), container), 'ContainerNotFound', 'ENOENT')
    await b.put(p('/f'), body('x'), { draft: file })
    await refused(t, b.make(p('/f/c'), container), 'ContainerNotFound', 'ENOTDIR')
    await b.make(p('/l'), link('c'))
    await refused(t, b.make(p('/l/x'), container), 'ContainerNotFound', 'ENOTDIR')
  },
  'keeps the text of a link byte for byte': async (t, b) => {
    const texts = [Buffer.from('../a b/%41'), Buffer.from([0xff, 0xfe, 0x2f]), Buffer.from('/'.repeat(1000))]
    for (const [i, text] of texts.entries()) {
      const made = await b.make(child(ROOT, `l${i}`), link(text))
      t.match(made, { type: 'link', size: text.length, mode: 0o777, contentVersion: '' })
      t.ok(made.text?.equals(text))
      t.ok((await entryAt(b, made.path))?.text?.equals(text))
    }
    // XFS has an end at 1023 bytes: whole, or refused for what it is
    const longest = Buffer.from('a'.repeat(4095))
    const made = await b.make(p('/long'), link(longest)).catch((error: unknown) => error)
    if (made instanceof Fault) t.equal(made.errno, 'ENAMETOOLONG')
    else t.ok((await entryAt(b, p('/long')))?.text?.equals(longest))
  },
  'lets exactly one of many concurrent makes and puts win': async (t, b) => {
    const drafts = Array.from({ length: 12 }, (_, i) =>
      i % 3 === 0
        ? b.make(p('/a'), container)
        : i % 3 === 1
          ? b.make(p('/a'), link('x'))
          : b.put(p('/a'), body('x'), { draft: file, ifAbsent: true }),
    )
    const all = await Promise.allSettled(drafts)
    t.equal(all.filter((one) => one.status === 'fulfilled').length, 1)
    for (const one of all) if (one.status === 'rejected') t.equal((one.reason as Fault).fault, 'DuplicateNode')
  },
  'removes one node, its type checked': async (t, b) => {
    await b.make(p('/c'), container)
    await b.put(p('/c/f'), body('x'), { draft: file })
    await b.make(p('/c/l'), link('f'))
    await refused(t, b.remove(p('/c'), 'container'), 'ContainerNotEmpty', 'ENOTEMPTY')
    await refused(t, b.remove(p('/c'), 'leaf'), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.remove(p('/c'), 'data'), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.remove(p('/c/f'), 'container'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.remove(p('/c/l'), 'container'), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.remove(p('/c/l'), 'data'), 'TypeNotSupported')
    await refused(t, b.remove(p('/c/f'), 'link'), 'TypeNotSupported')
    await refused(t, b.remove(p('/c/none'), 'leaf'), 'NodeNotFound', 'ENOENT')
    await refused(t, b.remove(p('/none/x'), 'leaf'), 'ContainerNotFound', 'ENOENT')
    await refused(t, b.remove(p('/c/f/x'), 'leaf'), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, b.remove(ROOT, 'container'), 'PermissionDenied')
    await b.remove(p('/c/l'), 'leaf')
    await b.remove(p('/c/f'), 'data')
    await b.remove(p('/c'), 'container')
    t.same(await namesIn(b, ROOT), [])
  },
  'removes a node as it was seen, not another one or a changed one': async (t, b) => {
    const seen = await b.make(p('/c'), container)
    await refused(t, b.remove(p('/c'), 'container', { id: 'another' }), 'NodeNotFound', 'ESTALE')
    const file1 = await b.put(p('/f'), body('x'), { draft: file })
    const locked = await b.set({ path: p('/f') }, { access: { locked: true } })
    await refused(t, b.remove(p('/f'), 'data', file1), 'PreconditionFailed')
    await b.remove(p('/f'), 'data', locked)
    await b.remove(p('/c'), 'container', { id: seen.id })
    t.same(await namesIn(b, ROOT), [])
  },
  'keeps its reserved names to itself': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    for (const path of [p('/.karst'), p('/.karst/staging')]) {
      await refused(t, b.walk(path), 'PermissionDenied')
      await refused(t, b.make(path, container), 'PermissionDenied')
      await refused(t, b.put(path, body('x'), { draft: file }), 'PermissionDenied')
      await refused(t, b.read({ path }), 'PermissionDenied')
      await refused(t, b.set({ path }, { mode: 0o777 }), 'PermissionDenied')
      await refused(t, b.move(p('/f'), path), 'PermissionDenied')
      await refused(t, b.move(path, p('/g')), 'PermissionDenied')
      await refused(t, b.copy(p('/f'), path, file), 'PermissionDenied')
      await refused(t, b.remove(path, 'container'), 'PermissionDenied')
      await refused(t, namesIn(b, path), 'PermissionDenied')
    }
    t.same(await namesIn(b, ROOT), ['f'])
  },
  'says how much room there is': async (t, b) => {
    const usage = await b.usage(ROOT)
    t.ok(usage.total > 0 && usage.free >= 0 && usage.free <= usage.total)
    await b.probe()
  },
}
