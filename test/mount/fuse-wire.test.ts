// The protocol byte by byte: requests made by hand, the bytes of the answers looked at. No kernel takes part.
import t from 'tap'
import { ERRNO } from '../../src/libc/errno.ts'
import { INIT, INIT2, OP, RESENT_BIT } from '../../mount/fuse/constants.ts'
import { type FileSystem } from '../../mount/fuse/filesystem.ts'
import { type SessionOptions } from '../../mount/fuse/init.ts'
import { Message } from '../../mount/fuse/message.ts'
import { MessagePool } from '../../mount/fuse/message-pool.ts'
import { parseMountInfoLine } from '../../mount/fuse/mountinfo.ts'
import { Session } from '../../mount/fuse/session.ts'
import { type Transport } from '../../mount/fuse/transport.ts'
import { MemoryFileSystem } from './memory-filesystem.ts'

interface Answered {
  readonly error: number
  readonly low: number
  readonly high: number
  readonly body: Buffer
}

class FakeTransport implements Transport {
  readonly answers: Answered[] = []
  readonly notified: Buffer[] = []
  /** Errors that the next writes get. */
  readonly refusals: number[] = []
  onRequest: (message: Message) => void = () => undefined
  onEnd: (error: Error | undefined) => void = () => undefined

  start(onRequest: (message: Message) => void, onEnd: (error: Error | undefined) => void): void {
    this.onRequest = onRequest
    this.onEnd = onEnd
  }

  write(parts: readonly Uint8Array[], length: number): number {
    const bytes = Buffer.concat(parts).subarray(0, length)
    const refused = this.refusals.shift() ?? 0
    if (refused === 0) {
      if (bytes.readUInt32LE(0) !== length) throw new Error('the header has another length')
      const [error, low, high] = [bytes.readInt32LE(4), bytes.readUInt32LE(8), bytes.readUInt32LE(12)]
      this.answers.push({ error, low, high, body: Buffer.from(bytes.subarray(16)) })
    }
    return refused
  }

  async notify(bytes: Uint8Array): Promise<number> {
    this.notified.push(Buffer.from(bytes))
    return this.refusals.shift() ?? 0
  }

  close(): void {
    this.onEnd(undefined)
  }
}

function request(
  opcode: number,
  body: Buffer | string = '',
  { nodeid = 1, low = 2, high = 0, length = -1 } = {},
): Message {
  const bytes = Buffer.from(body)
  const message = new Message(1 << 16)
  message.length = 40 + bytes.length
  message.words.set([length < 0 ? message.length : length, opcode, low, high, nodeid, 0, 1000, 1000, 0, 0])
  message.bytes.set(bytes, 40)
  return message
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => bytes.writeUInt32LE(value >>> 0, i * 4))
  return bytes
}

function started(fs: Partial<FileSystem> | FileSystem = new MemoryFileSystem(), options: SessionOptions = {}) {
  const transport = new FakeTransport()
  const log: string[] = []
  const whole = { lookup: () => -ERRNO.ENOENT, getattr: () => -ERRNO.ENOENT, forget: () => undefined }
  const logger = { error: (text: string, error?: unknown) => void log.push(`${text} ${String(error)}`) }
  const fileSystem = fs instanceof MemoryFileSystem ? fs : { ...whole, ...fs }
  const session = new Session(fileSystem, transport, logger, { interruptGrace: 10, pageSize: 4096, ...options })
  session.start()
  const ask = (message: Message) => {
    const before = transport.answers.length
    transport.onRequest(message)
    return transport.answers[before]
  }
  return { session, transport, log, ask }
}

const INIT_BODY = (minor: number, flags = 0xffffffff, flags2 = 0xffffffff) =>
  Buffer.concat([words(7, minor, 131072, flags, flags2), Buffer.alloc(44)])

t.test('it negotiates what both sides have, and no more', async (t) => {
  const { session, ask } = started()
  const body = ask(request(OP.INIT, INIT_BODY(45)))?.body
  t.equal(body?.length, 64)
  t.equal(body?.readUInt32LE(4), 41, 'our minor')
  t.equal(body?.readUInt32LE(20), 1048576, 'max_write')
  t.equal(body?.readUInt16LE(28), 256, 'max_pages')
  const large = started(undefined, { pageSize: 65536 }).ask(request(OP.INIT, INIT_BODY(45)))?.body
  t.equal(large?.readUInt16LE(28), 16, 'of a kernel with larger pages: no READ is longer than a WRITE')
  const flags = body?.readUInt32LE(12) ?? 0
  for (const bit of [INIT.DO_READDIRPLUS, INIT.ATOMIC_O_TRUNC, INIT.MAX_PAGES]) t.ok(flags & bit)
  t.equal(flags & INIT.WRITEBACK_CACHE, 0)
  t.equal(flags & ((1 << 1) | (1 << 4) | (1 << 10)), 0, 'no locks, no export')
  t.ok((body?.readUInt32LE(32) ?? 0) & INIT2.HAS_RESEND)
  t.match(await session.initialized, { minor: 41, maxWrite: 1048576, maxReadahead: 131072 })
})

