/** A JWT to what it proves, and every one that proves nothing: RFC 7519, RFC 8725, RFC 9068. */
import { createHmac, createSign } from 'node:crypto'
import t from 'tap'
import { exportJWK, exportSPKI } from 'jose'
import { isFault } from '../../src/vospace/fault.ts'
import { type TokenProof } from '../../src/identity/proof.ts'
import { TokenFault, type TokenCode } from '../../src/identity/token-fault.ts'
import { oidcIdentity } from '../../src/identity/token-issuer.ts'
import { Tokens, LONGEST_TOKEN } from '../../src/identity/token.ts'
import { AUDIENCE, encode, Issuer, seconds, signingKey, type Wish } from '../fixtures/token-issuer.ts'

const issuer = await Issuer.start(await signingKey('first', 'RS256'))
t.teardown(() => issuer.stop())
const strange = await signingKey('first', 'RS256')
const tokens = new Tokens([issuer.trusted()])

/** The refusal of a token; throws when there is none. */
async function refusal(token: string, by = tokens): Promise<TokenFault> {
  try {
    await by.verify(token)
  } catch (error) {
    if (error instanceof TokenFault) return error
    throw error
  }
  throw new Error('accepted')
}

t.test('a good token proves issuer and subject, and is believed until it ends', async (t) => {
  const exp = seconds() + 300
  const token = await issuer.token({ claims: { exp } })
  t.match(await tokens.verify(token), {
    method: 'token',
    identity: { kind: 'oidc', value: `${issuer.url} alice-sub` },
    issuer: issuer.url,
    subject: 'alice-sub',
    expires: (exp + 60) * 1000,
    limited: false,
    username: undefined,
  })
  t.notOk(tokens.verify(token) instanceof Promise, 'the second time at once')
})

const good: Record<string, Wish> = {
  'without typ': { header: { typ: undefined } },
  'of type JWT': { header: { typ: 'JWT' } },
  'without kid': { header: { kid: undefined } },
  'of an issuer with a slash at its end': { claims: { iss: `${issuer.url}/` } },
  'for several audiences': { claims: { aud: ['else', AUDIENCE] } },
  'ended less than the skew ago': { claims: { exp: seconds() - 30 } },
  'valid within the skew': { claims: { nbf: seconds() + 30, iat: seconds() + 30 } },
}
for (const [what, wish] of Object.entries(good)) {
  t.test(`a token ${what} is good`, async (t) => {
    const proof = await tokens.verify(await issuer.token(wish))
    t.equal(proof.identity.value, `${issuer.url} alice-sub`)
  })
}

t.test('a subject that comes under the two spellings of its issuer is one identity', async (t) => {
  t.same(oidcIdentity('https://iam.example.org/', 's'), oidcIdentity('https://iam.example.org', 's'))
})

const bad: Record<string, readonly [TokenCode, Wish]> = {
  'for another audience': ['AUDIENCE', { claims: { aud: 'https://else.example.org' } }],
  'for an audience that only begins like ours': ['AUDIENCE', { claims: { aud: `${AUDIENCE}.evil.example.org` } }],
  'for nobody': ['AUDIENCE', { claims: { aud: undefined } }],
  'for an audience that is an object': ['AUDIENCE', { claims: { aud: { [AUDIENCE]: true } } }],
  'of another issuer': ['ISSUER', { claims: { iss: 'https://evil.example.org' } }],
  'of an issuer that only begins like ours': ['ISSUER', { claims: { iss: `${issuer.url}.evil.example.org` } }],
  'of an issuer with two slashes': ['ISSUER', { claims: { iss: `${issuer.url}//` } }],
  'of no issuer': ['ISSUER', { claims: { iss: undefined } }],
  'of an issuer that is a list': ['ISSUER', { claims: { iss: [issuer.url] } }],
  'that expired': ['EXPIRED', { claims: { exp: seconds() - 61 } }],
  'without end': ['CLAIMS', { claims: { exp: undefined } }],
  'whose end is text': ['CLAIMS', { claims: { exp: '9999999999' } }],
  'whose end is beyond all dates': ['CLAIMS', { claims: { exp: 8.7e12 } }],
  'not valid yet': ['NOT_YET_VALID', { claims: { nbf: seconds() + 120 } }],
  'whose nbf is text': ['CLAIMS', { claims: { nbf: 'now' } }],
  'issued in the future': ['NOT_YET_VALID', { claims: { iat: seconds() + 120 } }],
  'without subject': ['CLAIMS', { claims: { sub: undefined } }],
  'with an empty subject': ['CLAIMS', { claims: { sub: '' } }],
  'whose subject is a number': ['CLAIMS', { claims: { sub: 7 } }],
  'whose subject is a second line': ['CLAIMS', { claims: { sub: 'alice\nx' } }],
  'with an endless subject': ['CLAIMS', { claims: { sub: 'a'.repeat(256) } }],
  'whose subject has half a surrogate': ['CLAIMS', { claims: { sub: 'alice\ud800' } }],
  'bound to a key': ['BOUND', { claims: { cnf: { jkt: 'x' } } }],
  'that is a logout token': ['TYPE', { header: { typ: 'logout+jwt' } }],
  'that is a DPoP proof': ['TYPE', { header: { typ: 'dpop+jwt' } }],
  'of an unknown kid': ['UNKNOWN_KEY', { header: { kid: 'else' } }],
  'of the same kid by another key': ['BAD_SIGNATURE', { key: strange }],
  'with its own key along': ['BAD_SIGNATURE', { key: strange, header: { jwk: strange.jwk } }],
  'with a critical header nobody knows': ['MALFORMED', { header: { crit: ['urn:x'], 'urn:x': 1 } }],
}
for (const [what, [code, wish]] of Object.entries(bad)) {
  t.test(`a token ${what} is refused`, async (t) => {
    const header = { ...wish.header }
    const { crit, ...rest } = header
    const token = crit === undefined ? await issuer.token(wish) : await withHeader({ crit, ...rest })
    const fault = await refusal(token)
    t.match(fault, { code, fault: 'NotAuthenticated', status: 401 })
    for (const part of token.split('.')) t.notOk(fault.message.includes(part), 'no part of it is in the reason')
  })
}

