/** Bearer tokens through the HTTP door: RFC 6750, challenges, and what comes beside a token. */
import t, { type Test } from 'tap'
import { Callers } from '../../src/identity/caller.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { Tokens } from '../../src/identity/token.ts'
import { oidcIdentity } from '../../src/identity/token-issuer.ts'
import { type HttpServices } from '../../src/http/services.ts'
import { Issuer, seconds, type Wish } from '../fixtures/token-issuer.ts'
import { GROUP, node, property, startGateway, VOS, type Gateway, type GatewayOptions } from './gateway.ts'
import { authority, credentials } from './people.ts'

const issuer = await Issuer.start()
t.teardown(() => issuer.stop())

const LOGIN = 'https://iam.example.org/login'

interface Lab {
  readonly gateway: Gateway
  readonly tokens: Tokens
  /** milliseconds that have passed for tokens */
  readonly pass: (milliseconds: number) => void
}

/** A gateway where the issuer's alice-sub is alice and bob-sub is bob. */
async function lab(t: Test, services: Partial<HttpServices> = {}, options: GatewayOptions = {}): Promise<Lab> {
  let passed = 0
  const late: { gateway?: Gateway } = {}
  const tokens = new Tokens([issuer.trusted()], { clock: () => Date.now() + passed })
  const callers = new Callers({
    trust: [TrustStore.of(pemCertificates(authority.certificate))],
    tokens,
    users: { byIdentity: (identity) => late.gateway?.store.users.byIdentity(identity) },
    groups: { of: (user) => late.gateway?.store.groups.of(user) ?? new Set() },
  })
  const signOn = { tokens: true, logins: [LOGIN] }
  const gateway = await startGateway(t, { ...options, services: { callers, signOn, ...services } })
  late.gateway = gateway
  for (const name of ['alice', 'bob']) {
    gateway.store.users.addIdentity(name, oidcIdentity(issuer.url, `${name}-sub`))
  }
  return { gateway, tokens, pass: (milliseconds) => (passed += milliseconds) }
}

const bearer = async (wish?: Wish): Promise<{ authorization: string }> => ({
  authorization: `Bearer ${await issuer.token(wish)}`,
})
const asBob = (): Promise<{ authorization: string }> => bearer({ claims: { sub: 'bob-sub' } })

/** The head of an answer, byte for byte. node's client would fold lines of one name, both ways. */
async function rawCall(gateway: Gateway, lines: readonly string[], request = 'GET /fs/v1'): Promise<string> {
  const [method = '', target = ''] = request.split(' ')
  const socket = await gateway.raw()
  socket.write(
    `${[`${method} /karst${target} HTTP/1.1`, 'Host: x', 'Connection: close', ...lines].join('\r\n')}\r\n\r\n`,
  )
  let text = ''
  for await (const part of socket) text += String(part)
  return text
}

/** The values of the lines of one name. */
const linesOf = (answer: string, name: string): string[] =>
  (answer.split('\r\n\r\n')[0] ?? '')
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(`${name}: `))
    .map((line) => line.slice(name.length + 2))

