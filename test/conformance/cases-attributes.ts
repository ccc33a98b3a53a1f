/** The contract of a backend: access, modes, times and properties, moves and copies. */
import { Fault } from '../../src/vospace/fault.ts'
import { randomBytes } from 'node:crypto'
import { shownMode } from '../../src/vospace/mode.ts'
import { ROOT } from '../../src/vospace/path.ts'
import {
  access,
  at,
  body,
  bytesOf,
  type Case,
  container,
  entryAt,
  extents,
  file,
  GROUPS,
  link,
  md5,
  namesIn,
  p,
  refused,
} from './cases.ts'

export const ATTRIBUTES: Record<string, Case> = {
  'takes the set-ID bits from a file that is given away, as chown does': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: { ...file, mode: 0o6750 } })
    await b.make(p('/c'), { ...container, mode: 0o2750 })
    t.equal((await b.set({ path: p('/f') }, { access: { owner: 'alice' }, mtime: 5n })).mode & 0o7000, 0o6000)
    t.equal((await b.set({ path: p('/f') }, { access: { owner: 'bob' } })).mode & 0o7000, 0)
    t.equal((await b.set({ path: p('/f') }, { mode: 0o4750 })).mode & 0o7000, 0o4000)
    t.equal((await b.set({ path: p('/f') }, { gid: 4711 })).mode & 0o7000, 0)
    t.equal((await b.set({ path: p('/c') }, { access: { owner: 'bob' } })).mode & 0o7000, 0o2000)
  },

  'keeps every access that can be said, and shows it in the mode': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/c'), container)
    await b.make(p('/l'), link('f'))
    const groupSets = [[], [GROUPS[0]], [...GROUPS]]
    for (const isPublic of [false, true])
      for (const groupRead of groupSets)
        for (const groupWrite of groupSets)
          for (const flag of [false, true]) {
            const want = { owner: flag ? 'bob' : 'alice', isPublic, groupRead, groupWrite, inherit: flag, locked: flag }
            for (const path of [p('/f'), p('/c'), p('/l')]) {
              const entry = await b.set({ path }, { access: want })
              t.same(entry.access, { ...want, inherit: flag && path === '/c' })
              const base = entry.type === 'container' ? (isPublic ? 0o755 : 0o750) : isPublic ? 0o644 : 0o640
              t.equal(entry.mode, shownMode(entry.type, base, want))
              t.same(entry, await entryAt(b, path))
            }
          }
  },
  'gives nodes to their owner and the group of the owner': async (t, b, { ids }) => {
    const made = await b.put(p('/f'), body('x'), { draft: file })
    t.match(made, { uid: ids.uidOf('alice'), gid: ids.gidOfUser('alice') })
    const given = await b.set({ path: p('/f') }, { access: { owner: 'bob' } })
    t.match(given, { uid: ids.uidOf('bob'), gid: ids.gidOfUser('bob'), mode: made.mode })
    t.equal((await b.set({ path: p('/f') }, { gid: 4242 })).gid, 4242)
    t.equal((await b.set({ path: p('/f') }, { access: { owner: 'alice' } })).gid, 4242, 'a chosen group stays')
  },
  'changes what it is told, and nothing else': async (t, b) => {
    const made = await b.put(p('/f'), body('x'), {
      draft: { access: { ...access, groupRead: [GROUPS[0]] }, mode: 0o740, properties: new Map([['a', '1'], ['b', '2']]) },
    }) // prettier-ignore
    const set = await b.set({ path: p('/f') }, { properties: new Map([['a', null], ['c', '3'], ['none', null]]) }) // prettier-ignore
    t.same([...set.properties].sort(), [['b', '2'], ['c', '3']]) // prettier-ignore
    const { version: _v, ctime: _c, properties: _p, ...rest } = set
    t.match(made, rest)
    t.not(set.version, made.version)
    const moded = await b.set({ path: p('/f') }, { mode: 0o604 })
    t.match(moded, { mode: 0o644, access: { isPublic: true, groupRead: [GROUPS[0]] } }, 'the group shows in the mode')
    t.equal((await b.set({ path: p('/f') }, { access: { groupRead: [] } })).mode, 0o604)
  },
  'keeps times to the nanosecond, and the content version with them': async (t, b) => {
    const made = await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/l'), link('f'))
    await b.make(p('/c'), container)
    for (const path of [p('/f'), p('/l'), p('/c')]) {
      const entry = await b.set({ path }, { mtime: 1_234_567_890_123_456_789n, atime: 5n })
      t.equal(entry.mtime, 1_234_567_890_123_456_789n)
    }
    t.match(await entryAt(b, p('/f')), { contentVersion: made.contentVersion, md5: md5('x') })
    // CephFS has none before 1970: kept, or refused for what it is
    const early = await b.set({ path: p('/f') }, { mtime: -1_500_000_000n }).catch((error: unknown) => error)
    if (early instanceof Fault) t.equal(early.fault, 'InvalidArgument')
    else t.equal((await entryAt(b, p('/f')))?.mtime, -1_500_000_000n, 'before 1970')
  },
  'keeps every mode a program can ask for': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    await b.make(p('/c'), container)
    for (const path of [p('/f'), p('/c')])
      for (const mode of [0, 0o400, 0o200, 0o111, 0o1777, 0o4755, 0o2770, 0o644, 0o700, 0o777, 0o7777]) {
        const entry = await b.set({ path }, { mode })
        t.equal(entry.mode, mode)
        t.equal(entry.access.isPublic, (mode & 4) !== 0)
        t.same(await entryAt(b, path), entry)
      }
    t.equal(String(await bytesOf(b, p('/f'))), 'x')
  },
  'keeps properties of any URI and size': async (t, b) => {
    const properties = new Map([
      ['ivo://ivoa.net/vospace/core#description', 'x'.repeat(3000)],
      [`ivo://example.org/${'long/'.repeat(180)}#uri`, 'v'],
      ['bare', ''],
      ['karst.node', 'mine'],
      ['a:b c', ' blanks\tand\nlines 😀'],
      ['big', 'é'.repeat(30_000)],
      ['nul', 'a\0b'],
    ])
    const sorted = (of: ReadonlyMap<string, string> | undefined) => [...(of ?? [])].sort()
    await b.put(p('/f'), body('x'), { draft: { ...file, properties } })
    t.same(sorted((await entryAt(b, p('/f')))?.properties), sorted(properties))
    await b.put(p('/f'), body('y'), {})
    t.same(sorted((await entryAt(b, p('/f')))?.properties), sorted(properties), 'over replaced bytes')
    await b.move(p('/f'), p('/g'))
    t.same(sorted((await entryAt(b, p('/g')))?.properties), sorted(properties), 'over a rename')
    const copied = await b.copy(p('/g'), p('/h'), file)
    t.same(sorted(copied.properties), sorted(properties), 'in a copy')
    const gone = await b.set(
      { path: p('/g') },
      { properties: new Map([...properties.keys()].map((uri) => [uri, null])) },
    )
    t.same(gone.properties.size, 0)
    t.same(sorted((await entryAt(b, p('/h')))?.properties), sorted(properties), 'the copy is apart')
    const made = await b.make(p('/c'), { ...container, properties })
    t.same(sorted(made.properties), sorted(properties), 'on a container')
  },
}

