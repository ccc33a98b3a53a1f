// The credential service of a site that runs its own authority: short-lived certificates for users who are known by something else, a
// token, to put where programs want certificates. In the manner of CADC's `cred` (auth.md C3).
import { canonical, canonicalDn, parseDn } from './dn.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type Audit } from './audit.ts'
import { type LocalUser } from './caller.ts'
import { writeDistinguishedName } from './certificate-request.ts'
import { Certificate } from './certificate.ts'
import { readCredentialFiles } from './credential-source.ts'
import { issueClientCertificate } from './mint.ts'
import { type Credential, pemCertificates } from './pem.ts'
import { type Identity } from './proof.ts'
import { Turns } from './turns.ts'

/** What of the store is asked for here. */
export interface IssuingDirectory {
  byName(name: string): LocalUser | undefined
  byIdentity(identity: Identity): LocalUser | undefined
  identities(name: string): readonly Identity[]
  /** DuplicateNode when it is another user's. */
  addIdentity(name: string, identity: Identity): void
}

export interface CredentialServiceOptions {
  /** The authority's certificate and key, and the authorities above it that clients shall send. */
  readonly authority: Credential
  readonly maximumDays: number
  /** DN with `{user}` in it, which users get who have no other; absent: only those who have one get a certificate */
  readonly subject?: string
  readonly users: IssuingDirectory
  readonly audit: Audit
}

const DEFAULT_DAYS = 10
/** An RSA key takes a tenth of a second of a processor, and one of the four threads that read and write files, too. */
const TURNS = { atOnce: 2, waitingOfOne: 16, waiting: 256 }

/** Reads the authority: PEM, the key readable by its owner only and not encrypted. InvalidData when it may not issue certificates. */
export async function readAuthority(files: { certificate: string; key: string }): Promise<Credential> {
  const authority = await readCredentialFiles(files, async (file) => {
    throw new Fault('InvalidData', `${file}: the key of the authority is encrypted, and nobody is there to be asked`)
  })
  const certificate = certificateOf(authority)
  if (!certificate.isCa || certificate.keyUsage?.keyCertSign === false) {
    throw new Fault('InvalidData', `${files.certificate}: ${certificate.name} is not an authority`)
  }
  return authority
}

const certificateOf = ({ certificate }: Credential): Certificate =>
  new Certificate(pemCertificates(certificate)[0] ?? Buffer.alloc(0))

/** Issues certificates of at most `maximumDays`, RSA-2048, each with a new key that is not kept here. */
export class CredentialService {
  readonly #users: IssuingDirectory
  readonly #audit: Audit
  readonly #maximum: number
  readonly #subject: string | undefined
  readonly #turns = new Turns(TURNS)
  #authority: Credential

  /** InvalidArgument when `subject` is no DN with one `{user}` in it. */
  constructor({ authority, maximumDays, subject, users, audit }: CredentialServiceOptions) {
    this.#authority = authority
    this.#maximum = maximumDays
    this.#subject = subject
    this.#users = users
    this.#audit = audit
    if (subject !== undefined && !canonicalDn(subject.replace('{user}', 'a')).includes('=a')) {
      throw new Fault('InvalidArgument', `credentials.subject has no {user} in it: ${subject}`)
    }
  }

  /** A renewed authority, for certificates to come. */
  use(authority: Credential): void {
    this.#authority = authority
  }

