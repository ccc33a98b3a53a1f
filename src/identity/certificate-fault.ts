// The refusal of a certificate or a chain: always 401, with a reason for the caller and a code for programs.
import { Fault } from '../vospace/fault.ts'

export type CertificateCode =
  | 'NO_CERTIFICATE'
  | 'MALFORMED'
  | 'CHAIN_TOO_LONG'
  | 'CHAIN_INCOMPLETE'
  | 'RESUMED_SESSION'
  | 'NOT_YET_VALID'
  | 'EXPIRED'
  | 'BAD_SIGNATURE'
  | 'UNTRUSTED'
  | 'WEAK_KEY'
  | 'WEAK_SIGNATURE'
  | 'UNSUPPORTED_SIGNATURE'
  | 'CRITICAL_EXTENSION'
  | 'VERSION'
  | 'LEGACY_PROXY'
  | 'PROXY_DEPTH'
  | 'PROXY_NAME'
  | 'PROXY_ALT_NAME'
  | 'PROXY_IS_CA'
  | 'PROXY_INFO'
  | 'PROXY_LANGUAGE'
  | 'PROXY_INDEPENDENT'
  | 'PROXY_ESCALATION'
  | 'PROXY_PATH_LENGTH'
  | 'KEY_USAGE'
  | 'EXTENDED_KEY_USAGE'
  | 'ISSUER_IS_CA'
  | 'SUBJECT_EMPTY'
  | 'SUBJECT_IS_CA'
  | 'CA_CONSTRAINTS'
  | 'CA_PATH_LENGTH'
  | 'NAME_CONSTRAINTS'
  | 'SIGNING_POLICY'
  | 'SIGNING_POLICY_MISSING'
  | 'REVOKED'
  | 'CRL_MISSING'
  | 'CRL_EXPIRED'
  | 'CRL_NOT_YET_VALID'
  | 'CRL_UNUSABLE'

/** Characters of a reason. Names in it are as long as whoever made the certificate likes, and every request of its connection is told and logged it. */
const LONGEST = 1000

/** A presented certificate that proves nobody: NotAuthenticated, never a fall-back to anonymous. */
export class CertificateFault extends Fault {
  readonly code: CertificateCode

  constructor(code: CertificateCode, reason: string, options: ErrorOptions = {}) {
    super('NotAuthenticated', reason.length > LONGEST ? `${reason.slice(0, LONGEST)}...` : reason, options)
    this.code = code
  }
}

/** Refuses a certificate that is not what X.690 and RFC 5280 say it is. */
export function malformed(what: string): never {
  throw new CertificateFault('MALFORMED', `malformed certificate: ${what}`)
}
