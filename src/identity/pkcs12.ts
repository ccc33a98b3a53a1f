// PKCS#12 (RFC 7292), as browsers and authorities hand out credentials. node-forge reads the container and decrypts it; certificates
// and keys are taken out as the DER they are, since forge itself knows no EC and writes certificates anew.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import forge from 'node-forge'
import { Fault } from '../vospace/fault.ts'

type Asn1 = forge.asn1.Asn1

export interface Pkcs12 {
  /** DER, in no order */
  readonly certificates: readonly Buffer[]
  readonly keys: readonly KeyObject[]
}

const DATA = '1.2.840.113549.1.7.1'
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6'
const KEY_BAG = '1.2.840.113549.1.12.10.1.1'
const SHROUDED_KEY_BAG = '1.2.840.113549.1.12.10.1.2'
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3'
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1'
const PBES2 = '1.2.840.113549.1.5.13'

/** A PKCS#12 file begins as every DER sequence does; a PEM text never. */
export const looksLikePkcs12 = (bytes: Buffer): boolean => bytes[0] === 0x30

/**
 * What is in a PKCS#12 file, decrypted. InvalidData, with `name` in front, for a wrong passphrase and for what is no such file.
 * Its checksum is not looked at: whether key and certificate belong together is asked of the keys.
 */
export function readPkcs12(bytes: Buffer, passphrase: string, name: string): Pkcs12 {
  const certificates: Buffer[] = []
  const keys: KeyObject[] = []
  try {
    for (const bag of bagsOf(bytes, passphrase)) {
      const [kind, content] = partsOf(bag)
      const inside = partsOf(content)[0]
      if (oidOf(kind) === CERTIFICATE_BAG) certificates.push(...certificateOf(inside))
      else if (oidOf(kind) === SHROUDED_KEY_BAG) keys.push(decryptKey(inside, passphrase))
      else if (oidOf(kind) === KEY_BAG) keys.push(keyOf(derOf(inside)))
    }
  } catch (error) {
    throw new Fault('InvalidData', `${name}: the passphrase is wrong, or it is no PKCS#12 file`, { cause: error })
  }
  return { certificates, keys }
}

function* bagsOf(bytes: Buffer, passphrase: string): Generator<Asn1> {
  const [, authSafe] = partsOf(forge.asn1.fromDer(bytes.toString('latin1'), false))
  for (const info of partsOf(parse(octetsOf(contentOf(authSafe, DATA))))) {
    const kind = oidOf(partsOf(info)[0])
    if (kind === DATA) yield* partsOf(parse(octetsOf(contentOf(info, DATA))))
    else if (kind === ENCRYPTED_DATA) yield* decryptBags(contentOf(info, ENCRYPTED_DATA), passphrase)
  }
}

// RFC 5652 4: a ContentInfo is its kind and, in [0], the content.
function contentOf(info: Asn1 | undefined, kind: string): Asn1 {
  const [oid, wrapped] = partsOf(info)
  const [content] = partsOf(wrapped)
  if (oidOf(oid) !== kind || content === undefined) throw new TypeError(`content of kind ${oidOf(oid)}`)
  return content
}

function decryptBags(encrypted: Asn1, passphrase: string): readonly Asn1[] {
  const [, info] = partsOf(encrypted)
  const [, algorithm, octets] = partsOf(info)
  return partsOf(decrypt(algorithm, octetsOf(octets), passphrase))
}

// forge decrypts whatever stands in an EncryptedPrivateKeyInfo: an algorithm and octets.
function decrypt(algorithm: Asn1 | undefined, octets: string, passphrase: string): Asn1 {
  if (algorithm === undefined) throw new TypeError('no algorithm')
  const { create, Class, Type } = forge.asn1
  const wrapped = create(Class.UNIVERSAL, Type.SEQUENCE, true, [
    algorithm,
    create(Class.UNIVERSAL, Type.OCTETSTRING, false, octets),
  ])
  // RFC 8018 leaves the encoding open, and everybody takes UTF-8; the older algorithms have UTF-16 of their own
  const isNew = oidOf(partsOf(algorithm)[0]) === PBES2
  const plain = forge.pki.decryptPrivateKeyInfo(
    wrapped,
    isNew ? forge.util.encodeUtf8(passphrase) : passphrase,
  ) as Asn1 | null
  if (plain === null) throw new TypeError('decryption failed')
  return plain
}

function decryptKey(info: Asn1 | undefined, passphrase: string): KeyObject {
  try {
    return createPrivateKey({ key: derOf(info), format: 'der', type: 'pkcs8', passphrase })
  } catch {
    // OpenSSL 3 has no RC2 any more: forge has
    const [algorithm, octets] = partsOf(info)
    return keyOf(derOf(decrypt(algorithm, octetsOf(octets), passphrase)))
  }
}

const keyOf = (der: Buffer): KeyObject => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })

function certificateOf(bag: Asn1 | undefined): readonly Buffer[] {
  const [kind, wrapped] = partsOf(bag)
  return oidOf(kind) === X509_CERTIFICATE ? [Buffer.from(octetsOf(partsOf(wrapped)[0]), 'latin1')] : []
}

const parse = (octets: string): Asn1 => forge.asn1.fromDer(octets, false)

function partsOf(value: Asn1 | undefined): readonly Asn1[] {
  if (value === undefined || typeof value.value === 'string') throw new TypeError('a constructed value is missing')
  return value.value
}

// BER lets an octet string come in pieces, and some programs write it so.
function octetsOf(value: Asn1 | undefined): string {
  if (value === undefined) throw new TypeError('an octet string is missing')
  return typeof value.value === 'string' ? value.value : value.value.map(octetsOf).join('')
}

const oidOf = (value: Asn1 | undefined): string => forge.asn1.derToOid(octetsOf(value))

function derOf(value: Asn1 | undefined): Buffer {
  if (value === undefined) throw new TypeError('a value is missing')
  return Buffer.from(forge.asn1.toDer(value).getBytes(), 'latin1')
}
