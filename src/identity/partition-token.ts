// Bearer tokens for one partition: sealed, so that nobody reads or changes what is in them, short-lived, and good for nothing but what lies below
// one container. Gateways that share the key accept each other's.
import { Fault } from '../vospace/fault.ts'
import { type Caller } from '../vospace/caller.ts'
import { type Scope } from '../vospace/partition.ts'
import { nodePath } from '../vospace/path.ts'
import { seal, unseal } from './seal.ts'
import { TokenFault } from './token-fault.ts'

/** What tells them apart from tokens of OpenID Connect, in which the first dot comes after JSON in base64url. */
const PREFIX = 'karst-partition.'
const CONTEXT = ['partition', '1']

export interface PartitionTokenOptions {
  /** 32 bytes */
  readonly key: Buffer
  /** Who somebody is now. PermissionDenied: no user any more, or suspended. */
  readonly callerOf: (user: string) => Caller
  /** seconds that a token is good for */
  readonly seconds: number
  /** Seconds that a membership counts without being asked for again; 0: it is kept here, and looked up at every use. */
  readonly membershipSeconds?: (group: string) => number
}

interface Claims {
  readonly user: string
  /** of that user: the name may be another's one day */
  readonly uid: number
  readonly path: string
  readonly access: Scope['access']
  /** kept by other services, which are asked with the user's own credential only, and when those end to count */
  readonly groups?: readonly string[]
  readonly known?: number
  /** milliseconds since 1970 */
  readonly expires: number
}

export interface IssuedToken {
  readonly token: string
  /** milliseconds since 1970 */
  readonly expires: number
  /** milliseconds since 1970: when to ask for the next one, so that there is always one that is good for everything */
  readonly renew: number
}

export class PartitionTokens {
  readonly #key: Buffer
  readonly #callerOf: (user: string) => Caller
  readonly #milliseconds: number
  readonly #membershipSeconds: (group: string) => number

  constructor({ key, callerOf, seconds, membershipSeconds = () => 0 }: PartitionTokenOptions) {
    this.#key = key
    this.#callerOf = callerOf
    this.#milliseconds = seconds * 1000
    this.#membershipSeconds = membershipSeconds
  }

  /** For a named caller. */
  issue({ user, uid, groups }: Caller, { path, access }: Scope, now: number = Date.now()): IssuedToken {
    if (user === undefined) throw new Fault('NotAuthenticated', 'partitions are for users only')
    const foreign = [...groups].filter((group) => this.#membershipSeconds(group) > 0)
    const counted = Math.min(this.#milliseconds, ...foreign.map((group) => this.#membershipSeconds(group) * 1000))
    const expires = now + this.#milliseconds
    const among = foreign.length > 0 && { groups: foreign, known: now + counted }
    const claims: Claims = { user, uid, path, access, ...among, expires }
    const sealed = seal(this.#key, Buffer.from(JSON.stringify(claims)), CONTEXT)
    return { token: PREFIX + sealed.toString('base64url'), expires, renew: now + Math.floor(counted / 2) }
  }

  /**
   * The user as they are now, confined to the partition: who was suspended or taken out of a group is refused at once. undefined: a token of
   * another kind. TokenFault: forged, of other gateways, or ended.
   */
  callerOf(token: string, now: number = Date.now()): Caller | undefined {
    if (!token.startsWith(PREFIX)) return undefined
    const claims = this.#open(token.slice(PREFIX.length))
    if (now >= claims.expires)
      throw new TokenFault('EXPIRED', `the credential of the partition ${claims.path} has expired`)
    const { groups, ...user } = this.#callerOf(claims.user)
    if (user.uid !== claims.uid) throw new TokenFault('CLAIMS', `${claims.user} is somebody else by now`)
    const foreign = now < (claims.known ?? 0) ? (claims.groups ?? []) : []
    return {
      ...user,
      groups: foreign.length === 0 ? groups : new Set([...groups, ...foreign]),
      admin: false,
      limited: true,
      method: 'token',
      scope: { path: nodePath(claims.path), access: claims.access },
    }
  }

  #open(text: string): Claims {
    const sealed = Buffer.from(text, 'base64url')
    try {
      // base64 is read leniently: one token has one spelling
      if (sealed.toString('base64url') !== text) throw new TokenFault('MALFORMED', 'not as it was written')
      return JSON.parse(unseal(this.#key, sealed, CONTEXT).toString('utf8')) as Claims
    } catch (error) {
      throw new TokenFault('BAD_SIGNATURE', 'the credential of a partition is not one of this gateway', {
        cause: error,
      })
    }
  }
}
