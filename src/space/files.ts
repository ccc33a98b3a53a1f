/** The bytes of data nodes at `/files`: links are followed within the space. */
import { type Readable } from 'node:stream'
import { type ByteRange } from '../backend/backend.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type SeenEntry, type Space } from './space.ts'

/** What a pre-authorised URL grants: it replaces the permission check of the leaf and of its path. */
export interface FileGrant {
  readonly kind: 'read' | 'write'
  readonly user: string | undefined
}
export interface FileHead {
  readonly entry: SeenEntry
  /** leaf name as requested */
  readonly name: string
}
export interface FileBody extends FileHead {
  readonly body: Readable
}
export interface FileReadOptions {
  readonly grant?: FileGrant
  readonly range?: ByteRange
  readonly ifContentVersion?: string
  readonly signal?: AbortSignal
}
export interface FileWriteOptions {
  readonly md5?: string
  readonly length?: number
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  readonly signal?: AbortSignal
}
export interface WriteTicket {
  /** The node as it stands; undefined: it will be created. */
  readonly existing: SeenEntry | undefined
  put(
    body: AsyncIterable<Uint8Array>,
    options?: FileWriteOptions,
  ): Promise<{ readonly entry: SeenEntry; readonly created: boolean }>
}

const later = (): never => {
  throw new Fault('OperationNotSupported', 'not yet')
}
export async function headFile(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: { readonly grant?: FileGrant } = {},
): Promise<FileHead> {
  return later()
}
export async function readFile(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: FileReadOptions = {},
): Promise<FileBody> {
  return later()
}
export async function openWrite(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: { readonly grant?: FileGrant; readonly length?: number } = {},
): Promise<WriteTicket> {
  return later()
}
