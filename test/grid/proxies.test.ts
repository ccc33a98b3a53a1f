/** Proxies both ways: ours before OpenSSL's and the grid tools' judgement, theirs before ours. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type CertificateFault } from '../../src/identity/certificate-fault.ts'
import { createProxy, issueUserCertificate, mintDevelopmentCa } from '../../src/identity/mint.ts'
import { OID } from '../../src/identity/oid.ts'
import {
  type Credential,
  parseCredential,
  pemCertificates,
  readCredential,
  writeCredential,
} from '../../src/identity/pem.ts'
import { TrustStore } from '../../src/identity/trust.ts'
import { type VerifiedChain, verifyChain } from '../../src/identity/verify.ts'
import { needs } from '../parts.ts'
import { type Ended, run } from '../service/running.ts'

const folder = mkdtempSync(join(tmpdir(), 'karst-grid-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const place = (name: string): string => join(folder, name)
const file = (name: string, text: string): string => {
  writeFileSync(place(name), text, { mode: 0o600 })
  return place(name)
}

const NAME = [
  ['C', 'CA'],
  ['O', 'Lab'],
  ['OU', 'People'],
  ['CN', 'Alice'],
] as const
const SLASH = '/C=CA/O=Lab/OU=People/CN=Alice'
const DN = 'cn=alice,ou=people,o=lab,c=ca'
const authority = await mintDevelopmentCa('lab')
const trust = TrustStore.of(pemCertificates(authority.certificate))
const caFile = file('ca.pem', authority.certificate)
const users = {
  rsa: await issueUserCertificate(authority, NAME, 30, 'rsa'),
  ec: await issueUserCertificate(authority, NAME, 30, 'ec'),
}

/** What of a credential a tool gets as files. */
const certificate = file('usercert.pem', users.rsa.certificate)
const key = file('userkey.pem', users.rsa.key)

const grid = needs('grid-proxy-init', 'grid-proxy-info', 'openssl')
const voms = needs('voms-proxy-init', 'voms-proxy-info', 'openssl')
const openssl = needs('openssl')

let certificates: Promise<string> | undefined

/** A folder in the form of /etc/grid-security/certificates. */
async function gridCertificates(): Promise<string> {
  const { stdout } = await run('openssl', ['x509', '-in', caFile, '-noout', '-hash'])
  mkdirSync(place('certificates'))
  file(`certificates/${stdout.trim()}.0`, authority.certificate)
  const policy = `access_id_CA X509 '/O=karst development/CN=lab'\npos_rights globus CA:sign\ncond_subjects globus '"/C=CA/*"'\n`
  file(`certificates/${stdout.trim()}.signing_policy`, policy)
  return place('certificates')
}

/** Runs a grid tool with nothing but our authority and no credential but those named. */
async function tool(program: string, ...args: string[]): Promise<Ended> {
  certificates ??= gridCertificates()
  const env = {
    X509_CERT_DIR: await certificates,
    HOME: folder,
    X509_USER_PROXY: place('none'),
    VOMS_USERCONF: place('none'),
  }
  return run(program, args, { env })
}

const judged = ({ certificate, chain }: Credential): VerifiedChain =>
  verifyChain(pemCertificates([certificate, ...chain].join('')), trust)

/** Everything `karst proxy init` can make, and below it to three levels. */
async function ours(kind: 'rsa' | 'ec'): Promise<Record<string, Credential>> {
  const one = await createProxy(users[kind], { hours: 12, newKey: kind })
  const two = await createProxy(one, { hours: 12, newKey: kind, pathLen: 1 })
  return {
    'one level': one,
    'two levels': two,
    'three levels': await createProxy(two, { hours: 12, newKey: kind }),
    limited: await createProxy(users[kind], { hours: 12, newKey: kind, policy: OID.limited }),
    'limited below a full one': await createProxy(one, { hours: 12, newKey: kind, policy: OID.limited }),
    'a path length of 0': await createProxy(users[kind], { hours: 12, newKey: kind, pathLen: 0 }),
    'a path length of 7': await createProxy(users[kind], { hours: 12, newKey: kind, pathLen: 7 }),
    'another kind of key': await createProxy(users[kind === 'rsa' ? 'ec' : 'rsa'], { hours: 12, newKey: kind }),
  }
}
const made = { rsa: await ours('rsa'), ec: await ours('ec') }

