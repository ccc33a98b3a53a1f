// The POSIX mapper of a site, asked by the gateway itself: its whole map at the start and from time to time, and what is missed in between on its
// own. What it says is kept in the store, so names and numbers are at hand without waiting, and while it is down.
import {
  type MappedNumbers,
  type NumberQuestion,
  type NumberService,
  type RefusedMapping,
} from '../store/mapped-numbers.ts'
import { askMapper, type MapperLines, type MapperPlace, type MapperQuery } from './posix-mapper-exchange.ts'

export interface MapperLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}

export interface PosixMapperOptions {
  readonly place: MapperPlace
  readonly numbers: Pick<MappedNumbers, 'learn' | 'count' | 'numberOf'>
  readonly log: MapperLog
  /** milliseconds between whole maps */
  readonly refresh: number
  readonly now?: () => number
}

type Kind = NumberQuestion['kind']

interface Waiting {
  readonly question: NumberQuestion
  readonly answered: PromiseWithResolvers<void>
}

/** Questions that wait; what more is missed meanwhile is asked for when it is missed again. */
const MOST_WAITING = 2000
/** Names and numbers asked for at a time. */
const AT_A_TIME = 50
/** Milliseconds that an unknown one is taken to stay so, and how many are remembered. */
const UNKNOWN_AGE = 60_000
const MOST_UNKNOWN = 10_000
/** Milliseconds that a mapper is left alone after a failure, growing. */
const FIRST_PAUSE = 2000
const LONGEST_PAUSE = 60_000
/** Mappings of one answer that are refused by name in the log; the others are counted. */
const MOST_TOLD = 20

export class PosixMapper implements NumberService {
  readonly #options: PosixMapperOptions
  readonly #now: () => number
  readonly #waiting = new Map<string, Waiting>()
  /** until when */
  readonly #unknown = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #isClosed = false
  #refreshing: Promise<void> | undefined
  #failures = 0
  #pausedUntil = 0
  /** It has left out who is unknown among others: so its 404 is for all. Some say 404 for all when one is unknown. */
  #omits = false

  constructor(options: PosixMapperOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** The whole map, and again from time to time. Rejects when `required` and it cannot be had; else the gateway goes on with what it remembers. */
  async start(required: boolean): Promise<void> {
    const { log, numbers, refresh } = this.#options
    try {
      await this.refresh()
    } catch (error) {
      const { count } = numbers
      if (required) throw new Error(`${(error as Error).message}; ${count} numbers are remembered`, { cause: error })
      log.warn({ remembered: count }, 'the POSIX mapper is down: going on with the numbers that are remembered')
    }
    if (this.#isClosed) return
    // what failed is told, and tried again
    this.#timer = setInterval(() => void this.refresh().catch(() => undefined), refresh)
    this.#timer.unref()
  }

  /** Both maps, whole. Rejects when one cannot be had; what came until then is kept. One at a time. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined))
    return this.#refreshing
  }

  want(question: NumberQuestion): void {
    const key = keyOf(question)
    if (this.#isClosed || this.#waiting.has(key) || this.#waiting.size >= MOST_WAITING) return
    if (this.#isUnknown(key)) return
    this.#waiting.set(key, { question, answered: Promise.withResolvers() })
    // not in the middle of whatever has missed it
    setImmediate(() => void this.#askAll())
  }

  isUnknown(kind: Kind, name: string): boolean {
    return this.#isUnknown(keyOf({ kind, name }))
  }

  /** Resolves when the number of that name is known, or known not to be, or nobody answers. */
  async settled(kind: Kind, name: string): Promise<void> {
    if (this.#options.numbers.numberOf(kind, name) !== undefined) return
    this.want({ kind, name })
    await this.#waiting.get(keyOf({ kind, name }))?.answered.promise
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#answerAll()
  }

  #isUnknown(key: string): boolean {
    return this.#now() < (this.#unknown.get(key) ?? 0)
  }

  async #refresh(): Promise<void> {
    try {
      for (const kind of ['user', 'group'] as const) await this.#learnMap(kind)
      this.#succeeded()
    } catch (error) {
      this.#failed(error as Error)
      throw error
    }
  }

  async #learnMap(kind: Kind): Promise<void> {
    let told = 0
    let refused = 0
    for await (const lines of askMapper(this.#options.place, kind, [])) {
      if (this.#isClosed) return
      const wrong = this.#learn(lines)
      this.#shout(wrong.slice(0, MOST_TOLD - told))
      told = Math.min(told + wrong.length, MOST_TOLD)
      refused += wrong.length
      // requests have their turn between one piece of the map and the next
      await new Promise((done) => setImmediate(done))
    }
    if (refused > told) this.#options.log.error({ kind, refused }, 'the POSIX mapper says more that is not taken')
  }

  #learn({ mappings, refused }: MapperLines): RefusedMapping[] {
    return [...refused, ...this.#options.numbers.learn(mappings)]
  }

  #shout(refused: readonly RefusedMapping[]): void {
    for (const { kind, name, number, why } of refused) {
      const fields = { kind, name: name.slice(0, 300), number, why }
      this.#options.log.error(fields, 'the POSIX mapper says what is not taken')
    }
  }

  async #askAll(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    try {
      while (this.#waiting.size > 0 && !this.#isClosed) {
        if (this.#now() < this.#pausedUntil) return this.#answerAll()
        const some = this.#some()
        await this.#askSome(some)
        for (const key of some.keys()) this.#answered(key)
      }
    } catch (error) {
      this.#failed(error as Error)
      this.#answerAll()
    } finally {
      this.#isAsking = false
    }
  }

