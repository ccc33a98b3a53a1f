/** What stands in front of gateways: haproxy passing TCP through, and haproxy and nginx ending TLS and telling of the certificate. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Credential } from '../../src/identity/pem.ts'
import { collect, startGateway } from '../http/gateway.ts'
import { authority, certificateOf, chainPem, credentials, host } from '../http/people.ts'
import { needs } from '../parts.ts'

const HEADER = 'X-Client-Certificate'
const folder = mkdtempSync(join(tmpdir(), 'karst-fronts-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const server = file('front.pem', host.certificate + host.key)
const ca = file('ca.pem', authority.certificate)
const alice = await certificateOf('alice')

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  return port
}

/** Starts a front and waits until it listens; it ends with the test. */
async function front(t: Test, port: number, program: string, words: readonly string[]): Promise<void> {
  const child: ChildProcess = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr?.on('data', (part: Buffer) => (said += String(part)))
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  for (let i = 0; i < 600; i++) {
    const probe = connect(port, '127.0.0.1')
    const is = await Promise.race([
      once(probe, 'connect').then(() => true),
      once(probe, 'error').then(() => false),
    ]).catch(() => false)
    probe.destroy()
    if (is) return
    if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`)
    await sleep(100)
  }
  throw new Error(`${program} does not listen: ${said}`)
}

interface Ask {
  readonly as?: Credential
  readonly headers?: Record<string, string>
  readonly agent?: Agent
}
const agentOf = (as?: Credential): Agent =>
  new Agent({ keepAlive: true, ca: authority.certificate, ...(as && { cert: chainPem(as), key: as.key }) })

/** The user that the gateway answers, or the status. */
async function who(port: number, { as, headers = {}, agent = agentOf(as) }: Ask = {}): Promise<unknown> {
  const asked = request({ host: 'localhost', port, path: '/karst/fs/v1', agent, headers }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const { status, text } = await collect(response)
  return status === 200 ? (JSON.parse(text) as { user: unknown }).user : status
}

const haproxy = (mode: string, bind: string, rules: string, backend: string): string =>
  `defaults\n mode ${mode}\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n` +
  `frontend f\n bind ${bind}\n${rules} default_backend b\nbackend b\n server s ${backend}\n`

await t.test('haproxy in TCP mode passes whole chains through', { skip: needs('haproxy') }, async (t) => {
  const gateway = await startGateway(t)
  const port = await freePort()
  const config = haproxy('tcp', `127.0.0.1:${port}`, '', `127.0.0.1:${gateway.port}`)
  await front(t, port, 'haproxy', ['-db', '-f', file('tcp.cfg', config)])
  const agent = agentOf(credentials.alice)
  for (let i = 0; i < 3; i++) t.equal(await who(port, { agent }), 'alice', 'a proxy, request by request')
  agent.destroy()
  t.equal(await who(port, { as: credentials.bob }), 'bob')
  t.equal(await who(port), null)
  t.equal(await who(port, { as: { ...credentials.alice, chain: [] } }), 401)
})

/** What holds for every front that ends TLS. */
async function endsTls(t: Test, port: number): Promise<void> {
  t.equal(await who(port, { as: alice }), 'alice')
  t.equal(await who(port, { as: credentials.bob }), 'bob')
  t.equal(await who(port), null)
  const told = { [HEADER]: encodeURIComponent(alice.certificate) }
  t.equal(await who(port, { headers: told }), null, 'what a client writes into the header does not get through')
  t.equal(await who(port, { headers: told, as: credentials.bob }), 'bob')
  t.not(await who(port, { as: credentials.alice }).catch(() => 'cut'), 'alice', 'it lets no proxy through')
}

await t.test('haproxy that ends TLS tells of the certificate', { skip: needs('haproxy') }, async (t) => {
  const forwardedCertificates = { from: ['127.0.0.1'], header: HEADER }
  const gateway = await startGateway(t, { services: { forwardedCertificates } })
  const port = await freePort()
  const rules =
    ` http-request del-header ${HEADER}\n` +
    ` http-request set-header ${HEADER} %[ssl_c_der,base64] if { ssl_c_used }\n`
  const bind = `127.0.0.1:${port} ssl crt ${server} ca-file ${ca} verify optional`
  const config = haproxy('http', bind, rules, `127.0.0.1:${gateway.port} ssl verify none`)
  await front(t, port, 'haproxy', ['-db', '-f', file('http.cfg', config)])
  await endsTls(t, port)
})

await t.test('nginx that ends TLS tells of the certificate', { skip: needs('nginx') }, async (t) => {
  const forwardedCertificates = { from: ['127.0.0.0/8'], header: HEADER }
  const gateway = await startGateway(t, { services: { forwardedCertificates } })
  const port = await freePort()
  mkdirSync(join(folder, 'nginx'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `${what}_temp_path ${join(folder, 'nginx', what)};`)
    .join(' ')
  const config = `daemon off; worker_processes 1; pid ${join(folder, 'nginx.pid')}; error_log stderr error;
    events {}
    http { access_log off; ${temporary}
      server { listen 127.0.0.1:${port} ssl; ssl_certificate ${server}; ssl_certificate_key ${server};
        ssl_client_certificate ${ca}; ssl_verify_client optional;
        location / { proxy_pass https://127.0.0.1:${gateway.port}; proxy_ssl_verify off;
          proxy_set_header ${HEADER} $ssl_client_escaped_cert; } } }\n`
  const user = process.getuid?.() === 0 ? 'user root; ' : ''
  await front(t, port, 'nginx', ['-c', file('nginx.conf', user + config), '-p', folder])
  await endsTls(t, port)
})
