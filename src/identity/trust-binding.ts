// Binds what was read from a trust folder together: authorities by name, the policies and lists that are theirs, and what
// of it will refuse somebody.
import { createHash } from 'node:crypto'
import { type Certificate } from './certificate.ts'
import { type RevocationList } from './crl.ts'
import { names, type SigningPolicy } from './signing-policy.ts'
import { type TrustContents } from './trust-files.ts'

/** One state of everything: replaced as a whole, never changed. */
export interface BoundTrust {
  readonly anchors: ReadonlyMap<string, readonly Certificate[]>
  readonly policies: ReadonlyMap<string, readonly (SigningPolicy | 'broken')[]>
  readonly lists: ReadonlyMap<string, readonly RevocationList[]>
  readonly unreadableLists: ReadonlySet<string>
  readonly problems: readonly string[]
  readonly notes: readonly string[]
  readonly digest: string
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}

const unique = <T>(items: readonly T[], keyOf: (item: T) => string): T[] => [
  ...new Map(items.map((item) => [keyOf(item), item])).values(),
]

/**
 * Gives each authority what is its own. A policy belongs to the authority whose file has its stem: nobody's policy speaks
 * for somebody else's authority. A list belongs to whoever signed it, whatever its file is called.
 */
export function bind(read: TrustContents): BoundTrust {
  const anchors = unique(
    read.anchors.map(({ certificate }) => certificate),
    ({ fingerprint }) => fingerprint,
  )
  const stems = grouped(read.anchors, ({ certificate }) => certificate.fingerprint)
  const policies = new Map<string, (SigningPolicy | 'broken')[]>()
  const unreadableLists = new Set<string>()
  for (const [fingerprint, named] of stems) {
    const mine = new Set(named.map(({ stem }) => stem))
    const found = read.policies.filter(({ stem }) => mine.has(stem)).map(({ policy }) => policy)
    if (found.length > 0) policies.set(fingerprint, [...new Set(found)])
    if (read.unreadableLists.some((stem) => mine.has(stem))) unreadableLists.add(fingerprint)
  }
  const lists = unique(read.lists, ({ fingerprint }) => fingerprint).sort(
    (a, b) => b.thisUpdate.getTime() - a.thisUpdate.getTime(),
  )
  const bound = {
    anchors: grouped(anchors, ({ subjectKey }) => subjectKey),
    policies,
    lists: grouped(lists, ({ issuerKey }) => issuerKey),
    unreadableLists,
    notes: read.notes,
  }
  return { ...bound, problems: [...read.problems, ...flawsOf(read, bound)], digest: digestOf(bound) }
}

type Bound = Omit<BoundTrust, 'problems' | 'digest'>

// What is well-formed and yet will refuse somebody: better said at start than found out by users.
function flawsOf(read: TrustContents, { anchors, policies, lists }: Bound): string[] {
  const all = [...anchors.values()].flat()
  const silent = all.filter(({ fingerprint, subject }) =>
    policies.get(fingerprint)?.some((policy) => policy !== 'broken' && !names(policy, subject)),
  )
  const owned = new Set(read.anchors.map(({ stem }) => stem))
  const stray = read.policies.filter(({ stem }) => !owned.has(stem))
  const bad = [...lists.values()].flat().flatMap((list) => {
    const issuers = anchors.get(list.issuerKey) ?? []
    // Asked here, the answer is remembered, and the first user does not wait for it.
    const signed = issuers.length === 0 || issuers.some((issuer) => list.isSignedBy(issuer))
    const flaw = list.flaw ?? (signed ? undefined : 'is not signed by it, or its key usage lacks cRLSign')
    return flaw === undefined ? [] : [`the revocation list of ${list.name} ${flaw}`]
  })
  return [
    ...silent.map((anchor) => `the signing policy of ${anchor.name} says nothing of that authority`),
    ...unique(stray, ({ stem }) => stem).map(({ stem }) => `${stem}.signing_policy belongs to no authority here`),
    ...bad,
  ]
}

function digestOf({ anchors, policies, lists, unreadableLists }: Bound): string {
  const parts = [
    [...anchors.values()]
      .flat()
      .map(({ fingerprint }) => fingerprint)
      .sort(),
    [...policies].map((entry) => JSON.stringify(entry)).sort(),
    [...lists.values()].flat().map(({ fingerprint }) => fingerprint),
    [...unreadableLists].sort(),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
