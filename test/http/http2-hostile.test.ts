/** HTTP/2 by clients that mean no good, or do not know it. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { block, FLAG, frame, headers, request, TYPE, Wire } from './frames.ts'
import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts'

t.setTimeout(240_000)

const start = (t: Test, options: GatewayOptions = {}): Promise<Gateway> => startGateway(t, { http2: true, ...options })

await t.test('what HTTP/2 forbids reaches no handler', async (t) => {
  const gateway = await start(t)
  const path = '/karst/files/home/alice/x'
  const put = (...more: [string, string][]): Buffer => request(path, more, 'PUT')
  const cases: Record<string, Buffer> = {
    'Transfer-Encoding': put(['transfer-encoding', 'chunked']),
    Connection: put(['connection', 'close']),
    'an upper-case name': put(['Content-Type', 'text/plain']),
    'two lengths': put(['content-length', '1'], ['content-length', '2']),
    'a length that is none': put(['content-length', '+5']),
    'an absolute path': request('https://evil.example/karst/nodes', [], 'PUT'),
    'an empty path': request('', [], 'PUT'),
    'no path': block([[':method', 'PUT'], [':scheme', 'https'], [':authority', 'x']]),
    'two paths': block([[':method', 'PUT'], [':scheme', 'https'], [':path', path], [':path', '/'], [':authority', 'x']]),
    'an unknown pseudo-header': put([':karst', 'x']),
    'a pseudo-header at the end': block([[':method', 'PUT'], [':scheme', 'https'], ['x', 'y'], [':path', path]]),
    'a blank in the path': request('/karst/nodes HTTP/1.1', [], 'PUT'),
  } // prettier-ignore
  for (const [what, fields] of Object.entries(cases)) {
    const wire = await Wire.open(gateway, 'alice')
    wire.send(headers(1, fields, 0), frame(TYPE.data, FLAG.endStream, 1, Buffer.from('hello')))
    const status = await Promise.race([wire.codeOf(1), wire.next(TYPE.headers, 1)])
    if (status instanceof Buffer) t.notMatch(gateway.log.at(-1)?.fields, { status: 201 }, what)
    else t.equal(status, 1, `${what}: PROTOCOL_ERROR`)
    wire.socket.destroy()
  }
  t.equal((await gateway.call('/files/home/alice/x', { as: 'alice' })).status, 404)
})

await t.test('two Authorization headers are refused', async (t) => {
  const gateway = await start(t)
  const wire = await Wire.open(gateway, 'alice')
  const twice = [['authorization', 'Bearer a'], ['authorization', 'Bearer b']] as const // prettier-ignore
  wire.send(headers(1, request('/karst/nodes/pub', twice)))
  t.ok(await wire.next(TYPE.headers, 1))
  t.match(String(await wire.next(TYPE.data, 1)), /^InvalidArgument: more than one/)
  wire.socket.destroy()
})

await t.test('floods end the connection and nothing else', async (t) => {
  const gateway = await start(t)
  const get = request('/karst/nodes/pub?limit=0')
  const floods: Record<string, (wire: Wire, round: number) => void> = {
    'streams that are reset at once': (wire, round) => {
      for (let i = 0; i < 100; i++) {
        const stream = 1 + 2 * (100 * round + i)
        wire.send(headers(stream, get), frame(TYPE.reset, 0, stream, Buffer.from([0, 0, 0, 8])))
      }
    },
    'more streams at a time than allowed': (wire, round) => {
      const open = request('/karst/files/home/alice/x', [], 'PUT')
      for (let i = 0; i < 100; i++) wire.send(headers(1 + 2 * (100 * round + i), open, 0))
    },
    pings: (wire) => {
      wire.socket.pause()
      wire.send(...Array.from({ length: 5000 }, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8))))
    },
    settings: (wire) => {
      wire.socket.pause()
      wire.send(...Array.from({ length: 5000 }, () => frame(TYPE.settings, 0, 0)))
    },
    'many settings in one': (wire) => wire.send(frame(TYPE.settings, 0, 0, Buffer.alloc(6 * 1000, 9))),
    'empty data frames': (wire, round) => {
      if (round === 0) wire.send(headers(1, request('/karst/files/home/alice/x', [], 'PUT'), 0))
      wire.send(...Array.from({ length: 2000 }, () => frame(TYPE.data, 0, 1)))
    },
    'continuations without end': (wire, round) => {
      if (round === 0) wire.send(frame(TYPE.headers, FLAG.endStream, 1, get))
      wire.send(frame(TYPE.continuation, 0, 1, block([['x', 'y'.repeat(10_000)]])))
    },
    'window updates beyond the largest': (wire) => wire.send(frame(TYPE.window, 0, 0, Buffer.from('7fffffff', 'hex'))),
  }
  for (const [what, flood] of Object.entries(floods)) {
    const wire = await Wire.open(gateway, 'alice')
    let rounds = 0
    for (; rounds < 200 && !wire.socket.destroyed; rounds++) {
      flood(wire, rounds)
      await sleep(2)
      // a paused socket does not see its end
      if (rounds > 20) wire.socket.resume()
    }
    await Promise.race([wire.closed, sleep(20_000)])
    t.ok(wire.socket.destroyed, `${what}: ${rounds} rounds`)
    wire.socket.destroy()
    t.equal((await gateway.call('/nodes/pub?limit=0', { as: 'bob' })).status, 200)
  }
})

await t.test('who opens and resets streams all the time is told to calm down, and served no more', async (t) => {
  const gateway = await start(t)
  const wire = await Wire.open(gateway)
  const get = request('/karst/nodes/pub?limit=0')
  for (let i = 0; i < 3000 && !wire.socket.destroyed; i++) {
    wire.send(headers(1 + 2 * i, get), frame(TYPE.reset, 0, 1 + 2 * i, Buffer.from([0, 0, 0, 8])))
    if (i % 10 === 9) await sleep(10)
  }
  t.equal((await wire.next(TYPE.goaway, 0))?.readUInt32BE(4), 11, 'ENHANCE_YOUR_CALM')
  const served = gateway.log.filter(({ text }) => text === 'request').length
  t.ok(served > 400 && served < 700, `${served} were served`)
  wire.socket.destroy()
})

await t.test('a field that cannot be is dropped whole, with all that hides in it', async (t) => {
  const gateway = await start(t)
  const hidden: [string, string][] = [
    ['x-a', 'b\r\nauthorization: Bearer x'],
    ['x-a', 'b\0'],
    ['authorization\0', 'Bearer x'],
    ['x a', 'b'],
  ]
  const wire = await Wire.open(gateway, 'alice')
  wire.send(headers(1, request('/karst/nodes/pub?limit=0', hidden)))
  t.match(String(await wire.next(TYPE.data, 1)), 'ContainerNode')
  await sleep(100)
  t.match(gateway.log.at(-1)?.fields ?? {}, { status: 200, user: 'alice' })
  wire.socket.destroy()
})

await t.test('headers that are too large are refused', async (t) => {
  const gateway = await start(t)
  const send = async (count: number): Promise<Wire> => {
    const wire = await Wire.open(gateway)
    const more = Array.from({ length: count }, (_, i) => block([[`x-${i}`, 'a'.repeat(16_000)]]))
    wire.send(frame(TYPE.headers, FLAG.endStream, 1, request('/karst/nodes/pub?limit=0')))
    for (const [i, one] of more.entries())
      wire.send(frame(TYPE.continuation, i === count - 1 ? FLAG.endHeaders : 0, 1, one))
    return wire
  }
  const good = await send(3)
  t.match(String(await good.next(TYPE.data, 1)), 'ContainerNode')
  good.socket.destroy()
  const bad = await send(5)
  bad.send(headers(3, request('/karst/nodes/pub')))
  t.match(String(await bad.next(TYPE.data, 1)), 'the headers are too large')
  bad.socket.destroy()
  const many = await Wire.open(gateway)
  const small = Array.from({ length: 500 }, (_, i) => [`x-${i}`, 'a'] as const)
  many.send(headers(1, request('/karst/nodes/pub', small)))
  t.ok(await many.codeOf(1))
  many.socket.destroy()
})
