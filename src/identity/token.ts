// Bearer tokens: a JWT to what it proves (RFC 7519, RFC 8725, RFC 9068). The signature is checked once a token, its end at every request.
import { createHash, type webcrypto } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTHeaderParameters, type JWTPayload } from 'jose'
import { Fault } from '../vospace/fault.ts'
import { type TokenVerifier } from './caller.ts'
import { type TokenProof } from './proof.ts'
import { excerpt, TokenFault } from './token-fault.ts'
import { canonicalIssuer, oidcIdentity, TOKEN_ALGORITHMS, type TokenIssuer } from './token-issuer.ts'
import { IssuerKeys, type KeyTimes } from './token-keys.ts'

/** bytes; real ones are of 1 to 3 KiB */
export const LONGEST_TOKEN = 16 << 10

/** OpenID Connect Core 1.0, section 2: characters of a subject. */
const LONGEST_SUBJECT = 255

const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/** `typ`, in lower case: what else is signed with the same keys (logout tokens, DPoP proofs) is no token (RFC 8725, 3.11). */
const TYPES: readonly string[] = ['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']

const algorithmsOf = ({ algorithms }: TokenIssuer): readonly string[] => algorithms ?? TOKEN_ALGORITHMS

/** A user name as the configuration takes it. */
const USER_NAME = /^[a-z_][a-z0-9_.-]{0,63}$/

export interface TokensOptions {
  /** verified tokens that are remembered */
  readonly size?: number
  readonly clock?: () => number
  readonly times?: Partial<KeyTimes>
  /** Hears of key sets that come and fail to come. */
  readonly notice?: (sentence: string) => void
}

interface Trusted {
  readonly issuer: TokenIssuer
  readonly keys: IssuerKeys
}

interface Remembered {
  readonly proof: TokenProof
  readonly keys: IssuerKeys
  readonly generation: number
}

/** The issuers that are believed, and the tokens of theirs seen lately. */
export class Tokens implements TokenVerifier {
  readonly #trusted: ReadonlyMap<string, Trusted>
  readonly #clock: () => number
  readonly #size: number
  /** by sha256: how much of a guess is right cannot be timed */
  readonly #remembered = new Map<string, Remembered>()

  constructor(issuers: readonly TokenIssuer[], options: TokensOptions = {}) {
    const { clock = Date.now, size = 2000, notice = () => undefined, times = {} } = options
    this.#clock = clock
    this.#size = size
    this.#trusted = new Map(
      issuers.map((issuer) => {
        const name = canonicalIssuer(issuer.issuer)
        const { jwks, ca } = issuer
        return [name, { issuer, keys: new IssuerKeys({ issuer: name, jwks, ca, clock, notice, times }) }]
      }),
    )
  }

  get size(): number {
    return this.#remembered.size
  }

  /**
   * What a token proves; at once when it was verified before. TokenFault (401) for one that proves nobody; ServiceBusy while the keys
   * of its issuer cannot be had. `expires` has the clock skew in it.
   */
  verify(token: string): TokenProof | Promise<TokenProof> {
    // before anything is made of it
    if (token.length > LONGEST_TOKEN) throw new TokenFault('TOO_LONG', `a token is at most ${LONGEST_TOKEN} bytes long`)
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#remembered.get(key)
    if (known === undefined) return this.#judge(token, key)
    this.#remembered.delete(key)
    if (known.proof.expires <= this.#clock()) throw expired()
    if (known.generation !== known.keys.generation || !known.keys.isCurrent()) return this.#judge(token, key)
    // put in again, it is the youngest
    this.#remembered.set(key, known)
    return known.proof
  }

  /** Keys are fetched or read again, and no token is remembered. Never rejects: keys that cannot be had are noticed. */
  async reload(): Promise<void> {
    this.#remembered.clear()
    await Promise.all([...this.#trusted.values()].map(({ keys }) => keys.reload()))
  }

  /** Whether a service on that host (`host` or `host:port`, as in its URL) may be shown what an issuer's user has shown us. */
  mayForward({ issuer }: TokenProof, host: string): boolean {
    return this.#trusted.get(issuer)?.issuer.forwardTo.includes(host.toLowerCase()) ?? false
  }

  async #judge(token: string, key: string): Promise<TokenProof> {
    const { header, claims } = parse(token)
    const { issuer, keys } = this.#trustedOf(claims)
    checkHeader(header, issuer)
    const candidates = await this.#candidates(keys, header)
    const { generation } = keys
    const payload = await this.#verified(token, candidates, issuer)
    const proof = this.#proofOf(token, payload, issuer)
    this.#remember(key, { proof, keys, generation })
    return proof
  }

  #trustedOf({ iss }: JWTPayload): Trusted {
    const trusted = typeof iss === 'string' ? this.#trusted.get(canonicalIssuer(iss)) : undefined
    if (trusted !== undefined) return trusted
    const named = typeof iss === 'string' ? `of ${excerpt(iss)}` : 'that name no issuer'
    throw new TokenFault(
      'ISSUER',
      `tokens ${named} are not taken here; of ${[...this.#trusted.keys()].join(', ')} they are`,
    )
  }

  async #candidates(keys: IssuerKeys, header: JWTHeaderParameters): Promise<webcrypto.CryptoKey[]> {
    let found: webcrypto.CryptoKey[]
    try {
      found = await keys.find(header)
    } catch (error) {
      // the token may be good: its holder is to come again, not to throw it away
      throw new Fault('ServiceBusy', `tokens cannot be checked now: ${(error as Error).message}`, { cause: error })
    }
    if (found.length === 0) throw new TokenFault('UNKNOWN_KEY', 'the issuer has no such key as signed this token')
    return found
  }

  async #verified(token: string, candidates: readonly webcrypto.CryptoKey[], issuer: TokenIssuer): Promise<JWTPayload> {
    let refusal: unknown
    for (const key of candidates) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [...algorithmsOf(issuer)],
          audience: [...issuer.audience],
          requiredClaims: ['iss', 'sub', 'exp'],
          clockTolerance: issuer.clockSkew,
          currentDate: new Date(this.#clock()),
        })
        return payload
      } catch (error) {
        refusal = error
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
      }
    }
    throw refusalOf(refusal, issuer)
  }

  #proofOf(token: string, { sub, exp, iat, ...claims }: JWTPayload, issuer: TokenIssuer): TokenProof {
    const { clockSkew, usernames } = issuer
    const now = this.#clock() / 1000
    // the store keeps each half of a surrogate as the same character: different subjects would be one person
    const isText = typeof sub === 'string' && sub.isWellFormed()
    const isSubject = isText && sub.length <= LONGEST_SUBJECT && /^[^\p{Cc}]+$/u.test(sub)
    if (!isSubject) throw new TokenFault('CLAIMS', 'the claim sub is no subject')
    // 8640000000000 seconds: what a Date can say; 1e999 is JSON, and Infinity
    if (exp === undefined || !(exp > 0 && exp <= 8.64e12)) throw new TokenFault('CLAIMS', 'the claim exp is no date')
    if (iat !== undefined && iat > now + clockSkew)
      throw new TokenFault('NOT_YET_VALID', 'the token was issued in the future')
    // bound to a key that the caller would have to prove (RFC 8705, RFC 9449): without that it may be stolen
    if (claims['cnf'] !== undefined) throw new TokenFault('BOUND', 'tokens bound to a key (cnf) are not taken here')
    const username = usernames === undefined ? undefined : claims[usernames]
    const name = canonicalIssuer(issuer.issuer)
    return {
      method: 'token',
      identity: oidcIdentity(name, sub),
      expires: (exp + clockSkew) * 1000,
      limited: false,
      issuer: name,
      subject: sub,
      ...(typeof username === 'string' && USER_NAME.test(username) && { username }),
      token,
    }
  }

  #remember(key: string, entry: Remembered): void {
    this.#remembered.set(key, entry)
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= this.#size) return
      this.#remembered.delete(oldest)
    }
  }
}

