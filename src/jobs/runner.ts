/**
 * UWS 1.1 jobs: PENDING, on RUN QUEUED, then EXECUTING, and COMPLETED, ERROR or ABORTED in the end. What is in the store is what is true; this
 * process holds the jobs it has queued or is at, and takes over what a process that is gone has held: at start, and now and then.
 */
import {
  type HeldJob,
  type JobDraft,
  type JobFilter,
  type JobStart,
  newJobId,
  NOBODY,
  type StoredJobs,
} from '../store/jobs.ts'
import { mayLive, thisProcess } from '../store/holder.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, type FaultName } from '../vospace/fault.ts'
import { ACTIVE_PHASES, type Job, type Phase } from '../vospace/transfer.ts'
import { Attempt, type Outcome } from './attempt.ts'
import { CLOCK, type Clock } from './clock.ts'
import { FairQueue } from './fair-queue.ts'
import { type JobLog, type Kind } from './kind.ts'
import { Watch } from './watch.ts'

export interface RunnerOptions {
  readonly store: StoredJobs
  /** Who a job is done for, with the groups of now. Throws PermissionDenied when there is no such user any more. */
  readonly callerOf: (owner: string | undefined, admin: boolean) => Caller
  readonly log: JobLog
  /** Jobs at work at a time, the quick ones not counted. */
  readonly slots?: number
  /** PENDING and QUEUED jobs of one owner at a time. */
  readonly waiting?: number
  readonly clock?: Clock
  /** Names this process; see store/holder.ts. */
  readonly self?: string
}

const TICK_MS = 10_000
/** A job that was interrupted so often takes the gateway down, most likely. */
const MAX_ATTEMPTS = 5
/** How long jobs have to end when the gateway stops. */
const STOP_MS = 10_000
const MAX_DESTRUCTION_MS = 30 * 86_400_000
/** Waiting jobs of one owner: many more than any client makes, few enough to be listed. */
const MAX_WAITING = 1000
const MAX_EXECUTION_SECONDS = 7 * 86_400

const isActive = ({ phase }: Job): boolean => ACTIVE_PHASES.includes(phase)

