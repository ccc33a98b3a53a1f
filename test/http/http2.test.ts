/** HTTP/2: what it does not share with HTTP/1.1, and what must not differ. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { type MemoryBackend } from '../../src/backend/memory.ts'
import { FLAG, frame, headers, request, TYPE, Wire } from './frames.ts'
import { type Gateway, type GatewayOptions, node, overlay, startGateway, tlsOf } from './gateway.ts'
import { collectStream } from './http2-agent.ts'
import { type Name } from './people.ts'

t.setTimeout(240_000)

const start = (t: Test, options: GatewayOptions = {}): Promise<Gateway> => startGateway(t, { http2: true, ...options })
const session = (gateway: Gateway, as?: Name) =>
  connect(`https://127.0.0.1:${gateway.port}`, { ...tlsOf(as), maxSessionMemory: 500 }).on('error', () => undefined)
const put = (gateway: Gateway, path: string, body: string | Buffer, as: Name = 'alice') =>
  gateway.call(`/files${path}`, { method: 'PUT', as, body })
const text = async (gateway: Gateway, path: string, as: Name = 'alice') =>
  (await gateway.call(`/files${path}`, { as })).text

async function protocolOf(gateway: Gateway, offered: string[]): Promise<string | false | null> {
  const socket = connectTls({ ...tlsOf(), host: '127.0.0.1', port: gateway.port, ALPNProtocols: offered })
  await once(socket, 'secureConnect')
  socket.destroy()
  return socket.alpnProtocol
}

await t.test('the client chooses in the handshake, where the site has both', async (t) => {
  const both = await start(t)
  t.equal(await protocolOf(both, ['h2', 'http/1.1']), 'h2')
  t.equal(await protocolOf(both, ['http/1.1', 'h2']), 'h2')
  t.equal(await protocolOf(both, ['http/1.1']), 'http/1.1')
  t.equal(await protocolOf(both, []), false)
  await t.rejects(protocolOf(both, ['h3']))
  const one = await startGateway(t, { http2: false, services: { http2: false } })
  t.equal(await protocolOf(one, ['h2', 'http/1.1']), 'http/1.1')
  t.equal((await one.call('/nodes/pub')).status, 200)
})

await t.test('every stream is of whom the connection is, whatever others do meanwhile', async (t) => {
  const gateway = await start(t)
  const whos = ['alice', 'bob', undefined] as const
  const calls = Array.from({ length: 300 }, (_, i) => whos[i % 3])
  const replies = await Promise.all(calls.map((as) => gateway.call('/nodes/pub?limit=0', as && { as })))
  for (const [i, { status, headers }] of replies.entries())
    if (status !== 200 || headers['x-vo-authenticated'] !== calls[i]) t.fail(`call ${i} of ${String(calls[i])}`)
  await put(gateway, '/home/alice/f', 'hello')
  t.equal(await text(gateway, '/home/alice/f'), 'hello')
  for (const as of ['bob', 'dave', undefined] as const)
    t.equal((await gateway.call('/files/home/alice/f', as && { as })).status, 403, String(as))
})

await t.test('a request that is answered is not logged as cut, one that is not is', async (t) => {
  const gateway = await start(t)
  await put(gateway, '/home/alice/f', 'hello')
  await put(gateway, '/home/alice/empty', '')
  for (const [method, path] of [
    ['GET', '/files/home/alice/f'],
    ['HEAD', '/files/home/alice/f'],
    ['GET', '/files/home/alice/empty'],
    ['GET', '/nodes/home/alice'],
    ['DELETE', '/nodes/home/alice/f'],
  ] as const)
    await gateway.call(path, { method, as: 'alice' })
  await gateway.call('/files/home/bob/x', { method: 'PUT', as: 'alice', body: randomBytes(100_000) })
  const lines = gateway.log.filter(({ text }) => text === 'request')
  t.equal(lines.length, 8)
  t.same(
    lines.filter(({ fields }) => 'cut' in (fields as object)),
    [],
  )
})

await t.test('paths mean the same through both', async (t) => {
  const both = [await start(t), await startGateway(t, { http2: false })] as const
  const paths = [
    '/home/alice/a%20b', '/home/alice/a+b', '/home/alice/%C3%A9', '/home/alice/\xe9', '/home/alice/%2e%2e/bob', '/home//alice',
    '/home/alice/a%2Fb', '/home/alice/a%00', '/home/alice/%', '/home/alice/a;b=c', '/home/alice/a?x=%zz', '/home/alice/a#b',
    '/home/alice/a"b', '/home/alice/a|b', '/home/alice/a\\b', '/home/alice/../bob', '/home/alice/', '', '/home/alice/%E2%80%AE',
  ] // prettier-ignore
  for (const gateway of both) await put(gateway, '/home/alice/a', 'a')
  for (const path of paths) {
    for (const method of ['PUT', 'GET']) {
      const body = method === 'PUT' ? { body: path } : {}
      const [one, other] = await Promise.all(
        both.map((gateway) => gateway.call(`/files${path}`, { method, as: 'alice', ...body }).catch(() => undefined)),
      )
      // what one of the two clients would not send at all says nothing
      if (one === undefined || other === undefined) continue
      t.same([one.status, one.text], [other.status, other.text], `${method} ${path}`)
    }
  }
})

await t.test('a body that is not as long as its length says is not kept', async (t) => {
  const gateway = await start(t)
  await put(gateway, '/home/alice/f', 'old')
  for (const [length, body] of [
    ['9', 'hello'],
    ['3', 'hello'],
  ] as const) {
    const wire = await Wire.open(gateway, 'alice')
    const fields = request('/karst/files/home/alice/f', [['content-length', length]], 'PUT')
    wire.send(headers(1, fields, 0), frame(TYPE.data, FLAG.endStream, 1, Buffer.from(body)))
    t.ok((await wire.codeOf(1)) ?? 1, `${length} for ${body.length}`)
    wire.socket.destroy()
  }
  await sleep(50)
  t.equal(await text(gateway, '/home/alice/f'), 'old')
})

await t.test('an upload that breaks off is not taken for the whole, with or without a length', async (t) => {
  const gateway = await start(t)
  await put(gateway, '/home/alice/old', 'old')
  for (const how of ['reset', 'connection', 'goaway'] as const)
    for (const length of [[], [['content-length', '50'] as const]])
      for (const name of ['old', 'new']) {
        const wire = await Wire.open(gateway, 'alice')
        const fields = request(`/karst/files/home/alice/${name}`, length, 'PUT')
        wire.send(headers(1, fields, 0), frame(TYPE.data, 0, 1, Buffer.from('half')))
        await sleep(30)
        if (how === 'reset') wire.send(frame(TYPE.reset, 0, 1, Buffer.from([0, 0, 0, 8])))
        if (how === 'goaway') wire.send(frame(TYPE.goaway, 0, 0, Buffer.alloc(8)))
        await sleep(30)
        wire.socket.destroy()
      }
  // NO_ERROR is no end of a body either
  const wire = await Wire.open(gateway, 'alice')
  wire.send(
    headers(1, request('/karst/files/home/alice/new', [], 'PUT'), 0),
    frame(TYPE.data, 0, 1, Buffer.from('half')),
  )
  await sleep(30)
  wire.send(frame(TYPE.reset, 0, 1, Buffer.alloc(4)))
  await sleep(100)
  t.equal(await text(gateway, '/home/alice/old'), 'old')
  t.equal((await gateway.call('/files/home/alice/new', { as: 'alice' })).status, 404)
  t.same(
    gateway.log.filter(({ level }) => level === 'error'),
    [],
    'and is no error of ours',
  )
})

await t.test('many large answers on one connection are each whole', async (t) => {
  const gateway = await start(t)
  const body = randomBytes(3 << 20)
  await put(gateway, '/home/alice/f', body)
  const replies = await Promise.all(
    Array.from({ length: 40 }, () => gateway.call('/files/home/alice/f', { as: 'alice' })),
  )
  t.ok(replies.every((reply) => reply.status === 200 && reply.body.equals(body)))
  const names = Array.from({ length: 40 }, (_, i) => `/home/alice/g${i}`)
  const puts = await Promise.all(names.map((name) => put(gateway, name, body)))
  t.ok(puts.every(({ status }) => status === 201))
  t.ok((await gateway.call('/files/home/alice/g39', { as: 'alice' })).body.equals(body))
})

await t.test('a client that resets a download ends the reading, and keeps its connection', async (t) => {
  let destroyed = 0
  const read =
    (memory: MemoryBackend): MemoryBackend['read'] =>
    async (ref, options) => {
      const { entry } = await memory.read(ref, options)
      const body = new Readable({ read: () => undefined, destroy: (error, done) => (destroyed++, done(error)) })
      body.push('01234')
      return { entry, body }
    }
  const gateway = await start(t, { backend: (memory) => overlay(memory, { read: read(memory) }) })
  await put(gateway, '/home/alice/f', '0123456789')
  const wire = await Wire.open(gateway, 'alice')
  wire.send(headers(1, request('/karst/files/home/alice/f')))
  await wire.next(TYPE.data, 1)
  wire.send(frame(TYPE.reset, 0, 1, Buffer.from([0, 0, 0, 8])))
  for (let i = 0; i < 500 && destroyed === 0; i++) await sleep(20)
  t.equal(destroyed, 1)
  wire.send(headers(3, request('/karst/nodes/pub')))
  t.ok(await wire.next(TYPE.headers, 3))
  wire.socket.destroy()
})

await t.test('a download that fails midway is reset with an error, not ended', async (t) => {
  const read =
    (memory: MemoryBackend): MemoryBackend['read'] =>
    async (ref, options) => {
      const { entry } = await memory.read(ref, options)
      const pieces = async function* () {
        yield Buffer.from('01234')
        await sleep(50)
        throw new Error('the disk is on fire')
      }
      return { entry, body: Readable.from(pieces()) }
    }
  const gateway = await start(t, { backend: (memory) => overlay(memory, { read: read(memory) }) })
  await put(gateway, '/home/alice/f', '0123456789')
  const wire = await Wire.open(gateway, 'alice')
  wire.send(headers(1, request('/karst/files/home/alice/f')))
  t.equal(await wire.codeOf(1), 2, 'INTERNAL_ERROR')
  const ends = wire.frames.filter(({ type, flags, stream }) => type === TYPE.data && stream === 1 && flags % 2 === 1)
  t.same(ends, [])
  wire.socket.destroy()
})

await t.test('100 Continue comes before the body, or the refusal instead of it', async (t) => {
  const gateway = await start(t)
  const client = session(gateway, 'alice')
  const expecting = (path: string) =>
    client.request({ ':path': path, ':method': 'PUT', expect: '100-continue' }, { endStream: false })
  const good = expecting('/karst/files/home/alice/f')
  await once(good, 'continue')
  good.end('hello')
  t.equal((await collectStream(good)).status, 201)
  const bad = expecting('/karst/files/home/bob/f')
  let continued = false
  bad.on('continue', () => (continued = true))
  t.equal((await collectStream(bad)).status, 403)
  t.notOk(continued)
  client.destroy()
})

await t.test('slow clients', async (t) => {
  const limits = { headersTimeout: 300, documentTimeout: 300, idleTimeout: 400, keepAliveTimeout: 300 }
  const held = Promise.withResolvers<void>()
  const gateway = await start(t, {
    limits,
    backend: (memory) =>
      overlay(memory, {
        async make(path, draft) {
          if (path.endsWith('slow')) await held.promise
          return memory.make(path, draft)
        },
      }),
  })
  await t.test('lose the stream of a document, an upload or a download that does not go on', async (t) => {
    const body = randomBytes(8 << 20)
    await put(gateway, '/home/alice/big', body)
    const window = Buffer.from('000400000064', 'hex')
    const cases: Record<string, Buffer> = {
      document: headers(1, request('/karst/nodes/home/alice/x', [], 'PUT'), 0),
      upload: headers(1, request('/karst/files/home/alice/x', [], 'PUT'), 0),
      download: headers(1, request('/karst/files/home/alice/big')),
    }
    for (const [what, fields] of Object.entries(cases)) {
      const wire = await Wire.open(gateway, 'alice', window)
      wire.send(fields)
      t.ok(await wire.codeOf(1), what)
      wire.socket.destroy()
    }
    t.equal((await gateway.call('/nodes/home/alice/x', { as: 'alice' })).status, 404)
  })
  await t.test('lose a connection without a request', async (t) => {
    const silent = await Wire.open(gateway, 'alice')
    await silent.closed
    const used = await Wire.open(gateway, 'alice')
    used.send(headers(1, request('/karst/nodes/pub?limit=0')))
    t.ok(await used.next(TYPE.headers, 1))
    await used.closed
    const mute = connectTls({ ...tlsOf(), host: '127.0.0.1', port: gateway.port, ALPNProtocols: ['h2'] })
    mute.on('error', () => undefined).resume()
    await once(mute, 'close')
  })
  await t.test('are not cut off while it is we who are slow', async (t) => {
    const reply = gateway.call('/nodes/home/alice/slow', { method: 'PUT', as: 'alice', body: node('/home/alice/slow') })
    await sleep(1500)
    held.resolve()
    t.equal((await reply).status, 201)
  })
})

await t.test('closing lets streams under way finish, refuses new ones, and ends the connections', async (t) => {
  const gate = Promise.withResolvers<void>()
  const gateway = await start(t, {
    backend: (memory) =>
      overlay(memory, {
        async make(path, draft) {
          await gate.promise
          return memory.make(path, draft)
        },
      }),
  })
  const idle = await Wire.open(gateway, 'bob')
  await idle.next(TYPE.settings, 0)
  const busy = await Wire.open(gateway, 'alice')
  const fields = request('/karst/nodes/home/alice/a', [], 'PUT')
  busy.send(headers(1, fields, 0), frame(TYPE.data, FLAG.endStream, 1, Buffer.from(node('/home/alice/a'))))
  await sleep(200)
  const closed = gateway.server.close(60)
  t.equal((await busy.next(TYPE.goaway, 0))?.readUInt32BE(4), 0, 'NO_ERROR')
  await idle.closed
  busy.send(headers(3, request('/karst/nodes/pub')))
  gate.resolve()
  t.ok(await busy.next(TYPE.headers, 1))
  await closed
  await busy.closed
  t.notOk(busy.frames.some(({ type, stream }) => type === TYPE.headers && stream === 3))
})

await t.test('closing cuts off what does not finish in time', async (t) => {
  const gateway = await start(t, {
    backend: (memory) => overlay(memory, { make: () => new Promise(() => undefined) }),
  })
  const call = gateway.call('/nodes/home/alice/x', { method: 'PUT', as: 'alice', body: node('/home/alice/x') })
  const rejected = t.rejects(call)
  await sleep(100)
  await gateway.server.close(0.1)
  await rejected
})
