// What a TLS-terminating front tells of its client's certificate: who is believed, and in which forms.
import t from 'tap'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import { forwardedChain, type ForwardedOptions, stripForwarded } from '../../src/identity/forwarded.ts'
import { toPem } from '../../src/identity/pem.ts'
import { proxy } from '../fixtures/forge.ts'
import { alice, ca, chainOf, verify } from '../fixtures/lab.ts'

const options: ForwardedOptions = { from: ['192.0.2.7', '10.0.0.0/8', '2001:db8::/32'], header: 'X-Client-Certificate' }
const rfc9440: ForwardedOptions = { from: ['10.0.0.1'], header: 'Client-Cert' }
const pem = toPem('CERTIFICATE', alice.der)
const base64 = (der: Buffer): string => der.toString('base64')
const sequence = (der: Buffer): string => `:${base64(der)}:`
const codeOf = (headers: Record<string, string | string[]>, given = options): string => {
  try {
    return JSON.stringify(forwardedChain(headers, '10.0.0.1', given))
  } catch (error) {
    if (error instanceof CertificateFault) return error.code
    throw error
  }
}

t.test('it believes nobody unless fronts are listed', async (t) => {
  for (const address of ['127.0.0.1', '10.0.0.1', '::1', undefined]) {
    t.equal(forwardedChain({ 'x-client-certificate': pem }, address, undefined), undefined)
  }
})

t.test('it believes the listed addresses only, in all ways to write them', async (t) => {
  const from = ['192.0.2.7', '10.0.0.0/8', '2001:db8::/32', '::ffff:198.51.100.0/120', 'fe80::1', '203.0.113.128/25']
  const listed = { ...options, from }
  const ask = (address?: string): boolean => forwardedChain({}, address, listed) !== undefined
  for (const address of [
    '192.0.2.7',
    '::ffff:192.0.2.7',
    '::FFFF:10.255.0.1',
    '10.0.0.0',
    '2001:db8::1',
    '2001:db8:ffff::',
    '198.51.100.9',
    '::ffff:198.51.100.9',
    'fe80::1%eth0',
    '203.0.113.200',
  ]) {
    t.ok(ask(address), address)
  }
  for (const address of [
    '192.0.2.8',
    '11.0.0.1',
    '2001:db9::1',
    '::ffff:11.0.0.1',
    '198.51.101.1',
    '::10.0.0.1',
    'fe80::2',
    '203.0.113.127',
    '127.0.0.1',
    '::1',
    '',
    'front.example.org',
    '10.0.0.1, 192.0.2.7',
  ]) {
    t.notOk(ask(address), address)
  }
  t.notOk(ask(undefined), 'a socket without an address')
})

t.test('it takes a caller whose front tells of no certificate for anonymous', async (t) => {
  for (const none of [{}, { 'x-client-certificate': '' }, { 'x-client-certificate': '(null)' }]) {
    t.same(forwardedChain(none, '10.0.0.1', options), [])
  }
  t.same(forwardedChain({ 'client-cert': sequence(alice.der) }, '10.0.0.1', options), [], 'another header is nothing')
})

t.test('it reads the same certificate in every form, and the verifier accepts it', async (t) => {
  const forms = {
    PEM: pem,
    'PEM on one line': pem.trim().replaceAll('\n', ' '),
    'PEM with tabs': pem.trim().replaceAll('\n', '\t'),
    'URL-escaped PEM (nginx)': encodeURIComponent(pem),
    'base64 of DER (haproxy)': base64(alice.der),
    'escaped base64': encodeURIComponent(base64(alice.der)),
    'RFC 9440': sequence(alice.der),
  }
  for (const [it, value] of Object.entries(forms)) {
    const chain = forwardedChain({ 'x-client-certificate': value }, '10.0.0.1', options)
    t.same(chain, [alice.der], it)
    t.equal(verify(chain ?? []).dn, 'cn=alice,ou=people,o=lab,c=ca')
  }
})

