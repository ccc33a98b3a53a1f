// The version of a file at the gateway that lies under what was written here, and how its bytes are read.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { isFault } from '../src/vospace/fault.ts'
import { type Span } from './extents.ts'

/**
 * Reads one version of a file at the gateway; fewer bytes at its end. PreconditionFailed when that version is gone.
 * The views are good until the turn of the event loop is over in which they are given: their memory is used again.
 */
export interface BaseReader {
  read(offset: number, size: number, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]>
  /** Reads under way end with an AbortError. */
  close(): void
}

export interface BaseHost {
  openReader(version: string, size: number): BaseReader
  /** Asks the gateway and adopts its answer. */
  refresh(): Promise<SeenEntry>
}

/** How often somebody else may get in between before a read or a flush gives up. */
export const ATTEMPTS = 5

export class BaseVersion {
  readonly #host: BaseHost
  readonly #visible: () => number
  #reader: BaseReader | undefined
  /** contentVersion */
  version: string
  /** Bytes. */
  size: number

  /** `visible`: how many of its bytes still count. */
  constructor(entry: SeenEntry, host: BaseHost, visible: () => number) {
    this.version = entry.contentVersion
    this.size = entry.size
    this.#host = host
    this.#visible = visible
  }

  /** Another version lies under the written bytes from now on. */
  set(entry: SeenEntry): void {
    this.version = entry.contentVersion
    this.size = entry.size
    this.close()
  }

  close(): void {
    this.#reader?.close()
    this.#reader = undefined
  }

  /** At once where the bytes are there. */
  read(span: Span, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]> {
    const reader = this.#open()
    const answer = reader.read(span.start, span.end - span.start, signal)
    return answer instanceof Promise ? this.#retried(answer, reader, span, signal) : answer
  }

  #open(): BaseReader {
    return (this.#reader ??= this.#host.openReader(this.version, this.size))
  }

  /** A version that is gone gives way to what the gateway has now, unless something was written over the old one. */
  async #retried(
    first: Promise<Uint8Array[]>,
    by: BaseReader,
    span: Span,
    signal?: AbortSignal,
  ): Promise<Uint8Array[]> {
    let answer: Uint8Array[] | Promise<Uint8Array[]> = first
    for (let attempt = 1, reader = by; ; attempt++) {
      try {
        return await answer
      } catch (error) {
        signal?.throwIfAborted()
        if (isFault(error, 'PreconditionFailed') && reader === this.#reader) await this.#host.refresh()
        if (reader === this.#reader || attempt === ATTEMPTS) throw error
      }
      reader = this.#open()
      const end = Math.min(span.end, this.#visible())
      answer = end > span.start ? reader.read(span.start, end - span.start, signal) : []
    }
  }
}
