/** Issuers of tokens as a configuration names them. */
import t from 'tap'
import { type TokenConfig } from '../../src/config-tokens.ts'
import { readConfig, type ConfigDocument } from '../../src/config.ts'

const base: ConfigDocument = {
  service: { resourceId: 'ivo://karst.local/karst', url: 'https://localhost:8443/karst' },
  tls: { certificate: 'host.pem', key: 'host.pem' },
  state: 'state',
  backends: { disk: { type: 'posix', root: 'tree' } },
  namespace: [{ path: '/', backend: 'disk' }],
}
const good = { issuer: 'https://iam.example.org/', audience: 'https://storage.example.org' }
const read = (...tokens: object[]): readonly TokenConfig[] => readConfig({ ...base, tokens }, '/etc/karst').tokens

t.test('defaults are filled in, and files are relative to the configuration', async (t) => {
  t.same(read(good), [
    { issuer: 'https://iam.example.org', audience: ['https://storage.example.org'], clockSkew: 60, forwardTo: [] },
  ])
  t.match(read({ ...good, jwks: 'keys.json', ca: '../ca.pem', forwardTo: ['GMS.example.org:8443'] })[0], {
    jwks: '/etc/karst/keys.json',
    ca: '/etc/ca.pem',
    forwardTo: ['gms.example.org:8443'],
  })
  t.equal(read({ ...good, jwks: 'https://iam.example.org/keys' })[0]?.jwks, 'https://iam.example.org/keys')
  t.same(readConfig(base, '/').tokens, [])
})

t.test('an issuer on this machine may do without TLS, for tests', async (t) => {
  for (const host of ['localhost', '127.0.0.1:8080', '[::1]:80']) {
    t.equal(read({ ...good, issuer: `http://${host}/realm` })[0]?.issuer, `http://${host}/realm`)
  }
})

const refused: Record<string, readonly [RegExp, object[]]> = {
  'without audience': [/audience/, [{ issuer: good.issuer }]],
  'with an empty list of audiences': [/audience/, [{ ...good, audience: [] }]],
  'without TLS': [/not https/, [{ ...good, issuer: 'http://iam.example.org' }]],
  'without TLS, on a host that is named like this machine': [
    /not https/,
    [{ ...good, issuer: 'http://localhost.example.org' }],
  ],
  'without TLS, on a host that begins like an address': [
    /not https/,
    [{ ...good, issuer: 'http://127.0.0.1.example.org' }],
  ],
  'with keys without TLS': [/not https/, [{ ...good, jwks: 'http://iam.example.org/keys' }]],
  'with keys behind a name and password': [/not https/, [{ ...good, jwks: 'http://localhost:x@iam.example.org/keys' }]],
  'with a password in its name': [/issuer/, [{ ...good, issuer: 'https://a:b@iam.example.org' }]],
  'with a query in its name': [/issuer/, [{ ...good, issuer: 'https://iam.example.org/?x=1' }]],
  'with a shared secret': [/algorithms/, [{ ...good, algorithms: ['HS256'] }]],
  'without signatures': [/algorithms/, [{ ...good, algorithms: ['none'] }]],
  'without any algorithm': [/algorithms/, [{ ...good, algorithms: [] }]],
  'with a clock of its own': [/clockSkew/, [{ ...good, clockSkew: 86_400 }]],
  twice: [/twice/, [good, { ...good, issuer: 'https://iam.example.org' }]],
  'that may be forwarded to a pattern': [/forwardTo/, [{ ...good, forwardTo: ['*'] }]],
  'with a word that is not known': [/NOT have additional/, [{ ...good, secret: 'x' }]],
}
for (const [what, [reason, tokens]] of Object.entries(refused)) {
  t.test(`an issuer ${what} is refused`, async (t) => {
    t.throws(() => read(...tokens), reason)
  })
}
