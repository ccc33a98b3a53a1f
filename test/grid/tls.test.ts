/** curl, openssl and Python as TLS clients: whoever a connection is of, every request on it and after it is of theirs, and none is anonymous. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createProxy, issueUserCertificate } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { type Credential } from '../../src/identity/pem.ts'
import { type Gateway, startGateway } from '../http/gateway.ts'
import { authority } from '../http/people.ts'
import { pythonEnvironment } from '../interop/environment.ts'
import { needs } from '../parts.ts'
import { run } from '../service/running.ts'

t.setTimeout(290_000)

const folder = mkdtempSync(join(tmpdir(), 'karst-tls-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const ca = file('ca.pem', authority.certificate)

async function certificate(name: string, kind: 'rsa' | 'ec'): Promise<Credential> {
  const dn = [['O', 'karst development'], ['CN', name]] as const // prettier-ignore
  return issueUserCertificate(authority, dn, 1, kind)
}

/** Alice as she comes by tools of all kinds. */
async function shown(kind: 'rsa' | 'ec'): Promise<Record<string, Credential>> {
  const alice = await certificate('alice', kind)
  const proxy = await createProxy(alice, { hours: 2, newKey: kind })
  return {
    [`certificate ${kind}`]: alice,
    [`proxy ${kind}`]: proxy,
    [`proxy of a proxy ${kind}`]: await createProxy(proxy, { hours: 1, newKey: kind }),
    [`limited proxy ${kind}`]: await createProxy(alice, { hours: 1, newKey: kind, policy: OID.limited }),
  }
}
const credentials = { ...(await shown('rsa')), ...(await shown('ec')) }
const pem = (name: string, { key, ...credential }: Credential): string =>
  // as grid tools write it: leaf, key, chain
  file(`${name.replaceAll(' ', '-')}.pem`, [credential.certificate, key, ...credential.chain].join('\n'))
const files = Object.fromEntries(Object.entries(credentials).map(([name, one]) => [name, pem(name, one)]))
const bob = pem('bob', await certificate('bob', 'ec'))

const VERSIONS = { 'TLS 1.2': ['--tlsv1.2', '--tls-max', '1.2'], 'TLS 1.3': ['--tlsv1.3'] } as const
const PROTOCOLS = { 'HTTP/1.1': '--http1.1', 'HTTP/2': '--http2' } as const

const hasCurl = needs('curl')
const hasOpenssl = needs('openssl')
const python = await pythonEnvironment()
const hasPython = typeof python === 'string' ? python : false

/** A line a request: protocol, TLS connections made for it, status, user. */
async function curl(gateway: Gateway, count: number, ...args: readonly string[]): Promise<string[]> {
  // the user is in the answer; -w cannot tell headers in all versions of curl that are about
  const target = `${gateway.url}/fs/v1?n=[1-${count}]`
  const format = '\\n%{http_version} %{num_connects} %{http_code}\\n'
  const ended = await run('curl', ['-sS', '--cacert', ca, '-w', format, ...args, target])
  if (ended.code !== 0) throw new Error(`curl ${args.join(' ')}: ${ended.stderr}`)
  const users = [...ended.stdout.matchAll(/"user":("[a-z]+"|null)/g)].map(([, user = '']) => user.replaceAll('"', ''))
  const lines = [...ended.stdout.matchAll(/^([\d.]+ \d+ \d+)$/gm)].map(([, line = '']) => line)
  return lines.map((line, i) => `${line} ${users[i] ?? 'nobody'}`)
}

const gateway = await startGateway(t, { people: {} })

for (const [version, tls] of Object.entries(VERSIONS))
  for (const [protocol, http] of Object.entries(PROTOCOLS))
    t.test(`curl by ${version} and ${protocol} is the same caller in every request`, { skip: hasCurl }, async (t) => {
      const number = http === '--http2' ? '2' : '1.1'
      for (const [name, one] of Object.entries(files)) {
        const lines = await curl(gateway, 30, ...tls, http, '--cert', one)
        const expected = Array.from({ length: 30 }, (_, i) => `${number} ${i === 0 ? 1 : 0} 200 alice`)
        t.same(lines, expected, `${name}: one connection`)
      }
      const anonymous = await curl(gateway, 2, ...tls, http)
      t.same(anonymous, [`${number} 1 200 null`, `${number} 0 200 null`])
    })

t.test('curl without a choice of its own speaks HTTP/2', { skip: hasCurl }, async (t) => {
  t.same(await curl(gateway, 1, '--cert', bob), ['2 1 200 bob'])
})

t.test('curl that connects anew for each request is the same caller each time', { skip: hasCurl }, async (t) => {
  for (const tls of Object.values(VERSIONS))
    for (const name of ['proxy rsa', 'proxy ec', 'certificate ec']) {
      const lines = await curl(gateway, 8, ...tls, '--http1.1', '-H', 'Connection: close', '--cert', files[name] ?? '')
      t.same(lines, Array<string>(8).fill('1.1 1 200 alice'), name)
    }
})

t.test('many requests at a time by curl, on few connections', { skip: hasCurl }, async (t) => {
  const args = ['--parallel', '--parallel-max', '40', '--cert', files['proxy rsa'] ?? '']
  const lines = await curl(gateway, 400, ...args)
  t.equal(lines.length, 400)
  // answers interleave in the output, so they are counted
  t.equal(lines.filter((line) => / 200 /.test(line)).length, 400)
  t.equal(gateway.log.filter(({ fields }) => isOf(fields, 'alice')).length >= 400, true)
})

const isOf = (fields: unknown, user: string): boolean => (fields as { user?: unknown }).user === user

