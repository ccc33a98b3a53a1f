// Trust in the form of /etc/grid-security/certificates: what belongs to whom, and how it changes while the gateway runs.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import { Certificate } from '../../src/identity/certificate.ts'
import { toPem } from '../../src/identity/pem.ts'
import { TrustPlaces } from '../../src/identity/trust-places.ts'
import { type TrustRules, TrustStore, unboundAuthorities } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { authority, certify, daysFromNow, type Holder, NOW, proxy } from '../fixtures/forge.ts'
import { alice, ALICE, ca, CA_NAME, chainOf, keys, root, user } from '../fixtures/lab.ts'
import { type ListOf, revocationList } from '../fixtures/revocation.ts'
import { needs } from '../parts.ts'

const top = mkdtempSync(path.join(tmpdir(), 'karst-grid-'))
t.teardown(() => rmSync(top, { recursive: true, force: true }))
const pem = (der: Buffer): string => toPem('CERTIFICATE', der)
const crl = (list: Partial<ListOf> = {}): Buffer => revocationList({ by: ca, ...list })
const policy = (glob: string, name = '/C=CA/O=Lab/CN=Lab CA'): string =>
  `access_id_CA X509 '${name}'\npos_rights globus CA:sign\ncond_subjects globus '"${glob}"'\n`
const mallory = authority([['CN', 'Mallory CA']], keys.mallory)
const falseAlice = certify({ by: mallory, keys: keys.mallory, subject: ALICE })

let count = 0
type Files = Record<string, string | Buffer>
function folder(files: Files): string {
  const place = path.join(top, String(++count))
  mkdirSync(place)
  for (const [name, content] of Object.entries(files)) write(path.join(place, name), content)
  return place
}
// As fetch-crl does: beside, then over.
function write(file: string, content: string | Buffer): void {
  writeFileSync(`${file}.tmp`, content)
  renameSync(`${file}.tmp`, file)
}
const outcome = (trust: TrustStore, chain: readonly Buffer[] = [alice.der]): string => {
  try {
    return verifyChain(chain, trust, { now: NOW }).dn
  } catch (error) {
    if (error instanceof CertificateFault) return error.code
    throw error
  }
}
const load = async (files: Files, rules: TrustRules = { kind: 'grid' }): Promise<TrustStore> =>
  TrustStore.load(folder(files), rules)
const faultOf = (refused: Promise<unknown>): Promise<string> =>
  refused.then(
    () => 'none',
    (error: unknown) => (isFault(error) ? `${error.fault}: ${error.detail}` : String(error)),
  )
async function until(ready: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !ready(); i++) await new Promise((resolve) => setTimeout(resolve, 20))
}
const WHO = 'cn=alice,ou=people,o=lab,c=ca'
const GOOD: Files = { 'lab.pem': pem(ca.der), 'lab.signing_policy': policy('/C=CA/O=Lab/*'), 'lab.r0': crl() }

t.test('it reads a folder as fetch-crl and the IGTF bundle leave it', { skip: needs('openssl') }, async (t) => {
  const place = folder({ ...GOOD, 'lab.namespaces': 'TO Issuer', 'lab.info': 'x', 'lab.crl_url': 'http://x' })
  const hash = (kind: string): string =>
    execFileSync('openssl', ['x509', '-noout', kind, '-in', path.join(place, 'lab.pem')])
      .toString()
      .trim()
  for (const name of [hash('-subject_hash'), hash('-subject_hash_old')]) {
    for (const [ending, target] of [
      ['0', 'pem'],
      ['signing_policy', 'signing_policy'],
      ['r0', 'r0'],
      ['namespaces', 'namespaces'],
    ]) {
      symlinkSync(`lab.${target}`, path.join(place, `${name}.${ending}`))
    }
  }
  const trust = await TrustStore.load(place, { kind: 'grid', crl: 'require' })
  t.equal(outcome(trust), WHO)
  t.equal(outcome(trust, chainOf(proxy(alice), alice)), WHO)
  t.same(trust.problems, [])
  t.match(trust.notes, [/3 \.namespaces files are not looked at/])
  t.equal(trust.anchors.length, 1, 'three names are one authority')
  t.equal(trust.listsFor(new Certificate(ca.der).subjectKey).length, 1)
})

