/** Who a job is done for, for as long as it takes: who is taken out of a group meanwhile is out of it for the rest of the job. */
import { type Caller } from '../vospace/caller.ts'
import { type Clock } from './clock.ts'

/** How old what is known of them may be, milliseconds: as that of the containers on the way (space/recursion.ts). */
const FRESH_MS = 100

/** `look` is asked at once, and again when what it said is too old; what it throws (there is no such user any more) is thrown to who looks. */
export function lastingCaller(look: () => Caller, clock: Clock): Caller {
  let known = look()
  let seen = clock.now()
  const now = (): Caller => {
    if (Math.abs(clock.now() - seen) < FRESH_MS) return known
    known = look()
    seen = clock.now()
    return known
  }
  return {
    // an owner's rights come from the name alone: so it is here that a suspended account is noticed
    get user() {
      return now().user
    },
    uid: known.uid,
    gid: known.gid,
    get groups() {
      return now().groups
    },
    get admin() {
      return now().admin
    },
  }
}
