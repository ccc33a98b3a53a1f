/** A gateway whose accounts Carol administers, and people who use it. */
import { type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type Test } from 'tap'
import { type AuditEvent } from '../../src/identity/audit.ts'
import { nodePath } from '../../src/vospace/path.ts'
import { type Call, type Gateway, type GatewayOptions, type Reply, startGateway } from './gateway.ts'
import { authority, chainPem, credentials, dnOf } from './people.ts'

export const HOME = { home: { parent: nodePath('/home') } } as const
export const DAVE = { kind: 'x509', value: dnOf('dave') } as const

export interface Row {
  readonly name: string
  readonly uid: number
  readonly suspended: string | null
  readonly identities: readonly unknown[]
}

/** Carol administers. */
export async function started(
  t: Test,
  options: GatewayOptions = {},
): Promise<Gateway & { readonly audit: AuditEvent[] }> {
  const audit: AuditEvent[] = []
  const gateway = await startGateway(t, { ...options, people: { accounts: HOME, audit, ...options.people } })
  gateway.store.users.setAdmin('carol', true)
  return Object.assign(gateway, { audit })
}

export const pause = async (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

const JSON_BODY = { 'Content-Type': 'application/json' }

export type Who = NonNullable<Call['as']>

/** As an administrator unless somebody else is named; 'nobody': without a certificate. */
export async function ask(
  gateway: Gateway,
  method: string,
  target: string,
  document?: object,
  as: Who | 'nobody' = 'carol',
) {
  const body = document === undefined ? {} : { body: JSON.stringify(document), headers: JSON_BODY }
  return gateway.call(target, { method, ...(as !== 'nobody' && { as }), ...body })
}

export const rowOf = ({ text }: Reply): Row => JSON.parse(text) as Row

/** Until the job has ended. */
export async function ended(
  gateway: Gateway,
  begun: Reply,
): Promise<{ phase: string; handed: number; error?: string }> {
  for (;;) {
    const job = JSON.parse(
      (await gateway.call(`${String(begun.headers['location'])}?wait=30`, { as: 'carol' })).text,
    ) as {
      phase: string
      handed: number
    }
    if (!['PENDING', 'QUEUED', 'EXECUTING'].includes(job.phase)) return job
  }
}

export async function put(gateway: Gateway, path: string, as: Who, body: string | Buffer = 'bytes'): Promise<number> {
  return (await gateway.call(`/files${path}`, { method: 'PUT', as, body })).status
}

export async function ownerOf({ space }: Gateway, path: string): Promise<string | undefined> {
  const node = (await space.backend.walk(nodePath(path))).at(-1)
  return node?.path === path ? node.access.owner : undefined
}

/** A download that the client has not begun to read, or an upload that it does not end. */
export async function hanging(gateway: Gateway, method: 'GET' | 'PUT', target: string, as?: 'alice') {
  const credential = as && credentials[as]
  const own = credential && { cert: chainPem(credential), key: credential.key }
  const options = { host: '127.0.0.1', port: gateway.port, path: gateway.path(target), method, agent: false, ...own }
  const sent = httpsRequest({ ...options, ca: authority.certificate, servername: 'localhost' })
  const answered: { reply?: IncomingMessage } = {}
  const over = new Promise<void>((resolve) => {
    sent.on('error', () => resolve()).on('close', resolve)
    sent.on('response', (reply) => {
      answered.reply = reply
      reply.on('error', () => resolve())
    })
  })
  if (method === 'PUT') sent.write(Buffer.alloc(100_000))
  else sent.end()
  await pause(300)
  /** Reads to the end of the connection; answers how many bytes came. */
  const rest = async (): Promise<number> => {
    let received = 0
    answered.reply?.on('data', (part: Buffer) => (received += part.length))
    await over
    return received
  }
  return { over, rest }
}
