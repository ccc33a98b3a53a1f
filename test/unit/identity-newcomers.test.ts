/** Who is taken in by themselves, and under which name: certificates and tokens say what their issuers let them say. */
import t from 'tap'
import { Accounts, type Homes } from '../../src/identity/accounts.ts'
import { canonicalDn } from '../../src/identity/dn.ts'
import { admits, matchesName, Newcomers, wantedName } from '../../src/identity/newcomers.ts'
import { type Proof, type TokenProof } from '../../src/identity/proof.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { storeFile } from './store-process.ts'

const certificate = (dn: string): Proof =>
  ({
    method: 'certificate',
    identity: { kind: 'x509', value: canonicalDn(dn) },
    expires: Infinity,
    limited: false,
  }) as Proof

const token = (username?: string, subject = '17'): TokenProof => ({
  method: 'token',
  identity: { kind: 'oidc', value: `https://op ${subject}` },
  issuer: 'https://op',
  subject,
  expires: Infinity,
  limited: false,
  token: '',
  ...(username !== undefined && { username }),
})

t.test('a name is made of what the certificate or the token says', async (t) => {
  const names = {
    'CN=Alice Müller,OU=Lab,C=DE': 'alice-muller',
    'CN=alice_a3f,OU=cadc,O=hia,C=CA': 'alice_a3f',
    'DC=org,DC=grid,CN=Jean-Luc O\\,Neil,CN=12345': 'jean-luc-o-neil',
    'CN=../../etc/passwd,O=x': 'etc-passwd',
    'CN=-rf \\;rm,O=x': 'rf-rm',
    'CN=.karst,O=x': 'karst_',
    'CN=bob\\+OU=x,O=x': 'bob-ou-x',
    [`CN=${'x'.repeat(300)},O=x`]: 'x'.repeat(32),
  }
  for (const [dn, name] of Object.entries(names)) {
    if (name === 'karst_') t.equal(wantedName(certificate(dn)), undefined, 'karst is reserved')
    else t.equal(wantedName(certificate(dn)), name, dn)
  }
  t.equal(wantedName(token('Carol.Smith')), 'carol.smith')
  t.match(wantedName(token()), /^user-[0-9a-f]{8}$/, 'an issuer that names nobody')
  t.match(wantedName(certificate('CN=王小明,O=x')), /^user-[0-9a-f]{8}$/)
  t.match(wantedName(certificate('CN=12345,O=x')), /^user-[0-9a-f]{8}$/)
  t.not(wantedName(token(undefined, '1')), wantedName(token(undefined, '2')))
})

t.test('nobody becomes the system', async (t) => {
  for (const name of [
    'root',
    'ROOT',
    ' root ',
    'ｒｏｏｔ',
    'rôot',
    'root-',
    '0root',
    'admin',
    'nobody',
    'www-data',
    'me',
    'karst',
  ])
    t.equal(wantedName(token(name)), undefined, name)
})

t.test('a pattern is of the parts of a name', async (t) => {
  const alice = canonicalDn('CN=alice,OU=lab,O=org,C=CA')
  for (const pattern of [
    alice,
    '*,o=org,c=ca',
    '*,O=org,C=CA',
    'cn=*,ou=lab,o=org,c=ca',
    'cn=al*,ou=*,o=org,c=ca',
    '*',
  ])
    t.ok(matchesName(pattern, alice), pattern)
  for (const pattern of [
    'o=org,c=ca',
    'cn=*,o=org,c=ca',
    '*,o=other,c=ca',
    '*,cn=alice,ou=lab,o=org,c=ca',
    'cn=*',
    'cn=ali',
    '',
    ',',
  ])
    t.notOk(matchesName(pattern, alice), pattern)
  const tricks = ['CN=x\\,o=org\\,c=ca,O=evil', 'CN=x\\,O=org,C=ca', 'CN="x,o=org,c=ca"', 'O=org+CN=x\\,o\\=org,C=CA']
  for (const dn of tricks) t.notOk(matchesName('*,ou=lab,o=org,c=ca', canonicalDn(dn)), dn)
  t.notOk(matchesName('cn=*,o=org,c=ca', canonicalDn('CN=x+OU=y,O=org,C=CA')), 'a star is one attribute')
  t.ok(matchesName('cn=*,o=org,c=ca', canonicalDn('CN=x\\+y,O=org,C=CA')), 'an escaped plus is text')
  t.notOk(matchesName('*,o=a.c', canonicalDn('CN=x,O=abc')), 'a full stop is one')
  const stars: [pattern: string, cn: string, isOne: boolean][] = [
    ['cn=a*b*c', 'abc', true],
    ['cn=a*b*c', 'axxbyyc', true],
    ['cn=a*b*c', 'acb', false],
    ['cn=a*a', 'a', false],
    ['cn=ab*ba', 'aba', false],
    ['cn=*?', 'x', false],
    ['cn=**', '', true],
    ['cn=* smith', 'alice smith', true],
    ['cn=x*+uid=*', 'x\\+uid\\=y', false],
  ]
  for (const [pattern, cn, isOne] of stars) t.equal(matchesName(pattern, `cn=${cn}`), isOne, `${pattern} ${cn}`)
  t.ok(matchesName('cn=x*+uid=*', 'cn=xy+uid=z'))
  t.notOk(matchesName('cn=*x*x*x*y', `cn=${'x'.repeat(60_000)}`), 'at once, however long it is')
})