t.test('it serves kernels back to 7.31, with what they offer, and refuses older ones', async (t) => {
  const old = started().ask(request(OP.INIT, words(7, 31, 65536, INIT.ASYNC_READ)))?.body
  t.equal(old?.readUInt32LE(4), 31)
  t.equal(old?.readUInt32LE(12), INIT.ASYNC_READ)
  t.equal(old?.readUInt32LE(20), 131072, '32 pages without MAX_PAGES')
  t.equal(old?.readUInt32LE(32), 0)
  t.equal(started().ask(request(OP.INIT, words(7, 30, 65536, 0)))?.error, -ERRNO.EPROTO)
  t.equal(started().ask(request(OP.INIT, words(8, 0, 65536, 0)))?.error, -ERRNO.EPROTO)
})

t.test('it can go on where another process answered INIT', async (t) => {
  const negotiated = { minor: 41, flags: 1, flags2: 128, maxWrite: 4096, maxReadahead: 0, maxBackground: 1 }
  const { session, transport } = started(new MemoryFileSystem(), { negotiated })
  t.equal(await session.initialized, negotiated)
  await session.notifier.resend()
  t.same(transport.notified, [words(16, 7, 0, 0)])
})

t.test('it keeps the number of a request that is sent again, mark and all', async (t) => {
  let seen: unknown
  const { ask } = started({
    getattr(_nodeid, _fh, { resent, unique }) {
      seen = { resent, unique }
      return -ERRNO.ESTALE
    },
  })
  const answer = ask(request(OP.GETATTR, Buffer.alloc(16), { low: 0xfffffffe, high: (RESENT_BIT + 5) >>> 0 }))
  t.match(answer, { error: -ERRNO.ESTALE, low: 0xfffffffe, high: RESENT_BIT + 5 })
  t.same(seen, { resent: true, unique: 5 * 2 ** 32 + 0xfffffffe })
})

t.test('it answers EIO to what is cut short, wrong in length or without the end of a name', async (t) => {
  const { ask, log } = started()
  t.equal(ask(request(OP.GETATTR, Buffer.alloc(8)))?.error, -ERRNO.EIO)
  t.equal(ask(request(OP.GETATTR, Buffer.alloc(16), { length: 5000 }))?.error, -ERRNO.EIO)
  t.equal(ask(request(OP.LOOKUP, 'no end'))?.error, -ERRNO.EIO)
  t.equal(ask(request(OP.RENAME, Buffer.concat([words(1, 0), Buffer.from('from\0to')])))?.error, -ERRNO.EIO)
  t.equal(ask(request(OP.SYMLINK, 'name\0text'))?.error, -ERRNO.EIO)
  t.equal(ask(request(OP.SETXATTR, Buffer.concat([words(4000, 0), Buffer.from('user.a\0x')])))?.error, -ERRNO.EIO)
  const write = words(1, 0, 0, 0, 4000, 0, 0, 0, 0, 0)
  t.equal(ask(request(OP.WRITE, Buffer.concat([write, Buffer.from('short')])))?.error, -ERRNO.EIO)
  t.equal(log.length, 7)
  const stale = request(OP.LOOKUP, 'old\0')
  stale.bytes.set(Buffer.from('new\0left over\0'), 40)
  stale.length = 43
  stale.words[0] = 43
  t.equal(ask(stale)?.error, -ERRNO.EIO, 'a NUL left behind by an earlier request does not count')
})

t.test('it neither answers nor dies of a header that is no header, or of a bad FORGET', async (t) => {
  const { transport, ask, log } = started()
  const stump = new Message(4096)
  stump.length = 12
  t.equal(ask(stump), undefined)
  t.equal(ask(request(OP.BATCH_FORGET, words(1000000, 0, 5, 0, 1, 0))), undefined)
  t.equal(ask(request(OP.FORGET, words(1))), undefined)
  t.equal(transport.answers.length, 0)
  t.equal(log.length, 3)
})

