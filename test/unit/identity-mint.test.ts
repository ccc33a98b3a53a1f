// What we issue, judged by our own verification and by OpenSSL's, Python's and Java's.
import { execFile } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'
import t from 'tap'
import { Certificate } from '../../src/identity/certificate.ts'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
  mintProxy,
} from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import {
  type Credential,
  parseCredential,
  pemCertificates,
  readCredential,
  writeCredential,
} from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { ecKeys } from '../fixtures/forge.ts'
import { needs } from '../parts.ts'

const run = promisify(execFile)
const faultOf = (refused: Promise<unknown>): Promise<string> =>
  refused.then(
    () => 'none',
    (error: unknown) => (isFault(error) ? error.fault : String(error)),
  )
const folder = mkdtempSync(path.join(tmpdir(), 'karst-mint-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  const where = path.join(folder, name)
  writeFileSync(where, text, { mode: 0o600 })
  return where
}

const NAME = [
  ['C', 'CA'],
  ['O', 'karst'],
  ['CN', 'alice'],
] as const
const ca = await mintDevelopmentCa('karst development CA')
const server = await issueServerCertificate(ca, ['localhost', '127.0.0.1', '::1'])
const alice = await issueUserCertificate(ca, NAME, 30)
const ecAlice = await issueUserCertificate(ca, NAME, 30, 'ec')
const trust = TrustStore.of(pemCertificates(ca.certificate))
const der = ({ certificate, chain }: Credential): Buffer[] => pemCertificates([certificate, ...chain].join(''))
const caFile = file('ca.pem', ca.certificate)

const openssl = needs('openssl')

for (const [kind, user] of [['RSA', alice] as const, ['EC', ecAlice] as const]) {
  for (const newKey of ['rsa', 'ec'] as const) {
    t.test(`it mints an ${newKey} proxy of an ${kind} user, and a limited one below it`, async (t) => {
      const first = await createProxy(user, { hours: 12, newKey, pathLen: 3 })
      const second = await createProxy(first, { hours: 24, newKey, policy: OID.limited })
      const one = verifyChain(der(first), trust)
      const two = verifyChain(der(second), trust)
      t.match(one, { dn: 'cn=alice,o=karst,c=ca', depth: 1, limited: false })
      t.match(two, { dn: 'cn=alice,o=karst,c=ca', depth: 2, limited: true })
      t.same(two.expires, one.expires, 'it does not outlive its issuer')
      const third = verifyChain(der(await createProxy(second, { hours: 1, newKey: 'ec' })), trust)
      t.equal(third.limited, true, 'what is below a limited proxy is limited without being asked')
    })

    t.test(`openssl verify accepts an ${newKey} proxy of an ${kind} user`, { skip: openssl }, async (t) => {
      const first = await createProxy(user, { hours: 12, newKey })
      const second = await createProxy(first, { hours: 12, newKey })
      const untrusted = file(`${kind}-${newKey}-chain.pem`, second.chain.join(''))
      const leaf = file(`${kind}-${newKey}.pem`, second.certificate)
      const args = ['verify', '-CAfile', caFile, '-untrusted', untrusted]
      const { stdout } = await run('openssl', [...args, '-allow_proxy_certs', '-x509_strict', leaf])
      t.match(stdout, /: OK/)
      await t.rejects(run('openssl', [...args, leaf]), 'it is a proxy, which must be allowed')
    })
  }
}

t.test('openssl verify accepts users and servers, strictly', { skip: openssl }, async (t) => {
  const purposes = { user: [alice, 'sslclient'], server: [server, 'sslserver'] } as const
  for (const [name, [credential, purpose]] of Object.entries(purposes)) {
    const args = ['verify', '-CAfile', caFile, '-x509_strict', '-purpose', purpose]
    t.match((await run('openssl', [...args, file(`${name}.pem`, credential.certificate)])).stdout, /: OK/, name)
  }
})

t.test('it certifies a key it was given, for a delegation', async (t) => {
  const { publicKey } = ecKeys()
  const request = { issuerCert: alice.certificate, issuerKey: alice.key, hours: 1, publicKey }
  const { certificate, key } = await mintProxy(request)
  t.equal(key, undefined)
  t.ok(new Certificate(pemCertificates(certificate)[0] ?? Buffer.alloc(0)).publicKey.equals(publicKey))
})

t.test('it refuses proxies that nobody would accept', async (t) => {
  const last = await createProxy(alice, { hours: 1, pathLen: 0, newKey: 'ec' })
  const old = await issueUserCertificate(ca, NAME, -1 / 1440, 'ec')
  const wrong: [string, () => Promise<unknown>][] = [
    ['below a path length of 0', () => createProxy(last, { hours: 1, newKey: 'ec' })],
    ['without a lifetime', () => createProxy(alice, { hours: 0, newKey: 'ec' })],
    ['of a lifetime that is no number', () => createProxy(alice, { hours: NaN, newKey: 'ec' })],
    ['of an expired user', () => createProxy(old, { hours: 1, newKey: 'ec' })],
    ['of an authority', () => createProxy({ ...ca, chain: [] }, { hours: 1, newKey: 'ec' })],
    ['with another key', () => createProxy({ ...alice, key: ecAlice.key }, { hours: 1, newKey: 'ec' })],
  ]
  for (const [it, refused] of wrong) {
    t.equal(await faultOf(refused()), 'InvalidArgument', it)
  }
})

t.test('it writes a credential as grid tools read it: certificate, PKCS#1 key, chain; mode 0600', async (t) => {
  const proxy = await createProxy(alice, { hours: 1 })
  const where = path.join(folder, 'alice-proxy.pem')
  writeFileSync(where, 'old')
  chmodSync(where, 0o644)
  await writeCredential(where, proxy)
  t.equal(statSync(where).mode & 0o777, 0o600)
  const labels = [...readFileSync(where, 'utf8').matchAll(/BEGIN (.*)-----/g)].map((match) => match[1])
  t.same(labels, ['CERTIFICATE', 'RSA PRIVATE KEY', 'CERTIFICATE'])
  t.same(await readCredential(where), proxy)
  t.same(
    readdirSync(folder).filter((name) => name.endsWith('.tmp')),
    [],
    'no debris',
  )
  await t.rejects(writeCredential(path.join(folder, 'missing', 'x.pem'), proxy), { code: 'ENOENT' })
})

t.test('it reads keys of every form, and says what is wrong with a file', async (t) => {
  for (const user of [alice, ecAlice]) {
    const mixed = `noise\n${toPkcs8(user.key)}between\n${user.certificate}`
    t.equal(parseCredential(mixed, 'x').key, user.key, 'PKCS#8 before the certificate')
  }
  const wrong: [string, RegExp][] = [
    ['', /no certificate/],
    [alice.certificate, /no private key/],
    [alice.key, /no certificate/],
    [alice.certificate + ecAlice.key, /not the one of the first certificate/],
    [alice.certificate + alice.key + ecAlice.key, /more than one/],
    [
      `${alice.certificate}-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----`,
      /encrypted/,
    ],
    [`${alice.certificate}-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----`, /x: /],
    [`-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${alice.key}`, /malformed/],
  ]
  for (const [text, why] of wrong) {
    try {
      t.fail(parseCredential(text, 'x').certificate)
    } catch (error) {
      t.ok(isFault(error, 'InvalidData'))
      t.match((error as Error).message, why)
      t.notMatch((error as Error).message, /BEGIN/, 'the message holds nothing of the file')
    }
  }
})

function toPkcs8(key: string): string {
  return createPrivateKey(key).export({ type: 'pkcs8', format: 'pem' }).toString()
}

// Runs a client against a TLS server that has our certificate: true when it trusts the server.
async function isTrustedBy(program: string, args: (port: number) => string[]): Promise<string> {
  const listener = tls.createServer({ cert: server.certificate, key: server.key }, (socket) => {
    socket.on('error', () => undefined) // a client may leave as it likes
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  const port = typeof address === 'object' && address ? address.port : 0
  try {
    return (await run(program, args(port), { timeout: 60_000 })).stdout
  } finally {
    listener.close()
  }
}

t.test('curl trusts the server certificate by name and by address', { skip: needs('curl') }, async (t) => {
  for (const host of ['localhost', '127.0.0.1']) {
    t.equal(await isTrustedBy('curl', (port) => ['-sS', '--cacert', caFile, `https://${host}:${port}/`]), 'ok', host)
  }
})

t.test('Python trusts the server certificate, strictly', { skip: needs('python3') }, async (t) => {
  const script = `import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as raw:
    with context.wrap_socket(raw, server_hostname='localhost') as s: print(s.version())`
  t.match(await isTrustedBy('python3', (port) => ['-c', script, caFile, String(port)]), /^TLSv1/)
})

t.test('Java trusts the server certificate', { skip: needs('java') }, async (t) => {
  const store = path.join(folder, 'trust.p12')
  const password = ['-storepass', 'changeit', '-storetype', 'PKCS12']
  await run('keytool', ['-importcert', '-noprompt', '-file', caFile, '-alias', 'ca', '-keystore', store, ...password])
  const source = file(
    'Get.java',
    `public class Get { public static void main(String[] a) throws Exception {
      System.out.print(new String(new java.net.URL("https://localhost:" + a[0] + "/").openStream().readAllBytes())); } }`,
  )
  const args = [`-Djavax.net.ssl.trustStore=${store}`, '-Djavax.net.ssl.trustStorePassword=changeit', source]
  t.equal(await isTrustedBy('java', (port) => [...args, String(port)]), 'ok')
})

t.test('the names of a server are in its certificate as octets', async (t) => {
  const { subjectAltName } = new X509Certificate(server.certificate)
  t.equal(subjectAltName, 'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
  t.equal(await faultOf(issueServerCertificate(ca, [])), 'InvalidArgument')
})
