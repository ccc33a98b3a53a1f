// Mounting as an ordinary user by fusermount3. /dev/fuse is opened to everybody for the time of the test when needed.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { findMounts, mountAt } from '../../mount/fuse/mountinfo.ts'
import { detachStale } from '../../mount/fuse/unmount.ts'
import { needs } from '../parts.ts'
import { fuseSkip, mountPoint, run, runNode, serve, until } from './fuse-harness.ts'

const NOBODY = 65534
const DEVICE = '/dev/fuse'
const FUSE = path.join(import.meta.dirname, '../../mount/fuse')

async function whySkip(): Promise<string | false> {
  const reason = await fuseSkip()
  if (reason !== false) return reason
  const missing = needs('root', 'fusermount3')
  if (missing !== false) return missing
  const { status } = await runNode('', [], { uid: NOBODY }).catch(() => ({ status: -1 }))
  if (status !== 0) return 'another user cannot run this node'
  const readable = await run('cat', [path.join(FUSE, 'mount.ts')], { uid: NOBODY })
  return readable.status === 0 ? false : 'another user cannot read these sources'
}

const skip = await whySkip()

/** Runs a script with a function of mount/fuse as an ordinary user. */
function asNobody(script: string, ...args: string[]) {
  const imports = `import { whyNoFuse } from '${FUSE}/privilege.ts'
    import { unmountFuse, detachStale, probeMount } from '${FUSE}/unmount.ts'
    import { mountFuse } from '${FUSE}/mount.ts'
    const [dir] = process.argv.slice(1)\n`
  return runNode(imports + script, args, { uid: NOBODY })
}

t.test('as an ordinary user', { skip }, async (t) => {
  const mode = fs.statSync(DEVICE).mode & 0o7777
  t.teardown(() => fs.chmodSync(DEVICE, mode))

  await t.test('it says that /dev/fuse may not be opened', async (t) => {
    fs.chmodSync(DEVICE, 0o600)
    const { output } = await asNobody('console.log(await whyNoFuse())')
    t.equal(output, 'This user may not open /dev/fuse: it needs mode 0666, or this user its group.\n')
    const dir = mountPoint(NOBODY)
    t.teardown(() => fs.rmdirSync(dir))
    const refused = await asNobody(`await mountFuse(dir, {fsname: 'x'}).catch((e) => console.log(e.message))`, dir)
    t.match(refused.output, /may not open/)
  })

  fs.chmodSync(DEVICE, 0o666)

  await t.test('it sees no obstacle otherwise, except no_new_privs', async (t) => {
    t.equal((await asNobody('console.log(await whyNoFuse())')).output, 'null\n')
    const script = `import { whyNoFuse } from '${FUSE}/privilege.ts'; console.log(await whyNoFuse())`
    const args = ['--no-new-privs', '--', process.execPath, '--input-type=module', '-e', script]
    t.match((await run('setpriv', args, { uid: NOBODY })).output, /no_new_privs is set/)
  })

  for (const transport of ['epoll', 'read'] as const) {
    await t.test(`it mounts, serves and unmounts (${transport})`, async (t) => {
      const { dir, closed } = await serve(t, { transport, fsname: 'with,comma\\and more' }, NOBODY)
      t.match(await mountAt(dir), { type: 'fuse.karst', source: 'with,comma\\and more' })
      const script = `set -e; cd ${dir}; echo content > file; mkdir d; mv file d; cat d/file; head -c 3000000 /dev/zero > d/large; wc -c < d/large`
      const { output } = await run('sh', ['-c', script], { uid: NOBODY })
      t.equal(output, 'content\n3000000\n')
      t.throws(() => fs.readdirSync(dir), { code: 'EACCES' }, 'nobody else may look, root included')
      const unmounted = await asNobody('await unmountFuse(dir)', dir)
      t.match(unmounted, { status: 0, output: '' })
      t.match(await closed, { detail: '' })
      t.equal(await mountAt(dir), undefined)
    })
  }

  await t.test('it detaches what a killed server left', async (t) => {
    const { dir, child } = await serve(t, { transport: 'epoll' }, NOBODY)
    child.kill('SIGKILL')
    const { output } = await until(
      () => asNobody('console.log(await detachStale(dir))', dir),
      (run) => run.output === 'true\n',
    )
    t.equal(output, 'true\n')
    t.equal(await detachStale(dir), false)
    t.notOk((await findMounts()).some((mount) => mount.path === dir))
  })

  await t.test('it does not mount where the user may not write', async (t) => {
    const dir = mountPoint()
    t.teardown(() => fs.rmdirSync(dir))
    fs.chmodSync(dir, 0o755)
    const { output } = await asNobody(
      `await mountFuse(dir, {fsname: 'x'}).catch((e) => console.log(e.name, e.message))`,
      dir,
    )
    t.match(output, /^MountError fusermount3 .*no write access/)
  })
})
