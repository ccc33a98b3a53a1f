import t from 'tap'
import { readProxyHeader } from '../../src/http/proxy-protocol.ts'

const v1 = (line: string) => readProxyHeader(Buffer.from(line, 'latin1'))

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const v2 = (command: number, family: number, rest: Buffer, length = rest.length): Buffer =>
  Buffer.concat([SIGNATURE, Buffer.from([command, family, length >> 8, length & 255]), rest])
const IPV4 = Buffer.from('c0000201' + 'c6336402' + '1234' + '01bb', 'hex')
const IPV6 = Buffer.from('20010db8000000000000000000000001' + '20010db8000000000000000000000002' + '123401bb', 'hex')

t.test('what balancers send is read, and how long it is', async (t) => {
  const line = 'PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\n'
  t.same(v1(`${line}\x16\x03\x01`), { length: line.length, address: '192.0.2.1' })
  t.match(v1('PROXY TCP6 2001:db8::1 2001:db8::2 4660 443\r\n'), { address: '2001:db8::1' })
  t.same(v1('PROXY UNKNOWN\r\n'), { length: 15, address: undefined })
  t.match(v1('PROXY UNKNOWN ffff:f::1 ::1 65535 65535\r\n'), { address: undefined })
  t.same(readProxyHeader(v2(0x21, 0x11, IPV4)), { length: 28, address: '192.0.2.1' })
  t.same(readProxyHeader(v2(0x21, 0x21, IPV6)), { length: 52, address: '2001:db8::1' })
  const noted = Buffer.concat([IPV4, Buffer.from([3, 0, 4, 1, 2, 3, 4])])
  t.same(readProxyHeader(Buffer.concat([v2(0x21, 0x11, noted), Buffer.from('rest')])), {
    length: 35,
    address: '192.0.2.1',
  })
  t.match(readProxyHeader(v2(0x20, 0, Buffer.alloc(0))), { length: 16, address: undefined })
  t.match(readProxyHeader(v2(0x21, 0, Buffer.alloc(9))), { length: 25, address: undefined })
})

t.test('of every header each beginning asks for more, and is not taken for less', async (t) => {
  const whole = [v2(0x21, 0x11, IPV4), v2(0x21, 0x21, IPV6), Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n')]
  for (const bytes of whole)
    for (let i = 0; i < bytes.length; i++)
      if (readProxyHeader(bytes.subarray(0, i)) !== 'more') t.fail(`${bytes.toString('latin1')} to ${i}`)
})

t.test('what is none, or not whole, or too long, is refused', async (t) => {
  const texts = [
    '\x16\x03\x01\x02\x00',
    'GET / HTTP/1.1\r\n',
    'proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n',
    'PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n',
    'PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n',
    'PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY TCP4 alice bob 1 2\r\n',
    `PROXY TCP4 ${'1'.repeat(200)}`,
    `PROXY UNKNOWN ${'1'.repeat(100)}\r\n`,
    'PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n',
  ]
  for (const text of texts.slice(0, -1)) t.equal(v1(text), 'none', text)
  t.equal(v1(texts.at(-1) ?? ''), 'more')
  t.equal(v1((texts.at(-1) ?? '').padEnd(107, 'x')), 'none', 'no end of the line')
  const bytes = {
    'version 3': v2(0x31, 0x11, IPV4),
    'an unknown command': v2(0x22, 0x11, IPV4),
    'too few bytes for the family': v2(0x21, 0x21, IPV4),
    UDP: v2(0x21, 0x12, IPV4),
    'an unknown family': v2(0x21, 0x41, IPV4),
    'too many notes': v2(0x21, 0x11, IPV4, 5000),
    'a signature that is off by one': Buffer.concat([SIGNATURE.subarray(0, 11), Buffer.from('x'), IPV4]),
  }
  for (const [what, header] of Object.entries(bytes)) t.equal(readProxyHeader(header), 'none', what)
})
