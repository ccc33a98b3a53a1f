/** Fronts of a real site: haproxy that passes TCP through with and without the PROXY protocol, haproxy and nginx that end TLS and tell of the certificate. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { originOf } from '../../src/http/origin.ts'
import { type HttpServices } from '../../src/http/services.ts'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../http/gateway.ts'
import { authority, certificateOf, credentials, host } from '../http/people.ts'
import { needs } from '../parts.ts'
import { run } from '../service/running.ts'

t.setTimeout(240_000)

const NGINX = '/usr/sbin/nginx'
const HAPROXY = '/usr/sbin/haproxy'
const hasHaproxy = needs(HAPROXY, 'curl')
const hasNginx = needs(NGINX, 'curl')

const folder = mkdtempSync(join(tmpdir(), 'karst-fronts-'))
const children: ChildProcess[] = []
t.teardown(async () => {
  for (const child of children) await ended(child)
  rmSync(folder, { recursive: true, force: true })
})
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const pem = (
  name: string,
  { certificate, key, chain }: { certificate: string; key: string; chain: readonly string[] },
) => file(`${name}.pem`, [certificate, key, ...chain].join('\n'))

const ca = file('ca.pem', authority.certificate)
const hostPem = file('host.pem', `${host.certificate}\n${host.key}`)
const people = {
  alice: pem('alice', await certificateOf('alice')),
  proxy: pem('proxy', credentials.alice),
  deep: pem('deep', await createProxy(credentials.alice, { hours: 1, newKey: 'rsa' })),
  bob: pem('bob', credentials.bob),
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

/** Starts one in the foreground; resolves when it listens. */
async function front(program: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (said += String(part)))
  for (let i = 0; i < 600; i++) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}: ${said}`)
    const socket = connect({ host: '127.0.0.1', port })
    const [what] = await Promise.race([
      once(socket, 'connect').then(() => ['connected']),
      once(socket, 'close').then(() => ['refused']),
    ]).catch(() => ['refused'])
    socket.destroy()
    if (what === 'connected') return
    await sleep(50)
  }
  throw new Error(`${program} does not listen: ${said}`)
}

const haproxyText = (body: string): string => `global
  maxconn 200
  ssl-server-verify none
defaults
  timeout connect 10s
  timeout client 60s
  timeout server 60s
${body}
`

let fronts = 0

async function haproxy(body: (port: number) => string): Promise<number> {
  const port = await freePort()
  const config = file(`haproxy-${++fronts}.cfg`, haproxyText(body(port)))
  await front(HAPROXY, ['-f', config, '-db'], port)
  return port
}

/** Passes TCP through, and says whose it is as `server` options tell it to. */
const passThrough = (gateway: Gateway, options = ''): Promise<number> =>
  haproxy(
    (port) => `listen karst\n  mode tcp\n  bind 127.0.0.1:${port}\n  server karst 127.0.0.1:${gateway.port} ${options}`,
  )

/** Where requests came from, as the audit is told. */
function audited(): {
  readonly events: { address: string | undefined; by: string | null }[]
  services: Partial<HttpServices>
} {
  const events: { address: string | undefined; by: string | null }[] = []
  const note = ({ by }: AuditEvent): void => void events.push({ address: originOf()?.address, by })
  return { events, services: { audit: { note } } }
}

interface Asked {
  readonly code: number | null
  /** protocol, status, user */
  readonly lines: readonly string[]
}

async function ask(port: number, path: string, as: string | undefined, ...args: readonly string[]): Promise<Asked> {
  const shown = as === undefined ? [] : ['--cert', as]
  const format = '\\n%{http_version} %{http_code}\\n'
  const words = ['-sS', '--max-time', '60', '--cacert', ca, ...shown, '-w', format, ...args]
  const { code, stdout } = await run('curl', [...words, `https://localhost:${port}/karst${path}`])
  const users = [...stdout.matchAll(/"user":("[a-z]+"|null)/g)].map(([, user = '']) => user.replaceAll('"', ''))
  const lines = [...stdout.matchAll(/^([\d.]+ \d+)$/gm)].map(([, line = ''], i) => `${line} ${users[i] ?? '-'}`)
  return { code, lines }
}