t.test('it reads the chain beside it', async (t) => {
  const leaf = proxy(alice)
  const wanted = chainOf(leaf, alice, ca)
  const both = { ...options, chainHeader: 'X-Chain' }
  const forms: [ForwardedOptions, Record<string, string>][] = [
    [
      rfc9440,
      { 'client-cert': sequence(leaf.der), 'client-cert-chain': `${sequence(alice.der)}, ${sequence(ca.der)}` },
    ],
    [both, { 'x-client-certificate': base64(leaf.der), 'x-chain': base64(Buffer.concat([alice.der, ca.der])) }],
    [both, { 'x-client-certificate': toPem('CERTIFICATE', leaf.der), 'x-chain': pem + toPem('CERTIFICATE', ca.der) }],
    [options, { 'x-client-certificate': encodeURIComponent(wanted.map((der) => toPem('CERTIFICATE', der)).join('')) }],
  ]
  for (const [given, headers] of forms) {
    const chain = forwardedChain(headers, '10.0.0.1', given)
    t.same(chain, wanted)
    t.equal(verify(chain ?? []).depth, 1)
  }
  t.same(
    forwardedChain({ 'x-client-certificate': pem, 'client-cert-chain': sequence(ca.der) }, '10.0.0.1', options),
    [alice.der],
    'no chain header is believed that was not named',
  )
  t.same(
    forwardedChain({ 'client-cert-chain': sequence(alice.der) }, '10.0.0.1', rfc9440),
    [],
    'a chain without a leaf',
  )
})

t.test('it refuses what it cannot read, and never takes it for no certificate', async (t) => {
  const bad: Record<string, string> = {
    'half a block of PEM': pem.slice(0, 100),
    'PEM with something else around it': `x ${pem}`,
    'a key': pem.replaceAll('CERTIFICATE', 'PRIVATE KEY'),
    'a bad escape': '%ZZ',
    'an escape that is no UTF-8': '%ff',
    'base64 with noise': `${base64(alice.der).slice(0, 40)}!`,
    'base64 with commas, as two headers': `${base64(alice.der)}, ${base64(alice.der)}`,
    'two byte sequences for one certificate': `${sequence(alice.der)}, ${sequence(alice.der)}`,
    'an open byte sequence': `:${base64(alice.der)}`,
    'an empty byte sequence': '::',
    'DER that is cut': base64(alice.der.subarray(0, 50)),
    words: 'CN=alice',
    dashes: '-----',
  }
  for (const [it, value] of Object.entries(bad)) t.equal(codeOf({ 'x-client-certificate': value }), 'MALFORMED', it)
  t.equal(codeOf({ 'x-client-certificate': [pem, pem] }), 'MALFORMED', 'twice')
  t.equal(codeOf({ 'client-cert': sequence(alice.der), 'client-cert-chain': 'x,y' }, rfc9440), 'MALFORMED')
})

t.test('it stops reading where no chain can be so long', async (t) => {
  const many = base64(Buffer.concat(Array<Buffer>(60).fill(alice.der)))
  const chain = forwardedChain({ 'x-client-certificate': many }, '10.0.0.1', options) ?? []
  t.equal(chain.length, 13)
  t.throws(() => verify(chain), { code: 'CHAIN_TOO_LONG' })
})

t.test('it takes the headers out, listed or not', async (t) => {
  const sent = () => ({
    'client-cert': 'a',
    'client-cert-chain': 'b',
    'x-client-certificate': 'c',
    'x-chain': 'd',
    host: 'x',
  })
  const left = (given?: ForwardedOptions): string[] => {
    const headers = sent()
    stripForwarded(headers, given)
    return Object.keys(headers)
  }
  t.same(left(), ['x-client-certificate', 'x-chain', 'host'])
  t.same(left({ ...options, chainHeader: 'X-Chain' }), ['host'])
})
