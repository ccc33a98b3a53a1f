/** The VOSpace door to nodes: get, list, create, set, delete (VOSpace 2.1 sections on nodes). */
import { type Caller } from '../vospace/caller.ts'
import { type NodeDocument } from '../vospace/document.ts'
import { Fault } from '../vospace/fault.ts'
import { type NodePath } from '../vospace/path.ts'
import { type SeenEntry, type Space } from './space.ts'

export interface NodeListing {
  readonly node: SeenEntry
  readonly children: AsyncIterable<SeenEntry>
}
export interface NodeListOptions {
  /** name of the first child, inclusive */
  readonly from?: string
  readonly limit?: number
  /** without a property: by name */
  readonly sort?: { readonly property?: string; readonly order: 'asc' | 'desc' }
  readonly signal?: AbortSignal
}

const later = (): never => {
  throw new Fault('OperationNotSupported', 'not yet')
}
export async function getNode(_space: Space, _caller: Caller, _path: NodePath): Promise<SeenEntry> {
  return later()
}
export async function listNode(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: NodeListOptions = {},
): Promise<NodeListing> {
  return later()
}
export async function createNode(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _document: NodeDocument,
): Promise<SeenEntry> {
  return later()
}
export async function setNode(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _document: NodeDocument,
): Promise<SeenEntry> {
  return later()
}
export async function deleteNode(
  _space: Space,
  _caller: Caller,
  _path: NodePath,
  _options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  return later()
}