t.test('openssl resumes no session, and is not anonymous when it tries', { skip: hasOpenssl }, async (t) => {
  const place = `127.0.0.1:${gateway.port}`
  const input = 'GET /karst/fs/v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  for (const [name, one] of Object.entries(files))
    for (const version of ['-tls1_2', '-tls1_3']) {
      const kept = join(folder, 'session')
      rmSync(kept, { force: true })
      const args = [
        's_client',
        '-connect',
        place,
        '-CAfile',
        ca,
        '-cert',
        one,
        '-key',
        one,
        '-cert_chain',
        one,
        version,
      ]
      const first = await run('openssl', [...args, '-ign_eof', '-sess_out', kept], { input })
      t.match(first.stdout, /"user":"alice"/, `${name} ${version}`)
      const again = await run('openssl', [...args, '-ign_eof', '-sess_in', kept], { input })
      // without a session in the file it says so and goes no further
      if (again.code === 0) t.match(again.stdout, /"user":"alice"/, `${name} ${version}, again`)
      t.notMatch(again.stdout, /^Reused/m, `${name} ${version}, again`)
    }
})

const SCRIPT = `
import json, socket, ssl, sys, threading
import requests
from requests.adapters import HTTPAdapter

port, ca, bob, *alices = sys.argv[1:]
base = f'https://localhost:{port}/karst'
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

class Fixed(HTTPAdapter):
    def __init__(self, version, cert):
        self.context = ssl.create_default_context(cafile=ca)
        self.context.minimum_version = self.context.maximum_version = version
        if cert: self.context.load_cert_chain(cert)
        super().__init__(pool_maxsize=4)
    def init_poolmanager(self, *args, **more):
        super().init_poolmanager(*args, ssl_context=self.context, **more)
    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        for name in ('ssl_context', 'ca_certs', 'cert_reqs', 'ca_cert_dir'): pool.pop(name, None)
        return host, pool
    def cert_verify(self, *args): pass

def session(version, cert):
    made = requests.Session()
    made.mount('https://', Fixed(version, cert))
    return made

def user(of, **more):
    answer = of.get(f'{base}/fs/v1', **more)
    return [answer.status_code, answer.json()['user'], answer.headers.get('X-VO-Authenticated')]

def resumed(version, cert):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(cert)
    kept, told = None, []
    for _ in range(3):
        with socket.create_connection(('127.0.0.1', int(port))) as plain:
            with context.wrap_socket(plain, server_hostname='localhost', session=kept) as tls:
                tls.sendall(b'GET /karst/fs/v1 HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
                text = b''
                while part := tls.recv(65536): text += part
                told.append([tls.session_reused, b'"user":"alice"' in text])
                kept = tls.session
    return told

found = {'kept': [], 'anew': [], 'interleaved': [], 'threads': [], 'resumed': [], 'anonymous': [], 'files': []}
for version in VERSIONS:
    theirs = session(version, bob)
    nobodys = session(version, None)
    for alice in alices:
        hers = session(version, alice)
        found['kept'] += [user(hers) for _ in range(10)]
        found['anew'] += [user(hers, headers={'Connection': 'close'}) for _ in range(3)]
        found['interleaved'] += [[user(hers)[1:], user(theirs)[1:], user(nobodys)[1:]] for _ in range(10)]
        found['resumed'] += resumed(version, alice)
        body = b'x' * 300000
        put = hers.put(f'{base}/files/home/alice/python', data=body)
        refused = theirs.get(f'{base}/files/home/alice/python')
        got = hers.get(f'{base}/files/home/alice/python')
        found['files'].append([put.status_code, refused.status_code, got.content == body])
        def many(of, name):
            for _ in range(15):
                if user(of)[1] != name: found['threads'].append(name)
        threads = [threading.Thread(target=many, args=pair) for pair in [(hers, 'alice'), (theirs, 'bob')] * 3]
        for one in threads: one.start()
        for one in threads: one.join()
print(json.dumps(found))
`

t.test(
  'Python (requests) is the same caller in every request, kept alive, anew and interleaved',
  { skip: hasPython },
  async (t) => {
    if (typeof python === 'string') return
    const alices = ['certificate rsa', 'proxy rsa', 'proxy ec', 'limited proxy ec'].map((name) => files[name] ?? '')
    const args = ['-c', SCRIPT, String(gateway.port), ca, bob, ...alices]
    const ended = await run(join(python.bin, 'python'), args)
    t.equal(ended.code, 0, ended.stderr)
    const found = JSON.parse(ended.stdout) as Record<string, unknown[]>
    const runs = 2 * alices.length
    const alice = [200, 'alice', 'alice']
    t.same(found['kept'], Array(10 * runs).fill(alice))
    t.same(found['anew'], Array(3 * runs).fill(alice))
    const interleaved = [['alice', 'alice'], ['bob', 'bob'], [null, null]] // prettier-ignore
    t.same(found['interleaved'], Array(10 * runs).fill(interleaved))
    t.same(found['threads'], [], 'no other than expected')
    t.same(found['resumed'], Array(3 * runs).fill([false, true]), 'never resumed, never anonymous')
    t.same(found['files'], Array(runs).fill([201, 403, true]))
  },
)

t.test('two callers whose connections interleave by HTTP/2 are never taken for each other', async (t) => {
  const both = await startGateway(t, { http2: true, people: {} })
  const whos = [credentials['proxy rsa'], credentials['certificate ec'], credentials['proxy of a proxy ec'], 'bob', undefined] as const // prettier-ignore
  const names = ['alice', 'alice', 'alice', 'bob', undefined]
  for (let round = 0; round < 20; round++) {
    const replies = await Promise.all(whos.map((as) => both.call('/fs/v1', as === undefined ? {} : { as })))
    t.same(
      replies.map(({ headers }) => headers['x-vo-authenticated']),
      names,
    )
  }
})
