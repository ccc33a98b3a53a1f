/** The part of the configuration that is about another service's numbers of users and groups. */

export interface PosixMapperConfig {
  /** URLs of the user mapping and the group mapping */
  readonly uid: string
  readonly gid: string
  readonly ca?: string
  /** PEM file: what the gateway shows, certificate, chain and key */
  readonly certificate?: string
  readonly timeoutSeconds: number
  readonly refreshSeconds: number
  /** Without its map the gateway does not start. */
  readonly required: boolean
}

/** As it stands in the file. */
export interface PosixMapperDocument {
  posixMapper?: ({ url: string } | { uid: string; gid: string }) & {
    ca?: string
    certificate?: string
    timeoutSeconds?: number
    refreshSeconds?: number
    required?: boolean
  }
}

/** `file` makes a name absolute. */
export function posixMapperConfig(
  posixMapper: NonNullable<PosixMapperDocument['posixMapper']>,
  file: (path: string) => string,
): PosixMapperConfig {
  const { ca, certificate, timeoutSeconds = 30, refreshSeconds = 3600, required = true } = posixMapper
  const base = 'url' in posixMapper ? posixMapper.url.replace(/\/$/, '') : ''
  const { uid, gid } = 'url' in posixMapper ? { uid: `${base}/uid`, gid: `${base}/gid` } : posixMapper
  return {
    ...{ uid, gid, timeoutSeconds, refreshSeconds, required },
    ...(ca !== undefined && { ca: file(ca) }),
    ...(certificate !== undefined && { certificate: file(certificate) }),
  }
}

/** What a schema cannot say. */
export function posixMapperMistakes(
  document: PosixMapperDocument & { accounts?: { autoprovision?: unknown } },
): string[] {
  const methods = document.accounts?.autoprovision
  if (document.posixMapper === undefined || !Array.isArray(methods) || !methods.includes('x509')) return []
  // names of certificates are made up by whoever issues them; the mapper's numbers go by name
  return [
    "posixMapper: with accounts.autoprovision x509 the name in a certificate would say whose files are somebody's",
  ]
}
