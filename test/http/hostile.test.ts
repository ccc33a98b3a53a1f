import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Gateway, node, overlay, startGateway } from './gateway.ts'
import { type Name } from './people.ts'

/** Sends bytes as they are and gives all that comes back until the server closes. */
async function exchange(gateway: Gateway, bytes: string, as?: Name): Promise<string> {
  const socket = await gateway.raw(as)
  socket.write(bytes)
  let text = ''
  try {
    for await (const part of socket) text += String(part)
  } catch (error) {
    text += String(error)
  }
  return text
}

const statusLines = (text: string): string[] =>
  [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status = '']) => status)

await t.test('requests that could be read in two ways are refused and the connection closed', async (t) => {
  const gateway = await startGateway(t)
  const rest = 'GET /karst/nodes/home/alice HTTP/1.1\r\nHost: x\r\n\r\n'
  const cases: Record<string, string> = {
    'both lengths': `PUT /karst/files/home/alice/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${rest}`,
    'two lengths': `PUT /karst/files/home/alice/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello${rest}`,
    'a length that is none': `PUT /karst/files/home/alice/a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello${rest}`,
    'chunked and then not': `PUT /karst/files/home/alice/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${rest}`,
    'a bad chunk': `PUT /karst/files/home/alice/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${rest}`,
    'a blank before the colon': `GET /karst/nodes HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n${rest}`,
    'a NUL in a header': `GET /karst/nodes HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n`,
    'bare line feeds': `GET /karst/nodes HTTP/1.1\nHost: x\n\n`,
    'no HTTP': 'hello\r\n\r\n',
    'headers without end': `GET /karst/nodes HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(100_000)}\r\n\r\n`,
    'no host': 'GET /karst/nodes HTTP/1.1\r\n\r\n',
  }
  for (const [what, bytes] of Object.entries(cases)) {
    const text = await exchange(gateway, bytes, 'alice')
    const statuses = statusLines(text)
    t.equal(statuses.length <= 1, true, `${what}: one answer at most`)
    t.match(text, /^HTTP\/1\.1 4(00|08|31) /, what)
    t.notMatch(text, 'ContainerNode', what)
  }
  t.match(await exchange(gateway, cases['no HTTP'] ?? ''), /Content-Type: text\/plain\r\n/)
})

await t.test('a target in absolute form, or with two slashes, is still ours', async (t) => {
  const gateway = await startGateway(t)
  const get = (target: string) => exchange(gateway, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  t.match(await get('https://evil.example/karst/nodes/pub?limit=0'), /^HTTP\/1\.1 200 /)
  t.match(await get('//evil.example/karst/nodes/pub'), /^HTTP\/1\.1 404 /)
  t.match(await get('*'), /^HTTP\/1\.1 (400|404|405) /)
  t.match(await get(`/karst/nodes/${'a'.repeat(50_000)}`), /^HTTP\/1\.1 (4\d\d) /)
})

await t.test('a client that goes away in the midst of an upload leaves the old content', async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: 'old' })
  for (const framing of ['Content-Length: 1000000', 'Transfer-Encoding: chunked']) {
    for (const name of ['f', 'new']) {
      const socket = await gateway.raw('alice')
      socket.write(`PUT /karst/files/home/alice/${name} HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`)
      socket.write(framing.startsWith('T') ? '5\r\nhello\r\n' : 'hello')
      await sleep(50)
      socket.destroy()
      await once(socket, 'close')
    }
  }
  await sleep(50)
  t.equal((await gateway.call('/files/home/alice/f', { as: 'alice' })).text, 'old')
  t.equal((await gateway.call('/files/home/alice/new', { as: 'alice' })).status, 404)
  const errors = gateway.log.filter(({ level }) => level === 'error')
  t.same(errors, [], 'and is no error of ours')
})

await t.test('a client that goes away in the midst of a download ends the reading', async (t) => {
  let destroyed = 0
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async read(ref, options) {
          const { entry } = await memory.read(ref, options)
          const body = new Readable({ read: () => undefined, destroy: (error, done) => (destroyed++, done(error)) })
          body.push('01234')
          return { entry, body }
        },
      }),
  })
  await gateway.call('/files/home/alice/f', { method: 'PUT', as: 'alice', body: '0123456789' })
  const socket = await gateway.raw('alice')
  socket.write('GET /karst/files/home/alice/f HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'data')
  socket.destroy()
  for (let i = 0; i < 100 && destroyed === 0; i++) await sleep(20)
  t.equal(destroyed, 1)
})

