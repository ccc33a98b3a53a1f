/**
 * The contract of a backend as tests: every backend passes all of it, unchanged.
 * A test that only one store needs stands in that store's own file.
 */
import t, { type Test } from 'tap'
import { type Backend, type Capabilities } from '../../src/backend/backend.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { ATTRIBUTES, MOVES } from './cases-attributes.ts'
import { BYTES } from './cases-bytes.ts'
import { QUOTA } from './cases-quota.ts'
import { CHILDREN } from './cases-children.ts'
import { TRASH } from './cases-trash.ts'
import { TREE } from './cases-tree.ts'
import { body, type Case, container, file, type Harness, link, namesIn, p, refused } from './cases.ts'

export {
  access,
  at,
  body,
  bytesOf,
  container,
  entryAt,
  extents,
  file,
  GROUPS,
  link,
  md5,
  namesIn,
  refused,
  type Harness,
} from './cases.ts'

const ALL: Record<string, Case> = { ...TREE, ...CHILDREN, ...BYTES, ...ATTRIBUTES, ...MOVES }

/** Of those the ones that a quota could be in the way of: for where tests are slow, of a store that is held to all of them, and its trash, elsewhere. */
export const THAT_GROW: Record<string, Case> = { ...BYTES, ...MOVES }

/** Runs every test of the contract, each on a fresh store. `expected` is checked both ways against what the store says and does. */
export function backendConformance(
  name: string,
  make: () => Promise<Harness>,
  expected: Partial<Capabilities>,
  cases = ALL,
): void {
  void t.test(`${name} keeps the backend contract`, async (t) => {
    const started = async (t: Test): Promise<Harness> => {
      const harness = await make()
      await harness.backend.start()
      t.teardown(async () => {
        await harness.backend.stop()
        await harness.dispose()
      })
      return harness
    }
    for (const [its, all] of [['it', cases], ['its quotas', expected.quota === true ? QUOTA : {}]] as const) {
      for (const [sentence, run] of Object.entries(all)) {
        await t.test(`${its} ${sentence}`, async (t) => {
          const harness = await started(t)
          await run(t, harness.backend, harness)
        })
      }
    } // prettier-ignore
    for (const [sentence, run] of Object.entries(cases === ALL ? TRASH : {})) {
      await t.test(`its trash ${sentence}`, async (t) => {
        const harness = await started(t)
        const { trash } = harness.backend
        if (trash === undefined) return void t.fail('it has no trash')
        await run(t, harness.backend, trash, harness)
      })
    }
    await t.test('it tells the truth about its capabilities', async (t) => {
      const { backend, dispose } = await make()
      await backend.start()
      t.match(capabilitiesOf(backend), expected)
      await capabilities(t, backend)
      await backend.stop()
      await dispose()
    })
  })
}

const capabilitiesOf = (b: Backend): Capabilities => b.capabilitiesAt?.(ROOT) ?? b.capabilities

async function capabilities(t: Test, b: Backend): Promise<void> {
  const can = capabilitiesOf(b)
  await b.make(p('/a'), container)
  await b.make(p('/b'), container)
  await b.put(p('/a/x'), body('x'), { draft: file })
  if (!can.quota) await refused(t, b.setQuota(p('/a'), 1000), 'OperationNotSupported')
  if (can.exchange) {
    await b.move(p('/a'), p('/b'), { exchange: true })
    t.same([await namesIn(b, p('/a')), await namesIn(b, p('/b'))], [[], ['x']])
  } else await refused(t, b.move(p('/a'), p('/b'), { exchange: true }), 'OperationNotSupported')
  if (can.linkProperties) {
    const made = await b.make(p('/l'), { ...link('a'), properties: new Map([['k', 'v']]) })
    t.same([...made.properties], [['k', 'v']])
    t.same([...(await b.set({ path: p('/l') }, { properties: new Map([['k', null]]) })).properties], [])
  } else {
    await refused(t, b.make(p('/l'), { ...link('a'), properties: new Map([['k', 'v']]) }), 'OperationNotSupported')
  }
  await b.put(p('/linked'), body('x'), { draft: file })
  if (can.hardLinks) {
    const named = await b.link({ path: p('/linked') }, p('/other-name'))
    t.same([named.nlink, named.path, named.id], [2, '/other-name', (await b.walk(p('/linked'))).at(-1)?.id])
  } else await refused(t, b.link({ path: p('/linked') }, p('/other-name')), 'OperationNotSupported')
  if (can.directUrl) {
    const reply = await fetch(await b.directUrl(p('/linked')))
    t.same([reply.status, await reply.text()], [200, 'x'])
    await b.put(p('/no-bytes'), body(''), { draft: file })
    await refused(t, b.directUrl(p('/no-bytes')), 'OperationNotSupported')
  } else await refused(t, b.directUrl(p('/linked')), 'OperationNotSupported')
}
