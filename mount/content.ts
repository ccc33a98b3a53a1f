// The bytes of an open file as every handle of this mount sees them: what the gateway has, under what was written here.
import { type SeenEntry, type WireExtent } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { ExtentMap, type Span } from './extents.ts'
import { type Remote, type RemoteRef } from './remote.ts'
import { type Spool, type SpoolFolder } from './spool.ts'

/** Reads one version of a file at the gateway; fewer bytes at its end. PreconditionFailed when that version is gone. */
export interface BaseReader {
  read(offset: number, size: number, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]>
  /** Reads under way end with an AbortError. */
  close(): void
}

/** What stands around the content: the inode, its mount and its gateway. */
export interface ContentHost {
  readonly remote: Remote
  readonly spools: SpoolFolder
  ref(): RemoteRef
  openReader(base: Base): BaseReader
  /** The gateway has what was written here; before, it had the version `over`. */
  sent(entry: SeenEntry, over: string): void
  /** What is read is no longer what the kernel may have cached. */
  replaced(): void
  /** Asks the gateway and adopts its answer. */
  refresh(): Promise<SeenEntry>
}

/** The version at the gateway that lies under the written extents. */
export interface Base {
  readonly version: string
  readonly size: number
}

/** What one flush carries. */
interface Batch {
  readonly dirty: ExtentMap
  readonly length: number
  /** Bytes of the new version that may be read from the gateway afterwards; less when truncated meanwhile. */
  visible: number
  readonly mtime: bigint | undefined
  readonly explicitMtime: bigint | undefined
}

/** Up to this size a file whose bytes are all here is sent whole. */
const SMALL = 1 << 16
const PIECE = 1 << 20
/** How often somebody else may get in between read and send before the flush gives up. */
const ATTEMPTS = 5
const LARGEST = Number.MAX_SAFE_INTEGER / 4

export class Content {
  readonly #host: ContentHost
  #base: Base
  #reader: BaseReader | undefined
  #spool: Spool | undefined
  #length: number
  /** Bytes of the base that still count; what is beyond was cut off here. */
  #visible: number
  /** Valid in the spool. Always a superset of dirty. */
  readonly #written = new ExtentMap()
  #dirty = new ExtentMap()
  #appended = true
  #touched = false
  #mtime: bigint | undefined
  #writtenAt = 0n
  #batch: Batch | undefined
  #flushing: Promise<void> | undefined
  /** Handles, and those among them that may read and write. */
  handles = 0
  readers = 0
  /** Removed by this mount: nothing is sent any more. */
  unlinked = false

  constructor(host: ContentHost, entry: SeenEntry) {
    this.#host = host
    this.#base = baseOf(entry)
    this.#length = entry.size
    this.#visible = entry.size
  }

  /** Bytes. */
  get length(): number {
    return this.#length
  }

  get version(): string {
    return this.#base.version
  }

  /** Whether something waits to be sent. */
  get isDirty(): boolean {
    return (
      !this.#dirty.isEmpty ||
      this.#length !== this.#base.size ||
      this.#visible < Math.min(this.#base.size, this.#length) ||
      this.#touched ||
      this.#mtime !== undefined
    )
  }

  /** Nanoseconds; undefined: what the gateway says. */
  get mtime(): bigint | undefined {
    if (this.#mtime !== undefined) return this.#mtime
    return this.isDirty || this.#batch !== undefined ? this.#writtenAt : undefined
  }

  /** Up to `size` bytes, at once where they are all here. */
  read(offset: number, size: number, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]> {
    const end = Math.min(offset + size, this.#length)
    if (end <= offset) return []
    const missing = this.#written.gaps(offset, Math.min(end, this.#visible))
    const [first] = missing
    if (first === undefined) return [this.#local(offset, end)]
    return first.start === offset && first.end === end
      ? this.#remote(first, signal)
      : this.#merged(offset, end, missing, signal)
  }

  #local(start: number, end: number): Buffer {
    const bytes = Buffer.allocUnsafe(end - start)
    if (this.#spool === undefined) bytes.fill(0)
    else this.#spool.read(bytes, start)
    return bytes
  }

  async #merged(start: number, end: number, missing: readonly Span[], signal?: AbortSignal): Promise<Uint8Array[]> {
    const bytes = this.#local(start, end)
    for (const span of missing) {
      let at = span.start - start
      for (const part of await this.#remote(span, signal)) {
        bytes.set(part, at)
        at += part.length
      }
    }
    return [bytes]
  }

  #remote(span: Span, signal?: AbortSignal): Uint8Array[] | Promise<Uint8Array[]> {
    const reader = (this.#reader ??= this.#host.openReader(this.#base))
    const answer = reader.read(span.start, span.end - span.start, signal)
    return answer instanceof Promise ? this.#retried(answer, reader, span, signal) : answer
  }

  /** A base that is gone is replaced by what the gateway has now, unless something was written over the old one. */
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
        const gone = isFault(error, 'PreconditionFailed') && reader === this.#reader
        if (gone) await this.#host.refresh()
        if (reader === this.#reader || attempt === ATTEMPTS) throw error
      }
      reader = this.#reader ??= this.#host.openReader(this.#base)
      const end = Math.min(span.end, this.#visible)
      answer = end > span.start ? reader.read(span.start, end - span.start, signal) : []
    }
  }

  /** Answers the bytes written; throws ENOSPC of the local disk, EFBIG. With `append` at the end, wherever that is now. */
  write(data: Uint8Array, offset: number, append: boolean): number {
    const at = append ? this.#length : offset
    if (at + data.length > LARGEST) throw new Fault('RequestEntityTooLarge', 'file too large')
    const count = this.#writable().write(data, at)
    this.#changed(at, at + count)
    this.#appended &&= append
    return count
  }

  #writable(): Spool {
    return (this.#spool ??= this.#host.spools.open(this.#origin()))
  }

  #origin(): { path: string; id: string } {
    const { path, id = '' } = this.#host.ref()
    return { path, id }
  }

