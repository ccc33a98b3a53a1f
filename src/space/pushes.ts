/**
 * Bytes that clients have put to the storage itself, at a URL that was negotiated. Nothing tells when they have come. So it is looked: when the
 * client asks for its job or for the node, so that it finds what it has just put, and every two seconds for all others, mounts among them.
 */
import { type Arrival, type ArrivalEnd, type Awaited, type Judge, type PutOptions } from '../backend/backend.ts'
import { type JobLog } from '../jobs/kind.ts'
import { type Caller } from '../vospace/caller.ts'
import { type FaultName } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type FileGrant, uploadTerms } from './files.ts'
import { type Preauth } from './preauth.ts'
import { type Space } from './space.ts'

export interface PushServices {
  readonly space: Space
  readonly preauth: Preauth
  /** Who acts by a grant, as they are now. */
  readonly callerOf: (grant: FileGrant) => Promise<Caller>
  readonly jobs: { bytesMoved(id: string): void; bytesRefused(id: string, fault: FaultName): void }
  readonly log: JobLog
}

const EVERY_MS = 2000
/** After a storage has not answered. */
const PAUSE_MS = 30_000
/** That whoever asks waits for: the storage may have gigabytes to copy. */
const PATIENCE_MS = 5000
/** What servers say of bytes of which nobody has said anything. */
const NO_TYPE = ['binary/octet-stream', 'application/octet-stream', '']

/** A look that is under way, and the one that begins after it, for those who ask meanwhile. */
interface Look {
  readonly now: Promise<void>
  next?: Promise<void>
}

export class Pushes implements Judge {
  readonly #services: PushServices
  readonly #looks = new Map<string, Look>()
  #timer: NodeJS.Timeout | undefined
  #pausedUntil = 0

  constructor(services: PushServices) {
    this.#services = services
  }

  /** Answers how to end it; what is under way then is waited for. */
  start(): () => Promise<void> {
    this.#timer = setInterval(() => void this.#sweep(), EVERY_MS)
    this.#timer.unref()
    void this.#sweep()
    return async () => {
      clearInterval(this.#timer)
      this.#pausedUntil = Infinity
      await Promise.all([...this.#looks.values()].map(({ now }) => now))
    }
  }

  isAwaited(path: NodePath): boolean {
    return this.#services.space.backend.arrivals?.isAwaited(path) === true
  }

  async at(path: NodePath): Promise<void> {
    if (this.isAwaited(path)) await patiently(this.#look(path, { path }))
  }

  async ofJob(job: string): Promise<void> {
    await patiently(this.#look(job, { job }))
  }

  async permit({ path, token, size, type }: Arrival): Promise<PutOptions> {
    const { space, preauth, callerOf } = this.#services
    const grant = preauth.verify(token, path, 'write')
    const contentType = type !== undefined && !NO_TYPE.includes(type) && { contentType: type }
    return uploadTerms(space, await callerOf(grant), path, { grant, length: size, ...contentType })
  }

  ended({ path, job }: Awaited, end: ArrivalEnd): void {
    const { space, jobs, log } = this.#services
    if ('entry' in end) {
      const { id, path: at } = end.entry
      space.changes.append({ id, path: at, kind: end.isNew ? 'made' : 'bytes' })
    }
    if ('fault' in end) log.info({ path, job, fault: end.fault }, 'what was pushed past the gateway is not taken')
    if (job === undefined) return
    if ('fault' in end) jobs.bytesRefused(job, end.fault)
    else jobs.bytesMoved(job)
  }

  async #sweep(): Promise<void> {
    if (Date.now() < this.#pausedUntil || this.#looks.has('')) return
    await this.#look('', undefined)
  }

  #look(name: string, of: { readonly job: string } | { readonly path: NodePath } | undefined): Promise<void> {
    const under = this.#looks.get(name)
    // what has come since it began may have been passed over
    if (under !== undefined) return (under.next ??= under.now.then(() => this.#look(name, of)))
    const now = this.#settle(of).finally(() => this.#looks.delete(name))
    this.#looks.set(name, { now })
    return now
  }

  async #settle(of: { readonly job: string } | { readonly path: NodePath } | undefined): Promise<void> {
    const { space, log } = this.#services
    try {
      await space.backend.arrivals?.settle(this, of)
    } catch (error) {
      this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + PAUSE_MS)
      log.warn({ err: error }, 'what clients have pushed past the gateway could not be looked after; tried again later')
    }
  }
}

/** Resolves when that does, or when it takes too long. */
async function patiently(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}
