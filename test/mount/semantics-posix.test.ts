// What mounts promise over a POSIX tree that the gateway keeps as root: through a real gateway, a trusted mount of the whole, and one of alice's.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { ALICE, prepareGround } from '../posix/ground.ts'
import { fuseSkip, needs } from '../parts.ts'
import { run, type RunOptions } from '../service/running.ts'
import { js } from './driver-harness.ts'

const skip = needs('root with CAP_SYS_ADMIN', 'python3') || (await fuseSkip())
const document = fs.readFileSync(path.join(import.meta.dirname, '../../mount/SEMANTICS.md'), 'utf8')

/** A script of python, in a process that touches the mount, as whom one likes; answers what it prints. */
async function python(script: string, args: readonly string[], as: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(
    'python3',
    ['-c', `import os, sys, stat, errno\na = sys.argv[1:]\n${script}`, ...args],
    {
      cwd: '/',
      ...as,
    },
  )
  if (code !== 0) throw new Error(stderr)
  return stdout.trim()
}

void t.test('over a POSIX tree', { skip }, async (t) => {
  const ground = await prepareGround()
  t.teardown(() => ground.close())
  const { dir, tree } = ground
  const other = await ground.ordinary()
  const at = (...names: string[]): string => path.join(dir, ...names)
  await js(
    `fs.chmodSync(argv[0], 0o755); fs.mkdirSync(argv[0] + '/alice'); fs.chownSync(argv[0] + '/alice', ${ALICE}, ${ALICE})`,
    dir,
  )
  const bob = { uid: 6001, gid: 6002 }

  await t.test('trusted', async (t) => {
    await js(`fs.mkdirSync(argv[0]); fs.chmodSync(argv[0], 0o777)`, at('open'))
    const script = `
os.umask(0o027)
os.mkdir(a[0] + '/d'); open(a[0] + '/f', 'w').write('x'); os.symlink('f', a[0] + '/l')
os.chmod(a[0] + '/f', 0o600)
try: os.chown(a[0] + '/f', 0, 0)
except OSError as e: print(errno.errorcode[e.errno])`
    t.equal(await python(script, [at('open')], bob), 'EPERM', 'who may what is decided by their kernel')
    for (const name of ['d', 'f', 'l']) {
      const { uid, gid } = fs.lstatSync(path.join(tree, 'open', name))
      t.same([uid, gid], [bob.uid, bob.gid], name)
    }
    t.equal(fs.statSync(path.join(tree, 'open/d')).mode & 0o777, 0o750, 'the umask is theirs')
    const read = `
try: print(open(a[0]).read())
except OSError as e: print(errno.errorcode[e.errno])`
    t.equal(await python(read, [at('open/f')], bob), 'x')
    t.equal(await python(read, [at('open/f')], { uid: 6003, gid: 6003 }), 'EACCES')
    t.equal(await python(read, [at('open/f')]), 'x', 'root reads everything')
  })

  await t.test('hard-links', async (t) => {
    const script = `
d = a[0]
open(d + '/one', 'w').write('first')
os.link(d + '/one', d + '/two')
s, u = os.stat(d + '/one'), os.stat(d + '/two')
print(s.st_ino == u.st_ino, s.st_nlink, u.st_nlink)
f = open(d + '/two', 'r+'); f.write('FIRST and more'); f.close()
print(open(d + '/one').read())
f = open(d + '/two', 'w'); f.write('anew'); f.close()
print(open(d + '/one').read())
f = open(d + '/one', 'a'); os.unlink(d + '/one'); f.write('!'); f.close()
print(open(d + '/two').read(), os.stat(d + '/two').st_nlink)
try: os.link(d, d + '/dir')
except OSError as e: print(errno.errorcode[e.errno])
try: os.link(d + '/two', d + '/two')
except OSError as e: print(errno.errorcode[e.errno])
os.symlink('two', d + '/sym'); os.link(d + '/sym', d + '/sym2', follow_symlinks=False)
print(os.readlink(d + '/sym2'), os.lstat(d + '/sym').st_nlink)
os.link(d + '/two', d + '/three'); os.rename(d + '/three', d + '/four'); os.unlink(d + '/two')
print(open(d + '/four').read(), os.stat(d + '/four').st_nlink)
fd = os.open(d + '/four', os.O_RDWR); os.link(d + '/four', d + '/five'); os.unlink(d + '/four')
os.write(fd, b'A'); os.fsync(fd); print(os.fstat(fd).st_nlink, open(d + '/five').read()); os.close(fd)`
    const said = 'True 2 2\nFIRST and more\nanew\nanew! 1\nEPERM\nEEXIST\ntwo 2\nanew! 1\n1 Anew!'
    for (const place of [at('alice'), path.join(other, 'alice')]) {
      const own = path.join(place, `links-${path.basename(path.dirname(place))}`)
      await js(`fs.mkdirSync(argv[0])`, own)
      t.equal(await python(script, [own]), said, place)
    }
  })

  await t.test('special-files', async (t) => {
    const script = `
d = a[0]
os.mkfifo(d + '/fifo', 0o640); os.mknod(d + '/dev', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
import socket
s = socket.socket(socket.AF_UNIX); os.chdir(d); s.bind('sock')
print(sorted(os.listdir(d)), stat.S_ISFIFO(os.stat(d + '/fifo').st_mode), os.stat(d + '/dev').st_rdev == os.makedev(1, 3))
pid = os.fork()
if pid == 0:
    open(d + '/fifo', 'w').write('through'); os._exit(0)
print(open(d + '/fifo').read()); os.waitpid(pid, 0)
s.listen(); c = socket.socket(socket.AF_UNIX); c.connect('sock'); print('connected')
os.rename('fifo', 'fifo2'); os.unlink('dev'); print(sorted(os.listdir('.')))`
    await js(`fs.mkdirSync(argv[0])`, at('special'))
    t.equal(
      await python(script, [at('special')]),
      "['dev', 'fifo', 'sock'] True True\nthrough\nconnected\n['fifo2', 'sock']",
    )
    await js(`fs.chmodSync(argv[0], 0o755)`, at('special'))
    t.same(await js(`return fs.readdirSync(argv[0])`, path.join(other, 'special')), [], 'others are not shown them')
    t.same(await js(`return attempt(() => fs.statSync(argv[0]))`, path.join(other, 'special/fifo2')), 'ENOENT')
  })

  await t.test('set-ids', async (t) => {
    const script = `
d = a[0]
open(d + '/f', 'w').write('x'); os.chmod(d + '/f', 0o6755); os.chown(d + '/f', 6001, 6002)
print(oct(os.stat(d + '/f').st_mode & 0o7777))
os.chmod(d + '/f', 0o6777)
pid = os.fork()
if pid == 0:
    os.setgid(6009); os.setuid(6009); open(d + '/f', 'a').write('y'); os._exit(0)
os.waitpid(pid, 0)
print(oct(os.stat(d + '/f').st_mode & 0o7777))
os.mkdir(d + '/g'); os.chown(d + '/g', 0, 4242); os.chmod(d + '/g', 0o2775)
os.mkdir(d + '/g/sub'); open(d + '/g/file', 'w')
print(os.stat(d + '/g/file').st_gid, os.stat(d + '/g/sub').st_gid, oct(os.stat(d + '/g/sub').st_mode & 0o7000))`
    await js(`fs.mkdirSync(argv[0]); fs.chmodSync(argv[0], 0o777)`, at('ids'))
    t.equal(await python(script, [at('ids')]), '0o755\n0o777\n4242 4242 0o2000')
  })

  await t.test('sticky-folders', async (t) => {
    await js(`fs.mkdirSync(argv[0]); fs.chmodSync(argv[0], 0o1777)`, at('tmp'))
    await python(`open(a[0] + '/bobs', 'w')`, [at('tmp')], bob)
    const script = `
for act in (lambda: os.unlink(a[0] + '/bobs'), lambda: os.rename(a[0] + '/bobs', a[0] + '/mine')):
    try: act()
    except OSError as e: print(errno.errorcode[e.errno])`
    t.equal(await python(script, [at('tmp')], { uid: 6003, gid: 6003 }), 'EPERM\nEPERM')
  })

  await t.test('access-times', async (t) => {
    const script = `
f = a[0]
open(f, 'w').write('x'); os.utime(f, ns=(1234567890123456789, 987654321987654321))
s = os.stat(f); print(s.st_atime_ns, s.st_mtime_ns)
os.utime(f, ns=(-1000000001, 5)); s = os.stat(f); print(s.st_atime_ns, s.st_mtime_ns)`
    t.equal(await python(script, [at('times')]), '1234567890123456789 987654321987654321\n-1000000001 5')
  })

  await t.test('acls', async (t) => {
    await python(
      `
import struct
open(a[0], 'w').write('for 6005')
os.chmod(a[0], 0o600)
e = [(1, 6, -1), (2, 4, 6005), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
v = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', t, p, i & 0xffffffff) for t, p, i in e)
os.setxattr(a[0], 'system.posix_acl_access', v)
assert os.getxattr(a[0], 'system.posix_acl_access') == v`,
      [at('acl')],
    )
    const read = `
try: print(open(a[0]).read())
except OSError as e: print(errno.errorcode[e.errno])`
    t.equal(await python(read, [at('acl')], { uid: 6005, gid: 6005 }), 'for 6005', 'the kernel goes by it')
    t.equal(await python(read, [at('acl')], { uid: 6006, gid: 6006 }), 'EACCES')
    t.equal(await python(read, [path.join(tree, 'acl')], { uid: 6005, gid: 6005 }), 'for 6005', 'a bind mount too')
    const none = `
for name in ('access', 'default'):
    try: os.getxattr(a[0], 'system.posix_acl_' + name)
    except OSError as e: print(errno.errorcode[e.errno])`
    t.equal(await python(none, [path.join(other, 'alice')]), 'ENODATA\nENODATA')
  })

  await t.test('sparse-files', async (t) => {
    const script = `
fd = os.open(a[0], os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'end', 5000000)
print(os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 10, os.SEEK_HOLE))
try: os.lseek(fd, 6000000, os.SEEK_DATA)
except OSError as e: print(errno.errorcode[e.errno])
to = os.open(a[0] + '2', os.O_RDWR | os.O_CREAT)
os.lseek(fd, 0, 0)
n = 0
while n < 5000003: n += os.copy_file_range(fd, to, 5000003 - n)
print(os.pread(to, 3, 5000000), os.fstat(to).st_size)
os.posix_fallocate(fd, 0, 6000000); print(os.fstat(fd).st_size)`
    t.equal(await python(script, [at('sparse')]), "0 5000003\nENXIO\nb'end' 5000003\n6000000")
    t.ok(fs.statSync(path.join(tree, 'sparse')).blocks * 512 < 5_000_000, 'the gateway keeps the hole')
  })
})

void t.test('pjdfstest', async (t) => {
  // the suites themselves are run by test/posix; here is what is said of them
  const [, passed = '0', all = '0'] =
    /pjdfstest on a trusted mount \| (\d+) of (\d+) cases/.exec(document.replace(/\s+/g, ' ')) ?? []
  t.ok(Number(all) > 390)
  t.ok(Number(passed) / Number(all) >= 0.97)
  const listed = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../posix/exceptions.json'), 'utf8')) as {
    reason: string
  }[]
  t.equal(Number(all) - Number(passed), listed.length, 'every case that does not pass has a reason')
  for (const { reason } of listed) t.ok(reason.length > 20, reason)
})
