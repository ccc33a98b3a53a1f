import { createHash } from 'node:crypto'
import t from 'tap'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { type Credential } from '../../src/identity/pem.ts'
import { startGateway } from './gateway.ts'
import { credentials, host, renewedHost } from './people.ts'

await t.test('a caller', async (t) => {
  const gateway = await startGateway(t)
  await t.test('row 57: is the end entity behind a proxy, and behind a proxy of a proxy', async (t) => {
    t.equal((await gateway.call('/fs/v1', { as: 'alice' })).headers['x-vo-authenticated'], 'alice')
    const second = await createProxy(credentials.alice, { hours: 1, newKey: 'ec' })
    const reply = await gateway.call('/fs/v1', { as: second })
    t.match(JSON.parse(reply.text), { version: 1, resourceId: 'ivo://karst.local/karst', user: 'alice', uid: 20000 })
  })
  await t.test('is still known on the second request of a connection', async (t) => {
    const socket = await gateway.raw('alice')
    const get = 'GET /karst/fs/v1 HTTP/1.1\r\nHost: x\r\n\r\n'
    socket.write(get + get + get)
    let text = ''
    for await (const part of socket) if ((text += String(part)).split('"user":"alice"').length === 4) break
    t.equal(text.match(/X-VO-Authenticated: alice/gi)?.length, 3)
  })
  await t.test('is anonymous without a certificate', async (t) => {
    const reply = await gateway.call('/fs/v1')
    t.match(JSON.parse(reply.text), { user: null, uid: 65534 })
    t.notOk(reply.headers['x-vo-authenticated'])
  })
  await t.test('with a good certificate and no account here is refused by name, and is not anonymous', async (t) => {
    const reply = await gateway.call('/protocols', { as: 'dave' })
    t.equal(reply.status, 403)
    t.match(reply.text, /^PermissionDenied: .*cn=dave/)
  })
})

await t.test('a bad certificate', async (t) => {
  const gateway = await startGateway(t)
  // a proxy without its issuer: the TLS handshake is fine, the chain leads nowhere
  const without: Credential = { ...credentials.alice, chain: [] }
  await t.test('is 401 with the reason and a challenge, never anonymous', async (t) => {
    const reply = await gateway.call('/protocols', { as: without })
    t.equal(reply.status, 401)
    t.equal(reply.headers['content-type'], 'text/plain')
    t.equal(reply.headers['www-authenticate'], 'ivoa_x509')
    t.match(reply.text, /^NotAuthenticated: the client did not send /)
  })
  await t.test('does not matter where nobody is asked who they are', async (t) => {
    for (const target of ['//livez', '//reg/resource-caps', '/availability']) {
      t.equal((await gateway.call(target, { as: without })).status, 200, target)
    }
  })
  await t.test('in /fs/v1 is told as JSON', async (t) => {
    const reply = await gateway.call('/fs/v1/entry?path=/', { as: without })
    t.equal(reply.headers['content-type'], 'application/json')
    t.match(JSON.parse(reply.text), { fault: 'NotAuthenticated', errno: 'EACCES' })
  })
})

await t.test('it compares the end of a certificate with the clock at every request of a connection', async (t) => {
  let expires = new Date(Date.now() + 3_600_000)
  let verifications = 0
  const state = { generation: 1 }
  const callers = {
    get generation() {
      return state.generation
    },
    verify: (given: readonly Buffer[]) => {
      verifications++
      const fingerprint = createHash('sha256')
        .update(given[0] ?? '')
        .digest('hex')
      const names = { dn: 'cn=alice', rfc2253: '', slash: '', issuer: '', fingerprint }
      return { ...names, depth: 1, limited: false, independent: false, expires, reviewAt: expires }
    },
    callerOf: () => ({ user: 'alice', groups: new Set<string>(), admin: false, uid: 1, gid: 1 }),
  }
  const gateway = await startGateway(t, { services: { callers: callers as never } })
  for (let i = 0; i < 3; i++) t.equal((await gateway.call('/protocols', { as: 'alice' })).status, 200)
  t.equal(verifications, 1, 'once a connection')
  state.generation++
  t.equal((await gateway.call('/protocols', { as: 'alice' })).status, 200)
  t.equal(verifications, 2, 'and again when trust has changed')
  expires = new Date(Date.now() - 1)
  state.generation++
  const reply = await gateway.call('/protocols', { as: 'alice' })
  t.equal(reply.status, 401)
  t.match(reply.text, /expired/)
  callers.verify = () => {
    throw new CertificateFault('UNTRUSTED', 'no longer trusted')
  }
  state.generation++
  t.match((await gateway.call('/protocols', { as: 'alice' })).text, /no longer trusted/)
})

await t.test(
  'it takes a renewed server certificate for new connections, with client certificates as before',
  async (t) => {
    const gateway = await startGateway(t)
    const before = await gateway.raw('alice')
    gateway.server.reloadTls({ key: renewedHost.key, cert: renewedHost.certificate })
    const after = await gateway.raw('alice')
    t.not(after.getPeerX509Certificate()?.serialNumber, before.getPeerX509Certificate()?.serialNumber)
    t.not(host.certificate, renewedHost.certificate)
    after.write('GET /karst/fs/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    let text = ''
    for await (const part of after) text += String(part)
    t.match(text, /"user":"alice"/)
    t.notOk(after.getSession() && after.isSessionReused())
    before.destroy()
  },
)
