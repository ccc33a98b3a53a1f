/** What locks across mounts and the change stream need of the gateway (schemas/fs-v1.md, "Locks", "Changes"), over HTTPS. */
import { entryFromJson, type SeenEntry } from '../src/codec/fs-v1.ts'
import { isFault } from '../src/vospace/fault.ts'
import { type LockKind, type LockType, TO_THE_END } from '../src/vospace/lock.ts'
import { type NodePath } from '../src/vospace/path.ts'
import { bytesOf, partsOf, type Call, type Exchange } from './exchange.ts'
import { jsonValues } from './ndjson.ts'
import { malformed } from './refusal.ts'
import { type RemoteRef } from './remote.ts'

export interface LeaseLock {
  readonly session: string
  readonly kind: LockKind
  readonly owner: string
  readonly type: LockType
  readonly start: number
  readonly end: number
  readonly pid: number
}

export interface LeaseHolder {
  readonly start: number
  readonly end: number
  readonly type: LockType
  readonly pid: number
}

export type LeaseAnswer =
  | { readonly granted: true; readonly entry: SeenEntry; readonly seq: number }
  | { readonly granted: false; readonly waiting: boolean; readonly holder: LeaseHolder }

/** NodeNotFound with ENOLCK: the session is over. Repeating any of them is harmless. */
export interface LeaseCalls {
  /** `ttl`: milliseconds that a session lives without being renewed */
  open(): Promise<{ readonly session: string; readonly ttl: number }>
  renew(session: string): Promise<number>
  end(session: string): Promise<void>
  /** With a ticket it waits, for a while; `waits`: whether it may hold the call that long. */
  lock(ref: RemoteRef, lock: LeaseLock, wait?: LeaseWait): Promise<LeaseAnswer>
  test(ref: RemoteRef, lock: LeaseLock): Promise<LeaseHolder | undefined>
  unlock(id: string, lock: Omit<LeaseLock, 'type' | 'pid'>): Promise<void>
  forget(session: string, ticket: string): Promise<void>
}

export interface LeaseWait {
  readonly ticket: string
  readonly isLong: boolean
  readonly signal?: AbortSignal | undefined
}

export interface ChangeFeed {
  /** The lines of the change stream as they come, after `since` or from now on; it ends when it likes. */
  changes(path: NodePath, since: number | undefined, signal: AbortSignal): Promise<AsyncIterable<unknown>>
}

/** milliseconds that a call waits for a lock at most */
const LONGEST_WAIT = 20_000

/** `base`: path of the mount API; `mount`: who makes the changes that the stream leaves out; `patience`: seconds until a call is given up. */
export function leaseCalls(exchange: Exchange, base: string, mount: string, patience: number): LeaseCalls & ChangeFeed {
  const post = <T>(
    call: string,
    document: object,
    from: (value: unknown) => T,
    more: Partial<Call<T>> = {},
  ): Promise<T> =>
    exchange.send({
      method: 'POST',
      target: `${base}/${call}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(document),
      isShort: true,
      accept: async (answer) => checked(await bytesOf(answer), from),
      ...more,
    })
  const remove = (query: string): Promise<void> =>
    exchange.send({
      method: 'DELETE',
      target: `${base}/lease?${query}`,
      isShort: true,
      accept: async (a) => void (await bytesOf(a)),
    })
  const longest = Math.min(LONGEST_WAIT, patience * 250)
  return {
    open: () => post('lease/session', {}, sessionFrom),
    // not to wait for what others do: the locks would be lost
    renew: (session) => post('lease/renew', { session }, locksFrom, { isWaiting: true }),
    end: (session) => remove(`session=${session}`),
    forget: (session, ticket) => remove(`session=${session}&ticket=${ticket}`),
    lock: (ref, lock, wait) => {
      const waiting = wait && { ticket: wait.ticket, wait: wait.isLong ? longest : 0 }
      const more = { signal: wait?.signal, isWaiting: wait?.isLong === true }
      return post('lease', { ...ref, ...documentOf(lock), ...waiting }, answerFrom, more)
    },
    test: (ref, lock) => post('lease', { ...ref, ...documentOf(lock), test: true }, foundFrom),
    unlock: (id, lock) => post('lease', { ...documentOf(lock), id, type: 'unlock' }, () => undefined),
    async changes(path, since, signal) {
      const query = `path=${encodeURIComponent(path)}&mount=${mount}${since === undefined ? '' : `&since=${since}`}`
      const target = `${base}/changes?${query}`
      return exchange.send({
        method: 'GET',
        target,
        signal,
        isWaiting: true,
        accept: async (a) => jsonValues(partsOf(a)),
      })
    },
  }
}

/** Without `end` where it goes on to the end of the file. */
function documentOf<T extends { readonly end: number }>({ end, ...rest }: T): object {
  return end === TO_THE_END ? rest : { ...rest, end }
}

function checked<T>(bytes: Buffer, from: (value: unknown) => T): T {
  try {
    return from(JSON.parse(bytes.toString('utf8')))
  } catch (error) {
    if (isFault(error, 'InternalFault')) throw error
    throw malformed(bytes.toString('utf8', 0, 200), error)
  }
}

function sessionFrom(value: unknown): { session: string; ttl: number } {
  const { session, ttl } = value as { session: unknown; ttl: unknown }
  if (typeof session !== 'string' || !/^[0-9a-f-]{36}$/i.test(session)) throw malformed('session')
  return { session, ttl: count(ttl) * 1000 }
}

const locksFrom = (value: unknown): number => count((value as { locks: unknown }).locks)

function answerFrom(value: unknown): LeaseAnswer {
  const { granted, waiting, holder, entry, seq } = value as Record<string, unknown>
  if (granted === true) return { granted, entry: entryFromJson(entry), seq: count(seq) }
  return { granted: false, waiting: waiting === true, holder: holderFrom(holder) }
}

function foundFrom(value: unknown): LeaseHolder | undefined {
  const { granted, holder } = value as Record<string, unknown>
  return granted === true ? undefined : holderFrom(holder)
}

function holderFrom(value: unknown): LeaseHolder {
  const { start, end, type, pid } = value as Record<string, unknown>
  if (type !== 'read' && type !== 'write') throw malformed('type of a lock')
  return { start: count(start), end: end === undefined ? TO_THE_END : count(end), type, pid: count(pid) }
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed(`no count: ${String(value)}`)
  return value
}
