/** What the reader asks of the gateway: how much, how often, how far ahead. */
import t from 'tap'
import { type Inlet } from '../../mount/inlet.ts'
import { ReadBudget } from '../../mount/read-budget.ts'
import { Reader } from '../../mount/reader.ts'
import { type Remote } from '../../mount/remote.ts'
import { Fault } from '../../src/vospace/fault.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { FakeRemote } from './fake-remote.ts'

const KIB = 1024
const MIB = 1024 * KIB
const PATH = nodePath('/f')

const PATTERN = Buffer.from(Array.from({ length: 502 }, (_, index) => index % 251))

interface Asked {
  readonly start: number
  /** exclusive */
  readonly end: number
  readonly version: string | undefined
  readonly signal: AbortSignal | undefined
  /** bytes behind `end` that may come with them */
  readonly more: number
}

/** A file of bytes that tell their offset; requests wait while it is held. */
class Source implements Pick<Remote, 'read' | 'isNear'> {
  near = false
  readonly asked: Asked[] = []
  /** where bytes were put */
  readonly memory = new Set<ArrayBufferLike>()
  underWay = 0
  most = 0
  failure: Fault | undefined
  #gate: Promise<void> | undefined
  #open: () => void = () => undefined

  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    this.#open = resolve
  }

  release(): void {
    this.#gate = undefined
    this.#open()
  }

  isNear(): boolean {
    return this.near
  }

  get bytes(): number {
    return this.asked.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  async read(_: unknown, start: number, into: Inlet, options: Parameters<Remote['read']>[3]): Promise<void> {
    const end = start + into.length
    for (const { buffer } of into.parts) this.memory.add(buffer)
    const { ifContentVersion: version, signal, more = 0 } = options
    this.asked.push({ start, end, version, signal, more })
    this.most = Math.max(this.most, ++this.underWay)
    try {
      await this.#gate
      await new Promise(setImmediate)
      options.signal?.throwIfAborted()
      if (this.failure !== undefined) throw this.failure
      into.begin()
      into.write(Buffer.alloc(end - start, PATTERN.subarray(start % 251, (start % 251) + 251)))
    } finally {
      this.underWay--
    }
  }
}

function setup(
  size: number,
  budget = new ReadBudget(64 * MIB),
): { source: Source; reader: Reader; budget: ReadBudget } {
  const source = new Source()
  const reader = new Reader({ remote: source, ref: { path: PATH }, contentVersion: 'c1', size, budget })
  return { source, reader, budget }
}

async function readAll(reader: Reader, from: number, to: number, step: number): Promise<void> {
  for (let at = from; at < to; at += step) await reader.read(at, step)
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20))

t.test('it reads a small file with one request', async (t) => {
  const { source, reader } = setup(128 * KIB)
  for (const at of [70_000, 0, 131_071, 4096]) t.equal((await reader.read(at, 1))[0]?.[0], at % 251)
  t.match(source.asked, [{ start: 0, end: 128 * KIB, version: 'c1' }])
  t.equal(source.asked.length, 1)
})

t.test('it asks nothing beyond the end, and nothing of an empty file', async (t) => {
  const { source, reader } = setup(1000)
  t.same(reader.read(1000, 10), [])
  t.same(reader.read(5000, 10), [])
  t.same(setup(0).reader.read(0, 10), [])
  t.equal(source.asked.length, 0)
  t.equal(Buffer.concat(await reader.read(990, 50)).length, 10)
})

t.test('it begins with 128 KiB, or with what is asked when that is more', async (t) => {
  const { source, reader } = setup(10 * MIB)
  await reader.read(0, 4096)
  const large = setup(10 * MIB)
  await large.reader.read(0, 512 * KIB)
  await settled()
  t.match(source.asked, [{ start: 0, end: 128 * KIB }])
  t.match(large.source.asked, [{ start: 0, end: 512 * KIB }])
  t.equal(source.asked.length + large.source.asked.length, 2)
})

t.test('it answers at once what is there', async (t) => {
  const { reader } = setup(10 * MIB)
  await reader.read(0, 4096)
  const parts = reader.read(4096, 4096)
  t.ok(Array.isArray(parts), 'no promise')
  t.equal((parts as Buffer[])[0]?.[0], 4096 % 251)
})

