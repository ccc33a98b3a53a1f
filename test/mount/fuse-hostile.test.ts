// What must not kill or block a mount: handlers that fail or never answer, callers that are killed, servers that are.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { FOPEN } from '../../mount/fuse/constants.ts'
import { MountError } from '../../mount/fuse/mount-options.ts'
import { mountFuse, setReadAhead } from '../../mount/fuse/mount.ts'
import { mountAt } from '../../mount/fuse/mountinfo.ts'
import { detachStale, isStale, probeMount, unmountFuse } from '../../mount/fuse/unmount.ts'
import { needs } from '../parts.ts'
import { fuseSkip, mountPoint, run, runNode, serve, sleep } from './fuse-harness.ts'

const skip = await fuseSkip()
/** 96 byte values as tr takes them: three octal digits. */
const OCTAL = Array.from({ length: 96 }, (_, i) => (0o100 + i).toString(8).padStart(3, '0'))
const root = process.getuid?.() === 0

for (const transport of ['epoll', 'read'] as const) {
  t.test(`it turns a handler that fails into EIO and goes on (${transport})`, { skip }, async (t) => {
    const { dir, ask } = await serve(t, { transport })
    for (const name of ['throws', 'rejects', 'greedy']) {
      fs.writeFileSync(path.join(dir, name), 'content')
      t.throws(() => fs.readFileSync(path.join(dir, name)), { code: 'EIO' }, name)
    }
    fs.writeFileSync(path.join(dir, 'fine'), 'content')
    t.equal(fs.readFileSync(path.join(dir, 'fine'), 'utf8'), 'content')
    const { log } = await ask('state')
    t.match(log.join('\n'), /READ of node \d+ Error: thrown on purpose/)
    t.match(log.join('\n'), /rejected on purpose/)
    t.match(log.join('\n'), /2097152 bytes answered/)
  })

  for (const openFlags of [0, FOPEN.DIRECT_IO]) {
    const way = openFlags === 0 ? 'page cache' : 'direct'
    t.test(`it lets a killed caller go whose request is never answered (${transport}, ${way})`, { skip }, async (t) => {
      const { dir, ask } = await serve(t, { transport, openFlags })
      fs.writeFileSync(path.join(dir, 'never'), 'content')
      const { signal } = await run('cat', [path.join(dir, 'never')], {
        started: (child) => void sleep(300).then(() => child.kill('SIGKILL')),
      })
      t.equal(signal, 'SIGKILL')
      const { aborted, log } = await ask('state')
      // nobody waits for a read into the page cache itself, so the kernel interrupts none
      t.equal(aborted, openFlags === 0 ? 0 : 1, 'the handler was told')
      t.same(log, [])
      fs.writeFileSync(path.join(dir, 'fine'), 'content')
      t.equal(fs.readFileSync(path.join(dir, 'fine'), 'utf8'), 'content')
    })
  }

  t.test(
    `it waits for handlers when more writes are held than it has buffers for (${transport})`,
    { skip },
    async (t) => {
      const { dir, ask } = await serve(t, { transport })
      const script = `cd ${dir}; for i in ${OCTAL.join(' ')}; do
        head -c 50000 /dev/zero | tr '\\0' "\\\\$i" | dd of=stall-$i bs=50000 iflag=fullblock status=none & done; wait`
      const { output } = await run('sh', ['-c', script])
      t.equal(output, '')
      for (const i of OCTAL) {
        const bytes = fs.readFileSync(path.join(dir, `stall-${i}`))
        t.ok(bytes.equals(Buffer.alloc(50000, parseInt(String(i), 8))), `file ${i}`)
      }
      t.same((await ask('state')).log, [])
    },
  )

  t.test(`it does not give up a request for a signal that kills nobody (${transport})`, { skip }, async (t) => {
    const { dir } = await serve(t, { transport, openFlags: FOPEN.DIRECT_IO })
    fs.writeFileSync(path.join(dir, 'slow'), 'content')
    const script = `import fs from 'node:fs'
      process.on('SIGUSR2', () => {})
      process.stdout.write(fs.readFileSync(process.argv[1], 'utf8'))`
    const { status, output } = await runNode(script, [path.join(dir, 'slow')], {
      started: (child) => void sleep(400).then(() => child.kill('SIGUSR2')),
    })
    t.match({ status, output }, { status: 0, output: 'content' })
  })
}

