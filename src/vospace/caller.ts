/** Who is asking: settled once per request by identity, carried by value, never stored. */

import { type Scope } from './partition.ts'

/** Anonymous callers have no name and no group. */
export interface Caller {
  /** Local user name; undefined: anonymous. */
  readonly user: string | undefined
  /** Group URIs the user is a member of now. */
  readonly groups: ReadonlySet<string>
  /** May make allocations for others and set owner and quota; has no blanket access to content. */
  readonly admin: boolean
  readonly uid: number
  readonly gid: number
  /** Canonical DN of the certificate that was shown, if one was. */
  readonly dn?: string
  /** Issuer and subject of the token that was shown, if one was. */
  readonly subject?: string
  /** How they proved who they are; absent for anonymous callers and for work done after the request. */
  readonly method?: 'certificate' | 'token'
  /** A trusted mount, whose kernel has decided: nothing but locks says no, and numbers and modes count as they are. */
  readonly trusted?: true
  /** May not hand on their rights nor administer (a limited proxy). */
  readonly limited?: boolean
  /** By the credential of a partition: nothing outside of it, and nothing beyond its access. */
  readonly scope?: Scope
}

export const NOBODY_ID = 65534

export const ANONYMOUS: Caller = {
  user: undefined,
  groups: new Set<string>(),
  admin: false,
  uid: NOBODY_ID,
  gid: NOBODY_ID,
}
