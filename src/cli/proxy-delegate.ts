/** `karst proxy delegate`: lets a gateway act for its user at other services, by IVOA Credential Delegation Protocol 1.0 (auth.md C2). */
import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { mountEnvironment, proxyEnvironment } from '../environment.ts'
import { requestedKey } from '../identity/certificate-request.ts'
import { mintProxy } from '../identity/mint.ts'
import { type Credential, readCredential } from '../identity/pem.ts'
import { Fault } from '../vospace/fault.ts'
import { say, UsageError } from './command.ts'
import { present } from './proxy-info.ts'
import { hoursIn } from './proxy-hours.ts'

export interface DelegateWords {
  readonly certificate?: string | undefined
  readonly hours?: string | undefined
  readonly url?: string | undefined
  readonly ca?: string | undefined
}

/** Longer is of no use: gateways forget it then. */
const DEFAULT_HOURS = 24

/** Begins a delegation, certifies the key that the gateway made, sends the chain. The private key stays where it was made. */
export async function delegateProxy(words: DelegateWords): Promise<number> {
  const hours = hoursIn('--hours', words.hours) ?? DEFAULT_HOURS
  const url = words.url ?? mountEnvironment().url
  if (url === undefined) throw new UsageError('--url URL is missing, and KARST_URL is not set')
  const own = await readCredential(words.certificate ?? (await present(proxyEnvironment().proxy)))
  const file = words.ca ?? mountEnvironment().ca
  const ca = file === undefined ? undefined : await readFile(file, 'utf8')
  const ask = asking(own, ca)
  const { location } = await ask('POST', `${url.replace(/\/+$/, '')}/delegations`)
  if (location === undefined) throw new Fault('ServiceBusy', `${url}: it does not say where the delegation is`)
  const { text } = await ask('GET', `${location}/CSR`)
  const { certificate } = await mintProxy({
    issuerCert: own.certificate,
    issuerKey: own.key,
    publicKey: requestedKey(text),
    hours,
  })
  await ask('PUT', `${location}/certificate`, [certificate, own.certificate, ...own.chain].join(''))
  say(location)
  return 0
}

interface Answer {
  readonly text: string
  readonly location: string | undefined
}

type Ask = (method: 'GET' | 'POST' | 'PUT', url: string, body?: string) => Promise<Answer>

function asking(own: Credential, ca: string | undefined): Ask {
  const secrets = { cert: [own.certificate, ...own.chain].join(''), key: own.key, ...(ca !== undefined && { ca }) }
  return (method, url, body = '') =>
    new Promise((resolve, reject) => {
      const failed = (error: Error): void =>
        reject(new Fault('ServiceBusy', `${url}: ${error.message}`, { cause: error }))
      const headers = { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) }
      const sent = request(url, { method, agent: false, headers, ...secrets }, (reply) => {
        const parts: Buffer[] = []
        reply.on('data', (part: Buffer) => parts.push(part))
        reply.on('error', failed)
        reply.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8')
          const status = reply.statusCode ?? 0
          if (status < 300) resolve({ text, location: reply.headers.location })
          else reject(new Fault('PermissionDenied', `${url}: status ${status}: ${text.trim()}`))
        })
      })
      sent.on('error', failed)
      sent.end(body)
    })
}
