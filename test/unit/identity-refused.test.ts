// RFC 3820 and RFC 5280 as verifyChain applies them: each rule with a chain that breaks it and nothing else. A table, so
// longer than a file should be.
import t from 'tap'
import { type CertificateFault, type CertificateCode } from '../../src/identity/certificate-fault.ts'
import { OID } from '../../src/identity/oid.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { writeExtension, writeInteger, writeName, writeSequence, writeTlv } from '../../src/identity/der-writer.ts'
import { readDer } from '../../src/identity/der.ts'
import {
  authority,
  below,
  BITS,
  certify,
  daysFromNow,
  type Dn,
  ecKeys,
  extension,
  proxy,
  resign,
} from '../fixtures/forge.ts'
import { alice, ALICE, ca, CA_NAME, type Case, chainOf, keys, root, user, verify } from '../fixtures/lab.ts'

const refused: (Case & { readonly code: CertificateCode })[] = [
  { it: 'no certificate', chain: () => [], code: 'NO_CERTIFICATE' },
  { it: 'more certificates than twelve', chain: () => Array<Buffer>(13).fill(alice.der), code: 'CHAIN_TOO_LONG' },
  {
    it: 'a proxy without its issuer',
    chain: () => chainOf(proxy(alice)),
    code: 'CHAIN_INCOMPLETE',
  },
  {
    it: "a user of an authority that has the trusted one's name and another key",
    chain: () => {
      const fake = authority(CA_NAME, keys.mallory)
      return chainOf(certify({ by: fake, keys: keys.mallory, subject: ALICE }), fake)
    },
    code: 'BAD_SIGNATURE',
  },
  {
    it: 'a user of an authority nobody trusts',
    chain: () => {
      const fake = authority([['CN', 'Mallory CA']], keys.mallory)
      return chainOf(certify({ by: fake, keys: keys.mallory, subject: ALICE }), fake)
    },
    code: 'UNTRUSTED',
  },
  {
    it: 'a certificate that signed itself',
    chain: () => chainOf(certify({ keys: keys.mallory, subject: ALICE })),
    code: 'UNTRUSTED',
  },
  {
    it: 'a proxy that Mallory signed in the name of Alice',
    chain: () => chainOf(proxy(alice, { signer: keys.mallory.privateKey, keys: keys.mallory }), alice),
    code: 'BAD_SIGNATURE',
  },
  {
    it: 'a proxy issued by an authority',
    chain: () => chainOf(proxy(ca, { keys: keys.alice }), ca),
    code: 'ISSUER_IS_CA',
  },
  {
    it: 'a plain certificate issued by a user',
    chain: () => chainOf(certify({ by: alice, keys: keys.proxy, subject: [['CN', 'Bob']] }), alice),
    code: 'UNTRUSTED',
  },
  {
    it: 'a plain certificate issued by a proxy',
    chain: () => {
      const first = proxy(alice)
      return chainOf(certify({ by: first, keys: keys.proxy, subject: below(first.name, ['CN', '1']) }), first, alice)
    },
    code: 'UNTRUSTED',
  },
  {
    it: 'a proxy that took another name',
    chain: () =>
      chainOf(
        proxy(alice, {
          subject: [
            ['CN', 'Bob'],
            ['CN', '1'],
          ],
        }),
        alice,
      ),
    code: 'PROXY_NAME',
  },
  {
    it: 'a proxy with two names added',
    chain: () => chainOf(proxy(alice, { subject: below(alice.name, ['CN', '1'], ['CN', '2']) }), alice),
    code: 'PROXY_NAME',
  },
  {
    it: 'a proxy with no name added',
    chain: () => chainOf(proxy(alice, { subject: alice.name }), alice),
    code: 'PROXY_NAME',
  },
  {
    it: 'a proxy with an organisation added instead of a common name',
    chain: () => chainOf(proxy(alice, { subject: below(alice.name, ['O', '1']) }), alice),
    code: 'PROXY_NAME',
  },
  {
    it: 'a proxy with an empty common name added',
    chain: () => chainOf(proxy(alice, { subject: below(alice.name, ['CN', '']) }), alice),
    code: 'PROXY_NAME',
  },
  {
    it: 'a proxy whose added name has two attributes',
    chain: () => {
      const [one, two] = [writeName([['CN', '1']]), writeName([['OU', 'x']])].map((name) =>
        readDer(readDer(name).value),
      )
      const both = writeTlv(0x31, one?.value ?? Buffer.alloc(0), two?.value ?? Buffer.alloc(0))
      return chainOf(proxy(alice, { subject: writeSequence(readDer(alice.name).value, both) }), alice)
    },
    code: 'PROXY_NAME',
  },
  {
    it: "a proxy that put its issuer's names in another order",
    chain: () => {
      const turned = writeName([...ALICE].reverse())
      return chainOf(proxy(alice, { subject: below(turned, ['CN', '1']) }), alice)
    },
    code: 'PROXY_NAME',
  },
  {
    it: 'an expired proxy',
    chain: () => chainOf(proxy(alice, { notAfter: daysFromNow(-0.001) }), alice),
    code: 'EXPIRED',
  },
  {
    it: 'a proxy of an expired user',
    chain: () => {
      const old = user({ notAfter: daysFromNow(-1) })
      return chainOf(proxy(old), old)
    },
    code: 'EXPIRED',
  },
  {
    it: 'a proxy that is not valid yet',
    chain: () => chainOf(proxy(alice, { notBefore: daysFromNow(0.5) }), alice),
    code: 'NOT_YET_VALID',
  },
  {
    it: 'a user who is not valid yet',
    chain: () => chainOf(user({ notBefore: daysFromNow(0.5) })),
    code: 'NOT_YET_VALID',
  },
  {
    it: 'more proxies below one than its path length',
    chain: () => {
      const first = proxy(alice, { pathLength: 0 })
      return chainOf(proxy(first), first, alice)
    },
    code: 'PROXY_PATH_LENGTH',
  },
  {
    it: 'a long way round a path length',
    chain: () => {
      const first = proxy(alice, { pathLength: 1 })
      const second = proxy(first, { pathLength: 5 })
      return chainOf(proxy(second), second, first, alice)
    },
    code: 'PROXY_PATH_LENGTH',
  },
  {
    it: 'a full proxy below a limited one',
    chain: () => {
      const first = proxy(alice, { language: OID.limited })
      return chainOf(proxy(first), first, alice)
    },
    code: 'PROXY_ESCALATION',
  },
  {
    it: 'a full proxy two below a limited one',
    chain: () => {
      const first = proxy(alice, { language: OID.limited })
      const second = proxy(first)
      return chainOf(proxy(second, { language: OID.limited }), second, first, alice)
    },
    code: 'PROXY_ESCALATION',
  },
  {
    it: 'an independent proxy, unless it is asked for',
    chain: () => chainOf(proxy(alice, { language: OID.independent }), alice),
    code: 'PROXY_INDEPENDENT',
  },
  {
    it: 'a policy language that it does not know',
    chain: () => chainOf(proxy(alice, { language: '1.3.6.1.5.5.7.21.0' }), alice),
    code: 'PROXY_LANGUAGE',
  },
  {
    it: 'a policy beside inheritAll',
    chain: () =>
      chainOf(proxy(alice, { extensions: [extension.proxyInfo(OID.inheritAll, undefined, Buffer.from('x'))] }), alice),
    code: 'PROXY_INFO',
  },
  {
    it: 'proxyCertInfo that is not critical',
    chain: () =>
      chainOf(proxy(alice, { extensions: [extension.proxyInfo(OID.inheritAll, undefined, undefined, false)] }), alice),
    code: 'PROXY_INFO',
  },
  {
    it: 'a proxy with a subject alternative name',
    chain: () =>
      chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.altName(OID.subjectAltName)] }), alice),
    code: 'PROXY_ALT_NAME',
  },
  {
    it: 'a proxy with an issuer alternative name',
    chain: () =>
      chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.altName(OID.issuerAltName)] }), alice),
    code: 'PROXY_ALT_NAME',
  },
  {
    it: 'a proxy that claims to be an authority',
    chain: () => chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.ca()] }), alice),
    code: 'PROXY_IS_CA',
  },
  {
    it: 'a proxy that may sign certificates',
    chain: () => chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.keyUsage(0x84)] }), alice),
    code: 'KEY_USAGE',
  },
  {
    it: 'a proxy whose key usage lacks digitalSignature',
    chain: () =>
      chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.keyUsage(BITS.keyEncipherment)] }), alice),
    code: 'KEY_USAGE',
  },
  {
    it: 'a proxy of a user whose key usage lacks digitalSignature',
    chain: () => {
      const mute = user({ extensions: [extension.keyUsage(BITS.keyEncipherment)] })
      return chainOf(proxy(mute), mute)
    },
    code: 'KEY_USAGE',
  },
  {
    it: 'a user whose key usage lacks digitalSignature',
    chain: () => chainOf(user({ extensions: [extension.keyUsage(BITS.keyEncipherment)] })),
    code: 'KEY_USAGE',
  },
  {
    it: 'a certificate that is for servers only',
    chain: () => chainOf(user({ extensions: [extension.extendedKeyUsage(OID.serverAuth)] })),
    code: 'EXTENDED_KEY_USAGE',
  },
  {
    it: 'a proxy of before any standard (GT2)',
    chain: () => chainOf(certify({ by: alice, keys: keys.proxy, subject: below(alice.name, ['CN', 'proxy']) }), alice),
    code: 'LEGACY_PROXY',
  },
  {
    it: 'a limited proxy of before any standard',
    chain: () =>
      chainOf(certify({ by: alice, keys: keys.proxy, subject: below(alice.name, ['CN', 'limited proxy']) }), alice),
    code: 'LEGACY_PROXY',
  },
  {
    it: 'a proxy of the draft (GSI-3)',
    chain: () => chainOf(proxy(alice, { extensions: [extension.any(OID.draftProxyInfo, true)] }), alice),
    code: 'LEGACY_PROXY',
  },
  {
    it: 'an RFC 3820 proxy below an old one',
    chain: () => {
      const old = certify({ by: alice, keys: keys.proxy, subject: below(alice.name, ['CN', 'proxy']) })
      return chainOf(proxy(old), old, alice)
    },
    code: 'LEGACY_PROXY',
  },
  {
    it: 'an authority in the place of a user',
    chain: () => chainOf(authority(ALICE, keys.alice, { by: ca })),
    code: 'SUBJECT_IS_CA',
  },
  { it: 'the trusted authority itself', chain: () => chainOf(ca), code: 'SUBJECT_IS_CA' },
  {
    it: 'a user without a name',
    chain: () => chainOf(user({ subject: [] })),
    code: 'SUBJECT_EMPTY',
  },
  {
    it: 'a short RSA key',
    chain: () => chainOf(user({ keys: keys.weak })),
    code: 'WEAK_KEY',
  },
  {
    it: 'a short RSA key of a proxy',
    chain: () => chainOf(proxy(alice, { keys: keys.weak }), alice),
    code: 'WEAK_KEY',
  },
  {
    it: 'a curve that is not known',
    chain: () => chainOf(proxy(alice, { keys: ecKeys('secp256k1') }), alice),
    code: 'WEAK_KEY',
  },
  {
    it: 'a signature over SHA-1',
    chain: () => {
      const algorithm = { oid: '1.2.840.113549.1.1.5', hash: 'sha1' }
      const signer = user({ keys: keys.rsa })
      return chainOf(resign(proxy(signer).der, keys.rsa.privateKey, undefined, algorithm), signer)
    },
    code: 'WEAK_SIGNATURE',
  },
  {
    it: 'a critical extension that it does not know',
    chain: () => chainOf(user({ extensions: [extension.any('1.2.3.4', true)] })),
    code: 'CRITICAL_EXTENSION',
  },
  {
    it: 'a critical extension of a proxy that it does not know',
    chain: () => chainOf(proxy(alice, { extensions: [extension.proxyInfo(), extension.any('1.2.3.4', true)] }), alice),
    code: 'CRITICAL_EXTENSION',
  },
  {
    it: 'the same extension twice',
    chain: () => chainOf(user({ extensions: [extension.notCa, extension.notCa] })),
    code: 'MALFORMED',
  },
  {
    it: 'a certificate of version 1',
    chain: () => chainOf(resign(user({}).der, keys.ca.privateKey, (fields) => fields.slice(1))),
    code: 'VERSION',
  },
  {
    it: 'extensions in a certificate of version 2',
    chain: () =>
      chainOf(resign(alice.der, keys.ca.privateKey, (fields) => [writeTlv(0xa0, writeInteger(1)), ...fields.slice(1)])),
    code: 'MALFORMED',
  },
  {
    it: 'proxies deeper than allowed',
    chain: () => {
      const holders = [alice]
      for (let i = 0; i < 4; i++) holders.unshift(proxy(holders[0] ?? alice))
      return chainOf(...holders)
    },
    options: { maxProxyDepth: 3 },
    code: 'PROXY_DEPTH',
  },
  {
    it: 'a user of an intermediate that is no authority',
    chain: () => {
      const middle = certify({ by: root, keys: keys.proxy, subject: [['CN', 'Middle']] })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
    code: 'UNTRUSTED',
  },
  {
    it: 'an intermediate that may not sign certificates',
    chain: () => {
      const extensions = [extension.ca(), extension.keyUsage(0x80)]
      const middle = authority([['CN', 'Middle']], keys.proxy, { by: root, extensions })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
    code: 'KEY_USAGE',
  },
  {
    it: 'a proxy that is also an authority, as an intermediate',
    chain: () => {
      const middle = authority([['CN', 'Middle']], keys.proxy, {
        by: root,
        extensions: [extension.ca(), extension.proxyInfo()],
      })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
    code: 'CA_CONSTRAINTS',
  },
  {
    it: 'a proxy of a proxy whose key usage lacks digitalSignature',
    chain: () => {
      const extensions = [extension.proxyInfo(), extension.keyUsage(BITS.keyEncipherment)]
      const mute = proxy(alice, { extensions })
      return chainOf(proxy(mute), mute, alice)
    },
    code: 'KEY_USAGE',
  },
  {
    it: 'an intermediate with name constraints, which are not supported',
    chain: () => {
      const extensions = [extension.ca(), extension.any(OID.nameConstraints, true)]
      const middle = authority([['CN', 'Middle']], keys.proxy, { by: root, extensions })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
    code: 'NAME_CONSTRAINTS',
  },
  {
    it: 'more intermediates than the root allows',
    chain: () => {
      const one = authority([['CN', 'One']], keys.proxy, { by: root })
      const two = authority([['CN', 'Two']], keys.proxy, { by: one })
      return chainOf(certify({ by: two, keys: keys.alice, subject: ALICE }), one, two)
    },
    code: 'CA_PATH_LENGTH',
  },
  {
    it: 'an intermediate that has expired',
    chain: () => {
      const middle = authority([['CN', 'Middle']], keys.proxy, { by: root, notAfter: daysFromNow(-1) })
      return chainOf(certify({ by: middle, keys: keys.alice, subject: ALICE }), middle)
    },
    code: 'EXPIRED',
  },
  {
    it: 'authorities that sign each other in a circle',
    chain: () => {
      const names: [Dn, Dn] = [[['CN', 'Ping']], [['CN', 'Pong']]]
      const ping = { ...authority(names[0], keys.proxy) }
      const pong = authority(names[1], keys.mallory, { by: ping })
      const again = authority(names[0], keys.proxy, { by: pong })
      return chainOf(certify({ by: ping, keys: keys.alice, subject: ALICE }), again, pong)
    },
    code: 'UNTRUSTED',
  },
  {
    it: 'a path length of a proxy that is negative',
    chain: () => {
      const value = writeSequence(
        writeTlv(2, Buffer.from([0xff])),
        writeSequence(Buffer.from('06082b06010505071501', 'hex')),
      )
      return chainOf(proxy(alice, { extensions: [writeExtension(OID.proxyInfo, true, value)] }), alice)
    },
    code: 'MALFORMED',
  },
  {
    it: 'a name that is not UTF-8',
    chain: () => {
      const value = writeSequence(Buffer.from('0603550403', 'hex'), writeTlv(0x0c, Buffer.from([0x61, 0xff])))
      return chainOf(user({ subject: writeSequence(writeTlv(0x31, value)) }))
    },
    code: 'MALFORMED',
  },
]

for (const { it, chain, options, code } of refused) {
  t.test(`it refuses ${it}`, async (t) => {
    const built = chain()
    try {
      t.fail(`accepted as ${verify(built, options).dn}`)
    } catch (error) {
      t.ok(isFault(error, 'NotAuthenticated'), 'is 401')
      t.equal((error as CertificateFault).code, code, (error as Error).message)
    }
  })
}
