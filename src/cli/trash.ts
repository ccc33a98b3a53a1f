/** `karst trash`: what was deleted and may come back, over HTTPS. */
import { readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { locate } from '../../mount/locate.ts'
import { mountEnvironment } from '../config.ts'
import { Fault, FAULTS, isFault, type FaultName } from '../vospace/fault.ts'
import { parseVosUri } from '../vospace/uri.ts'
import { readWords, say, UsageError, type Command } from './command.ts'

const OPTIONS = {
  certificate: { type: 'string' },
  ca: { type: 'string' },
  registry: { type: 'string' },
  url: { type: 'string' },
  to: { type: 'string' },
} as const

interface Item {
  readonly id: string
  readonly path: string
  readonly type: string
  readonly by?: string
  readonly nodes?: number
  readonly deleted: string
  readonly expires?: string
}

type Ask = (method: 'GET' | 'POST', path: string, document?: object) => Promise<unknown>

export const trash: Command = {
  name: 'trash',
  usage:
    'karst trash list    vos://AUTHORITY~SERVICE/PATH\n' +
    '       karst trash restore vos://AUTHORITY~SERVICE/PATH ID [--to PATH]\n' +
    '       karst trash empty   vos://AUTHORITY~SERVICE/PATH [ID]\n' +
    '                   [--certificate PEM] [--ca PEM] [--registry URL | --url URL]',
  summary: 'what was deleted in the allocation of a node: lists it, puts it back, or removes it for good',
  run: async (words) => {
    const { values, positionals } = readWords(words, OPTIONS, { min: 2, max: 3 })
    const [what = '', uri = '', id] = positionals
    const environment = mountEnvironment()
    const certificate = values.certificate ?? environment.proxy
    if (certificate === undefined) throw new UsageError('--certificate PEM is missing, and X509_USER_PROXY is not set')
    const named = values.url ?? (values.registry === undefined ? environment.url : undefined)
    const { url, path } = await locate({
      uri,
      ...(named !== undefined && { url: named }),
      ...(values.registry !== undefined && { registry: values.registry }),
      ...(values.ca !== undefined && { ca: values.ca }),
    })
    const ask = await asking(url, certificate, values.ca)
    if (what === 'list' && id === undefined) await list(ask, path)
    else if (what === 'restore' && id !== undefined) await restore(ask, path, id, values.to)
    else if (what === 'empty') await empty(ask, path, id)
    else throw new UsageError('it is list, restore or empty; restore needs the ID that list shows')
    return 0
  },
}

async function list(ask: Ask, path: string): Promise<void> {
  const { items } = (await ask('GET', `/trash?path=${encodeURIComponent(path)}`)) as { items: Item[] }
  for (const { id, deleted, by, nodes, type, path } of items) {
    say([id, deleted, by ?? '-', nodes ?? '-', type, printable(path)].join('  '))
  }
}

async function restore(ask: Ask, path: string, id: string, to: string | undefined): Promise<void> {
  const place = to === undefined ? {} : { to: /^vos:/i.test(to) ? parseVosUri(to).path : to }
  const { path: restored } = (await ask('POST', '/trash/restore', { path, id, ...place })) as { path: string }
  say(printable(restored))
}

async function empty(ask: Ask, path: string, id: string | undefined): Promise<void> {
  const { removed } = (await ask('POST', '/trash/empty', { path, ...(id !== undefined && { id }) })) as {
    removed: number
  }
  say(`${removed} removed for good`)
}

/** Names are anything: what would speak to the terminal is escaped. */
const printable = (path: string): string => path.replace(/[\p{Cc}\p{Cf}]/gu, (one) => encodeURIComponent(one))

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
  if (status === 200) return JSON.parse(text) as unknown
  const [, name = '', detail = ''] = /^(\w+):? ?(.*)/s.exec(text) ?? []
  const fault = (Object.keys(FAULTS) as FaultName[]).find((one) => one === name)
  throw new Fault(fault ?? 'ServiceBusy', fault === undefined ? `status ${status}` : detail.trim())
}
