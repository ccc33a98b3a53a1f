/** Ranges asked for on connections of their own, against a server that sends its bytes as the test says. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { Inlet } from '../../mount/inlet.ts'
import { type RangeAnswer, type RangeRequest } from '../../mount/range-connection.ts'
import { RangePool } from '../../mount/range-pool.ts'
import { Pki } from './gateway-double.ts'

const pki = await Pki.make()
t.teardown(() => pki.remove())

const CONTENT = Buffer.from(Array.from({ length: 5000 }, (_, index) => index % 251))
const PATTERN = CONTENT.subarray(0, 502)

/** What a server does with a request: its head, and how many came on the connection before it. */
type Reply = (socket: TLSSocket, head: string, before: number) => void | Promise<void>

interface World {
  readonly port: number
  readonly pool: RangePool
  readonly heads: string[]
  readonly connections: TLSSocket[]
  readonly ask: (more?: Partial<RangeRequest>) => Promise<RangeAnswer | undefined>
}

async function world(t: Test, reply: Reply, most = 2, keepAlive = 60_000): Promise<World> {
  const heads: string[] = []
  const connections: TLSSocket[] = []
  const server = createServer({ key: pki.server.key, cert: pki.server.certificate }, (socket) => {
    connections.push(socket)
    let text = ''
    let before = 0
    socket.on('error', () => undefined) // the other side goes when it likes
    socket.on('data', (part: Buffer) => {
      text += part.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end)
        text = text.slice(end + 4)
        heads.push(head)
        void reply(socket, head, before++)
      }
    })
  })
  server.listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const tls = { host: 'localhost', port, ca: readFileSync(pki.ca) }
  const pool = new RangePool({ host: `localhost:${port}`, tls, connectTimeout: 5000, keepAlive }, most)
  t.teardown(async () => {
    await pool.destroy()
    for (const socket of connections) socket.destroy()
    server.close()
  })
  const ask = (more: Partial<RangeRequest> = {}): Promise<RangeAnswer | undefined> => {
    const { start = 0, inlet = inletOf(100) } = more
    const usual = { path: '/f', headers: {}, headersTimeout: 2000, bodyTimeout: 2000 }
    return pool.request({ ...usual, ...more, start, inlet })
  }
  return { port, pool, heads, connections, ask }
}

/** Memory in three parts. */
function inletOf(length: number): Inlet {
  const third = Math.ceil(length / 3)
  return new Inlet([Buffer.alloc(third), Buffer.alloc(third), Buffer.alloc(third)], length)
}

const all = (inlet: Inlet): Buffer => Buffer.concat(inlet.slices(0, inlet.count))

