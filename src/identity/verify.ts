// Verifies a client's chain: RFC 3820 proxies down from an end-entity certificate (EEC), and RFC 5280 from there up to an
// anchor. TLS proved only that the client holds the leaf's key; everything else is decided here. A plain EEC is the chain
// without proxies.
import { CertificateFault, type CertificateCode } from './certificate-fault.ts'
import { Certificate } from './certificate.ts'
import { canonical, type DistinguishedName, matchKey, rfc2253, slash } from './dn.ts'
import { OID } from './oid.ts'
import { isQuick, signatureFlaw } from './signature.ts'
import { checkStanding } from './standing.ts'
import { type TrustStore } from './trust.ts'

export interface VerifyOptions {
  /** The time to judge by; now when absent. */
  readonly now?: Date
  /** How far a client's clock may be ahead, in milliseconds: for notBefore only, since an end is an end. */
  readonly skew?: number
  readonly maxCertificates?: number
  readonly maxProxyDepth?: number
  /** Smallest RSA modulus in bits. */
  readonly minRsaBits?: number
  /** Let an independent proxy in, as an identity of its own (RFC 3820 3.8.2). */
  readonly allowIndependent?: boolean
}

export interface VerifiedChain {
  /** Canonical DN of the end entity, or of the independent proxy: the identity. */
  readonly dn: string
  readonly rfc2253: string
  readonly slash: string
  /** How many proxies there are below the end entity. */
  readonly depth: number
  /** A limited proxy is in the chain: fit for data, not for delegation or administration. */
  readonly limited: boolean
  readonly independent: boolean
  /** The earliest notAfter of the whole path, the anchor included. To be compared with the clock at every request. */
  readonly expires: Date
  /** When it has to be verified again though nothing was reloaded: `expires`, or before it the end of a revocation list. */
  readonly reviewAt: Date
  /** Slash DN of the authority that issued the end entity's certificate. */
  readonly issuer: string
  /** SHA-256 of the end entity's certificate, hexadecimal. */
  readonly fingerprint: string
}

type Rules = Required<VerifyOptions>

interface ProxyLevel {
  readonly certificate: Certificate
  readonly pathLength: number
  readonly language: string
}

const MAX_AUTHORITIES = 8
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const UNDERSTOOD = new Set<string>([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.certificatePolicies,
  OID.nameConstraints,
  OID.proxyInfo,
])

const refuse = (code: CertificateCode, reason: string): never => {
  throw new CertificateFault(code, reason)
}

/**
 * Verifies `chain` (DER, the leaf first; the rest in any order, extra certificates do no harm) against the anchors.
 * Throws a CertificateFault (NotAuthenticated with a `code` and a readable reason).
 */
export function verifyChain(chain: readonly Buffer[], trust: TrustStore, options: VerifyOptions = {}): VerifiedChain {
  const rules: Rules = {
    now: new Date(),
    skew: 300_000,
    maxCertificates: 12,
    maxProxyDepth: 8,
    minRsaBits: 2048,
    allowIndependent: false,
    ...options,
  }
  if (chain.length > rules.maxCertificates) refuse('CHAIN_TOO_LONG', `more than ${rules.maxCertificates} certificates`)
  const [leaf, ...pool] = chain.map((der) => new Certificate(der))
  if (!leaf) return refuse('NO_CERTIFICATE', 'no certificate')
  const { proxies, endEntity } = climbProxies(leaf, pool, rules)
  checkProxyChain(proxies)
  checkEndEntity(endEntity, rules)
  const authorities = climbAuthorities(endEntity, pool, trust, rules)
  const path = [...proxies.map(({ certificate }) => certificate), endEntity, ...authorities]
  // Proxies are on no list (RFC 3820 section 4) and in no policy: they stand and fall with their end entity.
  const listsEnd = checkStanding([endEntity, ...authorities], trust, rules)
  const expires = Math.min(...path.map((certificate) => certificate.notAfter.getTime()))
  // The lowest independent proxy is who acts: it inherits nothing from those above (RFC 3820 3.8.2).
  const independent = proxies.find(({ language }) => language === OID.independent)?.certificate
  const who = (independent ?? endEntity).subject
  return {
    dn: canonical(who),
    rfc2253: rfc2253(who),
    slash: slash(who),
    depth: proxies.length,
    limited: proxies.some(({ language }) => language === OID.limited),
    independent: independent !== undefined,
    expires: new Date(expires),
    reviewAt: new Date(Math.min(expires, listsEnd)),
    issuer: slash(endEntity.issuer),
    fingerprint: endEntity.fingerprint,
  }
}

