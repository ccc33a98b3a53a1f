/** A node as a document: stored properties and the computed ones (wire.md 1.3, 1.6, 5). */
import { type Usage } from '../backend/backend.ts'
import { type NodeDocument } from '../vospace/document.ts'
import { Fault } from '../vospace/fault.ts'
import { type SeenEntry, type Space } from './space.ts'

export type Detail = 'min' | 'max' | 'properties' | 'raw' | 'none'

export function describe(_space: Space, _seen: SeenEntry, _detail: Detail, _usage?: Usage): NodeDocument {
  throw new Fault('OperationNotSupported', 'not yet')
}
export async function allocationUsage(_space: Space, _seen: SeenEntry): Promise<Usage | undefined> {
  return undefined
}
