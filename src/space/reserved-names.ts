/**
 * The reserved leaf names (VOSpace 2.1 section on identifiers): `.auto`, for which the service makes up a name, and `.null`, the bit bucket,
 * which takes any bytes and gives none. A node that has such a name already, as an existing tree may, is a node like others.
 */
import { createHash, randomUUID } from 'node:crypto'
import { Fault } from '../vospace/fault.ts'
import { type Entry } from '../vospace/node.ts'
import { child, nameOf, parentOf, type NodePath } from '../vospace/path.ts'
import { type Place } from './resolve.ts'

const AUTO = '.auto'
const NULL = '.null'
/** no id of a storage: those are of one word */
const NULL_ID = '.null.'

/** The path that a new node gets: another name in place of `.auto`, else as asked. */
export function newPath(path: NodePath): NodePath {
  return nameOf(path) === AUTO ? child(parentOf(path), `auto-${randomUUID()}`) : path
}

/** The bit bucket of a container that has no node of that name. */
export function isNull({ path, node }: Place): boolean {
  return node === undefined && hasNullName(path)
}

/** Whether a path may be that of the bit bucket. */
export function hasNullName(path: NodePath): boolean {
  return nameOf(path) === NULL
}

/** Refuses what cannot be made: InvalidURI. */
export function checkMakeable(path: NodePath): void {
  if (hasNullName(path)) throw new Fault('InvalidURI', `${path} is the bit bucket, and no node can be made there`)
}

/** Whether it is what `nullEntry` made. */
export function isNullEntry({ id }: Entry): boolean {
  return id === NULL_ID
}

/** The bit bucket as an empty file, for who reaches its container. */
export function nullEntry({ path, parents }: Place): Entry {
  const container = parents.at(-1)
  if (container === undefined) throw new Fault('NodeNotFound', path)
  const { owner } = container.access
  const access = { owner, isPublic: true, groupRead: [], groupWrite: [], inherit: false, locked: false }
  return {
    ...container,
    id: NULL_ID,
    path,
    type: 'data',
    size: 0,
    contentVersion: 'null',
    version: 'null',
    access,
    properties: new Map(),
  }
}

/** Reads a body to its end and keeps nothing. PreconditionFailed when it is not what was promised. The MD5 of it. */
export async function discard(
  body: AsyncIterable<Uint8Array>,
  { md5, length }: { readonly md5?: string; readonly length?: number },
): Promise<string> {
  const hash = createHash('md5')
  let bytes = 0
  for await (const chunk of body) {
    hash.update(chunk)
    bytes += chunk.length
  }
  const sum = hash.digest('hex')
  if ((md5 !== undefined && md5 !== sum) || (length !== undefined && length !== bytes)) {
    throw new Fault('PreconditionFailed', 'the body is not what was promised')
  }
  return sum
}
