// Who uses a mount: by a file, a mapping, a working directory, or a mount namespace of theirs.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { holdersOf } from '../../mount/fuse/holders.ts'
import { mountAt } from '../../mount/fuse/mountinfo.ts'
import { detachedUnder } from '../../mount/fuse/unmount.ts'
import { needs } from '../parts.ts'
import { run } from './driver-harness.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'unshare', 'python3')

/** A file system of its own, with the file `x`. */
async function mounted(t: Test): Promise<{ readonly dir: string; readonly device: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'karst-holders-'))
  const { status, output } = await run('mount', ['-t', 'tmpfs', 'none', dir])
  t.equal(status, 0, output)
  t.teardown(async () => {
    await run('umount', ['-l', dir])
    rmdirSync(dir)
  })
  writeFileSync(join(dir, 'x'), 'x'.repeat(5000))
  return { dir, device: (await mountAt(dir))?.device ?? '' }
}

/** A program that says a line when it is where it is to be. */
async function begun(t: Test, program: string, args: readonly string[], cwd = '/'): Promise<ChildProcess> {
  const child = spawn(program, args, { cwd, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return child
}

t.test('a file, a mapping and a working directory name their programs', { skip }, async (t) => {
  const { dir, device } = await mounted(t)
  t.same(await holdersOf(device), [])
  const file = await begun(t, 'sh', ['-c', `exec 7<${dir}/x; echo; exec sleep 1000`])
  const mapping = `import mmap,os,sys,time
fd = os.open('${dir}/x', os.O_RDONLY); kept = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
os.close(fd); print(flush=True); time.sleep(1000)`
  const mapped = await begun(t, 'python3', ['-c', mapping])
  const inside = await begun(t, 'sh', ['-c', 'echo; exec sleep 1000'], dir)
  await begun(t, 'sh', ['-c', 'echo; exec sleep 1000'])
  const found = (await holdersOf(device)).sort()
  t.same(found.map((one) => Number(/^\S+ \((\d+)\)$/.exec(one)?.[1])).sort(), [file.pid, mapped.pid, inside.pid].sort())
  t.match(found.join(), /sleep/)
})

t.test('a mount namespace that has it is named once', { skip }, async (t) => {
  const { dir, device } = await mounted(t)
  // unshare itself is in it too
  const script = `grep -q '${dir} ' /proc/self/mountinfo; echo; exec sleep 1000`
  const child = await begun(t, 'unshare', ['--mount', '--kill-child', '--fork', 'sh', '-ec', script])
  const found = await holdersOf(device)
  t.equal(found.length, 1, found.join())
  t.match(found[0], /^the mount namespace of \S+ \(\d+\)$/)
  t.ok(child.pid)
})

t.test('five are named, the others counted', async (t) => {
  const holders = Array.from({ length: 7 }, (_, n) => `p (${n})`)
  t.match(detachedUnder('/x', holders), '/x: was in use by p (0), p (1), p (2), p (3), p (4) and 2 more; detached, ')
  t.match(detachedUnder('/x', ['p (0)']), '/x: was in use by p (0); detached, ')
  t.match(detachedUnder('/x', []), '/x: was in use; detached, ')
})
