// From what a request proves to a local user. Of a certificate nothing counts but the canonical DN of its end entity, of a token its
// issuer and subject.
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type CertificateCode, CertificateFault } from './certificate-fault.ts'
import { ChainCache, type ChainCacheOptions } from './chain-cache.ts'
import { type Identity, type Proof } from './proof.ts'
import { type TrustStore } from './trust.ts'
import { type VerifiedChain } from './verify.ts'

/** What of a user is asked for here; src/store keeps more. */
export interface LocalUser {
  readonly name: string
  readonly uid: number
  /** the user's own group */
  readonly gid: number
  readonly admin: boolean
  /** keeps their files and gets nowhere */
  readonly suspended?: boolean
}

export interface UserDirectory {
  byIdentity(identity: Identity): LocalUser | undefined
}

export interface GroupDirectory {
  /** Group URIs the user is a member of now. */
  of(user: string): ReadonlySet<string>
}

/** Groups kept by other services, asked with the user's own credential. Empty when there is none that may be asked. */
export interface RemoteGroups {
  of(user: LocalUser, proof: Proof | undefined): ReadonlySet<string> | Promise<ReadonlySet<string>>
}

/** What the caller of a request is made of. */
export interface Directories {
  readonly users: UserDirectory
  readonly groups: GroupDirectory
  readonly remoteGroups?: RemoteGroups
  /** Asked about a person who proved who they are and is no user here: may make one (policy of the site). */
  readonly newcomer?: (proof: Proof) => LocalUser | undefined | Promise<LocalUser | undefined>
}

/**
 * The caller of a proof; without a proof the anonymous one. PermissionDenied for somebody proved who is no user here, or whose account
 * is suspended. A promise only where other services have to be asked.
 */
export function callerFrom(proof: Proof | undefined, directories: Directories): Caller | Promise<Caller> {
  if (proof === undefined) return ANONYMOUS
  const user = directories.users.byIdentity(proof.identity) ?? directories.newcomer?.(proof)
  if (user instanceof Promise) return user.then((made) => callerOfUser(proof, made, directories))
  return callerOfUser(proof, user, directories)
}

function callerOfUser(
  proof: Proof,
  user: LocalUser | undefined,
  { groups, remoteGroups }: Directories,
): Caller | Promise<Caller> {
  if (user === undefined) throw unknownPerson(proof)
  if (user.suspended === true) throw new Fault('PermissionDenied', `the account ${user.name} is suspended`)
  const local = groups.of(user.name)
  const remote = remoteGroups?.of(user, proof)
  if (remote instanceof Promise) return remote.then((more) => callerWith(proof, user, local, more))
  return callerWith(proof, user, local, remote)
}

function callerWith(
  proof: Proof,
  user: LocalUser,
  local: ReadonlySet<string>,
  remote: ReadonlySet<string> | undefined,
): Caller {
  return {
    user: user.name,
    groups: remote === undefined || remote.size === 0 ? local : new Set([...local, ...remote]),
    // a limited proxy moves data; it does not administer (auth.md B2)
    admin: user.admin && !proof.limited,
    uid: user.uid,
    gid: user.gid,
    method: proof.method,
    ...(proof.limited && { limited: true }),
    ...(proof.identity.kind === 'x509' && { dn: proof.identity.value }),
    ...(proof.identity.kind === 'oidc' && { subject: proof.identity.value }),
  }
}

const unknownPerson = ({ identity, method }: Proof): Fault =>
  new Fault(
    'PermissionDenied',
    method === 'certificate'
      ? `no user here has the distinguished name ${identity.value}`
      : `no user here is known to the token's issuer as ${identity.value}`,
  )

/**
 * The caller that work goes on for after its request: who is anonymous stays so. `admin`: whether it was asked with an administrator's
 * rights. PermissionDenied when there is no such user any more, or their account is suspended.
 */
export function callerNamed(
  name: string | undefined,
  admin: boolean,
  users: { byName(name: string): LocalUser | undefined },
  groups: GroupDirectory,
): Caller {
  if (name === undefined) return ANONYMOUS
  const user = users.byName(name)
  if (user === undefined) throw new Fault('PermissionDenied', `there is no user ${name}`)
  if (user.suspended === true) throw new Fault('PermissionDenied', `the account ${name} is suspended`)
  return { user: name, groups: groups.of(name), admin: admin && user.admin, uid: user.uid, gid: user.gid }
}

