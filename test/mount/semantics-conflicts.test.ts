// mount/SEMANTICS.md "Two writers": the same file changed here and by somebody else. No kernel: what counts is what is sent.
import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { Fault } from '../../src/vospace/fault.ts'
import { HOME, sleep } from './driver-harness.ts'
import { errnoOf, O, walk } from './tree-harness.ts'

void t.test('conflict-whole', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, 'opened')
  const fh = await mount.open('f', O.O_RDWR | O.O_TRUNC)
  mount.write(fh, 0, 'mine')
  mount.remote.write(`${HOME}/f`, 'theirs, and longer')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'mine', 'the last to close a file written anew wins, whole')
})

void t.test('conflict-whole', async (t) => {
  const mount = await walk(t)
  const big = Buffer.alloc(300_000, 'o')
  mount.remote.write(`${HOME}/f`, big)
  const fh = await mount.open('f', O.O_RDWR)
  mount.write(fh, 0, Buffer.alloc(300_000, 'm'))
  await mount.files.fsync(fh)
  mount.write(fh, 5, 'again')
  mount.remote.write(`${HOME}/f`, 'short')
  await mount.close(fh)
  const bytes = mount.remote.bytes(`${HOME}/f`)?.toString() ?? ''
  t.equal(bytes.slice(0, 12), 'mmmmmagainmm', 'also where it was sent in parts')
  t.equal(bytes.length, 300_000)
})

void t.test('conflict-append', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/log`, 'one\n')
  const fh = await mount.open('log', O.O_RDWR | O.O_APPEND)
  mount.write(fh, 0, 'mine\n')
  mount.remote.write(`${HOME}/log`, 'one\ntheirs\n')
  await mount.files.fsync(fh)
  t.equal(mount.remote.bytes(`${HOME}/log`)?.toString(), 'one\ntheirs\nmine\n')
  mount.write(fh, 0, 'more\n')
  t.equal((await mount.read(fh)).toString(), 'one\ntheirs\nmine\nmore\n', 'and it reads so')
  t.ok(mount.invalidated.includes('log'), 'the kernel is told that its pages are old')
  mount.remote.write(`${HOME}/log`, '')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/log`)?.toString(), 'more\n', 'a log that was rotated goes on')
})

void t.test('conflict-partial', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, '0123456789')
  const fh = await mount.open('f', O.O_RDWR)
  mount.write(fh, 2, 'AB')
  mount.remote.write(`${HOME}/f`, '01234567XY')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), '01AB4567XY', 'each keeps what it wrote')
})

void t.test('conflict-refused', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, '0123456789')
  const fh = await mount.open('f', O.O_RDWR)
  mount.write(fh, 2, 'AB')
  mount.remote.write(`${HOME}/f`, 'something else altogether')
  t.equal(await errnoOf(mount.files.flush(fh)), 'ESTALE')
  t.equal(await errnoOf(mount.files.flush(fh)), 'ESTALE', 'as often as it is asked')
  await mount.files.release(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'something else altogether')
  const kept = fs.readdirSync(path.join(mount.state, 'recovered')).find((name) => name.endsWith('-f'))
  t.equal(
    fs.readFileSync(path.join(mount.state, 'recovered', kept ?? ''), 'latin1'),
    '\0\0AB',
    'what was written is kept',
  )
  t.equal(mount.log.length, 1)
  t.equal(await mount.readFile('f'), 'something else altogether')
})

void t.test('removed-while-written', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, 'old')
  const fh = await mount.open('f', O.O_WRONLY | O.O_TRUNC)
  mount.write(fh, 0, 'new')
  await mount.remote.remove(`${HOME}/f` as never, 'leaf')
  t.equal(await errnoOf(mount.close(fh)), 'ESTALE')
  t.match(mount.log, [/f: the gateway did not take it/])
})

void t.test('renamed-by-others', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/f`, 'old')
  const fh = await mount.open('f', O.O_WRONLY | O.O_APPEND)
  mount.write(fh, 0, '+new')
  await mount.remote.rename(`${HOME}/f` as never, `${HOME}/g` as never, 'replace')
  mount.remote.write(`${HOME}/f`, 'another')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/g`)?.toString(), 'old+new', 'the bytes go to the file that was opened')
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'another')
})

void t.test('writes-during-a-flush', async (t) => {
  const mount = await walk(t)
  const fh = await mount.open('f', O.O_RDWR | O.O_CREAT)
  mount.write(fh, 0, 'first')
  const release = mount.remote.hold('put')
  const flushed = mount.files.fsync(fh)
  await sleep(10)
  mount.write(fh, 0, 'SECOND')
  release()
  await flushed
  t.equal((await mount.read(fh)).toString(), 'SECOND')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'SECOND', 'what was written meanwhile is sent with the next')
})

void t.test('writes-during-a-flush', async (t) => {
  const mount = await walk(t)
  const fh = await mount.open('f', O.O_RDWR | O.O_CREAT)
  mount.write(fh, 0, 'x'.repeat(100_000))
  const release = mount.remote.hold('put')
  const flushed = mount.files.fsync(fh)
  await sleep(10)
  mount.files.get(fh).content.truncate(3)
  release()
  await flushed
  mount.files.get(fh).content.truncate(6)
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'xxx\0\0\0', 'a truncation meanwhile is not undone')
})

void t.test('writes-during-a-flush', async (t) => {
  const mount = await walk(t)
  const fh = await mount.open('f', O.O_RDWR | O.O_CREAT)
  mount.write(fh, 0, 'first')
  const release = mount.remote.hold('put')
  mount.remote.failNext(1, new Fault('QuotaExceeded', 'on order'), 'put')
  const flushed = errnoOf(mount.files.fsync(fh))
  await sleep(10)
  mount.write(fh, 5, ' and second')
  release()
  t.equal(await flushed, 'EDQUOT')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'first and second', 'a refused flush leaves nothing out')
})

void t.test('lost-replies', async (t) => {
  const mount = await walk(t)
  const fh = await mount.open('f', O.O_RDWR | O.O_CREAT)
  mount.write(fh, 0, 'written once')
  mount.remote.loseReplies(1, 'put')
  t.equal(await errnoOf(mount.files.flush(fh)), 'EIO', 'nobody knows whether it arrived')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/f`)?.toString(), 'written once')
})

void t.test('lost-replies', async (t) => {
  const mount = await walk(t)
  mount.remote.write(`${HOME}/log`, 'one\n')
  const fh = await mount.open('log', O.O_WRONLY | O.O_APPEND)
  mount.write(fh, 0, 'two\n')
  mount.remote.loseReplies(1, 'amend')
  t.equal(await errnoOf(mount.files.flush(fh)), 'EIO')
  mount.write(fh, 0, 'three\n')
  await mount.close(fh)
  t.equal(mount.remote.bytes(`${HOME}/log`)?.toString(), 'one\ntwo\nthree\n', 'nothing is appended twice')
})