const FROM_ELSEWHERE = ['--interface', '127.0.0.2']
const gatewayOf = (t: Test, options: GatewayOptions): Promise<Gateway> => startGateway(t, { people: {}, ...options })

t.test('haproxy that passes TCP through: certificates and proxies arrive whole', { skip: hasHaproxy }, async (t) => {
  const gateway = await gatewayOf(t, {})
  const port = await passThrough(gateway)
  for (const [name, user] of [
    ['alice', 'alice'],
    ['proxy', 'alice'],
    ['deep', 'alice'],
    ['bob', 'bob'],
  ] as const)
    // prettier-ignore
    for (const [protocol, number] of [['--http1.1', '1.1'], ['--http2', '2']] as const) // prettier-ignore
      for (const version of [['--tlsv1.2', '--tls-max', '1.2'], ['--tlsv1.3']]) {
        const { lines } = await ask(port, '/fs/v1?n=[1-5]', people[name], protocol, ...version)
        t.same(lines, Array(5).fill(`${number} 200 ${user}`), `${name} ${version.join(' ')}`)
      }
  t.same((await ask(port, '/fs/v1', undefined)).lines, ['2 200 null'])
})

for (const option of ['send-proxy', 'send-proxy-v2'])
  t.test(`haproxy with ${option} tells whose connection it is`, { skip: hasHaproxy }, async (t) => {
    const { events, services } = audited()
    const proxyProtocol = { from: ['127.0.0.1'] }
    const gateway = await gatewayOf(t, { services: { ...services, proxyProtocol } })
    const port = await passThrough(gateway, option)
    for (const protocol of ['--http1.1', '--http2'])
      for (const as of ['proxy', 'deep', 'bob'] as const) {
        const { lines } = await ask(port, '/fs/v1?n=[1-3]', people[as], protocol, ...FROM_ELSEWHERE)
        t.match(lines.join(), as === 'bob' ? /200 bob/ : /200 alice/)
      }
    await ask(port, '/files/home/bob/x', people.proxy, ...FROM_ELSEWHERE, '--http2')
    await ask(port, '/files/home/bob/x', people.proxy, ...FROM_ELSEWHERE, '--http1.1')
    await ask(port, '/files/home/alice/x', people.bob)
    await sleep(200)
    t.same(events, [
      { address: '127.0.0.2', by: 'alice' },
      { address: '127.0.0.2', by: 'alice' },
      { address: '127.0.0.1', by: 'bob' },
    ])
    t.not(
      (await ask(gateway.port, '/fs/v1', people.bob)).code,
      0,
      'from there nothing is taken without a word of whose it is',
    )
    const { lines } = await ask(gateway.port, '/fs/v1', people.bob, ...FROM_ELSEWHERE)
    t.same(lines, ['2 200 bob'], 'and from elsewhere nobody is asked for it')
  })

t.test('limits for addresses are those of clients, and not of haproxy', { skip: hasHaproxy }, async (t) => {
  const limits = { connectionsPerAddress: 2 }
  const gateway = await gatewayOf(t, { people: { limits }, services: { proxyProtocol: { from: ['127.0.0.1'] } } })
  const port = await passThrough(gateway, 'send-proxy-v2')
  const held = [2, 2, 3].map((n) => connect({ host: '127.0.0.1', port, localAddress: `127.0.0.${n}` }))
  t.teardown(() => held.forEach((socket) => socket.destroy()))
  await Promise.all(held.map((socket) => once(socket, 'connect')))
  // until the gateway has seen them
  let third = await ask(port, '/fs/v1', people.bob, '--interface', '127.0.0.2')
  for (let i = 0; i < 100 && third.code === 0; i++) {
    await sleep(50)
    third = await ask(port, '/fs/v1', people.bob, '--interface', '127.0.0.2')
  }
  t.not(third.code, 0, 'a third of the same client')
  t.same(
    (await ask(port, '/fs/v1', people.bob, '--interface', '127.0.0.3')).lines,
    ['2 200 bob'],
    'a second of another',
  )
})