  /**
   * For the caller. PermissionDenied for who shows a certificate: a stolen one would renew itself for ever; InvalidArgument beyond the
   * most days there are; PreconditionFailed for who has no DN.
   */
  async own(caller: Caller, days?: number): Promise<Credential> {
    const user = named(caller)
    return await this.#audited(caller, user, async () => {
      if (caller.method !== 'token') throw new Fault('PermissionDenied', 'a certificate gets no other: show a token')
      return await this.#issue(user, this.#dnOf(user), days)
    })
  }

  /** For another user, asked by an administrator. NodeNotFound: no such user. */
  async forUser(caller: Caller, name: string, days?: number): Promise<Credential> {
    const asker = named(caller)
    return await this.#audited(caller, name, async () => {
      this.#checkTarget(caller, this.#users.byName(name), name)
      return await this.#issue(asker, this.#dnOf(name), days)
    })
  }

  /** For the user who is known by that DN, in any form of it. NodeNotFound: nobody is; InvalidArgument: it is none. */
  async forDn(caller: Caller, text: string, days?: number): Promise<Credential> {
    const asker = named(caller)
    const dn = canonicalDn(text)
    return await this.#audited(caller, dn, async () => {
      this.#checkTarget(caller, this.#users.byIdentity({ kind: 'x509', value: dn }), dn)
      return await this.#issue(asker, dn, days)
    })
  }

  // Two administrators' certificates could renew each other: theirs are had by themselves, with a token.
  #checkTarget(caller: Caller, target: LocalUser | undefined, asked: string): void {
    if (!caller.admin) throw new Fault('PermissionDenied', 'only an administrator gets certificates for others')
    if (target === undefined) throw new Fault('NodeNotFound', `there is no user ${asked}`)
    if (target.suspended === true) throw new Fault('PermissionDenied', `the account ${target.name} is suspended`)
    const isOwn = target.name === caller.user && caller.method === 'token'
    if (target.admin && !isOwn)
      throw new Fault('PermissionDenied', `${target.name} is an administrator, who asks alone`)
    if (target.name === caller.user && !isOwn)
      throw new Fault('PermissionDenied', 'a certificate gets no other: show a token')
  }

  /** The DN after the site's pattern, made theirs when it is not yet; without a pattern the only one they have. */
  #dnOf(user: string): string {
    if (this.#subject !== undefined) {
      const dn = canonicalDn(this.#subject.replace('{user}', user))
      this.#users.addIdentity(user, { kind: 'x509', value: dn })
      return dn
    }
    const [dn, second] = this.#users.identities(user).filter(({ kind }) => kind === 'x509')
    if (dn === undefined || second !== undefined) {
      const why = dn === undefined ? 'no distinguished name is' : 'several distinguished names are'
      throw new Fault(
        'PreconditionFailed',
        `${why} known of ${user}: the site says by credentials.subject which it gives`,
      )
    }
    return dn.value
  }

  async #issue(asker: string, dn: string, days = Math.min(DEFAULT_DAYS, this.#maximum)): Promise<Credential> {
    if (!(days > 0 && days <= this.#maximum)) {
      throw new Fault('InvalidArgument', `daysValid is above 0 and at most ${this.#maximum}`)
    }
    return await this.#turns.take(asker, () => issueClientCertificate(this.#authority, subjectOf(dn), days))
  }

  async #audited(caller: Caller, on: string, make: () => Promise<Credential>): Promise<Credential> {
    const event = { act: 'credential.issue', by: caller.user ?? null, on } as const
    try {
      const made = await make()
      const { fingerprint, notAfter, name } = certificateOf(made)
      const detail = { subject: name, fingerprint, expires: notAfter.toISOString() }
      this.#audit.note({ ...event, result: 'allowed', detail })
      return made
    } catch (error) {
      const reason = error instanceof Fault ? error.detail : 'error'
      this.#audit.note({ ...event, result: 'refused', detail: { reason } })
      throw error
    }
  }
}

function named({ user }: Caller): string {
  if (user === undefined) throw new Fault('NotAuthenticated', 'a certificate is for a user: show a token')
  return user
}

/** The Name of a canonical DN in its own order, CN first, as CADC writes it; the other way round where that would be another identity. */
function subjectOf(dn: string): Buffer {
  const name = parseDn(dn)
  const leftFirst = name.toReversed()
  return writeDistinguishedName(canonical(leftFirst) === dn ? leftFirst : name)
}
