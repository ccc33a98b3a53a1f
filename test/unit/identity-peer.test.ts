// The TLS side, through real servers: the chain is there for every request, and a lost one is never anonymous.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import https from 'node:https'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'
import t from 'tap'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
} from '../../src/identity/mint.ts'
import { attachPeerChain, peerOf, TLS_OPTIONS } from '../../src/identity/peer.ts'
import { type Credential, pemCertificates, writeCredential } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { needs } from '../parts.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'karst-peer-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const ca = await mintDevelopmentCa('karst development CA')
const { certificate: cert, key } = await issueServerCertificate(ca, ['localhost', '127.0.0.1'])
const alice = await issueUserCertificate(ca, [['CN', 'alice']], 1, 'ec')
const proxy = await createProxy(alice, { hours: 1, newKey: 'ec' })
const rsaProxy = await createProxy(alice, { hours: 1 })
const trust = TrustStore.of(pemCertificates(ca.certificate))

/** What a gateway would say of the socket: a DN, anonymous, or the refusal. */
function whoIs(socket: object): string {
  try {
    const { chain } = peerOf(socket)
    return chain.length === 0 ? 'anonymous' : `${verifyChain(chain, trust).dn} of ${chain.length}`
  } catch (error) {
    return isFault(error) ? `${error.fault} ${'code' in error ? String(error.code) : ''}` : String(error)
  }
}

async function serve(
  t: { teardown: (handler: () => void) => void },
  options: tls.TlsOptions = TLS_OPTIONS,
  attach = true,
): Promise<number> {
  const server = https.createServer({ ...options, cert, key }, (request, response) =>
    response.end(whoIs(request.socket)),
  )
  if (attach) attachPeerChain(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const presented = ({ certificate, key, chain }: Credential): { cert: string; key: string } => ({
  cert: [certificate, ...chain].join(''),
  key,
})

function get(port: number, options: https.RequestOptions): Promise<{ body: string; reused: boolean }> {
  return new Promise((resolve, reject) => {
    // no name: where localhost is ::1 too, node tries both and forgets the session that it was to resume
    const request = https.get({ host: '127.0.0.1', port, ca: ca.certificate, ...options }, (response) => {
      const { socket } = response
      const reused = socket instanceof tls.TLSSocket && socket.isSessionReused()
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ body, reused }))
    })
    request.on('error', reject)
  })
}

const ALICE = 'cn=alice of 2'

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const only = { minVersion: version, maxVersion: version }

  t.test(`${version}: each request of a kept connection has the identity`, async (t) => {
    const port = await serve(t)
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    for (const turn of ['first', 'second', 'third']) {
      t.equal((await get(port, { agent, ...only, ...presented(proxy) })).body, ALICE, turn)
    }
    t.equal(Object.keys(agent.freeSockets).length, 1, 'it was one connection')
  })

  t.test(`${version}: a new connection never resumes a session, and has the identity`, async (t) => {
    const port = await serve(t)
    for (const turn of ['first', 'second']) {
      const agent = new https.Agent({ keepAlive: false })
      t.same(await get(port, { agent, ...only, ...presented(rsaProxy) }), { body: ALICE, reused: false }, turn)
    }
    const agent = new https.Agent({ maxCachedSessions: 10 })
    for (const turn of ['third', 'fourth']) {
      t.same(await get(port, { agent, ...only, ...presented(proxy) }), { body: ALICE, reused: false }, turn)
    }
  })

  t.test(`${version}: a resumed session of a proxy, where tickets are on, is refused`, async (t) => {
    const port = await serve(t, { requestCert: true, rejectUnauthorized: false })
    const agent = new https.Agent({ keepAlive: false, maxCachedSessions: 10 })
    const options = { agent, ...only, ...presented(proxy) }
    t.same(await get(port, options), { body: ALICE, reused: false })
    let again = await get(port, options)
    for (let i = 0; i < 5 && !again.reused; i++) again = await get(port, options)
    t.same(again, { body: 'NotAuthenticated RESUMED_SESSION', reused: true })
  })

  t.test(`${version}: a resumed session of a plain user, where tickets are on, is still that user`, async (t) => {
    const port = await serve(t, { requestCert: true, rejectUnauthorized: false })
    for (const [credential, body] of [[presented(alice), 'cn=alice of 1'] as const, [{}, 'anonymous'] as const]) {
      const agent = new https.Agent({ keepAlive: false, maxCachedSessions: 10 })
      const options = { agent, ...only, ...credential }
      let answer = await get(port, options)
      for (let i = 0; i < 6 && !answer.reused; i++) answer = await get(port, options)
      t.same(answer, { body, reused: true })
    }
  })

  t.test(`${version}: a proxy that comes without its issuer is told so`, async (t) => {
    const port = await serve(t)
    const { body } = await get(port, { ...only, agent: false, ...presented({ ...proxy, chain: [] }) })
    t.equal(body, 'NotAuthenticated CHAIN_INCOMPLETE')
  })

  t.test(`${version}: who sends no certificate is anonymous, and a stranger is not`, async (t) => {
    const port = await serve(t)
    t.equal((await get(port, { ...only, agent: false })).body, 'anonymous')
    const strangers = await mintDevelopmentCa('karst development CA')
    const mallory = await issueUserCertificate(strangers, [['CN', 'alice']], 1, 'ec')
    const body = (await get(port, { ...only, agent: false, ...presented(mallory) })).body
    t.equal(body, 'NotAuthenticated BAD_SIGNATURE')
  })
}

