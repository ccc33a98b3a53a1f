/** The node as every layer sees it: what a backend keeps of one node, and who may do what with it. */
import { type NodePath } from './path.ts'

export type NodeType = 'container' | 'data' | 'link'

/** Sharing, as VOSpace says it. With `mode` one thing in two views: see mode.ts. */
export interface Access {
  /** Local user name. An unmapped uid on disk is `uid:N`, which no caller ever matches. */
  readonly owner: string
  readonly isPublic: boolean
  /** Group URIs (`ivo://authority/gms?name`), sorted, each once. */
  readonly groupRead: readonly string[]
  readonly groupWrite: readonly string[]
  /** containers: new children take isPublic and groups from here when their maker says nothing */
  readonly inherit: boolean
  readonly locked: boolean
}

/** What a backend keeps of one node. Permission is decided above; here it is only kept. */
export interface Entry {
  /** Stable over rename, replaced bytes and changed attributes; never used again for another node. Opaque, `[A-Za-z0-9._-]+`. */
  readonly id: string
  readonly path: NodePath
  readonly type: NodeType
  /** data: bytes; link: bytes of `text`; container: 0, or recursive usage where the backend knows it */
  readonly size: number
  /** What stat shows: 12 permission bits, the group bits being the union of the granted groups (mode.ts). */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  /** nanoseconds since 1970 */
  readonly mtime: bigint
  readonly ctime: bigint
  /** Changes with the bytes and only with them; the ETag. Empty for containers and links. Opaque, `[A-Za-z0-9._-]+`. */
  readonly contentVersion: string
  /** Changes with anything. Opaque. */
  readonly version: string
  readonly access: Access
  /** Stored properties by URI (or bare word): never the computed ones, never access. */
  readonly properties: ReadonlyMap<string, string>
  /** data: 32 hex digits, only when known to be of these very bytes */
  readonly md5?: string
  /** link: the text byte for byte */
  readonly text?: Buffer
  /** nanoseconds since 1970, where the store keeps it */
  readonly atime?: bigint
  /** The store keeps a POSIX ACL of it, for what is made in it or for itself. */
  readonly hasAcl?: true
  /** A data node that VOSpace does not know, and only trusted mounts see. */
  readonly special?: Special
}

/** A FIFO, socket or device. */
export interface Special {
  /** S_IFMT bits of stat(2) */
  readonly format: number
  /** as Linux encodes it in 32 bits; 0 unless it is a device */
  readonly device: number
}

/** Sorted and each once, so that equal access is deeply equal. */
export function groupList(uris: Iterable<string>): string[] {
  return [...new Set(uris)].sort()
}
