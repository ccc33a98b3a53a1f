/**
 * Who is asking, settled once per request. The chain is verified once per connection and again when trust changes; its end is compared
 * with the clock at every request, since connections outlive proxies. A bad certificate is refused, never taken as anonymous.
 */
import { type IncomingMessage } from 'node:http'
import { type Socket } from 'node:net'
import { type Callers } from '../identity/caller.ts'
import { CertificateFault } from '../identity/certificate-fault.ts'
import { peerOf } from '../identity/peer.ts'
import { type Proof, proofOfChain } from '../identity/proof.ts'
import { type Caller } from '../vospace/caller.ts'

/** Challenges of a 401, and of what anonymous callers may read but others too (IVOA SSO; auth.md E). */
export const CHALLENGES = ['ivoa_x509'] as const

export const AUTHENTICATED_HEADER = 'X-VO-Authenticated'

interface Verdict {
  readonly generation: number
  readonly answer: Proof | CertificateFault
}

const verdicts = new WeakMap<Socket, Verdict>()

/**
 * The caller who sent a request. Throws CertificateFault (401) for a certificate that proves nobody, expired ones included, and
 * PermissionDenied for a person unknown here. A promise only where another service has to be asked.
 */
export function authenticate(
  { socket }: IncomingMessage,
  callers: Callers,
  now: number = Date.now(),
): Caller | Promise<Caller> {
  const { chain } = peerOf(socket)
  if (chain.length === 0) return callers.callerOf(undefined)
  const proof = verdictOf(socket, chain, callers)
  if (proof instanceof CertificateFault) throw proof
  if (proof.expires <= now) {
    throw new CertificateFault('EXPIRED', `the certificate expired at ${new Date(proof.expires).toISOString()}`)
  }
  return callers.callerOf(proof)
}

function verdictOf(socket: Socket, chain: readonly Buffer[], callers: Callers): Verdict['answer'] {
  const known = verdicts.get(socket)
  if (known?.generation === callers.generation) return known.answer
  const { generation } = callers
  const answer = judge(chain, callers)
  verdicts.set(socket, { generation, answer })
  return answer
}

function judge(chain: readonly Buffer[], callers: Callers): Verdict['answer'] {
  try {
    return proofOfChain(callers.verify(chain))
  } catch (error) {
    if (error instanceof CertificateFault) return error
    throw error
  }
}
