// Remembers what chains were found to be, against reconnect storms: bounded, short-lived, and void when trust changes.
import { hash } from 'node:crypto'
import { CertificateFault } from './certificate-fault.ts'
import { type TrustStore } from './trust.ts'
import { type VerifiedChain, verifyChain, type VerifyOptions } from './verify.ts'

export interface ChainCacheOptions extends Omit<VerifyOptions, 'now'> {
  /** How many chains are remembered. */
  readonly size?: number
  /** How long an answer is good, in milliseconds; that of a refusal. */
  readonly maxAge?: number
  readonly maxRefusalAge?: number
  readonly clock?: () => number
}

interface Entry {
  readonly answer: VerifiedChain | CertificateFault
  readonly generation: number
  readonly until: number
}

/** verifyChain with a memory, for one trust store and one set of rules. */
export class ChainCache {
  readonly #trust: TrustStore
  readonly #options: ChainCacheOptions
  readonly #entries = new Map<string, Entry>()

  constructor(trust: TrustStore, options: ChainCacheOptions = {}) {
    this.#trust = trust
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  /** As verifyChain. */
  verify(chain: readonly Buffer[]): VerifiedChain {
    const key = keyOf(chain)
    const now = this.#options.clock?.() ?? Date.now()
    const known = this.#entries.get(key)
    this.#entries.delete(key)
    const usable = known?.generation === this.#trust.generation && now < known.until
    const entry = usable ? known : this.#judge(chain, now)
    // Put in again, it is the youngest: the first of the map is the one that was not used for longest.
    this.#entries.set(key, entry)
    this.#shrink()
    if (entry.answer instanceof CertificateFault) throw entry.answer
    return entry.answer
  }

  #judge(chain: readonly Buffer[], now: number): Entry {
    const { maxAge = 300_000, maxRefusalAge = 10_000 } = this.#options
    const { generation } = this.#trust
    try {
      const answer = verifyChain(chain, this.#trust, { ...this.#options, now: new Date(now) })
      return { answer, generation, until: Math.min(now + maxAge, answer.reviewAt.getTime()) }
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error
      return { answer: error, generation, until: now + maxRefusalAge }
    }
  }

  #shrink(): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= (this.#options.size ?? 2000)) return
      this.#entries.delete(oldest)
    }
  }
}

// The lengths are hashed too: bytes moved from one certificate to the next are another chain. In one call, which is several times
// faster than feeding a hash.
function keyOf(chain: readonly Buffer[]): string {
  return hash('sha256', Buffer.concat([Buffer.from(chain.map(({ length }) => length).join(' ')), ...chain]), 'base64')
}
