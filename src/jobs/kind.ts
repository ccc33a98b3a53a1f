/** What a kind of job is: registered with the runner by its name, which is also the name of its endpoint (`transfers`, `async-delete`). */
import { type Caller } from '../vospace/caller.ts'
import { type Job, type JobResult, type Transfer } from '../vospace/transfer.ts'

export interface Kind {
  /**
   * Does the work. A job that was interrupted (gateway stopped or killed) runs again, with what it last saved as its `checkpoint`.
   * A Fault that is thrown ends the job in ERROR with its token; anything else in ERROR InternalFault, told to the log. When `signal` is
   * aborted it shall throw soon, what does not matter.
   */
  run(context: JobContext): Promise<Ending>
  /**
   * Takes back what a run has left that was aborted, ran out of time or threw. Called only when it has saved a checkpoint, and again
   * after a restart until it has come to its end. The job's phase is settled by then.
   */
  undo?(context: JobContext): Promise<void>
  /** True: of so little work that it waits for no slot (a rename, a negotiation). */
  isQuick?(job: Job): boolean
}

export interface JobContext {
  readonly job: Job
  /** The owner; groups and rights are those of the moment they are looked at, so one caller may be kept for the whole work. */
  readonly caller: Caller
  /** Aborted when the job is, when its execution time is over and when the gateway stops. */
  readonly signal: AbortSignal
  /** What an interrupted run saved last, as JSON gave it back; undefined: it has saved nothing. */
  readonly checkpoint: unknown
  readonly log: JobLog
  /** Keeps where the work is, at once, and over a power cut (one fsync): JSON. Throws when the job is not to go on. */
  save(checkpoint: unknown): void
  /** Shown on the job; cheap, may be called for every node. `total` undefined: not known. */
  progress(done: number, total?: number): void
}

/** How a job ended. Default COMPLETED. */
export interface Ending {
  /** EXECUTING: something outside goes on (bytes move); the runner is done with it. */
  readonly phase?: 'COMPLETED' | 'ERROR' | 'ABORTED' | 'EXECUTING'
  readonly results?: readonly JobResult[]
  /** with ERROR: the bare fault token, or a text that no client compares */
  readonly error?: string
  readonly details?: Transfer
}

export interface JobLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}
