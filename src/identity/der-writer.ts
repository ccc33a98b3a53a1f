// Writes DER (X.690 section 10) and, from it, signed certificates (RFC 5280 section 4.1) with node:crypto's own signing.
import { createHash, type KeyObject, sign } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { readBitOctets, readDer, sequence, TAG } from './der.ts'
import { attributeOid } from './dn.ts'
import { OID } from './oid.ts'

/** A value of that tag around the contents. */
export function writeTlv(tag: number, ...contents: readonly Buffer[]): Buffer {
  const value = Buffer.concat(contents)
  if (value.length < 0x80) return Buffer.concat([Buffer.from([tag, value.length]), value])
  const hex = value.length.toString(16)
  const length = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, value])
}

export const writeSequence = (...contents: readonly Buffer[]): Buffer => writeTlv(TAG.sequence, ...contents)

/** An object identifier from its dotted form (arcs to 2^53). */
export function writeOid(dotted: string): Buffer {
  const [root = 0, second = 0, ...arcs] = dotted.split('.').map(Number)
  const octets = [root * 40 + second, ...arcs].flatMap((arc) => {
    const groups = [arc & 0x7f]
    for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) groups.unshift((rest & 0x7f) | 0x80)
    return groups
  })
  return writeTlv(TAG.oid, Buffer.from(octets))
}

/** An INTEGER that is not negative, from a number or big-endian octets. */
export function writeInteger(value: number | Buffer): Buffer {
  const hex = typeof value === 'number' ? value.toString(16) : value.toString('hex')
  const minimal = hex.replace(/^(00)+(?=.)/, '')
  const octets = Buffer.from(minimal.length % 2 === 0 ? minimal : `0${minimal}`, 'hex')
  return writeTlv(TAG.integer, ...((octets[0] ?? 0) >= 0x80 ? [Buffer.from([0])] : []), octets)
}

export const writeBitString = (octets: Buffer, unused = 0): Buffer =>
  writeTlv(TAG.bitString, Buffer.from([unused]), octets)

export const writeBoolean = (value: boolean): Buffer => writeTlv(TAG.boolean, Buffer.from([value ? 0xff : 0]))

/** UTCTime to 2049, GeneralizedTime from 2050 on (RFC 5280 4.1.2.5). */
export function writeTime(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  return date.getUTCFullYear() < 2050
    ? writeTlv(TAG.utcTime, Buffer.from(digits.slice(2)))
    : writeTlv(TAG.generalizedTime, Buffer.from(digits))
}

/** One RDN with one attribute: the type as CN, ou or dotted; the text as PrintableString where it can be, else UTF8. */
export function writeRdn(type: string, value: string): Buffer {
  const oid = attributeOid(type)
  if (oid === undefined) throw new Fault('InvalidArgument', `no such name attribute: ${type}`)
  const ia5 = oid === '0.9.2342.19200300.100.1.25' || oid === '1.2.840.113549.1.9.1'
  const tag = ia5 ? TAG.ia5 : /^[A-Za-z0-9 '()+,./:=?-]*$/.test(value) ? TAG.printable : TAG.utf8
  return writeTlv(TAG.set, writeSequence(writeOid(oid), writeTlv(tag, Buffer.from(value))))
}

/** A Name, from attribute types and values in DER order (country first is the custom). */
export function writeName(attributes: readonly (readonly [type: string, value: string])[]): Buffer {
  return writeSequence(...attributes.map(([type, value]) => writeRdn(type, value)))
}

export function writeExtension(oid: string, critical: boolean, value: Buffer): Buffer {
  return writeSequence(writeOid(oid), ...(critical ? [writeBoolean(true)] : []), writeTlv(TAG.octetString, value))
}

/** The identifier of a public key (RFC 7093 section 2, method 1). */
export function keyIdentifier(key: KeyObject): Buffer {
  const spki = sequence(readDer(key.export({ type: 'spki', format: 'der' })))
  return createHash('sha256').update(readBitOctets(spki[1])).digest().subarray(0, 20)
}

function signatureAlgorithm(key: KeyObject): { readonly identifier: Buffer; readonly hash: string | null } {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return { identifier: writeSequence(writeOid(OID.sha256WithRsa), writeTlv(TAG.null)), hash: 'sha256' }
    case 'ec':
      return { identifier: writeSequence(writeOid(OID.ecdsaWithSha256)), hash: 'sha256' }
    case 'ed25519':
      return { identifier: writeSequence(writeOid(OID.ed25519)), hash: null }
    default:
      throw new Fault('InvalidArgument', `cannot sign with a key of type ${key.asymmetricKeyType ?? 'unknown'}`)
  }
}

export interface CertificateDraft {
  /** Names as DER (writeName, or copied from a certificate). */
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly serial: number | Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

/** The certificate of that draft as DER, version 3, signed with the issuer's key (RSA, EC or Ed25519; SHA-256). */
export function signCertificate(draft: CertificateDraft, issuerKey: KeyObject): Buffer {
  const { identifier, hash } = signatureAlgorithm(issuerKey)
  const tbs = writeSequence(
    writeTlv(0xa0, writeInteger(2)),
    writeInteger(draft.serial),
    identifier,
    draft.issuer,
    writeSequence(writeTime(draft.notBefore), writeTime(draft.notAfter)),
    draft.subject,
    draft.publicKey.export({ type: 'spki', format: 'der' }),
    ...(draft.extensions.length > 0 ? [writeTlv(0xa3, writeSequence(...draft.extensions))] : []),
  )
  return writeSequence(tbs, identifier, writeBitString(sign(hash, tbs, issuerKey)))
}