t.test('a word of whose connection it is counts from listed balancers only', { skip: hasHaproxy }, async (t) => {
  const gateway = await gatewayOf(t, { services: { proxyProtocol: { from: ['127.0.0.9'] } } })
  const port = await passThrough(gateway, 'send-proxy-v2')
  t.not((await ask(port, '/fs/v1', people.bob)).code, 0)
  t.same((await ask(gateway.port, '/fs/v1', people.bob)).lines, ['2 200 bob'])
})

const HEADER = 'X-Client-Certificate'
const forwarded = (from: string): Partial<HttpServices> => ({ forwardedCertificates: { from: [from], header: HEADER } })

const endsTls = (gateway: Gateway): Promise<number> =>
  haproxy(
    (port) => `frontend karst
  mode http
  bind 127.0.0.1:${port} ssl crt ${hostPem} ca-file ${ca} verify optional alpn h2,http/1.1
  http-request set-header ${HEADER} %[ssl_c_der,base64]
  default_backend karst
backend karst
  mode http
  server karst 127.0.0.1:${gateway.port} ssl verify none crt ${people.bob} source 127.0.0.4`,
  )

async function nginx(gateway: Gateway): Promise<number> {
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `${what}_temp_path ${join(folder, what)};`)
    .join(' ')
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const config = file(
    `nginx-${++fronts}.conf`,
    `${user} worker_processes 1; daemon off; pid ${join(folder, 'nginx.pid')}; error_log stderr error;
    events {}
    http { access_log off; ${temporary}
      server { listen 127.0.0.1:${port} ssl; ssl_certificate ${hostPem}; ssl_certificate_key ${hostPem};
        ssl_client_certificate ${ca}; ssl_verify_client optional; ssl_session_tickets off;
        location / { proxy_pass https://127.0.0.1:${gateway.port}; proxy_bind 127.0.0.4; proxy_http_version 1.1;
          proxy_set_header ${HEADER} $ssl_client_escaped_cert; proxy_ssl_certificate ${people.bob};
          proxy_ssl_certificate_key ${people.bob}; } } }\n`,
  )
  await front(NGINX, ['-c', config, '-p', folder], port)
  return port
}

const ENDING = {
  haproxy: { start: endsTls, skip: hasHaproxy },
  nginx: { start: nginx, skip: hasNginx },
} as const

for (const [name, { start, skip }] of Object.entries(ENDING))
  t.test(`${name} that ends TLS tells of certificates in a header, where it is listed`, { skip }, async (t) => {
    const gateway = await gatewayOf(t, { services: forwarded('127.0.0.4') })
    const port = await start(gateway)
    const users = async (as: string | undefined, ...args: string[]): Promise<string> => {
      const { lines } = await ask(port, '/fs/v1', as, ...args)
      return lines.map((line) => line.split(' ').slice(1).join(' ')).join()
    }
    t.equal(await users(people.alice), '200 alice')
    t.equal(await users(people.bob), '200 bob')
    t.equal(await users(undefined), '200 null', 'and the certificate of the front itself is nobody’s')
    for (let i = 0; i < 10; i++)
      t.equal(await users(people[i % 2 === 0 ? 'alice' : 'bob']), i % 2 === 0 ? '200 alice' : '200 bob')
    const forged = encodeURIComponent(credentials.bob.certificate)
    t.equal(await users(people.alice, '-H', `${HEADER}: ${forged}`), '200 alice', 'what a client writes there is gone')
    t.equal(await users(undefined, '-H', `${HEADER}: ${forged}`), '200 null')
    t.notMatch(await users(people.proxy), /alice|bob/, 'proxies get through no such front')
    const direct = await ask(gateway.port, '/fs/v1', people.alice, '-H', `${HEADER}: ${forged}`)
    t.same(direct.lines, ['2 200 alice'], 'from elsewhere the header says nothing')
    t.same((await ask(gateway.port, '/fs/v1', undefined, '-H', `${HEADER}: ${forged}`)).lines, ['2 200 null'])
    const unlisted = await gatewayOf(t, { services: forwarded('127.0.0.7') })
    const other = await start(unlisted)
    const { lines } = await ask(other, '/fs/v1', people.alice)
    t.match(lines.join(), /200 bob$/, 'of a front that is not listed only its own certificate counts')
    const off = await gatewayOf(t, {})
    t.match((await ask(await start(off), '/fs/v1', people.alice)).lines.join(), /200 bob$/)
  })
