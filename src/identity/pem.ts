// Credential files: a PEM bundle of certificate, private key and issuer chain, as grid tools, curl and Python read it.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Fault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { writePrivate } from './private-file.ts'

export interface PemBlock {
  readonly label: string
  readonly der: Buffer
  readonly text: string
}

/** What a client needs to be somebody. Every text is PEM; the key is PKCS#1 (RSA) or SEC1 (EC). */
export interface Credential {
  readonly certificate: string
  readonly key: string
  /** The issuers of the certificate, nearest first, without the anchor. */
  readonly chain: readonly string[]
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g

/** The blocks of a PEM text (RFC 7468), whatever stands between them. */
export function pemBlocks(text: string): PemBlock[] {
  return [...text.matchAll(BLOCK)].map(([whole, label = '', body = '']) => ({
    label,
    der: Buffer.from(body, 'base64'),
    text: `${whole}\n`,
  }))
}

/** One PEM block, 64 characters a line (RFC 7468). */
export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** The certificates of a PEM text as DER, in their order. */
export function pemCertificates(text: string): Buffer[] {
  return pemBlocks(text).flatMap(({ label, der }) => (label === 'CERTIFICATE' ? [der] : []))
}

/** A private key in the oldest form there is for it, which grid tools still want: PKCS#1 for RSA, SEC1 for EC. */
export function keyPem(key: KeyObject): string {
  const type = key.asymmetricKeyType === 'rsa' ? 'pkcs1' : key.asymmetricKeyType === 'ec' ? 'sec1' : 'pkcs8'
  return key.export({ type, format: 'pem' }).toString()
}

/** Writes certificate, key and chain as writePrivate does: mode 0600, whole or not at all. The folder must exist. */
export async function writeCredential(file: string, credential: Credential): Promise<void> {
  await writePrivate(file, credentialText(credential))
}

/** The bundle as a text, in the order that grid tools want: certificate, key, chain. */
export const credentialText = ({ certificate, key, chain }: Credential): string => [certificate, key, ...chain].join('')

/**
 * Reads a credential file: the first certificate is the one the key belongs to, the others are its chain.
 * InvalidData says what is wrong with it; a file that cannot be read is the system's error.
 */
export async function readCredential(file: string): Promise<Credential> {
  return parseCredential(await readFile(file, 'latin1'), file)
}

/** As readCredential, from a text; `name` is what messages call it. */
export function parseCredential(text: string, name: string): Credential {
  const refuse = (why: string, cause?: unknown): never => {
    throw new Fault('InvalidData', `${name}: ${why}`, { cause })
  }
  const blocks = pemBlocks(text)
  const [leaf, ...chain] = blocks.filter(({ label }) => label === 'CERTIFICATE')
  const [keyBlock, secondKey] = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'))
  if (!leaf) return refuse('no certificate in it')
  if (!keyBlock) {
    return refuse(text.includes('ENCRYPTED') ? 'the private key is encrypted' : 'no private key in it')
  }
  if (secondKey) return refuse('more than one private key in it')
  if (keyBlock.label.startsWith('ENCRYPTED')) return refuse('the private key is encrypted')
  let key: KeyObject
  let matches: boolean
  try {
    key = createPrivateKey(keyBlock.text)
    matches = new Certificate(leaf.der).hasKey(key)
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), error)
  }
  if (!matches) return refuse('the private key is not the one of the first certificate')
  return { certificate: leaf.text, key: keyPem(key), chain: chain.map((block) => block.text) }
}
