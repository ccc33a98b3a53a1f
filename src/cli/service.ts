/** Talking to a gateway as a user does: where it is and with what credential, the same options for every command that does so. */
import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { locate } from '../../mount/locate.ts'
import { mountEnvironment } from '../config.ts'
import { Fault, FAULTS, isFault, type FaultName } from '../vospace/fault.ts'
import { UsageError } from './command.ts'

/** For readWords; SERVICE_USAGE says them. */
export const SERVICE_OPTIONS = {
  certificate: { type: 'string' },
  ca: { type: 'string' },
  registry: { type: 'string' },
  url: { type: 'string' },
} as const

export const SERVICE_USAGE = '[--certificate PEM] [--ca PEM] [--registry URL | --url URL]'

export interface ServiceOptions {
  readonly certificate?: string | undefined
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
  const certificate = certificateOf(options)
  const named = options.url ?? (options.registry === undefined ? mountEnvironment().url : undefined)
  const { url, path } = await locate({
    uri,
    ...(named !== undefined && { url: named }),
    ...(options.registry !== undefined && { registry: options.registry }),
    ...(options.ca !== undefined && { ca: options.ca }),
  })
  return { ask: await asking(url, certificate, options.ca), path }
}

/** The service at --url or KARST_URL: for what is about no node. UsageError without either, or without a credential. */
export async function serviceAt(options: ServiceOptions): Promise<Ask> {
  const url = options.url ?? mountEnvironment().url
  if (url === undefined) throw new UsageError('--url URL is missing, and KARST_URL is not set')
  return asking(url.replace(/\/+$/, ''), certificateOf(options), options.ca)
}

function certificateOf({ certificate }: ServiceOptions): string {
  const file = certificate ?? mountEnvironment().proxy
  if (file === undefined) throw new UsageError('--certificate PEM is missing, and X509_USER_PROXY is not set')
  return file
}

/** Names are anything: what would speak to the terminal is escaped. */
export const printable = (path: string): string => path.replace(/[\p{Cc}\p{Cf}]/gu, (one) => encodeURIComponent(one))

async function asking(url: string, certificate: string, ca: string | undefined): Promise<Ask> {
  const pem = await readFile(certificate)
  const secrets = { cert: pem, key: pem, ...(ca !== undefined && { ca: await readFile(ca) }) }
  return (method, path, document) =>
    new Promise((resolve, reject) => {
      const failed = (error: Error): void =>
        reject(new Fault('ServiceBusy', `${url}: ${error.message}`, { cause: error }))
      const sent = request(url + path, { method, agent: false, ...secrets }, (reply) => {
        const parts: Buffer[] = []
        reply.on('data', (part: Buffer) => parts.push(part))
        reply.on('error', failed)
        reply.on('end', () => {
          try {
            resolve(answerOf(reply.statusCode ?? 0, Buffer.concat(parts).toString('utf8')))
          } catch (error) {
            reject(isFault(error) ? error : new Fault('ServiceBusy', `${url}: no answer of ours`, { cause: error }))
          }
        })
      })
      sent.on('error', failed)
      sent.end(document === undefined ? undefined : JSON.stringify(document))
    })
}

/** A refusal is `Fault: detail`. */
function answerOf(status: number, text: string): unknown {
  if (status >= 200 && status < 300) return text === '' ? undefined : (JSON.parse(text) as unknown)
  const [, name = '', detail = ''] = /^(\w+):? ?(.*)/s.exec(text) ?? []
  const fault = (Object.keys(FAULTS) as FaultName[]).find((one) => one === name)
  throw new Fault(fault ?? 'ServiceBusy', fault === undefined ? `status ${status}` : detail.trim())
}