await t.test('slow clients', async (t) => {
  const limits = { headersTimeout: 300, documentTimeout: 300, idleTimeout: 400, keepAliveTimeout: 300 }
  const held = Promise.withResolvers<void>()
  const gateway = await startGateway(t, {
    limits,
    backend: (memory) =>
      overlay(memory, {
        async make(path, draft) {
          await held.promise
          return memory.make(path, draft)
        },
      }),
  })
  await t.test('are cut off while they send headers, a document or a file', async (t) => {
    const requests = [
      'GET /karst/nodes HTTP/1.1\r\nHost: x\r\nA: ',
      'PUT /karst/nodes/home/alice/x HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<',
      'PUT /karst/files/home/alice/x HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<',
      '',
    ]
    for (const request of requests) {
      const socket = await gateway.raw('alice')
      socket.on('error', () => undefined)
      socket.write(request)
      socket.resume()
      await once(socket, 'close')
      t.pass(request.slice(0, 30))
    }
    t.equal((await gateway.call('/nodes/home/alice/x', { as: 'alice' })).status, 404)
  })
  await t.test('are cut off in the TLS handshake', async (t) => {
    const socket = connectTcp({ host: '127.0.0.1', port: gateway.port })
    socket.on('error', () => undefined)
    socket.resume()
    await once(socket, 'close')
    t.pass()
  })
  await t.test('are not cut off while it is we who are slow', async (t) => {
    const reply = gateway.call('/nodes/home/alice/slow', { method: 'PUT', as: 'alice', body: node('/home/alice/slow') })
    await sleep(1500)
    held.resolve()
    t.equal((await reply).status, 201)
  })
})

await t.test('200 requests at once are each answered with their own', async (t) => {
  const gateway = await startGateway(t)
  const bodies = Array.from({ length: 200 }, (_, i) => Buffer.concat([Buffer.from(`${i} `), randomBytes(20_000)]))
  const as = (i: number): Name => (i % 2 === 0 ? 'alice' : 'bob')
  const path = (i: number): string => `/files/home/${as(i)}/f${i}`
  const puts = await Promise.all(bodies.map((body, i) => gateway.call(path(i), { method: 'PUT', as: as(i), body })))
  t.ok(puts.every(({ status }, i) => status === 201 && puts[i]?.headers['x-vo-authenticated'] === as(i)))
  const gets = await Promise.all(bodies.map((_, i) => gateway.call(path(i), { as: as(i) })))
  t.ok(gets.every(({ body }, i) => bodies[i]?.equals(body)))
})

await t.test('closing', async (t) => {
  const gate = Promise.withResolvers<void>()
  const gateway = await startGateway(t, {
    backend: (memory) =>
      overlay(memory, {
        async make(path, draft) {
          await gate.promise
          return memory.make(path, draft)
        },
      }),
  })
  const make = (name: string) =>
    gateway.call(`/nodes/home/alice/${name}`, { method: 'PUT', as: 'alice', body: node(`/home/alice/${name}`) })
  await gateway.call('/nodes')
  const underWay = make('a')
  await sleep(100)
  const closed = gateway.server.close(20)
  await sleep(100)
  await t.test('lets a request under way finish, and takes no new one', async (t) => {
    await t.rejects(gateway.call('/nodes', { as: 'bob' }))
    gate.resolve()
    t.equal((await underWay).status, 201)
    await closed
  })
  await t.test('cuts off what does not finish in time', async (t) => {
    const stuck = await startGateway(t, {
      backend: (memory) => overlay(memory, { make: () => new Promise(() => undefined) }),
    })
    const call = stuck.call('/nodes/home/alice/x', { method: 'PUT', as: 'alice', body: node('/home/alice/x') })
    const rejected = t.rejects(call, { code: 'ECONNRESET' })
    await sleep(100)
    await stuck.server.close(0.1)
    await rejected
  })
})

await t.test('what is logged of a request says who, what and how it ended', async (t) => {
  const gateway = await startGateway(t)
  await gateway.call('/nodes/pub?limit=0', { as: 'alice' })
  const line = gateway.log.find(({ text }) => text === 'request')
  t.match(line?.fields, { method: 'GET', target: '/karst/nodes/pub?limit=0', status: 200, user: 'alice' })
})
