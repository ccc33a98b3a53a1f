// From a verified chain to a local user: the identity is the canonical DN of the end entity, nothing else of the certificate.
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { CertificateFault } from './certificate-fault.ts'
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

/**
 * The caller that work goes on for after its request: who is anonymous stays so. `admin`: whether it was asked with an administrator's
 * rights. PermissionDenied when there is no such user any more.
 */
export function callerNamed(
  name: string | undefined,
  admin: boolean,
  users: { byName(name: string): LocalUser | undefined },
  groups: GroupDirectory,
): Caller {
  if (name === undefined) return ANONYMOUS
  const user = users.byName(name)
  if (user === undefined) throw new Fault('PermissionDenied', `there is no user ${name} any more`)
  return { user: name, groups: groups.of(name), admin: admin && user.admin, uid: user.uid, gid: user.gid }
}

export interface CallersOptions {
  /** Each judges by itself: a chain is good when one of them finds it so. */
  readonly trust: readonly TrustStore[]
  readonly users: UserDirectory
  readonly groups: GroupDirectory
  readonly rules?: ChainCacheOptions
}

/** Chains to callers, for the authorities trusted and the users known here. */
export class Callers {
  readonly #trust: readonly TrustStore[]
  readonly #chains: readonly ChainCache[]
  readonly #users: UserDirectory
  readonly #groups: GroupDirectory

  constructor({ trust, users, groups, rules }: CallersOptions) {
    this.#trust = trust
    this.#chains = trust.map((store) => new ChainCache(store, rules))
    this.#users = users
    this.#groups = groups
  }

  /** Grows when trust changes: what was verified under an older one is to be verified again. */
  get generation(): number {
    return this.#trust.reduce((sum, { generation }) => sum + generation, 0)
  }

  /** As verifyChain: throws a CertificateFault, that of the store that came furthest when there are several. */
  verify(chain: readonly Buffer[]): VerifiedChain {
    let refusal = new CertificateFault('UNTRUSTED', 'no authority is trusted here')
    for (const store of this.#chains) {
      try {
        return store.verify(chain)
      } catch (error) {
        if (!(error instanceof CertificateFault)) throw error
        if (refusal.code === 'UNTRUSTED') refusal = error
      }
    }
    throw refusal
  }

  /** As callerFrom. Asked anew for every request, since groups change. */
  callerOf(verified: VerifiedChain | undefined): Caller {
    return callerFrom(verified, this.#users, this.#groups)
  }
}