for (const kind of ['rsa', 'ec'] as const) {
  t.test(`openssl verify accepts every ${kind} proxy we make`, { skip: openssl }, async (t) => {
    for (const [it, proxy] of Object.entries(made[kind])) {
      const leaf = file('leaf.pem', proxy.certificate)
      const untrusted = file('untrusted.pem', proxy.chain.join(''))
      const args = ['verify', '-x509_strict', '-CAfile', caFile, '-untrusted', untrusted]
      const ended = await run('openssl', [...args, '-allow_proxy_certs', leaf])
      t.match(ended, { code: 0, stdout: /: OK/ }, `${it} ${ended.stderr}`)
      t.not((await run('openssl', [...args, leaf])).code, 0, `${it}: as a proxy only`)
    }
  })
}

t.test('grid-proxy-info accepts every RSA proxy we make', { skip: grid }, async (t) => {
  for (const [it, proxy] of Object.entries(made.rsa)) {
    await writeCredential(place('ours'), proxy)
    const exists = await tool('grid-proxy-info', '-f', place('ours'), '-exists', '-valid', '11:50', '-bits', '2048')
    t.equal(exists.code, 0, `${it} ${exists.stderr}`)
    const { stdout, code } = await tool('grid-proxy-info', '-f', place('ours'))
    t.equal(code, 0, it)
    t.match(stdout, new RegExp(`^identity : ${SLASH}$`, 'm'), it)
    const limited = judged(proxy).limited
    t.match(stdout, limited ? /RFC 3820 compliant limited proxy/ : /RFC 3820 compliant impersonation proxy/, it)
  }
})

t.test('karst proxy info says what grid-proxy-info says', { skip: grid }, async (t) => {
  for (const [it, proxy] of Object.entries(made.rsa)) {
    await writeCredential(place('both'), proxy)
    const theirs = await tool('grid-proxy-info', '-f', place('both'))
    const ours = await run('bin/karst', ['proxy', 'info', '--file', place('both')])
    for (const field of ['subject', 'issuer', 'identity', 'type']) {
      const line = new RegExp(`^${field} *: (.*)$`, 'm')
      t.equal(line.exec(ours.stdout)?.[1], line.exec(theirs.stdout)?.[1] ?? 'nothing', `${it}: ${field}`)
    }
  }
})

t.test('voms-proxy-info accepts every RSA proxy we make', { skip: voms }, async (t) => {
  for (const [it, proxy] of Object.entries(made.rsa)) {
    await writeCredential(place('ours'), proxy)
    const { stdout, stderr, code } = await tool('voms-proxy-info', '-file', place('ours'))
    t.equal(code, 0, `${it} ${stderr}`)
    // of a proxy of a proxy it calls the issuer the identity
    t.match(stdout, new RegExp(`^identity  : ${SLASH}(/CN=\\d+)*$`, 'm'), it)
    t.match(stdout, /^type      : RFC compliant proxy$/m, it)
  }
})

t.test('voms-proxy-init makes a proxy of ours its own', { skip: voms }, async (t) => {
  const [one] = Object.values(made.rsa)
  if (one === undefined) throw new Error('none made')
  await writeCredential(place('ours'), one)
  const where = [
    '-cert',
    place('ours'),
    '-key',
    place('ours'),
    '-certdir',
    place('certificates'),
    '-out',
    place('below'),
  ]
  const ended = await tool('voms-proxy-init', '-rfc', '-noregen', '-valid', '5:00', ...where)
  t.equal(ended.code, 0, `${ended.stdout}${ended.stderr}`)
  t.match(judged(await readCredential(place('below'))), { dn: DN, depth: 2, limited: false })
})

interface Theirs {
  readonly it: string
  readonly program: 'grid-proxy-init' | 'voms-proxy-init'
  readonly args: readonly string[]
  readonly accepted?: Partial<VerifiedChain>
  readonly refused?: string
}

