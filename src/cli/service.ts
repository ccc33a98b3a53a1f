/** Talking to a gateway as a user does: where it is and with what credential, the same options for every command that does so. */
import type { Agent } from 'node:https'
import { asking, type Ask, type CredentialFiles, exchange, https, refuse, secretsWith } from '../../mount/asking.ts'
import { mountEnvironment, proxyEnvironment } from '../environment.ts'
import { UsageError } from './command.ts'

export { type Ask, named } from '../../mount/asking.ts'

const { lstatSync } = process.getBuiltinModule('node:fs')

/** For readWords; SERVICE_USAGE says them. */
export const SERVICE_OPTIONS = {
  certificate: { type: 'string' },
  'token-file': { type: 'string' },
  ca: { type: 'string' },
  registry: { type: 'string' },
  url: { type: 'string' },
} as const

export const SERVICE_USAGE = '[--certificate PEM | --token-file FILE] [--ca PEM] [--registry URL | --url URL]'

export interface ServiceOptions {
  readonly certificate?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly ca?: string | undefined
  readonly registry?: string | undefined
  readonly url?: string | undefined
}

/** The service that holds a node, and the node's path there. UsageError without a credential. */
export async function serviceOf(uri: string, options: ServiceOptions): Promise<{ ask: Ask; path: string }> {
  const credential = credentialIn(options)
  const ca = authoritiesIn(options)
  const named = options.url ?? (options.registry === undefined ? mountEnvironment().url : undefined)
  const { locate } = await import('../../mount/locate.ts')
  const { url, path } = await locate({
    uri,
    ...(named !== undefined && { url: named }),
    ...(options.registry !== undefined && { registry: options.registry }),
    ...(ca !== undefined && { ca }),
  })
  return { ask: await asking(url, credential, ca), path }
}

/**
 * The service at --url or KARST_URL: for what is about no node. UsageError without either, or without a credential. `agent`: connections that
 * several calls may share; each call has its own without. `again`: as in mount/asking.ts.
 */
export async function serviceAt(options: ServiceOptions, agent?: Agent, again = false): Promise<Ask> {
  const how = { ...(agent !== undefined && { agent }), again }
  return asking(placeOf(options), credentialIn(options), authoritiesIn(options), how)
}

/** Milliseconds for which a connection is kept, and a credential is not read again. */
const KEPT = 4000

/** The same, for calls that come in bursts, now and in hours: those of a burst share a handshake, and the credential is as it is then. Each may be made twice. */
export function burstsAt(options: ServiceOptions, kept = KEPT): Ask {
  let last: { readonly ask: Promise<Ask>; readonly until: number } | undefined
  return async (...call) => {
    const { Agent } = await https()
    if (last === undefined || performance.now() > last.until) {
      // one at a time: a second handshake takes longer than the call before
      const agent = new Agent({ keepAlive: true, maxSockets: 1, timeout: kept })
      last = { ask: serviceAt(options, agent, true), until: performance.now() + kept }
    }
    return (await last.ask)(...call)
  }
}

/** A text of that type, at --url or KARST_URL, as `serviceAt`. */
export type AskText = (path: string, type: string) => Promise<string>

export async function textsAt(options: ServiceOptions): Promise<AskText> {
  const url = placeOf(options)
  const secrets = secretsWith(credentialIn(options), authoritiesIn(options))
  return (path, type) =>
    exchange(url, path, { method: 'GET', headers: { Accept: type }, secrets }, (status, text) => {
      refuse(status, text)
      return text
    })
}

const authoritiesIn = ({ ca }: ServiceOptions): string | undefined => ca ?? mountEnvironment().ca

function placeOf(options: ServiceOptions): string {
  const url = options.url ?? mountEnvironment().url
  if (url === undefined) throw new UsageError('--url URL is missing, and KARST_URL is not set')
  if (!/^https:/i.test(url) || !URL.canParse(url)) throw new UsageError(`not an https URL: ${url}`)
  return url.replace(/\/+$/, '')
}

/** What is named, else the proxy of the environment, else the one where grid tools have theirs. UsageError for both or for neither. */
export function credentialOf(named: {
  readonly certificate: string | undefined
  readonly tokenFile: string | undefined
}): CredentialFiles {
  const { certificate, tokenFile } = named
  if (tokenFile !== undefined) {
    if (certificate !== undefined) throw new UsageError('--certificate and --token-file: one of them is enough')
    return { tokenFile }
  }
  const file = certificate ?? mountEnvironment().proxy ?? ownFile(proxyEnvironment().proxy)
  if (file !== undefined) return { certificate: file }
  throw new UsageError(
    '--certificate PEM or --token-file FILE is missing, X509_USER_PROXY is not set, and there is no proxy',
  )
}

/** Where everybody may put files, only one's own that others cannot read or write is taken for one's credential. */
function ownFile(file: string): string | undefined {
  const found = lstatSync(file, { throwIfNoEntry: false })
  return found?.isFile() === true && found.uid === process.geteuid?.() && (found.mode & 0o077) === 0 ? file : undefined
}

const credentialIn = ({ certificate, 'token-file': tokenFile }: ServiceOptions): CredentialFiles =>
  credentialOf({ certificate, tokenFile })

/** Names are anything: what would speak to the terminal is escaped. */
export const printable = (path: string): string => path.replace(/[\p{Cc}\p{Cf}]/gu, (one) => encodeURIComponent(one))
