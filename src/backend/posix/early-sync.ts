/** Brings a large body to the disk while the rest of it comes in, so that the last sync, which its sender waits for, finds little left. */

/** Bytes between two early syncs. */
const STRETCH = 32 << 20

export class EarlySync {
  readonly #sync: () => Promise<void>
  #begun = 0
  #isUnderWay = false
  /** An error is told by the kernel once only: not to the last sync again. */
  #error: Error | undefined
  #under: Promise<void> = Promise.resolve()

  /** `sync` makes durable what has been written of the one file. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync
  }

  /** So many bytes have been written in all. One sync at a time: a slow disk is asked less often. */
  reached(bytes: number): void {
    if (this.#isUnderWay || bytes - this.#begun < STRETCH) return
    this.#begun = bytes
    this.#isUnderWay = true
    this.#under = this.#run()
  }

  /** When the sync under way has ended, after which the file may be closed. Rejects with what any of them failed with. */
  async end(): Promise<void> {
    await this.#under
    if (this.#error !== undefined) throw this.#error
  }

  async #run(): Promise<void> {
    try {
      await this.#sync()
    } catch (error) {
      this.#error ??= error as Error
    } finally {
      this.#isUnderWay = false
    }
  }
}
