// The public keys of one issuer: found, fetched, renewed when one is asked for that is not there, and kept over an outage for a while.
import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK, type JWTHeaderParameters } from 'jose'
import { createPublicKey, type JsonWebKey, type webcrypto } from 'node:crypto'
import { canonicalIssuer } from './token-issuer.ts'
import { fetchJson, isFetchable, isLoopback } from './token-fetch.ts'

export interface KeysOptions {
  /** canonical */
  readonly issuer: string
  /** URL or file of the key set; without it, it is found by OpenID Connect Discovery 1.0 */
  readonly jwks?: string | undefined
  /** PEM file of the authorities of a private issuer */
  readonly ca?: string | undefined
  readonly clock: () => number
  /** Hears what went wrong and what changed, in a sentence without secrets. */
  readonly notice: (sentence: string) => void
  readonly times?: Partial<KeyTimes>
}

/** All in milliseconds. */
export interface KeyTimes {
  /** older keys are fetched again, while they serve on */
  readonly refresh: number
  /** keys this old serve no more: how long an issuer's outage is borne, and a withdrawn key at most trusted */
  readonly longest: number
  /** between two attempts to fetch, whoever asks */
  readonly pause: number
  /** for one document */
  readonly timeout: number
}

export const KEY_TIMES: KeyTimes = { refresh: 300_000, longest: 4 * 3_600_000, pause: 10_000, timeout: 10_000 }

/** Keys looked at in one set, and keys of one kid that are tried for one token. */
const MOST_KEYS = 100
const MOST_TRIED = 4

type LocalSet = ReturnType<typeof createLocalJWKSet>

interface Held {
  readonly set: LocalSet
  readonly fingerprint: string
  readonly fetched: number
}

/** Keys change at most every `pause`; `generation` grows with each change of them. */
export class IssuerKeys {
  readonly #options: KeysOptions
  readonly #times: KeyTimes
  #held: Held | undefined
  #generation = 0
  #attempted = -Infinity
  #attempt: Promise<void> | undefined

  constructor(options: KeysOptions) {
    this.#options = options
    this.#times = { ...KEY_TIMES, ...options.times }
  }

  get generation(): number {
    return this.#generation
  }

