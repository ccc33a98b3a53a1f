/** The body of a put as a backend takes it: broken off, cancelled, and never held whole. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { received } from '../../src/backend/contract.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

async function* parts(count: number, size = 1): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(size, i)
}

t.test('a body that may be cancelled is not held until its end', async (t) => {
  const { signal } = new AbortController()
  collect()
  const before = process.memoryUsage().arrayBuffers
  let largest = 0
  let count = 0
  for await (const _ of received(parts(400, 1 << 20), signal)) {
    if (++count % 50 !== 0) continue
    await new Promise((done) => setImmediate(done))
    collect()
    largest = Math.max(largest, process.memoryUsage().arrayBuffers - before)
  }
  t.equal(count, 400)
  t.ok(largest < 100 << 20, `${largest >> 20} MiB held of 400`)
})

t.test('a cancelled body ends at once, with its source told', async (t) => {
  const controller = new AbortController()
  let closed = false
  async function* hanging(): AsyncGenerator<Uint8Array> {
    try {
      yield Buffer.alloc(1)
      await new Promise((done) => setTimeout(done, 100))
      yield Buffer.alloc(1)
    } finally {
      closed = true
    }
  }
  const body = received(hanging(), controller.signal)
  await body.next()
  setImmediate(() => controller.abort())
  t.match(await refusal(body.next()), { fault: 'TransferFailed', detail: 'cancelled' })
  await new Promise((done) => setTimeout(done, 150))
  t.ok(closed)
  t.match(await refusal(received(parts(1), controller.signal).next()), { fault: 'TransferFailed' })
})

t.test('a body that breaks off is told from a refusal', async (t) => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(1)
    throw new Error('reset')
  }
  const body = received(broken(), undefined)
  await body.next()
  t.match(await refusal(body.next()), { fault: 'TransferFailed', detail: 'the body broke off' })
})
