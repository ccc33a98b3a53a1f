// An issuer of tokens: what is believed of it, and the one form of its name.
import { type Identity } from './proof.ts'

/** What the configuration says of an issuer. */
export interface TokenIssuer {
  /** https URL, as in the tokens' `iss` but for a slash at the end */
  readonly issuer: string
  /** one of them must be in the tokens' `aud` */
  readonly audience: readonly string[]
  /** URL or file of its key set; else found by OpenID Connect Discovery 1.0 */
  readonly jwks?: string
  /** PEM file of the authorities that its own server has its certificate from */
  readonly ca?: string
  /** the claim whose value is taken for a user name: only of an issuer where users cannot choose it themselves */
  readonly usernames?: string
  /** default: TOKEN_ALGORITHMS */
  readonly algorithms?: readonly string[]
  /** seconds that its clock and ours may differ */
  readonly clockSkew: number
  /** hosts whose services may be asked with its tokens */
  readonly forwardTo: readonly string[]
}

/** Asymmetric ones alone: never `none`, never one whose secret we would share (RFC 8725, 3.1). */
export const TOKEN_ALGORITHMS = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
] as const // prettier-ignore

/** Issuers write their name with a slash at the end in one place and without in another; nothing else may differ. */
export const canonicalIssuer = (issuer: string): string => issuer.replace(/\/$/, '')

/** The identity of a subject (OpenID Connect Core 1.0, section 5.7: issuer and subject together, and nothing else). */
export function oidcIdentity(issuer: string, subject: string): Identity {
  return { kind: 'oidc', value: `${canonicalIssuer(issuer)} ${subject}` }
}