/** As a gateway answers: what is asked for, cut at the end of the file. */
function answerTo(head: string, more = ''): Buffer {
  const [, from = '', to = ''] = /range: bytes=(\d+)-(\d+)/.exec(head) ?? []
  const part = CONTENT.subarray(Number(from), Number(to) + 1)
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${CONTENT.length}`
  const text = `HTTP/1.1 206 Partial Content\r\nContent-Length: ${part.length}\r\nContent-Range: ${range}\r\n${more}\r\n`
  return Buffer.concat([Buffer.from(text), part])
}

t.test('the bytes are in their places however they come, on one connection', async (t) => {
  const sizes = [1, 7, 40, 1000, 100_000]
  const { ask, heads, connections } = await world(t, async (socket, head, before) => {
    const bytes = answerTo(head)
    const size = sizes[before] ?? 1
    for (let at = 0; at < bytes.length; at += size) {
      socket.write(bytes.subarray(at, at + size))
      if (at % 50 === 0) await sleep(1)
    }
  })
  for (const [start, length] of [[0, 100], [3, 299], [4900, 300], [17, 3], [0, 5000]] as const) {
    const inlet = inletOf(length)
    t.match(await ask({ start, inlet }), { statusCode: 206 })
    t.same(all(inlet), CONTENT.subarray(start, start + length), `${start}, ${length}`)
  }
  t.match(heads[1], 'GET /f HTTP/1.1')
  t.equal(connections.length, 1)
}) // prettier-ignore

t.test('what has come can be read before the rest', async (t) => {
  const rest = Promise.withResolvers<void>()
  const { ask } = await world(t, async (socket, head) => {
    const bytes = answerTo(head)
    socket.write(bytes.subarray(0, -10))
    await rest.promise
    socket.write(bytes.subarray(-10))
  })
  const inlet = inletOf(100)
  const asked = ask({ inlet })
  await inlet.reach(90)
  t.notOk(inlet.has(91))
  t.same(Buffer.concat(inlet.slices(20, 90)), CONTENT.subarray(20, 90))
  rest.resolve()
  await Promise.all([inlet.reach(100), asked])
  t.same(all(inlet), CONTENT.subarray(0, 100))
})

t.test('a refusal is told with its text, and the connection serves on', async (t) => {
  const { ask, connections } = await world(t, (socket, head, before) => {
    const text = 'PreconditionFailed: changed'
    const refusal = `HTTP/1.1 412 No\r\ncontent-length: ${text.length}\r\nRetry-After:  7 \r\n\r\n${text}`
    socket.write(before === 0 ? refusal : answerTo(head))
  })
  const inlet = inletOf(10)
  const refused = await ask({ inlet })
  t.match(refused, { statusCode: 412, headers: { 'retry-after': '7' } })
  t.equal(String(refused?.text), 'PreconditionFailed: changed')
  t.equal(inlet.count, 0)
  t.match(await ask(), { statusCode: 206 })
  t.equal(connections.length, 1)
})

t.test('who asks for what follows gets it from the same answer, as far as that goes', async (t) => {
  const { ask, heads, connections } = await world(t, (socket, head) => void socket.write(answerTo(head)))
  const [first, second, third, last] = [inletOf(100), inletOf(2000), inletOf(1900), inletOf(500)]
  await ask({ inlet: first, more: 3900 })
  const both = [ask({ start: 100, inlet: second }), ask({ start: 2100, inlet: third, more: 7 })]
  t.match(await Promise.all(both), [{ statusCode: 206 }, { statusCode: 206 }])
  t.same(Buffer.concat([first, second, third].map(all)), CONTENT.subarray(0, 4000))
  await ask({ start: 4000, inlet: last })
  t.same(all(last), CONTENT.subarray(4000, 4500))
  t.match(heads, [/range: bytes=0-3999$/m, /range: bytes=4000-4499$/m])
  t.equal(heads.length, 2)
  t.equal(connections.length, 1)
})

t.test('other bytes, another file and another credential are asked for apart', async (t) => {
  const { ask, heads } = await world(t, (socket, head) => void socket.write(answerTo(head)), 9)
  await ask({ headers: { authorization: 'a' }, more: 900 })
  const inlet = inletOf(100)
  await ask({ start: 101, inlet, headers: { authorization: 'a' } })
  t.same(all(inlet), CONTENT.subarray(101, 201))
  await ask({ start: 100, path: '/g', headers: { authorization: 'a' } })
  await ask({ start: 100, headers: { authorization: 'b' } })
  await ask({ start: 100 })
  await ask({ start: 100, inlet: inletOf(901), headers: { authorization: 'a' } })
  t.equal(heads.length, 6)
  await ask({ start: 100, inlet: inletOf(900), headers: { authorization: 'a' } })
  t.equal(heads.length, 6)
})

t.test('the other side waits while nobody takes what it sends, and is left when that lasts', async (t) => {
  const length = 64 << 20
  const { ask, connections, heads } = await world(t, (socket) => {
    const range = `bytes 0-${length - 1}/${length}`
    socket.write(`HTTP/1.1 206 OK\r\nContent-Length: ${length}\r\nContent-Range: ${range}\r\n\r\n`)
    for (let at = 0; at < length; at += 251 << 12) socket.write(Buffer.alloc(Math.min(251 << 12, length - at), PATTERN))
  })
  await ask({ more: length - 100 })
  await sleep(300)
  const held = connections[0]?.writableLength ?? 0
  t.ok(held > length / 2, `${held} bytes are not sent`)
  for (let at = 100; at < 8 << 20; at += 1 << 20) {
    const inlet = inletOf(1 << 20)
    await ask({ start: at, inlet })
    t.ok(all(inlet).equals(Buffer.alloc(1 << 20, PATTERN.subarray(at % 251, (at % 251) + 251))), `${at}`)
  }
  const left = new Promise((resolve) => connections[0]?.once('close', resolve))
  await sleep(500)
  t.equal(connections[0]?.destroyed, false)
  await left
  t.equal(heads.length, 1)
})

t.test('who waits for what follows is served although others break off or give up', async (t) => {
  const cut = Promise.withResolvers<void>()
  const { ask, heads } = await world(t, async (socket, head) => {
    const isFirst = heads.length === 1
    socket.write(isFirst ? answerTo(head).subarray(0, 300) : answerTo(head))
    if (!isFirst) return
    await cut.promise
    socket.destroy()
  }) // prettier-ignore
  await ask({ more: 2900 })
  const [second, third, fourth] = [inletOf(1000), inletOf(900), inletOf(1000)]
  const abort = new AbortController()
  const broken = ask({ start: 100, inlet: second })
  const given = ask({ start: 1100, inlet: third, signal: abort.signal })
  const kept = ask({ start: 2000, inlet: fourth })
  await second.reach(1)
  abort.abort(new Error('interrupted'))
  await t.rejects(given, new Error('interrupted'))
  cut.resolve()
  await t.rejects(broken, { code: 'ECONNRESET' })
  t.match(await kept, { statusCode: 206 })
  t.same(all(fourth), CONTENT.subarray(2000, 3000))
  t.equal(third.count, 0)
})

t.test('a refusal is told to everybody who waits for its bytes', async (t) => {
  const { ask, heads } = await world(t, async (socket) => {
    await sleep(50)
    socket.write('HTTP/1.1 412 No\r\nContent-Length: 7\r\n\r\nchanged')
  })
  const answers = await Promise.all([ask({ more: 900 }), ask({ start: 100 }), ask({ start: 200 })])
  for (const answer of answers) t.equal(String(answer?.text), 'changed')
  t.equal(heads.length, 1)
})

const UNUSUAL: Readonly<Record<string, string>> = {
  'the whole file': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
  'a body in chunks': 'HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-2/9\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'another range': 'HTTP/1.1 206 OK\r\nContent-Length: 3\r\nContent-Range: bytes 1-3/9\r\n\r\nbcd',
  'more than asked for': `HTTP/1.1 206 OK\r\nContent-Length: 101\r\nContent-Range: bytes 0-100/900\r\n\r\n${'x'.repeat(101)}`,
  'a refusal without a length': 'HTTP/1.1 404 No\r\n\r\nNodeNotFound',
  'another version': 'HTTP/1.0 206 OK\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/9\r\n\r\nabc',
  'a word before the answer': 'HTTP/1.1 100 Continue\r\n\r\n',
  'no HTTP': 'SSH-2.0-OpenSSH\r\n\r\n',
  'a head without end': `HTTP/1.1 206 OK\r\nx: ${'y'.repeat(20_000)}`,
} // prettier-ignore
t.test('any other answer is left to others, and so is its connection', async (t) => {
  const replies = Object.values(UNUSUAL)
  const { ask, connections } = await world(t, (socket) => void socket.write(replies[connections.length - 1] ?? ''))
  for (const what of Object.keys(UNUSUAL)) t.equal(await ask(), undefined, what)
  t.equal(connections.length, replies.length)
})

t.test('a connection that the other side has closed, or is about to, is not used again', async (t) => {
  const ends = ['Connection: close\r\n', 'Keep-Alive: timeout=1\r\n', '', '']
  const { ask, connections } = await world(t, (socket, head) => {
    const end = ends[connections.length - 1] ?? ''
    socket.write(answerTo(head, end))
    if (connections.length === 3) setTimeout(() => socket.end(), 5)
  })
  for (let i = 0; i < 4; i++) {
    t.match(await ask(), { statusCode: 206 })
    await sleep(50)
  }
  t.equal(connections.length, 4)
})

t.test('one that is closed as it is asked is replaced, once', async (t) => {
  let closing = true
  const { ask, connections } = await world(t, (socket, head, before) => {
    if (before > 0 && closing) socket.destroy()
    else socket.write(answerTo(head))
  })
  t.match(await ask(), { statusCode: 206 })
  const inlet = inletOf(20)
  t.match(await ask({ inlet }), { statusCode: 206 })
  t.same(all(inlet), CONTENT.subarray(0, 20))
  t.equal(connections.length, 2)
  closing = false
  t.match(await ask(), { statusCode: 206 })
  t.equal(connections.length, 2)
})

t.test('an answer that breaks off, goes on for too long or falls silent is a failure of the connection', async (t) => {
  const { ask, connections } = await world(t, (socket, head) => {
    const bytes = answerTo(head)
    if (connections.length === 1) socket.end(bytes.subarray(0, -1))
    else if (connections.length === 2) socket.write(Buffer.concat([bytes, Buffer.from('x')]))
    else if (connections.length === 3) socket.write(bytes.subarray(0, -1))
  })
  await t.rejects(ask(), { code: 'ECONNRESET' })
  await ask().catch((error: unknown) => t.match(error, { code: 'ECONNRESET' }))
  await t.rejects(ask({ bodyTimeout: 50 }), { code: 'ETIMEDOUT' })
  await t.rejects(ask({ headersTimeout: 50 }), { code: 'ETIMEDOUT' })
  t.equal(connections.length, 4)
})

t.test(
  'more bytes than an answer has, where there is no room for them, end its connection and nothing else',
  async (t) => {
    const { ask } = await world(t, async (socket) => {
      socket.write('HTTP/1.1 206 OK\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/5000\r\n\r\n')
      await sleep(50)
      // one record of TLS
      socket.write(CONTENT.subarray(0, 300))
    })
    await t.rejects(ask({ inlet: new Inlet([Buffer.alloc(200)], 200) }), { code: 'ECONNRESET' })
  },
)

t.test('those who wait for an answer that breaks off ask anew in turn, and who has given up does not', async (t) => {
  const { ask, heads, connections } = await world(
    t,
    async (socket, head) => {
      if (heads.length > 1) return void socket.write(answerTo(head))
      socket.write(answerTo(head).subarray(0, 250))
      await sleep(100)
      socket.destroy()
    },
    1,
  )
  await ask({ more: 2900 })
  const inlets = [inletOf(500), inletOf(1000), inletOf(900)]
  const starts = [100, 600, 1600]
  const [first, ...others] = inlets.map((inlet, i) => ask({ start: starts[i] ?? 0, inlet }))
  const none = inletOf(500)
  await t.rejects(ask({ start: 2500, inlet: none, signal: AbortSignal.abort(new Error('too late')) }), {
    message: 'too late',
  })
  await t.rejects(async () => first, { code: 'ECONNRESET' }, 'bytes of it had come')
  await Promise.all(others)
  for (const [i, inlet] of inlets.entries()) {
    const start = starts[i] ?? 0
    if (i > 0) t.same(all(inlet), CONTENT.subarray(start, start + inlet.length))
  }
  t.equal(connections.length, 2)
  t.equal(none.count, 0)
})

t.test('no more than so many are asked at a time, in turn, and an abort frees its place', async (t) => {
  const held: (() => void)[] = []
  const { ask, heads, connections } = await world(t, (socket, head) => {
    held.push(() => socket.write(answerTo(head)))
  })
  const abort = new AbortController()
  const first = ask({ signal: abort.signal })
  const second = ask()
  const third = new AbortController()
  const waiting = ask({ signal: third.signal })
  const last = ask()
  while (held.length < 2) await sleep(1)
  await sleep(20)
  t.equal(heads.length, 2)
  third.abort(new Error('waited in vain'))
  await t.rejects(waiting, new Error('waited in vain'))
  const inlet = inletOf(10)
  abort.abort(new Error('interrupted'))
  await t.rejects(first, new Error('interrupted'))
  while (held.length < 3) await sleep(1)
  for (const go of held) go()
  t.match(await Promise.all([second, last]), [{ statusCode: 206 }, { statusCode: 206 }])
  t.ok(connections.length <= 3)
  await t.rejects(ask({ inlet, signal: AbortSignal.abort() }), { name: 'AbortError' })
  t.equal(heads.length, 3)
})

t.test('nothing is written into the memory of who has given up', async (t) => {
  const { ask } = await world(t, async (socket, head) => {
    const bytes = answerTo(head)
    for (let at = 0; at < bytes.length && !socket.destroyed; at += 100) {
      socket.write(bytes.subarray(at, at + 100))
      await sleep(1)
    }
  })
  const memory = Buffer.alloc(5000)
  const inlet = new Inlet([memory], memory.length)
  const abort = new AbortController()
  const asked = ask({ inlet, signal: abort.signal })
  await inlet.reach(500)
  abort.abort(new Error('interrupted'))
  await t.rejects(asked, new Error('interrupted'))
  memory.fill(0xff)
  await sleep(50)
  t.ok(memory.equals(Buffer.alloc(5000, 0xff)))
})

t.test(
  'close lets what is under way end, destroy does not, and a server that is not trusted gets no request',
  async (t) => {
    const go = Promise.withResolvers<void>()
    const { ask, pool, heads } = await world(t, async (socket, head) => {
      await go.promise
      socket.write(answerTo(head))
    })
    const asked = ask()
    while (heads.length === 0) await sleep(1)
    const closed = pool.close()
    go.resolve()
    t.match(await asked, { statusCode: 206 })
    await closed
    const other = await world(t, () => undefined)
    const cut = other.ask()
    while (other.heads.length === 0) await sleep(1)
    await Promise.all([other.pool.destroy(), t.rejects(cut, { code: 'ECONNABORTED' })])
    await t.rejects(other.ask(), { code: 'ECONNABORTED' })
    const third = await world(t, () => undefined)
    const tls = { host: 'localhost', port: third.port, ca: [] }
    const stranger = new RangePool({ host: 'localhost', tls, connectTimeout: 1000, keepAlive: 1000 }, 1)
    const request = { path: '/f', headers: { authorization: 'Bearer secret' }, start: 0, inlet: inletOf(1) }
    await t.rejects(stranger.request({ ...request, headersTimeout: 1000, bodyTimeout: 1000 }), /certificate/)
    t.same(third.heads, [])
  },
)
