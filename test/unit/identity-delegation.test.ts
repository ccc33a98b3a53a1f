// Delegation: what a client may do with the gateway's key, and what nobody may.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { requestedKey } from '../../src/identity/certificate-request.ts'
import { createProxy, issueUserCertificate, mintDevelopmentCa, mintProxy } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import { type Delegator } from '../../src/identity/delegation.ts'
import { type Credential, pemCertificates } from '../../src/identity/pem.ts'
import { seal, unseal } from '../../src/identity/seal.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { delegatingWorld } from '../fixtures/delegating.ts'
import { authority, certificateOf, credentials, dnOf } from '../http/people.ts'
import { needs } from '../parts.ts'

const caller = (name: string, more: Partial<Delegator> = {}): Delegator => ({ user: name, dn: dnOf(name), ...more })
const alice = caller('alice')

const faultOf = (work: () => unknown): string => {
  try {
    work()
    return 'none'
  } catch (error) {
    return isFault(error) ? `${error.fault}: ${error.detail}` : `no fault: ${String(error)}`
  }
}

/** What a client sends: a proxy over the key of the request, and its own chain. */
async function certified(
  request: string,
  by: Credential,
  more: { pathLen?: number; policy?: string } = {},
): Promise<string> {
  const { certificate } = await mintProxy({
    issuerCert: by.certificate,
    issuerKey: by.key,
    publicKey: requestedKey(request),
    hours: 2,
    ...more,
  })
  return [certificate, by.certificate, ...by.chain].join('')
}

t.test('what is delegated acts as the user, one proxy deeper', async (t) => {
  const { delegations, audited } = delegatingWorld()
  const kept = delegations()
  const id = kept.begin(alice)
  t.same(kept.list(alice), [id])
  t.equal(kept.nameOf(alice, id), dnOf('alice'))
  t.equal(kept.credentialFor('alice'), undefined, 'nothing before the certificate is sent')
  t.match(
    faultOf(() => kept.certificatesOf(alice, id)),
    /^NodeNotFound/,
  )
  const sent = await certified(kept.requestOf(alice, id), credentials.alice)
  kept.certify(alice, id, `noise\n${sent}`)
  t.equal(kept.certificatesOf(alice, id), sent)
  t.notMatch(kept.certificatesOf(alice, id), /PRIVATE/)
  const used = kept.credentialFor('alice')
  if (used === undefined) throw new Error('no credential')
  const trust = TrustStore.of(pemCertificates(authority.certificate))
  const chain = pemCertificates([used.certificate, ...used.chain].join(''))
  t.match(verifyChain(chain, trust), { dn: dnOf('alice'), depth: 2, limited: false })
  // the key fits, since it can sign a proxy below
  t.ok(await createProxy(used, { hours: 1, newKey: 'ec' }))
  t.equal(kept.credentialFor('bob'), undefined)
  kept.remove(alice, id)
  t.equal(kept.credentialFor('alice'), undefined)
  t.match(
    audited.map(({ act, result }) => `${act} ${result}`),
    ['delegation.begin allowed', 'delegation.certify allowed', 'delegation.remove allowed'],
  )
  t.notMatch(JSON.stringify(audited), /PRIVATE|BEGIN/)
})

