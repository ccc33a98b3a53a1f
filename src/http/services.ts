/** What the HTTP layer needs, put together by app.ts. */
import { type FastifyBaseLogger } from 'fastify'
import { type Accounts } from '../identity/accounts.ts'
import { type Audit } from '../identity/audit.ts'
import { type Callers } from '../identity/caller.ts'
import { type CredentialService } from '../identity/credential-service.ts'
import { type Delegations } from '../identity/delegation.ts'
import { type ForwardedOptions } from '../identity/forwarded.ts'
import { type GroupRules } from '../identity/groups.ts'
import { type PosixMapping } from '../identity/posix-mapping.ts'
import { type People } from '../space/access.ts'
import { type ChangeOrigin, type ChangeStreams } from '../space/change-stream.ts'
import { type PutDataOptions } from '../space/filesystem.ts'
import { type Leases } from '../space/leases.ts'
import { type Preauth } from '../space/preauth.ts'
import { type Space } from '../space/space.ts'
import { type FaultName } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type Job, type Phase } from '../vospace/transfer.ts'
import { type Service } from '../vospace/uri.ts'
import { type SignOn } from './challenge.ts'
import { type Traffic } from './limits.ts'
import { type PartitionServices } from './partitions.ts'
import { type ProxyProtocolOptions } from './proxy-protocol.ts'

export interface HttpServices {
  readonly space: Space
  readonly preauth: Preauth
  readonly jobs: Jobs
  readonly operations: Operations
  readonly callers: Callers
  /** what challenges tell; certificates are always taken */
  readonly signOn?: SignOn
  /** absent: nothing can be delegated */
  readonly delegations?: Delegations
  /** absent: no certificates are issued */
  readonly credentials?: CredentialService
  /** absent: accounts are not administered here */
  readonly accounts?: Accounts
  /** absent: nothing is mounted by negotiation */
  readonly mounting?: PartitionServices
  /** administrators whose mounts may act for everybody; absent: none */
  readonly trustedMounts?: readonly string[]
  /** absent: mounts cannot lock across each other */
  readonly leases?: Leases
  /** absent: mounts find out by themselves what has changed */
  readonly changes?: ChangeStreams
  /** absent: everybody may ask for as much as they like */
  readonly traffic?: Traffic
  /** absent: no groups are managed or told here */
  readonly groups?: GroupRules
  /** told of refusals */
  readonly audit?: Audit
  /** absent: nobody is told who may what, and why, and pre-authorised URLs of users are refused */
  readonly people?: People
  /** what clients bring to the storage itself; absent: all bytes come through here */
  readonly pushes?: Pushes
  /** absent: names and numbers are not told */
  readonly mapping?: PosixMapping
  /** fronts that end TLS; absent: no header says who somebody is */
  readonly forwardedCertificates?: ForwardedOptions
  readonly health: Health
  /**
   * The service as clients see it: `https://host:port/karst`, no slash at the end. Asked for at every use, so that it may be a getter
   * (the port can be known only after listening); its path must not change.
   */
  readonly publicUrl: string
  readonly service: Service
  readonly logger: FastifyBaseLogger
  /** of the software, for the Server header */
  readonly version: string
  /** VOSpace to the letter where clients want otherwise: DELETE answers 204 */
  readonly strict: boolean
  readonly limits?: Partial<HttpLimits>
  /** false: HTTP/1.1 alone */
  readonly http2?: boolean
  /** load balancers that tell whose connection it is; absent: none is believed */
  readonly proxyProtocol?: ProxyProtocolOptions
}

/** Bytes and milliseconds. */
export interface HttpLimits {
  /** XML and form bodies */
  readonly document: number
  /** documents of transfers, which are kept with their jobs */
  readonly transfer: number
  /** JSON bodies of /fs/v1 */
  readonly json: number
  /** request line and headers */
  readonly headers: number
  /** until the headers are complete */
  readonly headersTimeout: number
  /** until a document is complete */
  readonly documentTimeout: number
  /** without a byte from a client that is sending or receiving */
  readonly idleTimeout: number
  readonly keepAliveTimeout: number
  /** of an upload already refused, read so that the client gets to see why */
  readonly drainedBytes: number
  readonly drainedTime: number
  /** of a stream of changes: its reader asks again, and is authenticated again */
  readonly streamLife: number
  /** between two lines of it */
  readonly heartbeat: number
}

