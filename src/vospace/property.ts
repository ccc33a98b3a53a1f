/** Property URIs: the standard's (VOSpace 2.1, appendix on standard properties) and those clients send besides. */
import { Fault } from './fault.ts'
import { groupName } from './group.ts'

export const CORE = 'ivo://ivoa.net/vospace/core#'
export const CADC = 'ivo://cadc.nrc.ca/vospace/core#'

export const PROPERTY = {
  creator: `${CORE}creator`,
  date: `${CORE}date`,
  contentDate: `${CORE}content-date`,
  length: `${CORE}length`,
  md5: `${CORE}MD5`,
  type: `${CORE}type`,
  encoding: `${CORE}encoding`,
  quota: `${CORE}quota`,
  availableSpace: `${CORE}availableSpace`,
  groupRead: `${CORE}groupread`,
  groupWrite: `${CORE}groupwrite`,
  isPublic: `${CORE}ispublic`,
  publicRead: `${CORE}publicread`,
  mtime: `${CORE}mtime`,
  ctime: `${CORE}ctime`,
  btime: `${CORE}btime`,
  immutable: `${CORE}immutable`,
  runId: `${CORE}runid`,
  isLocked: `${CADC}islocked`,
  inherit: `${CADC}inheritPermissions`,
  readable: `${CADC}readable`,
  writable: `${CADC}writable`,
} as const

/** Free text of the standard that clients may set. */
const DESCRIPTIVE = [
  'title', 'subject', 'description', 'publisher', 'contributor', 'format', 'identifier', 'source', 'language',
  'relation', 'coverage', 'rights',
] // prettier-ignore

/** Computed or owned by the service: what a client writes to them is ignored (wire.md trap 9) or, in strict mode, refused. */
export const READ_ONLY: ReadonlySet<string> = new Set([
  PROPERTY.creator,
  PROPERTY.date,
  PROPERTY.contentDate,
  PROPERTY.length,
  PROPERTY.md5,
  PROPERTY.quota,
  PROPERTY.availableSpace,
  PROPERTY.mtime,
  PROPERTY.ctime,
  PROPERTY.btime,
  PROPERTY.readable,
  PROPERTY.writable,
])

/** Said through Access, never kept among the stored properties. */
export const ACCESS_PROPERTIES: ReadonlySet<string> = new Set([
  PROPERTY.groupRead,
  PROPERTY.groupWrite,
  PROPERTY.isPublic,
  PROPERTY.publicRead,
  PROPERTY.isLocked,
  PROPERTY.inherit,
])

const KNOWN: ReadonlySet<string> = new Set([...Object.values(PROPERTY), ...DESCRIPTIVE.map((name) => CORE + name)])

/** Every property URI the service itself understands, for GET /properties. */
export const KNOWN_PROPERTIES: readonly string[] = [...KNOWN].sort()

/** The class of a data node that was made as another than DataNode. Kept with its properties, never shown among them, nobody's to set. */
export const NODE_CLASS = 'ivo://karst.local/vospace/core#class'

/** Dropped silently: obsolete, still echoed by clients. */
export const OBSOLETE = 'ivo://opencadc.org/vospace/core#creatorJWT'

/**
 * Throws InvalidArgument for a URI that merely looks like the standard's (wire.md trap 10), or is no usable key.
 * Anything else, bare words included, is the client's to choose.
 */
export function checkPropertyUri(uri: string): void {
  if (uri === '' || /[\0-\x20\x7f]/.test(uri) || !uri.isWellFormed() || Buffer.byteLength(uri) > 1024) {
    throw new Fault('InvalidArgument', `not a property URI: ${JSON.stringify(uri)}`)
  }
  if (uri.startsWith('ivo://ivoa.net/vospace') && !KNOWN.has(uri)) {
    throw new Fault('InvalidArgument', `unknown standard property: ${uri}`)
  }
}

/** `true` or `false`, case ignored, blanks around it too; throws InvalidArgument for anything else. */
export function parseBoolean(uri: string, value: string): boolean {
  const word = value.trim().toLowerCase()
  if (word !== 'true' && word !== 'false') {
    throw new Fault('InvalidArgument', `${uri} is true or false, not ${JSON.stringify(value)}`)
  }
  return word === 'true'
}

/** Group URIs separated by blanks, as every client writes them, or by commas, as the standard says (a comma may also stand within a name). */
export function parseGroups(uri: string, value: string): string[] {
  const groups = value.split(/\s+|,(?=ivo:|[\s,]|$)/i).filter((group) => group !== '')
  for (const group of groups) {
    if (!isGroupUri(group)) throw new Fault('InvalidArgument', `${uri}: not a group URI: ${JSON.stringify(group)}`)
  }
  return [...new Set(groups)].sort()
}

/** `ivo://authority/path?name` (GMS 1.0). */
export const isGroupUri = (text: string): boolean => groupName(text) !== undefined

/** UTC with milliseconds and no zone: what every client parses (wire.md 1.3). */
export function dateText(nanoseconds: bigint): string {
  return new Date(Number(nanoseconds / 1_000_000n)).toISOString().slice(0, -1)
}