  #changed(start: number, end: number): void {
    this.#written.add(start, end)
    this.#dirty.add(start, end)
    this.#length = Math.max(this.#length, end)
    this.#touch()
  }

  #touch(): void {
    this.#touched = true
    this.#mtime = undefined
    this.#writtenAt = now()
  }

  truncate(size: number): void {
    if (size > LARGEST) throw new Fault('RequestEntityTooLarge', 'file too large')
    this.#spool?.cut(size)
    for (const extents of [this.#written, this.#dirty, this.#batch?.dirty]) extents?.remove(size, Infinity)
    this.#visible = Math.min(this.#visible, size)
    if (this.#batch !== undefined) this.#batch.visible = Math.min(this.#batch.visible, size)
    this.#length = size
    this.#appended = false
    this.#touch()
  }

  /** A longer file, without truncating's other half: what is there stays. */
  extend(length: number): void {
    if (length > LARGEST) throw new Fault('RequestEntityTooLarge', 'file too large')
    this.#length = Math.max(this.#length, length)
    this.#appended = false
    this.#touch()
  }

  /** Zeros from `start` on, within the file. */
  punch(start: number, end: number): void {
    const stop = Math.min(end, this.#length)
    if (stop <= start) return
    this.#writable().zero(start, stop)
    this.#changed(start, stop)
    this.#appended = false
  }

  /** A time set by the program, to be sent with what waits: call it only while something does. */
  setMtime(mtime: bigint): void {
    this.#mtime = mtime
  }

  /** When no flush is under way any more. */
  async settled(): Promise<void> {
    // its error belongs to whoever asked for that flush
    while (this.#flushing !== undefined) await this.#flushing.catch(() => undefined)
  }

  /**
   * Sends what was written before the call. Throws what the gateway refused (EDQUOT, ENOSPC, EACCES, ESTALE, EIO);
   * then everything still waits, and the next flush tries again.
   */
  async flush(): Promise<void> {
    await this.settled()
    if (!this.isDirty || this.unlinked) return
    this.#flushing = this.#send()
    try {
      await this.#flushing
    } finally {
      this.#flushing = undefined
    }
  }

  async #send(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const batch = this.#take()
      const { path } = this.#host.ref()
      try {
        const entry = this.#isWhole(batch) ? await this.#put(batch) : await this.#amend(batch)
        this.#sent(batch, entry)
        return
      } catch (error) {
        this.#putBack(batch)
        if (this.unlinked) return
        if (attempt === ATTEMPTS) throw error
        if (isFault(error, 'PreconditionFailed')) await this.#overtaken(error)
        // a folder above was renamed by us while the bytes were on their way
        else if (!isFault(error, 'NodeNotFound', 'ContainerNotFound') || this.#host.ref().path === path) throw error
      }
    }
  }

  #take(): Batch {
    const batch: Batch = {
      dirty: this.#dirty,
      length: this.#length,
      visible: this.#length,
      mtime: this.#mtime ?? this.#writtenAt,
      explicitMtime: this.#mtime,
    }
    this.#dirty = new ExtentMap()
    this.#touched = false
    this.#batch = batch
    return batch
  }

  #putBack(batch: Batch): void {
    this.#dirty.addAll(batch.dirty)
    this.#touched = true
    this.#batch = undefined
  }

  #sent(batch: Batch, entry: SeenEntry): void {
    this.#batch = undefined
    if (this.#mtime === batch.explicitMtime) this.#mtime = undefined
    const over = this.#base.version
    this.#setBase(baseOf(entry), batch.visible)
    if (this.#dirty.isEmpty) this.#appended = true
    this.#host.sent(entry, over)
  }

  #setBase(base: Base, visible: number): void {
    this.#base = base
    this.#visible = visible
    this.#reader?.close()
    this.#reader = undefined
  }

  /** Nothing is needed of the base, and sending all is no dearer than sending the changes. */
  #isWhole(batch: Batch): boolean {
    if (!this.#written.covers(0, Math.min(this.#visible, batch.length))) return false
    return batch.length <= SMALL || batch.dirty.bytes * 2 >= batch.length
  }

  #put(batch: Batch): Promise<SeenEntry> {
    const body = () => this.#pieces(0, batch.length)
    const { length, mtime } = batch
    const ifContentVersion = this.#base.version
    return this.#host.remote.put(this.#host.ref(), body, {
      length,
      ifContentVersion,
      ...(mtime !== undefined && { mtime }),
    })
  }

  #amend(batch: Batch): Promise<SeenEntry> {
    const { length, mtime } = batch
    const spans = [...batch.dirty.spans]
    // what was cut off here and is there again by a later extension reads as zeros
    const holes = this.#written.gaps(this.#visible, Math.min(this.#base.size, length))
    const ifContentVersion = this.#base.version
    return this.#host.remote.amend(this.#host.ref(), () => this.#extents(spans, holes), {
      length,
      ifContentVersion,
      ...(mtime !== undefined && { mtime }),
    })
  }

  async *#extents(spans: readonly Span[], holes: readonly Span[]): AsyncGenerator<WireExtent> {
    for (const { start, end } of holes) yield { offset: start, hole: end - start }
    for (const { start, end } of spans) {
      let offset = start
      for await (const bytes of this.#pieces(start, end)) {
        yield { offset, bytes }
        offset += bytes.length
      }
    }
  }

  async *#pieces(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; at += PIECE) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE, end - at))
      if (this.#spool === undefined) piece.fill(0)
      else await this.#spool.fetch(piece, at)
      yield piece
    }
  }

  /** Somebody else changed the file since it was opened: SEMANTICS.md "conflicts". Throws `error` where the two do not go together. */
  async #overtaken(error: Fault): Promise<void> {
    const entry = await this.#host.refresh()
    const base = baseOf(entry)
    const untouched = this.#visible === this.#base.size
    const first = this.#dirty.spans[0]?.start ?? this.#length
    if (untouched && this.#appended && first >= this.#base.size) {
      this.#shift(base.size - this.#base.size)
      this.#over(base, base.size)
    } else if (untouched && base.size === this.#base.size && !this.#dirty.covers(0, this.#length)) {
      this.#over(base, base.size)
    } else if (this.#written.covers(0, this.#visible)) {
      this.#dirty.addAll(this.#written)
      this.#setBase(base, 0)
    } else {
      throw error
    }
    this.#host.replaced()
  }

  /** The dirty extents lie over another version: what was sent before is no longer known to be in it. */
  #over(base: Base, visible: number): void {
    this.#written.clear()
    this.#written.addAll(this.#dirty)
    this.#setBase(base, visible)
  }

  /** Appended bytes go behind what somebody else appended. */
  #shift(delta: number): void {
    const spans = [...this.#dirty.spans]
    this.#dirty.clear()
    for (const { start, end } of delta > 0 ? spans.reverse() : spans) {
      this.#spool?.move(start, end, delta)
      this.#dirty.add(start + delta, end + delta)
    }
    this.#length += delta
  }

  /** The gateway has this version now. Nothing happens while something waits to be sent: the flush will find out. */
  rebase(entry: SeenEntry): void {
    if (entry.contentVersion === this.#base.version || this.isDirty || this.#batch !== undefined || this.unlinked)
      return
    this.#written.clear()
    this.#spool?.cut(0)
    this.#setBase(baseOf(entry), entry.size)
    this.#length = entry.size
    this.#host.replaced()
  }

  /** Bytes that would have to be fetched before the gateway may lose the file. */
  get missing(): number {
    return this.#written.gaps(0, this.#visible).reduce((sum, { start, end }) => sum + end - start, 0)
  }

  /** Fetches what is not here, so that the file may go at the gateway. */
  async localise(): Promise<void> {
    for (const { start, end } of this.#written.gaps(0, this.#visible)) {
      for (let at = start; at < end; at += PIECE) {
        const span = { start: at, end: Math.min(at + PIECE, end) }
        const bytes = Buffer.concat(await this.#remote(span))
        for (const gap of this.#written.gaps(span.start, Math.min(span.end, this.#visible))) {
          this.#fill(gap, bytes.subarray(gap.start - at, gap.end - at))
        }
      }
    }
  }

  #fill({ start, end }: Span, bytes: Uint8Array): void {
    const count = this.#writable().write(bytes, start)
    if (count < bytes.length) throw new Fault('QuotaExceeded', 'spool disk full', { errno: 'ENOSPC' })
    this.#written.add(start, end)
  }

  /** The last handle is gone. What could not be sent is kept, and `why` goes to the log. */
  end(why?: string): void {
    this.#reader?.close()
    if (this.#spool === undefined) return
    if (why === undefined) this.#spool.discard()
    else {
      if (this.#written.covers(0, Math.min(this.#visible, this.#length))) this.#spool.extend(this.#length)
      this.#host.spools.keep(this.#spool, this.#origin(), why)
    }
    this.#spool = undefined
  }
}

function baseOf(entry: SeenEntry): Base {
  return { version: entry.contentVersion, size: entry.size }
}

/** Nanoseconds since 1970, to the millisecond. */
export function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
