/** Random trees, callers and questions: the decisions against wire.md section 8 said once more, naively and in other words. */
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { childDeletion, refusalOf, seen, seenBelow, type Verb } from '../../src/space/authorize.ts'
import { openWrite, readFile } from '../../src/space/files.ts'
import { entryOf, mkdir, openPut } from '../../src/space/filesystem.ts'
import { getNode } from '../../src/space/nodes.ts'
import { type Space } from '../../src/space/space.ts'
import { type Caller } from '../../src/vospace/caller.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { nameOf, parentOf } from '../../src/vospace/path.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import { admin, alice, at, bob, carol, file, folder, GUESTS, nobody, outcome, STAFF, world } from './space-world.ts'

const SEED = Number(process.env['KARST_TEST_SEED'] ?? Date.now() % 1_000_000)
const ROUNDS = 60

/** mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), 1 | state)
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296
  }
}

const CALLERS: Caller[] = [alice, bob, carol, admin, nobody, { ...alice, groups: new Set([STAFF, GUESTS]) }]
/** With a credential for a partition at, above or beside a container; and a trusted mount. */
function confined(path: string): Caller[] {
  const scopes = [path, '/home', '/projects/nested'].map((root) => at(root))
  return [
    ...scopes.flatMap((root) => [
      { ...alice, scope: { path: root, access: 'write' as const } },
      { ...bob, scope: { path: root, access: 'read' as const } },
    ]),
    { ...admin, trusted: true },
  ]
}

const VERBS: Verb[] = [
  'reach',
  'read',
  'list',
  'follow',
  'write',
  'upload',
  'create',
  'delete',
  'update',
  'attributes',
  'administer',
]

// ---- wire.md 8, said again ----------------------------------------------------------------------------------------------

type Tree = Map<string, Entry>

/** "A container directly under a configured allocation parent. Its owner reads and writes everything below." */
function lordOf(nodes: Tree, path: string): string | undefined {
  const steps = path.split('/').filter((step) => step !== '')
  let lord: string | undefined
  let parent = ''
  for (const step of steps) {
    const here = `${parent}/${step}`
    const node = nodes.get(here)
    if (['/home', '/projects', '/projects/nested'].includes(parent) && node?.type === 'container')
      lord = node.access.owner
    parent = here
  }
  return lord
}

/** Those who own it, in whatever way. */
function lords(nodes: Tree, path: string, caller: Caller): boolean {
  if (caller.user === undefined) return false
  const isHallway =
    ['/', '/home', '/projects', '/projects/nested'].includes(path) && nodes.get(path)?.type === 'container'
  return (
    nodes.get(path)?.access.owner === caller.user || lordOf(nodes, path) === caller.user || (caller.admin && isHallway)
  )
}

function reads(nodes: Tree, path: string, caller: Caller): boolean {
  const access = nodes.get(path)?.access
  const groups = caller.user === undefined ? [] : [...caller.groups]
  return (
    access?.isPublic === true ||
    lords(nodes, path, caller) ||
    groups.some((g) => access?.groupRead.includes(g) || access?.groupWrite.includes(g))
  )
}

function writes(nodes: Tree, path: string, caller: Caller): boolean {
  if (caller.user === undefined) return false
  return lords(nodes, path, caller) || [...caller.groups].some((g) => nodes.get(path)?.access.groupWrite.includes(g))
}

function may(nodes: Tree, caller: Caller, verb: Verb, path: string): boolean {
  const isLocked = (of: string) => nodes.get(of)?.access.locked === true
  const parent = parentOf(at(path))
  for (let up = path; up !== '/'; up = parentOf(at(up))) if (!reads(nodes, parentOf(at(up)), caller)) return false
  if (verb === 'reach') return reads(nodes, path, caller)
  if (verb === 'read' || verb === 'list' || verb === 'follow') return reads(nodes, path, caller)
  if (verb === 'administer') return caller.admin
  if (verb === 'update' || verb === 'attributes') return writes(nodes, path, caller)
  if (verb === 'write' || verb === 'create') return writes(nodes, path, caller) && !isLocked(path)
  if (path === '/') return verb === 'upload' && writes(nodes, path, caller) && !isLocked(path)
  const byParent = writes(nodes, parent, caller) && !isLocked(parent)
  if (verb === 'delete') return byParent && !isLocked(path)
  return !isLocked(path) && (writes(nodes, path, caller) || byParent)
}

// -------------------------------------------------------------------------------------------------------------------------

async function grow(backend: MemoryBackend, next: () => number): Promise<Tree> {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T
  const some = (): string[] => [STAFF, GUESTS].filter(() => next() < 0.25)
  const access = (): Partial<Access> => ({
    owner: pick(['alice', 'bob', 'carol', 'root', 'uid:7']),
    isPublic: next() < 0.5,
    groupRead: some(),
    groupWrite: some(),
    locked: next() < 0.15,
    inherit: next() < 0.3,
  })
  await backend.set({ path: at('/') }, { access: { ...access(), isPublic: next() < 0.9 } })
  const containers = ['/']
  for (const path of ['/home', '/projects', '/projects/nested']) {
    await folder(backend, path, { ...access(), isPublic: next() < 0.8 })
    containers.push(path, path)
  }
  for (let i = 0; i < 25; i++) {
    const parent = pick(containers)
    const path = `${parent === '/' ? '' : parent}/n${i}`
    if (next() < 0.6) {
      await folder(backend, path, access())
      containers.push(path)
    } else await file(backend, path, access())
  }
  return collect(backend, '/')
}

