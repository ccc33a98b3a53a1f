// What the gateway says to a session: the terms of its partitions (schemas/partitions.md), asked for and looked over.
import { Fault, type FaultName, isFault } from '../../src/vospace/fault.ts'
import { checkPlace, type PlannedPartition } from './plan.ts'

/** One call to the gateway, JSON both ways; refusals are Faults. src/cli/service.ts has it. */
export type Ask = (method: 'GET' | 'POST' | 'DELETE', path: string, document?: object) => Promise<unknown>

export interface Terms {
  readonly name: string
  readonly kind: string
  readonly path: string
  readonly uri: string
  readonly access: 'read' | 'write'
  readonly mount: string
  readonly notices: readonly string[]
  readonly bind?: { readonly backend: string; readonly path: string }
  readonly credential: { readonly token: string; readonly renew: string }
  readonly user: {
    readonly name: string
    readonly uid: number
    readonly gid: number
    readonly groups: readonly { readonly uri: string; readonly gid: number }[]
  }
}

export interface Agreed {
  readonly planned: PlannedPartition
  readonly terms: Terms
  readonly at: string
  /** under which the driver has asked already what its mount asks first */
  readonly ahead?: string
}

export interface SessionName {
  readonly session: string
  /** this container of it */
  readonly member: string
}

/** ServiceBusy where the answer is none of ours; refusals say which partition it is. */
export async function negotiate(
  ask: Ask,
  planned: PlannedPartition,
  { session, member }: SessionName,
  bind: readonly string[],
): Promise<Agreed> {
  const { partition, at, access, profile } = planned
  try {
    const answer = await ask('POST', '/partitions', {
      ...{ partition, session, member },
      ...(bind.length > 0 && { bind }),
      ...(access !== undefined && { access }),
      ...(profile !== undefined && { profile }),
    })
    const terms = termsIn(answer)
    checkPlace(partition, at ?? terms.mount)
    return { planned, terms, at: at ?? terms.mount }
  } catch (error) {
    if (!isFault(error)) throw error
    const mend = MEND[error.fault]
    const detail = `the partition ${partition}: ${error.detail}${mend === undefined ? '' : `: ${mend}`}`
    throw new Fault(error.fault, detail, { errno: error.errno, cause: error })
  }
}

/** What to do about a refusal that does not say so itself. */
const MEND: Partial<Record<FaultName, string>> = {
  NotAuthenticated: 'come with a certificate or token that is good (karst proxy init, --certificate, --token-file)',
  PermissionDenied: 'ask its owner to share it with a group of yours (karst share), or leave it out',
}

function termsIn(answer: unknown): Terms {
  const terms = answer as Partial<Terms> | undefined
  if (typeof terms?.credential?.token !== 'string' || typeof terms.mount !== 'string' || typeof terms.uri !== 'string')
    throw new Fault('ServiceBusy', 'the gateway has no answer of ours; is it of an older version?')
  return terms as Terms
}

/** What the session has been given for this container is given back. Twice is the same. */
export async function leavePartitions(ask: Ask, { session, member }: SessionName): Promise<void> {
  await ask('DELETE', `/partitions?session=${encodeURIComponent(session)}&member=${encodeURIComponent(member)}`)
}
