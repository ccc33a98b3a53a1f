/** Which mount a change comes from: it knows of it already, and the change stream spares it the news. */
import { AsyncLocalStorage } from 'node:async_hooks'

const origins = new AsyncLocalStorage<string>()

/** What `work` changes is noted as that mount's. */
export function withOrigin<T>(mount: string | undefined, work: () => T): T {
  return mount === undefined ? work() : origins.run(mount, work)
}

/** undefined: of no mount. */
export const originOfChanges = (): string | undefined => origins.getStore()
