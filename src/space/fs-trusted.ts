/** What only trusted mounts ask for: nodes of any kind made for any user. */
import { type PosixDraft } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { authorize, seen } from './authorize.ts'
import { placeOf } from './fs-place.ts'
import { isSince, once, type Once } from './once.ts'
import { chainOf, present } from './resolve.ts'
import { posixOf, type SeenEntry, type Space } from './space.ts'

export { type PosixDraft } from '../backend/backend.ts'

/** mkdir(2), mknod(2), symlink(2) of a program with those ids. PermissionDenied unless the mount is trusted; refuses as filesystem.ts mkdir does. */
export async function make(
  space: Space,
  caller: Caller,
  path: NodePath,
  draft: PosixDraft,
  { attempt }: Once = {},
): Promise<SeenEntry> {
  if (caller.trusted !== true) {
    throw new Fault('PermissionDenied', 'only a trusted mount makes this', { errno: 'EPERM' })
  }
  const work = async (): Promise<SeenEntry> => {
    const { node, parents } = await placeOf(space, caller, path)
    if (node !== undefined) throw new Fault('DuplicateNode', path)
    authorize(caller, 'create', parents, space.rules)
    const entry = await posixOf(space.backend).make(path, draft)
    space.changes.append({ id: entry.id, path, kind: 'made' })
    return seen(caller, [...parents, entry], space.rules)
  }
  return once(attempt, 'DuplicateNode', work, async () => {
    const found = present(await placeOf(space, caller, path))
    const isDone = found.node.uid === draft.uid && isSince(attempt, found.node)
    return isDone ? seen(caller, chainOf(found), space.rules) : undefined
  })
}
