// mount/fuse against the running kernel, through both transports, served from another process.
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { declare, declareCall } from '../../src/libc/ffi.ts'
import { ERRNO } from '../../src/libc/errno.ts'
import { needs } from '../parts.ts'
import { fuseSkip, run, serve, until } from './fuse-harness.ts'

const skip = await fuseSkip()
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const setxattr = declare('lsetxattr', 'int', ['const char *', 'const char *', 'void *', 'size_t', 'int'])
const getxattr = declareCall('lgetxattr', 'int64_t', ['const char *', 'const char *', 'void *', 'size_t'])
const listxattr = declareCall('llistxattr', 'int64_t', ['const char *', 'void *', 'size_t'])
const removexattr = declare('lremovexattr', 'int', ['const char *', 'const char *'])
const renameat2 = declareCall('renameat2', 'int', ['int', 'const char *', 'int', 'const char *', 'uint32_t'])
const AT_FDCWD = -100

for (const transport of ['epoll', 'read'] as const) {
  for (const later of [false, true]) {
    const how = `${transport}, answers ${later ? 'later' : 'at once'}`

    t.test(`it reads back what was written, appended and truncated (${how})`, { skip }, async (t) => {
      const { dir } = await serve(t, { transport, later })
      const file = path.join(dir, 'file')
      const bytes = randomBytes(5 * 1048576 + 12345)
      fs.writeFileSync(file, bytes)
      t.equal(digest(fs.readFileSync(file)), digest(bytes))
      fs.appendFileSync(file, 'more')
      t.equal(fs.statSync(file).size, bytes.length + 4)
      fs.truncateSync(file, 1000001)
      t.equal(digest(fs.readFileSync(file)), digest(bytes.subarray(0, 1000001)))
      fs.truncateSync(file, 3000000)
      const grown = fs.readFileSync(file)
      t.equal(grown.length, 3000000)
      t.ok(
        grown.subarray(1000001).every((byte) => byte === 0),
        'what truncation added reads as zeros',
      )
      fs.writeFileSync(file, 'short')
      t.equal(fs.readFileSync(file, 'utf8'), 'short', 'O_TRUNC comes with open')
    })

    t.test(`it takes reads and writes longer than a message, past the page cache too (${how})`, { skip }, async (t) => {
      const { dir } = await serve(t, { transport, later, openFlags: 1 })
      const file = path.join(dir, 'direct')
      const bytes = randomBytes(3 * 1048576 + 777)
      const fd = fs.openSync(file, 'w+')
      t.equal(fs.writeSync(fd, bytes, 0, bytes.length, 0), bytes.length)
      const back = Buffer.alloc(bytes.length + 10)
      let read = 0
      for (let got = -1; got !== 0; read += got) got = fs.readSync(fd, back, read, back.length - read, read)
      t.equal(read, bytes.length)
      t.equal(digest(back.subarray(0, read)), digest(bytes))
      fs.closeSync(fd)
    })

    t.test(`it keeps concurrent writers apart (${how})`, { skip }, async (t) => {
      const { dir } = await serve(t, { transport, later })
      const bodies = Array.from({ length: 24 }, (_, i) => Buffer.alloc(700000 + i, i + 1))
      await Promise.all(bodies.map((body, i) => fs.promises.writeFile(path.join(dir, `f${i}`), body)))
      for (const [i, body] of bodies.entries()) t.ok(fs.readFileSync(path.join(dir, `f${i}`)).equals(body), `file ${i}`)
    })

    t.test(`it lists a large directory whole, each name once (${how})`, { skip }, async (t) => {
      const { dir } = await serve(t, { transport, later })
      const names = Array.from({ length: 1500 }, (_, i) => `${'n'.repeat(i % 200)}-${i}`).sort()
      for (const name of names) fs.writeFileSync(path.join(dir, name), '')
      t.same(fs.readdirSync(dir).sort(), names)
    })
  }

  t.test(`it takes names that are no UTF-8 and names of 255 bytes (${transport})`, { skip }, async (t) => {
    const { dir } = await serve(t, { transport })
    const odd = [Buffer.from([0xff, 0xfe, 0x80]), Buffer.alloc(255, 0xc3), Buffer.from('tab\tnew\nline\\')]
    for (const name of odd) fs.writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), name]), name)
    const listed = fs.readdirSync(Buffer.from(dir), { encoding: 'buffer' })
    t.same(new Set(listed.map((n) => n.toString('hex'))), new Set(odd.map((n) => n.toString('hex'))))
    for (const name of odd) t.same(fs.readFileSync(Buffer.concat([Buffer.from(`${dir}/`), name])), name)
    t.throws(() => fs.writeFileSync(path.join(dir, 'x'.repeat(256)), ''), { code: 'ENAMETOOLONG' })
  })

  t.test(`it gives every node and handle back (${transport})`, { skip }, async (t) => {
    const { dir, ask, closed } = await serve(t, { transport })
    fs.mkdirSync(path.join(dir, 'a/b/c'), { recursive: true })
    for (let i = 0; i < 300; i++) fs.writeFileSync(path.join(dir, 'a/b', `f${i}`), 'x')
    await run('ls', ['-lR', dir])
    fs.rmSync(path.join(dir, 'a'), { recursive: true })
    const state = await until(
      () => ask('state'),
      ({ inodes, openHandles }) => inodes === 1 && openHandles === 0,
    )
    t.match(state, { inodes: 1, openHandles: 0, log: [] })
    const { status } = await run('umount', [dir])
    t.equal(status, 0)
    t.match(await closed, { detail: '', openHandles: 0 })
  })
}