export const HTTP_LIMITS: HttpLimits = {
  document: 1 << 20,
  transfer: 1 << 16,
  json: 1 << 16,
  headers: 1 << 16,
  headersTimeout: 30_000,
  documentTimeout: 60_000,
  idleTimeout: 120_000,
  keepAliveTimeout: 75_000,
  drainedBytes: 64 << 20,
  drainedTime: 10_000,
  streamLife: 10_000,
  heartbeat: 2_000,
}

/** Bytes that may have come past the gateway: space/pushes.ts has them. */
export interface Pushes {
  isAwaited(path: NodePath): boolean
  /** Looks whether they have, for a node or by a job; resolves when that is settled, or after some seconds. */
  at(path: NodePath): Promise<void>
  ofJob(id: string): Promise<void>
}

/** Jobs: src/jobs has them. */
export interface Jobs {
  /** A PENDING one, ServiceBusy when too many wait; with a `start`, under the id of `newId`, one that was done meanwhile. */
  create(owner: string | undefined, draft: JobDraft, start?: JobStart): Job
  newId(): string
  /** What was negotiated has been moved: EXECUTING becomes COMPLETED. */
  bytesMoved(id: string): void
  /** They have come, and are not taken: EXECUTING becomes ERROR. */
  bytesRefused(id: string, fault: FaultName): void
  /** undefined: there is none, or no more */
  get(id: string): Job | undefined
  /** newest first */
  list(owner: string, kind: string, filter: JobFilter): readonly Job[]
  /** InvalidArgument unless it is PENDING. */
  run(id: string): void
  abort(id: string): void
  remove(id: string): void
  /** milliseconds since 1970 */
  setDestruction(id: string, time: number): void
  /** seconds */
  setExecutionDuration(id: string, seconds: number): void
  /** Resolves when the phase is no longer `phase`, or the job has ended, or after so many milliseconds. */
  wait(id: string, milliseconds: number, phase: Phase, signal: AbortSignal): Promise<unknown>
  /** Resolves when nobody is at the job, or after so many milliseconds. */
  settled(id: string, milliseconds: number): Promise<void>
}

/** The name of the list, what was asked for, and whether an administrator did. */
export type JobDraft = Pick<Job, 'kind' | 'admin' | 'transfer' | 'node' | 'parameters'>

/** What a job begins with that is not PENDING. */
export type JobStart = Partial<Omit<Job, 'owner' | 'kind'>> & Pick<Job, 'id' | 'phase'>

export interface JobFilter {
  readonly phases?: readonly Phase[]
  /** made after, milliseconds since 1970 */
  readonly after?: number
  readonly last?: number
}

/** What an operation gets to know of an attempt before it: handed on to src/space. */
export type Attempt = NonNullable<PutDataOptions['attempt']>

export type Begun =
  | { readonly state: 'new'; readonly attempt: Attempt }
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly status: number; readonly body: string }

/** Answers by user and operation id: src/store has them. */
export interface Operations {
  /** InvalidArgument when the id came before with another fingerprint. */
  begin(user: string | undefined, id: string, fingerprint: string): Begun
  /** Keeps its answer, and what was changed in the course of it. */
  finish(
    user: string | undefined,
    id: string,
    answer: { readonly status: number; readonly body: string },
    origin: ChangeOrigin,
  ): void
  /** Forgets an operation that had no effect that is known, so that it may be tried again. */
  abandon(user: string | undefined, id: string, origin: ChangeOrigin): void
}

export interface Health {
  /** Whether the stores behind the gateway answer; notes say what does not. */
  check(): Promise<{ readonly available: boolean; readonly upSince: number; readonly notes: readonly string[] }>
}

/** What every plugin gets: the services, the limits settled, the path of the service. */
export interface HttpContext {
  readonly services: HttpServices
  readonly limits: HttpLimits
  /** `/karst`: what the URLs of the service start with */
  readonly base: string
}