t.test('it reads authorities and lists in PEM and DER', async (t) => {
  for (const certificate of [pem(ca.der), ca.der]) {
    for (const list of [toPem('X509 CRL', crl({ revoked: [alice] })), crl({ revoked: [alice] })]) {
      t.equal(outcome(await load({ 'lab.crt': certificate, 'lab.r0': list }, {})), 'REVOKED')
    }
  }
  const bundle = pem(ca.der) + toPem('X509 CRL', crl({ revoked: [alice] }))
  t.equal(outcome(await load({ 'lab.pem': bundle }, {})), 'REVOKED', 'a list in the same file')
})

t.test('it asks of a grid what it does not ask of a site', async (t) => {
  const bare = { 'lab.pem': pem(ca.der) }
  t.equal(outcome(await load(bare)), 'SIGNING_POLICY_MISSING')
  t.equal(outcome(await load(bare, { kind: 'site' })), WHO)
  t.equal(outcome(await load(bare, { kind: 'grid', signingPolicy: 'off' })), WHO)
  t.equal(outcome(await load(bare, { crl: 'require' })), 'CRL_MISSING')
  t.equal(outcome(await load({ ...GOOD, 'lab.r0': crl({ revoked: [alice] }) }, { kind: 'grid', crl: 'off' })), WHO)
  const foreign = { ...GOOD, 'lab.signing_policy': policy('/C=US/*') }
  t.equal(outcome(await load(foreign)), 'SIGNING_POLICY')
  t.equal(outcome(await load(foreign, { kind: 'site' })), 'SIGNING_POLICY')
  t.equal(outcome(await load(foreign, { signingPolicy: 'off' })), WHO)
  const file = path.join(folder(GOOD), 'lab.pem')
  t.match(await faultOf(TrustStore.load(file, { kind: 'grid' })), /InvalidData: .* is no folder/)
})

t.test('it reads what lies beside a PEM file of a site under the same stem, and nothing else', async (t) => {
  const place = folder({
    ...GOOD,
    'lab.r0': crl({ revoked: [alice] }),
    'other.signing_policy': 'noise',
    'other.pem': pem(mallory.der),
  })
  const trust = await TrustStore.load(path.join(place, 'lab.pem'))
  t.equal(outcome(trust), 'REVOKED')
  t.same(trust.problems, [])
  t.equal(outcome(trust, [falseAlice.der]), 'UNTRUSTED')
  write(path.join(place, 'lab.signing_policy'), policy('/C=US/*'))
  await trust.reload()
  t.equal(outcome(trust), 'SIGNING_POLICY')
})

t.test('a policy speaks for the authority whose file has its stem, and for nobody else', async (t) => {
  const files = {
    'lab.pem': pem(ca.der),
    'mallory.pem': pem(mallory.der),
    'lab.signing_policy': policy('/C=CA/O=Lab/*') + policy('*', '/CN=Mallory CA'),
    'mallory.signing_policy': policy('*'),
  }
  const trust = await load(files)
  t.equal(outcome(trust), WHO)
  t.equal(outcome(trust, [falseAlice.der]), 'SIGNING_POLICY')
  t.match(trust.problems, [/signing policy of \/CN=Mallory CA says nothing of that authority/])
  const strays = await load({ ...GOOD, 'gone.signing_policy': policy('*') })
  t.match(strays.problems, [/gone\.signing_policy belongs to no authority/])
})

t.test('a policy that cannot be read lets its authority sign nothing', async (t) => {
  const trust = await load({ ...GOOD, 'lab.signing_policy': 'access_id_CA X509', 'mallory.pem': pem(mallory.der) }, {})
  t.equal(outcome(trust), 'SIGNING_POLICY')
  t.match(trust.problems, [/lab\.signing_policy: line 1/])
  t.equal(outcome(trust, [certify({ by: mallory, keys: keys.alice, subject: [['CN', 'x']] }).der]), 'cn=x')
})

t.test('a list that cannot be read, or is not its authority’s, refuses everybody of that authority', async (t) => {
  const noise = await load({ ...GOOD, 'lab.r0': 'noise' })
  t.equal(outcome(noise), 'CRL_UNUSABLE')
  t.match(noise.problems, [/lab\.r0: not a revocation list in strict DER/])
  t.equal(outcome(await load({ ...GOOD, 'lab.r0': '' })), 'CRL_UNUSABLE')
  t.equal(outcome(await load({ ...GOOD, 'lab.r0': '-----BEGIN X509 CRL-----\nMII' })), 'CRL_UNUSABLE')
  const forged = await load({ ...GOOD, 'lab.r0': crl({ signer: keys.mallory.privateKey }) })
  t.equal(outcome(forged), 'CRL_UNUSABLE')
  t.match(forged.problems, [/revocation list of .*CN=Lab CA is not signed by it/])
  const beside = await load({
    ...GOOD,
    'lab.r1': crl({ signer: keys.mallory.privateKey, thisUpdate: daysFromNow(-0.1) }),
  })
  t.equal(outcome(beside), WHO, 'unless a good one is there')
  const foreign = revocationList({ by: mallory, revoked: [alice] })
  t.equal(
    outcome(await load({ ...GOOD, 'lab.r0': foreign, 'm.pem': pem(mallory.der) })),
    WHO,
    'another authority’s list',
  )
})

