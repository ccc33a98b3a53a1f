// How the driver of the node is asked to agree with the gateway for a session. JSON both ways, over its control socket.
import type { CredentialFiles } from '../asking.ts'
import { askDriver } from '../control.ts'
import { isSupervised, socketOf } from '../driver-place.ts'
import { MountError } from '../fuse/mount-options.ts'
import { type NamedCertificate, type NewProxy } from './credential.ts'
import { type PlannedPartition } from './plan.ts'
import { type Agreed, type SessionName } from './terms.ts'

const fs = process.getBuiltinModule('node:fs')

/** Files are named by their whole paths. */
export interface AgreementRequest {
  readonly name: SessionName
  readonly plan: readonly PlannedPartition[]
  /** backends whose file system the node has */
  readonly binds: readonly string[]
  readonly url: string
  readonly ca?: string
  /** PEM of the user; absent: a token, and no proxy is made */
  readonly certificate?: string
  readonly tokenFile?: string
  readonly proxyHours: number
  /** `markOf` each of these files */
  readonly marks: Readonly<Record<string, string | undefined>>
}

type RequestFiles = Pick<AgreementRequest, 'certificate' | 'tokenFile' | 'ca'>

/** Of the files that a request names, as this process sees them. */
export function marksOf({ certificate, tokenFile, ca }: RequestFiles): AgreementRequest['marks'] {
  const files = [certificate, tokenFile, ca].filter((file) => file !== undefined)
  return Object.fromEntries(files.map((file) => [file, markOf(file)]))
}

/** Whether they are the same here: in a mount namespace with a /tmp of its own they may be missing, or another person's. */
export function isSameHere({ marks, ...request }: AgreementRequest): boolean {
  const here = marksOf(request)
  return Object.entries(here).every(([file, mark]) => mark !== undefined && mark === marks[file])
}

/** undefined: it cannot be seen. */
function markOf(file: string): string | undefined {
  try {
    const { dev, ino, mtimeNs } = fs.statSync(file, { bigint: true })
    return `${dev}:${ino}:${mtimeNs}`
  } catch {
    return undefined // why is said by who needs it
  }
}

/** One of the two. */
export const credentialFiles = ({ certificate, tokenFile }: AgreementRequest): CredentialFiles => ({
  ...(certificate !== undefined && { certificate }),
  ...(certificate === undefined && tokenFile !== undefined && { tokenFile }),
})

export type Outcome = { readonly agreed: Agreed } | { readonly error: string; readonly code: string }

export interface Agreement {
  /** of each partition of the plan */
  readonly outcomes: readonly Outcome[]
  readonly proxy?: NewProxy
  /** the CAs of the gateway */
  readonly authorities: readonly NamedCertificate[]
}

/** Milliseconds for which a driver is waited for. */
const LIMIT = 60_000

/**
 * undefined: there is no driver, or none that can. `noted`: from then on there is somebody else to give back what was agreed on; until then the
 * driver does when this process ends. Throws MountError with what the gateway said, or that it has not answered.
 */
export async function agreeByDriver(
  stateDir: string,
  request: AgreementRequest,
  noted: Promise<void>,
): Promise<Agreement | undefined> {
  if (!isSupervised(stateDir)) return undefined
  const reply = await askDriver(socketOf(stateDir), { command: 'agree', request }, LIMIT, noted)
  if (reply?.ok === false) throw new MountError(reply.error, reply.code)
  return reply?.agreement
}

export const agreedIn = (outcome: Outcome): Agreed => {
  if ('agreed' in outcome) return outcome.agreed
  throw new MountError(outcome.error, outcome.code)
}
