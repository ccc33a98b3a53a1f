/** Random sequences of operations on a POSIX tree and in memory: the same answers, the same trees, the same refusals. */
import t, { type Test } from 'tap'
import { compareWithModel, OPERATIONS, SEED } from './model.ts'
import {
  directory,
  ext4,
  isRoot,
  notRoot,
  openDescriptors,
  posix,
  tmpfs,
  unavailable,
  xfs,
  type Scratch,
} from './posix-tree.ts'

for (const mode of isRoot ? (['root', 'unprivileged'] as const) : (['unprivileged'] as const)) {
  void t.test(`${mode}, ${OPERATIONS} operations, seed ${SEED}`, async (t) => compare(t, mode, directory()))
}
for (const [name, make] of Object.entries({ ext4, XFS: xfs, tmpfs: () => tmpfs('256m') })) {
  const lacking = notRoot || unavailable(make)
  void t.test(`root on ${name}, seed ${SEED}`, { skip: lacking }, async (t) => compare(t, 'root', make()))
}

async function compare(t: Test, mode: 'root' | 'unprivileged', { dir, dispose }: Scratch): Promise<void> {
  const before = openDescriptors()
  await compareWithModel(t, posix(dir, { mode }))
  t.equal(openDescriptors(), before, 'no descriptor is left open')
  dispose()
}
