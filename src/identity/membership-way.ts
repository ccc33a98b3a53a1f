// How somebody comes to be in a group: by name, or through groups in it. Only told; whether they are in it is the store's to say.
import { type Group, type Membership, type Roll } from '../store/groups.ts'

export interface Rolls {
  byUri(uri: string): Group | undefined
  roll(uri: string): Roll
}

/** Groups looked at for one answer: whoever nests more gets none. */
const MOST = 1000

export class MembershipWays {
  readonly #rolls: Rolls
  readonly #now: () => number

  constructor(rolls: Rolls, now: () => number = Date.now) {
    this.#rolls = rolls
    this.#now = now
  }

  /** The groups through which a user is in a group, the group itself first, the one that names them last. Undefined: none is known here. */
  wayInto(user: string, uri: string): readonly string[] | undefined {
    return this.#search(uri, (roll) => this.#live(roll.users).includes(user))
  }

  /** Whether who is in `inner` is in `uri`, which is so for a group and itself. */
  isWithin(inner: string, uri: string): boolean {
    return inner === uri || this.#search(uri, (roll) => this.#live(roll.groups).includes(inner)) !== undefined
  }

  /** Breadth first: the shortest way is the one that is told. */
  #search(from: string, isFound: (roll: Roll) => boolean): readonly string[] | undefined {
    const seen = new Set([from])
    const ways = [[from]]
    for (const way of ways) {
      const uri = way.at(-1) ?? from
      const group = this.#rolls.byUri(uri)
      if (group === undefined || (group.expires ?? Infinity) <= this.#now()) continue
      const roll = this.#rolls.roll(uri)
      if (isFound(roll)) return way
      for (const inner of this.#live(roll.groups)) {
        if (seen.has(inner) || seen.size >= MOST) continue
        seen.add(inner)
        ways.push([...way, inner])
      }
    }
    return undefined
  }

  #live(list: readonly Membership[]): string[] {
    const now = this.#now()
    return list.filter(({ expires = Infinity }) => expires > now).map(({ member }) => member)
  }
}
