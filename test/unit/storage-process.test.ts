/** The process of a storage that hangs, ends and comes back, as whoever needs it is told. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { BackendApart } from '../../src/backend/apart/apart.ts'
import { StorageProcess } from '../../src/backend/apart/process.ts'
import { MemoryBackend } from '../../src/backend/memory.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { nodePath, ROOT } from '../../src/vospace/path.ts'
import { body, bytesOf, container, file, namesIn, refused } from '../conformance/backend.ts'

const p = nodePath
const program = join(import.meta.dirname, '../fixtures/memory-host.ts')

interface Started {
  readonly backend: BackendApart
  readonly process: StorageProcess
  readonly said: string[]
}

/** `hurry`: it counts as lost the sooner. */
async function started(t: Test, hurry = 1): Promise<Started> {
  const said: string[] = []
  const say = (_fields: object, text: string): void => void said.push(text)
  const logger = { info: say, warn: say, error: say }
  const storage = new StorageProcess({ name: 'far', program, order: {}, logger, hurry })
  const backend = new BackendApart(storage, new MemoryBackend())
  t.teardown(() => backend.stop())
  await backend.start()
  return { backend, process: storage, said }
}

const signal = (storage: StorageProcess, name: NodeJS.Signals): void => void process.kill(storage.pid ?? 0, name)

/** Asks until it is no longer refused as busy. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!isFault(error, 'ServiceBusy')) throw error
      await new Promise((done) => setTimeout(done, 20))
    }
  }
}

void t.test('bytes and names go there and come back', async (t) => {
  const { backend: b, process: storage } = await started(t)
  const bytes = Buffer.alloc(5 << 20, 'karst')
  await b.make(p('/c'), container)
  await b.put(p('/c/f'), body(bytes), { draft: file })
  const { entry, body: read } = await b.read({ path: p('/c/f') })
  t.equal(entry.type === 'data' && entry.size, bytes.length)
  t.ok(bytes.equals(Buffer.concat(await read.toArray())))
  t.same(await namesIn(b, p('/c')), ['f'])
  const left = await b.read({ path: p('/c/f') })
  left.body.destroy()
  await refused(
    t,
    b.walk(p('/c/f/g')).then(() => b.remove(p('/c'), 'container')),
    'ContainerNotEmpty',
  )
  await b.stop()
  t.throws(() => signal(storage, 'SIGCONT'), { code: 'ESRCH' }, 'it ends with the gateway')
})

void t.test('while it hangs whoever waits is refused, others at once, and it comes back', async (t) => {
  const { backend: b, process: storage, said } = await started(t, 10)
  await b.make(p('/c'), container)
  const pulled = { pieces: 0, ended: false }
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        pulled.pieces++
        yield Buffer.alloc(64 << 10)
      }
    } finally {
      pulled.ended = true
    }
  }
  signal(storage, 'SIGSTOP')
  t.teardown(() => signal(storage, 'SIGCONT'))
  const writing = b.put(p('/c/f'), endless(), { draft: file })
  await refused(t, b.walk(p('/c')), 'ServiceBusy', 'ETIMEDOUT')
  await refused(t, writing, 'ServiceBusy', 'ETIMEDOUT')
  t.equal(pulled.pieces, 0, 'nothing is read that nobody asks for')
  await refused(t, b.walk(p('/c')), 'ServiceBusy', 'ETIMEDOUT')
  await refused(t, b.probe(), 'ServiceBusy', 'ETIMEDOUT')
  signal(storage, 'SIGCONT')
  t.equal((await answered(() => b.walk(p('/c')))).length, 2)
  t.same(await namesIn(b, p('/c')), [], 'what was refused while bytes were to come has not happened')
  t.match(said.join('\n'), /does not answer: everybody .*\n.*answers again/)
})

void t.test('bytes under way when it is lost break off', async (t) => {
  const { backend: b, process: storage } = await started(t, 10)
  await b.put(p('/f'), body(Buffer.alloc(20 << 20)), { draft: file })
  const { body: read } = await b.read({ path: p('/f') })
  signal(storage, 'SIGSTOP')
  t.teardown(() => signal(storage, 'SIGCONT'))
  await refused(t, read.toArray(), 'ServiceBusy')
})

void t.test('one that has ended is started again', async (t) => {
  const { backend: b, process: storage, said } = await started(t)
  const first = storage.pid
  await b.make(p('/c'), container)
  signal(storage, 'SIGKILL')
  const names = await answered(() => namesIn(b, ROOT))
  // it was in memory
  t.same(names, [])
  t.not(storage.pid, first)
  t.match(said.join('\n'), /has ended, and is started again\n.*is there again/)
  t.equal((await bytesOf(b, (await b.put(p('/f'), body('again'), { draft: file })).path)).toString(), 'again')
})

void t.test('what cannot be started says why', async (t) => {
  const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const none = new StorageProcess({ name: 'far', program: `${program}.none`, order: {}, logger })
  await refused(t, none.start(), 'ServiceBusy')
})
