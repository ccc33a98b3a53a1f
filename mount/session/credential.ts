// The credentials of a session while it runs: a proxy of its own, made from the user's and renewed in time, and those of its partitions.
import * as fs from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { createProxy } from '../../src/identity/mint.ts'
import { credentialText, readCredential } from '../../src/identity/pem.ts'
import { writeWhole } from './run-folder.ts'

/** Milliseconds between two looks at what is due; Node counts them in 31 bits at most. */
const LONGEST = 3_600_000
const AGAIN = 10_000

export interface ProxyOptions {
  /** certificate or proxy of the user, read anew at each renewal */
  readonly source: string
  readonly file: string
  readonly hours: number
  /** absent: whoever runs the session */
  readonly owner?: { readonly uid: number; readonly gid: number }
}

/** Writes a new proxy, mode 0600; answers when the next one is due, milliseconds since 1970: halfway to its end. */
export async function writeProxy({ source, file, hours, owner }: ProxyOptions): Promise<number> {
  const proxy = await createProxy(await readCredential(source), { hours, newKey: 'ec' })
  writeWhole(file, credentialText(proxy), 0o600, owner)
  const now = Date.now()
  return now + (new X509Certificate(proxy.certificate).validToDate.getTime() - now) / 2
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
  fs.copyFileSync(ca, `${folder}/karst-ca.pem`)
  fs.chmodSync(`${folder}/karst-ca.pem`, 0o644)
  return folder
}