t.test('a token', async (t) => {
  const { gateway } = await lab(t)
  await t.test('says who is asking, whatever the case of its scheme', async (t) => {
    const { authorization } = await bearer()
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) {
      const reply = await gateway.call('/fs/v1', {
        headers: { authorization: authorization.replace('Bearer', scheme) },
      })
      t.match(JSON.parse(reply.text), { user: 'alice' })
      t.equal(reply.headers['x-vo-authenticated'], 'alice')
      t.notOk(reply.headers['www-authenticate'])
    }
  })
  await t.test('serves for nodes, files, transfers and jobs as a certificate does', async (t) => {
    const headers = { ...(await bearer()), 'content-type': 'text/xml' }
    const shared = property('ivo://ivoa.net/vospace/core#groupread', GROUP)
    t.equal(
      (
        await gateway.call('/nodes/home/alice/t', {
          method: 'PUT',
          headers,
          body: node('/home/alice/t', 'ContainerNode', shared),
        })
      ).status,
      201,
    )
    t.equal((await gateway.call('/files/home/alice/t/f', { method: 'PUT', headers, body: 'bytes' })).status, 201)
    t.equal((await gateway.call('/files/home/alice/t/f', { headers })).text, 'bytes')
    t.equal(
      (await gateway.call('/files/home/alice/t/f', { as: 'alice' })).text,
      'bytes',
      'the same user by certificate',
    )
    t.equal((await gateway.call('/files/home/alice/t/f')).status, 403, 'and nobody else')
    const job = await gateway.call('/async-delete', {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
      body: `target=${encodeURIComponent(`${VOS}/home/alice/t`)}&PHASE=RUN`,
    })
    t.equal(job.status, 303)
    const seen = await gateway.call(gateway.path(String(job.headers.location)).replace('/karst', '') + '?WAIT=20', {
      headers,
    })
    t.equal(seen.status, 200)
    t.match(seen.text, /<uws:ownerId[^>]*>alice/)
    t.notOk(seen.text.includes((await bearer()).authorization.slice(7, 60)))
  })
  await t.test('negotiates pre-authorised URLs that need no token, and plain ones that do', async (t) => {
    const headers = await bearer()
    await gateway.call('/files/home/alice/p', { method: 'PUT', headers, body: 'bytes' })
    const ask = (
      method: string,
    ): string => `<vos:transfer xmlns:vos="http://www.ivoa.net/xml/VOSpace/v2.0" version="2.1">
      <vos:target>${VOS}/home/alice/p</vos:target><vos:direction>pullFromVoSpace</vos:direction>
      <vos:protocol uri="ivo://ivoa.net/vospace/core#httpsget">${method}</vos:protocol></vos:transfer>`
    const endpointOf = async (method: string): Promise<{ url: string; text: string }> => {
      const job = await gateway.call('/synctrans', { method: 'POST', headers, body: ask(method) })
      const { text } = await gateway.call(String(job.headers.location), { headers })
      return { url: /<vos:endpoint>([^<]*)/.exec(text)?.[1] ?? '', text }
    }
    const open = await endpointOf('')
    const reply = await gateway.call(open.url)
    t.equal(reply.text, 'bytes')
    t.notOk(reply.headers['x-vo-authenticated'], 'the URL says nobody')
    t.notOk((await gateway.call(open.url, { headers })).headers['x-vo-authenticated'], 'not even beside a token')
    t.equal((await gateway.call(open.url, { headers: { authorization: 'Bearer x.y.z' } })).text, 'bytes')
    const { url, text } = await endpointOf('<vos:securityMethod uri="ivo://ivoa.net/sso#token"/>')
    t.match(text, 'ivo://ivoa.net/sso#token')
    t.equal((await gateway.call(url)).status, 403)
    t.equal((await gateway.call(url, { headers })).text, 'bytes')
  })
  await t.test('of somebody unknown here is 403 with the reason, and is not anonymous', async (t) => {
    for (const target of ['/protocols', '/fs/v1', '/files/pub/x', '/capabilities']) {
      const reply = await gateway.call(target, { headers: await bearer({ claims: { sub: 'eve-sub' } }) })
      t.equal(reply.status, 403, target)
      t.match(reply.text, /PermissionDenied.*eve-sub/)
      t.notOk(reply.headers['x-vo-authenticated'])
    }
  })
  await t.test('names its user also when what it asked for is refused', async (t) => {
    const cases = { '/files/home/alice/p': 403, '/nodes/nowhere': 404, '/files/home': 400, '/fs/v1/entry': 400 }
    for (const [target, status] of Object.entries(cases)) {
      const reply = await gateway.call(target, { headers: await asBob() })
      t.equal(reply.status, status, target)
      t.equal(reply.headers['x-vo-authenticated'], 'bob', target)
    }
  })
})