t.test('it answers ENOSYS to what it does not know and what is not implemented, but not to a release', async (t) => {
  const { ask } = started({})
  t.equal(ask(request(63))?.error, -ERRNO.ENOSYS)
  t.equal(ask(request(4096))?.error, -ERRNO.ENOSYS)
  t.equal(ask(request(OP.STATFS))?.error, -ERRNO.ENOSYS)
  t.equal(ask(request(OP.RELEASE, Buffer.alloc(24)))?.error, 0)
})

t.test('it refuses positions that a number cannot hold', async (t) => {
  const { ask } = started(new MemoryFileSystem())
  const far = words(1, 0, 0, 0x40000000, 4096, 0, 0, 0, 0, 0)
  t.equal(ask(request(OP.READ, far))?.error, -ERRNO.EOVERFLOW)
  const write = words(1, 0, 0, 0x40000000, 1, 0, 0, 0, 0, 0)
  t.equal(ask(request(OP.WRITE, Buffer.concat([write, Buffer.from('x')])))?.error, -ERRNO.EFBIG)
  const setattr = Buffer.alloc(88)
  setattr.writeUInt32LE(8, 0)
  setattr.writeUInt32LE(0x40000000, 20)
  t.equal(ask(request(OP.SETATTR, setattr))?.error, -ERRNO.EFBIG)
  t.equal(ask(request(OP.FALLOCATE, words(1, 0, 0, 0x7fffffff, 9, 0, 0, 0)))?.error, -ERRNO.EFBIG)
})

t.test('it writes attributes as the kernel reads them', async (t) => {
  const attributes = {
    ...{
      ino: 2 ** 40 + 3,
      size: 2 ** 33 + 7,
      blocks: 11,
      mode: 0o100640,
      nlink: 2,
      uid: 1,
      gid: 2,
      rdev: 0,
      blksize: 4096,
    },
    atime: 1_500_000_000n,
    mtime: -1n,
    ctime: { sec: 2 ** 33, nsec: 5 },
  }
  const { ask } = started({ getattr: () => ({ attributes, attributesTtl: 1.5 }) })
  const body = ask(request(OP.GETATTR, Buffer.alloc(16)))?.body ?? Buffer.alloc(0)
  t.equal(body.length, 104)
  t.equal(body.readBigUInt64LE(0), 1n)
  t.equal(body.readUInt32LE(8), 500000000)
  t.equal(body.readBigUInt64LE(16), 2n ** 40n + 3n)
  t.equal(body.readBigUInt64LE(24), 2n ** 33n + 7n)
  t.same([body.readBigInt64LE(40), body.readUInt32LE(64)], [1n, 500000000])
  t.same([body.readBigInt64LE(48), body.readUInt32LE(68)], [-1n, 999999999], 'a nanosecond before 1970')
  t.same([body.readBigInt64LE(56), body.readUInt32LE(72)], [2n ** 33n, 5])
})

t.test('it passes on the valid fields of SETATTR only', async (t) => {
  const seen: unknown[] = []
  const { ask } = started({
    setattr(_nodeid, changes) {
      seen.push(changes)
      return -ERRNO.EPERM
    },
  })
  const body = Buffer.alloc(88, 0xff)
  body.writeUInt32LE((1 << 0) | (1 << 4) | (1 << 7) | (1 << 5), 0)
  body.writeBigInt64LE(-5n, 40)
  body.writeUInt32LE(7, 60)
  body.writeUInt32LE(0o600, 68)
  t.equal(ask(request(OP.SETATTR, body))?.error, -ERRNO.EPERM)
  t.same(seen, [{ mode: 0o600, atime: 'now', mtime: { sec: -5, nsec: 7 } }])
})

t.test('it takes back what an interrupted caller never got', async (t) => {
  const memory = new MemoryFileSystem()
  const { transport, ask, log } = started(memory)
  const create = Buffer.concat([words(0, 0o100644, 0, 0), Buffer.from('file\0')])
  transport.refusals.push(-ERRNO.ENOENT)
  t.equal(ask(request(OP.CREATE, create)), undefined)
  const file = memory.root.children.get('file')
  t.equal(file?.lookups, 0)
  t.equal(memory.openHandles, 0)
  t.equal(ask(request(OP.OPENDIR, words(0, 0)))?.error, 0)
  transport.refusals.push(-ERRNO.ENOENT)
  t.equal(ask(request(OP.READDIRPLUS, words(1, 0, 0, 0, 4096, 0, 0, 0, 0, 0))), undefined)
  t.equal(file?.lookups, 0)
  t.equal(memory.root.lookups, Infinity)
  t.same(log, [])
})

