// The credentials of a session while it runs: a proxy of its own, made from the user's and renewed in time, and those of its partitions.
import * as fs from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { createProxy } from '../../src/identity/mint.ts'
import { Certificate } from '../../src/identity/certificate.ts'
import { credentialText, pemBlocks, readCredential } from '../../src/identity/pem.ts'
import { subjectHash } from '../../src/identity/subject-hash.ts'
import { writeWhole } from './run-folder.ts'

/** Milliseconds between two looks at what is due; Node counts them in 31 bits at most. */
const LONGEST = 3_600_000
const AGAIN = 10_000

export interface NewProxy {
  /** PEM: certificate, key, chain */
  readonly text: string
  /** milliseconds since 1970 */
  readonly due: number
}

/** A new proxy of a user's certificate or proxy, which is read anew each time; when the next one is due: halfway to its end. */
export async function newProxy(source: string, hours: number): Promise<NewProxy> {
  const proxy = await createProxy(await readCredential(source), { hours, newKey: 'ec' })
  const now = Date.now()
  const due = now + (new X509Certificate(proxy.certificate).validToDate.getTime() - now) / 2
  return { text: credentialText(proxy), due }
}

/** Does `renew` whenever it is due, which answers when that is next; told of failures once, and tried again soon. Answers how to end it. */
export function renewing(first: number, renew: () => Promise<number>, failed: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let isTold = false
  const wait = (due: number): void => {
    const left = Math.min(Math.max(due - Date.now(), 1000), LONGEST)
    timer = setTimeout(() => void look(due), left)
    timer.unref()
  }
  const look = async (due: number): Promise<void> => {
    if (Date.now() < due) return wait(due)
    try {
      const next = await renew()
      isTold = false
      wait(next)
    } catch (error) {
      if (!isTold) failed(error)
      isTold = true
      wait(Date.now() + AGAIN)
    }
  }
  wait(first)
  return () => clearTimeout(timer)
}

/** Where the CAs are that programs of the session are to trust; the site's own folder counts for more. */
export function certificateFolder(folder: string, ca: string | undefined): string | undefined {
  const site = '/etc/grid-security/certificates'
  if (fs.existsSync(site)) return site
  if (ca === undefined) return undefined
  copyOpen(ca, `${folder}/karst-ca.pem`)
  linkByHash(fs.readFileSync(ca, 'latin1'), folder)
  return folder
}

/** Each CA under the name by which OpenSSL, curl and grid tools look for it: hash of its subject, and a number for those that are alike in it. */
function linkByHash(text: string, folder: string): void {
  const count = new Map<string, number>()
  for (const { label, der, text: pem } of pemBlocks(text)) {
    if (label !== 'CERTIFICATE') continue
    const hash = subjectHash(new Certificate(der).subjectDer)
    const number = count.get(hash) ?? 0
    count.set(hash, number + 1)
    writeWhole(`${folder}/${hash}.${number}`, pem, 0o644)
  }
}

/** For everybody to read. */
export function copyOpen(from: string, to: string): void {
  fs.copyFileSync(from, to)
  fs.chmodSync(to, 0o644)
}
