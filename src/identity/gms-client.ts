/**
 * Groups that other sites keep (IVOA GMS 1.0), asked with what the user has entrusted to us and with nothing else. Only services that the site
 * lists are ever asked, whatever group URIs stand on nodes, and of each only its own groups are believed. What they say is remembered for a
 * while; while one does not answer, it says nothing, and nobody waits for it.
 */
import { type LocalUser, type RemoteGroups } from './caller.ts'
import { type GmsAnswer, type GmsCredential, GmsExchange } from './gms-exchange.ts'
import { type Proof, type TokenProof } from './proof.ts'

export interface GroupService {
  /** Resource ID: what its group URIs begin with. */
  readonly authority: string
  /** of its search, or of its capabilities */
  readonly url: string
  /** PEM */
  readonly ca?: string
  /** seconds, as are those below */
  readonly timeout: number
  /** An answer counts for that long at most, and no longer than it says of itself. */
  readonly ttl: number
  /** An answer counts for that long after it has ended when there is no new one. */
  readonly staleIfError: number
}

export interface ForeignGroupsOptions {
  readonly services: readonly GroupService[]
  /** Whether a service on that host (`host:port` as in its URL) may be shown what a token's user has shown us. */
  readonly mayForward?: (proof: TokenProof, host: string) => boolean
  /** The proxy that the user has delegated to us, if any. */
  readonly credentialFor?: (user: string) => GmsCredential | undefined
  /** Hears when a service stops answering, and when it answers again. */
  readonly notice?: (fields: { readonly service: string; readonly reason?: string }) => void
  readonly now?: () => number
}

/** Whose groups are asked for. By number too: a name may be given to somebody else, who must not come into what is remembered of it. */
type Member = Pick<LocalUser, 'name' | 'uid'>

const NONE: ReadonlySet<string> = new Set()

/** All services together. */
export class ForeignGroups implements RemoteGroups {
  readonly #services: readonly RememberedService[]

  constructor(options: ForeignGroupsOptions) {
    this.#services = options.services.map((service) => new RememberedService(service, options))
  }

  /** Never rejects: a service that does not answer adds no groups. */
  of(member: Member, proof: Proof | undefined): ReadonlySet<string> | Promise<ReadonlySet<string>> {
    const answers = this.#services.map((service) => service.of(member, proof))
    const known = answers.filter(isKnown)
    if (known.length === answers.length) return union(known)
    return Promise.all(answers.map(async (one) => one)).then(union)
  }