/** Tokens to proofs; identity/token.ts has it. */
export interface TokenVerifier {
  /** Throws TokenFault (NotAuthenticated) for a token that proves nobody. */
  verify(token: string): Proof | Promise<Proof>
}

/** Credentials of partitions; identity/partition-token.ts has them. */
export interface PartitionCredentials {
  /** undefined: a token of another kind. TokenFault for one that proves nothing, PermissionDenied for a user who is none any more. */
  callerOf(token: string, now?: number): Caller | undefined
}

export interface CallersOptions extends Directories {
  /** Each judges by itself: a chain is good when one of them finds it so. */
  readonly trust: readonly TrustStore[]
  /** Absent: no tokens are taken here. */
  readonly tokens?: TokenVerifier
  /** Absent: nobody gets a credential for a partition alone. */
  readonly partitions?: PartitionCredentials
  readonly rules?: ChainCacheOptions
}

export interface CallerOptions {
  /** No other service is asked: for one that asks us, and might be asked by us in turn. */
  readonly localGroups?: boolean
  /** Nobody is made a user by asking. */
  readonly onlyKnown?: boolean
}

/** What the revocation list of an authority says, or would say if it could be used: true for all places where that authority is trusted. */
const FINAL: ReadonlySet<CertificateCode> = new Set(['REVOKED', 'CRL_EXPIRED', 'CRL_NOT_YET_VALID', 'CRL_UNUSABLE'])

/** Chains and tokens to callers, for the authorities trusted and the users known here. */
export class Callers {
  readonly #trust: readonly TrustStore[]
  readonly #chains: readonly ChainCache[]
  readonly #directories: Directories
  readonly #local: Directories
  readonly #known: Directories
  readonly tokens: TokenVerifier | undefined
  readonly partitions: PartitionCredentials | undefined

  constructor({ trust, rules, tokens, partitions, ...directories }: CallersOptions) {
    this.#trust = trust
    this.#chains = trust.map((store) => new ChainCache(store, rules))
    this.#directories = directories
    const { remoteGroups: _, ...local } = directories
    this.#local = local
    const { newcomer: _newcomer, ...known } = directories
    this.#known = known
    this.tokens = tokens
    this.partitions = partitions
  }

  /** Grows when trust changes: what was verified under an older one is to be verified again. */
  get generation(): number {
    let sum = 0
    for (const store of this.#trust) sum += store.generation
    return sum
  }

  /**
   * As verifyChain: throws a CertificateFault, that of the store that came furthest when there are several. Whom one place knows to be revoked, no other
   * that lacks the list lets in, whichever is listed first; nor anybody while that list cannot be used: who is on it would be let in as soon as it has ended.
   */
  verify(chain: readonly Buffer[]): VerifiedChain {
    let good: VerifiedChain | undefined
    let refusal: CertificateFault | undefined
    for (const store of this.#chains) {
      try {
        const found = store.verify(chain)
        // the list of any of them may end first
        if (good === undefined || found.reviewAt < good.reviewAt)
          good = { ...(good ?? found), reviewAt: found.reviewAt }
      } catch (error) {
        if (!(error instanceof CertificateFault) || FINAL.has(error.code)) throw error
        if (refusal === undefined || refusal.code === 'UNTRUSTED') refusal = error
      }
    }
    if (good !== undefined) return good
    throw refusal ?? new CertificateFault('UNTRUSTED', 'no authority is trusted here')
  }

  /** The user a proof is of, if there is one already. */
  userOf({ identity }: Proof): LocalUser | undefined {
    return this.#directories.users.byIdentity(identity)
  }

  /** As callerFrom. Asked anew for every request, since groups change. */
  callerOf(proof: Proof | undefined, options: CallerOptions = {}): Caller | Promise<Caller> {
    const { localGroups = false, onlyKnown = false } = options
    if (localGroups) return callerFrom(proof, this.#local)
    return callerFrom(proof, onlyKnown ? this.#known : this.#directories)
  }
}
