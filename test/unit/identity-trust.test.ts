// Where anchors come from, and how long a verified chain is remembered.
import { mkdtempSync, rmSync, symlinkSync, writeFileSync, unlinkSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { ChainCache } from '../../src/identity/chain-cache.ts'
import { CertificateFault } from '../../src/identity/certificate-fault.ts'
import { toPem } from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { verifyChain } from '../../src/identity/verify.ts'
import { isFault } from '../../src/vospace/fault.ts'
import { authority, certify, daysFromNow, NOW, proxy } from '../fixtures/forge.ts'
import { alice, ALICE, ca, CA_NAME, chainOf, keys, root } from '../fixtures/lab.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'karst-trust-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const pem = (der: Buffer): string => toPem('CERTIFICATE', der)
const accepts = (trust: TrustStore): boolean => {
  try {
    return verifyChain([alice.der], trust, { now: NOW }).depth === 0
  } catch (error) {
    if (error instanceof CertificateFault) return false
    throw error
  }
}
const faultOf = (refused: Promise<unknown>): Promise<string> =>
  refused.then(
    () => 'none',
    (error: unknown) => (isFault(error) ? error.fault : String(error)),
  )

t.test('it reads a file with several authorities', async (t) => {
  const file = path.join(folder, 'bundle.pem')
  writeFileSync(file, `# Root\n${pem(root.der)}# Lab\n${pem(ca.der)}`)
  t.ok(accepts(await TrustStore.load(file)))
})

t.test('it reads a grid directory: hash links, both endings, and nothing of the other files', async (t) => {
  const directory = path.join(folder, 'certificates')
  mkdirSync(directory)
  writeFileSync(path.join(directory, 'lab.pem'), pem(ca.der))
  symlinkSync('lab.pem', path.join(directory, '0a1b2c3d.0'))
  symlinkSync('gone.pem', path.join(directory, 'ffffffff.0'))
  writeFileSync(path.join(directory, 'root.crt'), pem(root.der))
  writeFileSync(path.join(directory, 'lab.info'), 'alias = Lab')
  writeFileSync(path.join(directory, 'mallory.txt'), pem(authority([['CN', 'Mallory CA']], keys.mallory).der))
  writeFileSync(path.join(directory, 'broken.pem'), pem(ca.der.subarray(0, 100)))
  mkdirSync(path.join(directory, 'folder.pem'))
  const trust = await TrustStore.load(directory)
  t.ok(accepts(trust))
  t.equal(trust.anchorsFor(JSON.stringify([['2.5.4.3=mallory ca']])).length, 0)
  t.equal(trust.anchorsFor(JSON.stringify([['2.5.4.3=root']])).length, 1)
  const problems = trust.problems.map((problem) => path.basename(problem.split(': ')[0] ?? '')).sort()
  t.same(problems, ['broken.pem', 'ffffffff.0', 'folder.pem'], 'one broken file locks nobody out, and is reported')
})

t.test('it refuses a place without a single authority', async (t) => {
  const empty = path.join(folder, 'empty')
  mkdirSync(empty)
  t.equal(await faultOf(TrustStore.load(empty)), 'InvalidData')
  writeFileSync(path.join(folder, 'noise.pem'), 'noise')
  t.equal(await faultOf(TrustStore.load(path.join(folder, 'noise.pem'))), 'InvalidData')
  t.match(await faultOf(TrustStore.load(path.join(folder, 'missing'))), /ENOENT/)
})

t.test('it counts a generation for each change, and keeps what it has when a reload fails', async (t) => {
  const file = path.join(folder, 'changing.pem')
  writeFileSync(file, pem(root.der))
  const trust = await TrustStore.load(file)
  t.equal(trust.generation, 1)
  await trust.reload()
  t.equal(trust.generation, 1, 'the same again is no change')
  t.notOk(accepts(trust))
  writeFileSync(file, pem(ca.der))
  await trust.reload()
  t.equal(trust.generation, 2)
  t.ok(accepts(trust))
  writeFileSync(file, '')
  t.equal(await faultOf(trust.reload()), 'InvalidData')
  unlinkSync(file)
  t.match(await faultOf(trust.reload()), /ENOENT/)
  t.equal(trust.generation, 2)
  t.ok(accepts(trust))
})

const chain = chainOf(proxy(alice), alice)

t.test('the cache answers the same, until five minutes, expiry or a change of trust', async (t) => {
  const file = path.join(folder, 'cached.pem')
  writeFileSync(file, pem(ca.der))
  const trust = await TrustStore.load(file)
  let now = NOW.getTime()
  const cache = new ChainCache(trust, { clock: () => now })
  const first = cache.verify(chain)
  now += 299_000
  t.equal(cache.verify(chain), first, 'the very same answer')
  now += 2000
  const second = cache.verify(chain)
  t.not(second, first)
  t.same(second, first)
  writeFileSync(file, pem(root.der))
  await trust.reload()
  t.throws(() => cache.verify(chain), { code: 'UNTRUSTED' })
})

t.test('the cache never answers with a chain that has ended', async (t) => {
  let now = NOW.getTime()
  const cache = new ChainCache(TrustStore.of([ca.der]), { clock: () => now })
  const short = chainOf(proxy(alice, { notAfter: new Date(now + 10_000) }), alice)
  t.equal(cache.verify(short).depth, 1)
  now += 10_001
  t.throws(() => cache.verify(short), { code: 'EXPIRED' })
})

t.test('the cache keeps a refusal for ten seconds at most', async (t) => {
  let now = NOW.getTime()
  const cache = new ChainCache(TrustStore.of([ca.der]), { clock: () => now })
  const early = [certify({ by: ca, keys: keys.alice, subject: ALICE, notBefore: new Date(now + 305_000) }).der]
  t.throws(() => cache.verify(early), { code: 'NOT_YET_VALID' })
  now += 9000
  t.throws(() => cache.verify(early), { code: 'NOT_YET_VALID' })
  now += 1001
  t.equal(cache.verify(early).depth, 0)
})

t.test('the cache is bounded, and drops what was not used for longest', async (t) => {
  const cache = new ChainCache(TrustStore.of([ca.der]), { size: 3, clock: () => NOW.getTime() })
  const first = cache.verify(chain)
  for (let i = 0; i < 20; i++) {
    t.throws(() => cache.verify([Buffer.from([i])]), { code: 'MALFORMED' })
    cache.verify(chain)
  }
  t.equal(cache.size, 3)
  t.equal(cache.verify(chain), first, 'what is in use stays')
})

t.test('the cache tells two chains of the same bytes apart', async (t) => {
  const cache = new ChainCache(TrustStore.of([ca.der]), { clock: () => NOW.getTime() })
  t.equal(cache.verify(chain).depth, 1)
  t.throws(() => cache.verify([Buffer.concat(chain)]), { code: 'MALFORMED' })
})

t.test('the cache judges by the name of an authority that is renewed', async (t) => {
  const renewed = authority(CA_NAME, keys.ca, { notAfter: daysFromNow(1000) })
  const cache = new ChainCache(TrustStore.of([ca.der, renewed.der]), { clock: () => NOW.getTime() })
  t.equal(cache.verify(chain).issuer, '/C=CA/O=Lab/CN=Lab CA')
})