t.test('it renames over, without replacing, and by exchange', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const [a, b] = [path.join(dir, 'a'), path.join(dir, 'b')]
  const content = () => [fs.readFileSync(a, 'utf8'), fs.readFileSync(b, 'utf8')]
  fs.writeFileSync(a, 'A')
  fs.writeFileSync(b, 'B')
  t.equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, 1), -ERRNO.EEXIST)
  t.same(content(), ['A', 'B'])
  t.equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, 2), 0)
  t.same(content(), ['B', 'A'])
  fs.renameSync(a, b)
  t.notOk(fs.existsSync(a))
  t.equal(fs.readFileSync(b, 'utf8'), 'B')
})

t.test('it has symlinks, hard links, and files that live on without a name', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const file = path.join(dir, 'file')
  fs.writeFileSync(file, 'content')
  fs.symlinkSync('file', path.join(dir, 'soft'))
  fs.linkSync(file, path.join(dir, 'hard'))
  t.equal(fs.readlinkSync(path.join(dir, 'soft')), 'file')
  t.equal(fs.statSync(file).nlink, 2)
  const fd = fs.openSync(file, 'r+')
  fs.unlinkSync(file)
  fs.unlinkSync(path.join(dir, 'hard'))
  fs.writeSync(fd, 'C', 0)
  t.equal(fs.fstatSync(fd).nlink, 0)
  t.equal(fs.readFileSync(fd, 'utf8'), 'Content')
  fs.closeSync(fd)
  t.throws(() => fs.readFileSync(path.join(dir, 'soft')), { code: 'ENOENT' })
})

t.test('it keeps modes and times, also those before 1970', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const file = path.join(dir, 'file')
  fs.writeFileSync(file, 'x', { mode: 0o640 })
  fs.utimesSync(file, 1234567890.25, new Date(-1000500))
  const { atimeNs, mtimeNs, mode } = fs.statSync(file, { bigint: true })
  t.equal(atimeNs, 1234567890250000000n)
  t.equal(mtimeNs, -1000500000000n)
  t.equal(Number(mode) & 0o7777, 0o640)
})