t.test('it reads ahead of a sequential reader, in parallel, and asks for every byte once', async (t) => {
  const size = 64 * MIB + 5
  const { source, reader, budget } = setup(size)
  await readAll(reader, 0, size, 128 * KIB)
  t.equal(source.bytes, size, 'every byte once')
  t.ok(source.most >= 3, `${source.most} requests at once`)
  t.ok(source.asked.length < 60, `${source.asked.length} requests, of growing size`)
  t.ok(budget.used <= 8 * MIB, `${budget.used} bytes kept after the end`)
  reader.close()
  t.equal(budget.used, 0)
})

t.test(
  'it takes few round trips, and few requests, when all that was asked is answered at once after each',
  async (t) => {
    const { source, reader } = setup(128 * MIB, new ReadBudget(24 * MIB))
    let [trips, isRead] = [0, false]
    source.hold()
    const reading = readAll(reader, 0, 128 * MIB, 512 * KIB).finally(() => (isRead = true))
    while (!isRead) {
      // whoever waits for an answer that has come is done with it by then
      for (let turn = 0; turn < 8; turn++) await new Promise(setImmediate)
      if (source.underWay === 0) continue
      trips++
      source.release()
      source.hold()
    }
    await reading
    t.equal(source.bytes, 128 * MIB)
    t.ok(source.asked.length <= 40, `${source.asked.length} requests`)
    t.ok(trips <= 20, `${trips} round trips, where pieces of 4 MiB one after the other take 32`)
  },
)

t.test('it never has more ahead than twice what was read, or 1 MiB', async (t) => {
  const { source, reader } = setup(256 * MIB)
  for (let at = 0; at < 40 * MIB; at += 128 * KIB) {
    await reader.read(at, 128 * KIB)
    const read = at + 128 * KIB
    const ahead = Math.max(...source.asked.map(({ end }) => end)) - read
    if (ahead > Math.max(MIB, read)) t.fail(`${ahead} bytes ahead after ${read}`)
  }
  t.pass()
})

t.test('it has a near remote go on with its answers, each as long as all before, and keeps little', async (t) => {
  const size = 96 * MIB + 5
  const { source, reader, budget } = setup(size)
  source.near = true
  let [until, answers, most] = [0, 0, 0]
  for (let at = 0; at < size; at += 512 * KIB) {
    const before = source.asked.length
    await reader.read(at, 512 * KIB)
    most = Math.max(most, budget.used)
    for (const { start, end, more } of source.asked.slice(before)) {
      if (start >= until) answers++
      else if (end + more !== until) t.fail(`${start} to ${end} and ${more} more, of an answer up to ${until}`)
      until = Math.max(until, end + more)
    }
    if (until > 2 * Math.max(at, MIB) + 2 * MIB) t.fail(`asked for up to ${until} at ${at}`)
  }
  t.match({ until, bytes: source.bytes }, { until: size, bytes: size }, 'every byte once')
  t.ok(answers <= 20, `${answers} answers`)
  t.ok(most <= 6 * MIB, `${most} bytes at once`)
})

t.test('it follows reads that come out of order', async (t) => {
  const { source, reader } = setup(16 * MIB)
  const step = 128 * KIB
  for (let at = 0; at < 16 * MIB; at += 2 * step) {
    await Promise.all([reader.read(at + step, step), reader.read(at, step)])
  }
  t.ok(source.bytes < 17 * MIB, `${source.bytes} bytes for 16 MiB`)
  t.ok(source.asked.length < 50, `${source.asked.length} requests`)
})

t.test('it does not fetch more than is asked from who jumps about', async (t) => {
  const { source, reader } = setup(1024 * MIB)
  let place = 1
  await reader.read(500 * MIB, 4096)
  const first = source.bytes
  for (let count = 0; count < 200; count++) {
    place = (place * 48_271) % 2_147_483_647
    await reader.read((place % 250_000) * 4096, 4096)
  }
  await settled()
  t.ok(source.bytes - first <= 200 * 4096, `${source.bytes - first} bytes for ${200 * 4096}`)
})

t.test('it does not read ahead of small reads with gaps between', async (t) => {
  const { source, reader } = setup(100 * MIB)
  for (let at = 0; at < 50 * MIB; at += 100 * KIB) await reader.read(at, 4096)
  await settled()
  t.ok(source.bytes < 4 * MIB, `${source.bytes} bytes for 2 MiB`)
})

