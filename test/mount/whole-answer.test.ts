/** A short answer is taken whole, within bounds, and nobody who has given up waits for it. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Pool } from 'undici'
import { wholeAnswer } from '../../mount/whole-answer.ts'

const MOST = { answer: 1000, refusal: 100 }

async function serving(t: Test, handler: RequestListener) {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { connections: 1 })
  t.teardown(async () => {
    await pool.destroy()
    server.close().closeAllConnections()
  })
  return (signal?: AbortSignal) => wholeAnswer(pool, { method: 'GET', path: '/', signal }, MOST)
}

t.test('an answer in several parts is one, and what comes before it does not count', async (t) => {
  const ask = await serving(t, (_, response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' })
    response.writeHead(201, { 'x-a': 'b' }).write('one ')
    setTimeout(() => response.end('two'), 20)
  })
  const { statusCode, headers, body } = await ask()
  t.match({ statusCode, headers }, { statusCode: 201, headers: { 'x-a': 'b' } })
  t.equal(body.toString(), 'one two')
})

t.test('an answer without a body is an empty one', async (t) => {
  const ask = await serving(t, (_, response) => void response.writeHead(204).end())
  t.match(await ask(), { statusCode: 204, body: Buffer.alloc(0) })
})

t.test('an answer that is too long is refused, of a refusal its beginning counts', async (t) => {
  const status = [200, 403, 200]
  const ask = await serving(t, (_, response) => {
    response.writeHead(status.shift() ?? 0)
    if (status.length === 0) return response.end('short')
    const timer = setInterval(() => response.write('x'.repeat(90)), 5)
    return response.on('close', () => clearInterval(timer))
  })
  await t.rejects(ask(), { name: 'Fault', fault: 'InternalFault' })
  const { statusCode, body } = await ask()
  t.equal(statusCode, 403)
  t.ok(body.length >= MOST.refusal && body.length <= 4 * 90, `${body.length} bytes`)
  t.equal((await ask()).body.toString(), 'short', 'and there is a connection for the next')
})

t.test('an abort rejects at once: before, in the queue, and in the midst of an answer', async (t) => {
  const begun = Promise.withResolvers<void>()
  let requests = 0
  const ask = await serving(t, (_, response) => {
    if (++requests > 1) return response.end('next')
    response.writeHead(200).write('a')
    return begun.resolve()
  })
  const reason = new Error('given up')
  await t.rejects(ask(AbortSignal.abort(reason)), reason)
  t.equal(requests, 0)
  const [first, queued] = [new AbortController(), new AbortController()]
  const asked = [ask(first.signal), ask(queued.signal)] as const
  await begun.promise
  queued.abort(reason)
  await t.rejects(asked[1], reason)
  first.abort(reason)
  await t.rejects(asked[0], reason)
  t.equal((await ask()).body.toString(), 'next')
  t.equal(requests, 2, 'what was given up in the queue was never asked')
})

t.test('a connection that breaks off, and a pool that is closed, are errors', async (t) => {
  const ask = await serving(t, (_, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('half', () => response.destroy())
  })
  await t.rejects(ask(), { code: 'UND_ERR_SOCKET' })
  const pool = new Pool('http://127.0.0.1:9')
  await pool.close()
  await t.rejects(wholeAnswer(pool, { method: 'GET', path: '/' }, MOST), { code: 'UND_ERR_DESTROYED' })
})
