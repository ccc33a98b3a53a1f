// The refusal of a bearer token: always 401, with a reason for the caller and a code for programs. Neither ever holds a part of the token
// but the issuer and the algorithm that it names.
import { Fault } from '../vospace/fault.ts'

export type TokenCode =
  | 'TOKENS_NOT_TAKEN'
  | 'MALFORMED'
  | 'TOO_LONG'
  | 'TYPE'
  | 'ALGORITHM'
  | 'ISSUER'
  | 'UNKNOWN_KEY'
  | 'BAD_SIGNATURE'
  | 'AUDIENCE'
  | 'CLAIMS'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'BOUND'

/** A presented token that proves nobody: NotAuthenticated, never a fall-back to a certificate or to anonymous. */
export class TokenFault extends Fault {
  readonly code: TokenCode

  constructor(code: TokenCode, reason: string, options: ErrorOptions = {}) {
    super('NotAuthenticated', reason, options)
    this.code = code
  }

  /** The error code of RFC 6750, section 3.1. */
  get error(): 'invalid_request' | 'invalid_token' {
    return this.code === 'MALFORMED' || this.code === 'TOO_LONG' ? 'invalid_request' : 'invalid_token'
  }
}

/** Text of others that goes into a reason: one line of it, and not all of a long one. */
export function excerpt(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