t.test('it reads ahead at several places of one file', async (t) => {
  const { source, reader } = setup(64 * MIB)
  for (let at = 0; at < 16 * MIB; at += 128 * KIB) {
    await Promise.all([0, 20, 40].map((start) => readAll(reader, start * MIB + at, start * MIB + at + 1, 128 * KIB)))
  }
  t.ok(source.asked.length < 150, `${source.asked.length} requests for 384 reads`)
  t.ok(source.bytes < 100 * MIB, `${source.bytes} bytes for 48 MiB`)
})

t.test('it shares one request among reads of the same bytes', async (t) => {
  const { source, reader } = setup(10 * MIB)
  source.hold()
  const reads = Promise.all([reader.read(5 * MIB, 4096), reader.read(5 * MIB, 4096), reader.read(5 * MIB + 100, 10)])
  source.release()
  await reads
  t.equal(source.asked.length, 1)
})

t.test('it keeps within the budget it shares, and a waiting read is served all the same', async (t) => {
  const budget = new ReadBudget(4 * MIB)
  const many = Array.from({ length: 8 }, () => setup(16 * MIB, budget))
  let most = 0
  for (let at = 0; at < 16 * MIB; at += 128 * KIB) {
    await Promise.all(many.map(async ({ reader }) => reader.read(at, 128 * KIB)))
    most = Math.max(most, budget.used)
  }
  t.ok(most <= 4 * MIB + 8 * 512 * KIB, `${most} bytes held, of 4 MiB and what is waited for`)
  for (const { reader } of many) reader.close()
  t.equal(budget.used, 0)
})

t.test('it reads into the same memory again, once nobody writes to it', async (t) => {
  const budget = new ReadBudget(8 * MIB)
  const { source, reader } = setup(64 * MIB, budget)
  for (let at = 0; at < 64 * MIB; at += 128 * KIB) {
    const bytes = Buffer.concat(await reader.read(at, 128 * KIB))
    if (!bytes.equals(Buffer.alloc(128 * KIB, PATTERN.subarray(at % 251, (at % 251) + 251)))) t.fail(`at ${at}`)
  }
  const slabs = source.memory.size
  t.ok(slabs <= 128, `${slabs} slabs of 128 KiB for 64 MiB, with a budget of 8`)
  const idle = setup(8 * MIB, budget)
  idle.source.hold()
  const given = idle.reader.read(0, 8 * MIB)
  idle.reader.close()
  const others = budget.inlet(8 * MIB)
  idle.source.release()
  await t.rejects(async () => given, { name: 'AbortError' })
  const shared = others.parts.filter(({ buffer }) => idle.source.memory.has(buffer))
  t.equal(idle.source.memory.size, 64)
  t.same(shared, [], 'what was given up is still written to')
})

t.test('it has a budget that gives no more than there is, first what readers at rest let go', async (t) => {
  let now = 0
  const budget = new ReadBudget(100, 2, () => now)
  const shed: string[] = []
  const holder = (name: string, bytes: number) => ({ shed: () => (shed.push(name), budget.give(bytes)) })
  const [old, older, asker] = [holder('old', 30), holder('older', 40), holder('asker', 0)]
  budget.use(older)
  budget.use(old)
  now = 1999
  t.equal(budget.share(), 50)
  t.ok(budget.take(40, older))
  t.ok(budget.take(30, old))
  t.notOk(budget.take(31, asker), 'nobody is at rest')
  t.same(shed, [])
  now = 2000
  budget.use(asker)
  t.equal(budget.share(), 100, 'only one is in use')
  t.notOk(budget.take(101, asker))
  t.same(shed, [], 'in vain')
  t.ok(budget.take(60, asker))
  t.equal(budget.used, 90, 'the least recently used let go, the other did not')
  t.same(shed, ['older'])
  budget.forget(old)
  t.notOk(budget.take(60, asker))
})

t.test('it takes the budget of readers at rest', async (t) => {
  let now = 0
  const budget = new ReadBudget(2 * MIB, 2, () => now)
  const idle = setup(16 * MIB, budget)
  await readAll(idle.reader, 0, MIB, 128 * KIB)
  await settled()
  t.ok(budget.used >= MIB)
  now = 2000
  const busy = setup(64 * MIB, budget)
  await readAll(busy.reader, 0, 32 * MIB, 128 * KIB)
  t.ok(busy.source.asked.length < 100, `${busy.source.asked.length} requests for 256 reads`)
  await readAll(idle.reader, MIB, 2 * MIB, 128 * KIB)
  t.pass('and the one at rest goes on')
})

