/** The part of the configuration that is about issuers of tokens. */

export interface TokenConfig {
  /** URL, no slash at the end */
  readonly issuer: string
  readonly audience: readonly string[]
  /** URL or file */
  readonly jwks?: string
  readonly ca?: string
  readonly usernames?: string
  readonly algorithms?: readonly string[]
  /** seconds */
  readonly clockSkew: number
  readonly forwardTo: readonly string[]
  readonly login?: string
}

/** As it stands in the file. */
export type TokenDocument = Partial<Omit<TokenConfig, 'audience'>> & {
  issuer: string
  audience: string | readonly string[]
}

/** Keys that anybody on the way could change would let them be anybody. */
export function issuerMistakes(tokens: readonly TokenDocument[]): string[] {
  const isOpen = (url: string): boolean => {
    if (!/^http:/i.test(url) || !URL.canParse(url)) return false
    return !/^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(url).hostname)
  }
  const names = tokens.map(({ issuer }) => issuer.replace(/\/$/, ''))
  return [
    ...tokens.flatMap(({ issuer, jwks }) =>
      [issuer, jwks ?? ''].filter(isOpen).map((url) => `tokens ${issuer}: ${url} is not https`),
    ),
    ...names.filter((name, i) => names.indexOf(name) !== i).map((name) => `tokens: ${name} is there twice`),
  ]
}

/** `file` makes a name absolute. */
export function tokenConfig(
  { issuer, audience, jwks, ca, forwardTo = [], ...rest }: TokenDocument,
  file: (path: string) => string,
): TokenConfig {
  return {
    clockSkew: 60,
    ...rest,
    issuer: issuer.replace(/\/$/, ''),
    audience: typeof audience === 'string' ? [audience] : audience,
    forwardTo: forwardTo.map((host) => host.toLowerCase()),
    ...(jwks !== undefined && { jwks: /^https?:\/\//i.test(jwks) ? jwks : file(jwks) }),
    ...(ca !== undefined && { ca: file(ca) }),
  }
}
