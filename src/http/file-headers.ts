/** The headers of a file: what clients read (wire.md 3.4), and what keeps browsers from running what users uploaded. */
import { type OutgoingHttpHeaders } from 'node:http'
import { type Entry } from '../vospace/node.ts'
import { PROPERTY } from '../vospace/property.ts'
import { contentDisposition } from './content-disposition.ts'
import { digestHeader } from './digest.ts'
import { entityTag, lastModified } from './preconditions.ts'

/** Without Content-Length and Content-Range, which depend on the request. `name` is the leaf as it was asked for. */
export function fileHeaders(entry: Entry, name: string): OutgoingHttpHeaders {
  const type = headerValue(entry.properties.get(PROPERTY.type))
  const encoding = headerValue(entry.properties.get(PROPERTY.encoding))
  return {
    'Content-Type': type ?? 'application/octet-stream',
    ...(encoding !== undefined && { 'Content-Encoding': encoding }),
    'Content-Disposition': contentDisposition(name),
    ...bytesHeaders(entry),
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': 'sandbox',
  }
}

/** What holds for the bytes whatever door they leave by. */
export function bytesHeaders(entry: Entry): OutgoingHttpHeaders {
  return {
    ...(entry.md5 !== undefined && { Digest: digestHeader(entry.md5) }),
    ETag: entityTag(entry.contentVersion),
    'Last-Modified': lastModified(entry.mtime),
    'Accept-Ranges': 'bytes',
  }
}

/** Properties are free text: what cannot stand in a header is left out. */
function headerValue(text: string | undefined): string | undefined {
  return text !== undefined && /^[\x21-\x7e][\x20-\x7e]*$/.test(text) && text.length <= 1024 ? text : undefined
}
