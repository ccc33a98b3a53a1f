/** Answers of the gateway that are not what was asked for, as Faults. */
import { FAULTS, Fault, type FaultName } from '../src/vospace/fault.ts'

/** Where a status says enough without a document. Not 404: a proxy's 404 must never look as if a file were gone. */
const BY_STATUS: ReadonlyMap<number, FaultName> = new Map([
  [401, 'NotAuthenticated'],
  [412, 'PreconditionFailed'],
  [416, 'RangeNotSatisfiable'],
])

/** The Fault of a refusal: from its document `{fault, errno, detail}`, else from `Name: detail`, else from the status. */
export function refusalOf(status: number, text: string): Fault {
  const fault = refusalIn(parsed(text)) ?? plainRefusal(text)
  if (fault !== undefined) return fault
  return new Fault(BY_STATUS.get(status) ?? 'InternalFault', `HTTP ${status}: ${text.slice(0, 200)}`)
}

/** The Fault of a refusal document, undefined when the value is none. A name we do not know is InternalFault, EIO. */
export function refusalIn(value: unknown): Fault | undefined {
  if (typeof value !== 'object' || value === null || !('fault' in value) || typeof value.fault !== 'string') return
  const detail = 'detail' in value && typeof value.detail === 'string' ? value.detail : ''
  if (!isFaultName(value.fault)) return new Fault('InternalFault', `${value.fault}: ${detail}`)
  const errno = 'errno' in value && typeof value.errno === 'string' ? value.errno : ''
  return new Fault(value.fault, detail, /^E[A-Z0-9]{1,15}$/.test(errno) ? { errno } : {})
}

/** An answer that is no answer: a bug of the gateway, or something else answering in its place. */
export function malformed(what: string, cause?: unknown): Fault {
  return new Fault('InternalFault', `the gateway's answer is malformed: ${what}`, { cause })
}

function plainRefusal(text: string): Fault | undefined {
  const [, name = '', detail = ''] = /^([A-Za-z]+)(?::\s*|\s+|$)(.*)/.exec(text) ?? []
  return isFaultName(name) ? new Fault(name, detail) : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // not a document: the caller looks at the text and the status
  }
}

function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name)
}
