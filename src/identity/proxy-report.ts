// What a credential file says of itself, in the words of grid tools. Nothing is verified here: no authority is at hand.
import { Certificate } from './certificate.ts'
import { canonical, type DistinguishedName, slash } from './dn.ts'
import { OID } from './oid.ts'
import { type Credential, pemCertificates } from './pem.ts'

export interface ProxyReport {
  /** slash form */
  readonly subject: string
  readonly issuer: string
  /** the end entity */
  readonly identity: string
  /** the end entity, as identities are compared */
  readonly dn: string
  readonly type: string
  readonly isProxy: boolean
  readonly limited: boolean
  /** How many proxies may follow below; Infinity when it does not say. */
  readonly pathLength: number
  readonly key: 'rsa' | 'ec' | 'other'
  readonly bits: number
  /** the earliest end of the chain */
  readonly expires: Date
}

const TYPES: Readonly<Record<string, string>> = {
  [OID.inheritAll]: 'RFC 3820 compliant impersonation proxy',
  [OID.limited]: 'RFC 3820 compliant limited proxy',
  [OID.independent]: 'RFC 3820 compliant independent proxy',
}

const CURVE_BITS: Readonly<Record<string, number>> = { prime256v1: 256, secp384r1: 384, secp521r1: 521 }

/** Describes a credential. CertificateFault (MALFORMED) for what is no certificate. */
export function describeCredential({ certificate, chain }: Pick<Credential, 'certificate' | 'chain'>): ProxyReport {
  const path = pemCertificates([certificate, ...chain].join('')).map((der) => new Certificate(der))
  const [leaf] = path
  if (leaf === undefined) throw new TypeError('a credential has a certificate')
  const identity = identityOf(path)
  const { asymmetricKeyType: key, asymmetricKeyDetails: details } = leaf.publicKey
  return {
    subject: leaf.name,
    issuer: slash(leaf.issuer),
    identity: slash(identity),
    dn: canonical(identity),
    type: typeOf(leaf),
    isProxy: isProxy(leaf),
    limited: path.some(({ proxyInfo }) => proxyInfo?.language === OID.limited),
    pathLength: leaf.proxyInfo?.pathLength ?? Infinity,
    key: key === 'rsa' || key === 'ec' ? key : 'other',
    bits: details?.modulusLength ?? CURVE_BITS[details?.namedCurve ?? ''] ?? 256,
    expires: new Date(Math.min(...path.map(({ notAfter }) => notAfter.getTime()))),
  }
}

function identityOf(path: readonly Certificate[]): DistinguishedName {
  const endEntity = path.find((certificate) => !isProxy(certificate))
  if (endEntity !== undefined) return endEntity.subject
  // the end entity was left out: its name is what the last proxy was issued by
  return path.at(-1)?.issuer ?? []
}

const isProxy = (certificate: Certificate): boolean => certificate.proxyInfo !== undefined || isLegacy(certificate)

function isLegacy({ extensions, subject }: Certificate): boolean {
  const last = subject.at(-1)?.[0]
  const isNamed = last?.oid === OID.commonName && /^(limited )?proxy$/i.test(last.value)
  return isNamed || extensions.has(OID.draftProxyInfo)
}

function typeOf(leaf: Certificate): string {
  const language = leaf.proxyInfo?.language
  if (language !== undefined) return TYPES[language] ?? `RFC 3820 compliant proxy of policy ${language}`
  return isLegacy(leaf) ? 'proxy from before RFC 3820' : 'end entity credential'
}
