/** MD5 in headers: `Digest: md5=<base64>` (RFC 3230) and the older Content-MD5, both base64 of 16 bytes. Kept and compared as 32 hex digits. */
import { type IncomingHttpHeaders } from 'node:http'
import { Fault } from '../vospace/fault.ts'

/** The MD5 a client promises for its bytes; other algorithms are left alone. InvalidArgument: malformed, or two that differ. */
export function promisedMd5(headers: IncomingHttpHeaders): string | undefined {
  const promised = new Set<string>()
  const digest = headers['digest']
  for (const part of (Array.isArray(digest) ? digest.join(',') : (digest ?? '')).split(',')) {
    const [, algorithm = '', value = ''] = /^\s*([^=\s]+)\s*=(.*)$/.exec(part) ?? []
    if (algorithm.toLowerCase() === 'md5') promised.add(hex(value))
    else if (algorithm === '' && part.trim() !== '') throw malformed(part)
  }
  const old = headers['content-md5']
  if (typeof old === 'string') promised.add(hex(old))
  if (promised.size > 1) throw new Fault('InvalidArgument', 'two digests that differ')
  return [...promised][0]
}

/** The value of a Digest header. */
export function digestHeader(md5: string): string {
  return `md5=${Buffer.from(md5, 'hex').toString('base64')}`
}

function hex(base64: string): string {
  const text = base64.trim()
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length !== 16 || bytes.toString('base64') !== text) throw malformed(text)
  return bytes.toString('hex')
}

function malformed(text: string): Fault {
  return new Fault('InvalidArgument', `not a digest: ${text.slice(0, 100)}`)
}
