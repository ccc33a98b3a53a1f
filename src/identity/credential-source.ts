// The credential a proxy is made from, in the forms in which people keep theirs: PEM in one file or two, the key encrypted or not,
// or PKCS#12.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { Certificate } from './certificate.ts'
import { type Credential, keyPem, pemCertificates, toPem } from './pem.ts'
import { looksLikePkcs12, readPkcs12 } from './pkcs12.ts'
import { type Kept, readKept, readPrivate, refuseOpen } from './private-file.ts'

export interface CredentialFiles {
  readonly certificate: string
  /** absent: it is in the file of the certificate */
  readonly key?: string
}

/** Asked only for a key that is encrypted; `what` is the file it is for. */
export type AskPassphrase = (what: string) => Promise<string>

// A key in the older encrypted form has headers with dashes in them, so not everything between dashes is base64.
const KEY_BLOCK = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/g

/**
 * Reads certificate, key and chain. The certificate is the one that the key belongs to, its chain what is found of its issuers, roots left
 * out. PermissionDenied when others may read the key; InvalidData says what is wrong with a file.
 */
export async function readCredentialFiles(files: CredentialFiles, ask: AskPassphrase): Promise<Credential> {
  const kept = await readKept(files.certificate)
  if (looksLikePkcs12(kept.bytes)) return fromPkcs12(files.certificate, kept, ask)
  const text = kept.bytes.toString('latin1')
  const isWithin = files.key === undefined || files.key === files.certificate
  const keyFile = files.key ?? files.certificate
  if (isWithin && kept.isOpen && text.includes('PRIVATE KEY')) refuseOpen(keyFile)
  const key = await keyIn(isWithin ? text : (await readPrivate(keyFile)).toString('latin1'), keyFile, ask)
  return assemble(pemCertificates(text), [key], files.certificate)
}

async function fromPkcs12(file: string, { bytes, isOpen }: Kept, ask: AskPassphrase): Promise<Credential> {
  if (isOpen) refuseOpen(file)
  const { certificates, keys } = readPkcs12(bytes, await ask(file), file)
  return assemble(certificates, keys, file)
}

async function keyIn(text: string, file: string, ask: AskPassphrase): Promise<KeyObject> {
  const [found, second] = [...text.matchAll(KEY_BLOCK)]
  if (found === undefined) throw new Fault('InvalidData', `${file}: no private key in it`)
  if (second !== undefined) throw new Fault('InvalidData', `${file}: more than one private key in it`)
  const [pem, label = ''] = found
  const isEncrypted = label.startsWith('ENCRYPTED') || pem.includes('4,ENCRYPTED')
  const passphrase = isEncrypted ? await ask(file) : undefined
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    const why = isEncrypted ? 'the passphrase is wrong, or the key is damaged' : 'the private key is damaged'
    throw new Fault('InvalidData', `${file}: ${why}`, { cause: error })
  }
}

function assemble(ders: readonly Buffer[], keys: readonly KeyObject[], file: string): Credential {
  const certificates = ders.map((der) => new Certificate(der))
  if (certificates.length === 0) throw new Fault('InvalidData', `${file}: no certificate in it`)
  for (const key of keys) {
    const leaf = certificates.find((certificate) => certificate.hasKey(key))
    if (leaf === undefined) continue
    const chain = issuersOf(leaf, certificates).map(({ der }) => toPem('CERTIFICATE', der))
    return { certificate: toPem('CERTIFICATE', leaf.der), key: keyPem(key), chain }
  }
  const why = keys.length === 0 ? 'no private key in it' : 'the private key belongs to none of the certificates'
  throw new Fault('InvalidData', `${file}: ${why}`)
}

function issuersOf(leaf: Certificate, among: readonly Certificate[]): Certificate[] {
  const chain: Certificate[] = []
  for (let below = leaf; chain.length < among.length;) {
    const issuer = among.find((one) => one.subjectKey === below.issuerKey && one !== below && below.isSignedBy(one))
    if (issuer === undefined || issuer.isSelfIssued) break
    chain.push(issuer)
    below = issuer
  }
  return chain
}