t.test('it clears set-user-ID when somebody else writes', { skip: skip || needs('root') }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const file = path.join(dir, 'file')
  fs.writeFileSync(file, 'x')
  fs.chmodSync(file, 0o4755)
  fs.appendFileSync(file, 'y')
  t.equal(fs.statSync(file).mode & 0o7777, 0o4755, 'root may keep it')
  // without CAP_FSETID: setpriv drops it, the uid stays, so the mount without allow_other still answers
  const { status, output } = await run('setpriv', [
    '--bounding-set=-fsetid',
    '--inh-caps=-fsetid',
    '--',
    'sh',
    '-c',
    `echo z >> ${file}`,
  ])
  t.equal(status, 0, output)
  t.equal(fs.statSync(file).mode & 0o7777, 0o755)
})

t.test('it carries extended attributes', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const file = path.join(dir, 'file')
  fs.writeFileSync(file, '')
  const value = randomBytes(3000)
  setxattr(file, 'user.karst', value, value.length, 0)
  setxattr(file, 'user.empty', Buffer.alloc(1), 0, 0)
  const back = Buffer.alloc(4000)
  t.equal(getxattr(file, 'user.karst', back, 0), 3000, 'size 0 asks for the length')
  t.equal(getxattr(file, 'user.karst', back, 10), -ERRNO.ERANGE)
  t.equal(getxattr(file, 'user.karst', back, 4000), 3000)
  t.ok(back.subarray(0, 3000).equals(value))
  t.equal(getxattr(file, 'user.empty', back, 10), 0)
  const length = listxattr(file, back, 4000)
  t.equal(back.toString('latin1', 0, length), 'user.karst\0user.empty\0')
  removexattr(file, 'user.karst')
  t.equal(getxattr(file, 'user.karst', back, 4000), -ERRNO.ENODATA)
})

t.test('it answers statfs and copies ranges', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  t.match(fs.statfsSync(dir), { bsize: 4096, blocks: 1 << 26 })
  fs.writeFileSync(path.join(dir, 'from'), randomBytes(2500000))
  fs.copyFileSync(path.join(dir, 'from'), path.join(dir, 'to'))
  t.ok(fs.readFileSync(path.join(dir, 'from')).equals(fs.readFileSync(path.join(dir, 'to'))))
})

t.test('it reports by close what flush refuses', { skip }, async (t) => {
  const { dir } = await serve(t, { transport: 'epoll' })
  const fd = fs.openSync(path.join(dir, 'full'), 'w')
  fs.writeSync(fd, 'x')
  let errno: number | undefined
  try {
    fs.closeSync(fd)
  } catch (error) {
    // node has no name for EDQUOT
    errno = (error as NodeJS.ErrnoException).errno
  }
  t.equal(errno, -ERRNO.EDQUOT)
  fs.writeFileSync(path.join(dir, 'other'), 'x')
})

t.test('it shows a change once the kernel is told, and not before its time', { skip }, async (t) => {
  const { dir, ask } = await serve(t, { transport: 'epoll', ttl: 3600 })
  const file = path.join(dir, 'watched')
  t.notOk(fs.existsSync(file))
  await ask('grow')
  t.ok(fs.existsSync(file), 'a refusal with ENOENT is not remembered')
  await ask('grow')
  t.equal(fs.statSync(file).size, 0, 'attributes are')
  t.match(await ask('invalidateInode'), { log: [] })
  t.equal(fs.readFileSync(file, 'utf8'), 'changed behind the kernel')
  t.match(await ask('invalidateEntry'), { log: [] })
})

t.test('it does not lock up when it invalidates in a directory the kernel is busy with', { skip }, async (t) => {
  const { dir, ask } = await serve(t, { transport: 'epoll' })
  fs.writeFileSync(path.join(dir, 'other'), 'x')
  for (let i = 0; i < 3; i++) {
    const { status, output } = await run('mkdir', [path.join(dir, `notify-${i}`)])
    t.equal(status, 0, output)
  }
  t.match(await ask('state'), { log: [] })
})
