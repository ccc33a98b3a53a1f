/** Homes: the container that a user gets with their account, made with the rights of the service and theirs from the start. */
import { Fault, isFault } from '../vospace/fault.ts'
import { createdMode } from '../vospace/mode.ts'
import { type Access, type Entry } from '../vospace/node.ts'
import { type NodePath, parentOf } from '../vospace/path.ts'
import { capabilitiesOf, type Space } from './space.ts'

/** `taken`: something stands there that is not theirs, and stays as it is. */
export type HomeState = 'theirs' | 'taken' | 'absent'

export async function homeState(space: Space, path: NodePath, user: string): Promise<HomeState> {
  const node = await nodeAt(space, path)
  if (node === undefined) return 'absent'
  return node.type === 'container' && node.access.owner === user ? 'theirs' : 'taken'
}

/**
 * Private, with a quota of so many bytes where one is given. Again: nothing happens, and what stands there keeps its quota. ContainerNotFound
 * when there is no container to make it in, OperationNotSupported for a quota where the storage has none, QuotaExceeded.
 */
export async function makeHome(space: Space, path: NodePath, user: string, quota?: number): Promise<HomeState> {
  checkQuota(space, path, quota)
  const access: Access = {
    owner: user,
    isPublic: false,
    groupRead: [],
    groupWrite: [],
    inherit: false,
    locked: false,
  }
  try {
    const mode = createdMode('container', undefined, access)
    const made = await space.backend.make(path, { type: 'container', access, mode })
    if (quota !== undefined) await giveQuota(space, made, quota)
    space.changes.append({ id: made.id, path: made.path, kind: 'made' })
    return 'theirs'
  } catch (error) {
    if (!isFault(error, 'DuplicateNode')) throw error
    return homeState(space, path, user)
  }
}

/** OperationNotSupported. */
export function checkQuota(space: Space, path: NodePath, quota: number | undefined): void {
  if (quota === undefined || capabilitiesOf(space, path).quota) return
  throw new Fault('OperationNotSupported', 'this storage has no quotas')
}

/** Bytes; undefined: the home is not there. */
export async function homeUsage(
  space: Space,
  path: NodePath,
): Promise<{ readonly used: number | null; readonly quota: number | null } | undefined> {
  if ((await nodeAt(space, path)) === undefined) return undefined
  const { used, quota } = await space.backend.usage(path)
  return { used, quota }
}

// A home without the quota it was to have is taken back, so that the next try makes it whole.
async function giveQuota(space: Space, entry: Entry, bytes: number): Promise<void> {
  try {
    await space.backend.setQuota(entry.path, bytes)
  } catch (error) {
    await space.backend.remove(entry.path, 'container', { id: entry.id })
    throw error
  }
}

async function nodeAt({ backend }: Space, path: NodePath): Promise<Entry | undefined> {
  const chain = await backend.walk(path)
  const node = chain.at(-1)
  if (node?.path === path) return node
  const above = chain.find((one) => one.path === parentOf(path))
  if (above !== undefined && above.type !== 'container') throw new Fault('ContainerNotFound', parentOf(path))
  return undefined
}
