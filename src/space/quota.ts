/** Room for what is about to be written, looked at before the first byte comes. */
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Space } from './space.ts'

/**
 * QuotaExceeded (EDQUOT: the allocation of `path`; ENOSPC: the storage) when `growth` bytes more do not fit. What others write
 * meanwhile is the storage's to refuse.
 */
export async function checkRoom(space: Space, path: NodePath, growth: number): Promise<void> {
  if (growth <= 0) return
  const { used, quota, free } = await space.backend.usage(path)
  if (quota !== null && (used ?? 0) + growth > quota) {
    const left = Math.max(0, quota - (used ?? 0))
    throw new Fault('QuotaExceeded', `${growth} bytes more do not fit into what is left of the quota, ${left} bytes`)
  }
  if (growth > free) {
    throw new Fault('QuotaExceeded', `${growth} bytes more do not fit on the storage`, { errno: 'ENOSPC' })
  }
}
