// The trust stores of a gateway together: opened, watched for replaced files, reloaded in one step, and what is wrong with
// them told to the log.
import { TrustStore, type TrustRules, unboundAuthorities } from './trust.ts'

/** Where authorities are kept, and what is asked of them. */
export interface TrustPlace extends TrustRules {
  /** A PEM file or a folder. */
  readonly path: string
  /** How often to look whether files were replaced; 0: never. */
  readonly pollSeconds: number
}

export interface TrustLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}

/** All stores of one gateway. */
export class TrustPlaces {
  readonly stores: readonly TrustStore[]
  readonly #log: TrustLog
  readonly #watches: readonly (() => void)[]
  #told = new Set<string>()

  /** Reads all places; as TrustStore.load, when one of them has no authority. */
  static async open(places: readonly TrustPlace[], log: TrustLog): Promise<TrustPlaces> {
    const stores = await Promise.all(places.map(({ path, pollSeconds: _, ...rules }) => TrustStore.load(path, rules)))
    return new TrustPlaces(places, stores, log)
  }

  private constructor(places: readonly TrustPlace[], stores: readonly TrustStore[], log: TrustLog) {
    this.stores = stores
    this.#log = log
    this.#watches = stores.flatMap((store, i) => {
      const seconds = places[i]?.pollSeconds ?? 0
      return seconds > 0 ? [store.watch(seconds, (error) => this.#hear(store, error))] : []
    })
    this.#tell()
  }

  /** Reads all places again and hands back what makes all of it count at once; when one cannot be read, it rejects. */
  async prepare(): Promise<() => void> {
    const takeOver = await TrustStore.prepareAll(this.stores)
    return () => {
      takeOver()
      this.#tell()
    }
  }

  close(): void {
    for (const stop of this.#watches) stop()
  }

  #hear(store: TrustStore, error: unknown): void {
    if (error === undefined) {
      this.#log.info({ location: store.location, generation: store.generation }, 'trust: read again')
      this.#tell()
    } else
      this.#log.error({ err: error, location: store.location }, 'trust: not read again, what was read before stays')
  }

  // What is still wrong after a reload was told already.
  #tell(): void {
    const notes = this.stores.flatMap((store) => store.notes)
    const problems = this.stores.flatMap((store) => store.problems)
    const unbound = unboundAuthorities(this.stores)
    if (unbound !== undefined) problems.push(unbound)
    for (const note of notes) if (!this.#told.has(note)) this.#log.info({ note }, 'trust')
    for (const problem of problems) if (!this.#told.has(problem)) this.#log.warn({ problem }, 'trust')
    this.#told = new Set([...notes, ...problems])
  }
}
