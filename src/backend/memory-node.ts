/** What the memory backend keeps of a node, and how it looks at it. */
import { Fault } from '../vospace/fault.ts'
import { type NodeType } from '../vospace/node.ts'
import { isWithin, type NodePath } from '../vospace/path.ts'
import { type DataDraft, type PutOptions } from './backend.ts'
import { type changed, wrongType } from './contract.ts'

export type Kept = { -readonly [K in keyof ReturnType<typeof changed>]: ReturnType<typeof changed>[K] }

export interface Stored extends Kept {
  readonly id: string
  readonly type: NodeType
  path: NodePath
  readonly children: Map<string, Stored>
  readonly text?: Buffer
  bytes: Buffer
  quota: number | null
  mtime: bigint
  ctime: bigint
  contentVersion: string
  version: string
}

export function draftOf(options: PutOptions): { readonly type: 'data' } & DataDraft {
  if (options.draft === undefined) throw new Fault('NodeNotFound', 'no node to replace')
  return { type: 'data', ...options.draft }
}

export function checkVersion(stored: Stored, wanted: string | undefined): void {
  if (wanted !== undefined && wanted !== stored.contentVersion) throw new Fault('PreconditionFailed', 'another version')
}

/** A node and all below it. */
export function* within(stored: Stored): Generator<Stored> {
  yield stored
  for (const below of stored.children.values()) yield* within(below)
}

/** The rules of rename(2) for a target that exists. */
export function replaceable(from: Stored, to: Stored): void {
  if (isWithin(from.path, to.path)) throw new Fault('ContainerNotEmpty', to.path)
  if (from.type === 'container' && to.type !== 'container') throw wrongType(to.path, 'container', to.type)
  if (from.type !== 'container' && to.type === 'container') throw wrongType(to.path, 'leaf', to.type)
  if (to.children.size > 0) throw new Fault('ContainerNotEmpty', to.path)
}
