/** Trees on the CephFS that `npm run test:cephfs` has mounted; elsewhere its tests are skipped. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CephFsBackend, type CephFsOptions } from '../../src/backend/cephfs/cephfs.ts'
import { type PosixOptions } from '../../src/backend/posix/open.ts'
import { ROOT } from '../../src/vospace/path.ts'
import { ids, posix } from '../conformance/posix-tree.ts'
import { type Harness } from '../conformance/cases.ts'

/** Where it is mounted */
export const MOUNT = process.env['KARST_CEPHFS']
export const skip = MOUNT === undefined ? 'needs a CephFS: npm run test:cephfs brings one up' : false

export interface CephTree {
  readonly dir: string
  readonly backend: CephFsBackend
  readonly dispose: () => void
}

/** Every container right below the root is an allocation, unless it is said otherwise. */
export function cephTree(
  options: Partial<PosixOptions & Pick<CephFsOptions, 'pool'>> = {},
  mount: string = MOUNT ?? '',
): CephTree {
  const dir = mkdtempSync(join(mount, 'tree-'))
  chmodSync(dir, 0o755)
  const { allocationParents = [ROOT], pool, ...more } = options
  const tree = posix(dir, { mode: 'root', allocationParents, ...more })
  const backend = new CephFsBackend({ tree, root: dir, allocationParents, ...(pool !== undefined && { pool }) })
  return { dir, backend, dispose: () => rmSync(dir, { recursive: true, force: true }) }
}

export async function harness(): Promise<Harness> {
  const { backend, dispose } = cephTree({ allocationParents: [] })
  return { backend, ids, quotaOn: ROOT, dispose: async () => dispose() }
}
