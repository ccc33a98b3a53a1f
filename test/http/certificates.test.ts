/** Certificates through the real door: what is refused is told to the caller and to the log; trust that changes; fronts that end TLS. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Callers } from '../../src/identity/caller.ts'
import { OID } from '../../src/identity/oid.ts'
import { type Credential, keyPem, toPem } from '../../src/identity/pem.ts'
import { type TrustRules, TrustStore } from '../../src/identity/trust.ts'
import { authority, below, certify, type Dn, ecKeys, extension, type Holder, proxy } from '../fixtures/forge.ts'
import { revocationList } from '../fixtures/revocation.ts'
import { type Gateway, startGateway } from './gateway.ts'

const at = (hours: number): Date => new Date(Date.now() + hours * 3_600_000)
const LAB: Dn = [
  ['O', 'Lab'],
  ['CN', 'Lab CA'],
]
const now = { notBefore: at(-24), notAfter: at(24) }
const person = (name: string): Dn => [
  ['O', 'Lab'],
  ['CN', name],
]
const lab = authority(LAB, ecKeys(), now)
const issue = (name: string, by = lab): Holder => certify({ by, keys: ecKeys(), subject: person(name), ...now })
const alice = issue('Alice')
const bob = issue('Bob')
const proxyOf = (by: Holder, more: Parameters<typeof proxy>[1] = {}): Holder =>
  proxy(by, { keys: ecKeys(), ...now, ...more })
const list = (...revoked: Holder[]): Buffer =>
  revocationList({ by: lab, revoked, thisUpdate: at(-1), nextUpdate: at(20) })
const policy = `access_id_CA X509 '/O=Lab/CN=Lab CA'\npos_rights globus CA:sign\ncond_subjects globus '"/O=Lab/*"'\n`

const credential = (leaf: Holder, ...chain: Holder[]): Credential => ({
  certificate: toPem('CERTIFICATE', leaf.der),
  key: keyPem(leaf.keys.privateKey),
  chain: chain.map(({ der }) => toPem('CERTIFICATE', der)),
})
const callersOf = (trust: TrustStore): Callers =>
  new Callers({
    trust: [trust],
    users: {
      byIdentity: ({ value }) => {
        const name = /^cn=(alice|bob),o=lab$/.exec(value)?.[1]
        return name === undefined ? undefined : { name, uid: 20000, gid: 20000, admin: false }
      },
    },
    groups: { of: () => new Set() },
  })
const trusting = (rules: TrustRules & { lists?: readonly Buffer[]; policy?: string } = {}): TrustStore =>
  TrustStore.of([lab.der], rules)
const who = (reply: { text: string }): unknown => (JSON.parse(reply.text) as { user: unknown }).user

const limited = proxyOf(alice, { language: OID.limited })
const short = proxyOf(alice, { pathLength: 0 })
const plain = proxyOf(alice)
const independent = proxyOf(alice, { language: OID.independent })
const elsewhere = certify({ by: lab, keys: ecKeys(), subject: [['O', 'Elsewhere']], ...now })
const hostile: [it: string, code: string, reason: RegExp, shown: Credential, honest: Credential][] = [
  [
    'a user of a forged authority of the same name',
    'BAD_SIGNATURE',
    /signature of \/O=Lab\/CN=Alice is not the one of \/O=Lab\/CN=Lab CA/,
    credential(issue('Alice', authority(LAB, ecKeys(), now))),
    credential(alice),
  ],
  [
    'a proxy that somebody else signed',
    'BAD_SIGNATURE',
    /is not its issuer's/,
    credential(proxyOf(alice, { signer: ecKeys().privateKey }), alice),
    credential(proxyOf(alice), alice),
  ],
  [
    'an expired proxy',
    'EXPIRED',
    /expired at/,
    credential(proxyOf(alice, { notAfter: at(-0.01) }), alice),
    credential(proxyOf(alice, { notAfter: at(0.5) }), alice),
  ],
  [
    'a proxy below one that allows none',
    'PROXY_PATH_LENGTH',
    /allows 0 proxies below it/,
    credential(proxyOf(short), short, alice),
    credential(short, alice),
  ],
  [
    'a full proxy below a limited one',
    'PROXY_ESCALATION',
    /full proxy below the limited/,
    credential(proxyOf(limited), limited, alice),
    credential(proxyOf(limited, { language: OID.limited }), limited, alice),
  ],
  [
    'a proxy of an independent one',
    'PROXY_INDEPENDENT',
    /independent/,
    credential(proxyOf(independent), independent, alice),
    credential(proxyOf(plain), plain, alice),
  ],
  [
    'a proxy with an extra RDN',
    'PROXY_NAME',
    /one CN more/,
    credential(proxyOf(alice, { subject: below(alice.name, ['CN', '1'], ['CN', '2']) }), alice),
    credential(proxyOf(alice, { subject: below(alice.name, ['CN', '1']) }), alice),
  ],
  [
    'a proxy with an alternative name',
    'PROXY_ALT_NAME',
    /alternative name/,
    credential(proxyOf(alice, { extensions: [extension.proxyInfo(), extension.altName(OID.subjectAltName)] }), alice),
    credential(proxyOf(alice, { extensions: [extension.proxyInfo()] }), alice),
  ],
  [
    'sixty certificates',
    'CHAIN_TOO_LONG',
    /more than 12 certificates/,
    credential(alice, ...Array<Holder>(59).fill(lab)),
    credential(alice, ...Array<Holder>(11).fill(lab)),
  ],
  [
    'a revoked user',
    'REVOKED',
    /Lab CA has revoked the certificate of \/O=Lab\/CN=Bob/,
    credential(bob),
    credential(alice),
  ],
  [
    'a name outside the signing policy',
    'SIGNING_POLICY',
    /does not let it sign \/O=Elsewhere/,
    credential(elsewhere),
    credential(alice),
  ],
]

await t.test('a hostile chain', async (t) => {
  const callers = callersOf(trusting({ policy, lists: [list(bob)] }))
  const gateway = await startGateway(t, { services: { callers } })
  for (const [it, code, reason, shown, honest] of hostile) {
    await t.test(`of ${it} is refused, with its reason in the log`, async (t) => {
      gateway.log.length = 0
      const reply = await gateway.call('/fs/v1', { as: shown })
      t.equal(reply.status, 401)
      t.match(JSON.parse(reply.text), { fault: 'NotAuthenticated', detail: reason })
      t.match(gateway.log.find(({ text }) => text === 'not authenticated')?.fields, { code, reason })
      t.equal(who(await gateway.call('/fs/v1', { as: honest })), 'alice')
    })
  }
})

await t.test('who is revoked is refused on the connection that was accepted before', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'karst-trust-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'lab.pem'), toPem('CERTIFICATE', lab.der))
  writeFileSync(join(folder, 'lab.signing_policy'), policy)
  writeFileSync(join(folder, 'lab.r0'), list())
  const trust = await TrustStore.load(folder, { kind: 'grid', crl: 'require' })
  const gateway = await startGateway(t, { services: { callers: callersOf(trust) } })
  const as = credential(bob)
  t.equal(who(await gateway.call('/fs/v1', { as })), 'bob')
  writeFileSync(join(folder, 'lab.r0'), list(bob))
  await trust.reload()
  const reply = await gateway.call('/fs/v1', { as })
  t.equal(reply.status, 401)
  t.match(reply.text, /has revoked/)
  t.equal(who(await gateway.call('/fs/v1', { as: credential(alice) })), 'alice')
})

const HEADER = 'x-client-certificate'
const told = (...holders: Holder[]): Record<string, string> => ({
  [HEADER]: encodeURIComponent(holders.map(({ der }) => toPem('CERTIFICATE', der)).join('')),
})
const behind = async (t: Parameters<typeof startGateway>[0], ...from: string[]): Promise<Gateway> =>
  startGateway(t, {
    services: {
      callers: callersOf(trusting({ lists: [list()] })),
      ...(from.length > 0 && { forwardedCertificates: { from, header: HEADER } }),
    },
  })

await t.test('a front that ends TLS', async (t) => {
  const gateway = await behind(t, '127.0.0.0/8')
  const ask = async (headers: Record<string, string> = {}, as?: Credential): Promise<unknown> =>
    who(await gateway.call('/fs/v1', { headers, ...(as && { as }) }))
  await t.test('says who is asking, request by request on one connection', async (t) => {
    for (const [holder, name] of [
      [alice, 'alice'],
      [bob, 'bob'],
      [alice, 'alice'],
    ] as const) {
      t.equal(await ask(told(holder)), name)
    }
    t.equal(await ask(told(proxyOf(alice), alice)), 'alice')
    t.equal(await ask(), null, 'and nobody, when it tells of no certificate')
    t.equal(await ask({ [HEADER]: '' }), null)
    t.equal(await ask(told(bob)), 'bob')
  })
  await t.test('is not the user, if it has a certificate itself', async (t) => {
    const front = credential(bob)
    t.equal(await ask({}, front), null)
    t.equal(await ask(told(alice), front), 'alice')
  })
  await t.test('is believed nothing that the verifier does not', async (t) => {
    const forged = issue('Alice', authority(LAB, ecKeys(), now))
    for (const [headers, code] of [
      [told(forged), 'BAD_SIGNATURE'],
      [told(proxyOf(alice)), 'CHAIN_INCOMPLETE'],
      [told(proxyOf(alice, { notAfter: at(-0.01) }), alice), 'EXPIRED'],
      [{ [HEADER]: 'CN=alice' }, 'MALFORMED'],
    ] as const) {
      gateway.log.length = 0
      const reply = await gateway.call('/fs/v1', { headers })
      t.equal(reply.status, 401)
      t.match(gateway.log.find(({ text }) => text === 'not authenticated')?.fields, { code })
    }
  })
  await t.test('does not matter where nobody is asked who they are', async (t) => {
    t.equal((await gateway.call('//livez', { headers: { [HEADER]: 'noise' } })).status, 200)
  })
})

await t.test('who is no front', async (t) => {
  for (const from of [[], ['192.0.2.1', '::1']]) {
    const gateway = await behind(t, ...from)
    t.equal(who(await gateway.call('/fs/v1', { headers: told(alice) })), null, 'cannot become somebody by a header')
    t.equal(
      who(await gateway.call('/fs/v1', { headers: told(alice), as: credential(bob) })),
      'bob',
      'nor somebody else',
    )
    t.equal(who(await gateway.call('/fs/v1', { headers: { [HEADER]: 'noise' } })), null)
  }
})

t.test('whom one place of trust knows to be revoked no other lets in, whichever comes first', async (t) => {
  const [knows, knowsNot] = [trusting({ lists: [list(alice)] }), trusting({ crl: 'off' })]
  for (const trust of [
    [knows, knowsNot],
    [knowsNot, knows],
  ]) {
    const users = { byIdentity: () => undefined }
    const callers = new Callers({ trust, users, groups: { of: () => new Set() } })
    t.throws(() => callers.verify([plain.der, alice.der]), { code: 'REVOKED' })
    t.equal(callers.verify([bob.der]).dn, 'cn=bob,o=lab')
  }
})

t.test('nor does another let anybody in while the list of that place cannot be used', async (t) => {
  const of = (thisUpdate: Date, nextUpdate: Date): TrustStore =>
    trusting({ lists: [revocationList({ by: lab, revoked: [alice], thisUpdate, nextUpdate })] })
  const users = { byIdentity: () => undefined }
  const groups = { of: () => new Set<string>() }
  const knowsNot = trusting({ crl: 'if-present' })
  for (const [code, store] of [
    ['CRL_EXPIRED', of(at(-20), at(-1))],
    ['CRL_NOT_YET_VALID', of(at(1), at(20))],
    ['CRL_UNUSABLE', trusting({ lists: [revocationList({ by: lab, signer: alice.keys.privateKey })] })],
  ] as const) {
    for (const trust of [
      [store, knowsNot],
      [knowsNot, store],
    ]) {
      const callers = new Callers({ trust, users, groups })
      t.throws(() => callers.verify([alice.der]), { code }, 'who was on it stays out')
      t.throws(() => callers.verify([bob.der]), { code })
    }
  }
  const [soon, later] = [of(at(-1), at(2)), of(at(-1), at(3))]
  for (const trust of [
    [knowsNot, later, soon],
    [soon, knowsNot],
  ]) {
    const { reviewAt } = new Callers({ trust, users, groups }).verify([bob.der])
    t.ok(Math.abs(reviewAt.getTime() - at(2).getTime()) < 60_000, 'and all is looked at again when the first list ends')
  }
  // a place that wants a list and has none says nothing of who is on it
  const wants = new Callers({ trust: [trusting({ crl: 'require' }), knowsNot], users, groups })
  t.equal(wants.verify([bob.der]).dn, 'cn=bob,o=lab')
})

await t.test('names without end fill no log and no answer', async (t) => {
  const gateway = await startGateway(t, { services: { callers: callersOf(trusting()) } })
  const stranger = authority([['CN', '\u0001'.repeat(20_000)]], ecKeys(), now)
  const reply = await gateway.call('/fs/v1', { as: credential(issue('Alice', stranger)) })
  t.equal(reply.status, 401)
  t.match(reply.text, /is not trusted|\.\.\./)
  const told = gateway.log.find(({ text }) => text === 'not authenticated')
  t.match(told?.fields, { code: 'UNTRUSTED' })
  for (const text of [reply.text, JSON.stringify(gateway.log)]) t.ok(text.length < 5000, `${text.length} characters`)
})
