/**
 * What a client is told of how to prove who it is: one header line a challenge (RFC 9110, 11.6.1; RFC 6750; the IVOA's draft AuthVO and
 * SSO 2.1; auth.md E).
 */
import { TokenFault } from '../identity/token-fault.ts'
import { type Fault } from '../vospace/fault.ts'
import { SECURITY } from '../vospace/transfer.ts'
import { type HttpServices } from './services.ts'

/** What there is to prove it with, and where what is needed for it can be had. */
export interface SignOn {
  /** Bearer tokens are taken. */
  readonly tokens?: boolean
  /** URLs where a name and password get a token (`ivo://ivoa.net/sso#tls-with-password`) */
  readonly logins?: readonly string[]
}

const PASSWORD = 'ivo://ivoa.net/sso#tls-with-password'

/** Of a 401, where `refusal` is why, and of what anonymous callers may read but others too. */
export function challenges(
  { signOn = {}, credentials, publicUrl }: Pick<HttpServices, 'signOn' | 'credentials' | 'publicUrl'>,
  refusal?: Fault,
): string[] {
  const { tokens = false, logins = [] } = signOn
  const bearer = refusal instanceof TokenFault ? [bearerError(refusal)] : tokens ? ['Bearer'] : []
  const ways = logins.map((url) => way('ivoa_bearer', PASSWORD, url))
  // a certificate is given for a token
  const isIssuing = credentials !== undefined && tokens
  const issuing = isIssuing ? [way('ivoa_x509', SECURITY.token, `${publicUrl}/cred/generate`)] : []
  return [...bearer, ...ways, 'ivoa_x509', ...issuing]
}

/** RFC 6750, section 3. */
function bearerError({ error, detail }: TokenFault): string {
  // section 3.1 has neither quotes nor backslashes in it, nor anything but ASCII
  const description = detail
    .replace(/"/g, "'")
    .replace(/\\/g, '/')
    .replace(/[^\x20-\x7e]/g, '?')
  return `Bearer error=${quoted(error)}, error_description=${quoted(description)}`
}

const way = (scheme: string, standardId: string, url: string): string =>
  `${scheme} standard_id=${quoted(standardId)}, access_url=${quoted(url)}`

/** A quoted-string (RFC 9110, 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, encodeURIComponent).replace(/["\\]/g, '\\$&')}"`
}
