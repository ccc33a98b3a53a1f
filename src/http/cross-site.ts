/**
 * What a page of another site makes a browser ask for. A browser shows the certificate of its user by itself, whoever has written the page; so what
 * changes something is not taken from there.
 */
import { type IncomingMessage } from 'node:http'
import { Fault } from '../vospace/fault.ts'

const READING: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/**
 * PermissionDenied for a change that a page of another site asks for. Browsers say where a request comes from (W3C Fetch Metadata; RFC 6454, 7), and
 * pages cannot make them say otherwise; programs say nothing. For what is shown unasked alone: a token no page of another site can send.
 */
export function refuseCrossSite({ method = '', headers }: IncomingMessage): void {
  if (READING.includes(method)) return
  const { 'sec-fetch-site': site, origin, host, ':authority': authority = host } = headers
  // older browsers say the origin alone
  const isOwn =
    site === undefined
      ? origin === undefined || origin.toLowerCase() === `https://${String(authority).toLowerCase()}`
      : site === 'same-origin' || site === 'none'
  if (isOwn) return
  throw new Fault('PermissionDenied', 'a page of another site asks for this, with the certificate of its reader')
}
