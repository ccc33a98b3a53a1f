// Hostile chains, each refused for its reason beside an honest one that is accepted; and certificates that were tampered with or
// are noise, where the only answer is the refusal, and it comes at once.
import t from 'tap'
import { Certificate } from '../../src/identity/certificate.ts'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import { readDer } from '../../src/identity/der.ts'
import { OID } from '../../src/identity/oid.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { type VerifiedChain, verifyChain } from '../../src/identity/verify.ts'
import { certify, extension, NOW, proxy, resign, seeded } from '../fixtures/forge.ts'
import { HOSTILE_AUTHORITIES } from '../fixtures/hostile-authorities.ts'
import { HOSTILE_PROXIES, type Scene } from '../fixtures/hostile-proxies.ts'
import { listExtension, revocationList } from '../fixtures/revocation.ts'
import { alice, ALICE, ca, chainOf, keys, trust, user, verify } from '../fixtures/lab.ts'

const MUTANTS = 1500
const WHO = 'cn=alice,ou=people,o=lab,c=ca'
const HOSTILE = [...HOSTILE_PROXIES, ...HOSTILE_AUTHORITIES]

const judge = ({ chain, trust: store = trust, options }: Scene): VerifiedChain =>
  verifyChain(chain, store, { now: NOW, ...options })

for (const { it, code, reason, hostile, honest } of HOSTILE) {
  t.test(`it refuses ${it}, and not its honest counterpart`, async (t) => {
    const { chain, trust: store = trust, options } = hostile()
    try {
      t.fail(`accepted as ${judge({ chain, trust: store, ...(options && { options }) }).dn}`)
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error
      t.equal(error.code, code, error.message)
      t.match(error.detail, reason)
      t.equal(error.status, 401)
    }
    t.equal(judge(honest()).dn, WHO)
  })
}

t.test('there are at least 40 hostile chains, each another', async (t) => {
  t.ok(new Set(HOSTILE.map(({ it }) => it)).size >= 40)
  t.equal(new Set(HOSTILE.map(({ it }) => it)).size, HOSTILE.length)
})

/** The DN a chain is accepted as, or undefined; anything but the refusal ends the test. */
function identityOf(chain: readonly Buffer[]): string | undefined {
  try {
    return verify(chain, { allowIndependent: true }).dn
  } catch (error) {
    if (error instanceof CertificateFault) return undefined
    throw error
  }
}

function mutant(der: Buffer, random: (limit: number) => number): Buffer {
  const changed = Buffer.from(der)
  const at = random(changed.length)
  changed[at] = ((changed[at] ?? 0) + 1 + random(255)) & 0xff
  return changed
}

// Bytes taken out, put in or repeated.
function shaken(der: Buffer, random: (limit: number) => number): Buffer {
  const at = random(der.length)
  const end = at + random(8)
  const put = [Buffer.alloc(0), der.subarray(at, end), Buffer.from([random(256)])][random(3)] ?? der
  return Buffer.concat([der.subarray(0, at), put, der.subarray(random(2) === 0 ? at : end)])
}

const rsaUser = user({ keys: keys.rsa })
const victims = [
  { it: 'an EC proxy', chain: chainOf(proxy(alice, { keys: keys.proxy }), alice) },
  { it: 'an RSA proxy', chain: chainOf(proxy(rsaUser, { keys: keys.rsa }), rsaUser) },
  {
    it: 'a limited proxy with a path length',
    chain: chainOf(proxy(alice, { language: OID.limited, pathLength: 3 }), alice),
  },
  { it: 'a plain user', chain: chainOf(alice) },
]

for (const { it, chain } of victims) {
  t.test(`it accepts no mutant of ${it} by one byte, in any certificate of the chain`, async (t) => {
    t.ok(identityOf(chain), 'the original is accepted')
    const random = seeded(3820)
    let accepted = 0
    for (let i = 0; i < MUTANTS; i++) {
      const which = i % chain.length
      const changed = chain.map((der, at) => (at === which ? mutant(der, random) : der))
      if (identityOf(changed) !== undefined) accepted++
    }
    t.equal(accepted, 0)
  })
}

t.test('it reads certificates that were changed and signed again without losing its temper', async (t) => {
  const random = seeded(8)
  const outcomes = new Set<string>()
  for (let i = 0; i < 2000; i++) {
    const changed = resign(alice.der, keys.ca.privateKey, (fields) => {
      const which = random(fields.length)
      return fields.map((field, at) => (at === which ? shaken(field, random) : field))
    })
    // Names may differ, since the authority has signed them; what is no certificate must be refused, and only so.
    outcomes.add(identityOf([changed]) === undefined ? 'refused' : 'accepted')
  }
  t.same([...outcomes].sort(), ['accepted', 'refused'])
})

