/** One run of one job in this process: its context, what interrupts it, and how it comes to an end. */
import { type Caller } from '../vospace/caller.ts'
import { isFault } from '../vospace/fault.ts'
import { type Job } from '../vospace/transfer.ts'
import { type JobPatch } from '../store/jobs.ts'
import { type Clock } from './clock.ts'
import { type Ending, type JobContext, type JobLog, type Kind } from './kind.ts'
import { lastingCaller } from './lasting-caller.ts'

/** `isDone`: nothing is left to be taken back. */
export type Outcome = { readonly patch: JobPatch; readonly isDone: boolean } | 'interrupted'

export interface AttemptParts {
  readonly job: Job
  /** undefined: nobody does such jobs any more */
  readonly kind: Kind | undefined
  readonly log: JobLog
  readonly clock: Clock
  readonly caller: () => Caller
  readonly checkpoint: () => unknown
  /** Both false: the job is not to go on. */
  readonly save: (checkpoint: unknown) => boolean
  readonly isOurs: (progress: Job['progress']) => boolean
}

/** `owner`: nobody may do it for them any more */
type Reason = 'stop' | 'abort' | 'time' | 'owner'

/** How often progress is written down, milliseconds. */
const PROGRESS_MS = 1000

export class Attempt {
  readonly isQuick: boolean
  progress: Job['progress']
  /** Resolves when it has ended. */
  done: Promise<void> = Promise.resolve()
  readonly #parts: AttemptParts
  readonly #work = new AbortController()
  readonly #stop = new AbortController()
  #reason: Reason | undefined
  #callOffLimit: () => void = () => undefined
  #kept: number

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.isQuick = parts.kind?.isQuick?.(parts.job) === true
    this.progress = parts.job.progress
    this.#kept = parts.clock.now()
  }

  begin(what: 'run' | 'undo' | 'give up', ended: (outcome: Outcome) => void): void {
    const work = what === 'run' ? this.#run() : this.#close({ phase: 'ERROR', error: 'InternalFault' })
    this.done = work.then(ended)
  }

  interrupt(reason: Reason): void {
    this.#reason ??= reason
    this.#work.abort(new Error(`the job was interrupted: ${reason}`))
    if (reason === 'stop') this.#stop.abort(new Error('the gateway stops'))
  }

  /** Ends it after so many seconds from now. */
  limit(seconds: number): void {
    this.#callOffLimit()
    this.#callOffLimit = this.#parts.clock.after(seconds * 1000, () => this.interrupt('time'))
  }

  /** Looks whether another process has aborted it, and whether its owner may still have it done. */
  check(): void {
    if (this.#reason !== undefined) return
    if (!this.#parts.isOurs(this.progress)) this.interrupt('abort')
    else if (!this.#hasOwner()) this.interrupt('owner')
  }

  #hasOwner(): boolean {
    try {
      this.#parts.caller()
      return true
    } catch (error) {
      if (!isFault(error, 'PermissionDenied')) throw error
      return false
    }
  }

  async #run(): Promise<Outcome> {
    const { job, kind } = this.#parts
    this.limit(job.executionDuration)
    try {
      if (kind === undefined) throw new Error(`nobody does jobs of kind ${job.kind}`)
      const ending = await kind.run(this.#context(this.#work.signal))
      if (this.#reason === 'abort') return await this.#close({ phase: 'ABORTED' })
      return { patch: this.#patch({ phase: 'COMPLETED', ...ending }), isDone: true }
    } catch (error) {
      return await this.#failed(error)
    } finally {
      this.#callOffLimit()
    }
  }

  async #failed(error: unknown): Promise<Outcome> {
    if (this.#reason === 'stop') return 'interrupted'
    if (this.#reason === 'owner') return this.#close({ phase: 'ERROR', error: 'PermissionDenied' })
    if (this.#reason !== undefined) return this.#close({ phase: 'ABORTED' })
    const { job, log } = this.#parts
    if (isFault(error))
      log.info({ job: job.id, kind: job.kind, fault: error.fault, detail: error.detail }, 'job refused')
    else log.error({ job: job.id, kind: job.kind, err: error }, 'job failed')
    return this.#close({ phase: 'ERROR', error: isFault(error) ? error.fault : 'InternalFault' })
  }

  /** Takes back what was made, then the job has ended. */
  async #close(ending: Ending): Promise<Outcome> {
    const { kind, job, log } = this.#parts
    const patch = this.#patch(ending)
    try {
      if (kind?.undo === undefined || this.#parts.checkpoint() === undefined) return { patch, isDone: true }
      await kind.undo(this.#context(this.#stop.signal))
      return { patch, isDone: true }
    } catch (error) {
      if (this.#stop.signal.aborted) return 'interrupted'
      log.error({ job: job.id, kind: job.kind, err: error }, 'what a job has left could not be taken back')
      return { patch, isDone: false }
    }
  }

  #patch(ending: Ending): JobPatch {
    return { ...ending, ...(this.progress && { progress: this.progress }) }
  }

  #context(signal: AbortSignal): JobContext {
    const { job, log, clock, caller, checkpoint, save } = this.#parts
    const refuse = (): never => {
      this.interrupt('abort')
      throw signal.reason ?? new Error('the job is not to go on')
    }
    return {
      job,
      get caller() {
        return lastingCaller(caller, clock)
      },
      signal,
      checkpoint: checkpoint(),
      log,
      save: (now) => {
        if (!save(now)) refuse()
      },
      progress: (done, total) => {
        this.progress = { done, ...(total !== undefined && { total }) }
        if (clock.now() - this.#kept < PROGRESS_MS) return
        this.#kept = clock.now()
        this.check()
      },
    }
  }
}
