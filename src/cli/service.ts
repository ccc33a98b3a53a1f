/** Talking to a gateway as a user does: where it is and with what credential, the same options for every command that does so. */
import { lstatSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { mountEnvironment, proxyEnvironment } from '../environment.ts'
import { Fault, FAULTS, isFault, type FaultName } from '../vospace/fault.ts'
import { UsageError } from './command.ts'

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

/** `path` stands below the service base. Answers what the JSON says, undefined for an empty one; a refusal is thrown as the Fault that it is. */
export type Ask = (
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  document?: object,
) => Promise<unknown>

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
 * several calls may share; each call has its own without.
 */
export async function serviceAt(options: ServiceOptions, agent?: Agent): Promise<Ask> {
  return asking(placeOf(options), credentialIn(options), authoritiesIn(options), agent)
}

/** Milliseconds for which a connection is kept, and a credential is not read again. */
const KEPT = 4000

/** The same, for calls that come in bursts, now and in hours: those of a burst share a handshake, and the credential is as it is then. */
export function burstsAt(options: ServiceOptions, kept = KEPT): Ask {
  let last: { readonly ask: Promise<Ask>; readonly until: number } | undefined
  return async (...call) => {
    if (last === undefined || performance.now() > last.until) {
      // one at a time: a second handshake takes longer than the call before
      const agent = new Agent({ keepAlive: true, maxSockets: 1, timeout: kept })
      last = { ask: serviceAt(options, agent), until: performance.now() + kept }
    }
    return (await last.ask)(...call)
  }
}

/** A text of that type, at --url or KARST_URL, as `serviceAt`. */
export type AskText = (path: string, type: string) => Promise<string>

export async function textsAt(options: ServiceOptions): Promise<AskText> {
  const url = placeOf(options)
  const secrets = await secretsWith(credentialIn(options), authoritiesIn(options))
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

/** Files; one of the two is there. */
export interface CredentialFiles {
  readonly certificate?: string
  readonly tokenFile?: string
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

async function asking(url: string, credential: CredentialFiles, ca: string | undefined, agent?: Agent): Promise<Ask> {
  const secrets = await secretsWith(credential, ca)
  return (method, path, document) => {
    const headers = document === undefined ? {} : { 'Content-Type': 'application/json' }
    return exchange(url, path, { method, headers, secrets, document, agent }, answerOf)
  }
}

interface Secrets {
  readonly headers?: Readonly<Record<string, string>>
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly ca?: Buffer
}

interface Sent {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: Secrets
  readonly document?: object | undefined
  readonly agent?: Agent | undefined
}

const NAME_ITS_CA = 'no CA known here has issued its certificate: name its CA by --ca PEM or KARST_CA'

/** What Node calls it, and what to do about it. */
const UNKNOWN_CA: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NAME_ITS_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NAME_ITS_CA,
  SELF_SIGNED_CERT_IN_CHAIN: NAME_ITS_CA,
  DEPTH_ZERO_SELF_SIGNED_CERT: NAME_ITS_CA,
}

const NO_GATEWAY = 'is a gateway running there? (--url, KARST_URL)'

function mended({ code = '', message }: NodeJS.ErrnoException): string {
  const isAway = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)
  // a name with two addresses has an error for each, and no message of its own
  return UNKNOWN_CA[code] ?? (isAway ? `${message || code}: ${NO_GATEWAY}` : message)
}

/** What `read` makes of the answer. ServiceBusy: there is none, or none of ours. */
function exchange<T>(
  url: string,
  path: string,
  { method, headers, secrets, document, agent }: Sent,
  read: (status: number, text: string) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new Fault('ServiceBusy', `${url}: ${mended(error)}`, { cause: error }))
    const options = { method, agent: agent ?? false, ...secrets, headers: { ...headers, ...secrets.headers } }
    const sent = request(url + path, options, (reply) => {
      const parts: Buffer[] = []
      reply.on('data', (part: Buffer) => parts.push(part))
      reply.on('error', failed)
      reply.on('end', () => {
        try {
          resolve(read(reply.statusCode ?? 0, Buffer.concat(parts).toString('utf8')))
        } catch (error) {
          reject(isFault(error) ? error : new Fault('ServiceBusy', `${url}: no answer of ours`, { cause: error }))
        }
      })
    })
    sent.on('error', failed)
    sent.end(document === undefined ? undefined : JSON.stringify(document))
  })
}

async function secretsWith(credential: CredentialFiles, ca: string | undefined): Promise<Secrets> {
  return { ...(await secretsOf(credential)), ...(ca !== undefined && { ca: await named('the CA', ca) }) }
}

/** A file that options or environment name. InvalidArgument where it cannot be read. */
export async function named(what: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    throw new Fault('InvalidArgument', `${what} ${file} cannot be read (${code}): name another file`, { cause: error })
  }
}

/** For the TLS connection, or in the headers. */
async function secretsOf({ certificate, tokenFile }: CredentialFiles): Promise<Secrets> {
  if (tokenFile !== undefined) {
    const token = (await named('the token file', tokenFile)).toString('utf8').trim()
    if (!/^[\x21-\x7e]+$/.test(token)) throw new UsageError(`${tokenFile}: not a token`)
    return { headers: { authorization: `Bearer ${token}` } }
  }
  if (certificate === undefined) return {}
  const pem = await named('the certificate', certificate)
  return { cert: pem, key: pem }
}

function answerOf(status: number, text: string): unknown {
  refuse(status, text)
  return text === '' ? undefined : (JSON.parse(text) as unknown)
}

/** A refusal is `Fault: detail`. */
function refuse(status: number, text: string): void {
  if (status >= 200 && status < 300) return
  const [, name = '', detail = ''] = /^(\w+):? ?(.*)/s.exec(text) ?? []
  const fault = (Object.keys(FAULTS) as FaultName[]).find((one) => one === name)
  throw new Fault(fault ?? 'ServiceBusy', fault === undefined ? `status ${status}` : detail.trim())
}