t.test('it detaches a mount whose server was killed, and only such a one', { skip }, async (t) => {
  const { dir, child } = await serve(t, { transport: 'epoll' })
  t.equal(await probeMount(dir), 'answers')
  t.equal(await detachStale(dir), false)
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('close', resolve))
  t.throws(() => fs.readdirSync(dir), { code: 'ENOTCONN' })
  await t.rejects(mountFuse(dir, { fsname: 'x' }), { code: 'ENOTCONN' })
  t.equal(await isStale(dir), true)
  t.equal(await detachStale(dir), true)
  t.equal(await mountAt(dir), undefined)
  t.same(fs.readdirSync(dir), [])
  t.equal(await detachStale(dir), false, 'nothing is left to detach')
  t.equal(await probeMount(path.dirname(dir)), 'none')
})

t.test('it neither hangs on nor detaches a mount that keeps silent', { skip }, async (t) => {
  const { dir, child } = await serve(t, { transport: 'epoll' })
  child.kill('SIGSTOP')
  t.equal(await probeMount(dir, 500), 'silent')
  child.kill('SIGCONT')
  t.equal(await probeMount(dir), 'answers')
})

t.test('it refuses to unmount what is in use, and detaches it lazily', { skip }, async (t) => {
  const { dir, closed } = await serve(t, { transport: 'epoll' })
  fs.writeFileSync(path.join(dir, 'file'), 'content')
  const fd = fs.openSync(path.join(dir, 'file'), 'r')
  await t.rejects(unmountFuse(dir), { name: 'MountError', code: 'EBUSY' })
  t.equal(await probeMount(dir), 'answers')
  await unmountFuse(dir, { lazy: true })
  t.equal(await mountAt(dir), undefined)
  t.equal(fs.readFileSync(fd, 'utf8'), 'content', 'what is open is still served')
  fs.closeSync(fd)
  t.match(await closed, { detail: '', log: [] })
})

t.test(
  'it ends a session whose caller still waits when the connection is aborted',
  {
    skip: skip || needs('root'),
  },
  async (t) => {
    const { dir, closed } = await serve(t, { transport: 'epoll' })
    fs.writeFileSync(path.join(dir, 'never'), 'content')
    const reader = run('cat', [path.join(dir, 'never')])
    await sleep(300)
    // refused as busy, but not before it aborted the connection
    await run('umount', ['-f', dir])
    t.not((await reader).status, 0)
    t.match(await closed, { kind: 'closed' })
  },
)

t.test('it finds a mount whatever characters its path has', { skip }, async (t) => {
  const parent = mountPoint()
  const dir = path.join(parent, 'a b\tc\nd\\e #é')
  fs.mkdirSync(dir)
  t.teardown(() => fs.rmdirSync(parent))
  await serve(t, { transport: 'epoll', dir, fsname: 'odd, name=1' })
  t.match(await mountAt(dir), { path: dir, type: 'fuse.karst', source: root ? 'odd, name=1' : String })
  t.equal(await probeMount(dir), 'answers')
})

t.test('it sets the read-ahead of a mount', { skip: skip || needs('root', '/sys/class/bdi') }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  t.equal(await setReadAhead(dir, 4096), 4096)
  await t.rejects(setReadAhead(path.dirname(dir), 4096), { code: 'EINVAL' })
})

t.test('it says what is wrong with a place to mount on', { skip }, async (t) => {
  const dir = mountPoint()
  t.teardown(() => fs.rmSync(dir, { recursive: true }))
  fs.writeFileSync(path.join(dir, 'file'), '')
  await t.rejects(mountFuse(path.join(dir, 'file'), { fsname: 'x' }), { name: 'MountError', code: 'ENOTDIR' })
  await t.rejects(mountFuse(path.join(dir, 'none'), { fsname: 'x' }), { name: 'MountError', code: 'ENOENT' })
  await t.rejects(unmountFuse(dir), MountError)
})
