// The bytes of an open file as every handle of this mount sees them: what the gateway has, under what was written here. Over 400 lines: every part keeps the same extents true.
import { type SeenEntry } from '../src/codec/fs-v1.ts'
import { Fault, isFault } from '../src/vospace/fault.ts'
import { ATTEMPTS, BaseVersion, type BaseHost } from './base-version.ts'
import { ExtentMap, type Span } from './extents.ts'
import { type SavedContent, type SavedWrite } from './recorder.ts'
import { type Remote, type RemoteRef } from './remote.ts'
import { Room } from './room.ts'
import { type Spool, type SpoolFolder } from './spool.ts'
import { Streaming, type UploadSlots } from './streaming.ts'
import { type Turns } from './turns.ts'
import { extents, pieces, PIECE, putEmpty } from './upload.ts'

/** What stands around the content: the inode, its mount and its gateway. */
export interface ContentHost extends BaseHost {
  readonly remote: Remote
  readonly spools: SpoolFolder
  readonly slots: UploadSlots
  /** Nothing else changes the node while its bytes are sent. */
  readonly turns: Turns
  ref(): RemoteRef
  /** The mode of a file that is not at the gateway yet; undefined: it is. */
  newMode(): number | undefined
  /** Nanoseconds, as the gateway said last. */
  mtime(): bigint
  /** It is at the gateway now. */
  made(entry: SeenEntry): void
  /** What somebody else has put there first; undefined: it is gone again. Throws `error` where that is no file that may be written. */
  found(error: Fault): Promise<SeenEntry | undefined>
  /** Throws EIO where the bytes were written under a lock that is another's by now. */
  maySend(): Promise<void>
  /** The gateway has what was written here; before, it had the version `over`. */
  sent(entry: SeenEntry, over: string): void
  /** What is read is no longer what the kernel may have cached. */
  replaced(): void
  /** Something of the content has changed; with `write`, only by that. */
  noted(write?: SavedWrite): void
  /** As noted, and written down when it returns: bytes are about to be destroyed. */
  recorded(): void
}

/** What one flush carries. */
interface Batch {
  readonly dirty: ExtentMap
  readonly length: number
  /** Bytes of the new version that may be read from the gateway afterwards; less when truncated meanwhile. */
  visible: number
  readonly mtime: bigint
  readonly explicitMtime: bigint | undefined
}

/** Up to this size a file whose bytes are all here is sent whole. */
const SMALL = 1 << 16
/** From this size on a new file is made at the gateway before its first flush, so that its bytes may go ahead. */
const GROWN = 1 << 20
const LARGEST = Number.MAX_SAFE_INTEGER / 4

export class Content {
  readonly #host: ContentHost
  readonly #base: BaseVersion
  #spool: Spool | undefined
  /** A second one while bytes move from one to the other, of no use to a driver after this one. */
  #other: Spool | undefined
  #length: number
  /** Bytes of the base that still count; what is beyond was cut off here. */
  #visible: number
  /** Valid in the spool. Always a superset of dirty. */
  readonly #written = new ExtentMap()
  #dirty = new ExtentMap()
  #appended = true
  #touched = false
  /** The gateway has it, and may lose it in a power cut. */
  #isUnsynced = false
  #mtime: bigint | undefined
  #writtenAt = 0n
  #batch: Batch | undefined
  /** Batches that were sent and not answered: each may have arrived. */
  #unanswered: Batch[] = []
  #goingAhead: Promise<void> | undefined
  readonly #streaming: Streaming
  readonly #room: Room
  /** Handles, and those among them that may read and write. */
  handles = 0
  readers = 0
  /** Removed by this mount: nothing is sent any more. */
  unlinked = false

  /** `saved`: what the content of a driver before this one was. */
  constructor(host: ContentHost, entry: SeenEntry, saved?: SavedContent) {
    this.#host = host
    this.#base = new BaseVersion(entry, host, () => this.#visible)
    this.#streaming = new Streaming(host)
    this.#room = new Room(host)
    this.#length = entry.size
    this.#visible = entry.size
    if (saved !== undefined) this.#restore(entry, saved)
  }

