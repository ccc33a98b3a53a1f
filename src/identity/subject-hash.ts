// The name under which OpenSSL looks for a CA in a folder: `openssl x509 -hash`. It is a SHA-1 of the subject in a form where string types, case and
// blanks do not count; an index, and no proof of anything.
import { createHash } from 'node:crypto'
import { children, expectTag, readText, sequence, TAG, type Tlv, tlvAt } from './der.ts'
import { writeTlv } from './der-writer.ts'

/** What is text to OpenSSL; anything else of a name is taken as it is, NumericString too. */
const TEXTS: readonly number[] = [TAG.utf8, TAG.printable, 0x14, TAG.ia5, 0x1a, 0x1c, 0x1e]

/** Eight hexadecimal digits; `subject`: a Name (RFC 5280 4.1.2.4) in DER. CertificateFault (MALFORMED). */
export function subjectHash(subject: Buffer): string {
  const rdns = sequence(tlvAt(subject, 0)).map((rdn) => {
    const attributes = children(expectTag(rdn, TAG.set)).map(canonical)
    return writeTlv(TAG.set, ...attributes.sort((a, b) => a.compare(b)))
  })
  const digest = createHash('sha1').update(Buffer.concat(rdns)).digest()
  return digest.readUInt32LE(0).toString(16).padStart(8, '0')
}

function canonical(attribute: Tlv): Buffer {
  const [type, value] = sequence(attribute)
  if (type === undefined || value === undefined || !TEXTS.includes(value.tag)) return attribute.raw
  const text = readText(value)
    .replace(/[ \t\n\v\f\r]+/g, ' ')
    .replace(/^ | $/g, '')
    // letters of ASCII alone
    .replace(/[A-Z]+/g, (some) => some.toLowerCase())
  return writeTlv(TAG.sequence, type.raw, writeTlv(TAG.utf8, Buffer.from(text)))
}
