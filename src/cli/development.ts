/**
 * Development identities for the quickstart: a CA of its own, a server certificate for localhost, users with an end-entity certificate
 * and an RFC 3820 proxy. Kept between starts, and made anew shortly before they expire.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
  type Authority,
} from '../identity/mint.ts'
import { readCredential, writeCredential, type Credential } from '../identity/pem.ts'

export interface DevelopmentUser {
  readonly name: string
  /** distinguished name, slash form */
  readonly dn: string
  /** PEM: certificate, key, chain; mode 0600 */
  readonly certificate: string
  readonly proxy: string
}

export interface DevelopmentIdentities {
  readonly ca: string
  readonly server: { readonly certificate: string; readonly key: string }
  readonly users: readonly DevelopmentUser[]
}

const DAY = 86_400_000
const PROXY_HOURS = 168

/** Everything under `folder`, made where it is missing or about to expire. */
export async function developmentIdentities(folder: string, names: readonly string[]): Promise<DevelopmentIdentities> {
  await mkdir(join(folder, 'users'), { recursive: true, mode: 0o700 })
  const { authority, file: ca } = await authorityIn(folder)
  const server = await serverIn(folder, authority)
  const users: DevelopmentUser[] = []
  for (const name of names) users.push(await userIn(folder, authority, name))
  return { ca, server, users }
}

async function authorityIn(folder: string): Promise<{ authority: Authority; file: string }> {
  const file = join(folder, 'ca.pem')
  const secret = join(folder, 'ca-key.pem')
  const kept = await current(secret, 60 * DAY)
  if (kept !== undefined && existsSync(file)) return { authority: kept, file }
  const authority = await mintDevelopmentCa('karst quickstart CA')
  await writeCredential(secret, { ...authority, chain: [] })
  await writeFile(file, authority.certificate)
  return { authority, file }
}

async function serverIn(folder: string, authority: Authority): Promise<{ certificate: string; key: string }> {
  const file = join(folder, 'server.pem')
  if ((await current(file, 30 * DAY, authority)) === undefined) {
    await writeCredential(file, await issueServerCertificate(authority, ['localhost', '127.0.0.1', '::1']))
  }
  return { certificate: file, key: file }
}

async function userIn(folder: string, authority: Authority, name: string): Promise<DevelopmentUser> {
  const certificate = join(folder, 'users', `${name}.pem`)
  const proxy = join(folder, 'users', `${name}-proxy.pem`)
  const subject = [
    ['C', 'CA'],
    ['O', 'karst development'],
    ['OU', 'people'],
    ['CN', name],
  ] as const
  let own = await current(certificate, 30 * DAY, authority)
  const renewed = own === undefined
  if (own === undefined) {
    own = { ...(await issueUserCertificate(authority, subject, 365)), chain: [authority.certificate] }
    await writeCredential(certificate, own)
  }
  if (renewed || (await current(proxy, 2 * DAY)) === undefined) {
    await writeCredential(proxy, await createProxy(own, { hours: PROXY_HOURS }))
  }
  return { name, certificate, proxy, dn: subject.map(([type, value]) => `/${type}=${value}`).join('') }
}

/** The credential in a file, if it is there, lasts `atLeast` milliseconds more, and is of this authority. */
async function current(file: string, atLeast: number, authority?: Authority): Promise<Credential | undefined> {
  if (!existsSync(file)) return undefined
  const credential = await readCredential(file)
  const certificate = new X509Certificate(credential.certificate)
  if (new Date(certificate.validTo).getTime() - Date.now() < atLeast) return undefined
  if (authority !== undefined && !certificate.verify(new X509Certificate(authority.certificate).publicKey)) {
    return undefined
  }
  return credential
}
