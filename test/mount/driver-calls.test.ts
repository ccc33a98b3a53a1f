// The FileSystem that the kernel's session calls: refusals by number, handles, what is never an ENOSYS.
import t, { type Test } from 'tap'
import { driverFileSystem } from '../../mount/driver.ts'
import { FOPEN } from '../../mount/fuse/constants.ts'
import { type Entry, type FileSystem, type OpenReply, type RequestContext } from '../../mount/fuse/filesystem.ts'
import { ERRNO } from '../../src/libc/errno.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { HOME } from './driver-harness.ts'
import { O, walk, type Options } from './tree-harness.ts'

const CONTEXT: RequestContext = {
  ...{ uid: 0, gid: 0, pid: 0, unique: 1, resent: false },
  signal: new AbortController().signal,
}

async function driver(t: Test, options: Options = {}) {
  const mount = await walk(t, options)
  const errors: unknown[] = []
  const logger = { error: (_: string, error?: unknown) => void errors.push(error) }
  const kernel = driverFileSystem({ tree: mount.tree, files: mount.files, logger }) as Required<FileSystem>
  return { mount, kernel, errors }
}

async function opened(kernel: Required<FileSystem>, name: string, flags: number): Promise<OpenReply & Entry> {
  const entry = (await kernel.lookup(1, Buffer.from(name), CONTEXT)) as Entry
  return { ...entry, ...((await kernel.open(entry.nodeid, flags, false, CONTEXT)) as OpenReply) }
}

void t.test('a fault is its errno, anything else EIO and a line in the log', async (t) => {
  const { mount, kernel, errors } = await driver(t)
  mount.remote.failNext(1, new Fault('QuotaExceeded', 'on order'), 'mkdir')
  t.equal(await kernel.mkdir(1, Buffer.from('d'), 0o755, 0, CONTEXT), -ERRNO.EDQUOT)
  t.same(errors, [])
  mount.remote.mkdir = () => Promise.reject(new TypeError('a bug'))
  t.equal(await kernel.mkdir(1, Buffer.from('d'), 0o755, 0, CONTEXT), -ERRNO.EIO)
  t.match(errors, [/a bug/])
})

void t.test('numbers and handles that do not exist are refused', async (t) => {
  const { kernel, errors } = await driver(t)
  t.equal(await kernel.getattr(77, undefined, CONTEXT), -ERRNO.ESTALE)
  t.equal(await kernel.read(1, 77, 0, 10, CONTEXT), -ERRNO.EBADF)
  t.equal(await kernel.write(1, 77, 0, Buffer.from('x'), 0, CONTEXT), -ERRNO.EBADF)
  t.equal(await kernel.flush(1, 77, CONTEXT), -ERRNO.EBADF)
  t.equal(await kernel.release(1, 77, 0, CONTEXT), -ERRNO.EBADF)
  t.same(errors, [])
})

void t.test('handles do what they were opened for', async (t) => {
  const { mount, kernel } = await driver(t)
  mount.remote.write(`${HOME}/f`, 'x')
  const reading = await opened(kernel, 'f', O.O_RDONLY)
  t.equal(await kernel.write(reading.nodeid, reading.fh, 0, Buffer.from('y'), 0, CONTEXT), -ERRNO.EBADF)
  t.equal(await kernel.fallocate(reading.nodeid, reading.fh, 0, 10, 0, CONTEXT), -ERRNO.EBADF)
  t.equal(await kernel.open(1, O.O_RDONLY, false, CONTEXT), -ERRNO.EISDIR)
})

void t.test('cached pages are kept only over the content they are of', async (t) => {
  const { mount, kernel } = await driver(t)
  mount.remote.write(`${HOME}/f`, 'one')
  const kept = async (flags = O.O_RDONLY) => ((await opened(kernel, 'f', flags)).openFlags & FOPEN.KEEP_CACHE) !== 0
  t.equal(await kept(), false)
  t.equal(await kept(), true)
  mount.remote.write(`${HOME}/f`, 'two')
  t.equal(await kept(), false)
  const { nodeid, fh } = await opened(kernel, 'f', O.O_RDWR)
  void kernel.write(nodeid, fh, 0, Buffer.from('mine'), 0, CONTEXT)
  await kernel.flush(nodeid, fh, CONTEXT)
  t.equal(await kept(), true, 'what was written through the pages is in them')
})

void t.test(
  'an appending handle writes at the end, and tells the kernel when that is not where it thought',
  async (t) => {
    const { mount, kernel } = await driver(t)
    mount.remote.write(`${HOME}/log`, '12345')
    const { nodeid, fh } = await opened(kernel, 'log', O.O_WRONLY | O.O_APPEND)
    void kernel.write(nodeid, fh, 5, Buffer.from('6'), 0, CONTEXT)
    t.same(mount.invalidated, [])
    void kernel.write(nodeid, fh, 2, Buffer.from('7'), 0, CONTEXT)
    t.same(mount.invalidated, ['log'])
    await kernel.flush(nodeid, fh, CONTEXT)
    t.equal(mount.remote.bytes(`${HOME}/log`)?.toString(), '1234567')
  },
)

void t.test('a write by the kernel costs no promise', async (t) => {
  const { kernel } = await driver(t)
  const created = await kernel.create(1, Buffer.from('f'), 0o100644, O.O_RDWR, 0, CONTEXT)
  if (typeof created === 'number') throw new Error('refused')
  t.equal(kernel.write(created.entry.nodeid, created.fh, 0, Buffer.from('abc'), 0, CONTEXT), 3)
  t.same(kernel.read(created.entry.nodeid, created.fh, 1, 10, CONTEXT), [Buffer.from('bc')])
})

void t.test('names that are no UTF-8 cannot be made, and are not there', async (t) => {
  const { kernel } = await driver(t)
  const name = Buffer.from([0x61, 0xff])
  t.equal(await kernel.lookup(1, name, CONTEXT), -ERRNO.ENOENT)
  t.equal(await kernel.mkdir(1, name, 0o755, 0, CONTEXT), -ERRNO.EILSEQ)
})

void t.test('set-user-ID goes with the first write', async (t) => {
  const { mount, kernel } = await driver(t)
  mount.remote.write(`${HOME}/tool`, 'x')
  await mount.setattr('tool', { mode: 0o4755 })
  const { nodeid, fh } = await opened(kernel, 'tool', O.O_WRONLY)
  t.equal(await kernel.write(nodeid, fh, 0, Buffer.from('y'), 4, CONTEXT), 1)
  t.equal((await mount.stat('tool')).mode & 0o7777, 0o755)
})

void t.test('a mount for reading refuses changes before the gateway hears of them', async (t) => {
  const { mount, kernel } = await driver(t, { readOnly: true })
  mount.remote.write(`${HOME}/f`, 'x')
  const f = Buffer.from('f')
  const { nodeid } = (await kernel.lookup(1, f, CONTEXT)) as Entry
  mount.remote.calls.splice(0)
  for (const answer of [
    kernel.unlink(1, f, CONTEXT),
    kernel.open(nodeid, O.O_RDWR, false, CONTEXT),
    kernel.create(1, Buffer.from('g'), 0o644, O.O_WRONLY, 0, CONTEXT),
    kernel.setattr(nodeid, { mode: 0 }, CONTEXT),
    kernel.setxattr(nodeid, Buffer.from('user.a'), f, 0, CONTEXT),
  ]) {
    t.equal(await answer, -ERRNO.EROFS)
  }
  t.same(mount.remote.calls, [])
})