export const MOVES: Record<string, Case> = {
  'moves whole trees, ids and attributes kept': async (t, b) => {
    await b.make(p('/a'), container)
    await b.make(p('/a/b'), container)
    const made = await b.put(p('/a/b/f'), body('x'), { draft: { ...file, properties: new Map([['k', 'v']]) } })
    const before = await entryAt(b, p('/a'))
    const moved = await b.move(p('/a'), p('/z'))
    t.match(moved, { id: before?.id, path: '/z', type: 'container' })
    const found = await entryAt(b, p('/z/b/f'))
    t.match(found, { id: made.id, contentVersion: made.contentVersion, md5: md5('x') })
    t.same(found?.properties, made.properties)
    t.equal(await entryAt(b, p('/a')), undefined)
  },
  'never replaces unasked': async (t, b) => {
    await b.put(p('/a'), body('a'), { draft: file })
    await b.put(p('/b'), body('b'), { draft: file })
    await b.make(p('/c'), container)
    await b.make(p('/d'), container)
    await refused(t, b.move(p('/a'), p('/b')), 'DuplicateNode', 'EEXIST')
    await refused(t, b.move(p('/a'), p('/c')), 'DuplicateNode')
    await refused(t, b.move(p('/c'), p('/d')), 'DuplicateNode')
    await refused(t, b.move(p('/a'), p('/none/b')), 'ContainerNotFound', 'ENOENT')
    await refused(t, b.move(p('/a'), p('/b/x')), 'ContainerNotFound', 'ENOTDIR')
    await refused(t, b.move(p('/none'), p('/x')), 'NodeNotFound')
    await refused(t, b.move(p('/c'), p('/c/x')), 'InvalidArgument', 'EINVAL')
    await refused(t, b.move(ROOT, p('/x')), 'PermissionDenied')
    t.equal(String(await bytesOf(b, p('/b'))), 'b')
  },
  'replaces as rename(2) does': async (t, b) => {
    const a = await b.put(p('/a'), body('a'), { draft: file })
    await b.put(p('/b'), body('b'), { draft: file })
    for (const name of ['c', 'd', 'd/x', 'e']) await b.make(p(`/${name}`), container)
    const replace = { replace: true }
    await refused(t, b.move(p('/a'), p('/c'), replace), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.move(p('/c'), p('/a'), replace), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, b.move(p('/c'), p('/d'), replace), 'ContainerNotEmpty', 'ENOTEMPTY')
    await refused(t, b.move(p('/d/x'), p('/d'), replace), 'ContainerNotEmpty', 'ENOTEMPTY')
    t.match(await b.move(p('/a'), p('/a'), replace), { id: a.id })
    t.match(await b.move(p('/a'), p('/b'), replace), { id: a.id, path: '/b' })
    await b.move(p('/c'), p('/e'), replace)
    await b.make(p('/l'), link('b'))
    await b.move(p('/l'), p('/b'), replace)
    t.same(await namesIn(b, ROOT), ['b', 'd', 'e'])
  },
  'finds a node by its id after a rename, and never another one': async (t, b) => {
    await b.make(p('/c'), container)
    const { id } = await b.put(p('/c/f'), body('mine'), { draft: file })
    const ref = { path: p('/c/f'), id }
    await b.move(p('/c/f'), p('/c/g'))
    await b.move(p('/c'), p('/d'))
    await b.make(p('/c'), container)
    await b.put(p('/c/f'), body('other'), { draft: file })
    t.equal((await b.set(ref, { mode: 0o600 })).path, '/d/g')
    const { entry, body: unread } = await b.read(ref)
    unread.destroy()
    t.equal(entry.path, '/d/g')
    await b.put(ref.path, body('mine too'), { id })
    await b.amend(ref, extents(at(0, 'M')), { length: 8 })
    t.equal(String(await bytesOf(b, p('/d/g'))), 'Mine too')
    t.equal(String(await bytesOf(b, p('/c/f'))), 'other')
    await b.remove(p('/d/g'), 'data')
    await refused(t, b.set(ref, { mode: 0o600 }), 'NodeNotFound', 'ESTALE')
    await refused(t, b.put(ref.path, body('x'), { id, draft: file }), 'NodeNotFound', 'ESTALE')
  },
  'never gives an id twice': async (t, b) => {
    const seen = new Set<string>()
    for (let i = 0; i < 50; i++) {
      const { id } = await b.put(p('/f'), body('x'), { draft: file })
      t.notOk(seen.has(id))
      seen.add(id)
      await b.remove(p('/f'), 'data')
    }
  },
  'copies one data node or link, never replacing': async (t, b, { ids }) => {
    const bytes = randomBytes(2_000_001)
    const from = await b.put(p('/f'), body(bytes), { draft: { ...file, properties: new Map([['k', 'v']]) } })
    await b.make(p('/c'), container)
    await b.make(p('/l'), link('../f'))
    const draft = { access: { ...access, owner: 'bob', groupRead: [GROUPS[1]] }, mode: 0o600 }
    const copied = await b.copy(p('/f'), p('/c/g'), draft)
    t.match(copied, { type: 'data', path: '/c/g', size: bytes.length, mode: 0o640, access: draft.access, uid: ids.uidOf('bob') }) // prettier-ignore
    t.ok(copied.md5 === undefined || copied.md5 === md5(bytes))
    t.same([...copied.properties], [['k', 'v']])
    t.not(copied.id, from.id)
    t.ok(bytes.equals(await bytesOf(b, p('/c/g'))))
    t.ok((await b.copy(p('/l'), p('/c/l'), draft)).text?.equals(Buffer.from('../f')))
    await refused(t, b.copy(p('/f'), p('/c/g'), draft), 'DuplicateNode')
    await refused(t, b.copy(p('/c'), p('/d'), draft), 'TypeNotSupported', 'EISDIR')
    await refused(t, b.copy(p('/none'), p('/d'), draft), 'NodeNotFound')
    await refused(t, b.copy(p('/f'), p('/none/d'), draft), 'ContainerNotFound')
    await refused(t, b.copy(p('/f'), p('/d'), { ...draft, signal: AbortSignal.abort() }), 'TransferFailed')
    t.same(await namesIn(b, ROOT), ['c', 'f', 'l'])
  },
}
