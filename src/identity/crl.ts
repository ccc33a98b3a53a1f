// Certificate revocation lists (RFC 5280 section 5), read by our own strict DER reader. Complete lists of one authority
// only: what is partial (delta, distribution point) or speaks for others (indirect) must not pass for the whole.
import { createHash } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { CertificateFault, malformed } from './certificate-fault.ts'
import { type Certificate, type Extension, extensionsOf } from './certificate.ts'
import {
  expectTag,
  readBitOctets,
  readCount,
  readDer,
  readOid,
  readTime,
  sequence,
  spanAt,
  TAG,
  type Tlv,
} from './der.ts'
import { type DistinguishedName, matchKey, readName, slash } from './dn.ts'
import { OID } from './oid.ts'
import { isSignature, signatureFlaw } from './signature.ts'

const LIST_UNDERSTOOD = new Set<string>([OID.crlNumber, OID.authorityKeyId])
const ENTRY_UNDERSTOOD = new Set<string>([OID.reasonCode, OID.invalidityDate])
// These change what the list means even where somebody forgot to mark them critical.
const PARTIAL: ReadonlyMap<string, string> = new Map([
  [OID.deltaCrlIndicator, 'is a delta list'],
  [OID.issuingDistributionPoint, 'is for one distribution point only'],
  [OID.certificateIssuer, 'is an indirect list, with entries of other authorities'],
])

// How many issuers' answers a list remembers: the authority's certificates, few; not what clients may send.
const REMEMBERED = 16

/**
 * One list. Parsed once; a serial number is found in constant time. 100,000 entries take about 10 MiB: the DER, which a
 * later signature check needs, and a set of the serial numbers.
 */
export class RevocationList {
  readonly issuer: DistinguishedName
  /** For comparing names; see matchKey. */
  readonly issuerKey: string
  readonly thisUpdate: Date
  /** Undefined in a list that does not say; `flaw` then does. */
  readonly nextUpdate: Date | undefined
  /** Why it must not be used, to be said behind its name; undefined when nothing speaks against it but the time. */
  readonly flaw: string | undefined
  /** SHA-256 of the DER, hexadecimal. */
  readonly fingerprint: string
  readonly #serials: ReadonlySet<string>
  readonly #algorithm: string
  readonly #signed: Buffer
  readonly #signature: Buffer
  readonly #signers = new Map<string, boolean>()

  /** Throws a Fault (InvalidData) for what is not a list in strict DER. */
  static parse(der: Buffer): RevocationList {
    try {
      return new RevocationList(der)
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error
      throw new Fault('InvalidData', `not a revocation list in strict DER (${error.detail})`, { cause: error })
    }
  }

  private constructor(der: Buffer) {
    const [tbs, algorithm, signature, rest] = sequence(readDer(der))
    if (rest) malformed('trailing field')
    const fields = sequence(tbs)
    const version = fields[0]?.tag === TAG.integer ? readCount(fields.shift()) + 1 : 1
    if (version > 2) malformed('version')
    const inner = fields.shift()
    // RFC 5280 5.1.1.2: the unsigned copy must not say something else than the signed one.
    if (!algorithm || !inner?.raw.equals(algorithm.raw)) malformed('signature algorithms differ')
    this.issuer = readName(fields.shift())
    this.thisUpdate = readTime(fields.shift())
    this.nextUpdate = isTime(fields[0]) ? readTime(fields.shift()) : undefined
    const entries = readEntries(fields[0]?.tag === TAG.sequence ? fields.shift() : undefined)
    const wrapped = fields[0]?.tag === 0xa0 ? fields.shift() : undefined
    if (fields.length > 0) malformed('field')
    if ((wrapped || entries.extended) && version !== 2) malformed('extensions need version 2')
    const extensions = wrapped ? extensionsOf(readDer(wrapped.value)) : new Map<string, Extension>()
    this.issuerKey = matchKey(this.issuer)
    this.#serials = entries.serials
    this.#algorithm = readOid(sequence(algorithm)[0])
    this.#signed = expectTag(tbs, TAG.sequence).raw
    this.#signature = readBitOctets(signature)
    this.fingerprint = createHash('sha256').update(der).digest('hex')
    const unsigned = signatureFlaw(this.#algorithm)
    this.flaw =
      flawOf(extensions, LIST_UNDERSTOOD) ??
      entries.flaw ??
      (unsigned && `is signed ${unsigned.reason}`) ??
      (this.nextUpdate ? undefined : 'does not say when the next one is due')
  }

  /** The issuer in slash form, for messages. */
  get name(): string {
    return slash(this.issuer)
  }

  get size(): number {
    return this.#serials.size
  }

  /** Whether that certificate of the list's issuer is on it, whatever the reason: on hold is revoked too. */
  revokes(certificate: Certificate): boolean {
    return this.#serials.has(Buffer.from(certificate.serial, 'hex').toString('latin1'))
  }

  /** Whether an authority of that name and key signed it, and may sign lists. Remembered, since lists are long. */
  isSignedBy(authority: Certificate): boolean {
    if (authority.keyUsage?.cRLSign === false || authority.subjectKey !== this.issuerKey) return false
    const known = this.#signers.get(authority.fingerprint)
    if (known !== undefined) return known
    const answer = isSignature(this.#algorithm, this.#signed, authority.publicKey, this.#signature)
    if (this.#signers.size < REMEMBERED) this.#signers.set(authority.fingerprint, answer)
    return answer
  }
}

const isTime = (tlv: { readonly tag: number } | undefined): boolean =>
  tlv?.tag === TAG.utcTime || tlv?.tag === TAG.generalizedTime

function flawOf(extensions: ReadonlyMap<string, Extension>, understood: ReadonlySet<string>): string | undefined {
  for (const [oid, { critical }] of extensions) {
    const partial = PARTIAL.get(oid)
    if (partial !== undefined) return partial
    if (critical && !understood.has(oid)) return `has critical extension ${oid}`
  }
  return undefined
}

interface Entries {
  readonly serials: ReadonlySet<string>
  readonly flaw: string | undefined
  readonly extended: boolean
}

// A number written with a byte too many would be found by no certificate, which have it without (X.690 8.3.2).
function isMinimal(bytes: Buffer, start: number, end: number): boolean {
  const [first, second] = [bytes[start] ?? 0, bytes[start + 1] ?? 0]
  return start < end && (end - start === 1 || !((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
}

// The one loop that runs a hundred thousand times: serial numbers as strings of one byte a character, dates looked at only.
function readEntries(list: Tlv | undefined): Entries {
  const serials = new Set<string>()
  const bytes = list?.value ?? Buffer.alloc(0)
  let flaw: string | undefined
  let extended = false
  for (let at = 0; at < bytes.length;) {
    const entry = spanAt(bytes, at)
    const serial = spanAt(bytes, entry.start)
    const date = spanAt(bytes, serial.end)
    const isEntry = entry.tag === TAG.sequence && serial.tag === TAG.integer && isTime(date)
    if (!isEntry || date.end > entry.end || !isMinimal(bytes, serial.start, serial.end)) malformed('entry')
    serials.add(bytes.toString('latin1', serial.start, serial.end))
    at = entry.end
    if (date.end === entry.end) continue
    extended = true
    flaw ??= flawOf(extensionsOf(readDer(bytes.subarray(date.end, entry.end))), ENTRY_UNDERSTOOD)
  }
  return { serials, flaw, extended }
}
