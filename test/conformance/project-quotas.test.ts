/** project-quotas.ts where the kernel has project quotas: this machine's, or else the one that is emulated beside it. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../parts.ts'
import { ext4Projects, notRoot, unavailable, xfsProjects } from './posix-tree.ts'

const SUITE = 'test/conformance/project-quotas.ts'
const NAME = 'quotas by projects of ext4 and XFS'
const kernel = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'karst-test/quota-kernel/vmlinuz')

const canHere = notRoot === false && [ext4Projects, xfsProjects].every((make) => unavailable(make) === false)
const lacking = notRoot || needs('qemu-system-x86_64', '/usr/lib/qemu/virtiofsd', 'busybox', 'mkfs.ext4', 'mkfs.xfs', 'setpriv') // prettier-ignore
const missing = lacking || (existsSync(kernel) ? false : 'needs test/services/quota-kernel install')

if (canHere) void t.spawn(process.execPath, [SUITE], {}, NAME)
else if (missing !== false) void t.test(NAME, { skip: missing }, () => undefined)
else {
  // emulated, it is ten times slower
  const patient = ['env', 'TAP_TIMEOUT=600', 'node', SUITE]
  void t.spawn('test/services/quota-kernel', ['run', ...patient], { timeout: 280_000 }, NAME)
}
