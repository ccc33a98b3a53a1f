// The credentials of a session while it runs: a proxy of its own, made from the user's and renewed in time, and those of its partitions.
import { writeWhole } from './run-folder.ts'

const fs = process.getBuiltinModule('node:fs')

/** Milliseconds between two looks at what is due; Node counts them in 31 bits at most. */
const LONGEST = 3_600_000
const AGAIN = 10_000

export interface NewProxy {
  /** PEM: certificate, key, chain */
  readonly text: string
  /** milliseconds since 1970 */
  readonly due: number
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

/** A CA under the name by which programs look for it. */
export interface NamedCertificate {
  readonly name: string
  readonly pem: string
}

const SITE = '/etc/grid-security/certificates'

export const hasSiteFolder = (): boolean => fs.existsSync(SITE)

/** Where the CAs are that programs of the session are to trust; the site's own folder counts for more. */
export function certificateFolder(
  folder: string,
  ca: string | undefined,
  authorities: readonly NamedCertificate[],
): string | undefined {
  if (hasSiteFolder()) return SITE
  if (ca === undefined) return undefined
  copyOpen(ca, `${folder}/karst-ca.pem`)
  for (const { name, pem } of authorities) writeWhole(`${folder}/${name}`, pem, 0o644)
  return folder
}

/** For everybody to read. */
export function copyOpen(from: string, to: string): void {
  fs.copyFileSync(from, to)
  fs.chmodSync(to, 0o644)
}