function climbProxies(leaf: Certificate, pool: readonly Certificate[], rules: Rules) {
  const proxies: ProxyLevel[] = []
  let endEntity = leaf
  for (;;) {
    refuseLegacyProxy(endEntity)
    const info = endEntity.proxyInfo
    if (!info) return { proxies, endEntity }
    if (proxies.length === rules.maxProxyDepth) refuse('PROXY_DEPTH', `more than ${rules.maxProxyDepth} proxies`)
    checkAnyCertificate(endEntity, rules)
    checkProxy(endEntity, rules)
    proxies.push({ certificate: endEntity, pathLength: info.pathLength, language: info.language })
    endEntity = proxyIssuer(endEntity, pool)
  }
}

// GT2 proxies have nothing but their name, the GSI-3 draft another extension. Two CNs alone make no proxy:
// CERN's people have three.
function refuseLegacyProxy(certificate: Certificate): void {
  const { extensions, subject, name } = certificate
  const last = subject.at(-1)?.[0]
  const isNamedProxy = last?.oid === OID.commonName && /^(limited )?proxy$/i.test(last.value)
  const isGt2 = isNamedProxy && isNamedBelowIssuer(certificate) && !extensions.has(OID.proxyInfo)
  if (isGt2 || extensions.has(OID.draftProxyInfo)) {
    refuse('LEGACY_PROXY', `${name} is a proxy from before RFC 3820, which is not accepted`)
  }
}

// RFC 3820 3.4: the subject is the issuer's name and exactly one CN more.
function isNamedBelowIssuer({ issuer, subject }: { issuer: DistinguishedName; subject: DistinguishedName }): boolean {
  const added = subject.at(-1)
  if (subject.length !== issuer.length + 1 || added?.length !== 1) return false
  const [attribute] = added
  return (
    attribute?.oid === OID.commonName && attribute.value !== '' && matchKey(subject.slice(0, -1)) === matchKey(issuer)
  )
}

function checkProxy(proxy: Certificate, rules: Rules): void {
  const { name, proxyInfo, keyUsage } = proxy
  if (!isNamedBelowIssuer(proxy)) refuse('PROXY_NAME', `${name} is not its issuer's name and one CN more`)
  if (proxy.extensions.has(OID.subjectAltName) || proxy.extensions.has(OID.issuerAltName)) {
    refuse('PROXY_ALT_NAME', `proxy ${name} has an alternative name`)
  }
  if (proxy.isCa) refuse('PROXY_IS_CA', `proxy ${name} claims to be an authority`)
  // RFC 3820 3.6 sets no rule for a proxy's own key usage; one that cannot sign cannot authenticate either.
  if (keyUsage && (keyUsage.keyCertSign || !keyUsage.digitalSignature)) {
    refuse('KEY_USAGE', `the key usage of proxy ${name} does not fit`)
  }
  checkClientUse(proxy)
  if (!proxyInfo?.critical) refuse('PROXY_INFO', `proxyCertInfo of ${name} is not critical`)
  else checkProxyPolicy(name, proxyInfo, rules)
}

