/** Names of groups (IVOA GMS 1.0): `ivo://authority/path?name`, where what stands before `?` is the resource ID of the service that keeps the group. */

/** The standard's one call: which groups the caller is in. */
export const GMS_SEARCH = 'ivo://ivoa.net/std/GMS#search-1.0'

export interface GroupName {
  /** resource ID of the keeping service, in lower case: IVOA identifiers are compared so */
  readonly service: string
  /** case counts */
  readonly name: string
}

/** Letters, digits and `, - . _ ~` (GMS 1.0), and `/`, which other services use; opaque. A last comma would be one that separates. */
const NAME = /^[A-Za-z0-9._~/,-]*[A-Za-z0-9._~/-]$/

/** Whether a group may be called so. `.` and `..` cannot stand in a URL. */
export const isGroupName = (text: string): boolean =>
  NAME.test(text) && text.length <= 256 && text !== '.' && text !== '..'

/** Undefined: no group URI. */
export function groupName(uri: string): GroupName | undefined {
  const [, service = '', name = ''] = /^(ivo:\/\/[A-Za-z0-9.-]+\/[A-Za-z0-9._~/-]+)\?(.+)$/s.exec(uri) ?? []
  if (uri.length > 512 || !isGroupName(name)) return undefined
  return { service: service.toLowerCase(), name }
}

/** Whose groups count here. */
export interface GroupServices {
  /** resource ID of our own */
  readonly own: string
  /** resource IDs that some clients write whatever the site (vchmod of the Python client): they mean our own */
  readonly aliases: readonly string[]
  /** resource IDs of other services whose memberships are believed */
  readonly remote: readonly string[]
}

/** Whether a group is one of those other services. */
export const isKeptElsewhere = (uri: string, { remote }: GroupServices): boolean =>
  remote.includes(groupName(uri)?.service ?? '')

/** The URI that the group has here: ours for an alias, the service in lower case. Undefined when nobody known here keeps it. */
export function canonicalGroup(uri: string, { own, aliases, remote }: GroupServices): string | undefined {
  const parts = groupName(uri)
  if (parts === undefined) return undefined
  const { service, name } = parts
  if (service === own || aliases.includes(service)) return `${own}?${name}`
  return remote.includes(service) ? `${service}?${name}` : undefined
}
