/** Delegations and issued certificates in a gateway as a site configures it: keys at rest, reloads, restarts. */
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startGateway } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
} from '../../src/identity/mint.ts'
import { type Credential, parseCredential, writeCredential } from '../../src/identity/pem.ts'
import { request, run } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-issuing-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const place = (name: string): string => join(folder, name)

const ca = await mintDevelopmentCa('site')
const user = (name: string): Promise<Credential> =>
  issueUserCertificate(
    ca,
    [
      ['O', 'Lab'],
      ['CN', name],
    ],
    1,
    'ec',
  )
for (const name of ['alice', 'root']) await writeCredential(place(`${name}.pem`), await user(name))
await writeCredential(place('server.pem'), await issueServerCertificate(ca, ['localhost']))
await writeCredential(place('ca-key.pem'), { ...ca, chain: [] })
await writeCredential(place('ca.pem'), { ...ca, key: '', chain: [] })
mkdirSync(place('tree'))

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}
const url = `https://localhost:${await freePort()}/karst`

const start = async (more: object = {}) =>
  startGateway(
    readConfig(
      {
        service: { resourceId: 'ivo://karst.local/karst', url },
        tls: { certificate: 'server.pem', key: 'server.pem' },
        trust: ['ca.pem'],
        state: 'state',
        backends: { main: { type: 'posix', root: 'tree', mode: 'unprivileged', unlabelledOwner: 'alice' } },
        namespace: [{ path: '/', backend: 'main' }],
        administrators: ['root'],
        users: [
          { name: 'alice', x509: ['/O=Lab/CN=alice'] },
          { name: 'root', x509: ['/O=Lab/CN=root'] },
        ],
        credentials: { ca: { certificate: 'ca.pem', key: 'ca-key.pem' }, maximumDays: 3 },
        ...more,
      },
      folder,
    ),
    { logFile: place('log') },
  )
const ask = (name: string, path: string) => request(url + path, place('ca.pem'), place(`${name}.pem`))

t.test('an administrator gets a certificate for a user, by the authority of the configuration', async (t) => {
  const gateway = await start()
  t.teardown(() => gateway.close())
  t.match((await ask('alice', '/capabilities')).body.toString(), /CDP#delegate-1\.0[\s\S]*CDP#proxy-1\.0/)
  t.equal((await ask('alice', '/cred/generate')).status, 403)
  t.equal((await ask('root', '/cred/generate/userid/alice?daysValid=4')).status, 400)
  const { status, body } = await ask('root', '/cred/generate/userid/alice')
  t.equal(status, 200)
  const made = parseCredential(body.toString(), 'answer')
  await writeCredential(place('made.pem'), await createProxy(made, { hours: 1 }))
  t.match(JSON.parse((await ask('made', '/fs/v1')).body.toString()), { user: 'alice' })
  const audit = readFileSync(place('state/audit.jsonl'), 'utf8')
  const noted = audit.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as object]))
  const issued = { act: 'credential.issue', on: 'alice' }
  t.match(noted, [
    { ...issued, by: 'alice', result: 'refused' },
    { act: 'request', by: 'alice', result: 'refused' },
    { ...issued, by: 'root', result: 'refused' },
    { ...issued, by: 'root', result: 'allowed' },
  ])
  t.notMatch(audit + readFileSync(place('log'), 'utf8'), /PRIVATE KEY/)

  // a renewed authority, with the certificate of another name
  const renewed = await mintDevelopmentCa('renewed site')
  await writeCredential(place('ca-key.pem'), { ...renewed, chain: [] })
  await writeCredential(place('ca.pem'), { ...renewed, key: '', chain: [ca.certificate] })
  await gateway.reload()
  const after = parseCredential((await ask('root', '/cred/generate/userid/alice')).body.toString(), 'answer')
  t.match(new X509Certificate(after.certificate).issuer, /renewed site/)
  await writeCredential(place('after.pem'), after)
  t.match(JSON.parse((await ask('after', '/fs/v1')).body.toString()), { user: 'alice' })
})

t.test('a delegation survives a restart, its key sealed with a key that only the gateway reads', async (t) => {
  const first = await start()
  const env = { KARST_URL: url }
  const delegate = ['proxy', 'delegate', '--certificate', place('alice.pem'), '--ca', place('ca.pem')]
  const delegated = await run('bin/karst', delegate, { env })
  t.equal(delegated.code, 0, delegated.stderr)
  await first.close()
  t.equal(statSync(place('state/delegation.key')).mode & 0o777, 0o600)
  t.equal(statSync(place('state/karst.db')).mode & 0o077, 0)
  const second = await start()
  t.teardown(() => second.close())
  const path = delegated.stdout.trim().slice(url.length)
  t.match((await ask('alice', `${path}/certificate`)).body.toString(), /^-----BEGIN CERTIFICATE/)
  t.equal((await ask('root', `${path}/certificate`)).status, 404, 'not for an administrator either')
})

t.test('it does not start with an authority that is none, or whose key others may read', async (t) => {
  const none = { ca: { certificate: 'alice.pem', key: 'alice.pem' } }
  await t.rejects(start({ credentials: none }), { message: /alice\.pem: .* is not an authority/ })
  await t.rejects(start({ credentials: { ca: { certificate: 'ca.pem', key: 'alice.pem' } } }), {
    message: /belongs to none of the certificates/,
  })
  await t.rejects(start({ credentials: { ca: none.ca, subject: 'cn=nobody' } }), { message: /credentials/ })
  await t.rejects(start({ credentials: { ca: none.ca, maximumDays: 0 } }), { message: /credentials\.maximumDays/ })
  chmodSync(place('ca-key.pem'), 0o640)
  await t.rejects(start(), { message: /ca-key\.pem.*chmod 600/ })
  chmodSync(place('ca-key.pem'), 0o600)
})
