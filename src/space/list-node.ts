/** The children of a container, streamed by name, or held and sorted where a client asks for another order (wire.md 3.1). */
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { isOutside, refusalOf, seen, seenBelow, type Chain } from './authorize.ts'
import { chainOf, find } from './resolve.ts'
import { type SeenEntry, type Space } from './space.ts'

export interface NodeListing {
  readonly node: SeenEntry
  /** the same, as the storage told it: the very same object as long as it has not changed, where the storage knows */
  readonly entry: Entry
  readonly children: AsyncIterable<SeenEntry>
}

export interface NodeListOptions {
  /** Name of the first child, inclusive. */
  readonly from?: string
  readonly limit?: number
  /** By a property, by name without one. */
  readonly sort?: { readonly property?: string; readonly order: 'asc' | 'desc' }
  readonly signal?: AbortSignal
}

/** Children that are held to be sorted; a listing in order of names has no bound. */
const MAX_SORTED = 100_000

/**
 * The node, and its children when it is a container that the caller may read; else none (wire.md 3.1: 200 with no children).
 * OptionNotSupported: too many children to sort. Refuses as getNode does.
 */
export async function listNode(
  space: Space,
  caller: Caller,
  path: NodePath,
  options: NodeListOptions = {},
): Promise<NodeListing> {
  const found = await find(space, caller, path, { leaf: 'itself', way: 'follow', signal: options.signal })
  const chain = chainOf(found)
  const node = seen(caller, chain, space.rules)
  const isListed = node.type === 'container' && options.limit !== 0
  if (!isListed || refusalOf(caller, 'list', chain, space.rules) !== undefined)
    return { node, entry: found.node, children: none() }
  const { sort } = options
  const isByName =
    sort === undefined || ((sort.property === undefined || isName(sort.property)) && sort.order === 'asc')
  const children = isByName ? inOrder(space, caller, chain, options) : sorted(space, caller, chain, options)
  return { node, entry: found.node, children }
}

/** A node that was found without waiting. */
export interface NodeNow {
  readonly entry: Entry
  /** from the root to it */
  readonly chain: readonly Entry[]
  readonly seen: () => SeenEntry
}

/**
 * What `listNode` finds without children, where the storage tells without being waited for, nothing stands in the way and no link is on it.
 * undefined: listNode has more to say of it, a refusal perhaps.
 */
export function nodeNow(space: Space, caller: Caller, path: NodePath): NodeNow | undefined {
  const chain = space.backend.walkNow?.(path)
  const entry = chain?.at(-1)
  if (chain === undefined || entry?.path !== path || isOutside(caller, path)) return undefined
  if (refusalOf(caller, 'reach', chain.slice(0, -1), space.rules) !== undefined) return undefined
  return { entry, chain, seen: () => seen(caller, chain, space.rules) }
}

async function* none(): AsyncGenerator<SeenEntry> {}

const isName = (property: string): boolean => /[#/]name$/i.test(property)

async function* inOrder(
  space: Space,
  caller: Caller,
  chain: Chain,
  { from, limit = Infinity, signal }: NodeListOptions,
): AsyncGenerator<SeenEntry> {
  const container = chain.at(-1)
  if (container === undefined) return
  const look = seenBelow(caller, chain, space.rules)
  let left = limit
  for await (const entry of space.backend.list(container.path, {
    ...(from !== undefined && { from }),
    ...(signal && { signal }),
  })) {
    yield look(entry)
    if (--left === 0) return
  }
}

async function* sorted(
  space: Space,
  caller: Caller,
  chain: Chain,
  { from, limit, sort, signal }: NodeListOptions,
): AsyncGenerator<SeenEntry> {
  const children: SeenEntry[] = []
  for await (const child of inOrder(space, caller, chain, { ...(signal && { signal }) })) {
    children.push(child)
    if (children.length > MAX_SORTED) {
      // Python looks for these words (wire.md 3.1)
      throw new Fault('OptionNotSupported', `sorting options not supported for more than ${MAX_SORTED} children`)
    }
  }
  // The listing is by name, and sorting is stable: equal ones stay in the order of their names.
  const key = sortKey(sort?.property)
  if (key !== undefined) children.sort((a, b) => compare(key(a), key(b)))
  if (sort?.order === 'desc') children.reverse()
  const start = from === undefined ? 0 : children.findIndex(({ path }) => path.endsWith(`/${from}`))
  if (start < 0) throw new Fault('InvalidURI', `no such child to start from: ${from}`)
  yield* children.slice(start, limit === undefined ? undefined : start + limit)
}

type Key = number | bigint | string | undefined

function sortKey(property: string | undefined): ((entry: SeenEntry) => Key) | undefined {
  if (property === undefined || isName(property)) return undefined
  switch (property) {
    case PROPERTY.length:
      return ({ size }) => size
    case PROPERTY.date:
    case PROPERTY.ctime:
      return ({ ctime }) => ctime
    case PROPERTY.contentDate:
    case PROPERTY.mtime:
      return ({ mtime }) => mtime
    case PROPERTY.md5:
      return ({ md5 }) => md5
    case PROPERTY.creator:
      return ({ access }) => access.owner
    default:
      return ({ properties }) => properties.get(property)
  }
}

// Those without the property come first.
function compare(a: Key, b: Key): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined)
  return a < b ? -1 : a > b ? 1 : 0
}
