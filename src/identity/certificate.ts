// A certificate as verification needs it (RFC 5280 section 4.1), read from DER by our own strict reader.
import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { CertificateFault, malformed } from './certificate-fault.ts'
import {
  expectTag,
  readBitOctets,
  readBits,
  readBoolean,
  readCount,
  readDer,
  readInteger,
  readOid,
  readTime,
  sequence,
  TAG,
  type Tlv,
} from './der.ts'
import { type DistinguishedName, matchKey, readName, slash } from './dn.ts'
import { OID } from './oid.ts'
import { isSignature } from './signature.ts'

export interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}

export interface ProxyInfo {
  readonly critical: boolean
  /** How many proxies may follow below; Infinity when it does not say. */
  readonly pathLength: number
  readonly language: string
  readonly hasPolicy: boolean
}

/** One parsed certificate. Construction refuses what is not strict DER (CertificateFault, code MALFORMED). */
export class Certificate {
  readonly der: Buffer
  readonly version: number
  /** Hexadecimal, as in the DER. */
  readonly serial: string
  readonly signatureAlgorithm: string
  readonly issuer: DistinguishedName
  readonly subject: DistinguishedName
  /** Keys for comparing names; see matchKey. */
  readonly issuerKey: string
  readonly subjectKey: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly extensions: ReadonlyMap<string, Extension>
  /** The subject's Name as it is in the DER: what a proxy's issuer field copies. */
  readonly subjectDer: Buffer
  /** SHA-256 of the DER, hexadecimal. */
  readonly fingerprint: string
  readonly #signed: Buffer
  readonly #signature: Buffer
  readonly #spki: Buffer
  #publicKey: KeyObject | undefined

  constructor(der: Buffer) {
    const [tbs, algorithm, signature, rest] = sequence(readDer(der))
    if (rest) malformed('trailing field')
    const fields = sequence(tbs)
    this.der = der
    this.version = fields[0]?.tag === 0xa0 ? readVersion(fields.shift()) : 1
    const [serial, innerAlgorithm, issuer, validity, subject, spki, ...optional] = fields
    // RFC 5280 4.1.1.2: the unsigned copy must not say something else than the signed one.
    if (!algorithm || !innerAlgorithm?.raw.equals(algorithm.raw)) malformed('signature algorithms differ')
    const [notBefore, notAfter, more] = sequence(validity)
    if (more) malformed('validity')
    this.serial = readInteger(serial).toString('hex')
    this.signatureAlgorithm = readOid(sequence(algorithm)[0])
    this.issuer = readName(issuer)
    this.subject = readName(subject)
    this.issuerKey = matchKey(this.issuer)
    this.subjectKey = matchKey(this.subject)
    this.notBefore = readTime(notBefore)
    this.notAfter = readTime(notAfter)
    this.subjectDer = expectTag(subject, TAG.sequence).raw
    this.extensions = readExtensions(optional, this.version)
    this.fingerprint = hash('sha256', der, 'hex')
    this.#signed = expectTag(tbs, TAG.sequence).raw
    this.#signature = readBitOctets(signature)
    this.#spki = expectTag(spki, TAG.sequence).raw
  }

  /** The subject in slash form, for messages. */
  get name(): string {
    return slash(this.subject)
  }

  get publicKey(): KeyObject {
    try {
      this.#publicKey ??= createPublicKey({ key: this.#spki, format: 'der', type: 'spki' })
    } catch (error) {
      throw new CertificateFault('WEAK_KEY', `the key of ${this.name} is of no supported kind`, { cause: error })
    }
    return this.#publicKey
  }

  get isCa(): boolean {
    return this.basicConstraints?.ca ?? false
  }

  /** Is that private key the one of this certificate? */
  hasKey(key: KeyObject): boolean {
    // OpenSSL throws when it is to compare keys of two kinds.
    return key.asymmetricKeyType === this.publicKey.asymmetricKeyType && createPublicKey(key).equals(this.publicKey)
  }

  get isSelfIssued(): boolean {
    return this.subjectKey === this.issuerKey
  }