t.test('an Authorization header that proves nobody is refused', async (t) => {
  const { gateway } = await lab(t)
  const { authorization } = await bearer()
  const token = authorization.slice('Bearer '.length)
  const [header = '', payload = ''] = token.split('.')
  const cases: Record<string, readonly [number, RegExp, string]> = {
    'an expired token': [
      401,
      /^Bearer error="invalid_token", error_description="the token has expired"$/,
      (await bearer({ claims: { exp: seconds() - 100 } })).authorization,
    ],
    'one for another service': [
      401,
      /error="invalid_token".*its aud is not/,
      (await bearer({ claims: { aud: 'x' } })).authorization,
    ],
    'one of another issuer': [
      401,
      /error="invalid_token".*https:\/\/e'il.* are not taken here/,
      (await bearer({ claims: { iss: 'https://e"il' } })).authorization,
    ],
    'one without signature': [401, /^Bearer error="invalid_request"/, `Bearer ${header}.${payload}.`],
    'one of 20 KB': [401, /^Bearer error="invalid_request"/, `Bearer ${token}${'A'.repeat(20_000)}`],
    'the scheme alone': [401, /^Bearer error="invalid_request"/, 'Bearer'],
    'two words': [401, /^Bearer error="invalid_request"/, `Bearer ${token} x`],
    'quotes around it': [401, /^Bearer error="invalid_request"/, `Bearer "${token}"`],
    nothing: [401, /^Bearer$/, ''],
    'a password': [401, /^Bearer$/, `Basic ${Buffer.from('alice:secret').toString('base64')}`],
    'a scheme that is not ours': [401, /^Bearer$/, 'Digest username="alice", realm="a b", nonce="x"'],
    'a token without scheme': [401, /^Bearer$/, token],
    'two schemes': [400, /^$/, `Bearer ${token}, Basic YTpi`],
    'two tokens': [400, /^$/, `Bearer ${token}, Bearer ${token}`],
  }
  for (const [what, [status, challenge, value]] of Object.entries(cases)) {
    await t.test(`${what}, with and without a certificate, and at what is open to anybody`, async (t) => {
      for (const [target, as] of [
        ['/fs/v1', undefined],
        ['/fs/v1', 'alice'],
        ['/capabilities', undefined],
        ['/files/pub/x', 'alice'],
      ] as const) {
        const reply = await gateway.call(target, { headers: { authorization: value }, ...(as && { as }) })
        t.equal(reply.status, status, target)
        t.notOk(reply.headers['x-vo-authenticated'])
        t.match(String(reply.headers['www-authenticate'] ?? '').split(/, (?=ivoa)/)[0], challenge)
        t.match(reply.text, /\S{10}/, 'with a reason')
      }
    })
  }
  await t.test('100 KB of it, before it is parsed', async (t) => {
    t.equal((await gateway.call('/fs/v1', { headers: { authorization: `Bearer ${'A'.repeat(100_000)}` } })).status, 431)
  })
  await t.test('two of them, equal or not, in any order', async (t) => {
    const good = `Authorization: Bearer ${token}`
    for (const second of [good, 'authorization: Bearer x.y.z', 'AUTHORIZATION: Basic YTpi', 'Authorization:']) {
      for (const lines of [
        [good, second],
        [second, good],
        [good, 'Accept: */*', second],
      ]) {
        const text = await rawCall(gateway, lines)
        t.match(text, /^HTTP\/1.1 400 /)
        t.match(text, /InvalidArgument/)
        t.notMatch(text, /X-VO-Authenticated/i)
      }
    }
  })
  await t.test('none of it is logged, nor told', async (t) => {
    const replies = await Promise.all(
      Object.values(cases).map(([, , value]) => gateway.call('/fs/v1', { headers: { authorization: value } })),
    )
    const said = JSON.stringify([gateway.log, replies.map(({ headers, text }) => [headers, text])])
    for (const part of [...token.split('.'), 'YTpi', Buffer.from('alice:secret').toString('base64'), 'nonce']) {
      t.notOk(said.includes(part), part.slice(0, 10))
    }
    t.match(said, /"reason":"the token has expired"/, 'why is logged')
  })
})

t.test('where no tokens are taken, one is refused and not passed over', async (t) => {
  const gateway = await startGateway(t)
  const reply = await gateway.call('/fs/v1', { as: 'alice', headers: await bearer() })
  t.equal(reply.status, 401)
  t.match(reply.text, /tokens are not taken here/)
  t.notMatch((await gateway.call('/capabilities')).text, /sso#token/)
  t.equal((await gateway.call('/capabilities')).headers['www-authenticate'], 'ivoa_x509')
})

t.test('a token in the query is not taken, and not logged', async (t) => {
  const { gateway } = await lab(t)
  const token = await issuer.token()
  for (const name of ['access_token', 'token', 'ACCESS_TOKEN', 'id_token']) {
    const reply = await gateway.call(`/fs/v1?${name}=${token}&x=1`)
    t.notOk(reply.headers['x-vo-authenticated'])
    await gateway.call(`/nowhere?x=1&${name}=${token}`)
  }
  t.notOk(JSON.stringify(gateway.log).includes(token.slice(0, 40)))
  t.match(JSON.stringify(gateway.log), /access_token=\[token\]&x=1/)
})

t.test('a token beside a certificate', async (t) => {
  const { gateway } = await lab(t)
  const noted = async (headers: Record<string, string>, as: Parameters<Gateway['call']>[1]): Promise<string> => {
    gateway.log.length = 0
    const reply = await gateway.call('/fs/v1', { headers, ...as })
    return `${reply.status} ${String(reply.headers['x-vo-authenticated'])} ${JSON.stringify(gateway.log)}`
  }
  await t.test('of the same user', async (t) => {
    const said = await noted(await bearer(), { as: 'alice' })
    t.match(said, /^200 alice .*a token and a certificate of the same user/)
  })
  await t.test('of another user wins, and both are in the log', async (t) => {
    const said = await noted(await asBob(), { as: 'alice' })
    t.match(said, /^200 bob .*bob-sub.*cn=alice.*"users":\["bob","alice"\].*different users/)
  })
  await t.test('of nobody here wins', async (t) => {
    t.match(await noted(await bearer(), { as: 'dave' }), /^200 alice .*"users":\["alice",null\]/)
  })
  await t.test('that is bad wins too, and its fault is in the log', async (t) => {
    const said = await noted(await bearer(), { as: { ...credentials.alice, chain: [] } })
    t.match(said, /^200 alice .*"refused":"CHAIN_INCOMPLETE".*a bad certificate/)
  })
  await t.test('is refused when it is bad, though the certificate is good', async (t) => {
    const said = await noted(await bearer({ claims: { exp: seconds() - 100 } }), { as: 'alice' })
    t.match(said, /^401 undefined /)
  })
  await t.test('of a user who is unknown is refused, though the certificate is good', async (t) => {
    t.match(await noted(await bearer({ claims: { sub: 'eve-sub' } }), { as: 'alice' }), /^403 undefined /)
  })
  await t.test('counts for its request alone: the next one of the connection is of the certificate', async (t) => {
    t.match(await noted(await asBob(), { as: 'alice' }), /^200 bob /)
    t.match(await noted({}, { as: 'alice' }), /^200 alice /)
  })
})

t.test('a token that ends is refused from then on, on the same connection too', async (t) => {
  const { gateway, pass } = await lab(t)
  const headers = await bearer({ claims: { exp: seconds() + 100 } })
  t.equal((await gateway.call('/fs/v1', { headers })).status, 200)
  pass(161_000)
  const reply = await gateway.call('/fs/v1', { headers })
  t.equal(reply.status, 401)
  t.match(reply.text, /expired/)
})

t.test('an upload that was begun in time may end after its token', async (t) => {
  const { gateway, pass } = await lab(t)
  const { authorization } = await bearer({ claims: { exp: seconds() + 100 } })
  const socket = await gateway.raw()
  const put = 'PUT /karst/files/home/alice/late HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n'
  socket.write(`${put}Content-Length: 5\r\nAuthorization: ${authorization}\r\n\r\n`)
  let text = ''
  for await (const part of socket) {
    text += String(part)
    if (!text.endsWith('100 Continue\r\n\r\n')) continue
    pass(161_000)
    socket.write('bytes')
  }
  t.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /)
  t.equal((await gateway.call('/files/home/alice/late', { headers: { authorization } })).status, 401, 'and no more')
})

