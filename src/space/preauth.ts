/**
 * Pre-authorised URLs: a token that lets whoever holds it read or write one node for a while, on behalf of one user, as long as that user may.
 * Memberships that other services keep are known with the user's credential only: a token carries those it rests on, for as long as they count.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { nodeUri, type Service } from '../vospace/uri.ts'
import { type FileGrant } from './files.ts'

export interface Issue {
  readonly service: Service
  /** where the node really stands */
  readonly path: NodePath
  readonly kind: FileGrant['kind']
  readonly user: string | undefined
  /** of that user: the name may be another's one day */
  readonly uid?: number
  readonly job?: string
  /** by which the user is let in; those kept here are not carried */
  readonly groups?: readonly string[]
  /** that it is good for; default: as the site has it */
  readonly seconds?: number
  /** milliseconds since 1970 */
  readonly now?: number
}

export interface PreauthOptions {
  /** that a token is good for */
  readonly seconds: number
  /** Seconds that a membership counts without being asked for again; 0: it is kept here, and looked up at every use. Absent: all are. */
  readonly membershipSeconds?: (group: string) => number
}

/** What travels in the open; the MAC covers it, and the path besides. */
interface Claims {
  readonly service: string
  readonly kind: FileGrant['kind']
  readonly user: string | null
  readonly uid?: number
  readonly job?: string
  /** kept by other services */
  readonly groups?: readonly string[]
  /** when those end to count, milliseconds since 1970 */
  readonly known?: number
  /** milliseconds since 1970 */
  readonly expires: number
}

/**
 * HMAC-SHA256 over claims and node URI, both parts base64url. A token is good for as many uses as fit into its time.
 * A write token does not read, a read token does not write.
 */
export class Preauth {
  readonly #secret: Buffer
  readonly #milliseconds: number
  readonly #membershipSeconds: (group: string) => number

  /** `secret` of 32 bytes or more; gateways that share it accept each other's tokens. */
  constructor(secret: Buffer, { seconds, membershipSeconds = () => 0 }: PreauthOptions) {
    if (secret.length < 32) throw new Error('the secret of pre-authorised URLs is shorter than 32 bytes')
    this.#secret = secret
    this.#milliseconds = seconds * 1000
    this.#membershipSeconds = membershipSeconds
  }

  issue({ service, path, kind, user, uid, job, groups = [], seconds, now = Date.now() }: Issue): string {
    const expires = now + (seconds === undefined ? this.#milliseconds : seconds * 1000)
    const whose = { user: user ?? null, ...(uid !== undefined && { uid }), ...(job !== undefined && { job }) }
    const claims: Claims = { service: service.authority, kind, ...whose, ...this.#carried(groups, now), expires }
    const text = JSON.stringify(claims)
    return `${Buffer.from(text).toString('base64url')}.${this.#mac(text, nodeUri(service, path)).toString('base64url')}`
  }

  /**
   * `any` is for HEAD, which takes no permission on the node: Python sends one to the URL it is about to put to (wire.md section 7).
   * Throws PermissionDenied with the reason: forged, for another node, for the other verb, expired.
   */
  verify(token: string, path: NodePath, kind: FileGrant['kind'] | 'any', now: number = Date.now()): FileGrant {
    const [head = '', mac = '', ...more] = token.split('.')
    const text = Buffer.from(head, 'base64url').toString('utf8')
    const claims = parseClaims(text)
    if (claims === undefined || more.length > 0 || !isCanonical(head) || !isCanonical(mac))
      throw refusal('is malformed')
    const service: Service = { resourceId: '', authority: claims.service }
    const expected = this.#mac(text, nodeUri(service, path))
    const given = Buffer.from(mac, 'base64url')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw refusal('is not for this node')
    if (kind !== 'any' && claims.kind !== kind) throw refusal(`is good to ${claims.kind}, not to ${kind}`)
    if (now >= claims.expires) throw refusal('has expired')
    const { job, user, uid, groups, known = 0 } = claims
    const who = { user: user ?? undefined, ...(uid !== undefined && { uid }) }
    const among = groups !== undefined && now < known && { groups }
    return { kind: claims.kind, ...who, ...among, ...(job !== undefined && { job }) }
  }

  #carried(groups: readonly string[], now: number): Pick<Claims, 'groups' | 'known'> {
    const foreign = groups.filter((group) => this.#membershipSeconds(group) > 0)
    if (foreign.length === 0) return {}
    const seconds = Math.min(...foreign.map((group) => this.#membershipSeconds(group)))
    return { groups: foreign, known: now + seconds * 1000 }
  }

  // The claims are JSON, which has no raw line feed: so the two parts cannot run into each other.
  #mac(text: string, uri: string): Buffer {
    return createHmac('sha256', this.#secret).update(`karst preauth 1\n${text}\n${uri}`).digest()
  }
}

// base64 is read leniently: several texts are the same bytes (the last character has bits to spare, others are passed over).
const isCanonical = (text: string): boolean => Buffer.from(text, 'base64url').toString('base64url') === text

const refusal = (what: string): Fault => new Fault('PermissionDenied', `the pre-authorised URL ${what}`)

function parseClaims(text: string): Claims | undefined {
  try {
    const claims = JSON.parse(text) as Partial<Claims> | null
    if (typeof claims?.service !== 'string' || typeof claims.expires !== 'number') return undefined
    if (claims.kind !== 'read' && claims.kind !== 'write') return undefined
    const { service, kind, user = null, uid, job, groups, known, expires } = claims
    const who = { user, ...(typeof uid === 'number' && { uid }) }
    const among = Array.isArray(groups) && typeof known === 'number' && { groups, known }
    return { service, kind, ...who, ...(typeof job === 'string' && { job }), ...among, expires }
  } catch {
    return undefined // not JSON: the same as any other forgery
  }
}
