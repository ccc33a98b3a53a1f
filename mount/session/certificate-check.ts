// Whether a credential can be used at all, before a session is begun with it. A good one costs no more than the runtime's own reading of it.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readCredential } from '../../src/identity/pem.ts'
import { describeCredential } from '../../src/identity/proxy-report.ts'
import { Fault, isFault } from '../../src/vospace/fault.ts'

const { readFileSync } = process.getBuiltinModule('node:fs')

/** NotAuthenticated with what is wrong and what to do about it. */
export async function checkCertificate(file: string): Promise<void> {
  if (!(await isGood(file))) await explain(file)
}

async function isGood(file: string): Promise<boolean> {
  try {
    const text = readFileSync(file, 'latin1')
    const found = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
    const [leaf, ...chain] = found.map((pem) => new X509Certificate(pem))
    if (leaf?.checkPrivateKey(createPrivateKey(text)) !== true) return false
    return [leaf, ...chain].every(({ validToDate }) => validToDate.getTime() > Date.now())
  } catch {
    return false // why is said by who reads it more closely
  }
}

async function explain(file: string): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    const mend = 'make a proxy (karst proxy init), or name a certificate that is good (--certificate, X509_USER_PROXY)'
    throw new Fault('NotAuthenticated', `${file} ${why}: ${mend}`, { cause })
  }
  try {
    const { expires } = describeCredential(await readCredential(file))
    if (expires.getTime() <= Date.now()) refuse(`ended at ${expires.toISOString()}`)
  } catch (error) {
    if (isFault(error, 'NotAuthenticated')) throw error
    const { code } = error as NodeJS.ErrnoException
    const why = isFault(error) ? error.detail.replace(`${file}: `, '') : (code ?? String(error))
    refuse(`cannot be used (${why})`, error)
  }
}