t.test('a chain that is too long is refused with that reason', async (t) => {
  const port = await serve(t)
  const long = { ...proxy, chain: [...proxy.chain, ...Array<string>(30).fill(ca.certificate)] }
  t.equal((await get(port, { agent: false, ...presented(long) })).body, 'NotAuthenticated CHAIN_TOO_LONG')
})

t.test('it reads the chain before any other listener of the server', async (t) => {
  const server = https.createServer({ ...TLS_OPTIONS, cert, key }, (_request, response) => response.end())
  const seen: string[] = []
  server.on('secureConnection', (socket) => {
    // A logger of somebody else, that drains OpenSSL's chain.
    socket.getPeerX509Certificate()
    seen.push(whoIs(socket))
  })
  attachPeerChain(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  await get((server.address() as AddressInfo).port, { agent: false, ...presented(proxy) })
  t.same(seen, [ALICE])
})

t.test('it finds the chain under HTTP/2, where the socket of a request is a Proxy', async (t) => {
  const server = http2.createSecureServer({ ...TLS_OPTIONS, cert, key, allowHTTP1: true })
  server.on('request', (request, response) => response.end(whoIs(request.socket)))
  attachPeerChain(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const session = http2.connect(`https://localhost:${port}`, { ca: ca.certificate, ...presented(proxy) })
  t.teardown(() => {
    session.close()
    server.close()
  })
  for (const turn of ['first', 'second']) {
    const stream = session.request({ ':path': '/' })
    let body = ''
    for await (const text of stream.setEncoding('utf8') as AsyncIterable<string>) body += text
    t.equal(body, ALICE, turn)
  }
})

t.test('a server that forgot to read chains fails, instead of taking everybody for anonymous', async (t) => {
  const port = await serve(t, TLS_OPTIONS, false)
  t.match((await get(port, { agent: false, ...presented(proxy) })).body, /attachPeerChain is missing/)
})

t.test('the options cannot be changed by accident, and name no authority to clients', async (t) => {
  t.ok(Object.isFrozen(TLS_OPTIONS))
  t.notOk('ca' in TLS_OPTIONS)
})

const run = promisify(execFile)
t.test('curl with a credential file that we wrote is the user', { skip: needs('curl') }, async (t) => {
  const port = await serve(t)
  const caFile = path.join(folder, 'ca.pem')
  writeFileSync(caFile, ca.certificate)
  for (const [name, credential] of Object.entries({ proxy, rsaProxy })) {
    const file = path.join(folder, `${name}.pem`)
    await writeCredential(file, credential)
    const url = `https://localhost:${port}/`
    for (const version of ['--tls-max 1.2', '--tlsv1.3']) {
      const args = ['-sS', '--cacert', caFile, '--cert', file, ...version.split(' '), url, url]
      t.equal((await run('curl', args)).stdout, ALICE + ALICE, `${name} ${version}`)
    }
  }
})
