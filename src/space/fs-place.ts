/** Where a mount's path or node is: links on the way are refused, an open node is found by its id wherever it stands. */
import { type Ref } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { type NodePath } from '../vospace/path.ts'
import { present, resolve, type Found, type Place } from './resolve.ts'
import { type Space } from './space.ts'

/** ContainerNotFound (ENOENT, ENOTDIR), LinkFound (ELOOP: the kernel walks links itself), PermissionDenied (EACCES). */
export function placeOf(space: Space, caller: Caller, path: NodePath): Promise<Place> {
  return resolve(space, caller, path, { leaf: 'itself', way: 'refuse' })
}

/** The node of a ref: by path, or the very one of that id. NodeNotFound (ENOENT; ESTALE when there is no such id any more). */
export async function locate(space: Space, caller: Caller, { path, id }: Ref): Promise<Found> {
  if (id === undefined) return present(await placeOf(space, caller, path))
  const direct = await attempted(placeOf(space, caller, path))
  if (direct?.node?.id === id) return present(direct)
  const moved = await currentPath(space, { path, id })
  const found = present(await placeOf(space, caller, moved))
  if (found.node.id !== id) throw stale(path)
  return found
}

// What stands at the old path, or cannot be reached there, says nothing about a node that went elsewhere.
async function attempted(place: Promise<Place>): Promise<Place | undefined> {
  try {
    return await place
  } catch (error) {
    if (isFault(error)) return undefined
    throw error
  }
}

// The storage finds data nodes by id where it can; opening one to read says where it stands.
async function currentPath(space: Space, ref: Ref): Promise<NodePath> {
  try {
    const { entry, body } = await space.backend.read(ref)
    body.destroy()
    return entry.path
  } catch (error) {
    if (isFault(error, 'NodeNotFound', 'ContainerNotFound', 'TypeNotSupported')) throw stale(ref.path)
    throw error
  }
}

const stale = (path: NodePath): Fault =>
  new Fault('NodeNotFound', `${path} is not the node it was`, { errno: 'ESTALE' })

/** A data node, or the error a program gets on a directory (EISDIR) or a link (ELOOP, as with O_NOFOLLOW). */
export function checkHasBytes(node: Entry): void {
  if (node.type === 'container') {
    throw new Fault('TypeNotSupported', `${node.path} is a container`, { errno: 'EISDIR' })
  }
  if (node.type === 'link') throw new Fault('LinkFound', `${node.path} is a link`)
  if (node.special !== undefined) throw new Fault('TypeNotSupported', `${node.path} has no bytes`, { errno: 'ENXIO' })
}