function checkProxyPolicy(name: string, info: { language: string; hasPolicy: boolean }, rules: Rules): void {
  const { language, hasPolicy } = info
  if (language !== OID.inheritAll && language !== OID.limited && language !== OID.independent) {
    // RFC 3820 4.2: who does not understand the policy must not take the proxy for its issuer.
    refuse('PROXY_LANGUAGE', `proxy ${name} has a policy language that is not known: ${language}`)
  }
  if (hasPolicy && language !== OID.limited) refuse('PROXY_INFO', `proxy ${name} has a policy where none may be`)
  if (language === OID.independent && !rules.allowIndependent) {
    refuse('PROXY_INDEPENDENT', `${name} is an independent proxy, which is not accepted`)
  }
}

function proxyIssuer(proxy: Certificate, pool: readonly Certificate[]): Certificate {
  const named = pool.filter((one) => one.subjectKey === proxy.issuerKey)
  if (named.length === 0) {
    return refuse('CHAIN_INCOMPLETE', `the client did not send ${slash(proxy.issuer)}, which issued its proxy`)
  }
  const issuer = named.find((one) => proxy.isSignedBy(one))
  if (!issuer) return refuse('BAD_SIGNATURE', `the signature of ${proxy.name} is not its issuer's`)
  if (issuer.isCa) refuse('ISSUER_IS_CA', `${issuer.name} is an authority and may not issue a proxy`)
  // That the issuer's key usage has digitalSignature (RFC 3820 3.1) is asked of whatever it turns out to be.
  return issuer
}

// Leaf first: the proxy at `i` has i proxies below it.
function checkProxyChain(proxies: readonly ProxyLevel[]): void {
  proxies.forEach(({ certificate, pathLength, language }, i) => {
    if (i > pathLength)
      refuse('PROXY_PATH_LENGTH', `${certificate.name} allows ${pathLength} proxies below it, not ${i}`)
    const below = proxies.slice(0, i)
    if (language === OID.limited && below.some((proxy) => proxy.language !== OID.limited)) {
      refuse('PROXY_ESCALATION', `a full proxy below the limited proxy ${certificate.name}`)
    }
  })
}

function checkEndEntity(endEntity: Certificate, rules: Rules): void {
  checkAnyCertificate(endEntity, rules)
  if (endEntity.subject.length === 0) refuse('SUBJECT_EMPTY', 'a certificate without a subject')
  if (endEntity.isCa) refuse('SUBJECT_IS_CA', `${endEntity.name} is an authority, not a user`)
  if (endEntity.keyUsage && !endEntity.keyUsage.digitalSignature) {
    refuse('KEY_USAGE', `the key usage of ${endEntity.name} does not fit`)
  }
  checkClientUse(endEntity)
}

function checkClientUse(certificate: Certificate): void {
  if (certificate.allowsClientAuthentication) return
  refuse('EXTENDED_KEY_USAGE', `${certificate.name} is not for client authentication`)
}

// What holds for whatever a client sends and we build on.
function checkAnyCertificate(certificate: Certificate, rules: Rules): void {
  if (certificate.version !== 3) refuse('VERSION', `${certificate.name} is not an X.509 version 3 certificate`)
  checkValidity(certificate, rules)
  checkKey(certificate, rules)
  const flaw = signatureFlaw(certificate.signatureAlgorithm)
  if (flaw) {
    refuse(flaw.weak ? 'WEAK_SIGNATURE' : 'UNSUPPORTED_SIGNATURE', `${certificate.name} is signed ${flaw.reason}`)
  }
  for (const [oid, { critical }] of certificate.extensions) {
    if (critical && !UNDERSTOOD.has(oid))
      refuse('CRITICAL_EXTENSION', `${certificate.name} has critical extension ${oid}`)
  }
}

