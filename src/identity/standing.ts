// What the authorities of a verified path say of the certificates below them: signing policies (who may sign whom) and
// revocation lists. Asked last, when every signature is known to be good, so that strangers cannot make us compute.
import { CertificateFault, type CertificateCode } from './certificate-fault.ts'
import { type Certificate } from './certificate.ts'
import { type RevocationList } from './crl.ts'
import { slash } from './dn.ts'
import { names, permits, type SigningPolicy } from './signing-policy.ts'

/** off: not looked at; if-present: obeyed where there is one; require: without one nothing is accepted. */
export type Requirement = 'off' | 'if-present' | 'require'

/** What of a trust store is asked here. */
export interface Standing {
  readonly signingPolicy: Requirement
  readonly crl: Requirement
  anchorsFor(subjectKey: string): readonly Certificate[]
  /** All policy files that belong to that anchor; 'broken' for one that cannot be read. Undefined: it has none. */
  policiesOf(anchor: Certificate): readonly (SigningPolicy | 'broken')[] | undefined
  /** The lists of an authority of that name, the newest first. */
  listsFor(subjectKey: string): readonly RevocationList[]
  /** Whether a list file that belongs to that anchor cannot be read. */
  hasUnreadableList(anchor: Certificate): boolean
}

interface When {
  readonly now: Date
  /** Milliseconds by which the clock of an authority may be ahead. */
  readonly skew: number
}

const MAX_ABOVE = 8

const refuse = (code: CertificateCode, reason: string): never => {
  throw new CertificateFault(code, reason)
}

/**
 * Checks the end entity and the authorities above it, `path` ending with the anchor. Returns when that has to be done again,
 * in milliseconds since 1970: when the first of the lists relied on ends (Infinity without any). CertificateFault SIGNING_POLICY,
 * SIGNING_POLICY_MISSING, REVOKED, CRL_MISSING, CRL_EXPIRED, CRL_NOT_YET_VALID, CRL_UNUSABLE.
 */
export function checkStanding(path: readonly Certificate[], trust: Standing, when: When): number {
  checkSigningPolicies(path, trust)
  if (trust.crl === 'off') return Infinity
  const whole = [...path, ...issuersAbove(path.at(-1), trust)]
  return whole.slice(0, -1).reduce((until, certificate, i) => {
    const authority = whole[i + 1]
    return authority ? Math.min(until, checkRevocation(certificate, authority, trust, when)) : until
  }, Infinity)
}

// From the anchor down: an authority that has no policy of its own stands under that of the one above it.
function checkSigningPolicies(path: readonly Certificate[], trust: Standing): void {
  if (trust.signingPolicy === 'off') return
  let governing: { policies: readonly (SigningPolicy | 'broken')[]; authority: Certificate } | undefined
  for (let i = path.length - 1; i > 0; i--) {
    const [authority, below] = [path[i], path[i - 1]]
    if (!authority || !below) return
    const policies = trust.policiesOf(authority)
    if (policies) governing = { policies, authority }
    else if (trust.signingPolicy === 'require') {
      refuse('SIGNING_POLICY_MISSING', `there is no signing policy of ${authority.name}, and one is required here`)
    }
    // A renewed key of the authority itself asserts nobody else's name; as a user it is one like any other.
    if (governing && (i === 1 || !below.isSelfIssued))
      checkSigningPolicy(below, governing.authority, governing.policies)
  }
}

function checkSigningPolicy(
  below: Certificate,
  authority: Certificate,
  policies: readonly (SigningPolicy | 'broken')[],
): void {
  for (const policy of policies) {
    if (policy === 'broken') refuse('SIGNING_POLICY', `the signing policy of ${authority.name} cannot be read`)
    else if (!names(policy, authority.subject)) {
      refuse('SIGNING_POLICY', `the signing policy of ${authority.name} says nothing of that authority`)
    } else if (!permits(policy, authority.subject, below.subject)) {
      refuse('SIGNING_POLICY', `the signing policy of ${authority.name} does not let it sign ${slash(below.subject)}`)
    }
  }
}

// An installed authority is trusted as it is; if the one that issued it is installed too, it may still have revoked it.
function issuersAbove(anchor: Certificate | undefined, trust: Standing): Certificate[] {
  const above: Certificate[] = []
  for (let below = anchor; below && !below.isSelfIssued && above.length < MAX_ABOVE; below = above.at(-1)) {
    const signed = below
    const issuer = trust.anchorsFor(signed.issuerKey).find((one) => signed.isSignedBy(one))
    if (!issuer) break
    above.push(issuer)
  }
  return above
}

function checkRevocation(certificate: Certificate, authority: Certificate, trust: Standing, when: When): number {
  const lists = trust.listsFor(authority.subjectKey)
  const judged = lists.map((list) => ({ list, fault: listFault(list, authority, trust, when) }))
  const valid = judged.find(({ fault }) => fault === undefined)?.list
  if (valid) {
    if (valid.revokes(certificate))
      refuse('REVOKED', `${authority.name} has revoked the certificate of ${certificate.name}`)
    return valid.nextUpdate?.getTime() ?? 0
  }
  const [newest] = judged
  if (newest?.fault) throw newest.fault
  if (trust.hasUnreadableList(authority)) {
    return refuse('CRL_UNUSABLE', `the revocation list of ${authority.name} cannot be read`)
  }
  if (trust.crl !== 'require') return Infinity
  return refuse('CRL_MISSING', `there is no revocation list of ${authority.name}, and one is required here`)
}

function listFault(
  list: RevocationList,
  authority: Certificate,
  trust: Standing,
  { now, skew }: When,
): CertificateFault | undefined {
  const name = `the revocation list of ${list.name}`
  if (list.flaw !== undefined) return new CertificateFault('CRL_UNUSABLE', `${name} ${list.flaw}`)
  // Where an authority has two keys, an older one may be in use, and the list be signed by the newer.
  const signers = [authority, ...trust.anchorsFor(authority.subjectKey)]
  if (!signers.some((signer) => list.isSignedBy(signer))) {
    return new CertificateFault('CRL_UNUSABLE', `${name} is not signed by it, or its key usage lacks cRLSign`)
  }
  if (list.thisUpdate.getTime() > now.getTime() + skew) {
    return new CertificateFault('CRL_NOT_YET_VALID', `${name} is of the future: ${list.thisUpdate.toISOString()}`)
  }
  if (!list.nextUpdate || list.nextUpdate < now) {
    return new CertificateFault('CRL_EXPIRED', `${name} ended at ${list.nextUpdate?.toISOString() ?? 'no time'}`)
  }
  return undefined
}
