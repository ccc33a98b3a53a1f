/** Where what is done comes from: the request that it is done for, known to whoever works for it without being handed on. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { type FastifyRequest } from 'fastify'
import { isFault } from '../vospace/fault.ts'
import { loggedOf } from './target.ts'
import { type HttpServices } from './services.ts'

const current = new AsyncLocalStorage<FastifyRequest | undefined>()

/** What is begun within `work` is of this request. */
export const within = <T>(request: FastifyRequest, work: () => T): T => current.run(request, work)

/** What is begun within `work` is nobody's: jobs, which outlive who has asked for them. */
export const aside = <T>(work: () => T): T => current.run(undefined, work)

/** For the audit: who has asked, by what credential, and from where. */
export function originOf() {
  const request = current.getStore()
  if (request === undefined) return undefined
  const { user, method, dn, subject } = request.caller
  const address = request.raw.socket.remoteAddress
  return {
    request: request.id,
    ...(address !== undefined && { address }),
    ...(user !== undefined && { user }),
    ...(method !== undefined && { method }),
    ...(dn !== undefined && { dn }),
    ...(subject !== undefined && { subject }),
  }
}

/** Why a request was refused, for the audit. */
const reasons = new WeakMap<FastifyRequest, { readonly fault: string; readonly reason: string }>()

/** A refusal that is about who asks. */
export function noteReason(request: FastifyRequest, error: unknown): void {
  if (!isFault(error, 'PermissionDenied', 'NotAuthenticated')) return
  reasons.set(request, { fault: error.fault, reason: error.detail })
}

/** A request that ended in 401 or 403 goes to the audit. */
export function auditRefusal({ audit }: HttpServices, request: FastifyRequest, status: number): void {
  if (audit === undefined || (status !== 401 && status !== 403)) return
  const { fault = '', reason = '' } = reasons.get(request) ?? {}
  within(request, () =>
    audit.note({
      act: 'request',
      by: request.caller.user ?? null,
      on: loggedOf(request.raw),
      result: 'refused',
      detail: { http: request.method, status, fault, reason },
    }),
  )
}