t.test('it lets nobody in who is on a revocation list by changing the list', async (t) => {
  const list = revocationList({ by: ca, revoked: [1, alice, 3], extensions: [listExtension.number(3)] })
  const ask = (der: Buffer): string => {
    try {
      return verifyChain(chainOf(alice), TrustStore.of([ca.der], { lists: [der], crl: 'require' }), { now: NOW }).dn
    } catch (error) {
      if (!isFault(error)) throw error
      return error instanceof CertificateFault ? error.code : error.fault
    }
  }
  t.equal(ask(list), 'REVOKED')
  const random = seeded(5)
  const outcomes = new Set<string>()
  for (let i = 0; i < 1500; i++) outcomes.add(ask(i % 3 === 0 ? shaken(list, random) : mutant(list, random)))
  outcomes.delete('REVOKED') // a list that came out the same
  for (const outcome of outcomes) t.match(outcome, /^(InvalidData|CRL_MISSING|CRL_UNUSABLE)$/)
  for (const outcome of ['InvalidData', 'CRL_MISSING', 'CRL_UNUSABLE']) t.ok(outcomes.has(outcome), outcome)
})

t.test('it takes no list whose serial numbers are written otherwise than certificates have them', async (t) => {
  const list = (padded: boolean): Buffer => revocationList({ by: ca, revoked: [alice], padded })
  t.throws(() => TrustStore.of([ca.der], { lists: [list(true)] }), /entry/)
  const trusted = TrustStore.of([ca.der], { lists: [list(false)] })
  t.throws(() => verifyChain([alice.der], trusted, { now: NOW }), { code: 'REVOKED' }, 'as they are due they count')
})

t.test('it accepts no certificate that is cut short or has bytes behind it', async (t) => {
  for (let length = 0; length < alice.der.length; length++) {
    if (identityOf([alice.der.subarray(0, length)]) !== undefined) t.fail(`accepted with ${length} bytes`)
  }
  t.equal(identityOf([Buffer.concat([alice.der, Buffer.from([0])])]), undefined)
})

t.test('it answers noise, deep nesting and huge lengths with the refusal', async (t) => {
  const random = seeded(5280)
  for (let i = 0; i < 3000; i++) {
    const noise = Buffer.from(Array.from({ length: random(200) }, () => random(256)))
    if (i % 2 === 0 && noise.length > 2) noise.set([0x30, Math.min(noise.length - 2, 127)])
    if (identityOf([noise]) !== undefined) t.fail('noise is somebody')
  }
  const nested = Array<Buffer>(20_000).fill(Buffer.from([0x30, 0x80]))
  t.equal(identityOf([Buffer.concat(nested)]), undefined)
  t.equal(identityOf([Buffer.from('3084ffffffff', 'hex')]), undefined)
  t.equal(identityOf([Buffer.from('30 89 ffffffffffffffffff'.replaceAll(' ', ''), 'hex')]), undefined)
})

// Signed by the authority, so that the mutation reaches the reading of extensions and names.
t.test('it answers signed noise in extensions and names with the refusal or the same user', async (t) => {
  const random = seeded(690)
  for (let i = 0; i < 400; i++) {
    const clean = [extension.notCa, extension.keyUsage(0x80), extension.extendedKeyUsage(OID.clientAuth)]
    const extensions = [...clean, ...(i % 2 === 0 ? [extension.proxyInfo()] : [])].map((one) =>
      random(2) === 0 ? mutant(one, random) : one,
    )
    const identity = identityOf(chainOf(user({ extensions }), alice))
    if (identity !== undefined && identity !== 'cn=alice,ou=people,o=lab,c=ca') t.fail(identity)
  }
  for (let i = 0; i < 400; i++) identityOf(chainOf(user({ subject: mutant(alice.name, random) })))
  t.equal(identityOf(chainOf(user({ extensions: [extension.notCa] }))), 'cn=alice,ou=people,o=lab,c=ca')
})

t.test('it reads one encoding of a value only', async (t) => {
  const other = {
    'an indefinite length': '30800000',
    'a length in more octets than it needs': '308103020101',
    'a length with a leading zero': '3082000302010130',
    'a multi-byte tag': '1f0100',
    'trailing bytes': '02010100',
    nothing: '',
  }
  for (const [it, hex] of Object.entries(other)) {
    t.throws(() => readDer(Buffer.from(hex, 'hex')), { code: 'MALFORMED' }, it)
  }
})

t.test('it does not compute for long however the chain is made', async (t) => {
  // Eleven authorities of one name and one key, each of which could have signed each.
  const name = [['CN', 'Echo']] as const
  const loop = { ...ca, name: certify({ keys: keys.proxy, subject: name }).name, keys: keys.proxy }
  const echoes = Array.from({ length: 11 }, () =>
    certify({ by: loop, keys: keys.proxy, subject: name, extensions: [extension.ca()] }),
  )
  const leaf = certify({ by: loop, keys: keys.alice, subject: ALICE })
  const before = process.cpuUsage()
  t.equal(identityOf(chainOf(leaf, ...echoes)), undefined)
  const { user: spent } = process.cpuUsage(before)
  const reference = process.cpuUsage()
  for (let i = 0; i < 12 * 12; i++) new Certificate(leaf.der).isSignedBy(new Certificate(loop.der))
  t.ok(
    spent <= process.cpuUsage(reference).user * 3 + 50_000,
    'no more than every certificate checked against every other',
  )
})
