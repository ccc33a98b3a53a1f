// mount/SEMANTICS.md "Names", "Attributes" and "Refused", against the kernel and with real programs.
import t from 'tap'
import { type NodePath } from '../../src/vospace/path.ts'
import { needs } from '../parts.ts'
import { drive, fuseSkip, HOME, js, run, sh, until } from './driver-harness.ts'

const skip = await fuseSkip()

void t.test('the mount', { skip }, async (t) => {
  const { dir, remote, at, ask } = await drive(t, { ttl: 0.3 })
  const entry = (name: string) => remote.entry({ path: `${HOME}/${name}` as NodePath })
  const out = async (script: string, ...args: string[]) => {
    const { status, output } = await sh(script, dir, ...args)
    if (status !== 0) throw new Error(output)
    return output
  }

  await t.test('exclusive-create', async (t) => {
    const racers = Array.from({ length: 20 }, () => run('sh', ['-c', 'set -C; : > "$1/lock"', 'sh', dir]))
    const won = (await Promise.all(racers)).filter(({ status }) => status === 0)
    t.equal(won.length, 1, 'of twenty processes one makes it')
    remote.write(`${HOME}/taken`, 'by somebody else')
    t.equal(await js(`return attempt(() => fs.openSync(argv[0] + '/taken', 'wx'))`, dir), 'EEXIST')
    t.equal(await js(`return attempt(() => fs.mkdirSync(argv[0] + '/taken'))`, dir), 'EEXIST')
    t.equal(at('taken'), 'by somebody else')
  })

  await t.test('rename', async (t) => {
    await out('echo new > r1; echo old > r2; mv r1 r2; test ! -e r1; mkdir -p d/e; echo deep > d/e/f; mv d g')
    t.equal(await out('cat r2 g/e/f; test ! -e d; ls g/e'), 'new\ndeep\nf\n')
    t.equal(at('g/e/f'), 'deep\n')
    const refused = await js(
      `const p = argv[0] + '/'
       return [attempt(() => fs.renameSync(p + 'g', p + 'g/e/inside')), attempt(() => fs.renameSync(p + 'r2', p + 'g')),
         attempt(() => fs.renameSync(p + 'g', p + 'r2')), attempt(() => fs.renameSync(p + 'none', p + 'r2'))]`,
      dir,
    )
    t.same(refused, ['EINVAL', 'EISDIR', 'ENOTDIR', 'ENOENT'])
  })

  await t.test('rename-flags', { skip: needs('python3') }, async (t) => {
    const script = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def rename(a, b, flags):
    return ctypes.get_errno() if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) else 0
print(rename('x', 'y', 1), rename('x', 'y', 2), rename('x', 'z', 1), rename('y', 'z', 4))`
    await out('echo x > x; echo y > y')
    t.equal(await out('python3 -c "$2"', script), '17 0 0 22\n')
    t.equal(at('y'), 'x\n')
    t.equal(at('z'), 'y\n')
  })

  await t.test('open-files-follow', async (t) => {
    await out('mkdir before; echo 1 > before/f')
    await js(
      `const fd = fs.openSync(argv[0] + '/before/f', 'a')
       fs.renameSync(argv[0] + '/before', argv[0] + '/after'); fs.renameSync(argv[0] + '/after/f', argv[0] + '/after/h')
       fs.writeSync(fd, '2'); fs.closeSync(fd)`,
      dir,
    )
    t.equal(at('after/h'), '1\n2')
    t.equal(at('before/f'), undefined)
  })

  await t.test('unlinked-while-open', async (t) => {
    remote.write(`${HOME}/doomed`, 'still here')
    const seen = await js<unknown[]>(
      `const p = argv[0] + '/doomed', fd = fs.openSync(p, 'r+'), b = Buffer.alloc(20)
       fs.unlinkSync(p)
       const read = () => b.toString('latin1', 0, fs.readSync(fd, b, 0, 20, 0))
       const first = read()
       fs.writeSync(fd, ' and there', 10); fs.fsyncSync(fd); fs.fchmodSync(fd, 0o600)
       return [first, read(), fs.fstatSync(fd).nlink, fs.fstatSync(fd).size, fs.existsSync(p), attempt(() => fs.closeSync(fd))]`,
      dir,
    )
    t.same(seen, ['still here', 'still here and there', 0, 20, false, null])
    t.notOk(
      remote.paths().some((path) => path.includes('doomed') || path.includes('.karst')),
      'nothing is left',
    )
  })

  await t.test('replaced-while-open', async (t) => {
    await out('echo one > target; echo two > source')
    const seen = await js(
      `const p = argv[0] + '/', fd = fs.openSync(p + 'target', 'r'), b = Buffer.alloc(20)
       fs.renameSync(p + 'source', p + 'target')
       return [b.toString('latin1', 0, fs.readSync(fd, b, 0, 20, 0)), fs.readFileSync(p + 'target', 'latin1')]`,
      dir,
    )
    t.same(seen, ['one\n', 'two\n'])
  })

  await t.test('rmdir', async (t) => {
    await out('mkdir full empty; echo x > full/x; ln -s full link')
    const answers = await js(
      `return ['full', 'empty', 'link', 'full/x'].map((name) => attempt(() => fs.rmdirSync(argv[0] + '/' + name)))`,
      dir,
    )
    t.same(answers, ['ENOTEMPTY', null, 'ENOTDIR', 'ENOTDIR'])
    t.equal(await js(`return attempt(() => fs.unlinkSync(argv[0] + '/full'))`, dir), 'EISDIR')
    t.equal(at('full/x'), 'x\n')
  })

  await t.test('names', async (t) => {
    const long = 'é'.repeat(127) + 'x'
    await out('echo long > "$2"; cat "$2"; ls | grep -qF "$2"', long)
    t.equal(at(long), 'long\n')
    const answers = await js(
      `const p = argv[0] + '/', bad = Buffer.concat([Buffer.from(p), Buffer.from([0x62, 0xff])])
       return [attempt(() => fs.writeFileSync(p + argv[1] + 'y', '')), attempt(() => fs.writeFileSync(bad, '')), attempt(() => fs.statSync(bad))]`,
      dir,
      long,
    )
    t.same(answers, ['ENAMETOOLONG', 'EILSEQ', 'ENOENT'])
    await out(`touch -- 'a b' 'per%cent' 'new
line' '-dash' '*'; rm -- 'a b' 'per%cent' 'new
line' -dash '*'`)
  })

  await t.test('symlinks', async (t) => {
    await out('mkdir sub; echo text > sub/file; ln -s sub/../sub//file odd; ln -s /outside/of/all dangling; cat odd')
    t.equal(await out('readlink odd dangling'), 'sub/../sub//file\n/outside/of/all\n')
    t.equal((await entry('odd')).text?.toString(), 'sub/../sub//file')
    t.equal(await js(`return attempt(() => fs.readFileSync(argv[0] + '/dangling'))`, dir), 'ENOENT')
  })

  await t.test('listings', async (t) => {
    for (let i = 0; i < 10_000; i++) remote.write(`${HOME}/crowd/${String(i).padStart(5, '0')}`, 'x')
    t.equal(
      await out(
        'ls crowd | wc -l; ls crowd | md5sum; seq -w 0 9999 | sed s/^/0/ | md5sum; ls -l crowd | tail -1 | wc -w',
      ),
      await out('echo 10000; seq -w 0 9999 | sed s/^/0/ | md5sum; seq -w 0 9999 | sed s/^/0/ | md5sum; echo 9'),
    )
    await out('rm -r crowd; test ! -e crowd')
  })

  await t.test('own-files', async (t) => {
    remote.write(`${HOME}/mine`, 'x')
    const uid = String(process.getuid?.())
    t.equal(await out('stat -c %u mine'), `${uid}\n`)
    t.equal(await out('chown "$2" mine; stat -c %u mine', uid), `${uid}\n`)
    const chowned = remote.calls.filter(({ name, args }) => name === 'setattr' && 'uid' in Object(args[1]))
    t.same(chowned, [], 'giving a file to its owner is nothing to ask for')
  })

  await t.test('modes', async (t) => {
    await out('echo x > secret; chmod 600 secret; mkdir private; chmod 700 private; echo x > tool; chmod 755 tool')
    t.equal(await out('stat -c %a secret private tool; sleep 0.5; stat -c %a secret'), '600\n700\n755\n600\n')
    t.same([(await entry('secret')).mode, (await entry('tool')).mode], [0o600, 0o755])
  })

  await t.test('inherited-access', async (t) => {
    await out('umask 077; echo y > narrow; umask 0; echo z > wide; mkdir -m 700 closed; (umask 0; echo x > closed/in)')
    t.same([(await entry('narrow')).access.isPublic, (await entry('wide')).access.isPublic], [true, true])
    t.equal((await entry('closed/in')).access.isPublic, (await entry('closed')).access.isPublic)
  })

  await t.test('inode-numbers', async (t) => {
    const numbers = 'stat -c %i r2 g; find g -printf "%i %p\\n"'
    const before = await out(numbers)
    const other = await drive(t, { remote })
    t.equal((await sh(numbers, other.dir)).output, before, 'another mount shows the same')
  })

  await t.test('space', async (t) => {
    remote.space = { blockSize: 1024, blocks: 1000, blocksFree: 400, files: 100, filesFree: 60, nameMax: 255 }
    t.equal(await out('df --output=size,avail,itotal,iavail . | tail -1 | tr -s " "'), ' 1000 400 100 60\n')
  })

  await t.test('xattrs', { skip: needs('python3') }, async (t) => {
    const script = `
import os, errno
def attempt(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
os.setxattr('mine', 'user.note', b'value')
print(os.getxattr('mine', 'user.note'), os.listxattr('mine'))
print(attempt(os.setxattr, 'mine', 'user.note', b'x', os.XATTR_CREATE), attempt(os.setxattr, 'mine', 'user.none', b'x', os.XATTR_REPLACE))
os.removexattr('mine', 'user.note')
print(attempt(os.getxattr, 'mine', 'user.note'), os.listxattr('mine'))`
    t.equal(await out('python3 -c "$2"', script), "b'value' ['user.note']\nEEXIST ENODATA\nENODATA []\n")
    remote.calls.splice(0)
    const foreign = `
import os, errno
def attempt(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]
for name in 'security.capability', 'security.selinux', 'trusted.x', 'system.posix_acl_access': print(attempt(os.getxattr, 'mine', name))
print(attempt(os.setxattr, 'mine', 'trusted.x', b'x'))`
    t.match(await out('python3 -c "$2"', foreign), /^ENODATA\nENOTSUP\nENODATA\nENODATA\nENOTSUP\n$/)
    t.equal(remote.calls.filter(({ name }) => /xattr/i.test(name)).length, 0, 'the gateway is not asked')
  })

  await t.test('refused-kinds', async (t) => {
    const { output } = await sh('(ln r2 hard || mkfifo pipe) 2>&1 || true', dir)
    t.match(output, /hard.*not permitted[^]*pipe.*not permitted/i)
    t.same(await js(`return [attempt(() => fs.linkSync(argv[0] + '/r2', argv[0] + '/h'))]`, dir), ['EPERM'])
    t.equal(at('hard'), undefined)
  })

  await t.test('unnamed-files', async (t) => {
    t.equal(await js(`return attempt(() => fs.openSync(argv[0], 0o20200000 | 2, 0o600))`, dir), 'ENOTSUP')
  })

  await t.test('read-only', async (t) => {
    const { dir: fixed, remote: other } = await drive(t, { readOnly: true })
    other.write(`${HOME}/fixed`, 'x')
    const answers = await js(
      `const p = argv[0] + '/'
       return [fs.readFileSync(p + 'fixed', 'latin1'), attempt(() => fs.writeFileSync(p + 'fixed', '')), attempt(() => fs.mkdirSync(p + 'd')),
         attempt(() => fs.unlinkSync(p + 'fixed')), attempt(() => fs.chmodSync(p + 'fixed', 0))]`,
      fixed,
    )
    t.same(answers, ['x', 'EROFS', 'EROFS', 'EROFS', 'EROFS'])
  })

  await t.test('nothing stays open and nothing was logged', async (t) => {
    t.equal(
      await until(
        () => ask('openFiles'),
        (open) => open === 0,
      ),
      0,
    )
    t.same(await ask('log'), [])
  })
})
