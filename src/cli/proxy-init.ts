/** `karst proxy init`: a proxy from a longer-lived credential, into the file where programs look for it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { proxyEnvironment } from '../environment.ts'
import { type CredentialFiles, readCredentialFiles } from '../identity/credential-source.ts'
import { createProxy, type KeyKind } from '../identity/mint.ts'
import { OID } from '../identity/oid.ts'
import { type Credential, writeCredential } from '../identity/pem.ts'
import { describeCredential, type ProxyReport } from '../identity/proxy-report.ts'
import { Fault } from '../vospace/fault.ts'
import { complain, say, UsageError } from './command.ts'
import { passphraseFrom } from './passphrase.ts'
import { hoursIn } from './proxy-hours.ts'

/** As written on the command line; absent: the default. */
export interface InitWords {
  readonly certificate?: string | undefined
  readonly 'certificate-key'?: string | undefined
  readonly 'passphrase-file'?: string | undefined
  readonly key?: string | undefined
  readonly 'path-length'?: string | undefined
  readonly limited?: boolean | undefined
  readonly hours?: string | undefined
  readonly out?: string | undefined
}

/** What a proxy shall be like. */
export interface ProxyShape {
  readonly hours: number
  readonly newKey?: KeyKind
  readonly pathLen?: number
  readonly limited: boolean
}

const DEFAULT_HOURS = 12
const KEYS: Readonly<Record<string, KeyKind>> = { 'rsa:2048': 'rsa', 'ec:P-256': 'ec' }

export async function initProxy(words: InitWords): Promise<number> {
  const shape = shapeOf(words)
  const out = words.out ?? proxyEnvironment().proxy
  const source = await readSource(words)
  const made = await makeProxy(source, shape)
  await writeCredential(out, made)
  tell(out, describeCredential(made), shape.hours)
  return 0
}

/** The shape asked for. UsageError for wrong words. */
export function shapeOf(words: InitWords): ProxyShape {
  const newKey = words.key === undefined ? undefined : KEYS[words.key]
  if (words.key !== undefined && newKey === undefined) throw new UsageError('--key is rsa:2048 or ec:P-256')
  const pathLen = words['path-length']
  if (pathLen !== undefined && !/^\d{1,4}$/.test(pathLen)) throw new UsageError('--path-length is a count of proxies')
  return {
    hours: hoursIn('--hours', words.hours) ?? DEFAULT_HOURS,
    limited: words.limited === true,
    ...(newKey !== undefined && { newKey }),
    ...(pathLen !== undefined && { pathLen: Number(pathLen) }),
  }
}

/** Certificate, key and chain, from the files named or from where grid tools look. Faults as readCredentialFiles. */
export async function readSource(words: InitWords): Promise<Credential> {
  return await readCredentialFiles(sourceFiles(words), passphraseFrom(words['passphrase-file']))
}

/** Which files a proxy is made from. NodeNotFound when none is named and none is there. */
export function sourceFiles(words: InitWords): CredentialFiles {
  const named = words['certificate-key']
  if (words.certificate !== undefined)
    return { certificate: words.certificate, ...(named !== undefined && { key: named }) }
  if (named !== undefined) throw new UsageError('--certificate-key goes with --certificate')
  const { certificate, key, folder } = proxyEnvironment()
  if (certificate !== undefined) return { certificate, ...(key !== undefined && { key }) }
  const pair = { certificate: join(folder, 'usercert.pem'), key: join(folder, 'userkey.pem') }
  const bundle = join(folder, 'usercred.p12')
  if (existsSync(pair.certificate) || !existsSync(bundle)) {
    if (existsSync(pair.certificate)) return pair
    throw new Fault('NodeNotFound', `no credential in ${folder}: name one with --certificate, or set X509_USER_CERT`)
  }
  return { certificate: bundle }
}

/** A proxy of that shape below `source`, with the whole chain. InvalidArgument when it cannot have one. */
export async function makeProxy(source: Credential, { limited, ...shape }: ProxyShape): Promise<Credential> {
  return await createProxy(source, { ...shape, ...(limited && { policy: OID.limited }) })
}

/** What was made, and where its end is not the one asked for. */
export function tell(out: string, { identity, type, expires }: ProxyReport, hours: number): void {
  say(`${type} of ${identity}`)
  say(`in ${out}, good until ${expires.toISOString()}`)
  // a minute for making it
  if (expires.getTime() < Date.now() + hours * 3_600_000 - 60_000) {
    complain(`karst proxy: not ${hours} hours: the credential it is made from ends at ${expires.toISOString()}`)
  }
}
