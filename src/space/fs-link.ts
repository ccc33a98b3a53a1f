/** link(2) for a mount: a second name of a file. */
import { type Ref } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { allocationOf, authorize, seen, type Chain } from './authorize.ts'
import { locate, placeOf } from './fs-place.ts'
import { once, type Once } from './once.ts'
import { chainOf, present } from './resolve.ts'
import { capabilitiesOf, namesFor, type SeenEntry, type Space } from './space.ts'

/**
 * A name for a file that has one already. Whoever gives it one can keep it from being removed, and takes it to where other containers are
 * above it: so the caller writes to the file, as protected_hardlinks asks, and it stays in its allocation (EXDEV).
 * NodeNotFound, DuplicateNode (EEXIST), TypeNotSupported (EPERM: a container), PermissionDenied, OperationNotSupported (EPERM: the store has none).
 */
export async function link(
  space: Space,
  caller: Caller,
  from: Ref,
  to: NodePath,
  { attempt }: Once = {},
): Promise<SeenEntry> {
  if (!capabilitiesOf(space, to).hardLinks) {
    throw new Fault('OperationNotSupported', 'this storage has no hard links', { errno: 'EPERM' })
  }
  const source = await locate(space, caller, from)
  const chain = chainOf(source)
  if (source.node.type === 'container') {
    throw new Fault('TypeNotSupported', `${source.path} is a container`, { errno: 'EPERM' })
  }
  const work = async (): Promise<SeenEntry> => {
    const { node, parents } = await placeOf(space, caller, to)
    if (node !== undefined) throw new Fault('DuplicateNode', to)
    authorize(caller, 'write', chain, space.rules)
    authorize(caller, 'create', parents, space.rules)
    refuseCrossing(space, caller, chain, parents)
    const entry = await namesFor(space, caller).link({ path: source.path, id: source.node.id }, to)
    space.changes.append({ id: entry.id, path: to, kind: 'made' })
    return seen(caller, [...parents, entry], space.rules)
  }
  return once(attempt, 'DuplicateNode', work, async () => {
    const found = present(await placeOf(space, caller, to))
    return found.node.id === source.node.id ? seen(caller, chainOf(found), space.rules) : undefined
  })
}

function refuseCrossing({ rules }: Space, caller: Caller, chain: Chain, container: Chain): void {
  if (caller.trusted === true) return
  const [one, other] = [chain.slice(0, -1), container].map((way) => allocationOf(way, way.length - 1, rules)?.path)
  if (one === other) return
  throw new Fault('OperationNotSupported', 'another allocation', { errno: 'EXDEV' })
}
