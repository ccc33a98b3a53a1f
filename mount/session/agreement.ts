// What a session agrees on with the gateway, and the certificates that are made for it: by the driver of the node where there is one, which has all
// of this loaded and a connection at hand; else by the launcher itself.
import { named, secretsWith } from '../asking.ts'
import { type Agreement, type AgreementRequest, credentialFiles, type Outcome } from './agreement-request.ts'
import { checkCertificate } from './certificate-check.ts'
import { hasSiteFolder } from './credential.ts'
import { namedByHash, newProxy } from './new-proxy.ts'
import { type Agreed, type Ask, negotiate } from './terms.ts'

/** Throws Faults where something is wrong with the files of a request, before the gateway is asked for anything. */
export async function checkFiles(request: AgreementRequest): Promise<void> {
  const { certificate, ca } = request
  if (certificate !== undefined) await checkCertificate(certificate)
  secretsWith(credentialFiles(request), ca)
}

/** The files are good. Throws Faults where it is not about one partition. */
export async function agree(request: AgreementRequest, ask: Ask): Promise<Agreement> {
  const { plan, name, binds, certificate, proxyHours, ca } = request
  const proxy = certificate === undefined ? undefined : newProxy(certificate, proxyHours)
  // it is waited for below
  proxy?.catch(() => undefined)
  const outcomes = await Promise.all(plan.map((planned) => outcomeOf(negotiate(ask, planned, name, binds))))
  const made = await proxy
  return {
    outcomes,
    ...(made !== undefined && { proxy: made }),
    authorities: ca === undefined || hasSiteFolder() ? [] : namedByHash(named('the CA', ca).toString('latin1')),
  }
}

async function outcomeOf(one: Promise<Agreed>): Promise<Outcome> {
  try {
    return { agreed: await one }
  } catch (error) {
    const { code, errno } = error as { code?: string; errno?: string }
    return { error: error instanceof Error ? error.message : String(error), code: code ?? errno ?? 'EIO' }
  }
}