  /** Does the issuer's key verify this signature? Names are not looked at. */
  isSignedBy(issuer: Certificate): boolean {
    return isSignature(this.signatureAlgorithm, this.#signed, issuer.publicKey, this.#signature)
  }

  get basicConstraints(): { ca: boolean; pathLength: number } | undefined {
    const extension = this.extensions.get(OID.basicConstraints)
    if (!extension) return undefined
    const fields = sequence(readDer(extension.value))
    const ca = fields[0]?.tag === TAG.boolean ? readBoolean(fields.shift()) : false
    const pathLength = fields.length > 0 ? readCount(fields.shift()) : Infinity
    if (fields.length > 0) malformed('basicConstraints')
    return { ca, pathLength }
  }

  /** Undefined when there is no keyUsage extension, which means every use (RFC 5280 4.2.1.3). */
  get keyUsage(): { digitalSignature: boolean; keyCertSign: boolean; cRLSign: boolean } | undefined {
    const extension = this.extensions.get(OID.keyUsage)
    if (!extension) return undefined
    const first = readBits(readDer(extension.value)).octets[0] ?? 0
    const has = (bit: number): boolean => (first & bit) !== 0
    return { digitalSignature: has(0x80), keyCertSign: has(0x04), cRLSign: has(0x02) }
  }

  /** True also when there is no extendedKeyUsage extension. */
  get allowsClientAuthentication(): boolean {
    const extension = this.extensions.get(OID.extendedKeyUsage)
    if (!extension) return true
    const uses = sequence(readDer(extension.value)).map(readOid)
    return uses.includes(OID.clientAuth) || uses.includes(OID.anyExtendedKeyUsage)
  }

  /** RFC 3820 3.8; undefined for what is not a proxy certificate. */
  get proxyInfo(): ProxyInfo | undefined {
    const extension = this.extensions.get(OID.proxyInfo)
    if (!extension) return undefined
    const fields = sequence(readDer(extension.value))
    const pathLength = fields[0]?.tag === TAG.integer ? readCount(fields.shift()) : Infinity
    const [language, policy, rest] = sequence(fields.shift())
    if (rest || fields.length > 0) malformed('proxyCertInfo')
    if (policy) expectTag(policy, TAG.octetString)
    return { critical: extension.critical, pathLength, language: readOid(language), hasPolicy: policy !== undefined }
  }
}

function readVersion(tlv: Tlv | undefined): number {
  const version = readCount(readDer(tlv?.value ?? malformed('version'))) + 1
  if (version !== 2 && version !== 3) malformed('version')
  return version
}

function readExtension(tlv: Tlv): [string, Extension] {
  const fields = sequence(tlv)
  const oid = readOid(fields.shift())
  // An explicit FALSE is not DER, but some authorities write it and the signature covers it.
  const critical = fields[0]?.tag === TAG.boolean ? readBoolean(fields.shift()) : false
  const { value } = expectTag(fields.shift(), TAG.octetString)
  if (fields.length > 0) malformed(`extension ${oid}`)
  return [oid, { critical, value }]
}

// [1] and [2] are the unique identifiers of version 2: skipped. [3] holds the extensions.
function readExtensions(optional: readonly Tlv[], version: number): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>()
  let before = 0x80
  for (const field of optional) {
    if (![0x81, 0x82, 0xa3].includes(field.tag) || field.tag <= before) malformed('field')
    before = field.tag
    if (field.tag !== 0xa3) continue
    if (version !== 3) malformed('extensions need version 3')
    for (const [oid, extension] of extensionsOf(readDer(field.value))) found.set(oid, extension)
  }
  return found
}

/** A SEQUENCE of extensions, no OID twice (RFC 5280 4.2). */
export function extensionsOf(tlv: Tlv | undefined): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>()
  for (const one of sequence(tlv)) {
    const [oid, extension] = readExtension(one)
    if (found.has(oid)) malformed(`extension ${oid} twice`)
    found.set(oid, extension)
  }
  return found
}
