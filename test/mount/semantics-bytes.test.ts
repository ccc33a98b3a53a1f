// mount/SEMANTICS.md "Opening and reading" and "Writing", against the kernel and with real programs.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { errnoNumber } from '../../src/libc/errno.ts'
import { drive, fuseSkip, hasProgram, HOME, js, sh, until, type Driven } from './driver-harness.ts'

const skip = await fuseSkip()
let mount: Driven

void t.test('the mount', { skip }, async (t) => {
  mount = await drive(t, { ttl: 0.3 })
  const { dir, remote, at } = mount

  const calls = (...names: string[]) => remote.calls.filter(({ name }) => names.includes(name)).map(({ name }) => name)
  const forget = () => void remote.calls.splice(0)
  const out = async (script: string) => {
    const { status, output } = await sh(script, dir)
    if (status !== 0) throw new Error(output)
    return output
  }

  await t.test('close-to-open', async (t) => {
    remote.write(`${HOME}/shared`, 'first')
    t.equal(await out('cat shared'), 'first')
    remote.write(`${HOME}/shared`, 'second, and longer')
    t.equal(await out('cat shared'), 'second, and longer', 'no age is too young for an open')
  })

  await t.test('attribute-age', async (t) => {
    remote.write(`${HOME}/aged`, '12345')
    t.equal(await out('stat -c %s aged; ls gone-later nowhere 2>/dev/null || true'), '5\n')
    remote.write(`${HOME}/aged`, '1234567')
    remote.write(`${HOME}/nowhere`, 'now it is somewhere')
    t.equal(await out('sleep 0.5; stat -c %s aged; cat nowhere'), '7\nnow it is somewhere')
  })

  await t.test('own-changes-at-once', async (t) => {
    const seen = await out('stat new 2>/dev/null || echo none; echo x > new; stat -c %s new; rm new; ls')
    t.match(seen, /^none\n2\n/)
    t.notMatch(seen, /new/)
    // the times of a folder are the gateway's from the first look at it, as tar, make and git rely on
    const times = (
      await out('mkdir -p times/a; echo x > times/f; mv times/f times/g; stat -c %z times; sleep 1.1; stat -c %z times')
    ).trim()
    const [soon, later] = times.split('\n')
    t.equal(soon, later)
  })

  await t.test('replaced-while-read', async (t) => {
    remote.write(`${HOME}/log`, 'line 1\n')
    const reading = js<string[]>(
      `const fd = fs.openSync(argv[0] + '/log'), b = Buffer.alloc(100)
       const read = (at) => b.toString('latin1', 0, fs.readSync(fd, b, 0, 100, at))
       const first = read(0)
       fs.writeFileSync(argv[0] + '/go', '')
       while (fs.fstatSync(fd).size === 7) await new Promise((r) => setTimeout(r, 50))
       return [first, read(7)]`,
      dir,
    )
    while (at('go') === undefined) await new Promise((r) => setTimeout(r, 20))
    remote.write(`${HOME}/log`, 'line 1\nline 2\n')
    t.same(await reading, ['line 1\n', 'line 2\n'])
  })

  await t.test('page-cache-kept', async (t) => {
    remote.write(`${HOME}/calm`, Buffer.alloc(300_000, 'c'))
    await out('cat calm > /dev/null')
    const before = remote.bytesRead
    t.equal(before > 0, true)
    await out('cat calm > /dev/null; sleep 0.5; cmp calm calm')
    t.equal(remote.bytesRead, before, 'not a byte is fetched again')
    remote.write(`${HOME}/calm`, Buffer.alloc(300_000, 'd'))
    t.equal(await out('tail -c 1 calm'), 'd')
  })

  await t.test('mmap', { skip: !(await hasProgram('python3')) && 'no python3' }, async (t) => {
    remote.write(`${HOME}/mapped`, Buffer.alloc(50_000, 'm'))
    const script = `
import mmap, os, sys
fd = os.open('mapped', os.O_RDWR)
m = mmap.mmap(fd, 0)
print(m[0:1], m[49999:50000])
m[10000:10003] = b'new'
os.close(fd)
m.close()`
    t.equal(await out(`python3 -c "${script}"`), "b'm' b'm'\n")
    t.equal(await out('dd if=mapped bs=1 skip=9999 count=5 status=none'), 'mnewm')
    const sent = () => at('mapped')?.slice(9999, 10004)
    for (let i = 0; i < 100 && sent() !== 'mnewm'; i++) await new Promise((r) => setTimeout(r, 50))
    t.equal(sent(), 'mnewm')
  })

  await t.test('close-means-sent', async (t) => {
    await out('printf hello > greeting')
    t.equal(at('greeting'), 'hello')
    await out('head -c 3000000 /dev/urandom > big; cp big copy; cmp big copy')
    t.equal(at('copy') === at('big') && at('big')?.length, at('big')?.length)
  })

  await t.test('fsync-means-sent', async (t) => {
    const seen = js(
      `const fd = fs.openSync(argv[0] + '/synced', 'w'); fs.writeSync(fd, 'abc'); fs.fsyncSync(fd)
       fs.writeFileSync(argv[0] + '/synced-now', '')
       await new Promise((r) => setTimeout(r, 600)); fs.closeSync(fd)`,
      dir,
    )
    while (at('synced-now') === undefined) await new Promise((r) => setTimeout(r, 20))
    t.equal(at('synced'), 'abc')
    await seen
  })

  await t.test('close-tells-errors', async (t) => {
    for (const [fault, errno] of [
      ['QuotaExceeded', 'EDQUOT'],
      ['QuotaExceeded', 'ENOSPC'],
      ['PermissionDenied', 'EACCES'],
      ['InternalFault', 'EIO'],
    ] as const) {
      remote.write(`${HOME}/refused`, 'old')
      // more than enough: the release of the file before may still be trying
      remote.failNext(1000, new Fault(fault, 'on order', { errno }), 'put', 'amend')
      const told = await js<number[]>(
        `const fd = fs.openSync(argv[0] + '/refused', 'w'); fs.writeSync(fd, 'precious')
         const error = (call) => { try { call(); return 0 } catch (error) { return -error.errno } }
         return [error(() => fs.fsyncSync(fd)), error(() => fs.closeSync(fd))]`,
        dir,
      )
      t.same(told, [errnoNumber(errno), errnoNumber(errno)], errno)
      remote.heal()
    }
  })

  await t.test('a-clean-close-is-silent', async (t) => {
    remote.write(`${HOME}/silent`, 'nothing to say')
    await out('cat silent')
    forget()
    await out('exec 3<>silent; exec 4<&3; exec 4<&-; exec 3<&-')
    t.same(calls('put', 'amend', 'setattr'), [])
  })

  await t.test('writes-are-local', async (t) => {
    await js(
      `const fd = fs.openSync(argv[0] + '/many', 'w')
       for (let i = 0; i < 500; i++) fs.writeSync(fd, Buffer.alloc(4096, 'x'))
       fs.writeFileSync(argv[0] + '/many-written', ''); fs.closeSync(fd)`,
      dir,
    )
    const puts = remote.calls.filter(({ name, args }) => name === 'put' && JSON.stringify(args[0]).includes('/many"'))
    t.equal(puts.length, 2, 'one for the create, one for all 500 writes')
    t.equal(at('many')?.length, 500 * 4096)
  })

  await t.test('partial-writes', async (t) => {
    remote.write(`${HOME}/sparse`, Buffer.alloc(5_000_000, 's'))
    forget()
    const read = remote.bytesRead
    await out('printf XYZ | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none')
    const [amend] = remote.calls.filter(({ name }) => name === 'amend')
    t.match(amend?.args[1], [{ offset: 2_500_000, bytes: Buffer.from('XYZ') }])
    t.equal(remote.bytesRead, read, 'nothing is fetched for it')
    t.equal(at('sparse')?.slice(2_499_999, 2_500_004), 'sXYZs')
  })

  await t.test('append', async (t) => {
    await out('for i in 1 2 3; do echo $i >> lines; done')
    t.equal(at('lines'), '1\n2\n3\n')
    await out('(for i in $(seq 50); do echo a; done) >> lines & (for i in $(seq 50); do echo b; done) >> lines; wait')
    t.equal(at('lines')?.length, 6 + 200, 'two writers in one mount lose nothing')
    remote.write(`${HOME}/lines`, 'somebody else wrote this\n')
    await out('echo mine >> lines')
    t.equal(at('lines'), 'somebody else wrote this\nmine\n')
  })

  await t.test('whole-or-nothing', async (t) => {
    remote.write(`${HOME}/whole`, 'old '.repeat(1000))
    const writing = js(
      `const fd = fs.openSync(argv[0] + '/whole', 'w')
       for (let i = 0; i < 100; i++) fs.writeSync(fd, 'new ')
       fs.writeFileSync(argv[0] + '/half-way', '')
       await new Promise((r) => setTimeout(r, 300))
       for (let i = 0; i < 100; i++) fs.writeSync(fd, 'new ')
       fs.closeSync(fd)`,
      dir,
    )
    while (at('half-way') === undefined) await new Promise((r) => setTimeout(r, 20))
    t.equal(at('whole'), 'old '.repeat(1000))
    await writing
    t.equal(at('whole'), 'new '.repeat(200))
  })

  await t.test('truncation', async (t) => {
    remote.write(`${HOME}/cut`, '0123456789')
    await out('truncate -s 4 cut')
    t.equal(at('cut'), '0123', 'truncate(2) is sent before it returns')
    await out('truncate -s 8 cut')
    t.equal(at('cut'), '0123\0\0\0\0')
    const seen = await js<string>(
      `const fd = fs.openSync(argv[0] + '/cut', 'r+'); fs.ftruncateSync(fd, 2); fs.ftruncateSync(fd, 6)
       const b = Buffer.alloc(10); const n = fs.readSync(fd, b, 0, 10, 0); fs.closeSync(fd)
       return b.toString('latin1', 0, n)`,
      dir,
    )
    t.equal(seen, '01\0\0\0\0')
    t.equal(at('cut'), '01\0\0\0\0')
    await out(': > cut')
    t.equal(at('cut'), '')
  })

  await t.test('holes', { skip: !(await hasProgram('fallocate')) && 'no fallocate' }, async (t) => {
    forget()
    await out('truncate -s 1G huge; printf end | dd of=huge bs=1 seek=1000000 conv=notrunc status=none')
    const sent = remote.calls.flatMap(({ name, args }) => (name === 'amend' ? (args[1] as { bytes?: Buffer }[]) : []))
    t.ok(
      sent.every(({ bytes }) => (bytes?.length ?? 0) < 1000),
      'zeros do not travel',
    )
    await out(
      'truncate -s 0 huge; rm huge; printf 0123456789 > f; fallocate -p -o 2 -l 3 f; fallocate -l 12 f; fallocate -n -l 99 f',
    )
    t.equal(at('f'), '01\0\0\u000056789\0\0')
  })

  await t.test('times', async (t) => {
    await out('echo x > dated; touch -d "2001-02-03 04:05:06.789" dated; cp -p dated kept')
    t.equal(await out('stat -c %y dated kept | cut -c1-23'), '2001-02-03 04:05:06.789\n2001-02-03 04:05:06.789\n')
    const stamped = await js<number>(
      `const fd = fs.openSync(argv[0] + '/stamped', 'w'); fs.writeSync(fd, 'x'); fs.futimesSync(fd, 1000, 2000); fs.closeSync(fd)
       return fs.statSync(argv[0] + '/stamped').mtimeMs`,
      dir,
    )
    t.equal(stamped, 2_000_000, 'a time set before close is not overwritten by it')
    t.equal((await remote.entry({ path: `${HOME}/stamped` as never })).mtime, 2_000_000_000_000n)
  })
})

void t.test('close-to-open', { skip }, async (t) => {
  const { dir, state, remote } = await drive(t, { ttl: 60 })
  remote.write(`${HOME}/shared`, 'first')
  const [looked, changed] = [path.join(state, 'looked'), path.join(state, 'changed')]
  const seen = js<[number, number, string]>(
    `const [dir, looked, changed] = argv
     const before = fs.statSync(dir + '/shared').size
     fs.writeFileSync(looked, '')
     while (!fs.existsSync(changed)) await new Promise((r) => setTimeout(r, 10))
     const fd = fs.openSync(dir + '/shared'), b = Buffer.alloc(100)
     const bytes = b.toString('latin1', 0, fs.readSync(fd, b, 0, 100, 0))
     return [before, fs.fstatSync(fd).size, bytes]`,
    ...[dir, looked, changed],
  )
  t.ok(await until(() => fs.existsSync(looked), Boolean))
  remote.write(`${HOME}/shared`, 'second, and longer')
  fs.writeFileSync(changed, '')
  t.same(await seen, [5, 18, 'second, and longer'], 'nor is the size believed that the kernel was told a moment before')
})
