/** The contract of a backend: the children of a container looked at and removed in pages, as a recursive delete does it. */
import { type Backend, type Child, type Choose, type Removal } from '../../src/backend/backend.ts'
import { PAGE } from '../../src/backend/contract.ts'
import { child, type NodePath } from '../../src/vospace/path.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import { access, body, type Case, container, entryAt, file, link, namesIn, p, refused } from './cases.ts'

const immutable = new Map([[PROPERTY.immutable, 'true']])
/** Too long for an attribute: POSIX trees keep it beside. */
const long = 'x'.repeat(70_000)

async function planted(b: Backend): Promise<void> {
  await b.make(p('/c'), container)
  await b.make(p('/c/folder'), container)
  await b.put(p('/c/plain'), body('x'), { draft: file })
  await b.put(p('/c/locked'), body('x'), { draft: { ...file, access: { ...access, locked: true } } })
  await b.put(p('/c/immutable'), body('x'), { draft: { ...file, properties: immutable } })
  await b.put(p('/c/mutable'), body('x'), { draft: { ...file, properties: new Map([[PROPERTY.immutable, 'false']]) } })
  await b.make(p('/c/link'), { ...link('plain'), properties: immutable })
  await b.set({ path: p('/c/link') }, { access: { locked: true } })
  const side = new Map([...immutable, ['urn:long', long]])
  await b.put(p('/c/beside'), body('x'), { draft: { ...file, properties: side } })
}

async function surveyed(b: Backend, path: NodePath): Promise<Child[]> {
  const found: Child[] = []
  for await (const page of b.survey(path)) found.push(...page)
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function removed(b: Backend, path: NodePath, choose: Choose, id?: string): Promise<Removal[]> {
  const found: Removal[] = []
  for await (const page of b.removeChildren({ path, ...(id !== undefined && { id }) }, choose)) found.push(...page)
  return found
}

const leaves: Choose = (page) => page.filter(({ type }) => type !== 'container')

export const CHILDREN: Record<string, Case> = {
  'looks at children as their entries say it, in a survey and before a removal': async (t, b) => {
    await planted(b)
    const wanted: Child[] = []
    const ids: string[] = []
    for await (const { path, type, access, properties, id } of b.list(p('/c'))) {
      const isImmutable = properties.get(PROPERTY.immutable) === 'true'
      wanted.push({ name: path.slice('/c/'.length), type, locked: access.locked, immutable: isImmutable })
      ids.push(id)
    }
    t.match(
      await surveyed(b, p('/c')),
      wanted.sort((a, b) => (a.name < b.name ? -1 : 1)),
    )
    t.same(
      wanted.map(({ locked, immutable }) => Number(locked) + Number(immutable)),
      [1, 0, 1, 2, 1, 0, 0],
    )
    const seen: Record<string, unknown>[] = []
    t.same(await removed(b, p('/c'), (page) => (seen.push(...page.map((one) => ({ ...one }))), [])), [])
    seen.sort((a, b) => (String(a['name']) < String(b['name']) ? -1 : 1))
    t.match(
      seen,
      wanted.map((one, i) => ({ ...one, id: ids[i] })),
    )
    t.equal((await namesIn(b, p('/c'))).length, wanted.length, 'what is not chosen stays')
  },
  'removes the chosen children, and no container': async (t, b) => {
    await planted(b)
    const all = await removed(b, p('/c'), (page) => page)
    t.same(
      all.filter(({ fault }) => fault !== undefined).map(({ child, fault }) => [child.name, fault?.errno]),
      [['folder', 'EISDIR']],
    )
    t.equal(all.length, 7)
    t.same(await namesIn(b, p('/c')), ['folder'])
    t.equal(await entryAt(b, p('/c/beside')), undefined)
    await b.put(p('/c/beside'), body('y'), { draft: file })
    t.equal((await entryAt(b, p('/c/beside')))?.properties.size, 0, 'nothing is left of the one before')
  },
  'removes by the page, each looked at when its turn comes': async (t, b) => {
    await b.make(p('/c'), container)
    const count = 2 * PAGE + 3
    for (let i = 0; i < count; i++) await b.make(child(p('/c'), `n${i}`), link('x'))
    let late: string | undefined
    let pages = 0
    const choose: Choose = (page) => {
      t.ok(page.length <= PAGE)
      return page.filter(({ locked }) => !locked)
    }
    for await (const removals of b.removeChildren({ path: p('/c') }, choose)) {
      const gone = removals.map(({ child }) => child.name)
      t.ok(gone.every((name) => name !== late))
      if (pages++ > 0) continue
      const left = await namesIn(b, p('/c'))
      t.equal(left.length, count - gone.length, 'nothing goes before its page is asked for')
      late = left.at(-1)
      await b.set({ path: child(p('/c'), late ?? '') }, { access: { locked: true } })
    }
    t.ok(pages >= 3)
    t.same(await namesIn(b, p('/c')), [late], 'a lock that came between two pages is seen')
    t.same(
      (await removed(b, p('/c'), leaves)).map(({ child }) => child.name),
      [late],
    )
  },
  'lets nothing of a page go when the choice throws, or when told to stop': async (t, b) => {
    await planted(b)
    const before = await namesIn(b, p('/c'))
    const stop = new Error('enough')
    const choose: Choose = () => {
      throw stop
    }
    await t.rejects(removed(b, p('/c'), choose), stop)
    const aborted = { signal: AbortSignal.abort() }
    const drain = async (pages: AsyncIterable<unknown>): Promise<void> => {
      for await (const _page of pages) continue
    }
    await refused(t, drain(b.removeChildren({ path: p('/c') }, leaves, aborted)), 'TransferFailed')
    await refused(t, drain(b.survey(p('/c'), aborted)), 'TransferFailed')
    t.same(await namesIn(b, p('/c')), before)
  },
  'removes nothing from another container than the one that was meant': async (t, b) => {
    await b.make(p('/c'), container)
    for (let i = 0; i < PAGE + 5; i++) await b.make(child(p('/c'), `n${i}`), link('x'))
    await refused(t, removed(b, p('/c'), leaves, 'another'), 'NodeNotFound', 'ESTALE')
    const work = async (): Promise<void> => {
      for await (const _page of b.removeChildren({ path: p('/c') }, leaves)) {
        await b.move(p('/c'), p('/saved'))
        await b.make(p('/c'), container)
        await b.make(p('/c/new'), link('x'))
      }
    }
    await refused(t, work(), 'NodeNotFound', 'ESTALE')
    t.equal((await namesIn(b, p('/saved'))).length, 5)
    t.same(await namesIn(b, p('/c')), ['new'])
  },
  'surveys and empties containers only, and never what is reserved': async (t, b) => {
    await b.put(p('/f'), body('x'), { draft: file })
    await refused(t, surveyed(b, p('/f')), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, removed(b, p('/f'), leaves), 'TypeNotSupported', 'ENOTDIR')
    await refused(t, surveyed(b, p('/none')), 'NodeNotFound', 'ENOENT')
    await refused(t, removed(b, p('/none'), leaves), 'NodeNotFound', 'ENOENT')
    await refused(t, surveyed(b, p('/.karst')), 'PermissionDenied')
    await refused(t, removed(b, p('/.karst'), leaves), 'PermissionDenied')
    t.match(await surveyed(b, p('/')), [{ name: 'f', type: 'data', locked: false, immutable: false }])
    t.equal((await removed(b, p('/'), (page) => page)).length, 1)
  },
}
