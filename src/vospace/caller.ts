/** Who is asking: settled once per request by identity, carried by value, never stored. */

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
}

export const NOBODY_ID = 65534

export const ANONYMOUS: Caller = {
  user: undefined,
  groups: new Set<string>(),
  admin: false,
  uid: NOBODY_ID,
  gid: NOBODY_ID,
}