t.test('openssl accepts the request as one for the DN', { skip: needs('openssl') }, async (t) => {
  const kept = delegatingWorld().delegations()
  const input = kept.requestOf(alice, kept.begin(alice))
  const { stderr, stdout, status } = spawnSync('openssl', ['req', '-verify', '-noout', '-subject', '-text'], {
    input,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
  t.match(stdout, /subject=O ?= ?karst development, CN ?= ?alice/)
  t.match(stdout, /NIST CURVE: P-256/)
})

t.test('to anybody else there is nothing', async (t) => {
  const kept = delegatingWorld().delegations()
  const id = kept.begin(alice)
  const sent = await certified(kept.requestOf(alice, id), credentials.alice)
  const bob = caller('bob')
  t.same(kept.list(bob), [])
  const calls: ((who: Delegator, of: string) => unknown)[] = [
    (who, of) => kept.nameOf(who, of),
    (who, of) => kept.requestOf(who, of),
    (who, of) => kept.certificatesOf(who, of),
    (who, of) => kept.remove(who, of),
    (who, of) => kept.certify(who, of, sent),
  ]
  for (const call of calls) {
    t.equal(
      faultOf(() => call(bob, id)),
      `NodeNotFound: you have no delegation ${id}`,
    )
    t.match(
      faultOf(() => call(alice, 'f'.repeat(32))),
      /^NodeNotFound/,
    )
    t.match(
      faultOf(() => call({ user: undefined }, id)),
      /^NotAuthenticated/,
    )
    t.match(
      faultOf(() => call(caller('alice', { limited: true }), id)),
      /^PermissionDenied: a limited proxy/,
    )
  }
  t.match(
    faultOf(() => kept.begin(caller('alice', { limited: true }))),
    /^PermissionDenied/,
  )
  t.match(
    faultOf(() => kept.begin({ user: 'alice' })),
    /^InvalidArgument: .*certificate/,
  )
})

t.test('it refuses certificates that are not the delegation, and keeps none of them', async (t) => {
  const { delegations, audited } = delegatingWorld()
  const kept = delegations()
  const id = kept.begin(alice)
  const request = kept.requestOf(alice, id)
  const full = credentials.alice
  const last = await createProxy(await certificateOf('alice'), { hours: 1, newKey: 'ec', pathLen: 0 })
  const limited = await createProxy(full, { hours: 1, newKey: 'ec', policy: OID.limited })
  const forged = await mintDevelopmentCa('test')
  const impostor = await issueUserCertificate(
    forged,
    [
      ['O', 'karst development'],
      ['CN', 'alice'],
    ],
    1,
    'ec',
  )
  const good = await certified(request, full)
  const [leaf = ''] = good.split(/(?<=END CERTIFICATE-----\n)/)
  const wrong: [string, string, RegExp][] = [
    ['nothing', '', /^InvalidData: no PEM certificate/],
    ['no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', /^InvalidData: malformed/],
    [
      'another key',
      await certified(kept.requestOf(alice, kept.begin(alice)), full),
      /^InvalidData: .*not over the key/,
    ],
    [
      'its issuer first',
      good
        .split(/(?<=END CERTIFICATE-----\n)/)
        .reverse()
        .join(''),
      /^InvalidData: .*not over the key/,
    ],
    ['no issuers', leaf, /^InvalidData: the client did not send/],
    ["bob's", await certified(request, credentials.bob), /^PermissionDenied: .*cn=bob/],
    ['limited', await certified(request, full, { policy: OID.limited }), /^PermissionDenied: a limited/],
    ['below a limited one', await certified(request, limited), /^PermissionDenied: a limited/],
    ['independent', await certified(request, full, { policy: OID.independent }), /^InvalidData: .*independent/],
    ['an authority of the same name', await certified(request, impostor), /^InvalidData: /],
    ['a private key with it', good + full.key, /^InvalidData: a private key was sent/],
    ['thirteen certificates', good + full.certificate.repeat(11), /^InvalidData: more than 12/],
  ]
  for (const [it, pem, why] of wrong)
    t.match(
      faultOf(() => kept.certify(alice, id, pem)),
      why,
      it,
    )
  await t.rejects(certified(request, last), /allows no proxy below/, 'a path length of 0 delegates nothing')
  t.equal(kept.credentialFor('alice'), undefined)
  t.match(
    faultOf(() => kept.certificatesOf(alice, id)),
    /^NodeNotFound/,
  )
  t.equal(audited.filter(({ result }) => result === 'refused').length, wrong.length)
  kept.certify(alice, id, good)
  t.match(
    faultOf(() => kept.certify(alice, id, leaf)),
    /^InvalidData/,
  )
  t.equal(kept.certificatesOf(alice, id), good, 'and a bad one does not replace a good one')
})

t.test('it refuses a chain longer than a path length allows, whoever signed it', async (t) => {
  const kept = delegatingWorld().delegations()
  const id = kept.begin(alice)
  const end = await certificateOf('alice')
  const first = await createProxy(end, { hours: 1, newKey: 'ec', pathLen: 1 })
  const second = await createProxy(first, { hours: 1, newKey: 'ec' })
  t.match(
    faultOf(() => kept.certify(alice, id, '')),
    /InvalidData/,
  )
  const tooDeep = await certified(kept.requestOf(alice, id), second)
  t.match(
    faultOf(() => kept.certify(alice, id, tooDeep)),
    /^InvalidData: .*allows 1 proxies below/,
  )
  kept.certify(alice, id, await certified(kept.requestOf(alice, id), first))
})

t.test('nothing lasts longer than a day, or than its certificate, or an hour without one', async (t) => {
  const { delegations, store } = delegatingWorld()
  const now = Date.now()
  const clock = { now }
  const kept = delegations({ clock: () => clock.now, seconds: 1_000_000 })
  const subject = [
    ['O', 'karst development'],
    ['CN', 'alice'],
  ] as const
  const own = await issueUserCertificate(authority, subject, 5, 'ec')
  const hours = async (by: Credential, lasting: number): Promise<string> => {
    const id = kept.begin(alice)
    const publicKey = requestedKey(kept.requestOf(alice, id))
    const { certificate } = await mintProxy({
      issuerCert: by.certificate,
      issuerKey: by.key,
      publicKey,
      hours: lasting,
    })
    kept.certify(alice, id, [certificate, by.certificate, ...by.chain].join(''))
    return id
  }
  const long = await hours(own, 48)
  const short = await hours(own, 3)
  const pending = kept.begin(alice)
  t.same(new Set(kept.list(alice)), new Set([long, short, pending]))
  clock.now = now + 61 * 60_000
  t.same(new Set(kept.list(alice)), new Set([long, short]))
  clock.now = now + 181 * 60_000
  t.same(kept.list(alice), [long])
  clock.now = now + 23 * 3_600_000
  t.same(kept.list(alice), [long])
  clock.now = now + 24.1 * 3_600_000
  t.same(kept.list(alice), [])
  t.equal(kept.credentialFor('alice'), undefined)
  t.match(
    faultOf(() => kept.certificatesOf(alice, long)),
    /^NodeNotFound/,
  )
  kept.sweep()
  clock.now = 0
  t.same(store.delegations.list('alice', 0), [], 'swept, and not only hidden')
})

t.test('of many only the last are kept, and an abandoned request never pushes out one in use', async (t) => {
  const kept = delegatingWorld().delegations()
  const id = kept.begin(alice)
  kept.certify(alice, id, await certified(kept.requestOf(alice, id), credentials.alice))
  for (let i = 0; i < 50; i++) kept.begin(alice)
  t.equal(kept.list(alice).length, 16)
  t.ok(kept.list(alice).includes(id))
})

t.test('a delegation that nobody trusts any more is not used', async (t) => {
  const { delegations, audited } = delegatingWorld()
  const kept = delegations()
  const id = kept.begin(alice)
  kept.certify(alice, id, await certified(kept.requestOf(alice, id), credentials.alice))
  const nobody = TrustStore.of([])
  t.equal(delegations({ verify: (chain) => verifyChain(chain, nobody) }).credentialFor('alice'), undefined)
  t.match(audited.at(-1), { act: 'delegation.use', by: 'alice', result: 'refused' })
  t.ok(kept.credentialFor('alice'))
})

t.test('a delegation is not used for who was suspended, or whose DN was taken from them', async (t) => {
  const { delegations, store } = delegatingWorld()
  const kept = delegations()
  const id = kept.begin(alice)
  kept.certify(alice, id, await certified(kept.requestOf(alice, id), credentials.alice))
  // what is remembered of users is for one turn of the event loop
  const turn = () => new Promise((done) => setImmediate(done))
  store.users.suspend('alice')
  await turn()
  t.equal(kept.credentialFor('alice'), undefined)
  store.users.resume('alice')
  await turn()
  t.ok(kept.credentialFor('alice'))
  store.users.removeIdentity('alice', { kind: 'x509', value: dnOf('alice') })
  store.users.addIdentity('bob', { kind: 'x509', value: dnOf('alice') })
  await turn()
  t.equal(kept.credentialFor('alice'), undefined)
  t.equal(kept.credentialFor('bob'), undefined, 'and it does not become his')
})

t.test('the private key is sealed: another key, another id, another user or a changed bit opens nothing', async (t) => {
  const { delegations, store, audited } = delegatingWorld()
  const kept = delegations()
  const id = kept.begin(alice)
  kept.certify(alice, id, await certified(kept.requestOf(alice, id), credentials.alice))
  const [row] = store.delegations.list('alice', 0)
  t.notMatch(row?.sealedKey.toString('latin1') ?? '', /\x06\x08\x2a\x86\x48\xce\x3d/, 'no EC key in clear')
  t.equal(delegations({ key: randomBytes(32) }).credentialFor('alice'), undefined)
  t.match(audited.at(-1), { act: 'delegation.use', result: 'refused' })
  const key = randomBytes(32)
  const plain = Buffer.from('secret')
  const sealed = seal(key, plain, ['id', 'user'])
  t.same(unseal(key, sealed, ['id', 'user']), plain)
  t.notSame(seal(key, plain, ['id', 'user']), sealed, 'a nonce of its own')
  for (const context of [['other', 'user'], ['id', 'other'], ['iduser'], ['id', 'user', '']]) {
    t.match(
      faultOf(() => unseal(key, sealed, context)),
      /^InternalFault/,
      context.join(),
    )
  }
  for (let i = 0; i < sealed.length; i++) {
    const changed = Buffer.from(sealed)
    changed.writeUInt8(changed.readUInt8(i) ^ 1, i)
    if (faultOf(() => unseal(key, changed, ['id', 'user'])).startsWith('none')) t.fail(`bit of byte ${i}`)
    if (faultOf(() => unseal(key, sealed.subarray(0, i), ['id', 'user'])).startsWith('none')) t.fail(`cut at ${i}`)
  }
})

t.test('who is deleted leaves no delegation', async (t) => {
  const { delegations, store } = delegatingWorld()
  const kept = delegations()
  kept.begin(caller('bob'))
  store.users.suspend('bob')
  store.users.remove('bob')
  t.same(store.delegations.list('bob', 0), [])
})
