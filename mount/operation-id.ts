// The names under which changes are asked of the gateway. A change made for a request of the kernel has a name that follows
// from the request, so that another driver, asked the same again, gets the answer this one may have got already.
import { AsyncLocalStorage } from 'node:async_hooks'
import { hash, randomBytes } from 'node:crypto'

interface Origin {
  readonly mount: string
  readonly unique: number
  /** How often each question was asked so far. */
  readonly asked: Map<string, number>
}

const current = new AsyncLocalStorage<Origin>()

/** Runs what answers request `unique` of a mount; both together name it for ever. */
export function withinRequest<T>(mount: string, unique: number, call: () => T): T {
  return current.run({ mount, unique, asked: new Map() }, call)
}

/**
 * A UUID for a change: within a request that of this question, asked for the first, second... time; elsewhere a random one.
 * Only for questions whose answer does not hang on bytes that may have changed by the time they are asked again.
 */
export function operationId(question: string): string {
  const origin = current.getStore()
  if (origin === undefined) return randomId()
  const count = (origin.asked.get(question) ?? 0) + 1
  origin.asked.set(question, count)
  return growing(origin.unique, hash('sha256', JSON.stringify([origin.mount, origin.unique, question, count])))
}

/** For a change that is asked for but once. */
export const randomId = (): string => growing(Date.now(), randomBytes(10).toString('hex'))

/** What grows comes first, as in a UUID of version 7 (RFC 9562): the gateway keeps them in their order, and its last pages are at hand. */
function growing(number: number, rest: string): string {
  const first = number.toString(16).padStart(12, '0').slice(-12)
  return `${first.slice(0, 8)}-${first.slice(8)}-${rest.slice(0, 4)}-${rest.slice(4, 8)}-${rest.slice(8, 20)}`
}
