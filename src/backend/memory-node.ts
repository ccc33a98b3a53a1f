/** What the memory backend keeps of a node, and how it looks at it. */
import { Fault } from '../vospace/fault.ts'
import { type NodeType } from '../vospace/node.ts'
import { byteOrder, isWithin, nameOf, type NodePath } from '../vospace/path.ts'
import { PROPERTY } from '../vospace/property.ts'
import { type Cancel, type DataDraft, type IdentifiedChild, type PutOptions, type Removal } from './backend.ts'
import { type changed, PAGE, refuseAborted, wrongType } from './contract.ts'

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

/** The children of a container as a recursive delete looks at them, each page as they are when it is asked for. */
export function* childPages({ children }: Stored, { signal }: Cancel): Generator<IdentifiedChild[], void> {
  const names = [...children.keys()].sort(byteOrder)
  for (let at = 0; at < names.length; at += PAGE) {
    refuseAborted(signal)
    const page = names.slice(at, at + PAGE).map((name) => children.get(name))
    yield page.filter((below) => below !== undefined).map(childOf)
  }
  refuseAborted(signal)
}

function childOf({ id, path, type, access, properties }: Stored): IdentifiedChild {
  const immutable = properties.get(PROPERTY.immutable) === 'true'
  return { name: nameOf(path), type, id, locked: access.locked, immutable }
}

/** Takes a child out that is no container. */
export function taken({ children }: Stored, child: IdentifiedChild): Removal {
  if (child.type === 'container') return { child, fault: wrongType(child.name, 'leaf', 'container') }
  children.delete(child.name)
  return { child }
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
