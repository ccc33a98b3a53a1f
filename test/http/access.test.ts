/** What `/access` says of random trees and people is what happens to them who ask: every answer against a request of that person. */
import t from 'tap'
import { type Explanation } from '../../src/space/access.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { createdMode } from '../../src/vospace/mode.ts'
import { nodePath, parentOf } from '../../src/vospace/path.ts'
import { GROUP, node, operation, startGateway, type Gateway } from './gateway.ts'

const SEED = Number(process.env['KARST_TEST_SEED'] ?? Date.now() % 1_000_000)
const ROUNDS = 3
const OUTER = 'ivo://karst.local/gms?outer'
const PEOPLE = ['alice', 'bob', 'carol', undefined] as const
t.setTimeout(600_000)

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

type Person = (typeof PEOPLE)[number]

const as = (person: Person) => (person === undefined ? {} : { as: person })

async function grow(gateway: Gateway, next: () => number): Promise<Entry[]> {
  const { backend } = gateway.space
  const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T
  const some = (list: readonly string[]): string[] => list.filter(() => next() < 0.35).sort()
  const containers = ['/home/alice', '/home/bob', '/pub']
  const made: Entry[] = []
  for (let i = 0; i < 14; i++) {
    const path = nodePath(`${pick(containers)}/n${i}`)
    const access: Access = {
      owner: pick(['alice', 'bob', 'carol']),
      isPublic: next() < 0.3,
      groupRead: some([GROUP, OUTER]),
      groupWrite: some([GROUP, OUTER]),
      inherit: false,
      locked: next() < 0.15,
    }
    if (next() < 0.5) {
      made.push(
        await backend.make(path, { type: 'container', access, mode: createdMode('container', undefined, access) }),
      )
      containers.push(path)
    } else made.push(await put(gateway, path, access))
  }
  for (const path of ['/home/alice', '/home/bob'])
    await backend.set({ path: nodePath(path) }, { access: { isPublic: next() < 0.5, groupRead: some([GROUP]) } })
  return made
}

function put({ space }: Gateway, path: Entry['path'], access: Access): Promise<Entry> {
  async function* bytes(): AsyncGenerator<Buffer> {
    yield Buffer.from('text')
  }
  return space.backend.put(path, bytes(), { draft: { access, mode: createdMode('data', undefined, access) } })
}

/** What happens to a person who asks: true when it is done, false when it is refused. */
const DEEDS: Record<string, (gateway: Gateway, entry: Entry, person: Person) => Promise<boolean>> = {
  read: async (gateway, { path, type, access }, person) => {
    if (type === 'data') return done(await gateway.call(`/files${path}`, as(person)))
    // a listing that is not for them is an empty one in VOSpace; the mount's is refused
    void access
    return done(await gateway.call(`/fs/v1/list?path=${path}`, as(person)))
  },
  write: async (gateway, { path, type }, person) => {
    if (person === undefined) return false
    const headers = operation()
    if (type === 'data')
      return done(
        await gateway.call(`/fs/v1/data?path=${path}`, { ...as(person), method: 'PUT', headers, body: 'text' }),
      )
    const body = JSON.stringify({ path: `${path}/made` })
    const isMade = done(await gateway.call('/fs/v1/mkdir', { ...as(person), method: 'POST', headers, body }))
    if (isMade) await gateway.space.backend.remove(nodePath(`${path}/made`), 'container')
    return isMade
  },
  replace: async (gateway, { path }, person) =>
    done(await gateway.call(`/files${path}`, { ...as(person), method: 'PUT', body: 'text' })),
  delete: async (gateway, { path, type, access }, person) => {
    if (type === 'container' || person === undefined) return false
    const body = JSON.stringify({ path, type: 'data' })
    const call = { ...as(person), method: 'POST', headers: operation(), body }
    const isGone = done(await gateway.call('/fs/v1/remove', call))
    if (isGone) await put(gateway, path, access)
    return isGone
  },
  share: async (gateway, { path, type }, person) => {
    const body = node(path, type === 'data' ? 'DataNode' : 'ContainerNode')
    return done(await gateway.call(`/nodes${path}`, { ...as(person), method: 'POST', body }))
  },
}

function done({ status, text }: { status: number; text: string }): boolean {
  if (status < 300) return true
  if (status === 403) return false
  throw new Error(`neither done nor refused: ${status} ${text}`)
}

/** Who may ask about the node, and about others: its owner, or that of the allocation. */
const ask = (gateway: Gateway, path: string, asker: Person, about?: string) =>
  gateway.call(`/access?path=${path}${about === undefined ? '' : `&as=${about}`}`, as(asker))

t.test(`what is told is what happens (KARST_TEST_SEED=${SEED})`, async (t) => {
  let answers = 0
  for (let round = 0; round < ROUNDS; round++) {
    const gateway = await startGateway(t, { rules: { allocationParents: [nodePath('/home')] } })
    gateway.store.groups.create(OUTER, { owner: 'alice' })
    gateway.store.groups.nest(OUTER, GROUP)
    const made = await grow(gateway, random(SEED + round))
    for (const entry of made) {
      const chain = await gateway.space.backend.walk(parentOf(entry.path))
      const lord = chain[1]?.path === '/home' ? chain[2]?.access.owner : entry.access.owner
      for (const person of PEOPLE) {
        const own = await ask(gateway, entry.path, person)
        const about = person === undefined ? own : await ask(gateway, entry.path, lord as Person, person)
        for (const reply of [own, about]) {
          if (reply.status !== 200) {
            t.equal(reply.status, 403)
            continue
          }
          const { verdict } = JSON.parse(reply.text) as Explanation
          for (const [what, deed] of Object.entries(DEEDS)) {
            if (what === 'replace' && entry.type !== 'data') continue
            if (what === 'delete' && (entry.type === 'container' || person === undefined)) continue
            const told = verdict[what as 'read']
            const happened = await deed(gateway, entry, person)
            answers++
            if (told.allowed !== happened)
              t.fail(`${String(person)} ${what} ${entry.path}: ${JSON.stringify(told)}, and it was ${happened}`)
          }
        }
        // who is refused an answer of their own cannot get there at all
        if (own.status === 403) t.equal((await gateway.call(`/nodes${entry.path}`, as(person))).status, 403)
      }
    }
  }
  t.ok(answers > 200, `${answers} answers`)
})