t.test('of several lists the newest that is valid counts', async (t) => {
  const revoking = crl({ revoked: [alice], thisUpdate: daysFromNow(-2) })
  const rows: [string, Partial<ListOf>, string][] = [
    ['a newer one', { thisUpdate: daysFromNow(-1) }, WHO],
    ['an older one', { thisUpdate: daysFromNow(-3) }, 'REVOKED'],
    ['one of the future', { thisUpdate: daysFromNow(1) }, 'REVOKED'],
    ['a newer one that has ended', { thisUpdate: daysFromNow(-1), nextUpdate: daysFromNow(-0.5) }, 'REVOKED'],
  ]
  for (const [it, list, answer] of rows) {
    t.equal(outcome(await load({ ...GOOD, 'lab.r0': revoking, 'lab.r1': crl(list) })), answer, it)
    t.equal(outcome(await load({ ...GOOD, 'lab.r1': revoking, 'lab.r0': crl(list) })), answer, `${it}, the other way`)
  }
})

t.test('a list signed with the newer key of its authority counts for the older, and the other way', async (t) => {
  const renewed = authority(CA_NAME, keys.proxy)
  const both = {
    'old.pem': pem(ca.der),
    'new.pem': pem(renewed.der),
    'new.r0': revocationList({ by: renewed, revoked: [alice] }),
  }
  t.equal(outcome(await load(both, {})), 'REVOKED')
})

t.test('it notices replaced files by itself, and lets what was verified be verified again', async (t) => {
  const place = folder(GOOD)
  const trust = await TrustStore.load(place, { kind: 'grid' })
  const told: unknown[] = []
  const stop = trust.watch(0.02, (error) => told.push(error))
  t.teardown(stop)
  t.equal(outcome(trust), WHO)
  const { generation } = trust
  write(path.join(place, 'lab.r0'), crl({ revoked: [alice] }))
  await until(() => trust.generation > generation)
  t.equal(outcome(trust), 'REVOKED')
  write(path.join(place, 'lab.r0'), crl())
  await until(() => trust.generation > generation + 1)
  t.equal(outcome(trust), WHO)
  unlinkSync(path.join(place, 'lab.pem'))
  await until(() => told.length >= 3)
  t.match(told[2], { fault: 'InvalidData' }, 'the last authority is gone: not taken over')
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal(told.length, 3, 'and told once')
  t.equal(outcome(trust), WHO)
  write(path.join(place, 'lab.pem'), pem(ca.der))
  await until(() => told.length >= 4)
  t.equal(told[3], undefined)
  stop()
})

t.test('what was good stays when its file becomes bad', async (t) => {
  const place = folder({ ...GOOD, 'lab.r0': crl({ revoked: [alice] }), 'root.pem': pem(root.der) })
  const trust = await TrustStore.load(place, { kind: 'grid' })
  for (const name of ['lab.r0', 'lab.signing_policy', 'lab.pem']) write(path.join(place, name), 'half a fi')
  await trust.reload()
  t.equal(outcome(trust), 'REVOKED', 'neither locked out for a broken list, nor let in')
  t.equal(trust.problems.filter((problem) => problem.endsWith('what was read before is kept')).length, 3)
  await trust.reload()
  t.equal(outcome(trust), 'REVOKED', 'also the time after')
  write(path.join(place, 'lab.r0'), crl())
  write(path.join(place, 'lab.pem'), pem(ca.der))
  await trust.reload()
  t.equal(outcome(trust), WHO)
  unlinkSync(path.join(place, 'lab.pem'))
  await trust.reload()
  t.equal(outcome(trust), 'UNTRUSTED', 'what was taken away is gone')
})