function checkValidity({ name, notBefore, notAfter }: Certificate, { now, skew }: Rules): void {
  if (now.getTime() + skew < notBefore.getTime()) {
    refuse('NOT_YET_VALID', `certificate of ${name} is not valid before ${notBefore.toISOString()}`)
  }
  if (now > notAfter) refuse('EXPIRED', `certificate of ${name} expired at ${notAfter.toISOString()}`)
}

function checkKey({ name, publicKey }: Certificate, rules: Rules): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey
  const { modulusLength: bits = 0, publicExponent = 0n } = details ?? {}
  const strong =
    type === 'ed25519' ||
    (type === 'ec' && CURVES.has(details?.namedCurve ?? '')) ||
    // With the exponent 1 everybody could sign.
    (type === 'rsa' && bits >= rules.minRsaBits && publicExponent >= 3n && isQuick(publicKey))
  if (!strong) refuse('WEAK_KEY', `the key of ${name} is weak or of no supported kind`)
}

function climbAuthorities(endEntity: Certificate, pool: readonly Certificate[], trust: TrustStore, rules: Rules) {
  const path: Certificate[] = []
  let below = endEntity
  let intermediates = 0
  while (path.length < MAX_AUTHORITIES) {
    const { issuer, anchored } = authorityOf(below, pool, trust, rules)
    checkAuthority(issuer, anchored, intermediates, rules)
    path.push(issuer)
    if (anchored) return path
    // RFC 5280 6.1.4 (l): a self-issued certificate does not count.
    if (!issuer.isSelfIssued) intermediates++
    below = issuer
  }
  return refuse('UNTRUSTED', `more than ${MAX_AUTHORITIES} authorities above ${endEntity.name}`)
}

// One step, never taken back: to try every path would let a client choose how long we compute. Where an authority has
// renewed its certificate with the same key, the one that is valid now is taken.
function authorityOf(below: Certificate, pool: readonly Certificate[], trust: TrustStore, rules: Rules) {
  const anchors = trust.anchorsFor(below.issuerKey)
  const sent = pool.filter((one) => one.subjectKey === below.issuerKey && one.isCa)
  const valid = (one: Certificate): number => (rules.now >= one.notBefore && rules.now <= one.notAfter ? 0 : 1)
  const signers = (from: readonly Certificate[]): Certificate | undefined =>
    from.toSorted((a, b) => valid(a) - valid(b)).find((one) => one !== below && below.isSignedBy(one))
  const anchor = signers(anchors)
  const issuer = anchor ?? signers(sent)
  if (issuer) return { issuer, anchored: anchor !== undefined }
  if (anchors.length === 0) return refuse('UNTRUSTED', `issuer ${slash(below.issuer)} is not trusted`)
  return refuse('BAD_SIGNATURE', `the signature of ${below.name} is not the one of ${slash(below.issuer)}`)
}

function checkAuthority(authority: Certificate, anchored: boolean, intermediates: number, rules: Rules): void {
  const { name, basicConstraints, keyUsage } = authority
  if (anchored) {
    // An anchor is trusted for being in the store: its own signature means nothing, and old roots have version 1.
    checkValidity(authority, rules)
    checkKey(authority, rules)
  } else {
    checkAnyCertificate(authority, rules)
    checkClientUse(authority)
  }
  if (!authority.isCa && !(anchored && authority.version === 1)) {
    refuse('CA_CONSTRAINTS', `${name} is not an authority`)
  }
  if (keyUsage && !keyUsage.keyCertSign)
    refuse('KEY_USAGE', `the key usage of ${name} does not let it issue certificates`)
  if (authority.proxyInfo) refuse('CA_CONSTRAINTS', `${name} is a proxy, not an authority`)
  if (intermediates > (basicConstraints?.pathLength ?? Infinity)) {
    refuse('CA_PATH_LENGTH', `${name} does not allow ${intermediates} authorities below it`)
  }
  if (authority.extensions.has(OID.nameConstraints)) {
    refuse('NAME_CONSTRAINTS', `${name} has name constraints, which are not supported`)
  }
}