t.test('a suspended user is refused on the next request, with the reason', async (t) => {
  const { gateway } = await lab(t)
  const headers = await bearer()
  t.equal((await gateway.call('/fs/v1', { headers })).status, 200)
  gateway.store.users.suspend('alice')
  const reply = await gateway.call('/fs/v1', { headers })
  t.equal(reply.status, 403)
  t.match(reply.text, /suspended/)
})

t.test('challenges', async (t) => {
  const { gateway } = await lab(t)
  const expected = [
    'Bearer',
    `ivoa_bearer standard_id="ivo://ivoa.net/sso#tls-with-password", access_url="${LOGIN}"`,
    'ivoa_x509',
  ]
  const lines = async (request: string, authorization?: string, of = gateway): Promise<string[]> =>
    linesOf(
      await rawCall(of, authorization === undefined ? [] : [`Authorization: ${authorization}`], request),
      'www-authenticate',
    )
  await t.test('come with the capabilities to who is anonymous, one line each', async (t) => {
    t.same(await lines('GET /capabilities'), expected)
    t.same(await lines('HEAD /capabilities'), expected)
    t.same(await lines('GET /capabilities', (await bearer()).authorization), [], 'and not to who is known')
  })
  await t.test('come with every 401', async (t) => {
    t.same(await lines('GET /fs/v1', 'Basic YTpi'), expected)
    t.same(await lines('PUT /files/home/alice/x', 'Basic YTpi'), expected)
    const [first, ...others] = await lines('GET /nodes', 'Bearer x')
    t.match(first, /^Bearer error="invalid_request", error_description="[^"\\]*"$/)
    t.same(others, expected.slice(1))
  })
  await t.test('of an error have nothing in them that ends a quotation or a line', async (t) => {
    const { authorization } = await bearer({ claims: { iss: 'https://x/"\\\r\nX-Evil: 1, Basic realm="é' } })
    const [first = ''] = await lines('GET /fs/v1', authorization)
    t.match(first, /^Bearer error="invalid_token", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]*"$/)
  })
  await t.test('name the credential service where there is one', async (t) => {
    const { gateway: issuing } = await lab(t, { credentials: {} as never })
    t.ok(
      (await lines('GET /capabilities', undefined, issuing)).includes(
        `ivoa_x509 standard_id="ivo://ivoa.net/sso#token", access_url="${issuing.url}/cred/generate"`,
      ),
    )
  })
  await t.test('and capabilities agree: the token stands where the certificate does', async (t) => {
    const { text } = await gateway.call('/capabilities')
    const methods = (name: string): number => text.split(`"ivo://ivoa.net/sso#${name}"`).length - 1
    t.ok(methods('token') > 8)
    for (const one of text.split('</capability>')) {
      if (one.includes('delegations')) continue
      t.equal(one.includes('sso#token'), one.includes('sso#tls-with-certificate'), one.slice(0, 120))
    }
  })
})
