/** Who waits for a job to change: told at once by this process, and looking now and then because another one may be at the job. */
import { type Clock } from './clock.ts'

const LOOK_MS = 2000

export class Watch {
  readonly #clock: Clock
  readonly #waiting = new Map<string, Set<() => void>>()
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  changed(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake()
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed = true
    for (const id of this.#waiting.keys()) this.changed(id)
  }

  /** Resolves when `done` says so (asked first, and at every change), after so many milliseconds, or when the signal is aborted. */
  async until(id: string, done: () => boolean, milliseconds: number, signal?: AbortSignal): Promise<void> {
    const deadline = this.#clock.now() + milliseconds
    while (!done() && !this.#closed && signal?.aborted !== true) {
      const left = deadline - this.#clock.now()
      if (left <= 0) return
      await this.#change(id, Math.min(left, LOOK_MS), signal)
    }
  }

  async #change(id: string, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    const waiting = this.#waiting.get(id) ?? new Set()
    this.#waiting.set(id, waiting)
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        callOff()
        signal?.removeEventListener('abort', wake)
        waiting.delete(wake)
        if (waiting.size === 0 && this.#waiting.get(id) === waiting) this.#waiting.delete(id)
        resolve()
      }
      const callOff = this.#clock.after(milliseconds, wake)
      waiting.add(wake)
      signal?.addEventListener('abort', wake)
    })
  }
}
