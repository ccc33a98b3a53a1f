/** Who acts with a pre-authorised URL, whoever sends it: its user as they are now. */
import { ANONYMOUS, type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type People } from './access.ts'
import { type FileGrant } from './files.ts'

export interface Holders {
  /** absent: all accounts are active */
  readonly accounts?: { checkActive(user: string, uid?: number): void }
  /** absent: URLs of users are refused */
  readonly people?: People
}

/** In the groups of now, and in those of other services as far as the URL carries them. PermissionDenied: suspended, gone, or another by now. */
export function callerOfGrant({ accounts, people }: Holders, { user, uid, groups = [] }: FileGrant): Caller {
  if (user === undefined) return ANONYMOUS
  accounts?.checkActive(user, uid)
  const caller = people?.callerOf(user)
  if (caller === undefined) throw new Fault('PermissionDenied', `what ${user} may is not known here`)
  return groups.length === 0 ? caller : { ...caller, groups: new Set([...caller.groups, ...groups]) }
}
