/** Certificates issued by a site's own authority, through the door, in the manner of CADC's cred (auth.md C3). */
import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { type CredentialServiceOptions, CredentialService } from '../../src/identity/credential-service.ts'
import { createProxy } from '../../src/identity/mint.ts'
import { parseCredential } from '../../src/identity/pem.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { delegatingWorld, site } from '../fixtures/delegating.ts'
import { type Call, type Gateway, startGateway } from './gateway.ts'
import { certificateOf, dnOf } from './people.ts'

function serviceOf(more: Partial<CredentialServiceOptions> = {}) {
  const { store, callers, audit, audited } = delegatingWorld()
  const authority = { ...site, chain: [] }
  const credentials = new CredentialService({ authority, maximumDays: 20, users: store.users, audit, ...more })
  return { store, audited, services: { callers, credentials } }
}

const byToken = (name: string): Call => ({ headers: { authorization: `Bearer token-${name}` } })
const generate = (gateway: Gateway, call: Call, rest = '') => gateway.call(`/cred/generate${rest}`, call)

t.test('a token gets a certificate that the gateway takes for the same user', async (t) => {
  const { services, audited } = serviceOf()
  const gateway = await startGateway(t, { services })
  const reply = await generate(gateway, byToken('alice'), '?daysValid=0.5')
  t.equal(reply.status, 200, reply.text)
  t.equal(reply.headers['content-type'], 'application/x-pem-file')
  t.equal(reply.headers['content-disposition'], 'inline; filename="cadcproxy.pem"')
  t.equal(reply.headers['cache-control'], 'no-store')
  t.same(
    [...reply.text.matchAll(/BEGIN (.*)-----/g)].map((match) => match[1]),
    ['CERTIFICATE', 'RSA PRIVATE KEY'],
  )
  const made = parseCredential(reply.text, 'answer')
  const certificate = new X509Certificate(made.certificate)
  t.equal(certificate.subject, 'CN=alice\nO=karst development', 'the canonical DN, CN first in DER')
  const hours = (new Date(certificate.validTo).getTime() - Date.now()) / 3_600_000
  t.ok(hours > 11.9 && hours <= 12, `${hours}`)
  t.equal((await gateway.call('/fs/v1', { as: made })).headers['x-vo-authenticated'], 'alice')
  t.equal(
    (await gateway.call('/fs/v1', { as: await createProxy(made, { hours: 1 }) })).headers['x-vo-authenticated'],
    'alice',
  )
  t.match(audited, [{ act: 'credential.issue', by: 'alice', on: 'alice', result: 'allowed' }])
  t.notMatch(JSON.stringify([audited, gateway.log]), /PRIVATE KEY|token-alice/)
  const again = parseCredential((await generate(gateway, byToken('alice'))).text, 'answer')
  t.not(again.key, made.key, 'a new key each time')
  const days = (new Date(new X509Certificate(again.certificate).validTo).getTime() - Date.now()) / 86_400_000
  t.ok(days > 9.9 && days <= 10, 'ten days when nothing is said')
})

t.test('a certificate gets no other, so that a stolen one ends', async (t) => {
  const { services, audited } = serviceOf()
  const gateway = await startGateway(t, { services })
  const made = parseCredential((await generate(gateway, byToken('alice'))).text, 'answer')
  const root = await certificateOf('root')
  for (const as of [made, await createProxy(made, { hours: 1 }), await certificateOf('alice'), root]) {
    t.match(await generate(gateway, { as }), { status: 403, text: /^PermissionDenied: a certificate gets no other/ })
  }
  const asRoot = (rest: string) => generate(gateway, { as: root }, rest)
  t.equal((await asRoot('/userid/root')).status, 403, 'not by its own name either')
  t.equal((await asRoot('/userid/other')).status, 403, "nor by another administrator's, who could return the favour")
  t.equal((await asRoot(`/dn/${encodeURIComponent(dnOf('other'))}`)).status, 403)
  t.equal((await generate(gateway, {})).status, 401)
  t.equal((await generate(gateway, byToken('Nobody'))).status, 401)
  t.equal(audited.filter(({ result }) => result === 'refused').length, 7)
})