  /** The first that wait, of one kind and by one parameter. */
  #some(): Map<string, NumberQuestion> {
    const all = [...this.#waiting].map(([key, { question }]) => [key, question] as const)
    const [, first] = all[0] ?? []
    const alike = all.filter(([, one]) => first !== undefined && parameterOf(one) === parameterOf(first))
    return new Map(alike.slice(0, AT_A_TIME))
  }

  async #askSome(asked: ReadonlyMap<string, NumberQuestion>): Promise<void> {
    const [first] = asked.values()
    if (first === undefined) return
    const found = new Set<string>()
    const query: MapperQuery = [...asked.values()].map((one) => [parameterOf(one), valueOf(one)])
    let isThere = false
    for await (const { mappings, refused } of askMapper(this.#options.place, first.kind, query)) {
      isThere = true
      // what was not asked for is not its to say here
      const wanted = mappings.filter((one) => asked.has(keyOf('name' in first ? nameOnly(one) : numberOnly(one))))
      for (const one of wanted) found.add(keyOf('name' in first ? nameOnly(one) : numberOnly(one)))
      this.#shout(this.#learn({ mappings: wanted, refused: refused.slice(0, MOST_TOLD) }))
    }
    this.#succeeded()
    if (isThere && found.size < asked.size) this.#omits = true
    if (!isThere && asked.size > 1 && !this.#omits)
      for (const [key, one] of asked) await this.#askSome(new Map([[key, one]]))
    else for (const key of asked.keys()) if (!found.has(key)) this.#remember(key)
  }

  #remember(key: string): void {
    if (this.#unknown.size >= MOST_UNKNOWN) this.#unknown.clear()
    this.#unknown.set(key, this.#now() + UNKNOWN_AGE)
  }

  #answered(key: string): void {
    this.#waiting.get(key)?.answered.resolve()
    this.#waiting.delete(key)
  }

  #answerAll(): void {
    for (const key of [...this.#waiting.keys()]) this.#answered(key)
  }

  #succeeded(): void {
    if (this.#failures > 0) this.#options.log.info({}, 'the POSIX mapper answers again')
    this.#failures = 0
    this.#pausedUntil = 0
  }

  #failed(error: Error): void {
    if (this.#failures++ === 0) this.#options.log.warn({ reason: error.message }, 'the POSIX mapper does not answer')
    this.#pausedUntil = this.#now() + Math.min(FIRST_PAUSE * 2 ** Math.min(this.#failures - 1, 10), LONGEST_PAUSE)
  }
}

type Said = { readonly kind: Kind; readonly name: string; readonly number: number }

const nameOnly = ({ kind, name }: Said): NumberQuestion => ({ kind, name })
const numberOnly = ({ kind, number }: Said): NumberQuestion => ({ kind, number })

const parameterOf = (question: NumberQuestion): 'user' | 'uid' | 'group' | 'gid' => {
  if (question.kind === 'user') return 'name' in question ? 'user' : 'uid'
  return 'name' in question ? 'group' : 'gid'
}

const valueOf = (question: NumberQuestion): string => ('name' in question ? question.name : String(question.number))

const keyOf = (question: NumberQuestion): string => `${parameterOf(question)} ${valueOf(question)}`
