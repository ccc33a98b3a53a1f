/** put on a file with several names: its bytes are replaced in the inode, so that every name shows them. */
import { fstatSync, read as readAt } from 'node:fs'
import { promisify } from 'node:util'
import { Fault, isFault } from '../../vospace/fault.ts'
import { type Entry } from '../../vospace/node.ts'
import { type NodePath } from '../../vospace/path.ts'
import { type Extent, type PutOptions, type Ref } from '../backend.ts'
import { amend } from './amend.ts'
import { refuseFull, writeBody } from './put.ts'
import { refusing, refusingAsync } from './refusal.ts'
import { discard, stageFile } from './staging.ts'
import { onNode, type Store } from './store.ts'

const readSome = promisify(readAt)
const CHUNK = 1 << 20

/** The node that a put would replace, when it has several names; undefined: put as ever, refusals included. */
export function sharedNode(store: Store, path: NodePath, options: PutOptions): Ref | undefined {
  if (options.ifAbsent === true) return undefined
  try {
    return onNode(store, { path, ...(options.id !== undefined && { id: options.id }) }, (_at, inode, found) =>
      inode.type === 'data' && inode.stat.nlink > 1 ? { path: found, id: inode.id } : undefined,
    )
  } catch (error) {
    if (isFault(error)) return undefined
    throw error
  }
}

/** Refuses as put does. The MD5 is not kept: amend knows none. */
export async function putShared(
  store: Store,
  ref: Ref,
  body: AsyncIterable<Uint8Array>,
  options: PutOptions,
): Promise<Entry> {
  const { ifContentVersion, mtime, signal } = options
  const staged = refusing(ref.path, () => stageFile(store, ref.path))
  try {
    refuseFull(staged, options.length)
    await refusingAsync(ref.path, () => writeBody(staged, body, options))
    const fd = staged.fd ?? -1
    const { size } = fstatSync(fd)
    await options.after
    return await amend(store, ref, piecesOf(fd, size), {
      length: size,
      ...(ifContentVersion !== undefined && { ifContentVersion }),
      ...(mtime !== undefined && { mtime }),
      ...(signal && { signal }),
    })
  } finally {
    discard(store, staged)
  }
}

async function* piecesOf(fd: number, size: number): AsyncGenerator<Extent> {
  for (let offset = 0; offset < size;) {
    const bytes = Buffer.allocUnsafeSlow(Math.min(CHUNK, size - offset))
    const { bytesRead } = await readSome(fd, bytes, 0, bytes.length, offset)
    if (bytesRead === 0) throw new Fault('InternalFault', 'the staged bytes are cut')
    yield { offset, bytes: bytes.subarray(0, bytesRead) }
    offset += bytesRead
  }
}