  /** What is known this moment, for work that goes on after its request: without waiting, asking anew where the user has delegated a proxy. */
  remembered(member: Member): ReadonlySet<string> {
    return union(this.#services.map((service) => service.of(member, undefined)).filter(isKnown))
  }

  close(): void {
    for (const service of this.#services) service.close()
  }
}

const isKnown = (answer: ReadonlySet<string> | Promise<ReadonlySet<string>>): answer is ReadonlySet<string> =>
  !(answer instanceof Promise)

function union(sets: readonly ReadonlySet<string>[]): ReadonlySet<string> {
  const some = sets.filter(({ size }) => size > 0)
  return some.length > 1 ? new Set(some.flatMap((one) => [...one])) : (some[0] ?? NONE)
}

interface Known {
  readonly groups: ReadonlySet<string>
  /** milliseconds since 1970: then the service is asked again */
  readonly until: number
  /** when the answer itself ended: it may count for a while longer if there is no new one */
  readonly ended: number
  /** characters, about */
  readonly size: number
}

/** Characters of names remembered of one service, over all users; and users. */
const MOST_CHARACTERS = 16 << 20
const MOST_USERS = 10_000
/** Users asked for at the same time: those beyond are in no group of that service, this once. */
const MOST_QUESTIONS = 200
/** Milliseconds until a user is asked for again: whom the service does not know, who has given us nothing to ask with, after a failure. */
const UNKNOWN_AGE = 30_000
const FAILED_AGE = 5000

/** One service: its answers by user (number and name), one question a user at a time, and none while it does not answer. */
class RememberedService {
  readonly #service: GroupService
  readonly #options: ForeignGroupsOptions
  readonly #exchange: GmsExchange
  readonly #host: string
  readonly #now: () => number
  readonly #breaker: Breaker
  readonly #known = new Map<string, Known>()
  readonly #questions = new Map<string, Promise<ReadonlySet<string>>>()
  /** users without a credential to ask with, and until when that is taken for granted */
  readonly #without = new Map<string, number>()
  #characters = 0

  constructor(service: GroupService, options: ForeignGroupsOptions) {
    const { now = Date.now, notice } = options
    this.#service = service
    this.#options = options
    this.#now = now
    this.#host = new URL(service.url).host
    this.#exchange = new GmsExchange({ ...service, timeout: service.timeout * 1000 }, now)
    this.#breaker = new Breaker(now, (reason) =>
      notice?.({ service: service.authority, ...(reason !== undefined && { reason }) }),
    )
  }

  of({ name, uid }: Member, proof: Proof | undefined): ReadonlySet<string> | Promise<ReadonlySet<string>> {
    const user = `${uid} ${name}`
    const known = this.#known.get(user)
    const now = this.#now()
    if (known !== undefined && now < known.until) return known.groups
    const asked = this.#questions.get(user)
    if (asked !== undefined) return asked
    const credential = this.#credential(name, user, proof, now)
    if (credential === undefined) return NONE
    if (this.#questions.size >= MOST_QUESTIONS || !this.#breaker.admits()) return this.#stale(known, now)
    const question = this.#ask(user, credential).finally(() => this.#questions.delete(user))
    this.#questions.set(user, question)
    return question
  }

  close(): void {
    this.#exchange.close()
  }

  // Their own token where its issuer is said to go there, else the proxy they have delegated, else nothing at all.
  #credential(name: string, user: string, proof: Proof | undefined, now: number): GmsCredential | undefined {
    const { mayForward, credentialFor } = this.#options
    if (proof?.method === 'token' && mayForward?.(proof, this.#host) === true) return { token: proof.token }
    if (now < (this.#without.get(user) ?? 0)) return undefined
    const credential = credentialFor?.(name)
    if (credential !== undefined) return credential
    if (this.#without.size >= MOST_USERS) this.#without.clear()
    this.#without.set(user, now + FAILED_AGE)
    return undefined
  }

  async #ask(user: string, credential: GmsCredential): Promise<ReadonlySet<string>> {
    try {
      const answer = await this.#exchange.ask(credential)
      this.#breaker.succeeded()
      return this.#learn(user, answer)
    } catch (error) {
      this.#breaker.failed((error as Error).message)
      return this.#missed(user)
    }
  }

  #learn(user: string, { names, lasting = Infinity }: GmsAnswer): ReadonlySet<string> {
    const now = this.#now()
    const ttl = this.#service.ttl * 1000
    const { authority } = this.#service
    const groups = new Set((names ?? []).map((name) => `${authority}?${name}`))
    const ended = now + Math.min(ttl, names === undefined ? UNKNOWN_AGE : lasting)
    const size = [...groups].reduce((sum, { length }) => sum + length, 0)
    this.#remember(user, { groups, until: ended, ended, size })
    return groups
  }

  // Asked again soon, and meanwhile what the site allows of the last answer.
  #missed(user: string): ReadonlySet<string> {
    const now = this.#now()
    const known = this.#known.get(user)
    const groups = this.#stale(known, now)
    const last = groups.size > 0 && known !== undefined ? known.ended + this.#service.staleIfError * 1000 : Infinity
    const kept = groups.size > 0 && known !== undefined ? known : { ended: now, size: 0 }
    this.#remember(user, { ...kept, groups, until: Math.min(now + FAILED_AGE, last) })
    return groups
  }

  #stale(known: Known | undefined, now: number): ReadonlySet<string> {
    return known !== undefined && now < known.ended + this.#service.staleIfError * 1000 ? known.groups : NONE
  }

  #remember(user: string, known: Known): void {
    this.#forget(user)
    this.#known.set(user, known)
    this.#characters += known.size
    // a Map keeps the order of insertion: what was learned first goes first
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_USERS && this.#characters <= MOST_CHARACTERS) break
      this.#forget(oldest)
    }
  }

  #forget(user: string): void {
    this.#characters -= this.#known.get(user)?.size ?? 0
    this.#known.delete(user)
  }
}

/** Failures one after the other until a service is left alone, and for how long, milliseconds. */
const PATIENCE = 3
const FIRST_PAUSE = 5000
const LONGEST_PAUSE = 60_000

/** Says when a service that fails may be asked again: after a pause, by one question, and the pauses grow. */
class Breaker {
  readonly #now: () => number
  readonly #notice: (reason?: string) => void
  #failures = 0
  #pausedUntil = 0
  #isTrying = false

  constructor(now: () => number, notice: (reason?: string) => void) {
    this.#now = now
    this.#notice = notice
  }

  admits(): boolean {
    if (this.#failures < PATIENCE) return true
    if (this.#isTrying || this.#now() < this.#pausedUntil) return false
    this.#isTrying = true
    return true
  }

  succeeded(): void {
    if (this.#failures >= PATIENCE) this.#notice()
    this.#failures = 0
    this.#isTrying = false
  }

  failed(reason: string): void {
    this.#isTrying = false
    // those that were on their way when it was given up do not make the pause longer
    if (this.#now() < this.#pausedUntil) return
    if (++this.#failures < PATIENCE) return
    if (this.#failures === PATIENCE) this.#notice(reason)
    this.#pausedUntil = this.#now() + Math.min(FIRST_PAUSE * 2 ** (this.#failures - PATIENCE), LONGEST_PAUSE)
  }
}
