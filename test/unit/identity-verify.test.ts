// What verifyChain accepts, and as whom.
import t from 'tap'
import { OID } from '../../src/identity/oid.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { writeName, writeSequence, writeTlv } from '../../src/identity/der-writer.ts'
import { readDer } from '../../src/identity/der.ts'
import {
  authority,
  below,
  BITS,
  certify,
  daysFromNow,
  type Dn,
  extension,
  type Holder,
  NOW,
  proxy,
  resign,
} from '../fixtures/forge.ts'
import { alice, ALICE, ca, CA_NAME, type Case, chainOf, keys, root, user, verify } from '../fixtures/lab.ts'

const accepted: (Case & { readonly dn?: string; readonly depth?: number; readonly limited?: boolean })[] = [
  { it: 'a plain end-entity certificate', chain: () => chainOf(alice), depth: 0 },
  { it: 'one proxy', chain: () => chainOf(proxy(alice, { keys: keys.proxy }), alice), depth: 1 },
  {
    it: 'a proxy of a proxy',
    chain: () => {
      const first = proxy(alice, { keys: keys.proxy })
      return chainOf(proxy(first), first, alice)
    },
    depth: 2,
  },
  {
    it: 'a chain that is shuffled and has strangers in it',
    chain: () => {
      const first = proxy(alice, { keys: keys.proxy })
      const stranger = authority([['CN', 'Stranger']], keys.weak)
      return chainOf(proxy(first), ca, stranger, alice, alice, first)
    },
    depth: 2,
  },
  { it: 'twelve certificates', chain: () => chainOf(...Array<Holder>(12).fill(alice)), depth: 0 },
  {
    it: 'a limited proxy, and says so',
    chain: () => chainOf(proxy(alice, { language: OID.limited }), alice),
    depth: 1,
    limited: true,
  },
  {
    it: 'a limited proxy below a full one',
    chain: () => {
      const first = proxy(alice)
      return chainOf(proxy(first, { language: OID.limited }), first, alice)
    },
    depth: 2,
    limited: true,
  },
  {
    it: 'a proxy at the end of its path length',
    chain: () => {
      const first = proxy(alice, { pathLength: 1 })
      return chainOf(proxy(first, { pathLength: 0 }), first, alice)
    },
    depth: 2,
  },
  {
    it: 'an RSA proxy with an EC user, and the other way round',
    chain: () => {
      const first = proxy(alice, { keys: keys.rsa })
      return chainOf(proxy(first, { keys: keys.proxy }), first, alice)
    },
    depth: 2,
  },
  {
    it: 'a certificate with the common name first and neither key usage nor extended key usage, as CADC issues them',
    chain: () => chainOf(user({ subject: [...ALICE].reverse(), extensions: [extension.notCa] })),
    depth: 0,
  },
  {
    it: 'a proxy whose key usage has dataEncipherment, as CADC has it',
    chain: () =>
      chainOf(
        proxy(alice, {
          extensions: [extension.keyUsage(BITS.digitalSignature | BITS.dataEncipherment), extension.proxyInfo()],
        }),
        alice,
      ),
    depth: 1,
  },
  {
    it: 'a proxy whose issuer name differs from its issuer in case, blanks and string type only',
    chain: () => {
      const spelt = writeName([...ALICE.slice(0, 2), ['OU', 'people'], ['CN', 'ALICE ']])
      const leaf = certify({
        by: { ...alice, name: spelt },
        keys: keys.proxy,
        subject: below(spelt, ['CN', '7']),
        extensions: [extension.proxyInfo()],
      })
      return chainOf(leaf, alice)
    },
    depth: 1,
  },
  {
    it: 'a user who is named "proxy" by an authority that is not one name above',
    chain: () => chainOf(user({ subject: [...ALICE, ['CN', 'proxy']] })),
    dn: 'cn=proxy,cn=alice,ou=people,o=lab,c=ca',
  },
  {
    it: 'an intermediate authority that the client sends, below a trusted root',
    chain: () => {
      const middle = authority([['CN', 'Middle']], keys.proxy, { by: root })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
  },
  {
    it: 'an extended key usage of clientAuth or any',
    chain: () => chainOf(user({ extensions: [extension.extendedKeyUsage(OID.serverAuth, OID.anyExtendedKeyUsage)] })),
  },
  {
    it: 'an unknown extension that is not critical',
    chain: () => chainOf(user({ extensions: [extension.any('1.2.3.4', false)] })),
  },
  {
    it: 'an extension that says critical FALSE in so many octets',
    chain: () => {
      const value = writeTlv(0x04, writeSequence(writeTlv(0x01, Buffer.from([0]))))
      const odd = writeSequence(readDer(extension.notCa).value.subarray(0, 5), writeTlv(0x01, Buffer.from([0])), value)
      return chainOf(user({ extensions: [odd] }))
    },
  },
]

for (const { it, chain, options, dn = 'cn=alice,ou=people,o=lab,c=ca', depth, limited = false } of accepted) {
  t.test(`it accepts ${it}`, async (t) => {
    const verified = verify(chain(), options)
    t.equal(verified.dn, dn)
    if (depth !== undefined) t.equal(verified.depth, depth)
    t.equal(verified.limited, limited)
    t.equal(verified.independent, false)
  })
}

t.test('it gives the names, the issuer, the fingerprint and the earliest end of the path', async (t) => {
  const leaf = proxy(alice, { notAfter: daysFromNow(2) })
  const verified = verify(chainOf(leaf, alice))
  t.equal(verified.rfc2253, 'CN=Alice,OU=People,O=Lab,C=CA')
  t.equal(verified.slash, '/C=CA/O=Lab/OU=People/CN=Alice')
  t.equal(verified.issuer, '/C=CA/O=Lab/CN=Lab CA')
  t.match(verified.fingerprint, /^[0-9a-f]{64}$/)
  t.same(verified.expires, daysFromNow(2))
  const short = TrustStore.of([authority(CA_NAME, keys.ca, { notAfter: daysFromNow(1) }).der])
  t.same(verifyChain(chainOf(leaf, alice), short, { now: NOW }).expires, daysFromNow(1), 'the anchor counts too')
})

t.test('it refuses everybody of an authority that has expired, and takes its renewed certificate', async (t) => {
  const old = authority(CA_NAME, keys.ca, { notAfter: daysFromNow(-1) })
  const expired = (): unknown => verifyChain([alice.der], TrustStore.of([old.der]), { now: NOW })
  t.throws(expired, { code: 'EXPIRED' })
  const both = TrustStore.of([old.der, authority(CA_NAME, keys.ca).der])
  t.equal(verifyChain([alice.der], both, { now: NOW }).dn, 'cn=alice,ou=people,o=lab,c=ca')
})

t.test('it takes an authority of version 1 from the store, and from no client', async (t) => {
  const v1 = resign(authority([['CN', 'Old']], keys.ca, { extensions: [] }).der, keys.ca.privateKey, (f) => f.slice(1))
  const old: Holder = { der: v1, name: writeName([['CN', 'Old']]), keys: keys.ca }
  const leaf = certify({ by: old, keys: keys.alice, subject: ALICE })
  t.equal(verifyChain([leaf.der], TrustStore.of([v1]), { now: NOW }).depth, 0)
  t.throws(() => verify(chainOf(leaf, old)), { code: 'UNTRUSTED' })
})

t.test('it does not take a user for an authority because the store holds the certificate', async (t) => {
  const store = TrustStore.of([ca.der, alice.der])
  const forged = certify({ by: alice, keys: keys.proxy, subject: [['CN', 'Bob']] })
  t.throws(() => verifyChain(chainOf(forged, alice), store, { now: NOW }), { code: 'CA_CONSTRAINTS' })
})

t.test('it gives an independent proxy a name of its own, never that of the user', async (t) => {
  const first = proxy(alice, { language: OID.independent, subject: below(alice.name, ['CN', 'robot']) })
  const options = { allowIndependent: true }
  const alone = verify(chainOf(first, alice), options)
  t.equal(alone.dn, 'cn=robot,cn=alice,ou=people,o=lab,c=ca')
  t.equal(alone.independent, true)
  const inherited = verify(chainOf(proxy(first), first, alice), options)
  t.equal(inherited.dn, alone.dn, 'a proxy of it acts as it')
})

t.test('it keeps all the common names of a person who has several', async (t) => {
  const subject: Dn = [
    ['DC', 'ch'],
    ['DC', 'cern'],
    ['OU', 'Users'],
    ['CN', 'alice'],
    ['CN', '123456'],
    ['CN', 'Alice Example'],
  ]
  const person = user({ subject })
  const verified = verify(chainOf(proxy(person), person))
  t.equal(verified.dn, 'cn=alice example,cn=123456,cn=alice,ou=users,dc=cern,dc=ch')
  t.equal(verified.depth, 1)
})

t.test('it lets a clock be five minutes ahead, and no end be later than it says', async (t) => {
  const leaf = proxy(alice, { notBefore: NOW, notAfter: daysFromNow(1) })
  const at = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000)
  t.equal(verify(chainOf(leaf, alice), { now: at(-299) }).depth, 1)
  t.throws(() => verify(chainOf(leaf, alice), { now: at(-301) }), { code: 'NOT_YET_VALID' })
  t.equal(verify(chainOf(leaf, alice), { now: at(86_400) }).depth, 1)
  t.throws(() => verify(chainOf(leaf, alice), { now: at(86_401) }), { code: 'EXPIRED' })
})

t.test('it says in its reason who expired and when, without control characters', async (t) => {
  const odd = user({ subject: [['CN', 'alice\r\nX-Evil: 1']], notAfter: daysFromNow(-1) })
  const reason = 'NotAuthenticated: certificate of /CN=alice\\x0d\\x0aX-Evil: 1 expired at 2026-06-14T12:00:00.000Z'
  t.throws(() => verify(chainOf(odd)), { message: reason })
})
