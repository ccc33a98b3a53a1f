/** Conditional requests (RFC 9110, 13): entity tags and dates against what is stored. */
import { type IncomingHttpHeaders } from 'node:http'
import { Fault } from '../vospace/fault.ts'

/** What a condition is held against. */
export interface Validators {
  /** opaque, without quotes */
  readonly contentVersion: string
  /** nanoseconds since 1970 */
  readonly mtime: bigint
}

export function entityTag(contentVersion: string): string {
  return `"${contentVersion}"`
}

/** Whole seconds, never in the future (RFC 9110, 8.8.2.1). */
export function lastModified(mtime: bigint, now: number = Date.now()): string {
  return new Date(Math.min(seconds(mtime) * 1000, now)).toUTCString()
}

/**
 * If-Match and If-Unmodified-Since: PreconditionFailed unless they hold. `stored` undefined: nothing is there.
 * True when there was a condition on what is stored, so that the caller ties the change to that version.
 */
export function checkUnchanged(headers: IncomingHttpHeaders, stored: Validators | undefined): boolean {
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined) {
    if (stored === undefined || !matches(ifMatch, stored.contentVersion, 'strong')) {
      throw new Fault('PreconditionFailed', 'If-Match: the node has other bytes')
    }
    return true
  }
  const date = httpDate(headers['if-unmodified-since'])
  if (date === undefined) return false
  if (stored !== undefined && seconds(stored.mtime) > date) {
    throw new Fault('PreconditionFailed', 'If-Unmodified-Since: modified later')
  }
  return stored !== undefined
}

/** If-None-Match and If-Modified-Since of a GET or HEAD: true when the client has these bytes already (304). */
export function isUnmodified(headers: IncomingHttpHeaders, stored: Validators): boolean {
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, stored.contentVersion, 'weak')
  const date = httpDate(headers['if-modified-since'])
  return date !== undefined && seconds(stored.mtime) <= date
}

/** If-None-Match of a change. 'absent': nothing may be there (`*`). PreconditionFailed when one of the tags is the stored one's. */
export function checkNoneMatch(headers: IncomingHttpHeaders, stored: Validators | undefined): 'absent' | undefined {
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch === undefined) return undefined
  if (stored !== undefined && matches(ifNoneMatch, stored.contentVersion, 'weak')) {
    throw new Fault('PreconditionFailed', 'If-None-Match: the node exists')
  }
  return ifNoneMatch.trim() === '*' ? 'absent' : undefined
}

/** If-Range (RFC 9110, 13.1.5): true when a Range may be answered. */
export function rangeApplies(headers: IncomingHttpHeaders, stored: Validators): boolean {
  const ifRange = headers['if-range']
  if (typeof ifRange !== 'string') return true
  if (/^\s*(W\/)?"/.test(ifRange)) return matches(ifRange, stored.contentVersion, 'strong')
  return httpDate(ifRange) === seconds(stored.mtime)
}

/** The content version that If-Match names, one strong entity tag; undefined without the header. InvalidArgument for anything else. */
export function namedVersion(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const match = /^\s*"([^"]*)"\s*$/.exec(header)
  if (match === null)
    throw new Fault('InvalidArgument', `If-Match is one strong entity tag, not ${header.slice(0, 100)}`)
  return match[1]
}

/** `*` matches whatever is there. A weak tag never matches strongly (RFC 9110, 8.8.3.2). */
function matches(header: string, contentVersion: string, how: 'strong' | 'weak'): boolean {
  if (header.trim() === '*') return true
  const tags = header.matchAll(/(W\/)?"([^"]*)"/g)
  return [...tags].some(([, weak, tag]) => tag === contentVersion && (weak === undefined || how === 'weak'))
}

/** Seconds since 1970; undefined when absent or no date, which is then ignored (RFC 9110, 13.1.3). */
function httpDate(header: string | undefined): number | undefined {
  if (header === undefined || !/^[A-Z][a-z]+,? /.test(header)) return undefined
  const time = Date.parse(header)
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}

function seconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000_000n)
}
