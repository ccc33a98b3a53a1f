// Certificates of a session that are made: its proxy, and the folder of CAs as OpenSSL looks into it. Much is loaded for it.
import { X509Certificate } from 'node:crypto'
import { createProxy } from '../../src/identity/mint.ts'
import { Certificate } from '../../src/identity/certificate.ts'
import { credentialText, pemBlocks, readCredential } from '../../src/identity/pem.ts'
import { subjectHash } from '../../src/identity/subject-hash.ts'
import { type NamedCertificate, type NewProxy } from './credential.ts'

/** A new proxy of a user's certificate or proxy, which is read anew each time; when the next one is due: halfway to its end. */
export async function newProxy(source: string, hours: number): Promise<NewProxy> {
  const proxy = await createProxy(await readCredential(source), { hours, newKey: 'ec' })
  const now = Date.now()
  const due = now + (new X509Certificate(proxy.certificate).validToDate.getTime() - now) / 2
  return { text: credentialText(proxy), due }
}

/** Each CA under the name by which OpenSSL, curl and grid tools look for it: hash of its subject, and a number for those that are alike in it. */
export function namedByHash(text: string): NamedCertificate[] {
  const count = new Map<string, number>()
  return pemBlocks(text).flatMap(({ label, der, text: pem }) => {
    if (label !== 'CERTIFICATE') return []
    const hash = subjectHash(new Certificate(der).subjectDer)
    const number = count.get(hash) ?? 0
    count.set(hash, number + 1)
    return [{ name: `${hash}.${number}`, pem }]
  })
}
