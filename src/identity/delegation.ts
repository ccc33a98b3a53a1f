// Delegation (IVOA Credential Delegation Protocol 1.0): the gateway makes a key pair, the user's client certifies the public key with a
// proxy, and the gateway can then act for the user elsewhere. The private key never leaves, and is sealed at rest.
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { type StoredDelegation, type StoredDelegations } from '../store/delegations.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault, isFault } from '../vospace/fault.ts'
import { type Audit } from './audit.ts'
import { type UserDirectory } from './caller.ts'
import { CertificateFault } from './certificate-fault.ts'
import { certificateRequest } from './certificate-request.ts'
import { Certificate } from './certificate.ts'
import { parseDn } from './dn.ts'
import { type Credential, keyPem, pemBlocks, pemCertificates, toPem } from './pem.ts'
import { seal, unseal } from './seal.ts'
import { type VerifiedChain } from './verify.ts'

export interface DelegationOptions {
  readonly store: StoredDelegations
  /** 32 bytes: what private keys are sealed with */
  readonly key: Buffer
  /** As verifyChain: throws a CertificateFault. */
  readonly verify: (chain: readonly Buffer[]) => VerifiedChain
  readonly users: UserDirectory
  readonly audit: Audit
  /** How long a delegated credential is kept at most, in seconds; never more than a day. */
  readonly seconds?: number
  readonly clock?: () => number
}

/** The part of a caller that matters here. */
export type Delegator = Pick<Caller, 'user' | 'dn' | 'limited'>

const DAY_SECONDS = 86_400
/** For a client to send its certificate. */
const PENDING_MS = 3_600_000
const MOST_PER_USER = 16
const SWEEP_MS = 600_000

/** Delegated credentials, each its owner's alone: to everybody else there is nothing of that id (NodeNotFound). */
export class Delegations {
  readonly #store: StoredDelegations
  readonly #key: Buffer
  readonly #verify: DelegationOptions['verify']
  readonly #users: UserDirectory
  readonly #audit: Audit
  readonly #lifetime: number
  readonly #clock: () => number

  constructor({ store, key, verify, users, audit, seconds = DAY_SECONDS, clock = Date.now }: DelegationOptions) {
    this.#store = store
    this.#key = key
    this.#verify = verify
    this.#users = users
    this.#audit = audit
    this.#lifetime = Math.min(seconds, DAY_SECONDS) * 1000
    this.#clock = clock
  }

  /** Ids of the caller's. */
  list(caller: Delegator): string[] {
    return this.#store.list(delegator(caller), this.#clock()).map(({ id }) => id)
  }