export class JobRunner {
  readonly #store: StoredJobs
  readonly #options: RunnerOptions
  readonly #clock: Clock
  readonly #self: string
  readonly #kinds = new Map<string, Kind>()
  readonly #queue = new FairQueue()
  readonly #attempts = new Map<string, Attempt>()
  readonly #watch: Watch
  #callOffTick: () => void = () => undefined
  #stopping = false

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#store = options.store
    this.#clock = options.clock ?? CLOCK
    this.#self = options.self ?? thisProcess()
    this.#watch = new Watch(this.#clock)
  }

  /** Before `start`: who does the jobs of that name. */
  register(name: string, kind: Kind): void {
    this.#kinds.set(name, kind)
  }

  /** Goes on with what was interrupted. */
  start(): void {
    this.#adopt((holder) => holder === this.#self)
    this.#tick()
  }

  /** What is at work is interrupted, to go on when a gateway starts the next time. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#callOffTick()
    this.#watch.close()
    const attempts = [...this.#attempts.values()]
    for (const attempt of attempts) attempt.interrupt('stop')
    let callOff = (): void => undefined
    const late = new Promise<void>((resolve) => (callOff = this.#clock.after(STOP_MS, resolve)))
    await Promise.race([Promise.all(attempts.map(({ done }) => done)), late])
    callOff()
    this.#store.letGo(this.#self)
  }

  /**
   * A PENDING job; ServiceBusy when too many of its owner's wait. With a `start` it is one that no kind does: a transfer that was negotiated
   * while its client waited.
   */
  create(owner: string | undefined, draft: JobDraft, start?: JobStart): Job {
    const { waiting = MAX_WAITING } = this.#options
    return this.#store.create(owner, draft, { now: this.#clock.now(), start, waiting })
  }

  /** The id of a job that is to be created with a start. */
  newId(): string {
    return newJobId()
  }

  /** The bytes that a transfer was about have been moved. A job that is gone, or has ended, stays so. */
  bytesMoved(id: string): void {
    this.#bytesEnded(id, { phase: 'COMPLETED' })
  }

  /** The bytes have come, and are not taken. */
  bytesRefused(id: string, fault: FaultName): void {
    this.#bytesEnded(id, { phase: 'ERROR', error: fault })
  }

  #bytesEnded(id: string, end: Pick<Job, 'phase' | 'error'>): void {
    const ended = this.#clock.now()
    const moved = (job: Job): Job | undefined =>
      job.phase === 'EXECUTING' && job.details !== undefined ? { ...job, ...end, ended } : undefined
    // without an fsync: the bytes are what was promised, and their fsync was enough for the upload to wait for
    if (this.#store.note(id, moved) !== undefined) this.#watch.changed(id)
  }

  get(id: string): Job | undefined {
    const job = this.#store.get(id)
    if (job === undefined || job.destruction <= this.#clock.now()) return undefined
    const progress = this.#attempts.get(id)?.progress
    return progress === undefined ? job : { ...job, progress }
  }

  /** Newest first. */
  list(owner: string, kind: string, filter?: JobFilter): Job[] {
    return this.#store.list(owner, kind, filter)
  }

  /** PHASE=RUN. InvalidArgument unless it is PENDING. */
  run(id: string): void {
    if (this.#stopping) throw new Fault('ServiceBusy', 'the gateway is about to stop')
    const queued = (job: Job): Job => {
      if (job.phase !== 'PENDING') throw new Fault('InvalidArgument', `PHASE=RUN: the job is ${job.phase} already`)
      if (!this.#kinds.has(job.kind)) throw new Fault('OperationNotSupported', `nobody does jobs of kind ${job.kind}`)
      return { ...job, phase: 'QUEUED' }
    }
    const job = this.#change(id, queued, this.#self)
    if (job === undefined) throw new Fault('NodeNotFound', `there is no job ${id}`)
    this.#enqueue(job)
  }

  /** PHASE=ABORT; a job that has ended stays as it is. */
  abort(id: string): void {
    const job = this.#change(id, (before) =>
      isActive(before) ? { ...before, phase: 'ABORTED', ended: this.#clock.now() } : undefined,
    )
    if (job === undefined) return
    this.#queue.remove(job.owner, id)
    const attempt = this.#attempts.get(id)
    if (attempt !== undefined) attempt.interrupt('abort')
    else this.#adopt((holder) => holder === this.#self, id)
  }

  /** DELETE: aborted when it is active, and gone. What it has left is taken back first, its record then. */
  remove(id: string): void {
    this.abort(id)
    this.#change(id, (job) => ({ ...job, destruction: 0 }))
    this.#store.sweep(this.#clock.now())
  }

  /** Milliseconds since 1970, at most 30 days from now, and for what is nobody's no later than it was; a time that has passed: now. */
  setDestruction(id: string, time: number): void {
    const now = this.#clock.now()
    if (time <= now) return this.remove(id)
    const latest = ({ owner, destruction }: Job): number =>
      owner === undefined ? destruction : now + MAX_DESTRUCTION_MS
    this.#change(id, (job) => ({ ...job, destruction: Math.min(time, latest(job)) }))
  }

  /** Seconds, at most a week; 0: as long as may be. Counted from the last start. */
  setExecutionDuration(id: string, seconds: number): void {
    const executionDuration = Math.min(seconds === 0 ? Infinity : seconds, MAX_EXECUTION_SECONDS)
    if (this.#change(id, (job) => ({ ...job, executionDuration })) === undefined) return
    this.#attempts.get(id)?.limit(executionDuration)
  }

  /**
   * The job as soon as its phase is not `phase` (default: the one it has), or has ended, or after so many milliseconds (UWS 1.1, WAIT).
   * Undefined: it is gone.
   */
  async wait(id: string, milliseconds: number, phase?: Phase, signal?: AbortSignal): Promise<Job | undefined> {
    const known = phase ?? this.get(id)?.phase
    const isOver = (): boolean => {
      const job = this.get(id)
      return job === undefined || job.phase !== known || !isActive(job)
    }
    await this.#watch.until(id, isOver, milliseconds, signal)
    return this.get(id)
  }

  /** Resolves when the job is neither queued nor at work, or after so many milliseconds. */
  async settled(id: string, milliseconds: number): Promise<void> {
    const isSettled = (): boolean => !this.#attempts.has(id) && !this.#queue.has(id)
    await this.#watch.until(id, isSettled, milliseconds)
  }

  #change(id: string, next: (job: Job) => Job | undefined, holder?: string | null): Job | undefined {
    const job = this.#store.change(id, next, holder, this.#clock.now())
    if (job !== undefined) this.#watch.changed(id)
    return job
  }

  #note(id: string, next: (job: Job) => Job | undefined, holder?: string): Job | undefined {
    const job = this.#store.note(id, next, holder, this.#clock.now())
    if (job !== undefined) this.#watch.changed(id)
    return job
  }

  #tick(): void {
    try {
      this.#store.renew(this.#self, this.#clock.now())
      for (const attempt of this.#attempts.values()) attempt.check()
      for (const id of this.#store.sweep(this.#clock.now())) this.abort(id)
      this.#adopt(() => false)
    } catch (error) {
      // a busy or broken store: the next time
      this.#options.log.error({ err: error }, 'jobs could not be looked after')
    }
    this.#callOffTick = this.#clock.after(TICK_MS, () => this.#tick())
  }

  /** Takes what is held by who is gone; `isGone` says so of holders that may live. */
  #adopt(isGone: (holder: string) => boolean, only?: string): void {
    const now = this.#clock.now()
    for (const held of this.#store.held()) {
      const { job, holder, since } = held
      if (only !== undefined && job.id !== only) continue
      if (this.#attempts.has(job.id) || this.#queue.has(job.id)) continue
      if (holder !== NOBODY && !isGone(holder) && mayLive(holder, this.#self, since, now)) continue
      if (this.#store.takeOver(job.id, holder, this.#self, now)) this.#resume(held)
    }
  }

  #resume({ job, attempts }: HeldJob): void {
    const { log } = this.#options
    const kind = this.#kinds.get(job.kind)
    if (!isActive(job)) {
      this.#attempt(job, kind, 'undo')
    } else if (kind === undefined || attempts >= MAX_ATTEMPTS) {
      log.error({ job: job.id, kind: job.kind, attempts }, 'an interrupted job is given up')
      this.#attempt(job, kind, 'give up')
    } else {
      log.info({ job: job.id, kind: job.kind, attempts }, 'an interrupted job goes on')
      const queued = this.#note(job.id, (before) => (isActive(before) ? { ...before, phase: 'QUEUED' } : undefined))
      if (queued !== undefined) this.#enqueue(queued)
    }
  }

  #enqueue(job: Job): void {
    if (this.#kinds.get(job.kind)?.isQuick?.(job) === true) return this.#begin(job.id)
    this.#queue.add(job.owner, job.id)
    this.#fill()
  }

  #fill(): void {
    const { slots = 2 } = this.#options
    while (!this.#stopping) {
      const busy = [...this.#attempts.values()].filter(({ isQuick }) => !isQuick).length
      const id = busy < slots ? this.#queue.next() : undefined
      if (id === undefined) return
      this.#begin(id)
    }
  }

  #begin(id: string): void {
    const now = this.#clock.now()
    const started = ({ phase, started = now, ...rest }: Job): Job | undefined =>
      phase === 'QUEUED' ? { ...rest, started, phase: 'EXECUTING' } : undefined
    const job = this.#note(id, started, this.#self)
    if (job === undefined) return
    this.#store.countAttempt(id)
    this.#attempt(job, this.#kinds.get(job.kind), 'run')
  }

  #attempt(job: Job, kind: Kind | undefined, what: 'run' | 'undo' | 'give up'): void {
    const { callerOf, log } = this.#options
    const attempt = new Attempt({
      job,
      kind,
      log,
      clock: this.#clock,
      caller: () => callerOf(job.owner, job.admin === true),
      checkpoint: () => this.#store.checkpoint(job.id),
      save: (checkpoint) => this.#store.keepCheckpoint(job.id, this.#self, checkpoint),
      isOurs: (progress) => this.#keepProgress(job.id, progress),
    })
    this.#attempts.set(job.id, attempt)
    attempt.begin(what, (outcome) => this.#ended(job.id, outcome))
  }

  #keepProgress(id: string, progress: Job['progress']): boolean {
    const job = this.#store.note(id, (before) =>
      before.phase === 'EXECUTING' ? { ...before, ...(progress && { progress }) } : undefined,
    )
    return job !== undefined
  }

  #ended(id: string, outcome: Outcome): void {
    this.#attempts.delete(id)
    try {
      if (outcome !== 'interrupted') this.#settle(id, outcome)
    } catch (error) {
      // it is taken up again by the next start
      this.#options.log.error({ err: error, job: id }, 'how a job ended could not be kept')
    }
    this.#watch.changed(id)
    this.#fill()
  }

  // Aborted meanwhile, here or by another process: then that is how it ended.
  #settle(id: string, { patch, isDone }: Exclude<Outcome, 'interrupted'>): void {
    const ended = patch.phase === 'EXECUTING' ? {} : { ended: this.#clock.now() }
    const next = (job: Job): Job => (isActive(job) ? { ...job, ...ended, ...patch } : job)
    this.#change(id, next, isDone ? null : undefined)
  }
}
