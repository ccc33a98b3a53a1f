/** VOSpace URIs: `vos://authority~service/path` for the resource ID `ivo://authority/service` (VOSpace 2.1 section on identifiers). */
import { Fault } from './fault.ts'
import { nodePath, ROOT, stepsOf, type NodePath } from './path.ts'

/** One service: its registered identifier, both in lower case as clients fold them. */
export interface Service {
  /** `ivo://karst.local/karst` */
  readonly resourceId: string
  /** `karst.local~karst`: what stands after `vos://` in every URI we write */
  readonly authority: string
}

/** Throws InvalidURI unless it is `ivo://authority/service[/more]` in lower case. */
export function service(resourceId: string): Service {
  const match = /^ivo:\/\/([a-z0-9][a-z0-9.-]*)\/([a-z0-9][a-z0-9._/-]*)$/.exec(resourceId)
  if (match === null) throw new Fault('InvalidURI', `not a lower-case resource ID: ${resourceId}`)
  return { resourceId, authority: `${match[1]}~${(match[2] ?? '').replaceAll('/', '~')}` }
}

/** The canonical URI of a node: `~` as separator, every step percent-encoded (RFC 3986), no slash after the root's. */
export function nodeUri(of: Service, path: NodePath): string {
  return `vos://${of.authority}${stepsOf(path)
    .map((step) => `/${encodeStep(step)}`)
    .join('')}`
}

/** RFC 3986 unreserved and sub-delimiters stay, everything else is percent-encoded as UTF-8. */
export function encodeStep(step: string): string {
  return encodeURIComponent(step).replace(/%(2B|40|3A|24|26|2C|3B|3D)/g, (code) => decodeURIComponent(code))
}

/** The steps of a path, percent-encoded, for a URL: `/a%20b/c`; the root is the empty string. */
export function encodePath(path: NodePath): string {
  return stepsOf(path)
    .map((step) => `/${encodeStep(step)}`)
    .join('')
}

/**
 * A path taken from a URL or a URI: one trailing slash ignored, each step decoded once, `+` literal.
 * Characters that RFC 3986 does not allow may stand unencoded (clients send them so); a `%` that starts no code stands for itself.
 * Throws InvalidURI: empty, `.` or `..` steps (encoded ones too), NUL or slash inside a step, octets that are not UTF-8.
 */
export function decodePath(text: string): NodePath {
  const trimmed = text.endsWith('/') ? text.slice(0, -1) : text
  if (trimmed === '') return ROOT
  if (trimmed.endsWith('/')) throw new Fault('InvalidURI', `empty path segment: ${text}`)
  return nodePath(trimmed.split('/').map(decodeStep).join('/'))
}

function decodeStep(step: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(step.replace(/%(?![0-9A-Fa-f]{2})/g, '%25'))
  } catch (error) {
    throw new Fault('InvalidURI', `not UTF-8: ${step}`, { cause: error })
  }
  if (decoded.includes('/')) throw new Fault('InvalidURI', `a slash inside a name: ${step}`)
  return decoded
}

/** A `vos:` URI taken apart. */
export interface VosUri {
  /** in lower case, separators as `~` */
  readonly authority: string
  readonly path: NodePath
}

/** Throws InvalidURI. Query and fragment are not part of a node URI; a literal `?` or `#` in a name must be encoded. */
export function parseVosUri(text: string): VosUri {
  const match = /^vos:\/\/([^/?#]+)(\/[^?#]*)?$/i.exec(text)
  if (match === null) throw new Fault('InvalidURI', `not a vos URI: ${text}`)
  return { authority: (match[1] ?? '').replaceAll('!', '~').toLowerCase(), path: decodePath(match[2] ?? '') }
}

/** The path of a URI of this very service; throws InvalidURI for another's. */
export function localPath(of: Service, text: string): NodePath {
  const uri = parseVosUri(text)
  if (uri.authority !== of.authority) throw new Fault('InvalidURI', `not of this service (${of.resourceId}): ${text}`)
  return uri.path
}
