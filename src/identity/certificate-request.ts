// Certificate requests (PKCS#10, RFC 2986), and names of certificates from the text they are kept as.
import { type KeyObject, sign } from 'node:crypto'
import { readDer, TAG } from './der.ts'
import { writeBitString, writeInteger, writeOid, writeRdn, writeSequence, writeTlv } from './der-writer.ts'
import { type DistinguishedName } from './dn.ts'
import { OID } from './oid.ts'
import { toPem } from './pem.ts'

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