t.test('administrators get them for others, by name and by DN; nobody else does', async (t) => {
  const { services, store } = serviceOf()
  const gateway = await startGateway(t, { services })
  const dn = encodeURIComponent(dnOf('alice'))
  const slash = encodeURIComponent('/O=karst development/CN=alice')
  for (const call of [byToken('root'), { as: await certificateOf('root') }]) {
    for (const rest of [
      '/userid/alice',
      `/dn/${dn}`,
      `/dn/${slash}`,
      '/dn/o=Karst%20development,cn=ALICE?daysValid=0.1',
    ]) {
      const reply = await generate(gateway, call, rest)
      t.equal(reply.status, 200, `${rest} ${reply.text.slice(0, 200)}`)
      const made = parseCredential(reply.text, 'answer')
      t.equal((await gateway.call('/fs/v1', { as: made })).headers['x-vo-authenticated'], 'alice')
    }
  }
  const limited = await createProxy(await certificateOf('root'), { hours: 1, policy: '1.3.6.1.4.1.3536.1.1.1.9' })
  for (const call of [byToken('bob'), { as: await certificateOf('bob') }, { as: limited }]) {
    for (const rest of ['/userid/alice', `/dn/${dn}`]) t.equal((await generate(gateway, call, rest)).status, 403)
  }
  t.equal((await generate(gateway, byToken('root'), '/userid/root')).status, 200, 'with a token also for oneself')
  store.users.suspend('alice')
  const refused: [string, number][] = [
    ['/userid/nobody', 404],
    ['/dn/cn%3Dnobody', 404],
    ['/userid/alice', 403],
    ['/dn/nonsense', 400],
    ['/dn/%ff%zz', 400],
    ['/userid/', 404],
    ['/userid', 404],
    ['/userid/..%2falice', 404],
    ['/else/alice', 404],
  ]
  for (const [rest, status] of refused) {
    t.equal((await generate(gateway, byToken('root'), rest)).status, status, rest)
  }
  t.equal((await gateway.call('/cred', byToken('root'))).status, 404)
  t.equal((await generate(gateway, { ...byToken('root'), method: 'POST' })).status, 405)
})

t.test('it issues for no longer than the site says', async (t) => {
  const gateway = await startGateway(t, { services: serviceOf().services })
  for (const days of ['20.01', '21', '999999', '0', '-1', 'NaN', '1e9', '', 'x', '0x10']) {
    t.equal((await generate(gateway, byToken('alice'), `?daysValid=${days}`)).status, 400, days)
  }
  t.equal((await generate(gateway, byToken('alice'), '?daysValid=20')).status, 200)
  const short = await startGateway(t, { services: serviceOf({ maximumDays: 2 }).services })
  const { text } = await generate(short, byToken('alice'))
  const left = new Date(new X509Certificate(parseCredential(text, 'answer').certificate).validTo).getTime() - Date.now()
  t.ok(left <= 2 * 86_400_000, 'the default is within the maximum')
})

t.test('who has no DN, or several, gets the one of the site, which is theirs from then on', async (t) => {
  const without = serviceOf()
  without.store.users.addIdentity('bob', { kind: 'x509', value: 'cn=robert,c=ca' })
  const strict = await startGateway(t, { services: without.services })
  for (const name of ['carol', 'bob']) {
    t.match(await generate(strict, byToken(name)), { status: 412, text: /credentials\.subject/ }, name)
  }
  const { services, store } = serviceOf({ subject: 'CN={user},OU=people,O=Sité,C=CA' })
  const gateway = await startGateway(t, { services })
  const made = parseCredential((await generate(gateway, byToken('carol'))).text, 'answer')
  t.equal(new X509Certificate(made.certificate).subject, 'CN=carol\nOU=people\nO=sité\nC=ca')
  t.equal((await gateway.call('/fs/v1', { as: made })).headers['x-vo-authenticated'], 'carol')
  t.equal((await generate(gateway, byToken('carol'))).status, 200, 'and again')
  // somebody else was given that DN before
  store.users.addIdentity('alice', { kind: 'x509', value: 'cn=bob,ou=people,o=sité,c=ca' })
  t.equal((await generate(gateway, byToken('bob'))).status, 409)
  for (const subject of ['cn=x,c=ca', 'nonsense {user}', '{user}']) {
    try {
      serviceOf({ subject })
      t.fail(`${subject} was taken`)
    } catch (error) {
      t.ok(isFault(error, 'InvalidArgument'), subject)
    }
  }
})

t.test('of many at once some are told to try again', async (t) => {
  const gateway = await startGateway(t, { services: serviceOf().services })
  const replies = await Promise.all(Array.from({ length: 24 }, () => generate(gateway, byToken('alice'))))
  const statuses = new Set(replies.map(({ status }) => status))
  t.ok(statuses.has(200))
  for (const status of statuses) t.ok(status === 200 || status === 503, String(status))
  t.equal((await generate(gateway, byToken('alice'))).status, 200)
})

t.test('it is off unless it is configured', async (t) => {
  const gateway = await startGateway(t, { services: { callers: serviceOf().services.callers } })
  t.equal((await generate(gateway, byToken('alice'))).status, 404)
  t.notMatch((await gateway.call('/capabilities')).text, /CDP#proxy/)
  const on = await startGateway(t, { services: serviceOf().services })
  t.match(
    (await on.call('/capabilities')).text,
    /CDP#proxy-1\.0">\s*<interface[^>]*>\s*<accessURL[^>]*>https:\/\/[^<]*\/karst\/cred\/generate</,
  )
})

t.test('who asks for many keeps nobody waiting for one', async (t) => {
  const { services } = serviceOf()
  const gateway = await startGateway(t, { services })
  const many = Array.from({ length: 30 }, async () => (await generate(gateway, byToken('alice'))).status)
  await generate(gateway, byToken('alice'))
  t.equal((await generate(gateway, byToken('other'))).status, 200)
  const answers = await Promise.all(many)
  t.ok(answers.includes(200) && answers.includes(503), 'what is too much is told, and may come again')
})
