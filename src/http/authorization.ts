/** The Authorization header: one of it, with a bearer token, or a refusal (RFC 9110, 11.6.2; RFC 6750, 2.1). */
import { type IncomingMessage } from 'node:http'
import { TokenFault } from '../identity/token-fault.ts'
import { Fault } from '../vospace/fault.ts'

/** token68 of RFC 9110, 11.2 */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i

/** A comma, and after it another scheme with what belongs to it: parameters have no blank after their name. */
const SECOND_SCHEME = /,[ \t]*[A-Za-z][A-Za-z0-9_-]*[ \t]+[^\s,]/

/**
 * The token of a request; undefined: no Authorization header. Throws InvalidArgument for two headers or two schemes, TokenFault for
 * a malformed one, NotAuthenticated for a scheme that is none of ours: what is shown is never passed over. Nothing of it is in a message.
 */
export function bearerOf({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  // of several Node keeps the first and says nothing
  if (count(rawHeaders) > 1) throw new Fault('InvalidArgument', 'more than one Authorization header')
  if (SECOND_SCHEME.test(authorization)) throw new Fault('InvalidArgument', 'more than one scheme in Authorization')
  const [, token] = BEARER.exec(authorization) ?? []
  if (token !== undefined) return token
  const [scheme = ''] = /^[^\s,]*/.exec(authorization) ?? []
  if (/^bearer$/i.test(scheme)) throw new TokenFault('MALFORMED', 'Authorization is not: Bearer, a blank, a token')
  throw new Fault('NotAuthenticated', 'the scheme of Authorization is not one that is taken here; Bearer is')
}

function count(rawHeaders: readonly string[]): number {
  return rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'authorization').length
}
