// One call to a gateway, JSON both ways, with its refusals as the Faults that they are.
import type * as HTTPS from 'node:https'
import { Fault, FAULTS, isFault, type FaultName } from '../src/vospace/fault.ts'
import { ofUnknownCa } from './unknown-ca.ts'

const fs = process.getBuiltinModule('node:fs')

/** Takes long to load, and not every command comes so far. */
export const https = (): Promise<typeof HTTPS> => import('node:https')

/** `path` stands below the service base. Answers what the JSON says, undefined for an empty one; a refusal is thrown as the Fault that it is. */
export type Ask = (
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  document?: object,
) => Promise<unknown>

/** Files; one of the two is there. */
export interface CredentialFiles {
  readonly certificate?: string
  readonly tokenFile?: string
}

/** Over which connection, and for how long. */
interface How {
  readonly agent?: HTTPS.Agent | undefined
  /** For what may be asked twice: once more, on a new connection, where one that was kept turns out to be dead. */
  readonly again?: boolean
}

/**
 * Calls to the service at that URL: refusals are thrown as the Faults that they are. `signal`: of each call its own, ends it. Throws as
 * `secretsWith`.
 */
export async function asking(
  url: string,
  credential: CredentialFiles,
  ca: string | undefined,
  { signal, ...how }: How & { readonly signal?: () => AbortSignal } = {},
): Promise<Ask> {
  const secrets = secretsWith(credential, ca)
  return (method, path, document) => {
    const headers = document === undefined ? {} : { 'Content-Type': 'application/json' }
    return exchange(url, path, { ...how, method, headers, secrets, document, signal: signal?.() }, answerOf)
  }
}

interface Secrets {
  readonly headers?: Readonly<Record<string, string>>
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly ca?: Buffer
}

interface Sent extends How {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: Secrets
  readonly document?: object | undefined
  readonly signal?: AbortSignal | undefined
}

const NO_GATEWAY = 'is a gateway running there? (--url, KARST_URL)'

function mended(error: NodeJS.ErrnoException): string {
  const { code = '', message } = error
  if (code === 'ABORT_ERR') return `no answer in time: ${NO_GATEWAY}`
  const isAway = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)
  // a name with two addresses has an error for each, and no message of its own
  return ofUnknownCa(error) ?? (isAway ? `${message || code}: ${NO_GATEWAY}` : message)
}

const DEAD = ['ECONNRESET', 'EPIPE']

/** What `read` makes of the answer. ServiceBusy: there is none, or none of ours. */
export async function exchange<T>(
  url: string,
  path: string,
  how: Sent,
  read: (status: number, text: string) => T,
): Promise<T> {
  const { method, headers, secrets, document, agent, again, signal } = how
  const { request } = await https()
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new Fault('ServiceBusy', `${url}: ${mended(error)}`, { cause: error }))
    const options = { method, signal, agent: agent ?? false, ...secrets, headers: { ...headers, ...secrets.headers } }
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
    sent.on('error', (error: NodeJS.ErrnoException) => {
      const isDead = sent.reusedSocket && DEAD.includes(error.code ?? '')
      if (again === true && isDead) resolve(exchange(url, path, { ...how, agent: undefined, again: false }, read))
      else failed(error)
    })
    // one that waits for a connection hears of it only when it has one
    signal?.addEventListener('abort', () => failed({ name: 'AbortError', code: 'ABORT_ERR', message: '' }))
    sent.end(document === undefined ? undefined : JSON.stringify(document))
  })
}

/** What a connection is made with. InvalidArgument for a file that is of no use. */
export function secretsWith(credential: CredentialFiles, ca: string | undefined): Secrets {
  return { ...secretsOf(credential), ...(ca !== undefined && { ca: named('the CA', ca) }) }
}

/** A file that options or environment name. InvalidArgument where it cannot be read. */
export function named(what: string, file: string): Buffer {
  try {
    return fs.readFileSync(file)
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    throw new Fault('InvalidArgument', `${what} ${file} cannot be read (${code}): name another file`, { cause: error })
  }
}

/** For the TLS connection, or in the headers. */
function secretsOf({ certificate, tokenFile }: CredentialFiles): Secrets {
  if (tokenFile !== undefined) {
    const token = named('the token file', tokenFile).toString('utf8').trim()
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Fault('InvalidArgument', `${tokenFile}: not a token`)
    return { headers: { authorization: `Bearer ${token}` } }
  }
  if (certificate === undefined) return {}
  const pem = named('the certificate', certificate)
  return { cert: pem, key: pem }
}

/** What the JSON says; refusals are thrown as Faults. */
export function answerOf(status: number, text: string): unknown {
  refuse(status, text)
  return text === '' ? undefined : (JSON.parse(text) as unknown)
}

/** A refusal is `Fault: detail`. */
export function refuse(status: number, text: string): void {
  if (status >= 200 && status < 300) return
  const [, name = '', detail = ''] = /^(\w+):? ?(.*)/s.exec(text) ?? []
  const fault = (Object.keys(FAULTS) as FaultName[]).find((one) => one === name)
  throw new Fault(fault ?? 'ServiceBusy', fault === undefined ? `status ${status}` : detail.trim())
}
