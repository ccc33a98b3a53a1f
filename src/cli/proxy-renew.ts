/** `karst proxy renew`: for cron. A new proxy before the old one ends, of the same kind and person; on failure the old one stays. */
import { existsSync, realpathSync } from 'node:fs'
import { proxyEnvironment } from '../environment.ts'
import { readCredential, writeCredential } from '../identity/pem.ts'
import { describeCredential, type ProxyReport } from '../identity/proxy-report.ts'
import { Fault } from '../vospace/fault.ts'
import { hoursIn } from './proxy-hours.ts'
import { type InitWords, makeProxy, readSource, shapeOf, sourceFiles, tell } from './proxy-init.ts'

const DEFAULT_WITHIN = 4

export interface RenewWords extends InitWords {
  readonly within?: string | undefined
}

export async function renewProxy(words: RenewWords): Promise<number> {
  const within = hoursIn('--within', words.within) ?? DEFAULT_WITHIN
  const shape = shapeOf(words)
  const out = words.out ?? proxyEnvironment().proxy
  const old = existsSync(out) ? describeCredential(await readCredential(out)) : undefined
  if (old !== undefined && old.expires.getTime() - Date.now() >= within * 3_600_000) return 0
  if (old !== undefined) checkApart(out, sourceFiles(words).certificate)
  const source = await readSource(words)
  const made = await makeProxy(
    source,
    old === undefined ? shape : { ...kindOf(old), ...shape, limited: shape.limited || old.limited },
  )
  const report = describeCredential(made)
  if (old !== undefined) checkBetter(old, report)
  await writeCredential(out, made)
  tell(out, report, shape.hours)
  return 0
}

function checkApart(out: string, source: string): void {
  if (existsSync(source) && realpathSync(source) === realpathSync(out)) {
    throw new Fault(
      'InvalidArgument',
      `${out} cannot be renewed from itself: name a longer-lived one with --certificate`,
    )
  }
}

const kindOf = ({ key, pathLength }: ProxyReport): { newKey?: 'rsa' | 'ec'; pathLen?: number } => ({
  ...(key !== 'other' && { newKey: key }),
  ...(pathLength !== Infinity && { pathLen: pathLength }),
})

function checkBetter(old: ProxyReport, made: ProxyReport): void {
  if (!old.isProxy)
    throw new Fault('InvalidArgument', 'what is there is no proxy, but an end entity: it is left as it is')
  if (old.dn !== made.dn) {
    throw new Fault(
      'InvalidArgument',
      `the proxy that is there is of ${old.identity}, the new one would be of ${made.identity}`,
    )
  }
  if (made.expires <= old.expires) {
    const end = made.expires.toISOString()
    throw new Fault(
      'InvalidArgument',
      `a new proxy would end at ${end} and no later than the old one: renew the certificate`,
    )
  }
}
