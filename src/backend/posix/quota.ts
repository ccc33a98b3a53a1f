/** Quotas of allocations, whoever counts: the file system by its projects (project-quotas.ts), or the gateway (counted-quotas.ts). */
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'

/** What an allocation may hold, bytes. */
export interface Room {
  readonly quota: number
  /** null: not counted yet */
  readonly used: number | null
  readonly files: number | null
  /** how many more may be made; null: as many as the file system has */
  readonly filesFree: number | null
}

export interface Quotas {
  /** who counts and refuses */
  readonly by: 'storage' | 'gateway'
  /** Goes on with what a stop has cut short, beside other work. */
  start(): void
  stop(): Promise<void>
  /** Of the allocation that a path is in; undefined: it has no quota. Throws errors of the kernel. */
  room(path: NodePath): Room | undefined
  /** undefined takes it away. Throws errors of the kernel, and Fault. */
  set(allocation: NodePath, bytes: number | undefined): Promise<void>
  /** Whether there may be one for the last of a chain of entries, as walkNow has told them. */
  isLimited(chain: readonly Entry[]): boolean
  /** OperationNotSupported (EXDEV): what moves would count in another allocation. */
  refuseCrossing(from: NodePath, to: NodePath): void
  /** Waits until it is known what the allocation holds. */
  counted(path: NodePath): Promise<void>
  /** Looks again before a refusal; false: there is nothing to look for. */
  recount(path: NodePath): Promise<boolean>
  /** Bytes that are under way count as used. */
  hold(path: NodePath, bytes: number): void
  /** So many bytes more are there, or fewer; undefined: nobody knows how many went. */
  changed(path: NodePath, bytes: number | undefined): void
}

/** Of a room; what is counted already and not yet refused may be more than the quota. */
export const freeIn = ({ quota, used }: Room): number => Math.max(0, quota - (used ?? 0))

export function overQuota(path: NodePath, { quota, used, files, filesFree }: Room, cause?: unknown): Fault {
  const nodes = filesFree === null ? '' : `, ${files ?? 0} nodes and ${filesFree} more allowed`
  return new Fault('QuotaExceeded', `${path}: ${used ?? 0} of ${quota} bytes are used${nodes}`, {
    errno: 'EDQUOT',
    cause,
  })
}

/** What one put, amend or copy adds to an allocation. */
export class Growth {
  readonly #quotas: Quotas
  readonly #path: NodePath
  /** bytes that go when it is done */
  readonly #replaced: number
  #held = 0
  /** of those held, what has not come yet */
  #announced = 0

  constructor(quotas: Quotas, path: NodePath, replaced: number) {
    this.#quotas = quotas
    this.#path = path
    this.#replaced = replaced
  }

  /** So many bytes are to come, and count from now on. QuotaExceeded when they do not fit. */
  async announce(bytes: number): Promise<void> {
    await this.#claim(bytes, bytes)
    this.#announced = bytes
  }

  /** The parts of a body as far as they fit. */
  async *within<T>(parts: AsyncIterable<T>, bytesOf: (part: T) => number): AsyncGenerator<T> {
    for await (const part of parts) {
      const bytes = bytesOf(part)
      const fresh = Math.max(0, bytes - this.#announced)
      this.#announced -= bytes - fresh
      // the file system counts what has been written, not what is announced
      await this.#claim(this.#quotas.by === 'storage' ? bytes : fresh, fresh)
      yield part
    }
  }

  /** QuotaExceeded when more is there than may be, now that all of it has been written: before it is given its name. */
  check(): void {
    const room = this.#quotas.room(this.#path)
    if (room !== undefined && (room.used ?? 0) > room.quota + this.#replaced) throw overQuota(this.#path, room)
  }

  /** With so many bytes there now; undefined: it has come to nothing. */
  end(size: number | undefined): void {
    this.#quotas.hold(this.#path, -this.#held)
    this.#held = 0
    if (size !== undefined) this.#quotas.changed(this.#path, size - this.#replaced)
  }

  async #claim(bytes: number, held: number): Promise<void> {
    let lacking = this.#lacking(bytes)
    if (lacking !== undefined && (await this.#quotas.recount(this.#path))) lacking = this.#lacking(bytes)
    if (lacking !== undefined) throw lacking
    // in the same turn as the look
    this.#quotas.hold(this.#path, held)
    this.#held += held
  }

  #lacking(bytes: number): Fault | undefined {
    if (bytes === 0) return undefined
    const room = this.#quotas.room(this.#path)
    if (room === undefined || bytes <= room.quota - (room.used ?? 0) + this.#replaced) return undefined
    return overQuota(this.#path, room)
  }
}

/** Runs what makes a node larger; the bytes that stand there now are those that go. */
export async function grow(growth: Growth, step: (growth: Growth) => Promise<Entry>): Promise<Entry> {
  let size: number | undefined
  try {
    const entry = await step(growth)
    size = entry.size
    return entry
  } finally {
    growth.end(size)
  }
}

/** A refusal of the kernel with the numbers of the quota that it was for. XFS says ENOSPC for it, as for a full disk. */
export function numbered(quotas: Quotas | undefined, path: NodePath, free: () => number, error: unknown): unknown {
  if (quotas === undefined || !isFault(error, 'QuotaExceeded') || error.cause === undefined) return error
  const room = quotas.room(path)
  if (room === undefined) return error
  const isQuota = error.errno === 'EDQUOT' || (error.errno === 'ENOSPC' && freeIn(room) < free())
  return isQuota ? overQuota(path, room, error) : error
}
