/** What the mount's tree needs of the gateway. mount/client.ts speaks it over HTTPS; tests speak it to a tree in memory. */
import { type SeenEntry, type WireExtent } from '../src/codec/fs-v1.ts'
import { type NodePath } from '../src/vospace/path.ts'
import { type Inlet } from './inlet.ts'
import { type ChangeFeed, type LeaseCalls } from './lease-calls.ts'

export interface Identity {
  /** of the service: `ivo://karst.local/karst` */
  readonly resourceId: string
  readonly user: string | undefined
  readonly uid: number
  readonly gid: number
}

/** A node by path, tied to an id where it is open. */
export interface RemoteRef {
  readonly path: NodePath
  readonly id?: string
  /** the session whose locks what is sent was written under: refused with EIO when that is over */
  readonly lease?: string
}

export interface Attributes {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** nanoseconds */
  readonly mtime?: bigint
  readonly atime?: bigint
  readonly size?: number
}

/** What a trusted mount makes, and for whom. */
export interface NodeDraft {
  readonly uid: number
  readonly gid: number
  /** type and 12 bits, as mknod(2) takes them; containers and links too */
  readonly mode: number
  readonly umask: number
  /** of a device, as the kernel encodes it in 32 bits */
  readonly device?: number
  /** of a link */
  readonly text?: Buffer
}

export interface PutAttributes {
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  readonly mode?: number
  readonly mtime?: bigint
  /** false: of what is empty, and a power cut may take again */
  readonly durable?: false
  /** bytes of the body; absent: nobody knows yet */
  readonly length?: number
  readonly signal?: AbortSignal
}

export interface ReadOptions {
  readonly ifContentVersion?: string
  readonly signal?: AbortSignal
  /** bytes behind those wanted that will be asked for next, as it seems: where the remote is near they may come with the same answer */
  readonly more?: number
}

export interface Page {
  readonly entries: readonly SeenEntry[]
  /** there is nothing after it */
  readonly isLast: boolean
}

export interface SpaceLeft {
  readonly blockSize: number
  readonly blocks: number
  readonly blocksFree: number
  readonly files: number
  readonly filesFree: number
  readonly nameMax: number
  /** the blocks are those of a quota */
  readonly hasQuota?: boolean
}

/**
 * Refusals are Faults with the exact errno. Calls that change something are repeated under one operation id until an answer
 * comes or the time limit ends (then a Fault ServiceBusy with errno EIO): a repetition never turns success into a refusal.
 */
export interface Remote {
  /** Several reads at a time of one file are no faster than one that goes on. Absent: they may be. */
  isNear?(): boolean
  identity(): Promise<Identity>
  entry(ref: RemoteRef): Promise<SeenEntry>
  /** Entries as they come, together those that come together. */
  list(path: NodePath, signal?: AbortSignal): AsyncIterable<readonly SeenEntry[]>
  /** Up to `limit` entries from that name on, or from the first; absent: names are asked for one by one. */
  page?(path: NodePath, limit: number, from?: string): Promise<Page>
  /** `body` is called anew for every attempt. A part of it may be written over once the next but one is asked for; so may bytes of extents. */
  put(ref: RemoteRef, body: () => AsyncIterable<Uint8Array>, attributes: PutAttributes): Promise<SeenEntry>
  /**
   * Bytes from `start` on, as many as `into` has room for, fewer at the end of the file: resolves when they are in it, and puts nothing into it
   * after it has settled. PreconditionFailed when the content has another version.
   */
  read(ref: RemoteRef, start: number, into: Inlet, options: ReadOptions): Promise<void>
  amend(
    ref: RemoteRef,
    extents: () => AsyncIterable<WireExtent>,
    options: { readonly length: number; readonly ifContentVersion?: string; readonly mtime?: bigint },
  ): Promise<SeenEntry>
  mkdir(path: NodePath, mode: number): Promise<SeenEntry>
  symlink(path: NodePath, text: Buffer): Promise<SeenEntry>
  /** Trusted mounts only. */
  mknod(path: NodePath, draft: NodeDraft): Promise<SeenEntry>
  /** A second name; EPERM where the gateway's store has none. */
  link(ref: RemoteRef, to: NodePath): Promise<SeenEntry>
  remove(path: NodePath, type: 'container' | 'leaf'): Promise<void>
  rename(from: NodePath, to: NodePath, flags: 'replace' | 'noreplace' | 'exchange'): Promise<SeenEntry>
  setattr(ref: RemoteRef, attributes: Attributes): Promise<SeenEntry>
  xattrNames(path: NodePath): Promise<string[]>
  xattr(path: NodePath, name: string): Promise<Buffer>
  setXattr(path: NodePath, name: string, value: Buffer, flags?: 'create' | 'replace'): Promise<void>
  removeXattr(path: NodePath, name: string): Promise<void>
  statfs(path: NodePath): Promise<SpaceLeft>
  close(): Promise<void>
  /** What is under way and what comes is refused as if the gateway did not answer (ServiceBusy, EIO). */
  abandon?(): void
  /** absent: locks are each mount's own */
  readonly leases?: LeaseCalls
  /** absent: what others change is found out in time */
  readonly feed?: ChangeFeed
}