const expired = (): TokenFault => new TokenFault('EXPIRED', 'the token has expired')

function parse(token: string): { header: JWTHeaderParameters; claims: JWTPayload } {
  if (!COMPACT.test(token)) throw new TokenFault('MALFORMED', 'not a JWT: three parts of base64url are one')
  try {
    return { header: decodeProtectedHeader(token) as JWTHeaderParameters, claims: decodeJwt(token) }
  } catch (error) {
    if (!(error instanceof errors.JOSEError) && !(error instanceof TypeError)) throw error
    // no cause: its text may have parts of the token
    throw new TokenFault('MALFORMED', 'not a JWT: its parts are not JSON objects')
  }
}

// Before any key is looked for: keys that the token brings along (jwk, x5c, jku) count for nothing.
function checkHeader({ alg, typ, kid }: JWTHeaderParameters, issuer: TokenIssuer): void {
  const algorithms = algorithmsOf(issuer)
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw new TokenFault(
      'ALGORITHM',
      `tokens signed by ${excerpt(String(alg))} are not taken; by ${algorithms.join(', ')} they are`,
    )
  }
  if (typ !== undefined && (typeof typ !== 'string' || !TYPES.includes(typ.toLowerCase()))) {
    throw new TokenFault('TYPE', `a JWT of type ${excerpt(String(typ))} is no access token`)
  }
  if (kid !== undefined && typeof kid !== 'string') throw new TokenFault('MALFORMED', 'the kid of the token is no text')
}

/** What jose says, in our words: its own may have parts of the token. */
function refusalOf(error: unknown, { audience }: TokenIssuer): unknown {
  if (error instanceof errors.JWTExpired) return expired()
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new TokenFault('BAD_SIGNATURE', "the signature of the token is not its issuer's")
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error, audience)
  if (error instanceof errors.JOSEError)
    return new TokenFault('MALFORMED', `not a JWT that can be checked (${error.code})`)
  return error
}

function claimRefusal({ claim, reason }: errors.JWTClaimValidationFailed, audience: readonly string[]): TokenFault {
  const isThere = reason !== 'missing'
  if (claim === 'aud')
    return new TokenFault('AUDIENCE', `the token is not for this service: its aud is not ${audience.join(' or ')}`)
  if (claim === 'nbf' && reason === 'check_failed') return new TokenFault('NOT_YET_VALID', 'the token is not valid yet')
  return new TokenFault('CLAIMS', `the claim ${claim} ${isThere ? 'is not what it has to be' : 'is missing'}`)
}
