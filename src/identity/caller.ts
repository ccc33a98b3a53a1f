// From a verified chain to a local user: the identity is the canonical DN of the end entity, nothing else of the certificate.
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { ChainCache, type ChainCacheOptions } from './chain-cache.ts'
import { type TrustStore } from './trust.ts'
import { type VerifiedChain } from './verify.ts'

/** What of a user is asked for here; src/store keeps more. */
export interface LocalUser {
  readonly name: string
  readonly uid: number
  /** the user's own group */
  readonly gid: number
  readonly admin: boolean
}

export interface UserDirectory {
  byDn(canonicalDn: string): LocalUser | undefined
}

export interface GroupDirectory {
  /** Group URIs the user is a member of now. */
  of(user: string): ReadonlySet<string>
}

/**
 * The caller of a verified chain; without a chain the anonymous one. PermissionDenied for a certificate that proves somebody
 * who is no user here: authenticated, and yet nobody.
 */
export function callerFrom(verified: VerifiedChain | undefined, users: UserDirectory, groups: GroupDirectory): Caller {
  if (verified === undefined) return ANONYMOUS
  const user = users.byDn(verified.dn)
  if (user === undefined) throw new Fault('PermissionDenied', `no user here has the distinguished name ${verified.dn}`)
  return {
    user: user.name,
    groups: groups.of(user.name),
    // a limited proxy moves data; it does not administer (auth.md B2)
    admin: user.admin && !verified.limited,
    uid: user.uid,
    gid: user.gid,
    dn: verified.dn,
  }
}

/** Chains to callers, for one trust store and one directory of users. */
export class Callers {
  readonly #trust: TrustStore
  readonly #chains: ChainCache
  readonly #users: UserDirectory
  readonly #groups: GroupDirectory

  constructor(trust: TrustStore, users: UserDirectory, groups: GroupDirectory, rules: ChainCacheOptions = {}) {
    this.#trust = trust
    this.#chains = new ChainCache(trust, rules)
    this.#users = users
    this.#groups = groups
  }

  /** Grows when trust changes: what was verified under an older one is to be verified again. */
  get generation(): number {
    return this.#trust.generation
  }

  /** As verifyChain: throws a CertificateFault. */
  verify(chain: readonly Buffer[]): VerifiedChain {
    return this.#chains.verify(chain)
  }

  /** As callerFrom. Asked anew for every request, since groups change. */
  callerOf(verified: VerifiedChain | undefined): Caller {
    return callerFrom(verified, this.#users, this.#groups)
  }
}