async function collect(backend: MemoryBackend, path: string, nodes: Tree = new Map()): Promise<Tree> {
  if (path === '/') for (const root of await backend.walk(at('/'))) nodes.set('/', root)
  for await (const entry of backend.list(at(path))) {
    nodes.set(entry.path, entry)
    if (entry.type === 'container') await collect(backend, entry.path, nodes)
  }
  return nodes
}

async function grown(seed: number): Promise<{ space: Space; backend: MemoryBackend; nodes: Tree }> {
  const allocationParents = [at('/home'), at('/projects'), at('/projects/nested')]
  const { space } = await world()
  const backend = new MemoryBackend({ allocationParents })
  const nodes = await grow(backend, random(seed))
  return { space: { ...space, backend, rules: { ...space.rules, allocationParents } }, backend, nodes }
}

t.test(`each decision is that of wire.md 8 (KARST_TEST_SEED=${SEED})`, async (t) => {
  let questions = 0
  let granted = 0
  for (let round = 0; round < ROUNDS; round++) {
    const { space, backend, nodes } = await grown(SEED + round)
    for (const [path] of nodes) {
      const chain = await backend.walk(at(path))
      for (const caller of CALLERS) {
        for (const verb of VERBS) {
          const expected = may(nodes, caller, verb, path)
          const answer = refusalOf(caller, verb, chain, space.rules) === undefined
          questions++
          if (answer) granted++
          if (answer === expected) continue
          t.fail(`${caller.user} ${verb} ${path}: ${answer}, and not ${expected}`, { chain, seed: SEED + round })
          return
        }
      }
    }
  }
  t.ok(
    granted > questions / 10 && granted < (questions * 9) / 10,
    `${granted} of ${questions} granted: both kinds are there`,
  )
})

t.test(
  `what is decided for all children of a container is what would be for each (KARST_TEST_SEED=${SEED})`,
  async (t) => {
    let refusals = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { space, backend, nodes } = await grown(SEED + 2000 + round)
      for (const [path, { type }] of nodes) {
        if (type !== 'container') continue
        const chain = await backend.walk(at(path))
        for (const caller of CALLERS) {
          const refusalOfChild = childDeletion(caller, chain, space.rules)
          for await (const entry of backend.list(at(path))) {
            const immutable = entry.path.endsWith('3')
            const properties = new Map([[PROPERTY.immutable, String(immutable)]])
            const expected = refusalOf(caller, 'delete', [...chain, { ...entry, properties }], space.rules)
            const answer = refusalOfChild({ name: nameOf(entry.path), locked: entry.access.locked, immutable })
            if (expected !== undefined) refusals++
            if (!isDeepStrictEqual(answer, expected))
              return void t.same(answer, expected, `${caller.user} ${entry.path}`)
          }
        }
      }
    }
    t.ok(refusals > 100)
  },
)

t.test(`children are shown in a listing as each is alone (KARST_TEST_SEED=${SEED})`, async (t) => {
  let closed = 0
  for (let round = 0; round < ROUNDS / 4; round++) {
    const { space, backend, nodes } = await grown(SEED + 3000 + round)
    for (const [path, { type }] of nodes) {
      if (type !== 'container') continue
      const chain = await backend.walk(at(path))
      for (const caller of [...CALLERS, ...confined(path)]) {
        const look = seenBelow(caller, chain, space.rules)
        for await (const entry of backend.list(at(path))) {
          const [shown, alone] = [look(entry), seen(caller, [...chain, entry], space.rules)]
          if (!alone.readable) closed++
          if (!isDeepStrictEqual(shown, alone)) return void t.same(shown, alone, `${caller.user} ${entry.path}`)
        }
      }
    }
  }
  t.ok(closed > 100)
})

t.test(`each door asks for what it should (KARST_TEST_SEED=${SEED})`, async (t) => {
  for (let round = 0; round < 10; round++) {
    const { space, backend, nodes } = await grown(SEED + 1000 + round)
    for (const [path, { type }] of nodes) {
      for (const caller of CALLERS) {
        const is = async (door: string, work: Promise<unknown>, expected: boolean): Promise<void> => {
          const answer = await outcome(work)
          const isRight = expected ? answer === 'ok' : answer.startsWith('PermissionDenied ')
          if (!isRight)
            t.fail(`${door} ${caller.user} ${path}: ${answer}, and not ${expected}`, { seed: SEED + 1000 + round })
        }
        const reach = path === '/' || may(nodes, caller, 'reach', parentOf(at(path)))
        await is('getNode', getNode(space, caller, at(path)), reach)
        await is('entryOf', entryOf(space, caller, { path: at(path) }), reach)
        if (type === 'data') {
          await is('readFile', readFile(space, caller, at(path)), may(nodes, caller, 'read', path))
          await is('openWrite', openWrite(space, caller, at(path)), may(nodes, caller, 'upload', path))
          await is('openPut', openPut(space, caller, { path: at(path) }), may(nodes, caller, 'write', path))
        } else {
          const below = at(`${path === '/' ? '' : path}/new`)
          const mayCreate =
            may(nodes, caller, 'reach', path) && may(nodes, caller, 'create', path) && caller.user !== undefined
          await is('mkdir', mkdir(space, caller, below), mayCreate)
          if (mayCreate) await backend.remove(below, 'container')
          await is('openWrite new', openWrite(space, caller, below), mayCreate)
        }
      }
    }
  }
  t.pass('all doors')
})
