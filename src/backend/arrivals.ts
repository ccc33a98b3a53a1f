/** Bytes that clients bring to a storage themselves, past the gateway: what is awaited, and who decides whether a node gets it. */
import { type Entry } from '../vospace/node.ts'
import { type FaultName } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type PutOptions } from './backend.ts'

/** What is to come, as it was negotiated. */
export interface Awaited {
  readonly path: NodePath
  /** by whose leave; kept, and shown to the judge again */
  readonly token: string
  readonly job?: string
  /** bytes, where that was announced */
  readonly length?: number
  /** 32 hex digits, where that was announced */
  readonly md5?: string
}

export interface Arrival extends Awaited {
  /** bytes that have come */
  readonly size: number
  /** media type that the client has said */
  readonly type?: string
}

export type ArrivalEnd =
  | { readonly entry: Entry; readonly isNew: boolean }
  /** a node has the bytes, and who took them did not live to tell */
  | { readonly taken: true }
  | { readonly fault: FaultName }

export interface Judge {
  /** How the node is put; asked before anything is done with the bytes, and again before the node gets them. Throws why it gets none. */
  permit(arrival: Arrival): Promise<PutOptions>
  /** Told of each once, and once more only after a crash. */
  ended(awaited: Awaited, end: ArrivalEnd): void
  /** Within which a node gets its bytes. Absent: nobody has to know. */
  around?<T>(path: NodePath, work: () => Promise<T>): Promise<T>
}

export interface Arrivals {
  /**
   * A URL at which whoever holds it puts one object of at most 5 GiB, which becomes the bytes of the node at the path; from now on it is awaited, over
   * restarts too. `issue` makes the token, good for so many seconds: longer than the URL, since a put that is begun in time may end later.
   * OperationNotSupported: of that length there are none, too many are awaited, or the place is of an import.
   */
  expect(awaited: Omit<Awaited, 'token'>, issue: (seconds: number) => string): Promise<URL>
  /** Whether something is awaited for a node. */
  isAwaited(path: NodePath): boolean
  /**
   * Looks whether something has come, of one job, for one node, or at all, the first that came first, and asks the judge about it. What is refused
   * with a fault that would be the same a moment later is done away with; else it waits for the next look. Rejects when the storage does not answer.
   */
  settle(judge: Judge, of?: { readonly job: string } | { readonly path: NodePath }): Promise<void>
}
