/**
 * Who is asking, settled once per request. The chain is verified once per connection and again when trust changes, a token once; their end
 * is compared with the clock at every request, since connections outlive both. What is bad is refused, never taken as anonymous.
 * A request that was begun in time may end later: an upload goes on for as long as bytes come (HttpLimits.idleTimeout).
 */
import { type IncomingMessage } from 'node:http'
import { type CallerOptions, type Callers } from '../identity/caller.ts'
import { CertificateFault } from '../identity/certificate-fault.ts'
import { type Proof, proofOfChain } from '../identity/proof.ts'
import { TokenFault } from '../identity/token-fault.ts'
import { type Caller } from '../vospace/caller.ts'
import { bearerOf } from './authorization.ts'
import { refuseCrossSite } from './cross-site.ts'
import { shownChain } from './shown-chain.ts'

export const AUTHENTICATED_HEADER = 'X-VO-Authenticated'

interface Verdict {
  readonly generation: number
  /** Milliseconds since 1970 until which it holds: revocation lists end, and what was refused may become good. */
  readonly until: number
  readonly answer: Proof | CertificateFault
}

/** Milliseconds after which a refused chain may be judged anew on the same connection. */
const REFUSAL_AGE = 10_000

/** By the chain of a connection, which is one and the same for all its requests; their sockets are not, under HTTP/2. */
const verdicts = new WeakMap<readonly Buffer[], Verdict>()

/** Hears what a request showed besides what counted; fastify's logger is one. */
export interface Notes {
  info(fields: object, text: string): void
}

export interface AuthenticateOptions extends CallerOptions {
  readonly now?: number
  readonly notes?: Notes
}

/**
 * The caller who sent a request. Of a token and a certificate the token counts, and alone. Throws CertificateFault or TokenFault (401) for
 * what proves nobody, expired ones included, InvalidArgument for two Authorization headers, and PermissionDenied for a person unknown here or a
 * change that a page of another site makes a browser ask for.
 * A promise only where another service has to be asked, or a token is new.
 */
export function authenticate(
  request: IncomingMessage,
  callers: Callers,
  { now = Date.now(), notes, ...asked }: AuthenticateOptions = {},
): Caller | Promise<Caller> {
  const token = bearerOf(request)
  if (token === undefined) {
    const shown = certificateProof(request, callers, now)
    if (shown !== undefined) refuseCrossSite(request)
    return callers.callerOf(shown, asked)
  }
  const scoped = callers.partitions?.callerOf(token, now)
  if (scoped !== undefined) return scoped
  if (callers.tokens === undefined) throw new TokenFault('TOKENS_NOT_TAKEN', 'bearer tokens are not taken here')
  const proof = callers.tokens.verify(token)
  const known = (good: Proof): Caller | Promise<Caller> => {
    if (notes !== undefined) noteBoth(request, callers, good, now, notes)
    return callers.callerOf(good, asked)
  }
  return proof instanceof Promise ? proof.then(known) : known(proof)
}

/** What the certificate behind a request proves; undefined: there is none. */
function certificateProof(request: IncomingMessage, callers: Callers, now: number): Proof | undefined {
  const { chain, forwarded } = shownChain(request)
  if (chain.length === 0) return undefined
  // The connection of a front is many people's: what one of them proves must not count for the next.
  const proof = forwarded ? judge(chain, callers, now).answer : verdictOf(chain, callers, now)
  if (proof instanceof CertificateFault) throw proof
  if (proof.expires <= now) {
    throw new CertificateFault('EXPIRED', `the certificate expired at ${new Date(proof.expires).toISOString()}`)
  }
  return proof
}

/** A certificate beside a token: whose each is, and whether they are one person's. */
function noteBoth(request: IncomingMessage, callers: Callers, token: Proof, now: number, notes: Notes): void {
  const fields = { tokenOf: token.identity.value }
  try {
    const certificate = certificateProof(request, callers, now)
    if (certificate === undefined) return
    const shown = { ...fields, certificateOf: certificate.identity.value }
    const [one, other] = [callers.userOf(token)?.name, callers.userOf(certificate)?.name]
    if (one !== undefined && one === other)
      notes.info(shown, 'a token and a certificate of the same user: the token counts')
    else
      notes.info(
        { ...shown, users: [one ?? null, other ?? null] },
        'a token and a certificate of different users: the token counts',
      )
  } catch (error) {
    if (!(error instanceof CertificateFault)) throw error
    notes.info({ ...fields, refused: error.code }, 'a token and a bad certificate: the token counts')
  }
}

function verdictOf(chain: readonly Buffer[], callers: Callers, now: number): Verdict['answer'] {
  const known = verdicts.get(chain)
  if (known?.generation === callers.generation && now < known.until) return known.answer
  const verdict = judge(chain, callers, now)
  verdicts.set(chain, verdict)
  return verdict.answer
}

function judge(chain: readonly Buffer[], callers: Callers, now: number): Verdict {
  const { generation } = callers
  try {
    const verified = callers.verify(chain)
    return { generation, until: verified.reviewAt.getTime(), answer: proofOfChain(verified) }
  } catch (error) {
    if (error instanceof CertificateFault) return { generation, until: now + REFUSAL_AGE, answer: error }
    throw error
  }
}
