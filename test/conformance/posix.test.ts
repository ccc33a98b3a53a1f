/** The contract on POSIX trees: ext4 or whatever holds the temporary directory, tmpfs, XFS with reflinks; as root and without privilege. */
import t from 'tap'
import { backendConformance } from './backend.ts'
import { harness, notRoot, tmpfs, unavailable, xfs, type Scratch } from './posix-tree.ts'

const expected = { atomicMove: true, linkProperties: true, hardLinks: true, quota: false, directUrl: false }

if (notRoot === false) backendConformance('POSIX as root', harness(undefined, { mode: 'root' }), expected)
else void t.test('POSIX as root', { skip: notRoot }, () => undefined)

backendConformance('POSIX without privilege', harness(undefined, { mode: 'unprivileged' }), expected)

mounted('POSIX as root on XFS', xfs, { ...expected, reflink: true })
mounted('POSIX as root on tmpfs', () => tmpfs('256m'), expected)

function mounted(name: string, make: () => Scratch, capabilities: typeof expected & { reflink?: boolean }): void {
  const skip = notRoot || unavailable(make)
  if (skip !== false) return void t.test(name, { skip }, () => undefined)
  const scratch = make()
  t.teardown(() => scratch.dispose())
  backendConformance(name, harness(scratch.dir, { mode: 'root' }), capabilities)
}
