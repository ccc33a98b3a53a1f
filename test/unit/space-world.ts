/** A small space in memory, the people in it, and short words to ask it with. */
import { countedIds } from '../../src/backend/counted-ids.ts'
import { type Backend, type Removal } from '../../src/backend/backend.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { DEFAULT_RULES, type Rules, type Space } from '../../src/space/space.ts'
import { type Change } from '../../src/store/changes.ts'
import { ANONYMOUS, type Caller } from '../../src/vospace/caller.ts'
import { type NodeClass, type NodeDocument, type Property } from '../../src/vospace/document.ts'
import { isFault, type Fault } from '../../src/vospace/fault.ts'
import { createdMode } from '../../src/vospace/mode.ts'
import { type Access, type Entry } from '../../src/vospace/node.ts'
import { nameOf, nodePath, type NodePath } from '../../src/vospace/path.ts'
import { PROPERTY } from '../../src/vospace/property.ts'
import { nodeUri, service } from '../../src/vospace/uri.ts'

export const STAFF = 'ivo://karst.local/gms?staff'
export const GUESTS = 'ivo://karst.local/gms?guests'
export const SERVICE = service('ivo://karst.local/karst')

const person = (user: string, groups: string[] = [], admin = false): Caller => {
  const uid = IDS.uidOf(user) ?? -1
  return { user, groups: new Set(groups), admin, uid, gid: uid }
}
const IDS = countedIds()
export const alice = person('alice')
export const bob = person('bob', [STAFF])
export const carol = person('carol', [GUESTS])
export const admin = person('root', [], true)
export const nobody = ANONYMOUS

export interface World {
  readonly space: Space
  readonly backend: MemoryBackend
  readonly changes: Change[]
}

export const at = (path: string): NodePath => nodePath(path)

/** `/home` and `/projects` hold allocations; /home/alice is alice's, readable to all. */
export async function world(rules: Partial<Rules> = {}): Promise<World> {
  const allocationParents = [at('/home'), at('/projects')]
  const backend = new MemoryBackend({ ids: IDS, allocationParents })
  const changes: Change[] = []
  const append = (change: Change): number => changes.push(change)
  const known = (name: string) => (/^(alice|bob|carol|root)$/.test(name) ? IDS.uidOf(name) : undefined)
  const space: Space = {
    backend,
    service: SERVICE,
    rules: { ...DEFAULT_RULES, allocationParents, ...rules },
    changes: { append, appendAll: (some) => void changes.push(...some) },
    ids: { ...IDS, uidOf: known },
  }
  await folder(backend, '/home', { owner: 'root', isPublic: true })
  await folder(backend, '/projects', { owner: 'root', isPublic: true })
  await folder(backend, '/home/alice', { owner: 'alice', isPublic: true })
  return { space, backend, changes }
}

const access = (given: Partial<Access>): Access => ({
  owner: 'alice', isPublic: false, groupRead: [], groupWrite: [], inherit: false, locked: false, ...given,
}) // prettier-ignore

export function folder(backend: MemoryBackend, path: string, given: Partial<Access> = {}): Promise<Entry> {
  const whole = access(given)
  return backend.make(at(path), { type: 'container', access: whole, mode: createdMode('container', undefined, whole) })
}

export function file(
  backend: MemoryBackend,
  path: string,
  given: Partial<Access> = {},
  text = 'text',
  properties: ReadonlyMap<string, string> = new Map(),
): Promise<Entry> {
  const whole = access(given)
  const draft = { access: whole, mode: createdMode('data', undefined, whole), properties }
  return backend.put(at(path), bytes(text), { draft, ifAbsent: true })
}

export function link(backend: MemoryBackend, path: string, text: string, given: Partial<Access> = {}): Promise<Entry> {
  return backend.make(at(path), {
    type: 'link',
    access: access({ isPublic: true, ...given }),
    mode: 0o777,
    text: Buffer.from(text),
  })
}

export async function* bytes(...parts: string[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

export async function textOf(body: AsyncIterable<unknown>): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of body) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

export const names = async (items: AsyncIterable<{ path: string }>): Promise<string[]> =>
  (await all(items)).map(({ path }) => path.slice(path.lastIndexOf('/') + 1))

export function document(
  path: string,
  kind: NodeClass,
  properties: Record<string, string | null> = {},
  more: Partial<NodeDocument> = {},
): NodeDocument {
  const list: Property[] = Object.entries(properties).map(([uri, value]) => ({ uri, value }))
  return { uri: nodeUri(SERVICE, at(path)), class: kind, properties: list, ...more }
}

/** The refusal as `Fault ERRNO`, or `ok`. What is no refusal is thrown on. */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'ok'
  } catch (error) {
    if (!isFault(error)) throw error
    return `${error.fault} ${error.errno}`
  }
}

export async function refusal(work: Promise<unknown>): Promise<Fault> {
  try {
    await work
  } catch (error) {
    if (isFault(error)) return error
    throw error
  }
  throw new Error('it was not refused')
}

/** Everything below the root: paths of what there is. */
export async function tree(backend: MemoryBackend, path = '/'): Promise<string[]> {
  const found: string[] = []
  for await (const entry of backend.list(at(path))) {
    found.push(entry.path)
    if (entry.type === 'container') found.push(...(await tree(backend, entry.path)))
  }
  return found
}

/** From now on children go one by one, through `remove` of the backend, where a test can step in. */
export function byOne<B extends Pick<Backend, 'list' | 'remove' | 'removeChildren'>>(backend: B): B {
  backend.removeChildren = async function* ({ path }, choose, options) {
    for await (const {
      id,
      type,
      access: { locked },
      properties,
      ...entry
    } of backend.list(path, options)) {
      const name = nameOf(entry.path)
      const chosen = choose([{ id, name, type, locked, immutable: properties.get(PROPERTY.immutable) === 'true' }])
      const removals: Removal[] = []
      for (const one of chosen) {
        const refused = await backend.remove(entry.path, 'leaf', { id }).then(() => undefined, faultOf)
        removals.push({ child: one, ...(refused && { fault: refused }) })
      }
      yield removals
    }
  }
  return backend
}

function faultOf(error: unknown): Fault {
  if (isFault(error)) return error
  throw error
}