t.test('it reloads several places in one step or not at all', async (t) => {
  const [one, two] = [folder(GOOD), folder({ 'root.pem': pem(root.der) })]
  const [first, second] = [await TrustStore.load(one), await TrustStore.load(two)]
  const stores = [first, second]
  write(path.join(one, 'lab.r0'), crl({ revoked: [alice] }))
  rmSync(two, { recursive: true })
  t.match(await faultOf(TrustStore.prepareAll(stores)), /ENOENT/)
  t.equal(outcome(first), WHO)
  mkdirSync(two)
  write(path.join(two, 'root.pem'), pem(root.der))
  const takeOver = await TrustStore.prepareAll(stores)
  t.equal(outcome(first), WHO, 'not before it is asked for')
  takeOver()
  t.equal(outcome(first), 'REVOKED')
})

t.test('a list of 100,000 entries is parsed once, searched at once, and small', async (t) => {
  const serials = Array.from({ length: 100_000 }, (_, i) => {
    const serial = Buffer.alloc(16, 0x5a)
    serial.writeUInt32BE(i, 8)
    return serial
  })
  const place = folder({ ...GOOD, 'lab.r0': crl({ revoked: [...serials, alice] }) })
  const trust = await TrustStore.load(place, { kind: 'grid' })
  const key = new Certificate(ca.der).subjectKey
  const [list] = trust.listsFor(key)
  t.equal(list?.size, 100_001)
  t.equal(outcome(trust), 'REVOKED')
  t.equal(outcome(trust, [user({}).der]), WHO)
  await trust.reload()
  t.equal(trust.listsFor(key)[0], list, 'the very same: not parsed again')
  utimesSync(path.join(place, 'lab.r0'), new Date(), new Date())
  await trust.reload()
  t.not(trust.listsFor(key)[0], list)
  t.equal(trust.generation, 1, 'but the same in all it says')
})

t.test('what a verified chain rests on ends with the list', async (t) => {
  const trust = await load({ ...GOOD, 'lab.r0': crl({ nextUpdate: daysFromNow(0.25) }) })
  const verified = verifyChain([alice.der], trust, { now: NOW })
  t.same(verified.reviewAt, daysFromNow(0.25))
  t.same(verified.expires, daysFromNow(100))
  t.same(verifyChain([alice.der], await load(GOOD, { crl: 'off' }), { now: NOW }).reviewAt, daysFromNow(100))
})

t.test('it warns when several authorities are trusted and one of them may assert any name', async (t) => {
  const of = (rules: TrustRules & { policy?: string }, ...anchors: Holder[]): TrustStore =>
    TrustStore.of(
      anchors.map(({ der }) => der),
      rules,
    )
  t.equal(unboundAuthorities([of({}, ca)]), undefined, 'one alone may')
  t.match(unboundAuthorities([of({}, ca, mallory)]), /CN=Lab CA, \/CN=Mallory CA: trusted without a signing policy/)
  t.match(unboundAuthorities([of({}, ca), of({}, mallory)]), /Mallory/)
  t.match(unboundAuthorities([of({ policy: policy('*') }, ca), of({}, mallory)]), /^\/CN=Mallory CA: /)
  t.equal(unboundAuthorities([of({ policy: policy('*') }, ca), of({ signingPolicy: 'require' }, mallory)]), undefined)
  t.match(unboundAuthorities([of({ policy: policy('*'), signingPolicy: 'off' }, ca, mallory)]), /Lab CA/)
})

t.test('it tells the log what is wrong, once', async (t) => {
  const log: [string, string][] = []
  const write_ = (level: string) => (fields: object) => void log.push([level, JSON.stringify(fields)])
  const logger = { info: write_('info'), warn: write_('warn'), error: write_('error') }
  const place = folder({
    'lab.pem': pem(ca.der),
    'mallory.pem': pem(mallory.der),
    'x.pem': pem(ca.der.subarray(9)),
    'x.namespaces': '',
  })
  const places = await TrustPlaces.open([{ path: place, pollSeconds: 0 }], logger)
  t.match(log, [
    ['info', /namespaces/],
    ['warn', /x\.pem/],
    ['warn', /without a signing policy/],
  ])
  const takeOver = await places.prepare()
  takeOver()
  t.equal(log.length, 3)
  places.close()
  const watched = await TrustPlaces.open([{ path: place, pollSeconds: 0.02 }], logger)
  log.length = 0
  rmSync(place, { recursive: true })
  await until(() => log.length > 0)
  t.match(log, [['error', /ENOENT/]])
  watched.close()
})
