// Whether what is being written will fit at the gateway, found out before gigabytes wait here in vain.
import { Fault } from '../src/vospace/fault.ts'
import { type Remote, type RemoteRef } from './remote.ts'

export interface RoomHost {
  readonly remote: Pick<Remote, 'statfs'>
  ref(): RemoteRef
}

/** Bytes that are written before the gateway is asked, and between two questions at least and at most. */
const FIRST = 16 << 20
const SELDOM = 1 << 30

/** The room for one file. No write waits for an answer: it counts for those that come after it. */
export class Room {
  readonly #host: RoomHost
  #written = 0
  #next = FIRST
  #isAsking = false
  #full: Fault | undefined

  constructor(host: RoomHost) {
    this.#host = host
  }

  /** Before `count` bytes are written. `need`: bytes that the gateway has to find room for. QuotaExceeded: EDQUOT, or ENOSPC of its disk. */
  check(count: number, need: () => number): void {
    const full = this.#full
    if (full !== undefined) {
      // there may be room by the time it is tried again
      this.#full = undefined
      throw full
    }
    this.#written += count
    if (this.#written >= this.#next && !this.#isAsking) void this.#ask(need())
  }

  async #ask(need: number): Promise<void> {
    this.#isAsking = true
    try {
      const { blockSize, blocksFree, hasQuota = false } = await this.#host.remote.statfs(this.#host.ref().path)
      const left = blockSize * blocksFree - need
      if (left < 0) this.#full = fault(-left, hasQuota)
      else this.#next = this.#written + Math.min(Math.max(left / 2, FIRST), SELDOM)
    } catch {
      // what keeps the answer away keeps the bytes away too, and that is told by close
      this.#next = this.#written + FIRST
    } finally {
      this.#isAsking = false
    }
  }
}

function fault(missing: number, hasQuota: boolean): Fault {
  const detail = `${missing} bytes more than there is room for at the gateway`
  return new Fault('QuotaExceeded', detail, { errno: hasQuota ? 'EDQUOT' : 'ENOSPC' })
}