t.test('the policy says who is taken in', async (t) => {
  const proofs = { x509: certificate('CN=dave,O=lab'), token: token() }
  t.notOk(admits({ methods: [] }, proofs.x509))
  t.notOk(admits({ methods: ['x509'] }, proofs.token))
  t.ok(admits({ methods: ['x509'] }, proofs.x509))
  t.notOk(admits({ methods: ['x509'], names: ['*,o=other'] }, proofs.x509))
  t.ok(admits({ methods: ['token'], issuers: ['https://op'] }, proofs.token))
  t.notOk(admits({ methods: ['token'], issuers: ['https://other'] }, proofs.token))
})

function door(store: Store, homes: Homes) {
  const home = { parent: nodePath('/home') }
  const accounts = new Accounts({ users: store.users, groups: store.groups, homes, home })
  const provisioning = { methods: ['x509', 'token'] as const }
  return { accounts, newcomers: new Newcomers({ users: store.users, accounts, provisioning }) }
}

/** One place for both gateways, and slow. */
function slowHomes(): Homes & { readonly made: Map<string, string> } {
  const made = new Map<string, string>()
  const state: Homes['state'] = async (path, user) => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
    const owner = made.get(path)
    return owner === undefined ? 'absent' : owner === user ? 'theirs' : 'taken'
  }
  const make: Homes['make'] = async (path, user) => {
    if (!made.has(path)) made.set(path, user)
    return state(path, user)
  }
  return { made, state, make, checkQuota: () => undefined, usage: async () => undefined }
}

t.test('two gateways on one store take everybody in once', async (t) => {
  const file = storeFile(t)
  const stores = [openStore(file), openStore(file)]
  t.teardown(() => stores.forEach(({ close }) => close()))
  const homes = slowHomes()
  const doors = stores.map((store) => door(store, homes))
  const people = Array.from({ length: 8 }, (_, i) => token('dave', `subject ${i % 4}`))
  const admitted = await Promise.all(
    people.flatMap((proof) => doors.map(async ({ newcomers }) => newcomers.admit(proof))),
  )
  const names = new Set(admitted.map((user) => user?.name))
  t.same([...names].sort(), ['dave', 'dave-2', 'dave-3', 'dave-4'], 'four people, each of another name')
  t.equal(stores[0]?.users.list().length, 4)
  t.same(new Set([...homes.made].map(([path, user]) => path === `/home/${user}`)), new Set([true]))
  for (const [i, proof] of people.entries())
    t.equal(doors[0]?.accounts.byIdentity(proof.identity)?.name, admitted[2 * i]?.name)
})

t.test('a suspended newcomer stays out', async (t) => {
  const store = openStore(':memory:')
  t.teardown(store.close)
  const { accounts, newcomers } = door(store, { ...slowHomes(), make: async () => Promise.reject(new Error('full')) })
  await t.rejects(Promise.resolve(newcomers.admit(token('dave'))))
  store.users.suspend('dave')
  t.match(accounts.byIdentity(token().identity), { name: 'dave', suspended: true })
})
