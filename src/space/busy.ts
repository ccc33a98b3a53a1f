/** Which data nodes are being written to at this moment: shown as `busy` (VOSpace 2.1 section on nodes). Known to this process only. */
import { type Backend } from '../backend/backend.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Space } from './space.ts'

/** Writers of each path, by the storage they write to. */
const writing = new WeakMap<Backend, Map<NodePath, number>>()

/** Runs `write`, and shows the node as busy while it goes on, however it ends. */
export async function whileBusy<T>({ backend }: Space, path: NodePath, write: () => Promise<T>): Promise<T> {
  const writers = writing.get(backend) ?? new Map<NodePath, number>()
  writing.set(backend, writers)
  writers.set(path, (writers.get(path) ?? 0) + 1)
  try {
    return await write()
  } finally {
    const left = (writers.get(path) ?? 1) - 1
    if (left === 0) writers.delete(path)
    else writers.set(path, left)
  }
}

export function isBusy({ backend }: Space, path: NodePath): boolean {
  return writing.get(backend)?.has(path) === true
}