  /** Makes a key pair and a request for it; answers the id. InvalidArgument for a caller who has shown no certificate. */
  begin(caller: Delegator): string {
    const user = delegator(caller)
    const { dn } = caller
    if (dn === undefined)
      throw new Fault('InvalidArgument', 'a delegation is begun with the certificate that is delegated')
    this.sweep()
    const id = randomBytes(16).toString('hex')
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const plain = pair.privateKey.export({ type: 'pkcs8', format: 'der' })
    const sealedKey = seal(this.#key, plain, [id, user])
    const request = certificateRequest(parseDn(dn), pair)
    this.#store.add({ id, user, dn, request, sealedKey, expires: this.#clock() + PENDING_MS }, MOST_PER_USER)
    this.#audit.note({ act: 'delegation.begin', by: user, on: dn, result: 'allowed', detail: { id } })
    return id
  }

  /** Canonical DN of what is or shall be delegated. */
  nameOf(caller: Delegator, id: string): string {
    return this.#find(caller, id).dn
  }

  /** PEM of the certificate request. */
  requestOf(caller: Delegator, id: string): string {
    return this.#find(caller, id).request
  }

  /** PEM of the certificates, without the key. NodeNotFound also before they were sent. */
  certificatesOf(caller: Delegator, id: string): string {
    const { certificates } = this.#find(caller, id)
    if (certificates === undefined) throw new Fault('NodeNotFound', `no certificate was sent for delegation ${id}`)
    return certificates
  }

  /**
   * Takes the certificate over our key and its chain, PEM. InvalidData when it is not that or does not verify; PermissionDenied when it is
   * somebody else's, or limited.
   */
  certify(caller: Delegator, id: string, pem: string): void {
    const row = this.#find(caller, id)
    try {
      this.#accept(row, pem)
    } catch (error) {
      const detail = { id, reason: error instanceof Fault ? error.detail : 'error' }
      this.#audit.note({ act: 'delegation.certify', by: row.user, on: row.dn, result: 'refused', detail })
      throw error
    }
    this.#audit.note({ act: 'delegation.certify', by: row.user, on: row.dn, result: 'allowed', detail: { id } })
  }

  #accept(row: StoredDelegation, pem: string): void {
    const chain = certificatesIn(pem)
    const verified = this.#judge(chain, this.#openKey(row))
    if (verified.dn !== row.dn)
      throw new Fault('PermissionDenied', `the certificate is of ${verified.dn}, not of ${row.dn}`)
    if (verified.limited) throw new Fault('PermissionDenied', 'a limited proxy cannot be delegated')
    const expires = Math.min(verified.expires.getTime(), this.#clock() + this.#lifetime)
    const text = chain.map((der) => toPem('CERTIFICATE', der)).join('')
    if (!this.#store.certify(row.user, row.id, text, expires)) throw unknown(row.id)
  }

  // A bad certificate in a body is a bad document: the caller proved who they are by another.
  #judge(chain: readonly Buffer[], key: KeyObject): VerifiedChain {
    try {
      const leaf = new Certificate(chain[0] ?? Buffer.alloc(0))
      if (!leaf.hasKey(key)) throw new Fault('InvalidData', 'the first certificate is not over the key of the request')
      return this.#verify(chain)
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error
      throw new Fault('InvalidData', error.detail, { cause: error })
    }
  }

  /** NodeNotFound when there is none. */
  remove(caller: Delegator, id: string): void {
    const user = delegator(caller)
    if (!this.#store.remove(user, id, this.#clock())) throw unknown(id)
    this.#audit.note({ act: 'delegation.remove', by: user, on: id, result: 'allowed' })
  }

  /**
   * What the gateway may use to act for a user at another service: the one that lasts longest, verified anew. Undefined when the user has
   * delegated nothing, it has ended, nobody trusts it any more, its DN is theirs no more, or they are suspended.
   */
  credentialFor(user: string): Credential | undefined {
    for (const row of this.#store.list(user, this.#clock())) {
      const credential = this.#usable(row)
      if (credential !== undefined) return credential
    }
    return undefined
  }

  #usable(row: StoredDelegation): Credential | undefined {
    if (row.certificates === undefined) return undefined
    const [leaf, ...issuers] = pemCertificates(row.certificates)
    if (leaf === undefined) return undefined
    try {
      const { dn } = this.#verify([leaf, ...issuers])
      const owner = this.#users.byIdentity({ kind: 'x509', value: dn })
      if (owner?.name !== row.user || owner.suspended === true) {
        throw new Fault('PermissionDenied', `${dn} does not act for ${row.user} any more`)
      }
      const chain = issuers.map((der) => toPem('CERTIFICATE', der))
      return { certificate: toPem('CERTIFICATE', leaf), key: keyPem(this.#openKey(row)), chain }
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      const detail = { id: row.id, reason: error.detail }
      this.#audit.note({ act: 'delegation.use', by: row.user, on: row.dn, result: 'refused', detail })
      return undefined
    }
  }

  /** Removes what has ended. */
  sweep(): void {
    this.#store.sweep(this.#clock())
  }

  /** Sweeps now and then; answers how to end it. A store that is busy is swept the next time. */
  sweeping(everyMs: number = SWEEP_MS): () => void {
    const timer = setInterval(() => {
      try {
        this.sweep()
      } catch (error) {
        if (!isFault(error)) throw error
      }
    }, everyMs)
    timer.unref()
    return () => clearInterval(timer)
  }

  #find(caller: Delegator, id: string): StoredDelegation {
    const found = this.#store.get(delegator(caller), id, this.#clock())
    if (found === undefined) throw unknown(id)
    return found
  }

  #openKey({ id, user, sealedKey }: StoredDelegation): KeyObject {
    return createPrivateKey({ key: unseal(this.#key, sealedKey, [id, user]), format: 'der', type: 'pkcs8' })
  }
}

const unknown = (id: string): Fault => new Fault('NodeNotFound', `you have no delegation ${id}`)

function delegator({ user, limited }: Delegator): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'a delegation belongs to a user: show a certificate')
  if (limited === true) throw new Fault('PermissionDenied', 'a limited proxy may not delegate')
  return user
}

function certificatesIn(pem: string): Buffer[] {
  const blocks = pemBlocks(pem)
  if (pem.includes('PRIVATE KEY-----')) {
    throw new Fault('InvalidData', 'a private key was sent, which nobody asked for and was not kept: make a new one')
  }
  const chain = blocks.flatMap(({ label, der }) => (label === 'CERTIFICATE' ? [der] : []))
  if (chain.length === 0) throw new Fault('InvalidData', 'no PEM certificate in the body')
  return chain
}
