// The ways to a mount: mount(8) and fstab's helper, a descriptor handed in, `karst mount status`; and what many operations leave.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { helperWords, mountOptionsOf } from '../../src/cli/mount-helper.ts'
import { needs } from '../parts.ts'
import { fuseSkip, js, run, sh, spoolsWithBytes, until } from './driver-harness.ts'
import { ownerOf } from './killing.ts'
import { liveHeap } from './live-heap.ts'
import { survivors } from './survival-harness.ts'

t.setTimeout(600_000)
const skip = await fuseSkip()
const KARST = path.join(import.meta.dirname, '../../bin/karst')
const HELPER = path.join(import.meta.dirname, '../../bin/mount.karst')

void t.test('the words of mount(8) are those of karst mount', async (t) => {
  const read = (...words: string[]) => mountOptionsOf(helperWords(['vos://a~b/c', '/mnt', ...words]))
  t.same(
    read('-n', '-o', 'rw,_netdev,x-systemd.automount,url=https://h/k,certificate=/c.pem,ca=/ca.pem,timeout=7,uid=5'),
    {
      ...{
        uri: 'vos://a~b/c',
        dir: '/mnt',
        url: 'https://h/k',
        certificate: '/c.pem',
        ca: '/ca.pem',
        timeout: 7,
        uid: 5,
      },
    },
  )
  t.match(read('-v', '-t', 'karst', '-o', 'ro', '-o', 'allow_other'), { readOnly: true, allowOther: true })
  t.match(read('-o', 'user,noexec,nosuid'), { noExec: true })
  t.notMatch(read('-o', 'noexec,exec'), { noExec: true }, 'the last one counts')
  t.throws(() => read('-o', 'colour=blue'), /colour=blue/)
  t.throws(() => read('-o', 'timeout=soon'), /timeout=soon/)
  t.throws(() => read('-o', 'constructor=1'), /constructor/)
  t.same(read('-s', '-o', 'colour=blue'), { uri: 'vos://a~b/c', dir: '/mnt' })
  t.throws(() => helperWords(['vos://a~b/c']), /SOURCE DIR/)
})

void t.test(
  'mount(8) mounts by the helper',
  { skip: skip || needs('root with CAP_SYS_ADMIN', 'unshare') },
  async (t) => {
    const { state, gateway } = await survivors(t)
    const folder = path.dirname(state)
    const dir = path.join(folder, 'fstab')
    for (const name of ['bin', 'work', 'fstab']) fs.mkdirSync(path.join(folder, name))
    fs.symlinkSync(HELPER, path.join(folder, 'bin', 'mount.karst'))
    const options = `ro,noexec,_netdev,url=${gateway.url},certificate=${folder}/alice.pem,ca=${folder}/ca.pem,state=${state}`
    // in a mount namespace of its own /usr/sbin has one more program
    const script = `mount -t overlay -o "lowerdir=$1:$(readlink -f /sbin)" overlay "$(readlink -f /sbin)"
    mount -t karst vos://karst.local~karst/home/alice "$2" -o "$3"
    grep -c " $2 fuse.karst ro," /proc/mounts; grep -o " $2 fuse.karst [^ ]*noexec" /proc/mounts; ls "$2"; if touch "$2/x" 2>&1; then exit 1; fi
    KARST_MOUNT_STATE="$4" "$5" mount status "$2" --json; KARST_MOUNT_STATE="$4" "$5" umount "$2"`
    const words = ['-m', 'sh', '-euc', script, 'sh', path.join(folder, 'bin'), dir, options, state, KARST]
    const { status, output } = await run('unshare', words)
    t.equal(status, 0, output)
    t.match(output, /^1\n/)
    t.match(output, /Read-only file system/)
    t.match(output, /noexec/)
    t.match(output, /"readOnly":true.*"dirtyBytes":0.*"survives":true/)
  },
)

void t.test(
  'a descriptor that is handed in is served',
  { skip: skip || needs('root with CAP_SYS_ADMIN') },
  async (t) => {
    const { state, gateway, umount, status } = await survivors(t)
    const folder = path.dirname(state)
    const dir = path.join(folder, 'handed')
    fs.mkdirSync(dir)
    t.teardown(async () => void (await run('umount', ['-l', dir])))
    const script = `exec 7<> /dev/fuse
    mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0,subtype=karst handed "$1"
    KARST_MOUNT_STATE="$2" "$3" mount vos://karst.local~karst/home/alice "$1" --fd 7 --url "$4" --certificate "$5/alice.pem" --ca "$5/ca.pem"`
    const { status: code, output } = await run('sh', ['-euc', script, 'sh', dir, state, KARST, gateway.url, folder])
    t.equal(code, 0, output)
    t.same(await sh('echo mine > f; cat f', dir), { status: 0, output: 'mine\n' })
    t.match((await status())?.mounts, [{ dir, survives: true }])
    t.same(await umount(dir), [])
  },
)

void t.test('many operations leave nothing behind', { skip }, async (t) => {
  const { state, mount, umount, status } = await survivors(t)
  const dir = await mount('/home/alice')
  const churn = (rounds: number) =>
    js(
      `for (let i = 0; i < ${rounds}; i++) {
         const f = argv[0] + '/n' + (i % 50)
         fs.writeFileSync(f, 'x'.repeat(i % 3000)); fs.statSync(f); fs.readFileSync(f)
         fs.renameSync(f, f + 'r'); if (i % 10 === 0) fs.readdirSync(argv[0]); fs.unlinkSync(f + 'r')
       }`,
      dir,
    )
  const looked = async () => {
    // the kernel lets go of nodes when it is told to
    await run('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches'])
    const pid = ownerOf(state) ?? 0
    // garbage that nobody has collected yet is no leak, and would be up to 60 MiB of the memory
    const heap = (await liveHeap(pid)) >> 20
    const descriptors = fs.readdirSync(`/proc/${pid}/fd`).length
    const [mounted] = (await status())?.mounts ?? []
    const record = fs.readdirSync(path.join(state, 'resume')).length
    const spool = spoolsWithBytes(state)
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return {
      memory: Number(kilobytes) >> 10,
      heap,
      descriptors,
      inodes: mounted?.inodes ?? 0,
      open: mounted?.openFiles,
      count: mounted?.latency.count ?? 0,
      record,
      spool,
    }
  }
  await churn(1000)
  const before = await looked()
  await churn(3600)
  const after = await until(looked, ({ inodes, open }) => open === 0 && inodes <= before.inodes + 5)
  t.ok(after.count - before.count > 30_000, `${after.count - before.count} requests`)
  // a request that left 200 bytes would show; and outside of the heap one that left a kilobyte
  t.ok(after.heap <= before.heap + 8, `${before.heap} MiB of objects and buffers, then ${after.heap} MiB`)
  t.ok(after.memory <= before.memory + 32, `${before.memory} MiB, then ${after.memory} MiB`)
  t.ok(after.descriptors <= before.descriptors + 25, `${before.descriptors} then ${after.descriptors} descriptors`)
  t.ok(after.inodes <= before.inodes + 5, `${before.inodes} then ${after.inodes} nodes`)
  t.same([after.open, after.spool, after.record], [0, [], 1])
  t.same(await umount(dir), [])
  t.notOk(fs.existsSync(path.join(state, 'resume')) && fs.readdirSync(path.join(state, 'resume')).length > 0)
})