/** Signed rightly, with a header that no library signs. */
async function withHeader(header: object): Promise<string> {
  const [, payload = ''] = (await issuer.token()).split('.')
  const text = `${encode({ alg: 'RS256', kid: 'first', ...header })}.${payload}`
  const { KeyObject } = await import('node:crypto')
  const signature = createSign('sha256').update(text).sign(KeyObject.from(issuer.key.privateKey))
  return `${text}.${signature.toString('base64url')}`
}

t.test("the algorithm is the configuration's to choose", async (t) => {
  const [, payload = ''] = (await issuer.token()).split('.')
  await t.test('none is refused, with and without a signature, in any case', async (t) => {
    for (const alg of ['none', 'None', 'nOnE', '']) {
      for (const signature of ['', 'AA']) {
        const fault = await refusal(`${encode({ alg })}.${payload}.${signature}`)
        t.ok(['ALGORITHM', 'MALFORMED'].includes(fault.code), `${alg}.${signature}`)
      }
    }
  })
  await t.test('HS256 with the public key as secret is refused', async (t) => {
    const secrets = [await exportSPKI(issuer.key.publicKey), JSON.stringify(await exportJWK(issuer.key.publicKey))]
    for (const secret of secrets) {
      const text = `${encode({ alg: 'HS256', kid: 'first' })}.${payload}`
      const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
      t.equal((await refusal(token)).code, 'ALGORITHM')
    }
  })
  await t.test('one that is not listed is refused before any key is looked for', async (t) => {
    const picky = new Tokens([issuer.trusted({ algorithms: ['ES256'] })])
    const before = issuer.asked.length
    t.equal((await refusal(await issuer.token(), picky)).code, 'ALGORITHM')
    t.equal(issuer.asked.length, before)
  })
  await t.test('each that is listed by default works', async (t) => {
    for (const alg of ['RS512', 'PS256', 'PS384', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']) {
      const key = await signingKey(`k-${alg}`, alg)
      issuer.published = { keys: [key.jwk] }
      const fresh = new Tokens([issuer.trusted()])
      t.equal((await fresh.verify(await issuer.token({ key }))).method, 'token', alg)
    }
    issuer.published = { keys: [issuer.key.jwk] }
  })
})

t.test('what is no JWT is refused', async (t) => {
  const token = await issuer.token()
  const [header = '', payload = '', signature = ''] = token.split('.')
  const cases: Record<string, string> = {
    'one part': header,
    'two parts': `${header}.${payload}`,
    'four parts': `${token}.x`,
    'five parts, encrypted': `${token}.x.y`,
    'a header that is no JSON': `${encode('{')}.${payload}.${signature}`,
    'a header that is a list': `${encode('[]')}.${payload}.${signature}`,
    'a payload that is no JSON': `${header}.${encode('"x')}.${signature}`,
    'a payload that is text': `${header}.${encode('"x"')}.${signature}`,
    'a payload that is not UTF-8': `${header}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${signature}`,
    'a kid that is an object': `${encode({ alg: 'RS256', kid: {} })}.${payload}.${signature}`,
    'base64 with padding': `${header}=.${payload}.${signature}`,
    'a line feed within': `${header}.${payload}.\n${signature}`,
    nothing: '',
  }
  for (const [what, text] of Object.entries(cases)) {
    const fault = await refusal(text)
    t.match(fault, { code: 'MALFORMED', error: 'invalid_request' }, what)
  }
})

t.test('of a claim that is there twice the last one counts, as RFC 7519 section 4 says', async (t) => {
  const text = (sub: string): string => `"sub":"${sub}"`
  const claims = `{"iss":"${issuer.url}","aud":"${AUDIENCE}","exp":${seconds() + 60},${text('root')},${text('alice-sub')}}`
  const head = `${encode({ alg: 'RS256', kid: 'first' })}.${encode(claims)}`
  const { KeyObject } = await import('node:crypto')
  const signature = createSign('sha256').update(head).sign(KeyObject.from(issuer.key.privateKey)).toString('base64url')
  t.equal(
    (await new Tokens([issuer.trusted()]).verify(`${head}.${signature}`)).identity.value,
    `${issuer.url} alice-sub`,
  )
})

t.test('a token of 100 KB is refused before anything is made of it', async (t) => {
  const before = issuer.asked.length
  const fresh = new Tokens([issuer.trusted()])
  const long = await issuer.token({ claims: { groups: 'x'.repeat(100_000) } })
  t.equal((await refusal(long, fresh)).code, 'TOO_LONG')
  t.equal((await refusal('.'.repeat(LONGEST_TOKEN + 1), fresh)).code, 'TOO_LONG')
  t.equal(issuer.asked.length, before)
})

t.test('a changed character anywhere makes it bad', async (t) => {
  const token = await issuer.token()
  const fresh = new Tokens([issuer.trusted()])
  for (let i = 0; i < token.length; i += 7) {
    const other = token[i] === 'A' ? 'B' : 'A'
    const changed = token.slice(0, i) + other + token.slice(i + 1)
    // the last character of base64url may have bits to spare, which decode to the same bytes
    if (changed === token || i === token.length - 1) continue
    const outcome = await Promise.resolve()
      .then(() => fresh.verify(changed))
      .then(
        () => 'accepted',
        (error: unknown) => error,
      )
    t.ok(isFault(outcome, 'NotAuthenticated'), `character ${i}`)
  }
})

t.test('a name for the user is taken from the claim that the configuration trusts, and from no other', async (t) => {
  const claims = { preferred_username: 'alice', email: 'bob' }
  const named = new Tokens([issuer.trusted({ usernames: 'preferred_username' })])
  const nameOf = async (claim: unknown, by = named): Promise<string | undefined> =>
    ((await by.verify(await issuer.token({ claims: { ...claims, preferred_username: claim } }))) satisfies TokenProof)
      .username
  t.equal(await nameOf('alice'), 'alice')
  t.equal(await nameOf('alice', tokens), undefined)
  for (const odd of ['Alice', '../alice', 'alice ', '', 7, ['alice'], undefined, 'a'.repeat(65)]) {
    t.equal(await nameOf(odd), undefined, JSON.stringify(odd))
  }
})

t.test('what was verified', async (t) => {
  await t.test('ends with its token, clock skew included', async (t) => {
    let now = Date.now()
    const aging = new Tokens([issuer.trusted({ clockSkew: 10 })], { clock: () => now })
    const token = await issuer.token({ claims: { exp: seconds() + 100 } })
    await aging.verify(token)
    now += 105_000
    t.notOk(aging.verify(token) instanceof Promise)
    now += 10_000
    t.equal((await refusal(token, aging)).code, 'EXPIRED')
    t.equal((await refusal(token, aging)).code, 'EXPIRED', 'also when it is no longer remembered')
  })
  await t.test('is remembered within bounds', async (t) => {
    const small = new Tokens([issuer.trusted()], { size: 3 })
    const shown = await Promise.all([1, 2, 3, 4, 5].map((n) => issuer.token({ claims: { sub: `s${n}` } })))
    for (const token of shown) await small.verify(token)
    t.equal(small.size, 3)
    t.ok(small.verify(shown[0] ?? '') instanceof Promise, 'the first is forgotten')
    t.notOk(small.verify(shown[4] ?? '') instanceof Promise)
  })
  await t.test('is forgotten on reload', async (t) => {
    const token = await issuer.token()
    await tokens.verify(token)
    await tokens.reload()
    t.equal(tokens.size, 0)
    t.equal((await tokens.verify(token)).subject, 'alice-sub')
  })
  await t.test('is not mixed up: another token is another person', async (t) => {
    const [one, other] = [await issuer.token(), await issuer.token({ claims: { sub: 'bob-sub' } })]
    t.equal((await tokens.verify(one)).subject, 'alice-sub')
    t.equal((await tokens.verify(other)).subject, 'bob-sub')
    t.equal((await tokens.verify(one)).subject, 'alice-sub')
  })
})

t.test('the token of one issuer signed by another is refused', async (t) => {
  const other = await Issuer.start(await signingKey('second', 'RS256'))
  t.teardown(() => other.stop())
  const both = new Tokens([issuer.trusted(), other.trusted()])
  t.equal((await both.verify(await other.token())).identity.value, `${other.url} alice-sub`)
  const crossed = await other.token({ claims: { iss: issuer.url } })
  t.equal((await refusal(crossed, both)).code, 'UNKNOWN_KEY')
})

t.test('a token is forwarded to the hosts listed for its issuer, and to no other', async (t) => {
  const open = new Tokens([issuer.trusted({ forwardTo: ['gms.example.org', 'localhost:8443'] })])
  const proof = await open.verify(await issuer.token())
  t.ok(open.mayForward(proof, 'GMS.example.org'))
  t.ok(open.mayForward(proof, 'localhost:8443'))
  for (const host of ['gms.example.org.evil.org', 'evil.org', 'localhost', 'localhost:8444', '']) {
    t.notOk(open.mayForward(proof, host), host)
  }
  t.notOk(tokens.mayForward(proof, 'gms.example.org'), 'nothing is listed by default')
})
