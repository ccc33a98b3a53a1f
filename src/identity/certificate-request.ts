// Certificate requests (PKCS#10, RFC 2986), and names of certificates from the text they are kept as.
import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { readDer, sequence, TAG } from './der.ts'
import { writeBitString, writeInteger, writeOid, writeRdn, writeSequence, writeTlv } from './der-writer.ts'
import { type DistinguishedName } from './dn.ts'
import { OID } from './oid.ts'
import { pemBlocks, toPem } from './pem.ts'

/** A Name with its RDNs in the order given; the attributes of one RDN in the order of their DER (X.690 11.6). */
export function writeDistinguishedName(name: DistinguishedName): Buffer {
  return writeSequence(
    ...name.map((rdn) => {
      const attributes = rdn.map(({ oid, value }) => readDer(writeRdn(oid, value)).value)
      return writeTlv(TAG.set, ...attributes.sort((a, b) => Buffer.compare(a, b)))
    }),
  )
}

/** PEM of a request for that name, signed with an EC P-256 key, without attributes. */
export function certificateRequest(
  name: DistinguishedName,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
): string {
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const info = writeSequence(writeInteger(0), writeDistinguishedName(name), spki, writeTlv(0xa0))
  const algorithm = writeSequence(writeOid(OID.ecdsaWithSha256))
  const der = writeSequence(info, algorithm, writeBitString(sign('sha256', info, privateKey)))
  return toPem('CERTIFICATE REQUEST', der)
}

/** The public key that a request asks to be certified; that the requester has the private one is not looked at. InvalidData. */
export function requestedKey(pem: string): KeyObject {
  const block = pemBlocks(pem).find(({ label }) => label === 'CERTIFICATE REQUEST')
  if (block === undefined) throw new Fault('InvalidData', 'no PEM certificate request')
  try {
    const spki = sequence(sequence(readDer(block.der))[0])[2]
    return createPublicKey({ key: spki?.raw ?? Buffer.alloc(0), format: 'der', type: 'spki' })
  } catch (error) {
    throw new Fault('InvalidData', 'the certificate request is damaged, or its key of no supported kind', {
      cause: error,
    })
  }
}
