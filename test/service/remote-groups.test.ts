/** Two sites: one keeps the groups, the other the files that are shared with them. Bob is asked for there with his token, or with the proxy he has delegated. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request as httpsRequest } from 'node:https'
import t from 'tap'
import { startGateway, type Gateway } from '../../src/app.ts'
import { type ConfigDocument, readConfig } from '../../src/config.ts'
import { mintProxy } from '../../src/identity/mint.ts'
import { type Credential } from '../../src/identity/pem.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { requestedKey } from '../../src/identity/certificate-request.ts'
import { AUDIENCE, Issuer } from '../fixtures/token-issuer.ts'
import { authority, chainPem, credentials, dnOf, host } from '../http/people.ts'
import { nodeDocument } from './running.ts'

t.setTimeout(180_000)

const folder = mkdtempSync(join(tmpdir(), 'karst-two-sites-'))
const issuer = await Issuer.start()
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const files = {
  ca: file('ca.pem', authority.certificate),
  server: file('server.pem', `${host.certificate}\n${host.key}`),
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  return port
}

const open: (() => Promise<unknown>)[] = [() => issuer.stop()]
t.teardown(async () => {
  for (const close of open.reverse()) await close()
  rmSync(folder, { recursive: true, force: true })
})

interface Site {
  readonly url: string
  readonly gateway: Gateway
}

/** Each site lists the other, and asks it: were it to ask back for an answer, both would wait in vain. */
async function site(name: string, port: number, other: { name: string; port: number }): Promise<Site> {
  const url = `https://localhost:${port}/karst`
  const theirs = `localhost:${other.port}`
  const root = join(folder, `${name}-tree`)
  mkdirSync(root)
  const document: ConfigDocument = {
    service: { resourceId: `ivo://${name}.example/karst`, url },
    listen: { host: '127.0.0.1', port },
    tls: { certificate: files.server, key: files.server },
    trust: [files.ca],
    tokens: [{ issuer: issuer.url, audience: AUDIENCE, forwardTo: [theirs] }],
    state: join(folder, name),
    backends: { main: { type: 'posix', root, mode: 'auto' } },
    namespace: [{ path: '/', backend: 'main' }],
    allocations: ['/home'],
    users: ['alice', 'bob'].map((user) => ({ name: user, x509: [dnOf(user)], oidc: [`${issuer.url} ${user}`] })),
    logLevel: 'silent',
    groupServices: [
      {
        authority: `ivo://${other.name}.example/gms`,
        url: `https://${theirs}/karst/gms/capabilities`,
        ca: files.ca,
        ttl: 1,
        timeout: 30,
      },
    ],
  }
  const gateway = await startGateway(readConfig(document, folder), { logFile: join(folder, `${name}.log`) })
  open.push(() => gateway.close())
  return { url, gateway }
}

interface Showing {
  readonly method?: string
  readonly body?: string | undefined
  readonly as?: Credential
  readonly token?: string
}

function ask(
  url: string,
  { method = 'GET', body, as, token }: Showing,
): Promise<{ status: number; text: string; location: string }> {
  const own = as === undefined ? {} : { cert: chainPem(as), key: as.key }
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(url, { method, headers, ca: authority.certificate, agent: false, ...own }, (reply) => {
      let text = ''
      reply.setEncoding('utf8')
      reply.on('data', (part: string) => (text += part))
      reply.on('error', reject)
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text, location: reply.headers.location ?? '' }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const [keeperPort, storagePort] = [await freePort(), await freePort()]
const keeper = await site('keeper', keeperPort, { name: 'storage', port: storagePort })
const storage = await site('storage', storagePort, { name: 'keeper', port: keeperPort })
const bobsToken = await issuer.token({ claims: { sub: 'bob' } })
const asBob = { as: credentials.bob }

async function untilStatus(status: number, showing: Showing): Promise<void> {
  for (;;) {
    const reply = await ask(`${storage.url}/files/home/alice/f`, showing)
    if (reply.status === status) return
    await new Promise((done) => setTimeout(done, 100))
  }
}

t.test('a node is shared with a group that another site keeps', async (t) => {
  await storage.gateway.provision([
    { path: nodePath('/home'), owner: undefined, access: { isPublic: true } },
    { path: nodePath('/home/alice'), owner: 'alice', access: { isPublic: true } },
    { path: nodePath('/home/alice/f'), owner: 'alice', access: {}, bytes: Buffer.from('seen') },
  ])
  const asAlice = { as: credentials.alice }
  const made = await ask(`${keeper.url}/groups`, { method: 'POST', body: '{"name":"survey"}', ...asAlice })
  t.equal(made.status, 201, made.text)
  const share = { 'ivo://ivoa.net/vospace/core#groupread': 'ivo://Keeper.example/gms?survey' }
  const body = nodeDocument('vos://storage.example~karst/home/alice/f', 'DataNode', share)
  const shared = await ask(`${storage.url}/nodes/home/alice/f`, { method: 'POST', body, ...asAlice })
  t.match(shared, { status: 200, text: />ivo:\/\/keeper.example\/gms\?survey</ })
  for (const bobs of [{ token: bobsToken }, asBob]) {
    t.equal((await ask(`${storage.url}/files/home/alice/f`, bobs)).status, 403)
  }
  const added = await ask(`${keeper.url}/groups/survey/members/bob`, { method: 'PUT', ...asAlice })
  t.equal(added.status, 204)
})

t.test('bob’s token is forwarded, his certificate is not enough, and a proxy that he delegates is', async (t) => {
  await untilStatus(200, { token: bobsToken })
  await new Promise((done) => setTimeout(done, 1100))
  t.equal((await ask(`${storage.url}/files/home/alice/f`, asBob)).status, 403, 'nothing to ask with')
  const { location } = await ask(`${storage.url}/delegations`, { method: 'POST', ...asBob })
  const { text: request } = await ask(`${location}/CSR`, asBob)
  const { certificate: issuerCert, key: issuerKey, chain } = credentials.bob
  const { certificate } = await mintProxy({ issuerCert, issuerKey, publicKey: requestedKey(request), hours: 1 })
  const body = [certificate, issuerCert, ...chain].join('')
  t.equal((await ask(`${location}/certificate`, { method: 'PUT', body, ...asBob })).status, 200)
  await untilStatus(200, asBob)
  t.pass('it was asked with the proxy')
})

t.test('who is let out there is out here when the answer has ended', async (t) => {
  const out = await ask(`${keeper.url}/groups/survey/members/bob`, { method: 'DELETE', as: credentials.alice })
  t.equal(out.status, 204)
  for (const showing of [asBob, { token: bobsToken }]) await untilStatus(403, showing)
  t.pass()
})

t.test('when the other site is gone nobody waits, and nobody is let in', async (t) => {
  await ask(`${keeper.url}/groups/survey/members/bob`, { method: 'PUT', as: credentials.alice })
  await untilStatus(200, asBob)
  await keeper.gateway.close()
  await untilStatus(403, asBob)
  t.equal((await ask(`${storage.url}/nodes/home`, asBob)).status, 200, 'everything else goes on')
  t.equal((await ask(`${storage.url}/files/home/alice/f`, { as: credentials.alice })).status, 200)
})