  /** Whether what was verified with these keys may still count; starts fetching them anew when it is time, and does not wait for it. */
  isCurrent(): boolean {
    const age = this.#age()
    if (age > this.#times.refresh) void this.#refresh()
    return age <= this.#times.longest
  }

  /**
   * The keys that a token's header may mean, at most a few. None when the issuer has no such key, also after asking it again.
   * Rejects with an Error when the issuer's keys cannot be had.
   */
  async find(header: JWTHeaderParameters): Promise<webcrypto.CryptoKey[]> {
    if (!this.isCurrent()) await this.#refresh()
    if (!this.isCurrent() || this.#held === undefined)
      throw new Error(`the keys of ${this.#options.issuer} cannot be had`)
    const found = await keysIn(this.#held.set, header)
    if (found.length > 0) return found
    const before = this.#generation
    await this.#refresh()
    return this.#generation === before ? [] : keysIn(this.#held.set, header)
  }

  /** Fetches now, whatever the pause. What fails is noticed, and leaves the keys as they are. */
  async reload(): Promise<void> {
    await this.#attempt
    this.#attempted = -Infinity
    await this.#refresh()
  }

  #age(): number {
    return this.#held === undefined ? Infinity : this.#options.clock() - this.#held.fetched
  }

  /** One attempt for all who wait, and none within the pause after the last. Never rejects. */
  #refresh(): Promise<void> {
    if (this.#attempt !== undefined) return this.#attempt
    const now = this.#options.clock()
    if (now - this.#attempted < this.#times.pause) return Promise.resolve()
    this.#attempted = now
    this.#attempt = this.#fetch(now).finally(() => (this.#attempt = undefined))
    return this.#attempt
  }

  async #fetch(now: number): Promise<void> {
    const { issuer, notice } = this.#options
    try {
      const keys = publicKeys(await this.#document())
      const fingerprint = JSON.stringify(keys)
      const isChanged = fingerprint !== this.#held?.fingerprint
      const set = isChanged || this.#held === undefined ? createLocalJWKSet({ keys }) : this.#held.set
      this.#held = { set, fingerprint, fetched: now }
      if (!isChanged) return
      this.#generation++
      notice(`${issuer}: ${keys.length} keys`)
    } catch (error) {
      const kept = this.#held === undefined ? 'there are none yet' : 'those before are kept'
      notice(`the keys of ${issuer} could not be fetched, ${kept}: ${(error as Error).message}`)
    }
  }

  async #document(): Promise<unknown> {
    const { jwks } = this.#options
    const options = { timeout: this.#times.timeout, ca: await this.#authorities() }
    if (jwks !== undefined && !isUrl(jwks)) return JSON.parse(await readFile(jwks, 'utf8')) as unknown
    return fetchJson(jwks === undefined ? await this.#discover(options) : new URL(jwks), options)
  }

  async #authorities(): Promise<string | undefined> {
    const { ca } = this.#options
    return ca === undefined ? undefined : readFile(ca, 'utf8')
  }

  /** OpenID Connect Discovery 1.0, section 4: the document must be the issuer's own. */
  async #discover(options: { timeout: number; ca: string | undefined }): Promise<URL> {
    const { issuer } = this.#options
    const found = await fetchJson(new URL(`${issuer}/.well-known/openid-configuration`), options)
    const { issuer: named, jwks_uri: place } = (found ?? {}) as { issuer?: unknown; jwks_uri?: unknown }
    if (typeof named !== 'string' || canonicalIssuer(named) !== issuer) {
      throw new Error('its openid-configuration is of another issuer')
    }
    if (typeof place !== 'string' || !URL.canParse(place)) throw new Error('its openid-configuration names no jwks_uri')
    const url = new URL(place)
    // an issuer elsewhere must not make us ask our own machine
    if (!isFetchable(url) || (isLoopback(url.hostname) && !isLoopback(new URL(issuer).hostname))) {
      throw new Error(`its jwks_uri is ${place}: not https, or of this machine`)
    }
    return url
  }
}

export const isUrl = (text: string): boolean => /^https?:\/\//i.test(text)

/** The set with nothing in it but public keys that may sign. Throws an Error for what is no key set, or has no such key. */
function publicKeys(document: unknown): JWK[] {
  const { keys } = (document ?? {}) as Partial<JSONWebKeySet>
  if (!Array.isArray(keys)) throw new Error('not a key set (RFC 7517, section 5)')
  if (keys.length > MOST_KEYS) throw new Error(`a key set of more than ${MOST_KEYS} keys`)
  const usable = (keys as unknown[]).filter(isPublicKey)
  if (usable.length === 0) throw new Error('a key set without a public key for signatures')
  return usable
}

// No secret ones: with them whoever can check could sign. A private key that is published proves nothing.
function isPublicKey(value: unknown): value is JWK {
  if (typeof value !== 'object' || value === null) return false
  const { kty, use, d } = value as Record<string, unknown>
  const isMeant = typeof kty === 'string' && ['RSA', 'EC', 'OKP'].includes(kty) && (use ?? 'sig') === 'sig'
  return isMeant && d === undefined && isSound(value as JsonWebKey)
}

/** RFC 7518, section 3.3: 2048 bits. With the exponent 1 everybody could sign. */
function isSound(key: JsonWebKey): boolean {
  try {
    const { modulusLength, publicExponent } = createPublicKey({ key, format: 'jwk' }).asymmetricKeyDetails ?? {}
    return modulusLength === undefined || (modulusLength >= 2048 && (publicExponent ?? 0n) >= 3n)
  } catch {
    return false // not on its curve, or no key at all: as if it were not there
  }
}

/** Several when the set is careless with its kids, or the token names none. */
async function keysIn(set: LocalSet, header: JWTHeaderParameters): Promise<webcrypto.CryptoKey[]> {
  try {
    return [await set(header)]
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return []
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    const keys: webcrypto.CryptoKey[] = []
    for await (const key of error) if (keys.push(key) === MOST_TRIED) break
    return keys
  }
}
