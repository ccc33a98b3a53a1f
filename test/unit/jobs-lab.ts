/** A job runner in a process of its making: a clock that is moved by hand, kinds that wait to be told. */
import { type JobContext, type Ending, type Kind } from '../../src/jobs/kind.ts'
import { type Clock } from '../../src/jobs/clock.ts'
import { JobRunner, type RunnerOptions } from '../../src/jobs/runner.ts'
import { type StoredJobs } from '../../src/store/jobs.ts'
import { ANONYMOUS } from '../../src/vospace/caller.ts'

export class HandClock implements Clock {
  #now = 1_700_000_000_000
  readonly #timers = new Set<{ at: number; act: () => void }>()

  now(): number {
    return this.#now
  }

  after(milliseconds: number, act: () => void): () => void {
    const timer = { at: this.#now + milliseconds, act }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Everything due until then happens, in order. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds
    for (;;) {
      await settle()
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = next.at
      next.act()
    }
    this.#now = end
    await settle()
  }
}

/** Lets promises go as far as they come by themselves. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise((resolve) => setImmediate(resolve))
}

/** One run of a kind that does what it is told. */
export class Work {
  readonly context: JobContext
  readonly #settle: { resolve: (ending: Ending) => void; reject: (error: unknown) => void }
  readonly result: Promise<Ending>

  constructor(context: JobContext) {
    this.context = context
    const { promise, resolve, reject } = Promise.withResolvers<Ending>()
    this.result = promise
    this.#settle = { resolve, reject }
    context.signal.addEventListener('abort', () => reject(context.signal.reason as Error))
  }

  async end(ending: Ending = {}): Promise<void> {
    this.#settle.resolve(ending)
    await settle()
  }
  async fail(error: unknown): Promise<void> {
    this.#settle.reject(error)
    await settle()
  }
}

export interface Lab {
  readonly runner: JobRunner
  readonly clock: HandClock
  /** what runs now or has run, by job */
  readonly works: Map<string, Work>
  readonly undone: string[]
  readonly log: string[]
}

export function lab(store: StoredJobs, clock: HandClock = new HandClock(), options: Partial<RunnerOptions> = {}): Lab {
  const works = new Map<string, Work>()
  const undone: string[] = []
  const log: string[] = []
  const say = (_fields: object, text: string): void => void log.push(text)
  const runner = new JobRunner({
    store,
    clock,
    callerOf: (user) => ({ ...ANONYMOUS, user }),
    log: { info: say, warn: say, error: say },
    ...options,
  })
  const kind: Kind = {
    run: (context) => {
      const work = new Work(context)
      works.set(context.job.id, work)
      return work.result
    },
    undo: async ({ job }) => void undone.push(job.id),
    isQuick: ({ parameters }) => parameters?.['quick'] === 'true',
  }
  runner.register('work', kind)
  return { runner, clock, works, undone, log }
}
