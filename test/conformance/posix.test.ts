/**
 * The contract on POSIX trees: whatever holds the temporary directory, as root and without privilege; ext4, XFS with reflinks and tmpfs, as root. Quotas
 * are those that the gateway counts; project-quotas.test.ts has those of the file systems.
 */
import t from 'tap'
import { backendConformance } from './backend.ts'
import { ext4, harness, notRoot, tmpfs, unavailable, xfs, type Scratch } from './posix-tree.ts'

const expected = { atomicMove: true, linkProperties: true, hardLinks: true, quota: true, directUrl: false }

if (notRoot === false) backendConformance('POSIX as root', harness(undefined, { mode: 'root' }), expected)
else void t.test('POSIX as root', { skip: notRoot }, () => undefined)

backendConformance('POSIX without privilege', harness(undefined, { mode: 'unprivileged' }), expected)

mounted('POSIX as root on ext4', ext4, { ...expected, reflink: false })
mounted('POSIX as root on XFS', xfs, { ...expected, reflink: true })
mounted('POSIX as root on tmpfs', () => tmpfs('256m'), { ...expected, reflink: false })

function mounted(name: string, make: () => Scratch, capabilities: typeof expected & { reflink?: boolean }): void {
  const skip = notRoot || unavailable(make)
  if (skip !== false) return void t.test(name, { skip }, () => undefined)
  const scratch = make()
  t.teardown(() => scratch.dispose())
  backendConformance(name, harness(scratch.dir, { mode: 'root' }), capabilities)
}
