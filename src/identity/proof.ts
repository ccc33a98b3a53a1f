// What a request proves of who sends it: the one shape that certificates and tokens come to before anybody looks for a user.
import { type VerifiedChain } from './verify.ts'

/** One way in which a user is known. `value`: x509 the canonical DN of the end entity, oidc `issuer subject`, uid the number. */
export interface Identity {
  readonly kind: 'x509' | 'oidc' | 'uid'
  readonly value: string
}

interface Proved {
  readonly identity: Identity
  /** Milliseconds since 1970; compared with the clock at every request. */
  readonly expires: number
  /** Moves data, and neither delegates nor administers (a limited proxy). */
  readonly limited: boolean
}

export interface CertificateProof extends Proved {
  readonly method: 'certificate'
  readonly chain: VerifiedChain
}

/** OpenID Connect Core 1.0, RFC 9068: a JWT whose signature, issuer, audience and times were checked. */
export interface TokenProof extends Proved {
  readonly method: 'token'
  readonly issuer: string
  readonly subject: string
  /** preferred_username where the issuer is trusted to name users; else absent. */
  readonly username?: string
  /** As it was sent: to be forwarded to nobody but the services listed for its issuer. */
  readonly token: string
}

/** Absent: nothing was shown, and the caller is anonymous. What was shown and is bad never becomes a proof. */
export type Proof = CertificateProof | TokenProof

/** What a verified chain proves. */
export function proofOfChain(chain: VerifiedChain): CertificateProof {
  return {
    method: 'certificate',
    identity: { kind: 'x509', value: chain.dn },
    expires: chain.expires.getTime(),
    limited: chain.limited,
    chain,
  }
}