  #restore(entry: SeenEntry, saved: SavedContent): void {
    this.unlinked = saved.unlinked
    this.#base.set({ ...entry, contentVersion: saved.version, size: saved.size })
    if (saved.spool !== undefined) this.#spool = this.#host.spools.reopen(saved.spool, this.#origin())
    // its bytes were kept elsewhere, or were all sent
    if (saved.spool !== undefined && this.#spool === undefined) return
    this.#length = saved.length
    this.#visible = saved.visible
    for (const { start, end } of saved.written) this.#written.add(start, end)
    for (const { start, end } of saved.dirty) this.#dirty.add(start, end)
    this.#appended = saved.appended
    this.#touched = saved.touched
    this.#isUnsynced = saved.isUnsynced === true
    this.#mtime = saved.mtime
    this.#writtenAt = saved.writtenAt
    this.#unanswered = saved.unanswered.map((batch) => ({ ...batch, dirty: new ExtentMap(), explicitMtime: undefined }))
  }

  /** Of a file that is not at the gateway yet. */
  begin(isAppended: boolean): void {
    this.#appended = isAppended
    this.#writtenAt = now()
  }

  /** Of a file that was just made at the gateway, empty. */
  made(): void {
    this.#isUnsynced = true
  }

  get #isNew(): boolean {
    return this.#host.newMode() !== undefined
  }

  /** What another driver needs to go on. A flush under way counts as one whose answer never came. */
  save(): SavedContent {
    const batch = this.#batch
    const dirty = new ExtentMap()
    dirty.addAll(this.#dirty)
    if (batch !== undefined) dirty.addAll(batch.dirty)
    const unanswered = batch === undefined ? this.#unanswered : [...this.#unanswered, batch]
    return {
      version: this.#base.version,
      size: this.#base.size,
      length: this.#length,
      visible: this.#visible,
      written: this.#written.spans,
      dirty: dirty.spans,
      appended: this.#appended,
      touched: this.#touched || batch !== undefined,
      ...(this.#isUnsynced && { isUnsynced: true }),
      ...(this.#mtime !== undefined && { mtime: this.#mtime }),
      writtenAt: this.#writtenAt,
      unanswered: unanswered.map(({ length, mtime, visible }) => ({ length, mtime, visible })),
      unlinked: this.unlinked,
      ...(this.#spool !== undefined && { spool: this.#spool.number }),
      ...(this.#other !== undefined && { other: this.#other.number }),
    }
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
      this.#isNew ||
      !this.#dirty.isEmpty ||
      this.#length !== this.#base.size ||
      this.#visible < Math.min(this.#base.size, this.#length) ||
      this.#touched ||
      this.#mtime !== undefined
    )
  }

  /** Bytes that wait to be sent. */
  get waiting(): number {
    return this.#dirty.bytes + (this.#batch?.dirty.bytes ?? 0)
  }

  /** Whether a flush would send something. */
  get waits(): boolean {
    return this.isDirty && !this.unlinked
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
      ? this.#base.read(first, signal)
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
      for (const part of await this.#base.read(span, signal)) {
        bytes.set(part, at)
        at += part.length
      }
    }
    return [bytes]
  }

  /** Answers the bytes written; throws ENOSPC of the local disk, EFBIG. With `append` at the end, wherever that is now. */
  write(data: Uint8Array, offset: number, append: boolean): number {
    const at = append ? this.#length : offset
    if (at + data.length > LARGEST) throw new Fault('RequestEntityTooLarge', 'file too large')
    const refusal = this.#streaming.refusal()
    if (refusal !== undefined) throw refusal
    this.#room.check(data.length, () => this.#growth)
    const spool = this.#writable()
    this.#streaming.changed(at)
    const count = spool.write(data, at)
    this.#changed(at, at + count)
    this.#appended &&= append
    const { number } = spool
    this.#host.noted({
      start: at,
      end: at + count,
      writtenAt: this.#writtenAt,
      appended: this.#appended,
      spool: number,
    })
    if (this.#isNew && this.#length >= GROWN) this.#goAhead()
    else if (this.#isGrowing(at + count)) this.#streaming.grown(spool, this.#length, this.#base.version)
    return count
  }

  /** Written at its end, and nothing of it is, or is going to be, at the gateway: not appended, that goes behind what others append. */
  #isGrowing(end: number): boolean {
    const isNew = this.#visible === 0 && this.#batch === undefined && this.#unanswered.length === 0
    return end === this.#length && isNew && !this.#appended && !this.unlinked && this.#written.covers(0, end)
  }

  /** Bytes that the gateway has to find room for: what becomes of the file's old ones is its business. */
  get #growth(): number {
    return Math.max(0, Math.min(this.waiting, this.#length - this.#base.size) - this.#streaming.taken)
  }

  /** The record speaks of it before its first byte: a kill leaves none with bytes that are of no content. */
  #writable(): Spool {
    if (this.#spool !== undefined) return this.#spool
    this.#spool = this.#host.spools.open(this.#origin())
    this.#host.recorded()
    return this.#spool
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
    this.#streaming.abandon()
    for (const extents of [this.#written, this.#dirty, this.#batch?.dirty]) extents?.remove(size, Infinity)
    this.#visible = Math.min(this.#visible, size)
    const batches = this.#batch === undefined ? this.#unanswered : [this.#batch, ...this.#unanswered]
    for (const batch of batches) batch.visible = Math.min(batch.visible, size)
    this.#length = size
    this.#appended = false
    this.#touch()
    this.#host.recorded()
    this.#spool?.cut(size)
  }

  /** A longer file, without truncating's other half: what is there stays. */
  extend(length: number): void {
    if (length > LARGEST) throw new Fault('RequestEntityTooLarge', 'file too large')
    this.#length = Math.max(this.#length, length)
    this.#appended = false
    this.#touch()
    this.#host.noted()
  }

  /** Zeros from `start` on, within the file. */
  punch(start: number, end: number): void {
    const stop = Math.min(end, this.#length)
    if (stop <= start) return
    this.#streaming.changed(start)
    this.#writable().zero(start, stop)
    this.#changed(start, stop)
    this.#appended = false
    this.#host.noted()
  }

  /** A time set by the program, to be sent with what waits: call it only while something does. */
  setMtime(mtime: bigint): void {
    this.#mtime = mtime
    this.#host.noted()
  }

  /**
   * Sends what was written before the call. Throws what the gateway refused (EDQUOT, ENOSPC, EACCES, ESTALE, EIO);
   * then everything still waits, and the next flush tries again.
   */
  flush(): Promise<void> {
    return this.#host.turns.take(async () => {
      if (!this.waits) return
      await this.#host.maySend()
      await this.#send()
    })
  }

  /** Makes a new file at the gateway, without its bytes. Throws what the gateway refuses; then it is as it was. */
  async establish(): Promise<void> {
    if (!this.#isNew) return
    await this.#host.turns.take(() => this.#establish())
    // what was written meanwhile may leave now: no other write may follow
    const spool = this.#spool
    if (!this.#isNew && spool !== undefined && this.#isGrowing(this.#length))
      this.#streaming.grown(spool, this.#length, this.#base.version)
  }

  /** As establish, for nobody in particular: whatever is the matter, the flush meets it again. */
  #goAhead(): void {
    this.#goingAhead ??= this.establish()
      .catch(() => undefined)
      .finally(() => (this.#goingAhead = undefined))
  }

  async #establish(): Promise<void> {
    for (let attempt = 1; !this.unlinked; attempt++) {
      const mode = this.#host.newMode()
      if (mode === undefined) return
      try {
        const entry = await putEmpty(this.#host.remote, this.#host.ref(), mode)
        this.#setBase(entry, 0)
        this.#isUnsynced = true
        this.#host.made(entry)
        this.#host.noted()
      } catch (error) {
        if (!isFault(error, 'DuplicateNode') || attempt === ATTEMPTS) throw error
        await this.#overtaken(error)
      }
    }
  }

  /** As flush, and durable: also where there was nothing to send. */
  async fsync(): Promise<void> {
    if (this.#isUnsynced && !this.waits && !this.unlinked) {
      this.#touched = true
      this.#writtenAt = this.#host.mtime()
    }
    await this.flush()
  }

  async #send(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      // one with holes is sent as its changes
      if (this.#length > SMALL && this.#dirty.bytes * 2 < this.#length) await this.#establish()
      const batch = this.#take()
      // a driver after this one has to know what may have arrived
      this.#host.recorded()
      const { path } = this.#host.ref()
      try {
        const entry =
          (await this.#streamed(batch)) ?? (this.#isWhole(batch) ? await this.#put(batch) : await this.#amend(batch))
        this.#sent(batch, entry)
        return
      } catch (error) {
        this.#putBack(batch)
        const isOvertaken = isFault(error, this.#isNew ? 'DuplicateNode' : 'PreconditionFailed')
        if (!isOvertaken) this.#unanswered.push(batch)
        this.#host.noted()
        if (this.unlinked) return
        if (attempt === ATTEMPTS) throw error
        if (isOvertaken) await this.#overtaken(error)
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
    this.#isUnsynced = false
    this.#unanswered = []
    if (this.#mtime === batch.explicitMtime) this.#mtime = undefined
    const over = this.#base.version
    this.#setBase(entry, batch.visible)
    if (this.#dirty.isEmpty) this.#appended = true
    if (this.#isNew) this.#host.made(entry)
    this.#host.noted()
    this.#host.sent(entry, over)
  }

  #setBase(entry: SeenEntry, visible: number): void {
    this.#base.set(entry)
    this.#visible = visible
  }

  /** Nothing is needed of the base, and sending all is no dearer than sending the changes. */
  #isWhole(batch: Batch): boolean {
    if (!this.#written.covers(0, Math.min(this.#visible, batch.length))) return false
    return batch.length <= SMALL || batch.dirty.bytes * 2 >= batch.length
  }

  /** Most of it has left already: the rest, and the time if there is one to set. Undefined where that came to nothing. */
  async #streamed({ length, explicitMtime }: Batch): Promise<SeenEntry | undefined> {
    const entry = await this.#streaming.finish(length)
    if (entry === undefined || explicitMtime === undefined) return entry
    return this.#host.remote.setattr(this.#host.ref(), { mtime: explicitMtime })
  }

  #put(batch: Batch): Promise<SeenEntry> {
    const body = () => pieces(this.#spool, 0, batch.length)
    const { length, mtime } = batch
    const mode = this.#host.newMode()
    const tie = mode === undefined ? { ifContentVersion: this.#base.version } : { ifAbsent: true, mode }
    return this.#host.remote.put(this.#host.ref(), body, { length, mtime, ...tie })
  }

  #amend(batch: Batch): Promise<SeenEntry> {
    const { length, mtime } = batch
    const spans = [...batch.dirty.spans]
    // what was cut off here and is there again by a later extension reads as zeros
    const holes = this.#written.gaps(this.#visible, Math.min(this.#base.size, length))
    const ifContentVersion = this.#base.version
    return this.#host.remote.amend(this.#host.ref(), () => extents(this.#spool, spans, holes), {
      length,
      ifContentVersion,
      mtime,
    })
  }

  /** Somebody else changed the file since it was opened: SEMANTICS.md "conflicts". Throws `error` where the two do not go together. */
  async #overtaken(error: Fault): Promise<void> {
    const entry = await (this.#isNew ? this.#host.found(error) : this.#host.refresh())
    if (entry === undefined || this.#isOwn(entry)) return
    const untouched = this.#visible === this.#base.size
    const first = this.#dirty.spans[0]?.start ?? this.#length
    if (untouched && this.#appended && first >= this.#base.size) {
      this.#shift(entry.size - this.#base.size)
      this.#over(entry)
      this.#leaveOther()
    } else if (untouched && entry.size === this.#base.size && !this.#dirty.covers(0, this.#length)) {
      this.#over(entry)
    } else if (this.#written.covers(0, this.#visible)) {
      this.#dirty.addAll(this.#written)
      this.#setBase(entry, 0)
    } else {
      throw error
    }
    this.#host.noted()
    this.#host.replaced()
  }

  /** Whether the version is what an unanswered batch made of the file: then it is the base, and nobody else was here. */
  #isOwn(entry: SeenEntry): boolean {
    const batch = this.#unanswered.find(({ length, mtime }) => entry.size === length && entry.mtime === mtime)
    this.#unanswered = []
    if (batch === undefined) return false
    this.#setBase(entry, batch.visible)
    this.#host.noted()
    return true
  }

  /** The dirty extents lie over another version: what was sent before is no longer known to be in it. */
  #over(entry: SeenEntry): void {
    this.#written.clear()
    this.#written.addAll(this.#dirty)
    this.#setBase(entry, entry.size)
  }

  /** Appended bytes go behind what somebody else appended. */
  #shift(delta: number): void {
    const shifted = new ExtentMap()
    for (const { start, end } of this.#dirty.spans) shifted.add(start + delta, end + delta)
    this.#spool = this.#spool === undefined ? undefined : this.#moved(this.#spool, delta)
    this.#dirty = shifted
    this.#length += delta
  }

  /** The dirty bytes in another spool file: in the same one, a disk that fills up would lose what it overwrote. */
  #moved(from: Spool, delta: number): Spool {
    const to = this.#host.spools.open(this.#origin())
    this.#other = to
    this.#host.recorded()
    try {
      for (const span of this.#dirty.spans) from.copy(span, to, delta)
    } catch (error) {
      this.#leaveOther()
      throw error
    }
    this.#other = from
    return to
  }

  #leaveOther(): void {
    this.#other?.discard()
    this.#other = undefined
    // else the record would go on to speak of it when it is another's
    this.#host.noted()
  }

  /** The gateway has this version now. Nothing happens while something waits to be sent: the flush will find out. */
  rebase(entry: SeenEntry): void {
    if (entry.contentVersion === this.#base.version || this.isDirty || this.#batch !== undefined || this.unlinked)
      return
    this.#isUnsynced = false
    this.#written.clear()
    this.#setBase(entry, entry.size)
    this.#length = entry.size
    if (this.#spool !== undefined) {
      this.#host.recorded()
      this.#spool.cut(0)
    }
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
        const bytes = Buffer.concat(await this.#base.read(span))
        for (const gap of this.#written.gaps(span.start, Math.min(span.end, this.#visible))) {
          this.#fill(gap, bytes.subarray(gap.start - at, gap.end - at))
        }
      }
      // soon they are nowhere else
      this.#host.recorded()
    }
  }

  #fill({ start, end }: Span, bytes: Uint8Array): void {
    const count = this.#writable().write(bytes, start)
    if (count < bytes.length) throw new Fault('QuotaExceeded', 'spool disk full', { errno: 'ENOSPC' })
    this.#written.add(start, end)
    this.#host.noted()
  }

  /** The last handle is gone. What could not be sent is kept, and `why` goes to the log. */
  end(why?: string): void {
    this.#base.close()
    this.#streaming.abandon()
    if (this.#spool === undefined) return
    if (why === undefined) this.#spool.discard()
    else {
      if (this.#written.covers(0, Math.min(this.#visible, this.#length))) this.#spool.extend(this.#length)
      this.#host.spools.keep(this.#spool, this.#origin(), why)
    }
    this.#spool = undefined
  }
}

/** Nanoseconds since 1970, to the millisecond. */
export function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
