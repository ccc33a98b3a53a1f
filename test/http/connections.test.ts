/** Connections of one user, counted by their requests: over both protocols, and of their pre-authorised URLs apart. */
import { EventEmitter, once } from 'node:events'
import { type IncomingMessage, type ServerResponse } from 'node:http'
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { type Server } from 'node:https'
import { type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { type LimitsConfig } from '../../src/config-accounts.ts'
import { Traffic } from '../../src/http/limits.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { authority, chainPem, credentials, type Name } from './people.ts'

const limited = async (t: Test, limits: LimitsConfig): Promise<Gateway> => startGateway(t, { people: { limits } })

/** Head and body of the answer to a request on a connection that stays open, as far as it is ours to say. */
async function asked(socket: TLSSocket, target = '/nodes/pub?limit=0'): Promise<string> {
  socket.write(`GET /karst${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return data.toString('latin1')
}

const ended = async (socket: TLSSocket): Promise<void> => {
  socket.resume()
  if (!socket.closed) await once(socket, 'close')
}

/** Until the server has seen that they are closed. */
async function free(t: Test, gateway: Gateway, as: Name): Promise<TLSSocket> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = await gateway.raw(as)
    t.teardown(() => socket.destroy())
    if (/^HTTP\/1.1 200/.test(await asked(socket))) return socket
    await ended(socket)
  }
  throw new Error('no place became free')
}

function session(t: Test, { port }: Gateway, name: Name): ClientHttp2Session {
  const session = connectHttp2(`https://localhost:${port}`, {
    ca: authority.certificate,
    cert: chainPem(credentials[name]),
    key: credentials[name].key,
  })
  t.teardown(() => session.destroy())
  return session
}

async function status(session: ClientHttp2Session): Promise<number | undefined> {
  const stream = session.request({ ':path': '/karst/nodes/pub?limit=0' })
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }]
  stream.resume()
  await once(stream, 'close')
  return headers[':status']
}

t.test('too many of one user are refused with the answer, and closed', async (t) => {
  const gateway = await limited(t, { user: { connections: 2 } })
  const [first, second] = [await gateway.raw('alice'), await gateway.raw('alice')]
  for (const socket of [first, second]) {
    t.teardown(() => socket.destroy())
    for (let times = 0; times < 3; times++) t.match(await asked(socket), /^HTTP\/1.1 200/, 'a connection counts once')
  }
  for (const target of ['/nodes/pub?limit=0', '/files/pub/x', '/fs/v1']) {
    const third = await gateway.raw('alice')
    const answer = await asked(third, target)
    t.match(answer, /^HTTP\/1.1 503/)
    t.match(answer, /\r\nconnection: close\r\n/i)
    await ended(third)
  }
  t.match(await asked(first), /^HTTP\/1.1 200/, 'those that are there go on')
  const others = await Promise.all([gateway.raw('bob'), gateway.raw(), gateway.raw(), gateway.raw()])
  for (const socket of others) {
    t.teardown(() => socket.destroy())
    t.match(await asked(socket), /^HTTP\/1.1 200/, 'others do not suffer')
  }
  second.destroy()
  await free(t, gateway, 'alice')
})

t.test('those by HTTP/2 count as well', async (t) => {
  const gateway = await limited(t, { user: { connections: 1 } })
  const first = session(t, gateway, 'alice')
  t.same(await Promise.all([status(first), status(first), status(first)]), [200, 200, 200])
  const second = session(t, gateway, 'alice')
  const closed = once(second, 'close')
  t.equal(await status(second), 503)
  await closed
  const plain = await gateway.raw('alice')
  t.match(await asked(plain), /^HTTP\/1.1 503/)
  t.equal(await status(first), 200)
  first.close()
  await once(first, 'close')
  await free(t, gateway, 'alice')
})

t.test('an exception holds for one user', async (t) => {
  const gateway = await limited(t, { user: { connections: null } })
  gateway.store.users.setLimits('bob', { connections: 1 })
  for (const [name, expected] of [
    ['bob', '200'],
    ['bob', '503'],
    ['alice', '200'],
    ['alice', '200'],
  ] as const) {
    const socket = await gateway.raw(name)
    t.teardown(() => socket.destroy())
    t.match(await asked(socket), new RegExp(`^HTTP/1.1 ${expected}`))
  }
})

t.test('who is silent is not forgotten while a connection of theirs is open', async (t) => {
  const traffic = new Traffic({ limits: { user: { connections: 1 } } })
  const server = new EventEmitter()
  traffic.attach(server as Server)
  t.teardown(() => server.emit('close'))
  const connected = (): EventEmitter => {
    const socket = new EventEmitter()
    server.emit('secureConnection', socket)
    return socket
  }
  const enter = (socket: EventEmitter): void => {
    const response = Object.assign(new EventEmitter(), { setHeader: () => undefined })
    traffic.enter('alice', { socket } as unknown as IncomingMessage, response as unknown as ServerResponse)
    response.emit('close')
  }
  const [first, second] = [connected(), connected()]
  enter(first)
  t.intercept(performance, 'now', { value: () => 3_600_000 })
  traffic.look()
  t.throws(() => enter(second), /1 connections at a time/)
  first.emit('close')
  enter(second)
  traffic.look()
  t.throws(() => enter(connected()), /1 connections at a time/, 'each is given back once')
})