const THEIRS: readonly Theirs[] = [
  { it: 'grid-proxy-init -rfc', program: 'grid-proxy-init', args: ['-rfc'], accepted: { depth: 1, limited: false } },
  {
    it: 'grid-proxy-init -rfc -limited',
    program: 'grid-proxy-init',
    args: ['-rfc', '-limited'],
    accepted: { depth: 1, limited: true },
  },
  {
    it: 'grid-proxy-init -rfc -path-length 0',
    program: 'grid-proxy-init',
    args: ['-rfc', '-path-length', '0'],
    accepted: { depth: 1 },
  },
  {
    it: 'grid-proxy-init -rfc -bits 4096',
    program: 'grid-proxy-init',
    args: ['-rfc', '-bits', '4096'],
    accepted: { depth: 1 },
  },
  {
    it: 'grid-proxy-init -rfc -bits 1024',
    program: 'grid-proxy-init',
    args: ['-rfc', '-bits', '1024'],
    refused: 'WEAK_KEY',
  },
  {
    it: 'grid-proxy-init -rfc -independent',
    program: 'grid-proxy-init',
    args: ['-rfc', '-independent'],
    refused: 'PROXY_INDEPENDENT',
  },
  { it: 'grid-proxy-init -old', program: 'grid-proxy-init', args: ['-old'], refused: 'LEGACY_PROXY' },
  {
    it: 'grid-proxy-init -old -limited',
    program: 'grid-proxy-init',
    args: ['-old', '-limited'],
    refused: 'LEGACY_PROXY',
  },
  { it: 'grid-proxy-init -draft', program: 'grid-proxy-init', args: ['-draft'], refused: 'LEGACY_PROXY' },
  {
    it: 'grid-proxy-init -draft -limited',
    program: 'grid-proxy-init',
    args: ['-draft', '-limited'],
    refused: 'LEGACY_PROXY',
  },
  { it: 'voms-proxy-init -rfc', program: 'voms-proxy-init', args: ['-rfc'], accepted: { depth: 1, limited: false } },
  {
    it: 'voms-proxy-init -rfc -limited',
    program: 'voms-proxy-init',
    args: ['-rfc', '-limited'],
    accepted: { depth: 1, limited: true },
  },
  { it: 'voms-proxy-init -old', program: 'voms-proxy-init', args: ['-old'], refused: 'LEGACY_PROXY' },
  {
    it: 'voms-proxy-init -old -limited',
    program: 'voms-proxy-init',
    args: ['-old', '-limited'],
    refused: 'LEGACY_PROXY',
  },
]

const refusalOf = (credential: Credential): string => {
  try {
    return `accepted: ${JSON.stringify(judged(credential))}`
  } catch (error) {
    return (error as CertificateFault).code
  }
}

for (const { it, program, args, accepted, refused } of THEIRS) {
  const outcome = refused === undefined ? 'is accepted' : `is refused: ${refused}`
  t.test(`what ${it} makes ${outcome}`, { skip: program === 'grid-proxy-init' ? grid : voms }, async (t) => {
    const out = place('theirs')
    rmSync(out, { force: true })
    const where = ['-cert', certificate, '-key', key, '-certdir', place('certificates'), '-out', out]
    const ended = await tool(program, ...args, ...where)
    t.equal(ended.code, 0, `${ended.stdout}${ended.stderr}`)
    const credential = await readCredential(out)
    if (refused !== undefined) return void t.equal(refusalOf(credential), refused)
    t.match(judged(credential), { dn: DN, slash: SLASH, independent: false, ...accepted })
    // and what we make of it is good for both
    if (args.includes('0')) return
    const below = await createProxy(credential, { hours: 1 })
    t.match(judged(below), { dn: DN, depth: 2, limited: accepted?.limited ?? false })
    await writeCredential(out, below)
    t.equal((await tool('grid-proxy-info', '-f', out, '-exists')).code, 0)
  })
}

t.test('what openssl makes is accepted, RSA and EC, full and limited', { skip: openssl }, async (t) => {
  for (const kind of ['rsa', 'ec'] as const) {
    for (const [language, limited] of [
      ['id-ppl-inheritAll', false],
      [OID.limited, true],
    ] as const) {
      const credential = await opensslProxy(kind, language)
      t.match(judged(credential), { dn: DN, depth: 1, limited }, `${kind} ${language}`)
    }
    t.equal(refusalOf(await opensslProxy(kind, 'id-ppl-independent')), 'PROXY_INDEPENDENT')
  }
})

/** The three commands of the openssl documentation (auth.md C1). */
async function opensslProxy(kind: 'rsa' | 'ec', language: string): Promise<Credential> {
  const newKey = kind === 'rsa' ? ['-newkey', 'rsa:2048'] : ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const user = users[kind]
  const [cert, secret] = [file('by.pem', user.certificate), file('by-key.pem', user.key)]
  file('p.ext', `keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:${language}\n`)
  const steps = [
    [
      'req',
      '-new',
      ...newKey,
      '-nodes',
      '-keyout',
      place('p.key'),
      '-subj',
      `${SLASH}/CN=4711`,
      '-out',
      place('p.csr'),
    ],
    [
      'x509',
      '-req',
      '-in',
      place('p.csr'),
      '-CA',
      cert,
      '-CAkey',
      secret,
      '-set_serial',
      '4711',
      '-days',
      '1',
      '-sha256',
      '-extfile',
      place('p.ext'),
      '-out',
      place('p.pem'),
    ],
  ]
  for (const step of steps) {
    const ended = await run('openssl', step)
    if (ended.code !== 0) throw new Error(`openssl ${step.join(' ')}: ${ended.stderr}`)
  }
  const { stdout } = await run('cat', [place('p.pem'), place('p.key'), cert])
  return parseCredential(stdout, 'openssl')
}
