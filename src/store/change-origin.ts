/** Where changes come from: a mount knows of its own already, and those of one operation are kept together with its answer. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { type Change } from './changes.ts'

/** One operation of a mount, or of whoever else asks by /fs/v1. */
export class ChangeOrigin {
  /** undefined: of no mount */
  readonly mount: string | undefined
  #held: Change[] | undefined = []

  constructor(mount: string | undefined) {
    this.mount = mount
  }

  /** What `work` changes is noted as of this origin. */
  during<T>(work: () => T): T {
    return origins.run(this, work)
  }

  /** Keeps it for `take`; false when that has been: then it is the caller's to write down. */
  hold(change: Change): boolean {
    return this.#held !== undefined && this.#held.push(change) > 0
  }

  /** What was changed so far, to be written down now. Nothing is held any more. */
  take(): readonly Change[] {
    const held = this.#held ?? []
    this.#held = undefined
    return held
  }
}

const origins = new AsyncLocalStorage<ChangeOrigin>()

export const originOfChanges = (): ChangeOrigin | undefined => origins.getStore()