t.test('it throws what the remote says once, and asks again the next time', async (t) => {
  const { source, reader, budget } = setup(10 * MIB)
  source.failure = new Fault('PreconditionFailed', 'changed')
  await t.rejects(async () => reader.read(0, 10), source.failure)
  t.equal(budget.used, 0)
  source.failure = undefined
  t.equal(Buffer.concat(await reader.read(0, 10)).length, 10)
})

t.test('it forgets failures of what it has read ahead', async (t) => {
  const { source, reader } = setup(10 * MIB)
  await reader.read(0, 128 * KIB)
  source.hold()
  const second = reader.read(128 * KIB, 128 * KIB)
  source.failure = new Fault('ServiceBusy', 'lost', { errno: 'EIO' })
  source.release()
  await t.rejects(async () => second, source.failure)
  await settled()
  source.failure = undefined
  await readAll(reader, 128 * KIB, 4 * MIB, 128 * KIB)
  t.pass()
})

t.test('it takes fewer bytes than the file has for a fault', async (t) => {
  const reader = new Reader({
    remote: { read: async (_ref, _start, into) => into.write(Buffer.alloc(5)) },
    ref: { path: PATH },
    contentVersion: 'c1',
    size: 10,
    budget: new ReadBudget(MIB),
  })
  await t.rejects(async () => reader.read(0, 10), { name: 'Fault', fault: 'InternalFault', errno: 'EIO' })
})

t.test('it ends an aborted read at once, without disturbing others of the same bytes', async (t) => {
  const { source, reader } = setup(10 * MIB)
  source.hold()
  const abort = new AbortController()
  const aborted = reader.read(5 * MIB, 10, abort.signal)
  const other = reader.read(5 * MIB, 10)
  abort.abort(new Error('interrupted'))
  await t.rejects(async () => aborted, new Error('interrupted'))
  source.release()
  t.equal(Buffer.concat(await other).length, 10)
  t.throws(() => reader.read(0, 10, abort.signal), new Error('interrupted'))
})

t.test('it stops a request that nobody waits for any more', async (t) => {
  const { source, reader, budget } = setup(10 * MIB)
  await reader.read(0, 10)
  source.hold()
  const abort = new AbortController()
  const aborted = reader.read(5 * MIB, 10, abort.signal)
  abort.abort()
  await t.rejects(async () => aborted, { name: 'AbortError' })
  t.ok(source.asked.at(-1)?.signal?.aborted)
  source.release()
  t.equal(budget.used, 128 * KIB)
})

t.test('it stops every request when closed', async (t) => {
  const { source, reader, budget } = setup(64 * MIB)
  await readAll(reader, 0, MIB, 128 * KIB)
  source.hold()
  const waiting = reader.read(40 * MIB, 10)
  reader.close()
  t.ok(source.asked.at(-1)?.signal?.aborted)
  source.release()
  await t.rejects(async () => waiting, { name: 'AbortError' })
  t.equal(budget.used, 0)
  t.throws(() => reader.read(0, 10), { name: 'Fault', errno: 'EBADF' })
  reader.close()
})

t.test('it follows the node where it stands, and says when its content has changed', async (t) => {
  const remote = new FakeRemote()
  const content = Buffer.alloc(4 * MIB, 'abcdefg')
  const { id, path, contentVersion, size } = remote.write('/a', content)
  const reader = new Reader({ remote, ref: { path, id }, contentVersion, size, budget: new ReadBudget(8 * MIB) })
  const bytes = async (at: number, length: number): Promise<Buffer> => Buffer.concat(await reader.read(at, length))
  t.same(await bytes(0, 100 * KIB), content.subarray(0, 100 * KIB))
  await remote.rename(path, nodePath('/b'), 'replace')
  t.same(await bytes(100 * KIB, 600 * KIB), content.subarray(100 * KIB, 700 * KIB))
  remote.write('/b', 'other')
  await t.rejects(bytes(3 * MIB, 10), { name: 'Fault', fault: 'PreconditionFailed', errno: 'ESTALE' })
  reader.close()
})
