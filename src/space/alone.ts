/** Places that one piece of work has for itself: two that make one copy at once would each take away what the other has made. Known to this process only. */
import { Fault } from '../vospace/fault.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'

/** Places at work, by the storages that they are of. */
const working = new WeakMap<object, Set<NodePath>>()

/** Runs `work`, however it ends. NodeBusy while another is at work there, above or below. */
export async function alone<T>(storages: object, path: NodePath, work: () => Promise<T>): Promise<T> {
  const places = working.get(storages) ?? new Set()
  working.set(storages, places)
  for (const other of places) {
    if (isWithin(path, other) || isWithin(other, path)) {
      throw new Fault('NodeBusy', `${other} is on its way to another storage already: try again`)
    }
  }
  places.add(path)
  try {
    return await work()
  } finally {
    places.delete(path)
  }
}
