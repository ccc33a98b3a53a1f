/** The PROXY protocol on the gateway's own port: what listed balancers may send, and what becomes of anything else. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { originOf } from '../../src/http/origin.ts'
import { type Gateway, type GatewayOptions, startGateway, tlsOf } from './gateway.ts'
import { type Name } from './people.ts'

t.setTimeout(120_000)

interface Listening {
  readonly gateway: Gateway
  /** where refused requests came from */
  readonly addresses: (string | undefined)[]
}

async function start(t: Test, options: GatewayOptions = {}, from = ['127.0.0.0/8']): Promise<Listening> {
  const addresses: (string | undefined)[] = []
  const audit = { note: (): void => void addresses.push(originOf()?.address) }
  const gateway = await startGateway(t, { ...options, services: { proxyProtocol: { from }, audit } })
  return { gateway, addresses }
}

async function tcp(gateway: Gateway): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: gateway.port })
  socket.on('error', () => undefined) // it may be cut
  await once(socket, 'connect')
  return socket
}

/** All that comes back of a refused request; empty when the connection is cut. */
async function refused(socket: Socket, as: Name = 'alice'): Promise<string> {
  const tls = connectTls({ ...tlsOf(as), socket })
  tls.on('error', () => undefined)
  tls.write('GET /karst/files/home/bob/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  let text = ''
  tls.on('data', (part) => (text += String(part)))
  await new Promise((resolve) => tls.once('close', resolve))
  return text
}

const line = (address: string): string => `PROXY TCP4 ${address} 127.0.0.1 1234 443\r\n`
const v2 = (command: number, family: number, hex: string): Buffer => {
  const rest = Buffer.from(hex, 'hex')
  return Buffer.concat([
    Buffer.from('0d0a0d0a000d0a515549540a', 'hex'),
    Buffer.from([command, family, 0, rest.length]),
    rest,
  ])
}

await t.test('the address that is told is the one that is noted', async (t) => {
  const { gateway, addresses } = await start(t)
  const headers: [string | Buffer, string][] = [
    [line('192.0.2.1'), '192.0.2.1'],
    ['PROXY UNKNOWN\r\n', '127.0.0.1'],
    ['PROXY TCP6 2001:db8::1 ::1 1 2\r\n', '2001:db8::1'],
    [v2(0x21, 0x11, 'c0000207c633640200010002'), '192.0.2.7'],
    [v2(0x20, 0x00, ''), '127.0.0.1'],
    [v2(0x21, 0x21, `20010db8${'00'.repeat(11)}01${'00'.repeat(16)}00010002`), '2001:db8::1'],
  ]
  for (const [header, expected] of headers) {
    const socket = await tcp(gateway)
    socket.write(header)
    t.match(await refused(socket), /^HTTP\/1.1 403 /)
    await sleep(30)
    t.equal(addresses.pop(), expected)
  }
})

await t.test('byte by byte, or in one with the handshake, it is the same', async (t) => {
  const { gateway, addresses } = await start(t)
  const slow = await tcp(gateway)
  slow.setNoDelay()
  for (const byte of line('192.0.2.1')) {
    slow.write(byte)
    await sleep(2)
  }
  t.match(await refused(slow), /^HTTP\/1.1 403 /)
  const whole = await tcp(gateway)
  whole.cork()
  whole.write(line('192.0.2.2'))
  const answer = refused(whole, 'alice')
  await sleep(50)
  whole.uncork()
  t.match(await answer, /^HTTP\/1.1 403 /)
  await sleep(30)
  t.same(addresses, ['192.0.2.1', '192.0.2.2'])
})

await t.test('many connections at a time are each whose they are told to be', async (t) => {
  const { gateway, addresses } = await start(t)
  const numbers = Array.from({ length: 60 }, (_, i) => i + 1)
  await Promise.all(
    numbers.map(async (n) => {
      const socket = await tcp(gateway)
      socket.write(line(`192.0.2.${n}`))
      t.match(await refused(socket), /^HTTP\/1.1 403 /)
    }),
  )
  await sleep(50)
  t.same(addresses.map(String).sort(), numbers.map((n) => `192.0.2.${n}`).sort())
})

await t.test('what is no such header is cut off before TLS', async (t) => {
  const { gateway, addresses } = await start(t, { limits: { headersTimeout: 400 } })
  const texts = [
    'GET / HTTP/1.1\r\n\r\n',
    'PROXY TCP4 x y 1 2\r\n',
    `PROXY TCP4 ${'1'.repeat(300)}`,
    '\r\n\r\n\0\r\nQUIT\n\x99\x11\0\0',
  ]
  const halves = ['', 'PROXY TCP4 192.0', '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c']
  for (const text of [...texts, ...halves]) {
    const socket = await tcp(gateway)
    socket.write(Buffer.from(text, 'latin1'))
    socket.resume()
    await once(socket, 'close')
    t.pass(JSON.stringify(text.slice(0, 30)))
  }
  t.equal(await refused(await tcp(gateway)), '', 'a handshake that comes without')
  const ended = await tcp(gateway)
  ended.end('PROXY ')
  ended.resume()
  await once(ended, 'close')
  t.same(addresses, [])
})

await t.test('a second header is no header, and one from elsewhere is none', async (t) => {
  const twice = await start(t)
  const socket = await tcp(twice.gateway)
  socket.write(line('192.0.2.1') + line('192.0.2.2'))
  t.equal(await refused(socket), '')
  const elsewhere = await start(t, {}, ['10.0.0.0/8'])
  const told = await tcp(elsewhere.gateway)
  told.write(line('192.0.2.1'))
  t.equal(await refused(told), '')
  t.match(await refused(await tcp(elsewhere.gateway)), /^HTTP\/1.1 403 /)
  await sleep(30)
  t.same(elsewhere.addresses, ['127.0.0.1'])
})

await t.test('a connection that has not told yet does not keep the gateway from its end', async (t) => {
  const { gateway } = await start(t)
  const socket = await tcp(gateway)
  socket.write('PROXY ')
  await sleep(50)
  socket.resume()
  await Promise.all([gateway.server.close(60), once(socket, 'close')])
  t.pass()
})
