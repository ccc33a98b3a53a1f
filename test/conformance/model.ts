/** Random sequences of operations on a store and in memory: the same answers, the same trees, the same refusals. */
import { type Test } from 'tap'
import { type Backend, type Changes } from '../../src/backend/backend.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { nodePath, ROOT, type NodePath } from '../../src/vospace/path.ts'
import { access, at, body, bytesOf, extents, GROUPS, link } from './cases.ts'
import { ids } from './posix-tree.ts'

export const OPERATIONS = Number(process.env['KARST_MODEL_OPERATIONS'] ?? 2400)
export const SEED = Number(process.env['KARST_MODEL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** The trees that the operations are in, and that do not mix: one may be kept by another store than the next. */
export const TREES = ['/w0', '/w1', '/w2', '/w3'].map(nodePath)

/** Starts the store, compares, and stops it. */
export async function compareWithModel(
  t: Test,
  real: Backend,
  { operations = OPERATIONS, seed = SEED }: { readonly operations?: number; readonly seed?: number } = {},
): Promise<void> {
  t.comment(`KARST_MODEL_SEED=${seed}`)
  const model = new MemoryBackend({ ids })
  await real.start()
  const { exchange } = real.capabilities
  const random = generator(seed)
  const pair = new Pair(model, real)
  for (const path of TREES) {
    await pair.both((b) => b.make(path, { type: 'container', access, mode: 0o750 }))
    // where a store begins there is a container already
    await pair.both((b) => b.set({ path }, { access, mode: 0o750 }))
  }
  for (let done = 0; done < operations && t.passing();) {
    // what runs at the same time stays in four trees of its own, so that the outcome is one
    const steps = TREES.slice(0, 1 + Math.floor(random() * 4)).map((tree) => operation(random, tree, exchange))
    const outcomes = await Promise.all(steps.map(async ({ run }) => pair.both(run)))
    for (const [i, { said, did }] of outcomes.entries()) {
      if (!equal(said, did)) t.same(did, said, `operation ${done + i}: ${steps[i]?.name}, seed ${seed}`)
    }
    done += steps.length
    if (done % 200 < steps.length) await sameTrees(t, pair, seed)
  }
  await sameTrees(t, pair, seed)
  await real.stop()
}

/** The two stores, and which id of one is which of the other. */
class Pair {
  readonly model: Backend
  readonly real: Backend
  readonly idOf = new Map<string, string>()

  constructor(model: Backend, real: Backend) {
    this.model = model
    this.real = real
  }

  async both(run: Run): Promise<{ said: unknown; did: unknown }> {
    const [said, did] = await Promise.all([run(this.model), run(this.real)].map(outcome))
    return { said: this.comparable(said), did: this.comparable(did, said) }
  }

  /** Without what each store gives as it likes; an id of the real one becomes that of the model. */
  comparable(value: unknown, twin?: unknown): unknown {
    if (!isEntry(value)) return value
    const { id, path, type, size, mode, uid, gid, access, properties, text } = value
    if (isEntry(twin) && !this.idOf.has(twin.id)) this.idOf.set(twin.id, id)
    const known = isEntry(twin) && this.idOf.get(twin.id) === id ? twin.id : id
    // a container may know what its whole tree holds
    const own = type === 'container' ? 0 : size
    return { id: known, path, type, size: own, mode, uid, gid, access, properties: [...properties].sort(), text: text?.toString('hex') }
  } // prettier-ignore
}

type Run = (backend: Backend) => Promise<unknown>

async function outcome(running: Promise<unknown>): Promise<unknown> {
  try {
    return await running
  } catch (error) {
    if (error instanceof Fault) return `${error.fault} ${error.errno}`
    throw error
  }
}

function isEntry(value: unknown): value is Entry {
  return typeof value === 'object' && value !== null && 'contentVersion' in value
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

async function sameTrees(t: Test, pair: Pair, seed: number): Promise<void> {
  const [said, did] = [await flat(pair.model, ROOT), await flat(pair.real, ROOT)]
  const twins = said.map(({ entry }) => entry)
  const plain = (all: typeof said) => all.map(({ entry, bytes }, i) => [pair.comparable(entry, twins[i]), bytes])
  const [a, b] = [plain(said), plain(did)]
  for (const [i, one] of a.entries()) if (!equal(one, b[i])) return void t.same(b[i], one, `trees differ, seed ${seed}`)
  t.equal(b.length, a.length)
  for (const [i, { entry }] of did.entries()) {
    const md5 = entry.md5
    if (md5 !== undefined) t.equal(md5, said[i]?.entry.md5, `MD5 of ${entry.path}, seed ${seed}`)
  }
}

async function flat(backend: Backend, path: NodePath): Promise<{ entry: Entry; bytes: string }[]> {
  const found: { entry: Entry; bytes: string }[] = []
  for await (const entry of backend.list(path)) {
    found.push({ entry, bytes: entry.type === 'data' ? (await bytesOf(backend, entry.path)).toString('latin1') : '' })
    if (entry.type === 'container') found.push(...(await flat(backend, entry.path)))
  }
  return found
}

/** Numbers from 0 to 1 that a seed gives again (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

function operation(random: () => number, under: string, canExchange: boolean): { name: string; run: Run } {
  const pick = <T>(...of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
  const path = () => nodePath(under + pick('/a', '/b', '/c', '/a/a', '/a/b', '/b/a', '/b/b', '/a/a/a', '/c/é', '/none/x'))
  const text = () => 'x'.repeat(Math.floor(random() * 40)) + String(Math.floor(random() * 1000))
  const some = (): Access => ({
    owner: pick('alice', 'bob'),
    isPublic: random() < 0.4,
    groupRead: pick([], [GROUPS[0]], [...GROUPS]),
    groupWrite: pick([], [GROUPS[1]], [...GROUPS]),
    inherit: random() < 0.3,
    locked: random() < 0.1,
  })
  const mode = () => pick(0o600, 0o640, 0o644, 0o755, 0o750, 0o000, 0o777, 0o4755)
  const property = () => pick('a', 'ivo://ivoa.net/vospace/core#title', `long:${'x'.repeat(300)}`)
  const properties = () => new Map([[property(), pick('v', '', 'é'.repeat(10), 'y'.repeat(3000))]])
  const draft = { access: some(), mode: mode(), properties: properties() }
  const [p, q, length, bytes, offset] = [path(), path(), Math.floor(random() * 60), text(), Math.floor(random() * 50)]
  const type = pick('leaf', 'data', 'link', 'container') as 'leaf'
  const changes: Changes = {
    ...(random() < 0.6 && { access: pick<Partial<Access>>(some(), { isPublic: random() < 0.5 }, { groupRead: [GROUPS[0]] }, { owner: 'carol' }) }),
    ...(random() < 0.4 && { mode: mode() }),
    ...(random() < 0.2 && { gid: 4000 }),
    ...(random() < 0.5 && { properties: new Map([[property(), pick(null, 'w')]]) }),
  }
  const options = { ...(random() < 0.8 && { draft }), ...(random() < 0.2 && { ifAbsent: true }), ...(random() < 0.2 && { changes }) }
  const wrong = pick({}, {}, {}, { length: 1 }, { md5: '0'.repeat(32) })
  const move = pick<{ readonly replace?: boolean; readonly exchange?: boolean }>({}, { replace: true }, { replace: true }, canExchange ? { exchange: true } : {})
  const all: [string, Run][] = [
    [`make ${p}`, (b) => b.make(p, { ...draft, type: 'container' })],
    [`make ${p}`, (b) => b.make(p, { ...draft, type: 'container' })],
    [`link ${p}`, (b) => b.make(p, { ...draft, ...link(bytes) })],
    [`put ${p}`, (b) => b.put(p, body(bytes), options)],
    [`put ${p}`, (b) => b.put(p, body(bytes, bytes), { ...options, draft })],
    [`put ${p} in vain`, (b) => b.put(p, body(bytes, new Error('broken')), options)],
    [`put ${p} wrongly`, (b) => b.put(p, body(bytes), { ...options, ...wrong })],
    [`amend ${p}`, (b) => b.amend({ path: p }, extents(at(offset, bytes), { offset: 3, hole: 9 }), { length })],
    [`set ${p}`, (b) => b.set({ path: p }, changes)],
    [`set by id ${p}`, async (b) => byId(b, p, q, changes)],
    [`move ${p} ${q} ${JSON.stringify(move)}`, (b) => b.move(p, q, move)],
    [`move ${p} ${q}`, (b) => b.move(p, q, move)],
    [`copy ${p} ${q}`, (b) => b.copy(p, q, draft)],
    [`remove ${type} ${p}`, (b) => b.remove(p, type)],
    [`read ${p}`, async (b) => String(await bytesOf(b, p))],
    [`walk ${p}`, async (b) => (await b.walk(p)).length],
  ]
  const [name, run] = pick(...all)
  return { name, run }
} // prettier-ignore

/** Changes a node through its id after a rename. */
async function byId(b: Backend, from: NodePath, to: NodePath, changes: Changes): Promise<unknown> {
  const { id } = await b.move(from, to)
  return b.set({ path: from, id }, changes)
}
