/** The name that CephFS keeps for itself in every directory: below it are the snapshots. */
import { Fault } from '../../vospace/fault.ts'
import { stepsOf, type NodePath } from '../../vospace/path.ts'
import { type PosixCalls } from '../backend.ts'

export const SNAPSHOTS = '.snap'

/** PermissionDenied for a path at or below `.snap`, wherever it is. */
export function refuseSnapshots(...paths: readonly NodePath[]): void {
  for (const path of paths) {
    if (path.includes(`/${SNAPSHOTS}`) && stepsOf(path).includes(SNAPSHOTS)) {
      throw new Fault('PermissionDenied', `${SNAPSHOTS} is a reserved name`)
    }
  }
}

/** The calls of trusted mounts without it. */
export function withoutSnapshots(posix: PosixCalls): PosixCalls {
  return {
    walk: async (path, options) => (refuseSnapshots(path), posix.walk(path, options)),
    list: (container, options) => (refuseSnapshots(container), posix.list(container, options)),
    move: async (from, to, options) => (refuseSnapshots(from, to), posix.move(from, to, options)),
    link: async (ref, to) => (refuseSnapshots(ref.path, to), posix.link(ref, to)),
    remove: async (path, type) => (refuseSnapshots(path), posix.remove(path, type)),
    make: async (path, draft) => (refuseSnapshots(path), posix.make(path, draft)),
    set: async (ref, changes) => (refuseSnapshots(ref.path), posix.set(ref, changes)),
    acl: async (ref, kind) => (refuseSnapshots(ref.path), posix.acl(ref, kind)),
    setAcl: async (ref, kind, value) => (refuseSnapshots(ref.path), posix.setAcl(ref, kind, value)),
  }
}