t.test('it answers EIO where the kernel does not take the answer', async (t) => {
  const { transport, ask, log } = started(new MemoryFileSystem())
  transport.refusals.push(-ERRNO.EINVAL)
  t.equal(ask(request(OP.STATFS))?.error, -ERRNO.EIO)
  t.match(log, [/refuses our answer: EINVAL/])
})

t.test('it fills a listing to the last entry that fits', async (t) => {
  const memory = new MemoryFileSystem()
  for (const name of ['a', 'bb', 'c'.repeat(255)])
    memory.attach(memory.root, Buffer.from(name), memory.make(0o100644, 0, 0))
  const { ask } = started(memory)
  ask(request(OP.OPENDIR, words(0, 0)))
  const readdir = (offset: number, size: number) =>
    ask(request(OP.READDIR, words(1, 0, offset, 0, size, 0, 0, 0, 0, 0)))?.body.length
  t.equal(readdir(0, 4096), 4 * 32 + 280)
  t.equal(readdir(0, 127), 3 * 32, 'not a byte of the one that does not fit')
  t.equal(readdir(4, 279), 0)
  t.equal(readdir(4, 280), 280)
  t.equal(readdir(5, 280), 0)
})

t.test('it interrupts a request by its number and asks again for one it does not know', async (t) => {
  const { transport, ask, session } = started({ read: () => new Promise<Buffer>(() => undefined) })
  t.equal(ask(request(OP.READ, Buffer.alloc(40), { low: 8 })), undefined)
  t.equal(ask(request(OP.INTERRUPT, words(8, 0), { low: 9 })), undefined)
  t.match(ask(request(OP.INTERRUPT, words(10, 0), { low: 11 })), { error: -ERRNO.EAGAIN, low: 11 })
  transport.onEnd(undefined)
  t.equal(await session.closed, undefined)
})

t.test('it aborts what is in progress when the session ends, and says why it ended', async (t) => {
  let signal: AbortSignal | undefined
  let destroyed = 0
  const { transport, ask, session, log } = started({
    read(_nodeid, _fh, _offset, _size, context) {
      signal = context.signal
      return new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('given up'))))
    },
    destroy() {
      destroyed += 1
      throw new Error('on purpose')
    },
  })
  ask(request(OP.READ, Buffer.alloc(40)))
  transport.onEnd(new Error('EBADF'))
  t.match(await session.closed, { message: 'EBADF' })
  t.equal(signal?.aborted, true)
  t.equal(destroyed, 1)
  t.match(log, [/destroy Error: on purpose/])
})

t.test('it holds the bytes of a WRITE until its answer is there', async (t) => {
  let finish: (count: number) => void = () => undefined
  const { ask, transport } = started({ write: () => new Promise((resolve) => (finish = resolve)) })
  const body = Buffer.concat([words(1, 0, 0, 0, 4, 0, 0, 0, 0, 0), Buffer.from('data')])
  const message = request(OP.WRITE, body)
  t.equal(ask(message), undefined)
  t.equal(message.held, true)
  finish(4)
  await new Promise(setImmediate)
  t.equal(message.held, false)
  t.equal(transport.answers[0]?.body.readUInt32LE(0), 4)
})

t.test('it makes no more messages than allowed and tells when one is free', async (t) => {
  const pool = new MessagePool(4096, 2)
  let told = 0
  const [first, second] = [pool.take(() => told++), pool.take(() => told++)]
  t.equal(
    pool.take(() => told++),
    undefined,
  )
  first?.hold()
  t.equal(told, 0)
  first?.release()
  t.equal(told, 1)
  t.equal(
    pool.take(() => told++),
    first,
  )
  second?.release()
  t.equal(told, 1)
})

t.test('it reads a line of mountinfo', async (t) => {
  const line =
    '36 35 0:42 / /mnt/a\\040b\\011c\\134\\012é rw,nosuid shared:1 master:2 - fuse.karst vos://x\\040y rw,user_id=0'
  t.match(parseMountInfoLine(line), {
    id: 36,
    device: '0:42',
    path: '/mnt/a b\tc\\\né',
    type: 'fuse.karst',
    source: 'vos://x y',
    options: ['rw', 'nosuid', 'user_id=0'],
  })
  t.equal(parseMountInfoLine(''), undefined)
  t.equal(parseMountInfoLine('garbage - '), undefined)
})
