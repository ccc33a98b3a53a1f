/** The mount door, `/fs/v1` (schemas/fs-v1.md): links on the way are not followed, refusals carry exact error numbers. */
import { type Readable } from 'node:stream'
import { type ByteRange, type Extent, type Ref } from '../backend/backend.ts'
import { type Attempt } from '../store/operations.ts'
import { type Caller } from '../vospace/caller.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type SeenEntry, type Space } from './space.ts'

export interface FsListing {
  readonly entries: AsyncIterable<SeenEntry>
  /** after the last entry: the name the next call starts from; null: that was all */
  cursor(): string | null
}
export interface PutDataOptions {
  readonly ifAbsent?: boolean
  readonly ifContentVersion?: string
  /** 12 bits, for a node that is created */
  readonly mode?: number
  /** nanoseconds */
  readonly mtime?: bigint
  readonly md5?: string
  readonly length?: number
  readonly signal?: AbortSignal
  readonly attempt?: Attempt
}
export interface AmendDataOptions {
  readonly length: number
  readonly ifContentVersion?: string
  readonly mtime?: bigint
  readonly signal?: AbortSignal
  readonly attempt?: Attempt
}
export interface PutTicket {
  put(body: AsyncIterable<Uint8Array>): Promise<{ readonly entry: SeenEntry; readonly created: boolean }>
}
export interface AmendTicket {
  amend(extents: AsyncIterable<Extent>): Promise<SeenEntry>
}
export interface FsAttributes {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: bigint
  readonly atime?: bigint
  readonly size?: number
}
export type RenameFlags = 'replace' | 'noreplace' | 'exchange'
export interface SpaceLeft {
  readonly blockSize: number
  readonly blocks: number
  readonly blocksFree: number
  readonly files: number
  readonly filesFree: number
  /** bytes; null: unknown */
  readonly used: number | null
  /** bytes; null: none */
  readonly quota: number | null
  readonly nameMax: number
}
interface Once {
  readonly attempt?: Attempt
}

const later = (): never => {
  throw new Fault('OperationNotSupported', 'not yet')
}
export async function entryOf(_space: Space, _caller: Caller, _ref: Ref): Promise<SeenEntry> {
  return later()
}
export async function listOf(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: { readonly cursor?: string; readonly limit?: number; readonly signal?: AbortSignal } = {},
): Promise<FsListing> {
  return later()
}
export async function readData(
  _space: Space,
  _caller: Caller,
  _ref: Ref,
  _options: { readonly range?: ByteRange; readonly ifContentVersion?: string; readonly signal?: AbortSignal } = {},
): Promise<{ readonly entry: SeenEntry; readonly body: Readable }> {
  return later()
}
export async function openPut(_space: Space, _caller: Caller, _ref: Ref, _options: PutDataOptions): Promise<PutTicket> {
  return later()
}
export async function openAmend(
  _space: Space,
  _caller: Caller,
  _ref: Ref,
  _options: AmendDataOptions,
): Promise<AmendTicket> {
  return later()
}
export async function putData(
  space: Space,
  caller: Caller,
  ref: Ref,
  body: AsyncIterable<Uint8Array>,
  options: PutDataOptions = {},
): Promise<{ readonly entry: SeenEntry; readonly created: boolean }> {
  return (await openPut(space, caller, ref, options)).put(body)
}
export async function amendData(
  space: Space,
  caller: Caller,
  ref: Ref,
  extents: AsyncIterable<Extent>,
  options: AmendDataOptions,
): Promise<SeenEntry> {
  return (await openAmend(space, caller, ref, options)).amend(extents)
}
export async function mkdir(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: { readonly mode?: number } & Once = {},
): Promise<SeenEntry> {
  return later()
}
export async function symlink(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _text: Buffer,
  _options: Once = {},
): Promise<SeenEntry> {
  return later()
}
export async function remove(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _type: 'container' | 'data' | 'link' | 'leaf',
  _options: Once = {},
): Promise<void> {
  return later()
}
export async function rename(
  _space: Space,
  _caller: Caller,
  _from: NodePath,
  _to: NodePath,
  _flags: RenameFlags = 'replace',
  _options: Once = {},
): Promise<SeenEntry> {
  return later()
}
export async function setattr(
  _space: Space,
  _caller: Caller,
  _ref: Ref,
  _attributes: FsAttributes,
  _options: { readonly signal?: AbortSignal } = {},
): Promise<SeenEntry> {
  return later()
}
export async function xattrNames(_space: Space, _caller: Caller, _path: NodePath): Promise<string[]> {
  return later()
}
export async function xattr(_space: Space, _caller: Caller, _path: NodePath, _name: string): Promise<Buffer> {
  return later()
}
export async function setXattr(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _name: string,
  _value: Buffer,
  _flags?: 'create' | 'replace',
  _options: Once = {},
): Promise<void> {
  return later()
}
export async function removeXattr(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _name: string,
  _options: Once = {},
): Promise<void> {
  return later()
}
export async function statfs(_space: Space, _caller: Caller, _path: NodePath): Promise<SpaceLeft> {
  return later()
}
