/** The IVOA Credential Delegation Protocol through the door, as its clients speak it (auth.md C2). */
import t, { type Test } from 'tap'
import { requestedKey } from '../../src/identity/certificate-request.ts'
import { createProxy, mintProxy } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { delegatingWorld } from '../fixtures/delegating.ts'
import { type Gateway, startGateway, type Call } from './gateway.ts'
import { credentials, dnOf } from './people.ts'

const { store, callers, delegations } = delegatingWorld()
const kept = delegations()
const services = { callers, delegations: kept }
t.teardown(() => store.close())

/** The id, from the Location that a POST answers with. */
async function begin(t: Test, gateway: Gateway, more: Call = {}): Promise<string> {
  const reply = await gateway.call('/delegations', { method: 'POST', as: 'alice', ...more })
  t.equal(reply.status, 201, reply.text)
  const { location = '' } = reply.headers
  t.ok(location.startsWith(`${gateway.url}/delegations/`), location)
  return location.slice(`${gateway.url}/delegations/`.length)
}

async function proxyOver(request: string): Promise<string> {
  const { certificate: issuerCert, key: issuerKey, chain } = credentials.alice
  const { certificate } = await mintProxy({ issuerCert, issuerKey, publicKey: requestedKey(request), hours: 1 })
  return [certificate, issuerCert, ...chain].join('')
}

t.test('a client delegates: 201, CSR, PUT, and the gateway has a credential', async (t) => {
  const gateway = await startGateway(t, { services })
  const id = await begin(t, gateway)
  const one = `/delegations/${id}`
  const named = await gateway.call(one, { as: 'alice' })
  t.match(named, { status: 200, text: dnOf('alice') })
  t.equal(named.headers['content-type'], 'text/plain')
  t.equal((await gateway.call(`${one}/certificate`, { as: 'alice' })).status, 404, 'before it is there')
  const request = await gateway.call(`${one}/CSR`, { as: 'alice' })
  t.match(request, { status: 200, text: /^-----BEGIN CERTIFICATE REQUEST-----/ })
  const chain = await proxyOver(request.text)
  const put = await gateway.call(`${one}/certificate`, { method: 'PUT', as: 'alice', body: chain })
  t.match(put, { status: 200, text: '' })
  t.match(await gateway.call(`${one}/certificate`, { as: 'alice' }), { status: 200, text: chain })
  t.match(await gateway.call('/delegations', { as: 'alice' }), { status: 200, text: `${id}\n` })
  const used = kept.credentialFor('alice')
  t.equal((await gateway.call('/fs/v1', ...(used ? [{ as: used }] : []))).headers['x-vo-authenticated'], 'alice')
  t.equal((await gateway.call(one, { method: 'DELETE', as: 'alice' })).status, 204)
  for (const [method, target] of [
    ['GET', one],
    ['DELETE', one],
    ['GET', `${one}/CSR`],
    ['PUT', `${one}/certificate`],
  ] as const) {
    t.equal(
      (await gateway.call(target, { method, as: 'alice', ...(method === 'PUT' && { body: 'x' }) })).status,
      404,
      `${method} ${target}`,
    )
  }
  t.match(await gateway.call('/delegations', { as: 'alice' }), { status: 200, text: '' })
})

t.test('the form of old, with a DN in the body, does the same', async (t) => {
  const gateway = await startGateway(t, { services })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const id = await begin(t, gateway, { headers, body: 'DN=CN%3Dmallory' })
  t.equal((await gateway.call(`/delegations/${id}`, { as: 'alice' })).text, dnOf('alice'), 'whatever DN it names')
})

t.test('others see nothing of it, and neither do limited proxies', async (t) => {
  const gateway = await startGateway(t, { services })
  const id = await begin(t, gateway)
  const limited = await createProxy(credentials.alice, { hours: 1, newKey: 'ec', policy: OID.limited })
  const chain = await proxyOver((await gateway.call(`/delegations/${id}/CSR`, { as: 'alice' })).text)
  const targets = [
    ['GET', ''],
    ['GET', '/CSR'],
    ['GET', '/certificate'],
    ['PUT', '/certificate'],
    ['DELETE', ''],
  ] as const
  for (const [method, rest] of targets) {
    const call = (as?: Call['as']) =>
      gateway.call(`/delegations/${id}${rest}`, {
        method,
        ...(method === 'PUT' && { body: chain }),
        ...(as !== undefined && { as }),
      })
    t.equal((await call('bob')).status, 404, `bob ${method} ${rest}`)
    t.equal((await call(limited)).status, 403, `limited ${method} ${rest}`)
    const anonymous = await call()
    t.equal(anonymous.status, 401, `anonymous ${method} ${rest}`)
    t.match(anonymous.headers['www-authenticate'], /ivoa_x509/)
  }
  t.equal((await gateway.call('/delegations', { as: 'bob' })).text, '')
  for (const method of ['GET', 'POST']) {
    t.equal((await gateway.call('/delegations', { method })).status, 401)
    t.equal((await gateway.call('/delegations', { method, as: limited })).status, 403)
  }
  t.equal(
    (await gateway.call('/delegations', { method: 'POST', headers: { authorization: 'Bearer token-carol' } })).status,
    400,
  )
})

t.test('bodies that are no certificate are refused and leave the connection usable', async (t) => {
  const gateway = await startGateway(t, { services })
  const id = await begin(t, gateway)
  const put = (body: string | Buffer) =>
    gateway.call(`/delegations/${id}/certificate`, { method: 'PUT', as: 'alice', body })
  for (const body of [
    '',
    'hello',
    '<xml/>',
    Buffer.alloc(1000, 0),
    '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----',
  ]) {
    t.equal((await put(body)).status, 400, JSON.stringify(String(body).slice(0, 30)))
  }
  t.equal((await put(Buffer.alloc(65_537, 'x'))).status, 413)
  t.equal((await put(credentials.alice.certificate)).status, 400)
  t.equal(
    (await gateway.call('/delegations', { method: 'POST', as: 'alice', body: Buffer.alloc(65_537, 'x') })).status,
    413,
  )
  t.equal(
    (await put(await proxyOver((await gateway.call(`/delegations/${id}/CSR`, { as: 'alice' })).text))).status,
    200,
  )
  for (const [method, target] of [
    ['PUT', ''],
    ['DELETE', ''],
    ['POST', `/${id}`],
    ['PUT', `/${id}/CSR`],
    ['POST', `/${id}/certificate`],
  ] as const) {
    t.equal((await gateway.call(`/delegations${target}`, { method, as: 'alice' })).status, 405, `${method} ${target}`)
  }
  t.equal((await gateway.call(`/delegations/${id}/key`, { as: 'alice' })).status, 404)
})

t.test('it is declared for certificates where it is served, and only there', async (t) => {
  const declared =
    /standardID="ivo:\/\/ivoa.net\/std\/CDP#delegate-1.0">\s*<interface[^>]*>\s*<accessURL use="base">https:\/\/[^<]*\/karst\/delegations<\/accessURL>\s*<securityMethod standardID="ivo:\/\/ivoa.net\/sso#tls-with-certificate"\/>\s*<\/interface>/
  t.match((await (await startGateway(t, { services })).call('/capabilities')).text, declared)
  const without = await startGateway(t)
  t.notMatch((await without.call('/capabilities')).text, /CDP/)
  t.equal((await without.call('/delegations', { as: 'alice' })).status, 404)
})
