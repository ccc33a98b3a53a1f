/** The keys of an issuer: discovered, rotated, withdrawn, missing over an outage; and issuers that answer with anything at all. */
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import { once } from 'node:events'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { issueServerCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'
import { type TokenProof } from '../../src/identity/proof.ts'
import { type TokenIssuer } from '../../src/identity/token-issuer.ts'
import { KEY_TIMES, type KeyTimes } from '../../src/identity/token-keys.ts'
import { Tokens } from '../../src/identity/token.ts'
import { isFault, type Fault } from '../../src/vospace/fault.ts'
import { AUDIENCE, Issuer, json, seconds, signingKey, type Answer } from '../fixtures/token-issuer.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-keys-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const [first, second, third] = [await signingKey('first'), await signingKey('second'), await signingKey('third')]

interface Lab {
  readonly issuer: Issuer
  readonly tokens: Tokens
  readonly notices: string[]
  /** milliseconds that have passed */
  readonly pass: (milliseconds: number) => void
  /** how often the key set was asked for */
  readonly fetches: () => number
}

/** An issuer and somebody who trusts it; time passes as the test says. */
async function lab(t: Test, trusted: Partial<TokenIssuer> = {}, times: Partial<KeyTimes> = {}): Promise<Lab> {
  const issuer = await Issuer.start(first)
  t.teardown(() => issuer.stop())
  const notices: string[] = []
  let passed = 0
  const tokens = new Tokens([issuer.trusted(trusted)], {
    clock: () => Date.now() + passed,
    times,
    notice: (sentence) => notices.push(sentence),
  })
  return {
    issuer,
    tokens,
    notices,
    pass: (milliseconds) => (passed += milliseconds),
    fetches: () => issuer.asked.filter((target) => target === '/realm/keys').length,
  }
}

const long = { claims: { exp: seconds() + 1_000_000 } }

const outcome = async (by: Tokens, token: string): Promise<TokenProof | Fault> => {
  try {
    return await by.verify(token)
  } catch (error) {
    if (isFault(error)) return error
    throw error
  }
}

t.test('keys are found by discovery once, for any number of tokens', async (t) => {
  const { issuer, tokens, fetches } = await lab(t)
  const many = await Promise.all(Array.from({ length: 20 }, (_, n) => issuer.token({ claims: { sub: `s${n}` } })))
  await Promise.all(many.map(async (token) => tokens.verify(token)))
  t.equal(fetches(), 1)
  t.equal(issuer.asked.length, 2)
})

t.test('keys from a URL or a file need no discovery', async (t) => {
  const { issuer } = await lab(t)
  const file = join(folder, 'keys.json')
  writeFileSync(file, JSON.stringify(issuer.published))
  for (const jwks of [`${issuer.url}/keys`, file]) {
    const tokens = new Tokens([issuer.trusted({ jwks })])
    t.equal((await tokens.verify(await issuer.token())).subject, 'alice-sub')
  }
  t.same(issuer.asked, ['/realm/keys'])
  writeFileSync(file, JSON.stringify({ keys: [second.jwk] }))
  const reread = new Tokens([issuer.trusted({ jwks: file })])
  t.match(await outcome(reread, await issuer.token()), { code: 'UNKNOWN_KEY' })
  writeFileSync(file, JSON.stringify(issuer.published))
  await reread.reload()
  t.match(await outcome(reread, await issuer.token()), { subject: 'alice-sub' })
})

t.test('rotation', async (t) => {
  await t.test('a key that is new is fetched when a token needs it', async (t) => {
    const { issuer, tokens, pass, fetches } = await lab(t)
    await tokens.verify(await issuer.token())
    issuer.published = { keys: [first.jwk, second.jwk] }
    pass(KEY_TIMES.pause + 1)
    t.match(await outcome(tokens, await issuer.token({ key: second })), { subject: 'alice-sub' })
    t.equal(fetches(), 2)
  })
  await t.test('unknown kids make it ask at most once in ten seconds, however many come', async (t) => {
    const { issuer, tokens, pass, fetches } = await lab(t)
    await tokens.verify(await issuer.token())
    for (let round = 1; round <= 3; round++) {
      for (let n = 0; n < 50; n++) {
        t.match(await outcome(tokens, await issuer.token({ header: { kid: `x${round}${n}` } })), {
          code: 'UNKNOWN_KEY',
        })
      }
      t.equal(fetches(), round)
      pass(KEY_TIMES.pause + 1)
    }
  })
  await t.test('a withdrawn key is believed for five minutes, and its tokens are forgotten', async (t) => {
    const { issuer, tokens, pass } = await lab(t)
    const token = await issuer.token(long)
    await tokens.verify(token)
    issuer.published = { keys: [second.jwk] }
    pass(300_001)
    // this one starts the fetching, and does not wait for it
    await tokens.verify(token)
    for (let tries = 0; tries < 500; tries++) {
      const answer = await outcome(tokens, token)
      if (isFault(answer)) return t.match(answer, { code: 'UNKNOWN_KEY' })
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return t.fail('still believed')
  })
})

t.test('an outage', async (t) => {
  const gone: Answer = (request) => request.socket.destroy()
  await t.test(
    'of an issuer whose keys are known is not felt for hours, and then tokens cannot be checked',
    async (t) => {
      const { issuer, tokens, pass, notices } = await lab(t)
      const token = await issuer.token(long)
      await tokens.verify(token)
      issuer.answer = gone
      pass(4 * 3_600_000 - 60_000)
      t.match(await outcome(tokens, token), { subject: 'alice-sub' }, 'one that was seen')
      t.match(await outcome(tokens, await issuer.token(long)), { subject: 'alice-sub' }, 'one that is new')
      pass(120_000)
      t.match(await outcome(tokens, token), { fault: 'ServiceBusy', status: 503 })
      t.match(await outcome(tokens, await issuer.token(long)), { fault: 'ServiceBusy' })
      t.match(notices.at(-1), /could not be fetched, those before are kept/)
      issuer.answer = undefined
      pass(KEY_TIMES.pause + 1)
      t.match(await outcome(tokens, token), { subject: 'alice-sub' })
    },
  )
  await t.test(
    'from the start is 503, since the token may be good, and is over when the issuer is there',
    async (t) => {
      const { issuer, tokens, pass } = await lab(t)
      issuer.answer = gone
      const token = await issuer.token(long)
      t.match(await outcome(tokens, token), { fault: 'ServiceBusy' })
      issuer.answer = undefined
      t.match(await outcome(tokens, token), { fault: 'ServiceBusy' }, 'it is not asked again at once')
      pass(KEY_TIMES.pause + 1)
      t.match(await outcome(tokens, token), { subject: 'alice-sub' })
    },
  )
  await t.test('does not wait for the pause when an administrator reloads', async (t) => {
    const { issuer, tokens } = await lab(t)
    issuer.answer = gone
    await tokens.reload()
    issuer.answer = undefined
    await tokens.reload()
    t.match(await outcome(tokens, await issuer.token()), { subject: 'alice-sub' })
  })
})

t.test('keys that are not to be used', async (t) => {
  const rsa = await signingKey('rsa', 'RS256')
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
  const cases: Record<string, unknown[]> = {
    'a secret one': [{ kty: 'oct', k: 'c2VjcmV0', kid: 'first', alg: 'HS256' }],
    'one for encryption': [{ ...first.jwk, use: 'enc' }],
    'a private one': [{ ...first.jwk, d: 'AAAA' }],
    'one for another algorithm': [{ ...first.jwk, alg: 'ES512' }],
    'one that is no key': [null, 7, 'x', {}],
    'one of 1024 bits': [
      { ...weak, kid: 'first', alg: 'ES256' },
      { ...weak, kid: 'first' },
    ],
    'one with which everybody signs': [{ ...rsa.jwk, kid: 'first', e: 'AQ' }],
    'one that is on no curve': [{ ...first.jwk, x: 'AAAA' }],
    'one without its kid': [{ ...first.jwk, kid: undefined }],
  }
  for (const [what, keys] of Object.entries(cases)) {
    const { issuer, tokens } = await lab(t)
    issuer.published = { keys }
    const answer = await outcome(tokens, await issuer.token())
    t.ok(isFault(answer, 'NotAuthenticated', 'ServiceBusy'), what)
    const theirs = await outcome(tokens, await issuer.token({ key: { ...rsa, kid: 'first' } }))
    t.ok(isFault(theirs, 'NotAuthenticated', 'ServiceBusy'), `${what}, for RS256`)
  }
})

t.test('careless key sets are borne', async (t) => {
  const { issuer, tokens } = await lab(t)
  issuer.published = { keys: [null, { kty: 'oct', k: 'AAAA' }, { ...second.jwk, kid: 'first' }, first.jwk, third.jwk] }
  t.match(await outcome(tokens, await issuer.token()), { subject: 'alice-sub' }, 'two keys of one kid')
  t.match(await outcome(tokens, await issuer.token({ header: { kid: undefined }, key: third })), {
    subject: 'alice-sub',
  })
  const forged = await issuer.token({ key: await signingKey('first') })
  t.match(await outcome(tokens, forged), { code: 'BAD_SIGNATURE' }, 'and none of them takes a forged one')
})

t.test('an issuer that answers with', async (t) => {
  const redirect =
    (location: (issuer: Issuer) => string): ((issuer: Issuer) => Answer) =>
    (issuer) =>
    (_, response) =>
      response.writeHead(302, { location: location(issuer) }).end()
  const answers: Record<string, readonly [RegExp, (issuer: Issuer) => Answer]> = {
    'a page': [/no JSON/, () => (_, response) => response.end('<html>')],
    'an error': [/status 500/, () => (_, response) => json(response, {}, 500)],
    null: [/another issuer|not a key set/, () => (_, response) => json(response, null)],
    'no keys': [/without a public key/, (issuer) => discovering(issuer, (response) => json(response, { keys: [] }))],
    'keys that are no list': [
      /not a key set/,
      (issuer) => discovering(issuer, (response) => json(response, { keys: {} })),
    ],
    'a thousand keys': [
      /more than 100 keys/,
      (issuer) => discovering(issuer, (response) => json(response, { keys: Array(1000).fill({ kty: 'RSA' }) })),
    ],
    'a gigabyte': [/more than 262144 bytes/, () => (_, response) => endless(response)],
    'the discovery of another issuer': [
      /another issuer/,
      () => (_, response) =>
        json(response, { issuer: 'https://evil.example.org', jwks_uri: 'https://evil.example.org' }),
    ],
    'keys elsewhere without TLS': [
      /not https/,
      (issuer) => (_, response) => json(response, { issuer: issuer.url, jwks_uri: 'http://keys.example.org/' }),
    ],
    'keys in a file': [
      /not https/,
      (issuer) => (_, response) => json(response, { issuer: issuer.url, jwks_uri: 'file:///etc/passwd' }),
    ],
    'no place of keys': [/names no jwks_uri/, (issuer) => (_, response) => json(response, { issuer: issuer.url })],
    'a way to another host': [/another host/, redirect(() => 'https://evil.example.org/keys')],
    'a way to another port': [/another host/, redirect((issuer) => issuer.url.replace(/:\d+/, ':1'))],
    'a way in circles': [/too many redirects/, redirect((issuer) => issuer.url)],
  }
  for (const [what, [reason, answer]] of Object.entries(answers)) {
    await t.test(`${what} is refused, and said`, async (t) => {
      const { issuer, tokens, notices } = await lab(t)
      issuer.answer = answer(issuer)
      t.match(await outcome(tokens, await issuer.token()), { fault: 'ServiceBusy', status: 503 })
      t.match(notices.join('\n'), reason)
    })
  }
  await t.test('nothing, or a byte now and then, is given up in time', async (t) => {
    for (const answer of [() => undefined, slow] satisfies Answer[]) {
      const { issuer, tokens, notices } = await lab(t, {}, { timeout: 200 })
      issuer.answer = answer
      t.match(await outcome(tokens, await issuer.token()), { fault: 'ServiceBusy' })
      t.match(notices.join('\n'), /no answer in time/)
    }
  })
  await t.test('a way to another place of the same host is followed', async (t) => {
    const { issuer, tokens } = await lab(t)
    issuer.answer = (request, response) => {
      issuer.answer = undefined
      response.writeHead(307, { location: request.url ?? '' }).end()
    }
    t.match(await outcome(tokens, await issuer.token()), { subject: 'alice-sub' })
  })
})

function discovering(issuer: Issuer, answer: (response: Parameters<Answer>[1]) => void): Answer {
  return (request, response) => {
    if (request.url?.endsWith('openid-configuration') !== true) return answer(response)
    json(response, { issuer: issuer.url, jwks_uri: `${issuer.url}/keys` })
  }
}

function endless(response: Parameters<Answer>[1]): void {
  const more = (): void => {
    while (!response.destroyed && response.write(Buffer.alloc(65_536, ' ')));
    if (!response.destroyed) response.once('drain', more)
  }
  more()
}

const slow: Answer = (_, response) => {
  const timer = setInterval(() => response.write(' '), 20)
  response.once('close', () => clearInterval(timer))
}

t.test('a private issuer is known by the authority that is configured, and by no other', async (t) => {
  const authority = await mintDevelopmentCa('issuer')
  const host = await issueServerCertificate(authority, ['localhost'])
  const server = createServer({ key: host.key, cert: host.certificate }, (_, response) =>
    json(response, { keys: [first.jwk] }),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const issuer = `https://localhost:${(server.address() as AddressInfo).port}`
  const ca = join(folder, 'issuer-ca.pem')
  writeFileSync(ca, authority.certificate)
  const other = join(folder, 'other-ca.pem')
  writeFileSync(other, (await mintDevelopmentCa('other')).certificate)
  const trusted = { issuer, audience: [AUDIENCE], jwks: `${issuer}/keys`, clockSkew: 60, forwardTo: [] }
  const signer = await lab(t)
  const token = await signer.issuer.token({ claims: { iss: issuer } })
  t.match(await outcome(new Tokens([{ ...trusted, ca }]), token), { subject: 'alice-sub' })
  t.match(await outcome(new Tokens([{ ...trusted, ca: other }]), token), { fault: 'ServiceBusy' })
  t.match(await outcome(new Tokens([trusted]), token), { fault: 'ServiceBusy' })
  t.match(await outcome(new Tokens([{ ...trusted, ca: join(folder, 'none.pem') }]), token), { fault: 'ServiceBusy' })
})
